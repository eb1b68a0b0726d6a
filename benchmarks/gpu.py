"""Training on one GPU: tokens a second, share of its peak and memory, against other loops; and whether bits are equal.

Each model at the published context of 512, and the laptop's: this project's loop, the same with the other choice of
`loss` (all logits in memory, or chunks of them) and with CUDA graphs, a loop as in nanoGPT (stock model, fused
attention, compiled, bfloat16), and the Hugging Face Trainer with the same attention. Then whether equal trainings have
equal bits, stopped and resumed and with CUDA graphs too; and one and several processes on the GPU at once, as with
`gpu_share`.
Ends with one line where there is no GPU. Needs the package accelerate for the Trainer.
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}

from capacity.jobs.gpus import Gpu, visible_gpus

if (
    __name__ == "__main__"
    and not any(word.startswith(("-h", "--h", "--on")) for word in sys.argv)
    and not visible_gpus()
):
    sys.exit("error: no GPU is visible here: nothing was measured")  # before imports that take seconds

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from capacity.config.dataset import BioD, BioS
from capacity.models.architectures import paper_model
from capacity.models.build import build_model
from capacity.models.spec import PaperModel
from capacity.plan.roofline import card_of
from capacity.plan.world_specs import world_settings
from capacity.tokenizers.spec import WordVocabulary
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.training.batches import IGNORED, TrainingBatches
from capacity.training.device import make_fabric
from capacity.training.optimizer import learning_rate
from capacity.training.pretraining import Training
from capacity.training.spec import Hardware, TrainingRegime, TrainingSettings
from capacity.world.facts import make_world

WARM_STEPS = 5  # of each round of the Trainer, before its clock starts
PEOPLE = BioS(kind="bioS", N=2000)
CODES = BioD(kind="bioD", N=750, K=4, D=64, T=64, names=[32, 32, 32], wording="atomic")
REGIME = {
    "lr": 1e-3, "warmup_steps": 2, "final_lr_fraction": 0.1, "weight_decay": 0.01, "betas": (0.9, 0.98), "eps": 1e-6,
    "clip": 1.0, "zipf": None, "schedule": "cosine", "optimizer": "adamw", "momentum": None, "quantization": None,
    "document_mask": False,
}  # fmt: skip
Batch = tuple[torch.Tensor, torch.Tensor]
Work = Callable[[int], None]  # so many steps


@dataclass(frozen=True)
class Case:
    """A model and the batches that it is trained on. context: None for a row a person."""

    model: PaperModel
    batch: int
    context: int | None


def gpt2(l: int, h: int, batch: int = 96) -> Case:
    return Case(paper_model("gpt2", l, h, 64), batch, 512)


CASES = {
    "laptop": Case(paper_model("gpt2", 2, 2, 8), 64, None),
    **{f"gpt2-{l}-{h}": gpt2(l, h) for l, h in ((2, 2), (4, 4), (6, 6), (8, 8), (12, 12))},
}


def training_of(case: Case, num_steps: int, on: str, **changes: Any) -> Training:
    """A training of at least so many steps, as a GPU scale asks for it. changes: of its hardware."""
    world = make_world(world_settings(PEOPLE if case.context else CODES, 1))
    tokens = num_steps * case.batch * (case.context or 1)
    exposures = -(-tokens // (world.N * (50 if case.context else 1)))
    packing = "windows" if case.context else "rows"
    regime = TrainingRegime(exposures=exposures, packing=packing, batch=case.batch, context=case.context, **REGIME)
    batches = TrainingBatches(world, build_tokenizer(WordVocabulary(kind="word"), world), regime, seed=1)
    plain = {
        "accelerator": on, "precision": "bf16" if on == "gpu" else "fp32", "devices": 1,
        "attention": "fused" if case.context else "eager", "loss": "auto",
        "compile": on == "gpu",
    }  # fmt: skip
    hardware = Hardware.read(plain | changes)
    settings = TrainingSettings(model=case.model, regime=regime, hardware=hardware, seed=1)
    return Training(settings, batches, make_fabric(hardware))


def our_loop(training: Training) -> Work:
    """The loop that the job runs: rendering, steps, schedule, metrics."""
    steps = training.steps()
    return lambda num_steps: next(islice(steps, num_steps - 1, None))


def stock_model(training: Training, case: Case) -> PreTrainedModel:
    """The same model with transformers' own fused attention."""
    model = build_model(case.model, training.batches.vocab_size, training.batches.context, seed=1)
    model.set_attn_implementation("sdpa" if case.context else "eager")
    return model.to(training.device).train()


def nanogpt_loop(training: Training, case: Case, batches: list[Batch]) -> Work:
    """As nanoGPT trains: compiled stock model, bfloat16, fused AdamW, clipping, a schedule; batches are ready."""
    model, on_gpu = stock_model(training, case), training.device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=True)
    forward: Any = torch.compile(model, dynamic=False) if on_gpu else model

    def work(num_steps: int) -> None:
        for step in range(num_steps):
            inputs, targets = batches[step % len(batches)]
            with torch.autocast(training.device.type, torch.bfloat16, enabled=on_gpu):
                logits = forward(input_ids=inputs, use_cache=False).logits
                loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = learning_rate(training.descent, training.num_steps, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return work


class Clock(TrainerCallback):
    """Seconds between the end of the Trainer's warm-up and its last step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == WARM_STEPS:
            self.start = now()
        self.seconds = now() - getattr(self, "start", 0.0) if state.global_step == state.max_steps else 0.0


def trainer_seconds(training: Training, case: Case, batches: list[Batch], num_steps: int) -> float:
    """The Hugging Face Trainer in its quietest setting: no bar, no logging, no saving, no evaluation."""
    model, clock, on_gpu = stock_model(training, case), Clock(), training.device.type == "cuda"
    rows = [{"input_ids": row, "labels": row} for inputs, _ in batches for row in inputs.cpu()]
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, max_steps=WARM_STEPS + num_steps, per_device_train_batch_size=case.batch,
            learning_rate=1e-3, lr_scheduler_type="cosine", max_grad_norm=1.0, optim="adamw_torch_fused",
            weight_decay=0.01, adam_beta2=0.98, adam_epsilon=1e-6, bf16=on_gpu, use_cpu=not on_gpu,
            save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, torch_compile=on_gpu,
        )  # fmt: skip
        trainer = Trainer(model=model, args=settings, train_dataset=rows, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds


def now() -> float:
    """Seconds of wall time, when the GPU has done all that it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(work: Work, num_steps: int, rounds: int) -> float:
    """Median seconds of a round, after one that compiles."""
    work(num_steps)
    seconds = []
    for _ in range(rounds):
        start = now()
        work(num_steps)
        seconds.append(now() - start)
    return statistics.median(seconds)


def measure(name: str, args: argparse.Namespace) -> Iterator[str]:
    """The lines of one model; each contestant alone on the GPU."""
    case, num_steps = CASES[name], (args.rounds + 1) * args.steps
    training = training_of(case, num_steps, args.on)
    loss = "whole" if training.objective.chunked else "chunked"
    P, context = training.vector.numel(), training.batches.context
    inputs, targets = (
        torch.from_numpy(array).long().to(training.device) for array in training.batches.steps(0, args.steps)
    )
    batches = list(zip(inputs, targets, strict=True))
    flops = 6 * P + 12 * case.model.l * case.model.d * context  # a token
    yield f"\n{name}: P = {P:,}, batch {case.batch} x {context} tokens"
    yield f"{'':32}{'tokens/s':>12}{'of the peak':>12}{'memory':>10}{'FLOP/s':>10}"

    def with_changes(**changes: Any) -> float:
        return timed(our_loop(training_of(case, num_steps, args.on, **changes)), args.steps, args.rounds)

    contestants = {
        "this project's loop": lambda: timed(our_loop(training), args.steps, args.rounds),
        f"loss: {loss}": lambda: with_changes(loss=loss),
        "compile: reduce-overhead": lambda: with_changes(compile="reduce-overhead"),
        "as nanoGPT": lambda: timed(nanogpt_loop(training, case, batches), args.steps, args.rounds),
        "Hugging Face Trainer": lambda: trainer_seconds(training, case, batches, args.steps),
    }
    for contestant, seconds in contestants.items():
        clear_memory()
        rate = args.steps * case.batch * context / seconds()
        yield f"{contestant:32}{rate:12,.0f}{share_of_peak(rate * flops):>12}{peak_memory():>10}{rate * flops:10.1e}"


def clear_memory() -> None:
    """Begin to count memory anew."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> str:
    return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if torch.cuda.is_available() else "-"


def share_of_peak(flops: float) -> str:
    """Of dense products in bfloat16 on this GPU."""
    card = card_of([Gpu("0", torch.cuda.get_device_name(0))]) if torch.cuda.is_available() else None
    return f"{flops / card.flops:.1%}" if card else "-"


def at_once(name: str, number: int, args: argparse.Namespace) -> float:
    """Tokens a second of so many processes together, each with this project's loop, all timed over the same steps."""
    options = ["--worker", name, "--steps", str(args.steps), "--rounds", str(args.rounds), "--on", args.on]
    command = [sys.executable, str(Path(__file__)), *options]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)
    ]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()  # it has compiled
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return sum(float(worker.communicate()[0]) for worker in workers)


def work_along(args: argparse.Namespace) -> None:
    """One of several processes: compile, wait for the others, train, say tokens a second."""
    case, steps = CASES[args.worker], args.rounds * args.steps
    training = training_of(case, steps + 1, args.on)
    work = our_loop(training)
    work(1)
    print("ready", flush=True)
    sys.stdin.readline()
    start = now()
    work(steps)
    print(steps * case.batch * training.batches.context / (now() - start))


def equal_bits(name: str, args: argparse.Namespace) -> str:
    """Whether trainings end with the same bits: two, one that goes on from another's state, one with CUDA graphs."""
    half = max(args.steps // 2, 1)
    first, second, third = (training_of(CASES[name], 2 * half, args.on) for _ in range(3))
    graphs = training_of(CASES[name], 2 * half, args.on, **({"compile": "reduce-overhead"} if args.on == "gpu" else {}))
    our_loop(graphs)(2 * half)
    our_loop(first)(2 * half)
    our_loop(second)(half)
    third.restore({key: tensor.clone() for key, tensor in second.state()[0].items()}, second.state()[1])
    our_loop(third)(half)
    our_loop(second)(half)
    others = {"two trainings": second, "resumed": third, "with CUDA graphs": graphs}
    words = (
        f"{what} {'equal' if torch.equal(first.vector, other.vector) else 'DIFFERENT'}"
        for what, other in others.items()
    )
    return f"{name}: bits of {', '.join(words)}"


def main() -> None:
    """Measure each model in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--steps", type=int, default=50, help="steps a round (default: 50)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each contestant (default: 3)")
    parser.add_argument("--processes", nargs="*", type=int, default=[1, 2, 4, 8], help="at once (default: 1 2 4 8)")
    parser.add_argument("--on", choices=["gpu", "cpu"], default="gpu", help="cpu: to try this program, not to measure")
    parser.add_argument("--worker", choices=CASES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    transformers_logging.set_verbosity_error()
    if args.on == "gpu" and not torch.cuda.is_available():
        print("torch finds no GPU here: nothing was measured")
        return
    if args.worker:
        work_along(args)
        return
    print(f"{torch.cuda.get_device_name(0) if args.on == 'gpu' else 'CPU'}, torch {torch.__version__}")
    for name in args.models:
        for line in measure(name, args):
            print(line, flush=True)
        print(equal_bits(name, args), flush=True)
        for number in args.processes:
            clear_memory()
            print(f"{name}: {number} at once: {at_once(name, number, args):,.0f} tokens/s together", flush=True)


if __name__ == "__main__":
    main()
