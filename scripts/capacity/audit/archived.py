"""What a release has to publish, and that its results hold nothing that no check looks at.

A release lists its own fixed paths; which there must be follows from its configuration, so that it cannot choose what
is compared. A number that lies in no artefact and is a copy of none would be believed and never checked.
"""

from collections.abc import Iterable

from capacity.artefacts.stages import STAGES
from capacity.audit.findings import Level
from capacity.audit.folder import Folder, Published
from capacity.audit.release import BESIDE, LISTING, Listing

# Of every table; figures and claims are those of the configuration.
TABLE = Published(
    stage="tables",
    files={name: name for name in ("capacity_table.csv", "capacity_summary.csv")},
    id_file="capacity_table.id",
)


def demanded(fixed: list[Published], listing: Listing) -> list[Published]:
    """The fixed paths that are checked of a release: those of its configuration, and all that it lists besides.

    fixed: of its configuration; nothing where this code cannot read it.
    """
    needed = fixed or [TABLE]
    return [*needed, *(each for each in listing.published if each not in needed)]


def check_archived(folder: Folder, listing: Listing, level: Level) -> None:
    """Whether all fixed paths are listed, and every file below the results has a place where it is checked."""
    for each in folder.published:
        if each not in listing.published:
            what = f"{LISTING} does not list it as the id of {', '.join(sorted(each.files.values()))}"
            level.fault("not published", each.id_file, f"{what}; check out {listing.commit} if that made it so")
    for stage in sorted({each.stage for each in folder.published} & set(listing.left_out)):
        level.fault("left out", stage, f"{LISTING} says so, and what is published can then not be compared")
    for name in sorted(_strangers(folder)):
        level.fault("extra file", name, "belongs to no artefact and is a copy of none: nothing vouches for it")


def _strangers(folder: Folder) -> Iterable[str]:
    """Files below the results, by path, that are in no artefact, no specs, no fixed paths, and no report."""
    copies = {path for each in folder.published for path in (*each.files.values(), each.id_file)}
    for path in folder.results.rglob("*"):
        name = path.relative_to(folder.results).as_posix()
        top, *below = name.split("/")
        inside = (top in STAGES and len(below) > 1) or (top == "specs" and len(below) == 1 and name.endswith(".json"))
        if path.is_file() and not inside and name not in copies and name not in BESIDE:
            yield name
