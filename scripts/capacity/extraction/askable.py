"""Whether a model can be fine-tuned on questions and asked, found before any job.

The model is built small, made ready as the job makes it, and called. Run by the main process in a process of its own;
no job imports this.
"""

import functools
import json
from typing import Any

import torch
from transformers import PreTrainedModel

from capacity.errors import UserError
from capacity.extraction.adapt import merged, query_and_value_modules
from capacity.extraction.finetune import ready_model
from capacity.extraction.mixed import check_windows
from capacity.extraction.questions import (
    Lengths,
    asked_attributes,
    lengths_of,
    questions_tokenizer,
    readable_questions,
)
from capacity.extraction.spec import MixedTraining, read_try
from capacity.models.external import POSITIONS, build_external, hf_config, name_of, one_line
from capacity.models.external_checks import T, V, bad_reload, logits_of, shaken, too_large
from capacity.models.spec import ExternalModel, PaperModel, TransformersModel, read_external, read_model
from capacity.tokenizers.spec import keeps_all_rows, read_tokenizer
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.training.batches import TrainingBatches
from capacity.training.spec import TrainingRegime
from capacity.world.facts import World, make_world
from capacity.world.kinds import read_world

NEW_ROWS = 3
TRIED_PEOPLE = 50
TOLERANCE = 1e-3  # of logits of size 1


def check_asked(asked: dict[str, Any]) -> None:
    """Raise UserError, in one line, where a model cannot be made ready for questions or has no room for them.

    asked: {"model", "regime", "seed": of its training, "tries": specs of what is tried, "questions", "dataset",
    "tokenizer": specs}.
    """
    model, tries = read_model(asked["model"]), [read_try(attempt) for attempt in asked["tries"]]
    mixed = isinstance(tries[0], MixedTraining)
    unwritten = asked["dataset"]["kind"] == "bioR"  # what its tokenizer is made from does not exist yet
    if mixed and not unwritten and asked["regime"]["packing"] == "windows":
        check_windows(asked["regime"]["context"], room(asked)[1])
    if not unwritten and asked["tokenizer"]["kind"] != "bpe":  # one that is learned from all texts may differ
        _check_wordings(json.dumps({key: asked[key] for key in ("dataset", "tokenizer", "questions")}))
    if isinstance(model, PaperModel):
        return
    text = model.model_dump_json()
    for attempt in tries:
        if not isinstance(attempt, MixedTraining):
            check_ready(text, attempt.ranks, attempt.seed)
    if not unwritten and (most := most_positions(text)):
        _check_positions(asked, model, most, mixed)


@functools.cache
def _check_wordings(specs: str) -> None:
    """Raise UserError where the tokenizer cannot read the questions about some of the people."""
    read = json.loads(specs)
    dataset = read_world(read["dataset"])
    world = make_world(dataset.model_copy(update={"N": min(dataset.N, TRIED_PEOPLE)}))
    tokenizer = build_tokenizer(read_tokenizer(read["tokenizer"]), world)
    readable_questions(world, tokenizer, read["questions"]["wordings"])


@functools.cache
def check_ready(model_text: str, ranks: tuple[int, int] | None, seed: int) -> None:
    """Make a small model ready, change its low-rank matrices, merge them, save it and load it. Raises UserError."""
    model, method = read_external(json.loads(model_text)), "lora" if ranks else "full"
    name = f"{name_of(model)}: method: {method}"
    if too_large(model):
        with torch.device("meta"):
            targets = build_external(model, V, T)
        if ranks:
            query_and_value_modules(targets)
        return
    try:
        fault = _fault_of_ready(shaken(model).eval(), ranks, seed)
    except UserError as error:
        raise UserError(f"{name_of(model)}: {error}") from None
    except Exception as error:  # whatever an external class raises
        raise UserError(f"{name}: cannot be applied: {one_line(error)}; use method: mixed") from error
    if fault:
        raise UserError(f"{name}: {fault}; use method: {'full' if ranks else 'mixed'}")


@torch.no_grad()
def _fault_of_ready(model: PreTrainedModel, ranks: tuple[int, int] | None, seed: int) -> str:
    inputs = torch.arange(12).view(2, 6)
    before = logits_of(model, inputs)
    ready = ready_model(model, V + NEW_ROWS, 0, ranks, seed).eval()  # positions are looked at apart
    after = logits_of(ready, inputs)
    if after.shape[2] != V + NEW_ROWS or not torch.allclose(after[:, :, :V], before, atol=TOLERANCE):
        return "gives other logits with rows for the questions' words"
    if ranks:
        for name, parameter in ready.named_parameters():
            if "lora_" in name:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        after = logits_of(ready, inputs)
        ready = merged(ready)
        if not torch.allclose(logits_of(ready, inputs), after, atol=TOLERANCE):
            return "gives other logits once its low-rank matrices are merged"
    return bad_reload(ready)


@functools.cache
def most_positions(model_text: str) -> int:
    """Positions that a model cannot go beyond, for a training on rows of T tokens; 0 where it can."""
    model = read_external(json.loads(model_text))
    if too_large(model):
        return 0
    built = shaken(model).eval()
    positions = getattr(built.config, POSITIONS, None) or T
    try:
        with torch.no_grad():
            logits_of(built, torch.zeros(1, positions + 1, dtype=torch.int64))
    except Exception:  # an index or a shape beyond a table
        return positions
    return 0


def _check_positions(asked: dict[str, Any], model: ExternalModel, most: int, mixed: bool) -> None:
    """Raise UserError where a model that has learned its positions has too few of them for the questions."""
    (world, tokenizer), lengths = room(asked)
    if not _states_positions(model):
        all_rows = keeps_all_rows(read_tokenizer(asked["tokenizer"]))
        most = TrainingBatches(world, tokenizer, TrainingRegime.read(asked["regime"]), asked["seed"], all_rows).context
        if mixed:
            most = max(most, lengths.positions)
    if most < lengths.positions:
        remedy = f"packing: windows with context: {lengths.positions}"
        if isinstance(model, TransformersModel):
            remedy = f"max_position_embeddings: {lengths.positions} in its hf"
        raise UserError(
            f"{name_of(model)}: has {most} positions, but questions with their answers take up to "
            f"{lengths.positions} tokens; use shorter wordings, or {remedy}"
        )


def _states_positions(model: ExternalModel) -> bool:
    """Whether the model's own configuration says how many positions it has, instead of its training's context."""
    if not isinstance(model, TransformersModel):
        return False
    one, other = (hf_config(model.hf, V, context) for context in (T, 2 * T))
    return getattr(one, POSITIONS, None) == getattr(other, POSITIONS, None)


def room(asked: dict[str, Any]) -> tuple[tuple[World, Any], Lengths]:
    """The world and its tokenizer, and how long its questions can be."""
    specs = {key: asked[key] for key in ("dataset", "tokenizer")}
    return _room(json.dumps(specs), json.dumps(asked["questions"]["wordings"]))


@functools.cache
def _room(specs: str, own: str) -> tuple[tuple[World, Any], Lengths]:
    world, tokenizer = _world(specs)
    wordings = asked_attributes(world, json.loads(own))
    known = questions_tokenizer(tokenizer, wordings, world)
    return (world, tokenizer), lengths_of(known, wordings, world.grammar)


@functools.cache
def _world(specs: str) -> tuple[World, Any]:
    read = json.loads(specs)
    world = make_world(read_world(read["dataset"]))
    return world, build_tokenizer(read_tokenizer(read["tokenizer"]), world)
