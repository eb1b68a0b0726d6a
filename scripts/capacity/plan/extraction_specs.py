"""From a checked extraction to specs: questions, fine-tuned models, answers; refused here where it cannot be."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capacity.artefacts.spec import Spec, make_spec
from capacity.config.experiment import Config
from capacity.config.extractions import Extraction
from capacity.errors import UserError
from capacity.extraction.spec import LowRank, MixedTraining, Try, read_try
from capacity.models.architectures import sizes
from capacity.plan.probe_specs import probe_settings
from capacity.plan.question_settings import check_questions, question_settings
from capacity.plan.study_runs import Run, known
from capacity.plan.training_specs import training_packages
from capacity.quantization.spec import Scheme, Unquantized
from capacity.world.kinds import WorldSettings, read_world
from capacity.world.spec import DrawnPeople


@dataclass(frozen=True)
class RunToAsk:
    """One run that is asked."""

    run: Run
    label: str  # of the extraction
    extraction: Extraction
    dataset: WorldSettings  # of bioR its people
    checkpoint: Spec
    draws: int  # of the probe


def run_to_ask(
    config: Config, run: Run, people: Spec, checkpoint: Spec, schemes: Mapping[str, Scheme]
) -> tuple[RunToAsk, str] | None:
    """A run of a study with an extraction, and the scheme in whose row the answers stand: the checkpoint's own.

    Raises UserError where it cannot be asked.
    """
    label = config.studies[run.study].extraction
    if label is None:
        return None
    extraction = known(config.extractions, label, f"studies.{run.study}.extraction", "extractions")
    plain = next((name for name, scheme in schemes.items() if isinstance(scheme, Unquantized)), None)
    if plain is None:
        named = ", ".join(schemes)
        raise UserError(
            f"studies.{run.study}.extraction: {label} with quantizers: {named}; it asks the checkpoint itself, "
            "add `none` to them"
        )
    return RunToAsk(run, label, extraction, read_world(people.settings), checkpoint, config.probe.draws), plain


def specs_of(asked: RunToAsk) -> tuple[list[Spec], dict[str, Any]]:
    """Questions, the set of fine-tuned models and that of answers, in the order of the flow; the table's part of them.

    That is the extraction's name, and of each try the identity of its answers, ranks and rate. Raises UserError for
    what could not be asked.
    """
    tries = [_try(asked, attempt) for attempt in asked.extraction.tries()]
    check(asked)
    checkpoint, slug = asked.checkpoint, asked.checkpoint.slug
    world = {role: str(checkpoint.parents[role]) for role in ("dataset", "tokenizer")}
    wanted = question_settings(asked.extraction, checkpoint.settings["seed"])
    questions = make_spec("questions", str(world["dataset"]).split("/")[1].rpartition("-")[0], wanted.plain(), world)
    parents = {**world, "questions": questions.name}
    if asked.extraction.method != "mixed":
        parents = {"checkpoint": checkpoint.name, "questions": questions.name}
    spec = functools.partial(make_spec, for_model=checkpoint.for_model)
    models = [spec("finetunes", slug, attempt.plain(), parents, packages=_packages(attempt)) for attempt in tries]
    finetunes = spec("finetunes", f"{slug}-{asked.extraction.method}", {}, parents, models)
    parents = {**world, "questions": questions.name}
    settings = probe_settings(checkpoint, asked.draws)
    probes = [spec("answers", slug, settings, {**parents, "finetune": model.name}) for model in models]
    parents |= {"finetunes": finetunes.name}
    answers = spec("answers", f"{slug}-{asked.extraction.method}", settings, parents, probes)
    lines = [{"answers_id": probe.id, **_labels(attempt)} for attempt, probe in zip(tries, probes, strict=True)]
    return [questions, finetunes, answers], {"extraction": asked.label, "tries": lines}


def _packages(attempt: Try) -> tuple[str, ...]:
    return training_packages(attempt) if isinstance(attempt, MixedTraining) else ()


def _labels(attempt: Try) -> dict[str, float | None]:
    """What tells a try from the others, as columns of the table."""
    embedding_rank, attention_rank = attempt.ranks if isinstance(attempt, LowRank) else (None, None)
    lr = None if isinstance(attempt, MixedTraining) else attempt.lr
    return {"embedding_rank": embedding_rank, "attention_rank": attention_rank, "extraction_lr": lr}


def _try(asked: RunToAsk, attempt: dict[str, Any]) -> Try:
    """One try as fine-tuning reads it: on one device; mixed training as the checkpoint's own."""
    whole = asked.checkpoint.settings
    if attempt["method"] == "mixed":
        return read_try({**whole, **attempt, "hardware": {**whole["hardware"], "devices": 1}})
    plain = {"precision": "fp32", "devices": 1, "attention": "eager", "loss": "whole", "compile": False}
    hardware = {"accelerator": whole["hardware"]["accelerator"], **plain}
    return read_try({**attempt, "hardware": hardware, "seed": whole["seed"]})


def check(asked: RunToAsk) -> None:
    """Raise UserError, in one line, for what could not be asked."""
    by = f"studies.{asked.run.study}.extraction"
    check_questions(asked.extraction, asked.label, by, asked.dataset, asked.run.names["dataset"])
    _check_model(asked, f"extractions.{asked.label}")


def _check_model(asked: RunToAsk, key: str) -> None:
    width, model = sizes(asked.run.model.to_settings())["d"], asked.run.names["model"]
    most = max((rank for pair in asked.extraction.ranks or [] for rank in pair), default=0)
    if width and most > width:
        raise UserError(f"{key}.ranks: {most}, but models.{model} has width {width}; use ranks up to {width}")
    if asked.extraction.method != "mixed" and asked.run.model.python:
        raise UserError(f"{key}.method: {asked.extraction.method} with models.{model}, a factory; use method: mixed")
    if asked.extraction.method == "mixed" and isinstance(asked.dataset, DrawnPeople) and asked.dataset.junk:
        raise UserError(f"{key}.method: mixed with {asked.run.names['dataset']}, which has junk; use a dataset without")
