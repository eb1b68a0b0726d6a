"""What a job asks of a machine, from its spec alone: memory, time and GPUs, with room for slower machines.

An estimate that is too low costs an attempt, one that is too high a longer wait in the queue; no number
depends on it.
"""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from capacity.artefacts.spec import Spec
from capacity.extraction.spec import MixedTraining, read_try
from capacity.jobs.gpus import gpus_asked
from capacity.plan.estimates import (
    biography_tokens,
    slow_seconds,
    training_parameters,
    training_seconds,
    vocabulary,
)
from capacity.plan.model_sizes import assumed_shape, parameters
from capacity.plan.rewriting_cost import model_mb, rewriting_seconds
from capacity.probe.spec import ProbeSettings
from capacity.rewriting.spec import DatasetSettings, RewritingSettings, read_dataset
from capacity.tokenizers.spec import TokenizerSettings, read_tokenizer
from capacity.training.spec import TrainingSettings

SpecOf = Callable[[str], Spec]  # the spec of an id
MadeFrom = tuple[DatasetSettings, TokenizerSettings]

ROOM = 3.0  # times the estimated seconds
BASE_MB = 1500  # interpreter, torch and transformers: 600 measured on a CPU
GPU_BASE_MB = 8000  # the same with CUDA: assumed
PERSON_BYTES = 400  # facts and what is drawn from them
TEXT_BYTES = 700  # a written text of 75 tokens, its tokens and labels
PEOPLE_A_SECOND = 20_000  # whose facts are drawn and written: assumed
QUANTIZING_MINUTES = 60  # of all schemes of one checkpoint: assumed
STARTUP_MINUTES = 10  # imports from a busy network file system, compiling
QUESTIONS_A_PERSON = 30  # attributes times wordings: assumed
QUESTION_TOKENS = 25  # with its answer: assumed
TABLE_MB, TABLE_MINUTES = 4000, 60  # at least
SCORED_BYTES = 1500  # a person's scores of seven items and what is made of them: 960 measured
RESAMPLED_SECONDS = 1.2e-8  # a person in a resample: measured
ROW_SECONDS = 0.5  # of a table, beside that: assumed
MINUTE = 60.0


@dataclass(frozen=True)
class Needs:
    """What one job asks for: host memory in MB, wall time in minutes, processes that train, GPUs."""

    memory_mb: float = 0
    minutes: float = 0
    processes: int = 1
    gpus: int = 0


def needs(spec: Spec, spec_of: SpecOf) -> Needs:
    """What the job of an artefact asks for in its first attempt. Raises KeyError for stages that ask for little."""
    return STAGE_NEEDS[spec.stage](spec, spec_of)


def largest(asked: Iterable[Needs]) -> Needs:
    """The most of each that any job asks for."""
    return functools.reduce(_larger, asked, Needs())


def _larger(one: Needs, other: Needs) -> Needs:
    return Needs(
        max(one.memory_mb, other.memory_mb),
        max(one.minutes, other.minutes),
        max(one.processes, other.processes),
        max(one.gpus, other.gpus),
    )


def parent(child: Spec, role: str, spec_of: SpecOf) -> Spec:
    """The spec of a spec's one parent in a role."""
    return spec_of(str(child.parents[role]).split("/")[1])


def made_from(child: Spec, spec_of: SpecOf) -> MadeFrom:
    """The settings of the dataset and the tokenizer that an artefact is made from."""
    dataset, tokenizer = (parent(child, role, spec_of).settings for role in ("dataset", "tokenizer"))
    return read_dataset(dataset), read_tokenizer(tokenizer)


def gpus(spec: Spec) -> int:
    """GPUs that the job of an artefact needs: none on a CPU."""
    return gpus_asked(spec.settings)


def dataset_needs(dataset: Spec, spec_of: SpecOf) -> Needs:
    """Of drawing the facts of a world."""
    settings = read_dataset(dataset.settings)
    return Needs(world_mb(settings), world_minutes(settings))


def rendered_needs(child: Spec, spec_of: SpecOf) -> Needs:
    """Of a tokenizer or questions, for which their dataset is gone through once."""
    return dataset_needs(parent(child, "dataset", spec_of), spec_of)


def rewriting_needs(rewriting: Spec, spec_of: SpecOf) -> Needs:
    """Of writing all texts of a dataset anew."""
    settings = RewritingSettings.read(rewriting.settings)
    return Needs(rewriting_mb(settings), rewriting_minutes(settings), gpus=gpus(rewriting))


def training_needs(training: Spec, spec_of: SpecOf) -> Needs:
    """Of one training, on all its devices."""
    parts, settings = made_from(training, spec_of), TrainingSettings.read(training.settings)
    devices = settings.hardware.devices
    return Needs(training_mb(*parts, settings), training_minutes(*parts, settings), devices, gpus(training))


def variants_needs(variants: Spec, spec_of: SpecOf) -> Needs:
    """Of all schemes of one checkpoint."""
    quantized = parent(variants, "checkpoint", spec_of)
    settings = TrainingSettings.read(quantized.settings)
    return Needs(scoring_mb(*made_from(quantized, spec_of), settings), QUANTIZING_MINUTES)


def probes_needs(probes: Spec, spec_of: SpecOf) -> Needs:
    """Of scoring all variants of one checkpoint."""
    probed = TrainingSettings.read(parent(parent(probes, "variants", spec_of), "checkpoint", spec_of).settings)
    parts, texts = made_from(probes, spec_of), len(probes.members) * ProbeSettings.read(probes.settings).draws
    return Needs(scoring_mb(*parts, probed), scoring_minutes(*parts, probed, texts), gpus=gpus(probes))


def finetunes_needs(finetunes: Spec, spec_of: SpecOf) -> Needs:
    """Of all tries of one checkpoint, one after another."""
    asked = made_from(parent(finetunes, "questions", spec_of), spec_of)
    tuned = tuned_training(finetunes, spec_of)
    if isinstance(tuned, MixedTraining):
        minutes = training_minutes(*asked, tuned) / (1 - tuned.share)
    else:
        tries = [read_try(member.settings) for member in finetunes.members]
        sizes_of = [(a.steps, a.batch) for a in tries if not isinstance(a, MixedTraining)]
        steps, texts = sum(steps for steps, _ in sizes_of), sum(steps * batch for steps, batch in sizes_of)
        minutes = question_minutes(*asked, tuned, texts, steps)
        widest = max(batch for _, batch in sizes_of)
        tuned = tuned.model_copy(update={"regime": tuned.regime.model_copy(update={"batch": widest})})
    return Needs(training_mb(*asked, tuned), minutes, gpus=gpus(finetunes.members[0]))


def answers_needs(answers: Spec, spec_of: SpecOf) -> Needs:
    """Of asking every fine-tuned model of one checkpoint every question."""
    finetunes = parent(answers, "finetunes", spec_of)
    asked, tuned = made_from(parent(finetunes, "questions", spec_of), spec_of), tuned_training(finetunes, spec_of)
    texts = len(answers.members) * asked[0].N * QUESTIONS_A_PERSON
    return Needs(training_mb(*asked, tuned), question_minutes(*asked, tuned, texts), gpus=gpus(answers))


def table_needs(table: Spec, _: SpecOf) -> Needs:
    """Of all rows, one after another: the scores of every person, and their sums resampled for the intervals."""
    people = [row["N"] for row in table.settings["rows"]]
    seconds = sum(people) * table.settings["resamples"] * RESAMPLED_SECONDS + len(people) * ROW_SECONDS
    memory_mb = TABLE_MB + SCORED_BYTES * max(people, default=0) / 1e6
    return Needs(memory_mb, max(TABLE_MINUTES, STARTUP_MINUTES + math.ceil(ROOM * seconds / MINUTE)))


def tuned_training(finetunes: Spec, spec_of: SpecOf) -> TrainingSettings:
    """The training of the model that is tuned; mixed training is the try's own."""
    attempt = read_try(finetunes.members[0].settings)
    if isinstance(attempt, MixedTraining):
        return attempt
    return TrainingSettings.read(parent(finetunes, "checkpoint", spec_of).settings)


STAGE_NEEDS: dict[str, Callable[[Spec, SpecOf], Needs]] = {
    "datasets": dataset_needs,
    "rewritings": rewriting_needs,
    "tokenizers": rendered_needs,
    "checkpoints": training_needs,
    "variants": variants_needs,
    "probes": probes_needs,
    "questions": rendered_needs,
    "finetunes": finetunes_needs,
    "answers": answers_needs,
    "tables": table_needs,
}


def growing(amount: float, attempt: int) -> int:
    """The amount in the first attempt, half of it more in every attempt after that."""
    return math.ceil(amount * (1 + attempt) / 2)


def training_mb(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> int:
    """Host memory of a training, in MB.

    For each process: weights, gradient, two moments, and as it reads or saves its state those and the weights twice
    more: 40 bytes a parameter, 52 where an optimizer keeps a vector more. On a CPU also what a step keeps for its
    backward pass, in float32: logits, their softmax and gradient, and about 34 numbers a token, layer and channel.
    """
    regime, V = settings.regime, vocabulary(dataset, tokenizer)
    fixed = (52 if regime.optimizer == "muon" else 40) * parameters(settings.model, V) + _bytes_of(dataset)
    processes = settings.hardware.devices
    if settings.hardware.accelerator == "gpu":
        return processes * math.ceil(GPU_BASE_MB + fixed / 1e6)
    context = regime.context or biography_tokens(dataset)
    l, d, _ = assumed_shape(settings.model)
    step = 4 * regime.batch // processes * context * (3 * V + 34 * l * d)
    return processes * math.ceil(BASE_MB + (fixed + step) / 1e6)


def training_minutes(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> int:
    """Wall time of a training, in minutes; one that needs more goes on in its next attempt."""
    return STARTUP_MINUTES + math.ceil(ROOM * training_seconds(dataset, tokenizer, settings) / MINUTE)


def scoring_mb(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> int:
    """Host memory of quantising or probing a checkpoint, in MB: some copies of the weights."""
    base = GPU_BASE_MB if settings.hardware.accelerator == "gpu" else BASE_MB
    fixed = 24 * training_parameters(dataset, tokenizer, settings) + _bytes_of(dataset)
    return math.ceil(base + 500 + fixed / 1e6)


def scoring_minutes(
    dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings, texts: int
) -> int:
    """Wall time of probing a checkpoint, in minutes, on one core or one GPU: 2 P a token, two contexts.

    texts: wordings of every person that are scored, over all variants.
    """
    tokens = texts * dataset.N * biography_tokens(dataset)
    flops = 4.0 * training_parameters(dataset, tokenizer, settings) * tokens
    return STARTUP_MINUTES + math.ceil(ROOM * slow_seconds(flops, 0, settings.hardware.accelerator) / MINUTE)


def question_minutes(
    dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings, texts: int, steps: int = 0
) -> int:
    """Wall time of fine-tuning on questions, or of asking them, in minutes, on one core or one GPU: 6 P a token.

    texts: questions that are trained on or asked, repeats included. steps: of the training.
    """
    flops = 6.0 * training_parameters(dataset, tokenizer, settings) * texts * QUESTION_TOKENS
    seconds = slow_seconds(flops, steps, settings.hardware.accelerator)
    return STARTUP_MINUTES + math.ceil(ROOM * seconds / MINUTE)


def world_bytes(num_people: int, num_texts: int) -> int:
    """Memory that a world of so many written texts a person takes while it is read or rendered."""
    return (PERSON_BYTES + TEXT_BYTES * num_texts) * num_people


def _bytes_of(dataset: DatasetSettings) -> int:
    return world_bytes(dataset.N, dataset.rewritings if isinstance(dataset, RewritingSettings) else 0)


def world_mb(dataset: DatasetSettings) -> int:
    """Memory of drawing a world or training its tokenizer, in MB."""
    return math.ceil(BASE_MB + (9 * PERSON_BYTES * dataset.N + _bytes_of(dataset)) / 1e6)


def rewriting_mb(settings: RewritingSettings) -> int:
    """Host memory of rewriting, in MB."""
    return world_mb(settings) + model_mb(settings)


def rewriting_minutes(settings: RewritingSettings) -> int:
    """Wall time of rewriting, in minutes; a job that needs more goes on in its next attempt."""
    return STARTUP_MINUTES + math.ceil(ROOM * rewriting_seconds(settings) / MINUTE)


def world_minutes(dataset: DatasetSettings) -> int:
    """Wall time of drawing a world or making its tokenizer, in minutes."""
    return STARTUP_MINUTES + math.ceil(dataset.N / PEOPLE_A_SECOND / MINUTE)
