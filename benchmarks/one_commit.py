"""Rounds of this project's training loop as benchmarks/training.py of one checkout has it, one a line read.

Answers "ready", and then each line with the seconds of processor time that a round took.
"""

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Load the checkout's benchmark, compile, and do rounds until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("model", help="one of those of the checkout's benchmark")
    parser.add_argument("width", type=int, help="0: the model's own")
    parser.add_argument("precision", choices=["fp32", "bf16"])
    parser.add_argument("steps", type=int, help="steps a round")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    specification = importlib.util.spec_from_file_location("training", args.checkout / "benchmarks" / "training.py")
    assert specification is not None
    assert specification.loader is not None
    benchmark: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(benchmark)
    benchmark.HARDWARE["precision"] = args.precision
    model = benchmark.MODELS[args.model]
    if args.width:
        model = wide(model, args.width)
    _, rounds = benchmark.contestants(model, args.steps, False)
    run = rounds["this project's loop"]
    run(args.steps)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(run(args.steps), flush=True)


def wide(model: Any, width: int) -> Any:
    """The model with heads so wide that all of them are `width`; older checkouts have dictionaries."""
    if isinstance(model, dict):
        return model | {"head_dim": width // model["h"]}
    return model.model_copy(update={"head_dim": width // model.h})


if __name__ == "__main__":
    main()
