"""Any change of the shipped configuration ends in a plan or in lines that tell what is wrong, within ten seconds."""

import os
import time
from pathlib import Path
from typing import Any

import configurations
import pytest
from hypothesis import HealthCheck, given, settings

from capacity.artefacts.spec import spec_text
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.plan.forecast import forecast
from capacity.plan.grid import resolve
from capacity.plan.job_environment import use_store
from capacity.plan.survey import hold_against

SECONDS = 10  # for any answer
LONGEST_NAME = 200  # of a folder; file systems take 255, and scratch folders have longer names
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
# Always the same examples, so that what passed once passes again; FUZZ_NEW=1 draws new ones.
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="FUZZ_NEW" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def plan(content: bytes, folder: Path) -> str:
    """What planning says of a configuration: the size of its grid, or what is wrong."""
    path = folder / "config.yaml"
    path.write_bytes(content)
    started = time.monotonic()
    try:
        grid = resolve(load_config([path]))
        use_store({}, grid.store)
        forecast(hold_against(grid, folder / "results"), folder / "results")
        for spec in grid.specs.values():
            assert len(spec.id) <= LONGEST_NAME, spec.id
            assert "/" not in spec.id, spec.id
            spec_text(spec).encode()
        answer = f"{len(grid.specs)} artefacts"
    except UserError as error:
        answer = str(error)
        lines = answer.split("\n")
        assert len(lines) <= 21
        assert all(line.isprintable() and 0 < len(line) < 3000 for line in lines), lines
    seconds = time.monotonic() - started
    assert seconds < SECONDS, f"{seconds:.1f} s: {answer[:200]}"
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples lie, one after the other."""
    return tmp_path_factory.mktemp("fuzz")


@FUZZ
@given(raw=configurations.remade())
def test_any_entry_that_the_schema_allows_ends_in_a_plan_or_in_lines_of_error(folder: Path, raw: Any) -> None:
    plan(configurations.written(raw), folder)


@FUZZ
@given(raw=configurations.changed())
def test_any_change_of_values_ends_in_a_plan_or_in_lines_of_error(folder: Path, raw: Any) -> None:
    plan(configurations.written(raw), folder)


@FUZZ
@given(content=configurations.edited())
def test_any_change_of_the_text_ends_in_a_plan_or_in_lines_of_error(folder: Path, content: bytes) -> None:
    plan(content, folder)


def test_the_shipped_configuration_of_each_study_alone_ends_in_a_plan(folder: Path) -> None:
    for study in configurations.SHIPPED["studies"]:
        assert plan(configurations.written(configurations.slim(study)), folder).endswith(" artefacts"), study
