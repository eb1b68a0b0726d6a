"""How many trainings share one GPU: as many as the user says, or as the largest one's memory allows."""

import math
from collections.abc import Iterable
from typing import Literal

from capacity.artefacts.spec import Spec
from capacity.jobs.gpus import Gpu
from capacity.plan.estimates import biography_tokens, training_steps, vocabulary
from capacity.plan.model_sizes import assumed_shape, parameters
from capacity.plan.requests import SpecOf, made_from
from capacity.plan.rewriting_cost import model_mb
from capacity.rewriting.spec import DatasetSettings, RewritingSettings
from capacity.tokenizers.spec import TokenizerSettings
from capacity.training.executed import Execution, decide
from capacity.training.spec import CHUNK_LOGITS, TrainingSettings

CONTEXT_MB = 1000  # CUDA and its kernels, in each process: assumed
LOGIT_BYTES = 14  # of a logit, its softmax and gradient in float32, and a copy in bfloat16
USABLE = 0.9  # of a GPU's memory
MOST = 8  # trainings on one GPU: assumed


def trainings_a_gpu(
    asked: int | Literal["auto"],
    gpus: list[Gpu],
    trainings: Iterable[Spec],
    spec_of: SpecOf,
    rewritings: Iterable[Spec] = (),
) -> int:
    """How many share one GPU. auto: what fits if all were like the largest; 1 where memory is unknown."""
    if asked != "auto":
        return asked
    needs = [training_gpu_mb(*made_from(spec, spec_of), TrainingSettings.read(spec.settings)) for spec in trainings]
    needs += [model_mb(RewritingSettings.read(spec.settings)) for spec in rewritings]
    memory = min(gpu.memory_mb for gpu in gpus)
    return max(1, min(MOST, math.floor(USABLE * memory / max(needs, default=math.inf))))


def training_gpu_mb(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> int:
    """Memory that a training takes on each of its GPUs, in MB: what a step keeps, and 20 bytes a parameter.

    Weights, gradient, two moments and a copy. Of logits in chunks one chunk's.
    """
    regime, hardware, V = settings.regime, settings.hardware, vocabulary(dataset, tokenizer)
    fixed = 20 * parameters(settings.model, V)
    tokens = regime.batch // hardware.devices * (regime.context or biography_tokens(dataset))
    step = tokens * bytes_a_token(dataset, tokenizer, settings)
    if _execution(dataset, tokenizer, settings).loss == "chunked":
        step -= LOGIT_BYTES * max(0, tokens * V - CHUNK_LOGITS)
    return CONTEXT_MB + math.ceil((fixed + step) / 1e6)


def bytes_a_token(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> float:
    """What a step on a GPU writes of each token for its backward pass.

    The logits, about 34 numbers a layer and channel, and three a layer, head and position where attention is eager.
    """
    hardware, (l, d, h) = settings.hardware, assumed_shape(settings.model)
    eager = _execution(dataset, tokenizer, settings).attention == "eager"
    scores = 3 * h * (settings.regime.context or biography_tokens(dataset)) if eager else 0
    number = 2 if hardware.precision == "bf16" else 4  # bytes
    return LOGIT_BYTES * vocabulary(dataset, tokenizer) + number * l * (34 * d + scores)


def _execution(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> Execution:
    """About what a training's job will decide."""
    context = settings.regime.context or biography_tokens(dataset)
    return decide(settings, context, vocabulary(dataset, tokenizer), training_steps(dataset, settings.regime))
