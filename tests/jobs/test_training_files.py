"""The files that a training shows itself in: a position, and a curve that grows and is right after a stop."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from trainings import spec_of, stop_at, train

from capacity.jobs import progress
from capacity.jobs.run_file import RUN_FILE
from capacity.jobs.run_loggers import check_loggers, start_loggers
from capacity.jobs.stop import Interrupted
from capacity.jobs.training_files import CURVE, POSITION, Position, TrainingFiles, read_position

SETTINGS = spec_of(exposures=33, batch=1, lr=0.001)  # 660 steps, 200 rows


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def at(step: int) -> Position:
    return Position(step, 5, 100, 1.0, 1e3, None, 0.0)


def without_exposures(path: Path) -> list[tuple[str, ...]]:
    """Exposures are those by steps until all tokens are counted."""
    return [(row["step"], row["tokens"], row["loss"], row["lr"]) for row in rows(path)]


def test_the_curve_grows_by_whole_rows_and_the_position_is_the_latest(tmp_path: Path) -> None:
    made = [{"step": step, "loss": 1.0 / step, "lr": 0.1} for step in range(1, 6)]
    known = 0
    files = TrainingFiles(tmp_path / "state", lambda first: made[first:known])
    assert read_position(tmp_path / "state") is None
    for known in (0, 2, 2, 5):
        files.write(at(known))
        assert read_position(tmp_path / "state") == at(known)
        curve = tmp_path / "state" / CURVE
        assert [row["step"] for row in (rows(curve) if known else [])] == [str(step) for step in range(1, known + 1)]
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["metrics.csv", "progress.json"]


def test_after_a_stop_the_curve_has_every_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    curve = tmp_path / "resume" / CURVE
    with monkeypatch.context() as patch:
        stop_at(101, patch)
        with pytest.raises(Interrupted):
            train(tmp_path, SETTINGS)
    assert rows(curve)[-1]["step"] == "99"
    with open(curve, "a") as file:  # as where the process was killed after its last save
        file.write("102,5.1,510,0.1,0.1\n105,5.2,520,0.1,0.1\n")
    train(tmp_path, SETTINGS)
    assert without_exposures(curve) == without_exposures(tmp_path / "checkpoint" / "metrics.csv")
    position = read_position(tmp_path / "resume")
    assert position is not None
    assert (position.step, position.steps, position.seconds_left) == (660, 660, 0.0)


def test_a_disk_that_takes_nothing_stops_no_training(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    TrainingFiles(tmp_path / "state", lambda first: [{"step": 1, "loss": 1.0, "lr": 0.1}]).write(at(1))


def test_a_logger_gets_each_row_once_where_the_disk_takes_nothing_for_a_while(tmp_path: Path) -> None:
    made = [{"step": step, "loss": 1.0 / step, "lr": 0.1} for step in range(1, 6)]
    files, seen = TrainingFiles(tmp_path / "state", lambda first: made[first:]), []
    files._loggers = [SimpleNamespace(log_metrics=lambda numbers, step: seen.append(step))]
    (tmp_path / "state").write_text("a file where a folder should be")
    files.write(at(3))
    files.write(at(4))
    (tmp_path / "state").unlink()
    files.write(at(5))
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("text", ["", "7", "[]", "{}", '{"step": 3}', '{"other": 1}'])
def test_what_is_no_position_is_not_one(text: str, tmp_path: Path) -> None:
    (tmp_path / POSITION).write_text(text)
    assert read_position(tmp_path) is None


def test_a_logger_whose_package_is_missing_is_refused() -> None:
    from capacity.errors import UserError

    check_loggers(["csv", "tensorboard"])
    with pytest.raises(UserError, match="loggers: wandb: wandb is not installed; `pip install wandb`, or leave it out"):
        check_loggers(["csv", "wandb"])


def test_two_trainings_of_one_name_have_logs_of_their_own_and_a_long_name_is_cut(tmp_path: Path) -> None:
    job = {"rule": "train_checkpoint", "label": f"tiny dataset.file={'é' * 300}", "study": "base", "others": 0}
    jobs = {name: {**job, "seconds": 1.0, "tries": []} for name in ("gpt2-0123456789ab", "gpt2-ba9876543210")}
    (tmp_path / RUN_FILE).write_text(json.dumps({"loggers": ["csv"], "jobs": jobs}))
    for name in jobs:
        (logger,) = start_loggers(tmp_path / "resume" / name)
        logger.log_metrics({"loss": 1.0}, step=1)
        logger.finalize("success")
    folders = list((tmp_path / "curves" / "base").iterdir())
    assert sorted(folder.name.rpartition(" ")[2] for folder in folders) == ["0123456789ab", "ba9876543210"]
    assert all((folder / "metrics.csv").is_file() for folder in folders)
