"""Models that are not of the paper, checked for the main process before any job, in a process that has torch."""

import json
import os
import subprocess
import sys
from typing import Any

from capacity.artefacts.identity import SCRIPTS, canonical_json
from capacity.artefacts.spec import Spec
from capacity.environment import python_path
from capacity.errors import UserError
from capacity.models.spec import PaperModel, read_external, read_model
from capacity.plan.model_sizes import note_built

ANSWER = "counted: "  # begins the line of what was counted, since a factory's module may print as well


def check_models(specs: dict[str, Spec], done: set[str]) -> None:
    """Build what is not of the paper and still to be made, in a process of its own. Raises UserError.

    What is built is counted too: plans and what jobs ask for rest on it.
    That is models to be trained, those to be quantised with the schemes to be applied, and such as are to be
    fine-tuned on questions or trained on windows of them.
    specs: of a grid. done: names of artefacts, members of sets too, that are there.
    """
    wanted = wanted_of(specs, done)
    if not any(wanted.values()):
        return
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(SCRIPTS)}
    command = [sys.executable, "-m", "capacity.cli", "check-models"]
    answer = subprocess.run(
        command, input=json.dumps(wanted), text=True, capture_output=True, env=environment, check=False
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines()
        raise UserError(lines[-1] if lines else f"capacity check-models ended with code {answer.returncode}")
    counted = next((line for line in answer.stdout.splitlines() if line.startswith(ANSWER)), None)
    if counted is None:
        raise UserError("a model's factory, or its module, ends the process that builds it; take that out")
    for model, without_words, per_word in json.loads(counted.removeprefix(ANSWER)):
        note_built(read_external(model), without_words, per_word)


def wanted_of(specs: dict[str, Spec], done: set[str]) -> dict[str, list[dict[str, Any]]]:
    """What check_models.py is to look at, of a grid; arguments as above."""
    models = [spec.settings["model"] for spec in _of_external(specs, "checkpoints") if spec.name not in done]
    asked, schemes = _asked_models(specs, done), _quantised_models(specs, done)
    return {"models": _distinct(models), "quantised": _distinct(schemes), "asked": _distinct(asked)}


def _of_external(specs: dict[str, Spec], stage: str) -> list[Spec]:
    """Specs of a stage whose checkpoint, themselves where they are one, is of a model that is not of the paper."""
    found = [spec for spec in specs.values() if spec.stage == stage]
    return [spec for spec in found if _is_external(_checkpoint(spec, specs).settings)]


def _is_external(training: dict[str, Any]) -> bool:
    return not isinstance(read_model(training["model"]), PaperModel)


def _checkpoint(spec: Spec, specs: dict[str, Spec]) -> Spec:
    return spec if spec.stage == "checkpoints" else specs[str(spec.parents["checkpoint"])]


def _quantised_models(specs: dict[str, Spec], done: set[str]) -> list[dict[str, Any]]:
    """Models with each scheme that they are still to be quantised or trained by."""
    wanted = []
    for spec in _of_external(specs, "variants"):
        schemes = [member.settings for member in spec.members if member.name not in done]
        wanted.append({"model": _checkpoint(spec, specs).settings["model"], "schemes": schemes})
    for spec in _of_external(specs, "checkpoints"):
        trained_by = spec.settings["regime"]["quantization"]
        schemes = [trained_by["scheme"]] if trained_by and spec.name not in done else []
        wanted.append({"model": spec.settings["model"], "schemes": schemes})
    return [each for each in wanted if each["schemes"]]


def _asked_models(specs: dict[str, Spec], done: set[str]) -> list[dict[str, Any]]:
    """What `capacity.extraction.askable` must see: all that an external model is asked, windows of questions, and
    wordings of the user's own.
    """
    wanted = []
    for spec in specs.values():
        tries = [member.settings for member in spec.members if member.name not in done]
        if spec.stage != "finetunes" or not tries:
            continue
        mixed = tries[0]["method"] == "mixed"
        training = tries[0] if mixed else specs[str(spec.parents["checkpoint"])].settings
        questions = specs[str(spec.parents["questions"])]
        windows = mixed and training["regime"]["packing"] == "windows"
        if _is_external(training) or windows or questions.settings["wordings"]:
            part = {key: training[key] for key in ("model", "regime", "seed")}
            world = {role: specs[str(questions.parents[role])].settings for role in ("dataset", "tokenizer")}
            wanted.append({**part, **world, "tries": tries, "questions": questions.settings})
    return wanted


def _distinct(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({canonical_json(value): value for value in values}.values())
