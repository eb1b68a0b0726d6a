"""Rounds of this project's training loop as benchmarks/training.py of one checkout has it, one a line read.

python one_commit.py <checkout> <model> <width or 0> <fp32 or bf16> <steps>: answers "ready" and then each line with
the seconds of processor time that a round of so many steps took.
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Load the checkout's benchmark, compile, and do rounds until the input ends."""
    checkout, name, width, precision, steps = sys.argv[1:]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    specification = importlib.util.spec_from_file_location("training", Path(checkout) / "benchmarks" / "training.py")
    assert specification is not None
    assert specification.loader is not None
    benchmark: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(benchmark)
    benchmark.HARDWARE["precision"] = precision
    model = benchmark.MODELS[name]
    if int(width):
        model = wide(model, int(width))
    _, rounds = benchmark.contestants(model, int(steps), False)
    run = rounds["this project's loop"]
    run(int(steps))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(run(int(steps)), flush=True)


def wide(model: Any, width: int) -> Any:
    """The model with heads so wide that all of them are `width`; older checkouts have dictionaries."""
    if isinstance(model, dict):
        return model | {"head_dim": width // model["h"]}
    return model.model_copy(update={"head_dim": width // model.h})


if __name__ == "__main__":
    main()
