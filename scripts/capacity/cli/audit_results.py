"""Can this table be trusted? Seven levels: what exists, whether every byte is the one that was made, whether it would
be made again today, a sample made again from nothing, determinism, environment, disclosure.

Writes audit.json and audit.md. Exit code: 0 nothing found, 3 warnings, 4 faults, 1 nothing that can be audited, or
no report where --output says.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

from capacity.artefacts.manifest import write_atomically
from capacity.audit.archived_config import refuse_outside
from capacity.audit.execution import Choice
from capacity.audit.findings import LEVELS
from capacity.audit.release import CONFIG, unpack
from capacity.audit.report import Report
from capacity.audit.run import Options, run_audit
from capacity.cli.arguments import config_parser, natural, read_config
from capacity.config.load import load_config
from capacity.config.study import Audit
from capacity.environment import usable_cores
from capacity.errors import UserError
from capacity.plan.fixed_paths import CONFIG_FILE, RESULTS
from capacity.plan.grid import resolve


def levels(text: str) -> tuple[int, ...]:
    """`1-3,6` as numbers."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not all(end.isdecimal() and len(end) < 10 for end in (first, last or first)):
            raise argparse.ArgumentTypeError(f"{part!r}: give levels such as 1-3,6")
        if last and int(last) < int(first):
            raise argparse.ArgumentTypeError(f"{part!r} holds no level; give the lower one first, {last}-{first}")
        if unknown := {int(first), int(last or first)} - set(LEVELS):
            raise argparse.ArgumentTypeError(f"{min(unknown)} is no level; levels are 1 to {max(LEVELS)}")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def options() -> argparse.Namespace:
    """The command line."""
    parser = config_parser(__doc__)
    parser.add_argument("--levels", type=levels, default=tuple(LEVELS), help="such as 1-3,6 (default: all)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to audit (default: results)")
    parser.add_argument(
        "--sample", default="1", help="runs to make again: a number, a share of the cost (10%%), or all"
    )
    parser.add_argument("--seed", type=natural, default=1, help="of the sample (default: 1)")
    parser.add_argument("--target", help="make this again instead: an artefact, a stage, or a fixed path")
    parser.add_argument("--archive", type=Path, help="audit a release instead; its report goes to audit/ in results")
    parser.add_argument(
        "--signers", type=Path, help="OpenSSH allowed signers: the archive must be signed by one of them"
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="MODULE:FACTORY",
        help="of --archive: python: models of this checkout that may be called, with commas between",
    )
    parser.add_argument("--output", type=Path, help="where the report goes (default: audit/ in the audited folder)")
    parser.add_argument("--jobs", type=int, default=usable_cores(), help="processes at a time")
    args = parser.parse_args()
    args.trust = [name for text in args.trust for name in text.split(",")]
    return args


def write(report: Report, folder: Path) -> bool:
    """Put the report into a folder; whether that could be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "audit.json", report.as_json())
        write_atomically(folder / "audit.md", report.as_markdown())
    except OSError as error:
        print(f"not written to {folder}: {error.strerror}; choose another place with --output", file=sys.stderr)
        return False
    print(f"written to {folder}/audit.md and audit.json")
    return True


def _check(args: argparse.Namespace) -> None:
    """Refuse options that would not be heeded. Raises UserError."""
    for key in ("signers", "trust"):
        if getattr(args, key) and args.archive is None:
            raise UserError(f"--{key} says what is asked of an archive; give --archive, or leave it out")
    if args.signers and not args.signers.is_file():
        raise UserError(f"--signers: {args.signers} is no file; give one of OpenSSH allowed signers")
    if args.jobs < 1:
        raise UserError(f"--jobs: {args.jobs}; give 1 or more")
    for text in args.trust:
        if not re.fullmatch(r"\w+(\.\w+)*:\w+", text):
            raise UserError(f"--trust: {text!r}; give MODULE:FACTORY, as the configuration names it")


def subject(args: argparse.Namespace, scratch: Path) -> Options:
    """What to audit: a folder under the present configuration, or an archive under its own. Raises UserError."""
    _check(args)
    choice = Choice(args.sample, args.seed, args.target)
    if args.archive is None:
        config, records = read_config(args), Path(".snakemake/metadata")
        mine = args.results == RESULTS and records.is_dir()
        grid = resolve(config)
        return Options(args.results, config, grid, args.levels, args.jobs, choice, records=records if mine else None)
    if args.configfile or args.config or args.study or args.results != RESULTS:
        raise UserError("--archive brings its own configuration and results; leave --config, --study and --results out")
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded because an archive names it
    own = load_config([CONFIG_FILE]).audit if CONFIG_FILE.is_file() else Audit()
    release = unpack(args.archive, scratch, args.signers)
    about = {"archive": str(args.archive), "made at commit": release.listing.commit}
    try:
        config = load_config([release.root / CONFIG]).model_copy(update={"audit": own})  # not its own tolerances
        refuse_outside(config)
        grid = resolve(config)
    except UserError as error:
        print(f"its configuration cannot be used here: {error}", file=sys.stderr)
        why = f"the archive's configuration cannot be used here: {error}; check out its commit, and put its maker's "
        why += "own tables and modules into this checkout"
        return Options(
            release.results, None, None, args.levels, args.jobs, choice, release, subject=about, no_config=why
        )
    trusted = tuple(args.trust)
    return Options(release.results, config, grid, args.levels, args.jobs, choice, release, None, about, trusted)


def main() -> None:
    """Audit."""
    args = options()
    with tempfile.TemporaryDirectory(prefix="archive-") as scratch:
        report = run_audit(subject(args, Path(scratch)), say=lambda line: print(line, file=sys.stderr, flush=True))
    print(report.as_text())
    written = write(report, args.output or args.results / "audit")
    sys.exit(report.exit_code or (1 if args.output and not written else 0))
