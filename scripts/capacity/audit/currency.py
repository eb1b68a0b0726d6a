"""Level 3: whether each artefact would be made again today: by the present code, packages, files and configuration.

Config-free: an artefact is current when the present tree gives its specification and its parents the name that it has.
What the present configuration asks for is compared apart from that, and with what the engine itself would do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import input_digest, package_version
from capacity.artefacts.sources import code_digest, module_digests
from capacity.artefacts.stages import STAGES
from capacity.audit.counterparts import Counterparts
from capacity.audit.findings import Level
from capacity.audit.folder import Artefact, Folder, parents_first
from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.plan.changes import compare, in_words
from capacity.plan.grid import Grid


class Currency(StrEnum):
    """Whether the present tree would give an artefact the same name."""

    CURRENT = "current"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass
class Standing:
    """An artefact against the present tree."""

    currency: Currency
    reasons: list[str] = field(default_factory=list)  # its own; what its parents bring is not repeated


def standings(folder: Folder) -> dict[str, Standing]:
    """Every artefact against the present tree, parents before children."""
    found: dict[str, Standing] = {}
    for name in parents_first([*folder.roots(), *folder.artefacts], folder.parents):
        if name in folder.artefacts:
            found[name] = _stand(folder.artefacts[name], folder, found)
    return found


def _stand(artefact: Artefact, folder: Folder, found: dict[str, Standing]) -> Standing:
    """One artefact, where its parents are found; of a parent that is not here, or is itself, nothing is known."""
    try:
        reasons = own_changes(artefact, folder.archived)
    except UserError as error:
        return Standing(Currency.UNKNOWN, [str(error)])
    states = [found[name].currency if name in found else Currency.UNKNOWN for name in artefact.parents()]
    worst = next((state for state in (Currency.UNKNOWN, Currency.STALE) if state in states), Currency.CURRENT)
    return Standing(Currency.STALE if reasons else worst, reasons)


def own_changes(artefact: Artefact, archived: bool = False) -> list[str]:
    """What the present tree changed of an artefact's own identity: field, from, to. Raises UserError if not known.

    archived: it is another's, whose outside files are looked for in this tree alone.
    """
    m = artefact.manifest
    stage = STAGES.get(artefact.stage)
    if stage is None:
        raise UserError(f"this code knows no stage {artefact.stage}")
    reasons = []
    for_model = tuple(m.code.for_model)
    if m.code.digest != (present := code_digest(stage.script, for_model=for_model)):
        now = module_digests(stage.script, for_model=for_model)
        changed = sorted(each for each in {**now, **m.code.modules} if now.get(each) != m.code.modules.get(each))
        shown = ", ".join(each.replace("__main__", stage.script) for each in changed[:6])
        more = f" and {len(changed) - 6} others" if len(changed) > 6 else ""
        reasons.append(f"code {m.code.digest[:12]} -> {present[:12]}: {shown}{more}")
    model = m.settings.get("model")
    own = m.packages if isinstance(model, dict) and "python" in model else ()  # what a model of one's own imports
    for package in sorted({*m.packages, *stage.packages}):
        made = m.packages.get(package)
        now_version = package_version(package) if package in (*stage.packages, *stage.further, *own) else None
        if made != now_version:
            reasons.append(f"package {package} {made} -> {now_version}")
    reasons += _changed_files(m.settings.get("files"), archived)
    return reasons


def _changed_files(files: Any, archived: bool) -> list[str]:
    """Outside inputs, named by path from the repository on and digest, that are others now."""
    if not isinstance(files, dict):
        return []
    reasons = []
    for file, expected in sorted(files.items()):
        path = REPOSITORY / str(file)
        if not _may_be_read(path, archived):
            reasons.append(f"file {str(file)[:80]} is not in this tree")
        elif (now := input_digest(path)) != expected:
            reasons.append(f"file {file} {str(expected)[:12]} -> {now[:12]}")
    return reasons


def _may_be_read(path: Path, archived: bool) -> bool:
    """Whether it is a file, and of an archive one in this tree; a name that no file can have is none."""
    try:
        return (not archived or path.resolve().is_relative_to(REPOSITORY)) and path.is_file()
    except (OSError, ValueError):
        return False


def check_currency(folder: Folder, grid: Grid | None) -> Level:
    """The state of each artefact behind what is published, and whether the present configuration asks for it.

    Findings name root causes: what is stale only because its parents are is counted, not repeated.
    """
    level = Level(3)
    found = standings(folder)
    lineage = [artefact.name for artefact in folder.behind_published()]
    for state in Currency:
        level.facts[state.value] = sum(found[name].currency == state for name in lineage)
    for name in lineage:
        standing = found[name]
        for reason in standing.reasons:
            level.warn(standing.currency.value, name, reason)
    if grid is not None:
        _against_configuration(folder, grid, level)
    return level


def _against_configuration(folder: Folder, grid: Grid, level: Level) -> None:
    """Whether the present configuration asks for what is published, by labels and specifications alone.

    Digests change with code, which is reported elsewhere; so artefacts are matched by stage and readable slug, and
    those that a specification names, such as the scores of a table's row, by what they mean.
    """
    both = Counterparts(folder, grid)
    wanted = _by_slug(both.specs, both.told_by_spec)
    made = _by_slug((artefact.name for artefact in folder.behind_published()), both.told)
    if not made:
        return
    for slug in wanted.keys() - made.keys():
        level.warn("other configuration", slug, "the present configuration asks for it, what is published has it not")
    for slug in made.keys() - wanted.keys():
        level.warn(
            "other configuration", slug, "is behind what is published, the present configuration asks not for it"
        )
    for slug in made.keys() & wanted.keys():
        unmatched = [settings for settings in made[slug] if settings not in wanted[slug]]
        for settings in unmatched:
            nearest = min(wanted[slug], key=lambda other: len(compare(settings, other)))
            changes = [in_words(*change) for change in compare(settings, nearest)]
            more = f" and {len(changes) - 5} others" if len(changes) > 5 else ""
            level.warn("other configuration", slug, "; ".join(changes[:5]) + more)


def _by_slug(names: Iterable[str], told: Callable[[str], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Stage and slug of artefacts to what their specifications tell."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        found.setdefault(name.rpartition("-")[0], []).append(told(name))
    return found
