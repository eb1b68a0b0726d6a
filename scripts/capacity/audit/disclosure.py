"""Level 7: what a reader has to be given: the machine-learning reproducibility checklist and the ACM badge criteria.

Answers come from manifests, the table and the repository. What no program can answer is left to a person, and says so.
Sources: Pineau et al., The Machine Learning Reproducibility Checklist (2020); ACM Artifact Review and Badging 1.1.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from capacity.audit.findings import Level, Severity
from capacity.audit.folder import ID_SUFFIX, Folder, Manifest
from capacity.audit.pinned import names_endpoint
from capacity.audit.report import UNTOUCHED
from capacity.config.experiment import Config
from capacity.environment import REPOSITORY, git_state

YES, NO, PARTLY, PERSON = "yes", "no", "partly", "for a person"


@dataclass(frozen=True)
class Item:
    """One question and its answer."""

    source: str
    question: str
    answer: str
    evidence: str

    def line(self) -> str:
        """As it stands in the report."""
        return f"{self.source}: {self.question}: {self.answer}" + (f" ({self.evidence})" if self.evidence else "")


def check_disclosure(
    folder: Folder, config: Config | None, execution: Level | None, table_untouched: bool = False
) -> Level:
    """Fill both lists; what manifests should state and do not is a warning, what policy leaves open a note.

    table_untouched: no cell of the published table was made again.
    """
    level = Level(7)
    manifests = [artefact.manifest for artefact in folder.behind_published()]
    items = [*_checklist(manifests, _rows(folder), config), *_badges(execution, table_untouched)]
    level.facts["answers"] = dict(Counter(item.answer for item in items))
    level.facts["checklist"] = [item.line() for item in items]
    for title, stated in STATED.items():
        silent = [manifest.name for manifest in manifests if not stated(manifest)]
        if silent:
            level.warn("not disclosed", silent[0], f"{title}: not told by {len(silent)} of {len(manifests)} manifests")
    dirty = sum(manifest.git.get("dirty") is True for manifest in manifests)
    if dirty:
        level.note(
            "uncommitted code", "lineage", f"{dirty} artefacts were made in a tree that differed from its commit"
        )
    return level


STATED: dict[str, Callable[[Manifest], Any]] = {
    "interpreter and packages": lambda m: m.environment.get("python") and m.environment.get("packages"),
    "machine": lambda m: m.hardware.get("cpu") is not None and m.hardware.get("system"),
    "command": lambda m: m.command,
    "time and cost": lambda m: m.started and m.ended and m.seconds > 0,
}


def _rows(folder: Folder) -> list[dict[str, Any]]:
    """What the published tables' specifications say of their rows."""
    specs = [table.manifest.settings.get("rows") for table in folder.published_artefacts()]
    return [row for rows in specs if isinstance(rows, list) for row in rows if isinstance(row, dict)]


def seeds_a_point(rows: list[dict[str, Any]]) -> Counter[int]:
    """How many points of the table have so many seeds; a point is what rows share but for seed and artefacts."""
    groups: Counter[str] = Counter()
    for row in rows:
        labels = {k: v for k, v in row.items() if k not in ("seed", "run", "probe_set") and not k.endswith(ID_SUFFIX)}
        groups[str(sorted(labels.items()))] += 1
    return Counter(groups.values())


def _checklist(manifests: list[Manifest], rows: list[dict[str, Any]], config: Config | None) -> list[Item]:
    seeds = seeds_a_point(rows)
    members = {member for m in manifests for member in m.members}  # whose time is in that of their set
    cpu = sum(m.cpu_seconds for m in manifests if m.name not in members)
    machines = Counter(f"{m.hardware.get('cpu')}" for m in manifests)
    devices = Counter(str(m.metrics["device"]) for m in manifests if "device" in m.metrics)
    commits = Counter(str(m.git.get("commit")) for m in manifests)
    studies = [config.studies[name] for name in config.study if name in config.studies] if config else []
    varied = sorted({key for study in studies for key in study.varied()})
    enough = YES if seeds and min(seeds) >= 3 else PARTLY
    answers = [
        ("a clear description of models and algorithms", YES, "docs/, the specification in each manifest"),
        ("the complete data collection process, or data that can be made again", *_data(manifests)),
        ("splits, and what was left out", *_splits(manifests)),
        ("dependencies", YES, "envs/requirements.txt, versions in each manifest"),
        ("training and evaluation code", YES, "scripts/, code digests in each manifest"),
        ("trained models", PARTLY, "results/checkpoints here; a release holds them when told to"),
        ("the exact commands", YES, "make table, and the command in each manifest"),
        ("ranges of hyper-parameters considered", YES if varied else PARTLY, f"varied: {', '.join(varied)}"),
        ("how hyper-parameters were chosen", PERSON, "docs/findings.md"),
        ("the number of training runs", YES if rows else NO, f"{len(rows)} rows"),
        ("seeds", enough, "; ".join(f"{count} points with {number}" for number, count in seeds.items())),
        ("what is measured, and error bars with their meaning", YES, "docs/table.md: 95 % bootstrap over people"),
        ("central tendency and variation over seeds", enough, "capacity_summary.csv, t intervals from three"),
        ("average run time and cost", YES, f"{cpu:,.0f} CPU seconds in all, runs.csv has each"),
        ("the computing infrastructure", YES, f"{_listed(machines)}; trained on {_listed(devices)}"),
        ("the version of the code", NO if set(commits) <= {"None"} else YES, f"commits {_listed(commits)}"),
        ("limits and negative results", PERSON, "docs/results.md, docs/paper.md"),
    ]
    return [Item("checklist", *answer) for answer in answers]


def _data(manifests: list[Manifest]) -> tuple[str, str]:
    if any(names_endpoint(m.settings) for m in manifests):
        return PARTLY, "texts of an endpoint cannot be made again; digests pin them"
    own = {str(m.settings.get("file")) for m in manifests if m.settings.get("kind") == "records"}
    return (PERSON, f"from where {', '.join(sorted(own))} is; digests pin it") if own else (YES, "worlds are generated")


def _splits(manifests: list[Manifest]) -> tuple[str, str]:
    if any(m.name.startswith("answers/") for m in manifests):
        return YES, "of people, by seed: for fine-tuning, validation and test; docs/extraction.md"
    return YES, "none: what is stored of the training data is measured"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in counts.most_common(3))


def _badges(execution: Level | None, table_untouched: bool) -> list[Item]:
    """ACM's criteria, as far as a program sees them."""
    reproduced, again = _reproduced(execution, table_untouched)
    license_ = YES if (REPOSITORY / "LICENSE").is_file() else NO
    return [
        Item("ACM available", "in an archive with an identifier of its own", PERSON, "make release makes the archive"),
        Item("ACM functional", "documented", YES if (REPOSITORY / "README.md").is_file() else NO, "README.md, docs/"),
        Item("ACM functional", "complete and exercisable", YES, "make table, make test"),
        Item("ACM reusable", "a licence", license_, "LICENSE"),
        Item("ACM reusable", "tests, tolerances declared beforehand", YES, "tests/, `audit` in docs/config.md"),
        Item("ACM results reproduced", "made again with the authors' artefacts", reproduced, again),
        Item("ACM results replicated", "made again without the authors' artefacts", PERSON, ""),
        Item("auditor's tree", "a commit", YES if git_state()["commit"] else NO, str(git_state()["commit"])),
    ]


def _reproduced(execution: Level | None, table_untouched: bool) -> tuple[str, str]:
    """Whether results were reproduced, and what that rests on."""
    if execution is None or execution.skipped:
        return NO, "level 4 was not done"
    if execution.worst == Severity.FAULT:
        return NO, execution.grade
    if table_untouched:
        return PARTLY, f"{execution.grade}; {UNTOUCHED}"
    return YES, execution.grade
