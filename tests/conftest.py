"""What many tests start from: a built checkout to drive the engine in, or planted results where nothing was trained."""

import fcntl
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "workflow"))

from checkout import Checkout


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
