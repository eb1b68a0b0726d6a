"""What a training will cost, estimated from its spec alone, before anything exists.

Estimates order jobs, size their resources and fill `make plan`; they decide nothing of what is made.
"""

from capacity.models.architectures import sizes
from capacity.plan.known_words import tokens_of, words_of
from capacity.plan.model_sizes import parameters
from capacity.rewriting.spec import DatasetSettings, RewritingSettings
from capacity.tokenizers.spec import OwnBpe, PublishedBpe, TokenizerSettings
from capacity.training.spec import TrainingRegime, TrainingSettings
from capacity.world.biod import BioDWorld
from capacity.world.bios import BioSWorld
from capacity.world.records import RecordsWorld
from capacity.world.spec import DrawnPeople
from capacity.world.strings import StringsWorld

CPU_FLOPS = 8e9  # of one core, where time is asked for: 6 P tokens a second, less than was measured from 10,000 up
# What one core takes for a step, for each of its tokens, and at most for products: fitted to steps of GPT-2s of 10,768
# to 430,208 parameters, an idle core's.
STEP_SECONDS, TOKEN_SECONDS, PRODUCT_FLOPS = 1e-3, 2.3e-6, 8e10
MUON_SECONDS = 1.6e-3  # of a step, more than AdamW, for each layer's matrices one after another; at widths 16 to 64
UNKNOWN_TOKENS, UNKNOWN_WORDS = 32, 1000  # a biography and a vocabulary, of a kind that has no estimate here
STARTUP_SECONDS = 5.0  # of a training: data, compiling
GPU_FLOPS = 2e13  # of one GPU, where time is asked for: less than the published cost implies, which is 2.4e13
GPU_STEP_SECONDS = 0.01  # a small model on a GPU waits for its host: assumed

# What the paper says of one training: GPT2-20-16 (255.3 million parameters) on bioS(10M), 1000 exposures of 74 tokens.
PUBLISHED_FLOPS = 6 * 255.3e6 * 10e6 * 1000 * 74
PUBLISHED_GPUS, PUBLISHED_DAYS = 64, 8.5
PUBLISHED_RUN = f"{PUBLISHED_DAYS} days on {PUBLISHED_GPUS} A100 for gpt2-20-16 on bioS(10M)"
DAY = 86_400  # seconds


def published_rate() -> float:
    """FLOP/s of one A100 that the published cost implies."""
    return PUBLISHED_FLOPS / (PUBLISHED_GPUS * PUBLISHED_DAYS * DAY)


def biography_tokens(dataset: DatasetSettings) -> int:
    """About how many tokens a biography has, EOS included."""
    if isinstance(dataset, BioSWorld | RewritingSettings):
        return 74
    if isinstance(dataset, RecordsWorld):
        return tokens_of(dataset, 4 + 6 * len(dataset.attributes))
    if isinstance(dataset, StringsWorld):
        return dataset.length + 1
    if not isinstance(dataset, BioDWorld):
        return UNKNOWN_TOKENS
    value = dataset.C * dataset.L
    return 4 + dataset.K * (1 + value if dataset.wording == "atomic" else 5 + value)


def vocabulary(dataset: DatasetSettings, tokenizer: TokenizerSettings) -> int:
    """About how many rows the embedding has."""
    if isinstance(tokenizer, OwnBpe):
        return tokenizer.vocabulary
    published = isinstance(tokenizer, PublishedBpe)
    if isinstance(tokenizer, PublishedBpe) and tokenizer.rows:
        return tokenizer.rows
    if isinstance(dataset, RewritingSettings) or (published and isinstance(dataset, BioSWorld)):
        return 3275
    if isinstance(dataset, BioSWorld):
        return words_of(dataset, 8 * dataset.templates + sum(dataset.pools.plain().values()))
    if isinstance(dataset, RecordsWorld):
        return words_of(dataset, dataset.N * (1 + len(dataset.attributes)))  # every cell as one word
    if isinstance(dataset, StringsWorld):
        return dataset.vocabulary + 1
    if not isinstance(dataset, BioDWorld):
        return UNKNOWN_WORDS
    return sum(dataset.names) + dataset.T + dataset.K + 1


def training_tokens(dataset: DatasetSettings, regime: TrainingRegime) -> int:
    """About how many tokens a training sees, junk included."""
    return _with_junk(dataset.N * regime.exposures * biography_tokens(dataset), dataset)


def _with_junk(amount: int, dataset: DatasetSettings) -> int:
    """An amount of useful text grown by the junk between it."""
    junk = dataset.junk if isinstance(dataset, DrawnPeople) else None
    return round(amount / (1 - junk.share)) if junk else amount


def training_steps(dataset: DatasetSettings, regime: TrainingRegime) -> int:
    """About how many optimizer steps a training takes."""
    if regime.context is None:  # rows
        return -(-_with_junk(dataset.N * regime.exposures, dataset) // regime.batch)
    return -(-training_tokens(dataset, regime) // (regime.batch * regime.context))


def training_parameters(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> int:
    """About how many parameters a training trains."""
    return parameters(settings.model, vocabulary(dataset, tokenizer))


def training_flops(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> float:
    """6 P tokens, forward and backward."""
    return 6.0 * training_parameters(dataset, tokenizer, settings) * training_tokens(dataset, settings.regime)


def core_rate(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> float:
    """About how many FLOP/s one core reaches in a training: few on tiny models, whose steps are not products alone."""
    flops = training_flops(dataset, tokenizer, settings)
    steps, tokens = training_steps(dataset, settings.regime), training_tokens(dataset, settings.regime)
    muon = MUON_SECONDS * (sizes(settings.model)["l"] or 1) if settings.regime.optimizer == "muon" else 0.0
    return flops / (core_seconds(flops, steps, tokens) + muon * steps)


def core_seconds(flops: float, steps: int, tokens: int) -> float:
    """About how long one core takes for so many products in so many steps and tokens."""
    return STEP_SECONDS * steps + TOKEN_SECONDS * tokens + flops / PRODUCT_FLOPS


def training_seconds(dataset: DatasetSettings, tokenizer: TokenizerSettings, settings: TrainingSettings) -> float:
    """About how long a training takes on the hardware of its spec, start-up included, where the machine may be any."""
    flops, steps = training_flops(dataset, tokenizer, settings), training_steps(dataset, settings.regime)
    return STARTUP_SECONDS + slow_seconds(flops, steps, settings.hardware.accelerator, settings.hardware.devices)


def slow_seconds(flops: float, steps: int, accelerator: str, gpus: int = 1) -> float:
    """About how long products and steps take on one core, or on GPUs, of whatever model: rather too long."""
    if accelerator == "cpu":
        return flops / CPU_FLOPS
    return max(flops / (GPU_FLOPS * gpus), GPU_STEP_SECONDS * steps)
