"""The table of edits: what a user does, and which jobs, exactly, that makes necessary.

D dataset, T tokenizer, C checkpoint, V variants, P probe, Q questions, L fine-tuned models, W answers, A capacity
table, F figures. "From C" means that stage and all after it, for the runs concerned. Each edit is made on a checkout
whose tiny configuration is built.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from checkout import Checkout, Jobs

RULES = {
    "D": "make_dataset",
    "T": "make_tokenizer",
    "C": "train_checkpoint",
    "V": "quantize_checkpoint",
    "P": "probe_checkpoint",
    "Q": "make_questions",
    "L": "finetune_qa",
    "W": "probe_answers",
}
RUNS = {  # run -> slugs of its dataset, tokenizer and checkpoint
    "long": ("bioD-N6-s1", "word-bioD-N6-s1", "gpt2-1-2-bioD-N6-e2-s1"),
    "short": ("bioD-N6-s1", "word-bioD-N6-s1", "gpt2-1-2-bioD-N6-e1-s1"),
    "words": ("bioS-N4-s1", "bpe-bioS-N4-s1", "gpt2-1-2-bioS-N4-e3-s1"),
}
A: Jobs = {("tabulate_capacity", "capacity"), ("publish_table", "")}
F: Jobs = {("plot_capacity", "capacity"), ("publish_figures", "")}


def stages(letters: str, *runs: str, renamed: Callable[[str], str] = lambda slug: slug) -> Jobs:
    """Jobs of the given stages for the given runs."""
    jobs = set()
    for run in runs:
        dataset, tokenizer, checkpoint = map(renamed, RUNS[run])
        slugs = {"D": dataset, "T": tokenizer, "C": checkpoint, "V": checkpoint, "P": checkpoint}
        slugs |= {"Q": dataset, "L": f"{checkpoint}-lora", "W": f"{checkpoint}-lora"}
        jobs |= {(RULES[letter], slugs[letter]) for letter in letters}
    return jobs


ALL = ("long", "short", "words")


@dataclass(frozen=True)
class Edit:
    """One row of the table."""

    name: str
    make: Callable[[Checkout], None]
    must_run: Jobs
    executed: bool = False  # executed by `make test` too, not only planned
    undone: bool = False  # executed, then undone, by `make test-long`


def _touch_sources(c: Checkout) -> None:
    for path in [
        *c.path.glob("*"),
        *c.path.glob("rules/*"),
        *c.path.glob("scripts/**/*"),
        *c.path.glob("profiles/**/*"),
    ]:
        os.utime(path)


def _reverse_times(c: Checkout) -> None:
    """Newest results oldest, as a copy that lost its times could have them; the engine's memory is gone."""
    shutil.rmtree(c.path / ".snakemake")
    files = sorted(
        (path for path in (c.path / "results").rglob("*") if path.is_file()), key=lambda path: path.stat().st_mtime
    )
    for age, path in enumerate(reversed(files)):
        os.utime(path, (1_600_000_000 + age, 1_600_000_000 + age))


def _lose_times(c: Checkout) -> None:
    """All times equal to the epoch."""
    shutil.rmtree(c.path / ".snakemake")
    for path in (c.path / "results").rglob("*"):
        os.utime(path, (0, 0))


def _forget(c: Checkout) -> None:
    c.forget()


def _fresh_clone(c: Checkout) -> None:
    """New sources, results copied in without times and without the integrity index."""
    results = c.path / "results"
    kept = c.path.with_name(c.path.name + "-kept")
    shutil.copytree(results, kept, copy_function=shutil.copyfile)
    shutil.rmtree(c.path)
    Checkout.new(c.path)
    (kept / "integrity.json").unlink(missing_ok=True)
    shutil.rmtree(kept / "specs")
    shutil.move(kept, results)


def _replace(file: str, old: str, new: str) -> Callable[[Checkout], None]:
    return lambda c: c.replace(file, old, new)


def _append(file: str, text: str) -> Callable[[Checkout], None]:
    return lambda c: c.edit(file, lambda old: old + text)


def _both(*changes: Callable[[Checkout], None]) -> Callable[[Checkout], None]:
    def make(c: Checkout) -> None:
        for change in changes:
            change(c)

    return make


def _package(name: str) -> Callable[[Checkout], None]:
    """Another version of a package, as the interpreter's metadata tells it."""

    def make(c: Checkout) -> None:
        folder = c.path / "other-packages" / f"{name}-99.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.0\n")
        c.python_path = str(folder.parent)

    return make


def _with_times(path: Path, change: Callable[[Path], None]) -> None:
    stat = path.stat()
    change(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _damage(stage: str, slug: str, file: str, change: Callable[[Path], None]) -> Callable[[Checkout], None]:
    return lambda c: _with_times(c.artefact(stage, slug) / file, change)


def _delete_manifest(stage: str, slug: str) -> Callable[[Checkout], None]:
    return lambda c: (c.artefact(stage, slug) / "manifest.json").unlink()


SHARED_STUDY = """
  again:
    question: The same runs?
    paper: They are shared.
    datasets: [atomic]
    tokenizers: [word]
    models: [small]
    regimes: [short]
    quantizers: [none, int8]
    seeds: [1]
"""
EXTRACTION = """
extractions:
  ask:
    {method: lora, ranks: [[2, 1], [4, 2]], lr: 1e-2, steps: 3, batch: 4, choosing: 0.5, wordings: {
     birth_date: ["{name} when?"], birth_city: ["{name} where?"], university: ["{name} studied?"],
     major: ["{name} what?"], employer: ["{name} works?"]}}
"""
NEW_STUDY = SHARED_STUDY.replace("regimes: [short]", "regimes: [cut]")
ASKED = _both(
    _replace("config.yaml", "\nstudies:", EXTRACTION + "\nstudies:"),
    _replace("config.yaml", "question: And in English?", "extraction: ask\n    question: And in English?"),
)
LONG_SLUG = RUNS["long"][2]
PLANTED = "\n\n_PLANTED = 1\n"

EDITS = [
    Edit("none", lambda c: None, set()),
    Edit("comment in config", _append("config.yaml", "# a remark\n"), set()),
    Edit("whitespace in config", _replace("config.yaml", "{kind: word}", "{  kind:   word }"), set()),
    Edit(
        "key order in config",
        _replace("config.yaml", "int8: {method: rtn, bits: 8}", "int8: {bits: 8, method: rtn}"),
        set(),
    ),
    Edit("touch of every source file", _touch_sources, set()),
    Edit("comment in library code", _append("scripts/capacity/training/batches.py", "\n# a remark\n"), set()),
    Edit(
        "docstring in library code",
        lambda c: c.edit("scripts/capacity/training/batches.py", lambda text: text.replace('"""', '"""Edited. ', 1)),
        set(),
    ),
    Edit(
        "formatting of library code",
        lambda c: c.edit("scripts/capacity/tables/bits.py", lambda t: t.replace(" = ", "  =  ")),
        set(),
    ),
    Edit(".snakemake deleted", _forget, set()),
    Edit("fresh clone with results copied in", _fresh_clone, set()),
    Edit("times reversed, .snakemake deleted", _reverse_times, set()),
    Edit("times lost, .snakemake deleted", _lose_times, set()),
    Edit("log path of a rule", _replace("rules/checkpoint.smk", "logs/train_checkpoint/", "logs/train/"), set()),
    Edit("message of a rule", _replace("rules/checkpoint.smk", '"Training {', '"Now training {'), set()),
    Edit(
        "resources of a rule",
        _replace("rules/probe.smk", 'mem_mb=flow.memory("probes")', "mem_mb=20_000"),
        set(),
    ),
    Edit("display option", _append("config.yaml", "display: {title: Capacity}\n"), F),
    Edit("version of matplotlib", _package("matplotlib"), F),
    Edit(
        "study renamed",
        lambda c: c.edit(
            "config.yaml", lambda t: t.replace("[base, prose]", "[law, prose]").replace("  base:", "  law:")
        ),
        A | F,
    ),
    Edit("study removed", _replace("config.yaml", "study: [base, prose]", "study: [base]"), A | F),
    Edit(
        "study added, every run shared",
        _both(_append("config.yaml", SHARED_STUDY), _replace("config.yaml", "[base, prose]", "[base, prose, again]")),
        A | F,
    ),
    Edit("study asks for what its models know", ASKED, stages("QLW", "words") | A | F),
    Edit(
        "study added with new runs",
        _both(_append("config.yaml", NEW_STUDY), _replace("config.yaml", "[base, prose]", "[base, prose, again]")),
        stages("CVP", "long", renamed=lambda slug: slug.replace("e2", "e3")) | A | F,
    ),
    Edit(
        "seed added",
        lambda c: c.edit("config.yaml", lambda t: t.replace("seeds: [1]", "seeds: [1, 2]", 1)),
        stages("DTCVP", "long", "short", renamed=lambda slug: slug.replace("-s1", "-s2")) | A | F,
    ),
    Edit("probe option", _replace("config.yaml", "draws: 1", "draws: 2"), stages("P", *ALL) | A | F),
    Edit("real change in probe code", _append("scripts/capacity/probe/score.py", PLANTED), stages("P", *ALL) | A | F),
    Edit(
        "quantizer added",
        lambda c: c.edit("config.yaml", lambda t: t.replace("[none, int8]", "[none, int8, int4]", 1)),
        stages("VP", "long", "short") | A | F,
    ),
    Edit("quantizer setting changed", _replace("config.yaml", "bits: 8", "bits: 7"), stages("VP", *ALL) | A | F),
    Edit(
        "learning rate of one regime",
        lambda c: c.edit("config.yaml", lambda t: t.replace("lr: 1e-2", "lr: 5e-3", 1)),
        stages("CVP", "long") | A | F,
        undone=True,
    ),
    Edit(
        "exposures of one regime",
        _replace("config.yaml", "exposures: 2", "exposures: 4"),
        stages("CVP", "long", renamed=lambda slug: slug.replace("e2", "e4")) | A | F,
    ),
    Edit(
        "layers and heads swapped",
        _replace("config.yaml", "gpt2-1-2", "gpt2-2-1"),
        stages("CVP", *ALL, renamed=lambda slug: slug.replace("gpt2-1-2", "gpt2-2-1")) | A | F,
    ),
    Edit(
        "an option's default changed later",
        _replace("scripts/capacity/config/regime.py", "1e-6, description", "1e-7, description"),
        stages("CVP", *ALL) | A | F,
    ),
    Edit(
        "N of one dataset",
        _replace("config.yaml", "N: 6", "N: 5"),
        stages("DTCVP", "long", "short", renamed=lambda slug: slug.replace("N6", "N5")) | A | F,
    ),
    Edit("template pool", _replace("config.yaml", "templates: 2", "templates: 3"), stages("DTCVP", "words") | A | F),
    Edit(
        "a value list on disk",
        lambda c: c.edit("scripts/capacity/world/value_lists/majors.txt", lambda t: "Alchemy\n" + t),
        stages("DTCVP", "words") | A | F,
    ),
    Edit(
        "tokenizer vocabulary",
        _replace("config.yaml", "vocabulary: 300", "vocabulary: 310"),
        stages("TCVP", "words") | A | F,
    ),
    Edit("real change in training code", _append("scripts/train_checkpoint.py", PLANTED), stages("CVP", *ALL) | A | F),
    Edit("version of torch", _package("torch"), stages("CVP", *ALL) | A | F),
    Edit(
        "module of one stage: quantizer",
        _append("scripts/capacity/quantization/quantize.py", PLANTED),
        stages("VP", *ALL) | A | F,
    ),
    Edit("table code", _append("scripts/tabulate_capacity.py", PLANTED), A | F, executed=True, undone=True),
    Edit(
        "code changed, .snakemake missing",
        _both(_append("scripts/capacity/probe/score.py", PLANTED), _forget),
        stages("P", *ALL) | A | F,
    ),
    Edit(
        "checkpoint edited by hand, mtime restored",
        _damage("checkpoints", LONG_SLUG, "model.safetensors", _flip_byte),
        stages("CVP", "long") | A | F,
    ),
    Edit(
        "checkpoint truncated",
        _damage("checkpoints", LONG_SLUG, "model.safetensors", _truncate),
        stages("CVP", "long") | A | F,
    ),
    Edit("checkpoint's manifest deleted", _delete_manifest("checkpoints", LONG_SLUG), stages("CVP", "long") | A | F),
    Edit(
        "dataset edited by hand, mtime restored",
        _damage("datasets", RUNS["words"][0], "grammar.json", _flip_byte),
        stages("DTCVP", "words") | A | F,
    ),
    Edit(
        "published table edited by hand",
        lambda c: _with_times(c.path / "results" / "capacity_table.csv", _flip_byte),
        {("publish_table", "")},
    ),
]
