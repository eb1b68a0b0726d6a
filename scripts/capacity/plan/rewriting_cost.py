"""What a rewriter takes: seconds for all texts, memory for its model; estimated from its spec and the model's files.

Every text is counted once, as with `flawed: keep`; what is written again comes on top, up to `tries` times that.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from capacity.environment import REPOSITORY
from capacity.plan.estimates import GPU_FLOPS, PRODUCT_FLOPS
from capacity.rewriting.spec import ModelRewriter, RewritingSettings

PARAMETERS = 7e9  # of a model whose weights are not here: assumed, LLaMA2's, which the paper asked
PROMPT_TOKENS = 200  # of six facts and what is to be done with them
GRAMMAR_SECONDS, ENDPOINT_SECONDS = 1e-3, 0.5  # a text; a paraphraser's measured, an endpoint's assumed
BYTES = {"fp32": 4, "bf16": 2}  # a parameter
SPARE_MB = 4000  # beside a model that is held twice while it is read: assumed


def rewriting_seconds(settings: RewritingSettings) -> float:
    """Seconds of one core or one GPU, as the spec asks for."""
    return settings.N * settings.rewritings * _text_seconds(settings)


def _text_seconds(settings: RewritingSettings) -> float:
    rewriter = settings.rewriter
    if not isinstance(rewriter, ModelRewriter):
        return GRAMMAR_SECONDS if rewriter.kind == "grammar" else ENDPOINT_SECONDS
    flops = 2 * model_parameters(rewriter) * (PROMPT_TOKENS + rewriter.max_tokens)
    return flops / (GPU_FLOPS if rewriter.accelerator == "gpu" else PRODUCT_FLOPS)


def model_mb(settings: RewritingSettings) -> int:
    """Host memory of the rewriter's model, in MB; 0 for one that holds none."""
    rewriter = settings.rewriter
    if not isinstance(rewriter, ModelRewriter):
        return 0
    return SPARE_MB + math.ceil(2 * BYTES[rewriter.precision] * model_parameters(rewriter) / 1e6)


def model_parameters(rewriter: ModelRewriter) -> float:
    """Of a model in a folder by the headers of its safetensors, otherwise assumed."""
    folder = REPOSITORY / rewriter.model
    if rewriter.revision is not None or not folder.is_dir():
        return PARAMETERS
    return sum(_elements(folder)) or PARAMETERS


def _elements(folder: Path) -> Iterator[int]:
    """How many numbers each tensor of a folder holds; of files that cannot be read, none."""
    from safetensors import SafetensorError, safe_open  # late: few plans have such a model

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "numpy") as file:
                yield from (math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
        except (OSError, SafetensorError):
            continue
