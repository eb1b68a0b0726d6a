"""What many tests start from: a built checkout to drive the engine in, or planted results where nothing was trained."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# One test may start from what another one plants, whatever folder it lies in.
sys.path[:0] = [str(folder) for folder in TESTS.iterdir() if folder.is_dir()]

from checkout import Checkout  # noqa: E402

# Of what tests start: this library, and its bytecode is kept, whatever the machine says; hundreds of processes start.
os.environ["PYTHONPATH"] = str(TESTS.resolve().parent / "scripts")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_itemcollected(item: pytest.Item) -> None:
    """What lies in tests/long is long; a test elsewhere that is carries the mark itself."""
    if TESTS / "long" in item.path.parents:
        item.add_marker("long")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start from what is built come last: one process builds it while the others have other tests."""
    late = {item.path for item in items if "built" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in late)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The tiny configuration, built once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "built"
    with open(shared / "built.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "results" / "capacity_table.csv").is_file():
            Checkout.new(folder).build()
    return Checkout(folder)


@pytest.fixture
def checkout(built: Checkout, tmp_path: Path) -> Checkout:
    """A copy to do with as a test likes."""
    return built.copy(tmp_path / "checkout")


@pytest.fixture(scope="session")
def planted_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny configuration's results, published; nothing was trained."""
    from planted import build, tiny_grid

    results = tmp_path_factory.mktemp("planted") / "results"
    build(tiny_grid(), results)
    return results


@pytest.fixture
def results(planted_results: Path, tmp_path: Path) -> Path:
    """A copy to do with as a test likes."""
    return shutil.copytree(planted_results, tmp_path / "results")
