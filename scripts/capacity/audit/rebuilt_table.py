"""A table made again from the scores behind it: the last step of the chain, which makes every number of the table."""

from dataclasses import replace
from pathlib import Path

from capacity.artefacts.identity import package_versions
from capacity.artefacts.sources import code_digest
from capacity.artefacts.spec import Spec, spec_digest
from capacity.artefacts.stages import STAGES
from capacity.audit.currency import own_changes
from capacity.audit.engine import CleanCheckout
from capacity.audit.findings import Level, Severity
from capacity.audit.folder import Artefact, Folder, is_plain_file
from capacity.audit.pictures import is_same_picture
from capacity.audit.published_tables import SHOWN_CELLS, differing_cells, read_rows
from capacity.config.experiment import Config
from capacity.errors import UserError


def has_tables(artefact: Artefact) -> bool:
    """Whether an artefact holds tables that can be compared cell by cell."""
    return artefact.stage in ("tables", "figures", "claims") and any(
        name.endswith(".csv") for name in artefact.manifest.outputs
    )


def retabulate(folder: Folder, artefact: Artefact, config: Config | None, scratch: Path, level: Level) -> bool:
    """Make a table again from the scores that lie in the folder, by the present code, and compare every cell.

    Whether that was done: it cannot be where the scores were left out. A difference is a fault where nothing but the
    table itself can explain it, a warning where the code moved.
    """
    above = [folder.artefacts.get(name) for name in artefact.parents()]
    needed = [*artefact.parents(), *(member for each in above if each for member in each.manifest.members)]
    away = [name for name in needed if not _is_whole(folder.artefacts.get(name))]
    if away:
        what = f"no cell was compared: what it was made from is not here, {away[0]} for example"
        level.note("not retabulated", artefact.name, f"{what}; LEVELS=4 TARGET={artefact.name} makes it again")
        return False
    checkout = CleanCheckout.new(scratch / f"again-{artefact.id}", config)
    checkout.link(folder.results, [stage for stage in STAGES if stage != artefact.stage])
    try:
        spec = _present_spec(artefact)
        changed = own_changes(artefact, folder.archived)
    except UserError as error:
        level.warn("not retabulated", artefact.name, str(error))
        return False
    run = checkout.job(spec)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        level.warn("not retabulated", artefact.name, last.removeprefix("error: ").replace(f"{checkout.path}/", ""))
        return False
    _compare(artefact, checkout.results / spec.name, Severity.WARNING if changed else Severity.FAULT, level)
    return True


def _is_whole(artefact: Artefact | None) -> bool:
    """Whether an artefact is here with its files, whatever an archive says that it left out."""
    return artefact is not None and all(is_plain_file(artefact.folder / name) for name in artefact.manifest.outputs)


def _present_spec(artefact: Artefact) -> Spec:
    """The artefact's own spec under the present code and packages. Raises UserError."""
    stage = STAGES[artefact.stage]
    spec = replace(artefact.as_spec(), packages=package_versions(stage.packages), members=[])
    spec = replace(spec, code=code_digest(spec.script, for_model=tuple(spec.for_model)))
    return replace(spec, id=f"{artefact.slug}-{spec_digest(spec)}")


def _compare(artefact: Artefact, made: Path, weight: Severity, level: Level) -> None:
    compared, source = 0, "the scores" if artefact.stage == "tables" else "the table"
    for name in (entry for entry in artefact.manifest.outputs if entry.endswith(".csv")):
        try:
            mine, other = read_rows(artefact.folder / name), read_rows(made / name)
        except ValueError as error:
            level.add(weight, "cell differs", f"{artefact.name}/{name}", str(error))
            continue
        compared += sum(map(len, mine))
        for place, a, b in differing_cells(mine, other)[:SHOWN_CELLS]:
            level.add(weight, "cell differs", f"{artefact.name}/{name} {place}", f"{a}; made again from {source}: {b}")
    for name in artefact.manifest.outputs:
        here, again = artefact.folder / name, made / name
        if name.endswith(".md") and not (again.is_file() and here.read_bytes() == again.read_bytes()):
            level.add(weight, "text differs", f"{artefact.name}/{name}", f"is not what {source} gives here")
        if name.endswith((".png", ".svg")) and not is_same_picture(here, again):
            level.add(weight, "picture differs", f"{artefact.name}/{name}", f"is not what {source} gives here")
    fact = f"cells made again from {source}"
    level.facts[fact] = level.facts.get(fact, 0) + compared
