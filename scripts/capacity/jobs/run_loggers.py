"""Lightning's loggers of a training, by the names in the configuration: `loggers: [csv, tensorboard]`.

Each writes below `results/curves/<study>/<run> <digest>/`, named as the configuration names the run; the digest is the
checkpoint's. A session starts them anew and logs the rows of its saved state again, so that a training that was stopped
has no row twice.
"""

import importlib
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from capacity.errors import UserError
from capacity.jobs.run_file import read_run

CURVES = "curves"  # below results
MOST_BYTES = 200  # of a run's name: file systems take 255 of a folder's

# Name -> packages of which one must be there, and what makes it from the folder, the study and the run's name.
LOGGERS: dict[str, tuple[tuple[str, ...], Callable[[Path, str, str], Any]]] = {
    "csv": ((), lambda folder, study, run: _class("fabric", "CSVLogger")(folder, name="", version="")),
    "tensorboard": (
        ("tensorboard", "tensorboardX"),
        lambda folder, study, run: _class("fabric", "TensorBoardLogger")(folder, name="", version=""),
    ),
    "wandb": (
        ("wandb",),
        lambda folder, study, run: _class("pytorch", "WandbLogger")(name=run, group=study, save_dir=folder),
    ),
}


def _class(part: str, name: str) -> Any:
    return getattr(importlib.import_module(f"lightning.{part}.loggers"), name)


def check_loggers(names: list[str]) -> None:
    """Refuse a logger whose package is not installed. Raises UserError."""
    for name in names:
        packages = LOGGERS[name][0]
        if packages and not any(map(find_spec, packages)):
            raise UserError(
                f"loggers: {name}: {packages[0]} is not installed; `pip install {packages[0]}`, or leave it out"
            )


def start_loggers(resume: Path) -> list[Any]:
    """The loggers that the run asks for a training; none where it asks for none or does not know the training.

    resume: the folder of the training's state, `results/resume/<id>`.
    """
    results = resume.parents[1]
    run = read_run(results)
    job = run.jobs.get(resume.name)
    if job is None or not job.label or not run.loggers:
        return []
    label = job.label.replace("/", "_").encode()[:MOST_BYTES].decode(errors="ignore")
    folder = results / CURVES / job.study / f"{label} {resume.name.rpartition('-')[2]}"
    shutil.rmtree(folder, ignore_errors=True)
    return [LOGGERS[name][1](folder, job.study, job.label) for name in run.loggers if name in LOGGERS]
