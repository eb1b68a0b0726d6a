"""One audit from its options to its report: the levels in order, each with what earlier ones found."""

import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capacity.artefacts.spec import Spec
from capacity.audit.archived import check_archived, demanded
from capacity.audit.currency import check_currency
from capacity.audit.determinism import check_determinism
from capacity.audit.disclosure import check_disclosure
from capacity.audit.engine import check_engine
from capacity.audit.execution import TABLE_MADE_AGAIN, Choice, check_execution, published_tables
from capacity.audit.findings import LEVELS, RESTS_ON, Level, Severity
from capacity.audit.folder import Folder, Published, read_folder
from capacity.audit.integrity import check_integrity, damaged_names
from capacity.audit.inventory import check_inventory
from capacity.audit.machine import check_machine
from capacity.audit.pictures import unsafe
from capacity.audit.published_tables import check_rows, check_runs
from capacity.audit.rebuilt_table import has_tables, retabulate
from capacity.audit.release import Unpacked
from capacity.audit.report import Report
from capacity.audit.row_chain import check_chain
from capacity.audit.table_identities import check_identities
from capacity.config.experiment import Config
from capacity.environment import git_state
from capacity.errors import UserError, printable
from capacity.plan.fixed_paths import published
from capacity.plan.grid import Grid
from capacity.plan.run_lock import tell_of_run


@dataclass(frozen=True)
class Options:
    """What to audit and how far."""

    results: Path
    config: Config | None  # None where this code cannot read an archive's
    grid: Grid | None
    levels: tuple[int, ...] = tuple(LEVELS)
    jobs: int = 1
    choice: Choice = field(default_factory=Choice)
    release: Unpacked | None = None  # where the results are those of an archive
    records: Path | None = None  # the engine's own, where they lie beside the results
    subject: dict[str, Any] = field(default_factory=dict)
    trusted: tuple[str, ...] = ()  # factories of this checkout that an archive's configuration may have called
    no_config: str = ""  # why there is no configuration

    def needed_levels(self) -> list[int]:
        """The levels that are asked for; of an archive those that they rest on too."""
        below = [each for number in self.levels for each in RESTS_ON.get(number, ()) if self.release]
        return sorted({*self.levels, *below})


def published_places(grid: Grid) -> list[Published]:
    """What the present configuration publishes, whatever artefact lies there now."""
    return [Published(stage=spec.stage, files=files, id_file=id_file) for spec, files, id_file in published(grid)]


def run_audit(options: Options, say: Callable[[str], None] = lambda line: None) -> Report:
    """Do the levels that are asked for. Raises UserError where the folder cannot be audited at all."""
    if not options.results.is_dir():
        raise UserError(f"{options.results}: no such folder; build a table first, or name another with --results")
    report = Report({"results": str(options.results), "auditing commit": git_state()["commit"], **options.subject})
    tell_of_run(options.results)
    with tempfile.TemporaryDirectory(prefix="audit-") as scratch:
        folder = _folder(options)
        _refuse_other_studies(folder, options)
        work = Work(options, folder, Path(scratch))
        for number in options.needed_levels():
            started = time.monotonic()
            level = work.refused(number, report.levels) or work.level(number)
            level.seconds = time.monotonic() - started
            _weigh_skipped(level, options)
            report.levels.append(level)
            say(f"level {number}, {level.title}: {level.grade}")
        report.table_untouched = work.table_untouched()
    return report


def _weigh_skipped(level: Level, options: Options) -> None:
    """Of an archive, a level that was asked for and not done is a warning: nobody knows what it would have found."""
    if level.skipped and options.release and level.number in options.levels:
        level.warn("not done", f"level {level.number}", f"was asked for: {level.skipped}")


def _folder(options: Options) -> Folder:
    fixed = published_places(options.grid) if options.grid else []
    if options.release:
        listing = options.release.listing
        return read_folder(options.results, demanded(fixed, listing), listing.left_out, archived=True)
    return read_folder(options.results, fixed)


def _refuse_other_studies(folder: Folder, options: Options) -> None:
    """Refuse a table that has no study of the configuration in use: each level would say so, as faults. UserError."""
    asked = set(options.grid.studies) if options.grid and not options.release else set()
    tables = [artefact for artefact in folder.published_artefacts() if artefact.stage == "tables"]
    rows = [rows for table in tables if isinstance(rows := table.manifest.settings.get("rows"), list)]
    made = {str(row["study"]) for each in rows for row in each if isinstance(row, dict) and "study" in row}
    if asked and made and not asked & made:
        raise UserError(
            f"{options.results}: its table is of {_listed(made)}, the configuration in use asks for {_listed(asked)}; "
            "give the CONFIG, STUDY and SCALE that the table was made with"
        )


def _listed(studies: set[str]) -> str:
    return printable(", ".join(sorted(studies)))[:200]


class Work:
    """The levels of one audit over one folder."""

    def __init__(self, options: Options, folder: Folder, scratch: Path):
        self.options, self.folder, self.scratch = options, folder, scratch
        self.damaged: set[str] = set()
        self.retabulated: set[str] | None = None  # artefacts whose cells were compared; None where level 2 was not done
        self.execution_level: Level | None = None

    def level(self, number: int) -> Level:
        """Do one level."""
        levels = (
            *(self.inventory, self.integrity, self.currency, self.execution),
            *(self.determinism, lambda: check_machine(self.folder), self.disclosure),
        )
        return levels[number - 1]()

    def refused(self, number: int, done: list[Level]) -> Level | None:
        """A level that is not done because of what an archive is or holds; None where nothing forbids it."""
        if not self.options.release or number not in RESTS_ON:
            return None
        failed = [level for level in done if level.number in RESTS_ON[number] and level.worst == Severity.FAULT]
        if failed:
            return Level(
                number, skipped=f"level {failed[0].number} found faults, and nothing of such an archive is run"
            )
        grid = self.options.grid
        asked = factories(grid.specs.values()) if grid else []
        if strangers := ",".join(name for name in asked if name not in self.options.trusted):
            trusted = ",".join(asked)
            return Level(
                number,
                skipped=f"the archive asks to call python: {strangers} of this checkout with settings of its own; read "
                f"them, then give TRUST={trusted}",
            )
        return None

    def inventory(self) -> Level:
        grid, release = self.options.grid, self.options.release
        specs = grid.specs.values() if grid and not release else ()
        declared = [each.name for spec in specs for each in spec.with_members()]
        level = check_inventory(self.folder, declared, self.options.records)
        if release:
            level.findings += release.level.findings
            level.facts |= release.level.facts
            check_archived(self.folder, release.listing, level)
        self.damaged |= set(self.folder.unreadable)
        return level

    def integrity(self) -> Level:
        level = check_integrity(self.folder, self.options.jobs)
        self.damaged |= damaged_names(level, self.folder.artefacts)
        self.retabulated = set()
        for artefact in self.folder.published_artefacts():
            if artefact.manifest.members:
                level.fault("set", artefact.name, "says that it has members, which nothing that is published has")
            for name in artefact.manifest.outputs:
                if name.endswith(".svg") and (why := unsafe(artefact.folder / name)):
                    level.fault("unsafe picture", f"{artefact.name}/{name}", f"{why}; do not open it")
            if has_tables(artefact):
                check_rows(artefact, self.folder, level)
                if artefact.stage == "tables":
                    check_chain(artefact, self.folder, level)
                    check_runs(artefact, self.folder, level)
                    check_identities(artefact, level)
                if artefact.name not in self.damaged:
                    compared = retabulate(self.folder, artefact, self.options.config, self.scratch, level)
                    self.retabulated |= {artefact.name} if compared else set()
        return level

    def table_untouched(self) -> bool:
        """Whether level 2 was done and no cell of the published table was made again, there or at level 4."""
        if self.retabulated is None:
            return False
        again = self.execution_level is not None and self.execution_level.facts.get(TABLE_MADE_AGAIN) == "yes"
        names = {table.name for table in published_tables(self.folder)}
        return not again and not (names and names <= self.retabulated)

    def execution(self) -> Level:
        o = self.options
        if o.grid is None or o.config is None:
            return Level(4, skipped=o.no_config)
        self.execution_level = check_execution(self.folder, o.grid, o.config, o.choice, o.jobs, self.scratch)
        return self.execution_level

    def determinism(self) -> Level:
        o = self.options
        if o.grid is None or o.config is None:
            return Level(5, skipped=o.no_config)
        return check_determinism(self.folder, o.grid, o.config, o.jobs, self.scratch)

    def disclosure(self) -> Level:
        return check_disclosure(self.folder, self.options.config, self.execution_level, self.table_untouched())

    def currency(self) -> Level:
        o = self.options
        level = check_currency(self.folder, o.grid)
        if o.release or o.grid is None or o.config is None:
            level.facts["engine's dry run"] = "not done: an archive is no folder that the engine works on"
        else:
            check_engine(self.folder, o.grid, o.config, self.damaged, self.scratch, level)
        return level


def factories(specs: Iterable[Spec]) -> list[str]:
    """The functions, `package.module:factory`, that making these artefacts would call."""
    models = [each.settings.get("model") for spec in specs for each in spec.with_members()]
    return sorted({model["python"] for model in models if isinstance(model, dict) and "python" in model})
