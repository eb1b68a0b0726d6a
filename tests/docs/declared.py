"""For each documented command: how it is run here, at a tiny size, or which other test runs it.

Commands are run as they are written, in one of two places: `tiny`, a built checkout in which the names of the shipped
configuration stand for things of seconds, and `clone`, the shipped files with nothing built. What is written otherwise
here than on the page, because it names a thing that only a reader has, or asks for a day, is said as `instead`.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """Run here; ends with 0 unless said otherwise, prints and makes what is said."""

    instead: str = ""
    first: str = ""  # what the page takes for granted
    place: str = "tiny"
    ends: int = 0
    says: str = ""
    makes: str = ""
    slow: bool = False  # among the long tests alone


@dataclass(frozen=True)
class Elsewhere:
    """Run by another test, `file::function`, or by all tests of a file."""

    test: str


@dataclass(frozen=True)
class Reader:
    """Of the reader's own machine, nothing of this project: why it is not run."""

    why: str


Way = Run | Elsewhere | Reader

ON_A_CLUSTER = "tests/slurm/test_workflow.py::"
COLUMNS = "results/capacity_table.csv"
SIGNED = (
    "ssh-keygen -q -t ed25519 -N '' -f key; echo \"mine $(cat key.pub)\" > allowed; "
    "make release KEY=key OUTPUT=release.tar.gz"
)
NO_GPU = r"error: .*GPU"

WAYS: dict[str, Way] = {
    # README.md
    "make table": Run(makes=COLUMNS),
    "make test": Elsewhere("tests/docs/test_documented_commands.py"),
    "make plan CONFIG=my.yaml STUDY=my-question": Run(says="new runs: 3"),
    "make table CONFIG=my.yaml STUDY=my-question": Run(says="my-question", slow=True),
    "make preview CONFIG=my.yaml DATASET=my-facts": Run(says="the dataset +6154 bits  N = 246"),
    "make help": Run(says="make table"),
    # docs/experiments.md and the pages beside it
    "make env && . .venv/bin/activate": Run(),
    f"snakemake --cores all {COLUMNS}": Run(f"snakemake --cores 2 {COLUMNS}", says="Nothing to be done"),
    "make plan STUDY=my-question": Run(says="new runs: 3"),
    "make table STUDY=my-question": Run(says="my-question", slow=True),
    "make runs STUDY=my-question": Run(says="my-question"),
    "make table CONFIG=my.yaml STUDY=my-question ARGS=--dry-run": Run(),
    "make plan SCALE=paper STUDY=base-law": Run(
        place="clone", says=r"1657 jobs.* GPU days[\s\S]*at the published rate"
    ),
    "make table SCALE=workstation STUDY=base-law": Run(place="clone", ends=2, says=NO_GPU),
    "make gpu": Run(place="clone", ends=2, says=NO_GPU),
    f"snakemake --profile slurm {COLUMNS} --configfile scales/paper.yaml --config study=base-law": Run(
        f"snakemake -n --profile slurm {COLUMNS} --configfile scales/paper.yaml --config study=base-law",
        place="clone",
        says=r"total +16\d\d",
        slow=True,
    ),
    "snakemake --profile slurm all --configfile my.yaml --config study=my-question": Run(
        "snakemake -n --profile slurm all --configfile my.yaml --config study=my-question",
        says=r"judge_claims +1|Nothing to be done",  # the latter where the page has made it before
    ),
    "make report": Run(makes="results/report.html", slow=True),
    "snakemake --report=results/engine.html results/report.html": Run(
        first="make report", makes="results/engine.html", slow=True
    ),
    "make compare": Run(place="clone", says="0 of"),
    "make compare SCALE=desktop": Run(
        first="cp results/reference/desktop/quantization/capacity_table.csv results/", place="clone", says="0 of 38"
    ),
    "make size FACTS=14e9 EXPOSURES=1000": Run(place="clone", says="by the law"),
    "make audit": Run(first="make table", says="no finding", makes="results/audit/audit.md", slow=True),
    "make lineage CELL=12:R": Run("make lineage CELL=5:R", makes="results/audit/lineage.svg"),
    "make release": Run(makes="results/release.tar.gz"),
    'make task DATASET=biographies EXTRACTION=questions TASK=tasks ARGS="--set N=300 --seed 1"': Run(makes="tasks"),
    ".venv-harness/bin/lm_eval run --model hf --model_args pretrained=results/finetunes/<id>,dtype=float32 "
    "--tasks biographies-questions --include_path tasks": Elsewhere(
        "tests/extraction/test_harness.py::test_the_harness_finds_the_accuracy_of_our_probe"
    ),
    "make harness": Elsewhere("tests/extraction/test_harness.py::test_the_harness_finds_the_accuracy_of_our_probe"),
    "make env TORCH_INDEX=<index of CPU builds>": Run('make env TORCH_INDEX="$TORCH_INDEX"'),
    "make runs": Run(says="base-law"),
    "make plan": Run(says="nothing to do"),
    "make orphans": Run(says="study base-law"),
    "make prune": Run("make prune ARGS=--yes"),
    "make prune DAMAGED=1": Run("make prune DAMAGED=1 ARGS=--yes", first="make table"),
    "make reference": Elsewhere("tests/tables/test_reference.py"),
    "make law": Run(place="clone", slow=True),
    "make size": Run(place="clone", says="by the law"),
    "make preview DATASET=countries": Run(place="clone", says="the dataset +6154 bits  N = 246"),
    "make export VARIANT=results/variants/... OUTPUT=folder": Elsewhere("tests/quantization/test_packed.py"),
    "capacity measure examples/architectures/gru.py:make --settings '{width: 20}' --name gru --budget 2h": Run(
        "capacity measure examples/architectures/gru.py:make --settings '{width: 20}' --name gru --budget 8h --dry-run",
        place="clone",
        says="seeds; about",
        slow=True,
    ),
    "capacity mix --tag --fewer --budget 3h": Run(
        "capacity mix --tag --fewer --budget 3h --dry-run", place="clone", says="seeds; about", slow=True
    ),
    "make table CONFIG=results/measures/gru/config.yaml": Elsewhere(
        "tests/long/test_measure_whole.py::test_a_model_of_ones_own_gets_its_card"
    ),
    "make audit CONFIG=results/measures/gru/config.yaml": Elsewhere(
        "tests/long/test_measure_whole.py::test_a_model_of_ones_own_gets_its_card"
    ),
    "make table SCALE=desktop STUDY=base-law": Run(
        "make plan SCALE=desktop STUDY=base-law", place="clone", says="33,824"
    ),
    "make table SCALE=desktop-large STUDY=base-law-short": Run(
        "make plan SCALE=desktop-large STUDY=base-law-short", place="clone", says="116,800"
    ),
    "make table SCALE=desktop STUDY=quantization-more-seeds": Run(
        "make plan SCALE=desktop STUDY=quantization-more-seeds", place="clone", says="33,824"
    ),
    "make table SCALE=desktop-large STUDY=ladder-top-short": Run(
        "make plan SCALE=desktop-large STUDY=ladder-top-short", place="clone", says="430,208"
    ),
    "make table SCALE=desktop-large STUDY=precision-32 CONFIG=results/reference/precision/models.yaml": Run(
        "make plan SCALE=desktop-large STUDY=precision-32 CONFIG=results/reference/precision/models.yaml",
        place="clone",
        says="41,376",
    ),
    "make table SCALE=desktop-large STUDY=precision-128-experts CONFIG=results/reference/precision/models.yaml": Run(
        "make plan SCALE=desktop-large STUDY=precision-128-experts CONFIG=results/reference/precision/models.yaml",
        place="clone",
        says="697,216",
    ),
    "make table SCALE=desktop-large STUDY=taken-64 CONFIG=results/reference/precision/models.yaml": Run(
        "make plan SCALE=desktop-large STUDY=taken-64 CONFIG=results/reference/precision/models.yaml",
        place="clone",
        says="184,768",
    ),
    "make table CONFIG=examples/factors.yaml STUDY=factor-values": Run(
        "make plan CONFIG=examples/factors.yaml STUDY=factor-values", place="clone", says="10,832"
    ),
    "make table SCALE=desktop-large": Run(
        "make plan SCALE=desktop-large STUDY=base-law", place="clone", says="116,800"
    ),
    # docs/gpu.md
    "make plan SCALE=workstation STUDY=base-law": Run(place="clone", says="assumed for 13 trainings"),
    'make plan SCALE=paper STUDY=base-law ARGS="--rate 1e14"': Run(place="clone", says="at the rate given", slow=True),
    'make plan SCALE=paper STUDY=base-law ARGS="--trainings gpt2-20-16-bioS-N10000000-*"': Run(
        place="clone", says="1.13e\\+21 FLOPs", slow=True
    ),
    "make table SCALE=workstation CONFIG=examples/published-points.yaml STUDY=published-points": Run(
        place="clone", ends=2, says=NO_GPU
    ),
    # docs/audit.md
    "git checkout <commit>": Reader("git's own"),
    "make audit LEVELS=1-3,6,7": Run(says="no finding", makes="results/audit/audit.json"),
    "make audit LEVELS=4 SAMPLE=10% SEED=7": Run(says="no finding", makes="results/audit/audit.json", slow=True),
    "make audit LEVELS=4 TARGET=capacity_table.csv": Run(
        says="no finding", makes="results/audit/audit.json", slow=True
    ),
    "make audit ARCHIVE=release.tar.gz SIGNERS=allowed": Run(first=SIGNED, says="no finding", slow=True),
    "make lineage CELL=study=base-law,N=400,exposures=1000,seed=1,scheme=int8:R": Run(
        "make lineage CELL=study=base-law,N=6,exposures=2,seed=1,scheme=int8:R", says="checkpoints"
    ),
    "make release WITH=probes,datasets,variants": Run(makes="results/release.tar.gz"),
    "make release KEY=~/.ssh/id_ed25519": Run(
        "make release KEY=id_ed25519", first="ssh-keygen -q -t ed25519 -N '' -f id_ed25519", says="signed"
    ),
    "make audit RESULTS=... SAMPLE=10% SEED=1": Run(
        "make audit RESULTS=results LEVELS=1 SAMPLE=10% SEED=1", first="make table", says="no finding", slow=True
    ),
    # docs/cluster.md: what can be seen without a cluster is, the rest on the cluster of `make test-slurm`
    f"snakemake --profile slurm {COLUMNS}": Elsewhere(
        ON_A_CLUSTER + "test_the_literal_command_makes_the_table_of_a_local_run"
    ),
    f"snakemake -n --profile slurm {COLUMNS}": Run(place="clone", says="train_checkpoint"),
    f"snakemake --profile slurm {COLUMNS} --default-resources slurm_account=lab slurm_partition=cpu --set-resources "
    "train_checkpoint:slurm_partition=gpu probe_checkpoint:slurm_partition=gpu": Elsewhere(
        ON_A_CLUSTER + "test_with_accounting_an_unknown_account_is_refused_and_a_known_one_works"
    ),
    f"snakemake --profile slurm {COLUMNS} --set-resources train_checkpoint:gpu=0 "
    "train_checkpoint:gres=shard:1": Elsewhere(
        ON_A_CLUSTER + "test_small_trainings_share_one_gpu_where_the_profile_asks_for_shards"
    ),
    "snakemake --cores all": Run("snakemake --cores 2", makes="results/figures/capacity.png", slow=True),
    "make test-slurm": Elsewhere("tests/slurm/test_workflow.py"),
    "make test-long": Elsewhere("tests/long/test_all_edits.py"),
    "make test-report": Elsewhere("tests/report/test_report.py"),
    "make crosscheck": Elsewhere("tests/quantization/test_crosscheck.py"),
    "make env": Run(),
    "make check": Elsewhere("tests/long/test_checks.py"),
    "git worktree add ../second": Reader("makes a folder beside the reader's checkout"),
    "make quick": Elsewhere("tests/test_gate.py"),
    "make test-all": Elsewhere("tests/long/test_all_edits.py"),
    "make test-long TURN=n": Elsewhere("tests/test_gate.py"),
    "make durations": Elsewhere("tests/test_gate.py"),
    "make test ARGS=--renew-durations": Elsewhere("tests/test_gate.py"),
    "make format": Reader("rewrites sources; before each commit"),
    "make lock": Reader("needs the network"),
    "capacity audit": Run("capacity audit --levels 1", says="no finding"),
    # docs/sharing.md
    "capacity hub results/variants/<id> my-model --dataset me/my-facts": Elsewhere("tests/hub/test_hub_folders.py"),
    "capacity hub results/datasets/<id> my-facts": Elsewhere("tests/hub/test_hub_folders.py"),
    "capacity push my-model me/my-model --dry-run": Elsewhere(
        "tests/hub/test_hub_folders.py::test_a_dry_run_of_a_push_lists_what_would_go_where"
    ),
    "capacity push my-model me/my-model": Reader("sends to the hub"),
    # docs/watching.md
    f"snakemake --cores all {COLUMNS} --logger capacity": Elsewhere(
        "tests/watch/test_live_run.py::test_a_terminal_shows_trainings_by_the_names_of_the_configuration"
    ),
    f"snakemake --profile slurm {COLUMNS} --logger capacity": Run(
        f"snakemake -n --profile slurm {COLUMNS} --logger capacity", place="clone", says="train_checkpoint", slow=True
    ),
    "make table LIVE=0": Run(makes=COLUMNS, slow=True),
    "make curves STUDY=base-law": Run(makes="results/curves/base-law.png"),
    "make docs": Run(makes="docs/config.md"),
    "make site": Elsewhere("tests/docs/test_site.py"),
    ". .venv/bin/activate": Run(),
    "tmux": Reader("keeps the engine alive on a login node"),
    "module load python/3.11": Reader("of sites with modules"),
    "conda env create --name capacity --file envs/capacity.yaml": Elsewhere(
        "tests/test_environment.py::test_the_conda_form_has_the_same_versions"
    ),
    "conda activate capacity": Reader("conda's own"),
    "export TORCHINDUCTOR_CACHE_DIR=/local/$USER/inductor": Reader("torch's own"),
    'squeue --me --format="%i %T %M %R %k"': Reader("SLURM's own"),
    "squeue --name <run>": Reader("what the engine's plugin calls"),
    "sbatch --test-only": Reader("what the engine calls; see tests/workflow/test_profile.py"),
    "kill <engine>": Elsewhere(
        ON_A_CLUSTER + "test_an_engine_that_is_interrupted_and_one_that_is_killed_can_be_started_again"
    ),
}
# Studies in the findings take hours: that they are there is tested, and that a study of each kind of question runs.
STUDY = re.compile(r"make table( SCALE=\w+)? STUDY=([\w-]+)")
BENCHMARK = re.compile(r"python (benchmarks/\w+\.py)(.*)")
# What a page takes for granted when it begins.
BEFORE = {"docs/start.md": "make table", "docs/audit.md": "make table"}
# First line of a block that shows what a command prints -> the command; the block's lines, cut where it says "...".
PRINTED = {
    "[name: Reunion:] code is [code: REU;] continent is [continent: Africa;] capital is [capital: Saint-Denis;] ...": (
        "make preview DATASET=countries"
    ),
}


def way_of(command: str) -> Way | None:
    """How a command is run; None where nobody has said it."""
    if benchmark := BENCHMARK.fullmatch(command):
        return Run(f"python {benchmark[1]} --help", place="clone", says=options(benchmark[2]), slow=True)
    if (study := STUDY.fullmatch(command)) and command not in WAYS:
        return Run(f"make plan{study[1] or ''} STUDY={study[2]}", place="clone", slow=True)
    return WAYS.get(command)


def options(words: str) -> str:
    """A pattern that matches a help text with all options among some words."""
    return "".join(f"(?=[\\s\\S]*{word})" for word in words.split() if word.startswith("--"))
