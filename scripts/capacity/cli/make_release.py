"""Pack what is published, with the manifests of all that it rests on, into one archive to be audited elsewhere."""

import tempfile
from pathlib import Path

from capacity.audit.folder import read_folder
from capacity.audit.integrity import check_integrity
from capacity.audit.inventory import check_inventory
from capacity.audit.release import pack
from capacity.audit.run import published_places
from capacity.cli.arguments import config_parser, read_config
from capacity.errors import UserError
from capacity.plan.fixed_paths import RESULTS
from capacity.plan.grid import resolve
from capacity.plan.run_lock import tell_of_run


def main() -> None:
    """Pack one release."""
    parser = config_parser(__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to release (default: results)")
    parser.add_argument("--with", dest="kept", default="", help="stages whose files go in too, by commas, or all")
    parser.add_argument("--key", type=Path, help="sign with this SSH key")
    parser.add_argument("--output", type=Path, help="the archive (default: release.tar.gz in the results)")
    args = parser.parse_args()
    target = args.output or args.results / "release.tar.gz"
    config = read_config(args)
    tell_of_run(args.results)
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        folder = read_folder(args.results, published_places(resolve(config)))
        faults = [
            finding
            for level in (check_inventory(folder, (), None), check_integrity(folder))
            for finding in level.findings
            if finding.severity
        ]
        if faults:
            raise UserError(
                f"{faults[0].where}: {faults[0].what} (and {len(faults) - 1} more); see make audit LEVELS=1-2"
            )
        kept = [stage for stage in args.kept.split(",") if stage]
        number = pack(folder, config, kept, target, args.key, Path(scratch))
    print(f"{target}: {number} files, {target.stat().st_size / 1e6:.1f} MB" + (", signed" if args.key else ""))
