"""Level 4: a sample of what the table rests on, made again from nothing in a folder of its own, and compared.

The unit of the sample is what the table was directly made from, with all that it follows from: a run. Runs are drawn
without replacement with probability proportional to their cost.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capacity.artefacts.manifest import MANIFEST
from capacity.audit.counterparts import Counterparts
from capacity.audit.currency import Currency, standings
from capacity.audit.differences import Comparison, compare_artefacts
from capacity.audit.engine import CleanCheckout
from capacity.audit.findings import Level, Severity
from capacity.audit.folder import Artefact, Folder, parents_first, read_folder
from capacity.audit.machine import own_differences
from capacity.audit.pinned import keep_pinned, take
from capacity.config.experiment import Config
from capacity.config.study import Audit
from capacity.errors import UserError
from capacity.plan.grid import Grid

ALL = "all"
DRAWN = ("figures", "claims")  # which follow from the table, and are made again from it at level 2
TABLE_MADE_AGAIN = "the published table was made again"  # a fact, yes or no


@dataclass(frozen=True)
class Choice:
    """What to make again: a number of runs, a share of the cost such as "10%", or "all"; or one place, or one rule.

    Raises UserError for another sample.
    """

    sample: str = "1"
    seed: int = 1
    target: str | None = None

    def __post_init__(self) -> None:
        share = re.fullmatch(r"(\d+(\.\d*)?|\.\d+)%", self.sample)
        if not (0 < float(share[1]) <= 100 if share else re.fullmatch(rf"{ALL}|[1-9]\d*", self.sample)):
            raise UserError(
                f"--sample: {self.sample!r}; give a number of runs, a share of the cost such as 10%, or {ALL}"
            )


def units(folder: Folder) -> list[str]:
    """The scores and answers that the published capacity table was made from, one a run."""
    parents = dict.fromkeys(parent for table in published_tables(folder) for parent in table.parents())
    here = [parent for parent in parents if parent in folder.artefacts]
    return [parent for parent in here if parent.startswith(("probes/", "answers/"))]


def published_tables(folder: Folder) -> list[Artefact]:
    """The published capacity table, as far as it is here."""
    return [artefact for artefact in folder.published_artefacts() if artefact.stage == "tables"]


def with_tables(folder: Folder, names: list[str]) -> list[str]:
    """Names of artefacts to make again, and the table where they are all that it was made from."""
    whole = bool(names) and set(units(folder)) <= set(names)
    return list(dict.fromkeys([*names, *(table.name for table in published_tables(folder) if whole)]))


def cost(folder: Folder, names: Iterable[str]) -> float:
    """CPU seconds that making these artefacts took; those of a set's job include its members'."""
    chosen = {name: folder.artefacts[name].manifest for name in names if name in folder.artefacts}
    members = {member for manifest in chosen.values() for member in manifest.members}
    return sum(manifest.cpu_seconds for name, manifest in chosen.items() if name not in members)


def choose(folder: Folder, choice: Choice) -> list[str]:
    """Names of the artefacts to make again, with all that they follow from. Raises UserError."""
    if choice.target:
        return _targets(folder, choice.target)
    names = units(folder)
    weights = np.array([cost(folder, folder.lineage([name])) for name in names])
    if choice.sample == ALL or not names:
        return names
    drawn = _draw(weights, choice.seed)
    if choice.sample.endswith("%"):
        return _until([names[i] for i in drawn], folder, float(choice.sample[:-1]) / 100)
    return [names[i] for i in drawn[: int(choice.sample)]]


def _draw(weights: Any, seed: int) -> list[int]:
    """All indices in the order of a weighted draw without replacement (Efraimidis and Spirakis 2006)."""
    generator = np.random.Generator(np.random.Philox(seed))
    keys = np.log(generator.random(len(weights))) / np.maximum(weights, 1e-9)
    return [int(i) for i in np.argsort(-keys)]


def _until(names: list[str], folder: Folder, share: float) -> list[str]:
    """The first names with which the share of the whole lineage's cost is reached."""
    total, chosen = cost(folder, folder.lineage(folder.roots())), list[str]()
    for name in names:
        chosen.append(name)
        if cost(folder, folder.lineage(chosen)) >= share * total:
            break
    return chosen


def _targets(folder: Folder, target: str) -> list[str]:
    """What a path below the results folder, an artefact's id, a stage or a fixed path means."""
    place = target.removeprefix("results/").rstrip("/").removesuffix(f"/{MANIFEST}")
    copies = [
        f"{each.stage}/{folder.published_id(each)}"
        for each in folder.published
        if place in (*each.files.values(), each.id_file)
    ]
    found = copies or [name for name, artefact in folder.artefacts.items() if place in (name, artefact.id)]
    found = found or [artefact.name for artefact in folder.behind_published() if artefact.stage == place]
    if not found:
        raise UserError(f"--target {target}: no artefact, stage or fixed path of this folder")
    return found


def check_execution(folder: Folder, grid: Grid, config: Config, choice: Choice, jobs: int, scratch: Path) -> Level:
    """Make the chosen artefacts again by the engine, in a folder with nothing in it, and compare every one of them."""
    level = Level(4)
    counterparts = Counterparts(folder, grid)
    asked = choose(folder, choice)
    chosen = with_tables(folder, asked)
    specs = {name: counterparts.job(name) for name in chosen}
    kept = keep_pinned(folder, counterparts.specs, specs, level)
    if kept:  # a table of texts that are taken as they are is made again where it is asked for alone
        specs = {name: spec for name, spec in specs.items() if name in asked}
    for name in [name for name, spec in specs.items() if spec is None]:
        level.warn(
            "not made again", name, "the present configuration has no such artefact; use the one it was made with"
        )
    targets = sorted({f"results/{spec.name}/{MANIFEST}" for spec in specs.values() if spec})
    level.facts |= {"seed": choice.seed, "chosen": [name for name, spec in specs.items() if spec]}
    if not targets:
        level.skipped = "nothing that could be made again"
        return level
    checkout = CleanCheckout.new(scratch / "execution", config)
    take(folder, kept, checkout.results)
    run = checkout.engine(*targets, "--cores", str(jobs), "--nocolor")
    if run.returncode:
        errors = [line for line in run.stdout.splitlines() if line.startswith("error") or "Error" in line]
        level.fault("not made again", chosen[0], f"the engine failed: {(errors or ['no message'])[-1].strip()[:200]}")
    again = read_folder(checkout.results, [])
    by_meaning = {counterparts.meaning_of_spec(name): name for name in again.artefacts if name in counterparts.specs}
    twins = {
        name: again.artefacts[by_meaning[meaning]]
        for name in (artefact.name for artefact in folder.behind_published())
        if name not in kept and (meaning := counterparts.meaning(name)) in by_meaning
    }
    found, reasons, remade = standings(folder), why_other_bits(folder, twins), list(twins)
    for name, twin in twins.items():
        stale = found[name].currency != Currency.CURRENT
        it = compare_artefacts(folder.artefacts[name], twin)
        judge(name, it, stale, reasons[name], config.audit, level)
    _weigh_tolerance(reasons, level)
    tables = {table.name for table in published_tables(folder)}
    level.facts[TABLE_MADE_AGAIN] = "yes" if tables and tables <= set(remade) else "no"
    _coverage(folder, remade, cost(again, again.artefacts.keys() - set(kept)), level)
    return level


def why_other_bits(folder: Folder, twins: Mapping[str, Artefact]) -> dict[str, list[str]]:
    """Why other bits are expected of each artefact that was made again: reasons of its own, and of its lineage.

    What the audited folder says of itself decides that, and what its trainings and those made again say they did.
    """
    reasons: dict[str, list[str]] = {}
    for name in parents_first(twins, folder.parents):
        if name in folder.artefacts:
            above = [words for parent in folder.parents(name) for words in reasons.get(parent, [])]
            own = own_differences(folder.artefacts[name].manifest)
            own += _other_execution(folder.artefacts[name], twins[name]) if name in twins else []
            reasons[name] = list(dict.fromkeys([*above, *own]))
    return {name: reasons[name] for name in twins}


def _other_execution(audited: Artefact, again: Artefact) -> list[str]:
    """What two trainings decided otherwise for themselves, such as whether to compile."""
    told = [each.manifest.metrics.get("execution") for each in (audited, again)]
    mine, other = (each if isinstance(each, dict) else {} for each in told)
    return [f"trained with {key} {mine.get(key)}, here {other[key]}" for key in other if mine.get(key) != other[key]]


def _weigh_tolerance(reasons: Mapping[str, list[str]], level: Level) -> None:
    """Say what was expected; that numbers need only be near is granted on the word of what is audited."""
    granted = Counter(words for each in reasons.values() for words in each)
    words = [f"{words} ({number} artefacts)" for words, number in granted.items()]
    level.facts["expected"] = f"within tolerance: {'; '.join(words)}" if words else "equal bits"
    if words:
        what = f"numbers need only be near, not equal, because the manifests say so: {'; '.join(words)}"
        level.warn("tolerance on its word", "lineage", what)


def judge(name: str, it: Comparison, stale: bool, reasons: list[str], allowed: Audit, level: Level) -> None:
    """What a comparison means: equal bits are a fact; anything else is a finding, weighed by what was expected.

    reasons: why other bits are expected; none where equal ones are.
    """
    counts = level.facts.setdefault("made again", {"equal bits": 0, "within tolerance": 0, "different": 0})
    if it.equal:
        counts["equal bits"] += 1
        return
    is_drawn = name.partition("/")[0] in DRAWN
    if (is_drawn or not it.is_told) and (stale or reasons):
        counts["nothing to compare"] = counts.get("nothing to compare", 0) + 1
        what = "it follows from the table" if is_drawn else "its files were left out"
        level.note("nothing to compare", name, f"{what}; other bits are expected here")
        return
    within, how = it.is_within(allowed), it.in_words()
    counts["within tolerance" if within and reasons else "different"] += 1
    if stale:
        level.add(Severity.NOTE if within else Severity.WARNING, "other bits", name, f"made by other code; {how}")
    elif within and reasons:
        level.note("other bits", name, f"within tolerance on this machine; {how}")
    else:
        level.fault("other bits", name, f"made again it differs; {how}")


def _coverage(folder: Folder, remade: list[str], spent: float, level: Level) -> None:
    """How much of the table's lineage was made again, by number and by cost, and what that cost."""
    lineage = [artefact.name for artefact in folder.behind_published()]
    level.facts["coverage of the lineage, artefacts"] = f"{len(remade)} of {len(lineage)}"
    total = cost(folder, lineage)
    level.facts["coverage of the lineage, cost"] = f"{_share(cost(folder, remade), total)} of {total:,.0f} CPU seconds"
    trained = [name for name in lineage if name.startswith("checkpoints/")]
    training = cost(folder, trained)
    share = _share(cost(folder, set(trained) & set(remade)), training)
    level.facts["coverage of the training cost"] = f"{share} of {training:,.0f} CPU seconds"
    level.facts["CPU seconds spent"] = round(spent, 1)


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "none"
