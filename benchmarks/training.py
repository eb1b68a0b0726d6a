"""Training tokens a second on one core: this project's loop, a plain PyTorch loop, the Hugging Face Trainer.

Every family, and a model that is not of the paper; for each one set of batches and one environment. The
contestants take turns in short rounds, so that noise of the machine meets all of them. Times are processor
time of this process. A token counts when it is scored. Also printed: what of a step of ours is not forward,
backward, clipping and update, and the share of the core's own matrix-product peak that 6 P tokens/s comes to.
Needs the package accelerate for the Trainer. With --against, our loop alone beside that of another commit.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from capacity.plan.job_environment import ALLOCATOR

ENVIRONMENT = {  # as the workflow's jobs have it; glibc and OpenMP read theirs when the process starts
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "GLIBC_TUNABLES": ALLOCATOR,
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}
if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ENVIRONMENT)

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging as transformers_logging

from capacity.config.dataset import BioD
from capacity.models.architectures import paper_model
from capacity.models.build import build_model
from capacity.models.spec import ModelSettings, PaperModel, TransformersModel
from capacity.plan.world_specs import world_settings
from capacity.tokenizers.spec import WordVocabulary
from capacity.tokenizers.tokenization import build_tokenizer
from capacity.training.batches import TrainingBatches
from capacity.training.device import make_fabric
from capacity.training.optimizer import learning_rate
from capacity.training.pretraining import Training
from capacity.training.spec import Hardware, TrainingRegime, TrainingSettings
from capacity.world.facts import make_world

WORLD = BioD(kind="bioD", N=750, K=4, D=64, T=64, names=[32, 32, 32], wording="atomic")
REGIME = TrainingRegime(
    exposures=1_000_000, packing="rows", context=None, batch=64, lr=0.01, warmup_steps=100,
    final_lr_fraction=0.1, weight_decay=0.01, betas=(0.9, 0.98), eps=1e-6, clip=1.0,
    zipf=None, schedule="cosine", optimizer="adamw", momentum=None, quantization=None,
    document_mask=False,
)  # fmt: skip
HARDWARE = {
    "accelerator": "cpu", "precision": "fp32", "devices": 1, "loss": "whole", "compile": True,
}  # fmt: skip
SIZE = {"l": 2, "h": 2, "head_dim": 8}
MODELS = {
    "gpt2": paper_model("gpt2", **SIZE),
    "gpt2-no-mlp": paper_model("gpt2", **SIZE, mlp_ratio=0.0),
    "llama": paper_model("llama", **SIZE),
    "llama-standard-mlp": paper_model("llama", **SIZE, tied=True, mlp="standard"),
    "mistral": paper_model("mistral", **SIZE),
    "gpt2-experts": paper_model("gpt2", **SIZE, mlp_ratio=0.25, experts={
        "count": 8, "top": 1, "capacity": 2.0, "test_capacity": 8.0, "balance": 0.01}),
    "mamba": TransformersModel(
        hf={"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}),
}  # fmt: skip
WARM_STEPS = 20  # of each round of the Trainer, before its clock starts

Round = Callable[[int], float]  # number of steps to seconds of processor time
Batch = tuple[torch.Tensor, torch.Tensor]


def timed(work: Callable[[int], object]) -> Round:
    """A round that times all of the work."""

    def round_(num_steps: int) -> float:
        start = time.process_time()
        work(num_steps)
        return time.process_time() - start

    return round_


def our_loop(training: Training) -> Round:
    """The loop that the job runs: rendering, steps, schedule, metrics."""
    steps = training.steps()
    return timed(lambda num_steps: next(islice(steps, num_steps - 1, None)))


def bare_steps(training: Training, batches: list[Batch]) -> Round:
    """Forward, backward, clipping and update of our loop, on batches that are there already."""
    vector = training.vector.clone()

    def work(num_steps: int) -> None:
        for inputs, targets in batches[:num_steps]:
            gradient, _ = training.objective.gradient(vector, inputs, targets)
            training.optimizer.step(vector, gradient, 1e-3)

    return timed(work)


def plain_loop(model: PreTrainedModel, batches: list[Batch]) -> Round:
    """The loop of a tutorial: stock model, eager mode, fused AdamW, clipping, a schedule."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01, fused=True)

    def work(num_steps: int) -> None:
        for step, (inputs, targets) in enumerate(batches[:num_steps]):
            logits = model(input_ids=inputs, use_cache=False).logits
            loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = learning_rate(REGIME, 1_000_000, step)
            optimizer.step()
            optimizer.zero_grad()

    return timed(work)


class Clock(TrainerCallback):
    """Processor time between the end of the Trainer's warm-up and its last step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == WARM_STEPS:
            self.start = time.process_time()
        self.seconds = time.process_time() - getattr(self, "start", 0.0)


def trainer_round(model: PreTrainedModel, rows: list[dict[str, torch.Tensor]]) -> Round:
    """The Hugging Face Trainer in its quietest setting: no bar, no logging, no saving, no evaluation."""

    def round_(num_steps: int) -> float:
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainingArguments(
                output_dir=folder, max_steps=WARM_STEPS + num_steps, per_device_train_batch_size=64,
                learning_rate=0.01, warmup_steps=10, lr_scheduler_type="cosine_with_min_lr",
                lr_scheduler_kwargs={"min_lr_rate": 0.1}, max_grad_norm=1.0, optim="adamw_torch_fused",
                weight_decay=0.01, adam_beta2=0.98, adam_epsilon=1e-6, use_cpu=True,
                save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
            )  # fmt: skip
            trainer = Trainer(model=model, args=settings, train_dataset=rows, callbacks=[clock])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return clock.seconds

    return round_


def matrix_peak(seconds: float = 1.0) -> float:
    """fp32 operations a second of a large matrix product on this core; the fastest of many."""
    left, right = torch.rand(1024, 1024), torch.rand(1024, 1024)
    out, best, stop = torch.empty(1024, 1024), float("inf"), time.monotonic() + seconds
    while time.monotonic() < stop:
        start = time.process_time()
        torch.mm(left, right, out=out)
        best = min(best, time.process_time() - start)
    return 2 * 1024**3 / best


def contestants(model: ModelSettings, num_steps: int, with_trainer: bool) -> tuple[Training, dict[str, Round]]:
    """Our training of a model, and all rounds by name, each with a model of its own."""
    world = make_world(world_settings(WORLD, 1))
    batches = TrainingBatches(world, build_tokenizer(WordVocabulary(kind="word"), world), REGIME, seed=1)
    ours = isinstance(model, PaperModel)  # an external model is not compiled, as in the workflow
    hardware = Hardware.read(HARDWARE | {"compile": ours, "attention": "auto"})
    settings = TrainingSettings(model=model, regime=REGIME, hardware=hardware, seed=1)
    training = Training(settings, batches, make_fabric(hardware))

    def stock_model(attention: str = "sdpa") -> PreTrainedModel:
        built = build_model(model, batches.vocab_size, batches.context + 1, seed=1)
        if ours:
            built.set_attn_implementation(attention)
        return built

    arrays = batches.steps(0, num_steps)
    inputs, targets = (torch.from_numpy(array).long() for array in arrays)
    rendered = list(zip(inputs, targets, strict=True))
    whole = torch.cat([inputs, targets[:, :, -1:]], dim=2).flatten(0, 1)
    rows = [{"input_ids": row, "labels": row} for row in whole]
    rounds = {
        "this project's loop": our_loop(training),
        "its forward, backward, clip, update": bare_steps(training, rendered),
        "plain PyTorch loop, eager": plain_loop(stock_model(), rendered),
    }
    if with_trainer and not ours:
        rounds["Hugging Face Trainer"] = trainer_round(stock_model(), rows)
    elif with_trainer:
        compiled = stock_model("eager")  # faster than transformers' default attention once it is compiled
        compiled.compile(dynamic=False)
        rounds["Hugging Face Trainer"] = trainer_round(stock_model(), rows)
        rounds["Hugging Face Trainer, model compiled"] = trainer_round(compiled, rows)
    return training, rounds


def report(training: Training, seconds: dict[str, list[float]], num_steps: int) -> Iterator[str]:
    """The lines of the answer; ratios are medians over rounds, each of neighbours in time."""
    tokens = num_steps * 64 * training.batches.context
    ours, bare = "this project's loop", "its forward, backward, clip, update"
    yield f"{'':40}{'ms a step':>10}{'tokens/s':>12}{'ours is':>10}"
    for name, all_rounds in seconds.items():
        middle = statistics.median(all_rounds)
        ratio = statistics.median(theirs / mine for theirs, mine in zip(all_rounds, seconds[ours], strict=True))
        yield f"{name:40}{1e3 * middle / num_steps:10.2f}{tokens / middle:12,.0f}{ratio:9.2f}x"
    pairs = zip(seconds[ours], seconds[bare], strict=True)
    rest = statistics.median(1 - alone / whole for whole, alone in pairs)
    yield f"Rendering, loop, schedule and metrics: {rest:.1%} of a step of ours; Fabric takes no part in one."
    P, peak = training.vector.numel(), matrix_peak()
    rate = 6 * P * tokens / statistics.median(seconds[ours])
    yield (
        f"6 P tokens/s = {rate / 1e9:.1f} GFLOP/s, {rate / peak:.0%} of the {peak / 1e9:.0f} GFLOP/s "
        "of a 1024 x 1024 x 1024 product in fp32 on this core."
    )


@contextmanager
def one_commit(checkout: Path, name: str, width: int, precision: str, steps: int) -> Iterator[Callable[[], float]]:
    """Rounds of a checkout's loop in a process of its own; a call does one and gives its ms a step."""
    command = [sys.executable, str(ROOT / "benchmarks" / "one_commit.py"), str(checkout)]
    settings = [name, str(width), precision, str(steps)]
    with subprocess.Popen([*command, *settings], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        questions, answers = process.stdin, process.stdout

        def run() -> float:
            questions.write("\n")
            questions.flush()
            return 1e3 * float(answers.readline()) / steps

        answers.readline()
        yield run
        questions.close()


def compare(name: str, width: int, commit: str, args: argparse.Namespace) -> None:
    """One line: our loop beside that of another commit, in turns."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", folder, commit], check=True)
        stack.callback(subprocess.run, [*git, "remove", "--force", folder], check=True)
        their_precision = args.against_precision or args.precision
        theirs = stack.enter_context(one_commit(Path(folder), name, width, their_precision, args.steps))
        ours = stack.enter_context(one_commit(ROOT, name, width, args.precision, args.steps))
        rounds = [(theirs(), ours()) for _ in range(args.rounds)]
    before, now = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    precisions = f"{their_precision} {args.precision}"
    print(f"{name:20}{width or 16:6}{precisions:>11}{before:10.2f}{now:10.2f} ms a step {ratio:6.2f}x", flush=True)


def main() -> None:
    """Run the rounds of each model in turn and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each contestant (default: 9)")
    parser.add_argument("--steps", type=int, default=300, help="steps a round (default: 300)")
    parser.add_argument("--no-trainer", action="store_true", help="leave the Hugging Face Trainer out")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--against", metavar="COMMIT", help="another commit, to be compared with on our loop alone")
    parser.add_argument("--widths", type=int, nargs="+", default=[0], help="with --against (default: the models' own)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="with --against")
    their_precision = "that of the other commit, with --against (default: --precision)"
    parser.add_argument("--against-precision", choices=["fp32", "bf16"], help=their_precision)
    args = parser.parse_args()
    transformers_logging.set_verbosity_error()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in args.models:
        if args.against is None:
            measure(name, args)
            continue
        for width in args.widths:
            compare(name, width, args.against, args)


def measure(name: str, args: argparse.Namespace) -> None:
    """The table of one model."""
    training, rounds = contestants(MODELS[name], args.steps, not args.no_trainer)
    print(f"\n{name}: P = {training.vector.numel():,}, batch 64 rows of {training.batches.context} tokens")
    for run in rounds.values():  # compile, touch memory
        run(args.steps)
    seconds: dict[str, list[float]] = {contestant: [] for contestant in rounds}
    for _ in range(args.rounds):
        for contestant, run in rounds.items():
            seconds[contestant].append(run(args.steps))
    print("\n".join(report(training, seconds, args.steps)), flush=True)


if __name__ == "__main__":
    main()
