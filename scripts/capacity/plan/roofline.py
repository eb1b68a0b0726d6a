"""How long a training takes on a GPU, by what the GPU can do at most and the shares of it that are assumed.

Of three times the longest counts: that of the products of matrices, that of moving what a step keeps through memory,
and that of starting kernels, for which a small model waits. A measured rate is better, and is taken where there is one.
"""

import functools
from dataclasses import dataclass

from capacity.jobs.gpus import Gpu, visible_gpus
from capacity.plan.estimates import biography_tokens, core_rate, training_flops, training_steps, vocabulary
from capacity.plan.gpu_sharing import bytes_a_token
from capacity.plan.model_sizes import assumed_shape, parameters
from capacity.rewriting.spec import DatasetSettings
from capacity.tokenizers.spec import TokenizerSettings
from capacity.training.spec import TrainingSettings

PRODUCTS, MEMORY = 0.3, 0.6  # shares of a GPU's peaks that trainings reach: assumed
KERNEL_SECONDS, KERNELS_A_LAYER, OTHER_KERNELS = 5e-6, 40, 40  # forward, backward and update: assumed
FP32_SHARE = 1 / 16  # of the rate in bfloat16
PASSES = 3  # of what a step keeps, through memory: written, read again, and its gradient


@dataclass(frozen=True)
class Card:
    """A model of GPU. flops: dense products in bfloat16, FLOP/s; bandwidth: of its memory, bytes/s."""

    name: str
    flops: float
    bandwidth: float


A100 = Card("A100", 312e12, 1.56e12)  # what the paper used
# From the maker's data sheets; the first whose name is part of what the driver says.
CARDS = (
    Card("B200", 2250e12, 8.0e12),
    Card("H200", 989e12, 4.8e12),
    Card("H100 PCIe", 756e12, 2.0e12),
    Card("H100", 989e12, 3.35e12),
    A100,
    Card("L40S", 362e12, 0.86e12),
    Card("RTX 4090", 165e12, 1.01e12),
)


def card_of(gpus: list[Gpu]) -> Card | None:
    """The model of the first GPU; None where there is none, or none that is known."""
    return next((card for gpu in gpus[:1] for card in CARDS if card.name in gpu.model), None)


def step_seconds(
    dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings, card: Card
) -> dict[str, float]:
    """Seconds of one step on each GPU of a training, by what bounds them: "products", "memory" or "kernels"."""
    regime, hardware, V = settings.regime, settings.hardware, vocabulary(dataset, tokenizer)
    context, (l, d, _) = regime.context or biography_tokens(dataset), assumed_shape(settings.model)
    P, tokens = parameters(settings.model, V), regime.batch * context / hardware.devices
    bf16 = hardware.precision == "bf16"
    kept = tokens * bytes_a_token(dataset, tokenizer, settings)
    flops = tokens * (6 * P + 12 * l * d * context)
    return {
        "products": flops / (PRODUCTS * card.flops * (1 if bf16 else FP32_SHARE)),
        "memory": (PASSES * kept + 2 * 20 * P) / (MEMORY * card.bandwidth),
        "kernels": KERNEL_SECONDS * (KERNELS_A_LAYER * l + OTHER_KERNELS),
    }


def gpu_seconds(
    dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings, card: Card
) -> tuple[float, str]:
    """Seconds of GPUs, of all that a training holds together, and what bounds them."""
    bounds = step_seconds(dataset, tokenizer, settings, card)
    bound = max(bounds, key=lambda name: bounds[name])
    return training_steps(dataset, settings.regime) * settings.hardware.devices * bounds[bound], bound


def assumed_rate(
    dataset: DatasetSettings, tokenizer: TokenizerSettings, training: TrainingSettings
) -> tuple[float, str]:
    """FLOP/s of one core or GPU that nothing was measured of, and what bounds a GPU."""
    if training.hardware.accelerator == "cpu":
        return core_rate(dataset, tokenizer, training), ""
    seconds, bound = gpu_seconds(dataset, tokenizer, training, assumed_card())
    return training_flops(dataset, tokenizer, training) / seconds, bound


@functools.cache
def assumed_card() -> Card:
    """The model of this machine's GPU, or the paper's where there is none, or none that is known."""
    return card_of(visible_gpus()) or A100


def in_words(card: Card) -> str:
    """What is assumed of a GPU."""
    return (
        f"{PRODUCTS:.0%} of the {card.flops / 1e12:,.0f} TFLOP/s of an {card.name} in products (bfloat16), "
        f"{MEMORY:.0%} of the {card.bandwidth / 1e12:.1f} TB/s of its memory, {1e6 * KERNEL_SECONDS:.0f} us a kernel"
    )
