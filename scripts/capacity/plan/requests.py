"""What a job asks of a machine, from its order alone: memory and time, with room for slower machines.

An estimate that is too low costs an attempt, one that is too high a longer wait in the queue; no number
depends on it.
"""

import math
from typing import Any

from capacity.models.architectures import parameter_count, sizes
from capacity.plan.estimates import (
    CPU_FLOPS,
    biography_tokens,
    training_seconds,
    training_steps,
    vocabulary,
)

Spec = dict[str, Any]

ROOM = 3.0  # times the estimated seconds
BASE_MB = 1500  # interpreter, torch and transformers: 600 measured on a CPU
GPU_BASE_MB = 8000  # the same with CUDA: assumed
UNKNOWN_LAYERS, UNKNOWN_WIDTH = 12, 768  # of a model that does not say: assumed
PERSON_BYTES = 400  # facts and what is drawn from them
GPU_STEP_SECONDS = 0.01  # a small model on a GPU waits for its host: assumed
TEXT_BYTES = 700  # a written text of 75 tokens, its tokens and labels
TEXTS_A_SECOND = {"grammar": 1000.0, "endpoint": 2.0, "model": 5.0}  # a paraphraser's measured, the others assumed
MODEL_MB = 32_000  # a rewriting model of seven billion parameters: assumed
PEOPLE_A_SECOND = 20_000  # whose facts are drawn and written: assumed
STARTUP_MINUTES = 10  # imports from a busy network file system, compiling
QUESTIONS_A_PERSON = 30  # attributes times wordings: assumed
QUESTION_TOKENS = 25  # with its answer: assumed
MINUTE = 60.0


def growing(amount: float, attempt: int) -> int:
    """The amount in the first attempt, half of it more in every attempt after that."""
    return math.ceil(amount * (1 + attempt) / 2)


def training_mb(dataset: Spec, tokenizer: Spec, settings: Spec) -> int:
    """Host memory of a training, in MB.

    For each process: weights, gradient, two moments and a copy to save: 20 bytes a parameter. On a CPU also
    what a step keeps for its backward pass, in float32: logits, their softmax and gradient, and about 34
    numbers a token, layer and channel.
    """
    model, regime, V = settings["model"], settings["regime"], vocabulary(dataset, tokenizer)
    fixed = 20 * parameter_count(model, V) + world_bytes(dataset)
    processes = settings["hardware"]["devices"]
    if settings["hardware"]["accelerator"] == "gpu":
        return processes * math.ceil(GPU_BASE_MB + fixed / 1e6)
    context = regime["context"] if regime["packing"] == "windows" else biography_tokens(dataset)
    known = sizes(model)
    l, d = known["l"] or UNKNOWN_LAYERS, known["d"] or UNKNOWN_WIDTH
    step = 4 * regime["batch"] // processes * context * (3 * V + 34 * l * d)
    return processes * math.ceil(BASE_MB + (fixed + step) / 1e6)


def training_minutes(dataset: Spec, tokenizer: Spec, settings: Spec) -> int:
    """Wall time of a training, in minutes; one that needs more goes on in its next attempt."""
    seconds = training_seconds(dataset, tokenizer, settings)
    if settings["hardware"]["accelerator"] == "gpu":
        seconds = max(seconds, GPU_STEP_SECONDS * training_steps(dataset, settings["regime"]))
    return STARTUP_MINUTES + math.ceil(ROOM * seconds / MINUTE)


def scoring_mb(dataset: Spec, tokenizer: Spec, settings: Spec) -> int:
    """Host memory of quantising or probing a checkpoint, in MB: some copies of the weights."""
    base = GPU_BASE_MB if settings["hardware"]["accelerator"] == "gpu" else BASE_MB
    fixed = 24 * parameter_count(settings["model"], vocabulary(dataset, tokenizer)) + world_bytes(dataset)
    return math.ceil(base + 500 + fixed / 1e6)


def scoring_minutes(dataset: Spec, tokenizer: Spec, settings: Spec, texts: int) -> int:
    """Wall time of probing a checkpoint, in minutes, as if on one CPU core: 2 P a token, two contexts.

    texts: wordings of every person that are scored, over all variants.
    """
    tokens = texts * dataset["N"] * biography_tokens(dataset)
    flops = 4.0 * parameter_count(settings["model"], vocabulary(dataset, tokenizer)) * tokens
    return STARTUP_MINUTES + math.ceil(ROOM * flops / CPU_FLOPS / MINUTE)


def question_minutes(dataset: Spec, tokenizer: Spec, settings: Spec, texts: int) -> int:
    """Wall time of fine-tuning on questions, or of asking them, in minutes, as if on one CPU core: 6 P a token.

    texts: questions that are trained on or asked, repeats included.
    """
    flops = 6.0 * parameter_count(settings["model"], vocabulary(dataset, tokenizer)) * texts * QUESTION_TOKENS
    return STARTUP_MINUTES + math.ceil(ROOM * flops / CPU_FLOPS / MINUTE)


def world_bytes(dataset: Spec) -> int:
    """Memory that a world takes while it is told, in bytes."""
    return (PERSON_BYTES + TEXT_BYTES * dataset.get("rewritings", 0)) * dataset["N"]


def world_mb(dataset: Spec) -> int:
    """Memory of drawing a world or training its tokenizer, in MB."""
    return math.ceil(BASE_MB + (9 * PERSON_BYTES * dataset["N"] + world_bytes(dataset)) / 1e6)


def rewriting_mb(settings: Spec) -> int:
    """Host memory of rewriting, in MB."""
    return world_mb(settings) + (MODEL_MB if settings["rewriter"]["kind"] == "model" else 0)


def rewriting_minutes(settings: Spec) -> int:
    """Wall time of rewriting, in minutes; a job that needs more goes on in its next attempt."""
    texts = settings["N"] * settings["rewritings"]
    return STARTUP_MINUTES + math.ceil(ROOM * texts / TEXTS_A_SECOND[settings["rewriter"]["kind"]] / MINUTE)


def world_minutes(dataset: Spec) -> int:
    """Wall time of drawing a world or making its tokenizer, in minutes."""
    return STARTUP_MINUTES + math.ceil(dataset["N"] / PEOPLE_A_SECOND / MINUTE)
