"""What a training will cost, estimated from its spec alone, before anything exists.

Estimates order jobs, size their resources and fill `make plan`; no number in a table comes from here.
"""

from typing import Any

from capacity.models.architectures import parameter_count
from capacity.models.spec import read_model

Plain = dict[str, Any]  # the settings of a spec, as JSON

CPU_FLOPS = 8e9  # of one core on a model of ten to fifty thousand parameters: 6 P tokens per second, measured
STARTUP_SECONDS = 10.0  # of a training: imports, data, compiling
GPU_FLOPS = 2e13  # of one GPU on models of a million parameters and more: assumed, the published cost implies 2.4e13

# What the paper says of one training: GPT2-20-16 (255.3 million parameters) on bioS(10M), 1000 exposures of 74 tokens.
PUBLISHED_FLOPS = 6 * 255.3e6 * 10e6 * 1000 * 74
PUBLISHED_GPUS, PUBLISHED_DAYS = 64, 8.5


def published_rate() -> float:
    """FLOP/s of one A100 that the published cost implies."""
    return PUBLISHED_FLOPS / (PUBLISHED_GPUS * PUBLISHED_DAYS * 86_400)


def biography_tokens(dataset: Plain) -> int:
    """About how many tokens a biography has, EOS included."""
    if dataset["kind"] in ("bioS", "bioR"):
        return 74
    if dataset["kind"] == "records":
        return 4 + 6 * len(dataset["attributes"])
    if dataset["kind"] == "random":
        return dataset["length"] + 1
    value = dataset["C"] * dataset["L"]
    return 4 + dataset["K"] * (1 + value if dataset["wording"] == "atomic" else 5 + value)


def vocabulary(dataset: Plain, tokenizer: Plain) -> int:
    """About how many rows the embedding has."""
    if tokenizer["kind"] == "bpe":
        return tokenizer["vocabulary"]
    if tokenizer.get("rows"):
        return tokenizer["rows"]
    if dataset["kind"] == "bioR" or (tokenizer["kind"] == "pretrained" and dataset["kind"] == "bioS"):
        return 3275
    if dataset["kind"] == "bioS":
        return 8 * dataset["templates"] + sum(dataset["pools"].values())
    if dataset["kind"] == "records":
        return dataset["N"] * (1 + len(dataset["attributes"]))
    if dataset["kind"] == "random":
        return dataset["vocabulary"] + 1
    return sum(dataset["names"]) + dataset["T"] + dataset["K"] + 1


def training_tokens(dataset: Plain, regime: Plain) -> int:
    """About how many tokens a training sees, junk included."""
    return _with_junk(dataset["N"] * regime["exposures"] * biography_tokens(dataset), dataset)


def _with_junk(amount: int, dataset: Plain) -> int:
    """An amount of useful text grown by the junk between it."""
    return round(amount / (1 - dataset["junk"]["share"])) if dataset.get("junk") else amount


def training_steps(dataset: Plain, regime: Plain) -> int:
    """About how many optimizer steps a training takes."""
    if regime["packing"] == "rows":
        return -(-_with_junk(dataset["N"] * regime["exposures"], dataset) // regime["batch"])
    return -(-training_tokens(dataset, regime) // (regime["batch"] * regime["context"]))


def training_parameters(dataset: Plain, tokenizer: Plain, settings: Plain) -> int:
    """About how many parameters a training trains."""
    return parameter_count(read_model(settings["model"]), vocabulary(dataset, tokenizer))


def training_flops(dataset: Plain, tokenizer: Plain, settings: Plain) -> float:
    """6 P tokens, forward and backward."""
    return 6.0 * training_parameters(dataset, tokenizer, settings) * training_tokens(dataset, settings["regime"])


def training_seconds(dataset: Plain, tokenizer: Plain, settings: Plain) -> float:
    """About how long a training takes on the hardware of its spec, start-up included."""
    hardware = settings["hardware"]
    devices = 1 if hardware["accelerator"] == "cpu" else hardware["devices"]
    return STARTUP_SECONDS + training_flops(dataset, tokenizer, settings) / (assumed_rate(hardware) * devices)


def assumed_rate(hardware: Plain) -> float:
    """FLOP/s of one core or GPU that estimates assume."""
    return CPU_FLOPS if hardware["accelerator"] == "cpu" else GPU_FLOPS
