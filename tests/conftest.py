"""What many tests start from: a built checkout to drive the engine in, or planted results where nothing was trained."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# One test may start from what another one plants, whatever folder it lies in.
sys.path[:0] = [str(TESTS), *(str(folder) for folder in TESTS.iterdir() if folder.is_dir())]

import durations  # noqa: E402
from checkout import Checkout  # noqa: E402
from progress import Progress  # noqa: E402
from turns import of_turn  # noqa: E402

# Of what tests start: this library, and its bytecode is kept, whatever the machine says; hundreds of processes start.
os.environ["PYTHONPATH"] = str(TESTS.resolve().parent / "scripts")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the targets of make ask for."""
    parser.addoption("--turn", type=int, help="of the long tests one third only; which, by this number")
    parser.addoption("--renew-durations", action="store_true", help="write tests/durations.csv anew")


def pytest_configure(config: pytest.Config) -> None:
    """The process that hears of all tests says where the run is."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Progress(config))


def pytest_itemcollected(item: pytest.Item) -> None:
    """What lies in tests/long is long; a test elsewhere that is carries the mark itself."""
    if TESTS / "long" in item.path.parents:
        item.add_marker("long")
    if "built" in getattr(item, "fixturenames", ()):
        item.add_marker("engine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that start from what is built come last: one process builds it while the others have other tests.

    Of the others, and of these, the longest first: what is left at the end is short.
    """
    if (turn := config.getoption("turn")) is not None:
        mine = of_turn(items, turn)
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in mine])
        items[:] = [item for item in items if item.nodeid in mine]
    late = {item.path for item in items if item.get_closest_marker("engine")}
    seconds = {TESTS.parent / row.file: row.seconds for row in durations.read().values()}
    items.sort(key=lambda item: (item.path in late, -seconds.get(item.path, 0.0)))


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
