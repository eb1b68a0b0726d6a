"""Level 1: each declared output exists, with a manifest; what nothing reaches; what lies where nothing should."""

import base64
from collections.abc import Iterable
from pathlib import Path

from capacity.artefacts.manifest import MANIFEST, contents, outside_names
from capacity.audit.findings import Level
from capacity.audit.folder import Folder, is_plain_file
from capacity.jobs.activity import is_in_use
from capacity.plan.failures import PARTIAL_ID


def check_inventory(folder: Folder, declared: Iterable[str], records: Path | None) -> Level:
    """What is there and what is not.

    declared: artefacts of the present configuration. records: the engine's own, information only.
    """
    level = Level(1)
    lineage = folder.lineage(folder.roots())
    level.facts["artefacts"] = len(folder.artefacts) + len(folder.unreadable)
    level.facts["behind what is published"] = len(lineage)
    _published(folder, level)
    _artefacts(folder, lineage, set(declared), level)
    _strangers(folder, level)
    _leftovers(folder, {*lineage, *declared}, level)
    if records is not None:
        level.facts["artefacts in the engine's records"] = _recorded(folder, records)
    return level


def _published(folder: Folder, level: Level) -> None:
    for each in folder.published:
        nothing = not any((folder.results / path).exists() for path in (each.id_file, *each.files.values()))
        if nothing and each.stage != "tables" and not folder.archived:
            level.warn("not made", each.id_file, f"no {each.stage} are published; `make table` makes them")
            continue
        if not folder.published_id(each):
            level.fault("missing", each.id_file, "nothing is published here, or without the id of what it is a copy of")
        for path in each.files.values():
            if not is_plain_file(folder.results / path):
                level.fault("missing", path, "a fixed path holds no file")

    wanted = {each.id_file for each in folder.published}
    for identity in sorted(folder.results.glob("*.id")):
        if identity.name not in wanted and identity.name != PARTIAL_ID:
            level.warn("left behind", identity.name, "the copies that it is about are not of this configuration")


def _artefacts(folder: Folder, lineage: list[str], declared: set[str], level: Level) -> None:
    """Declared artefacts, and those behind what is published, that are missing or without a usable manifest."""
    for name, why in folder.unreadable.items():
        needed = name in lineage or name in declared
        (level.fault if needed else level.warn)("no usable manifest", f"{name}/{MANIFEST}", why)
    known = folder.artefacts.keys() | folder.unreadable.keys()
    present = [name for name in lineage if name in folder.artefacts]
    children = {parent: name for name in present for parent in folder.artefacts[name].parents()}
    for name in lineage:
        if name not in known:
            level.fault("missing", name, f"{children.get(name, 'what is published')} was made from it, and it is gone")
    absent = sorted(declared - known - set(lineage))
    if absent and not declared.isdisjoint(folder.artefacts):
        more = f" and {len(absent) - 1} others" if len(absent) > 1 else ""
        level.warn("not made", absent[0], f"the present configuration declares it{more}, and it was not made yet")
    elif absent:
        level.warn("not made", absent[0], f"none of {len(absent)} artefacts of the present configuration is here")


def _strangers(folder: Folder, level: Level) -> None:
    """Files and links in an artefact's folder that its manifest does not list: nobody verifies them."""
    count = 0
    for artefact in folder.artefacts.values():
        try:
            found = contents(artefact.folder)
        except OSError as error:
            level.fault("unreadable folder", artefact.name, f"cannot be read ({error.strerror})")
            continue
        for name in sorted(found.others):
            path, where = artefact.folder / name, f"{artefact.name}/{name}"
            if path.is_symlink():
                level.fault("link", where, "is a link; artefacts are folders of plain files")
            elif path.is_dir():
                level.fault("extra folder", where, "is empty, and not in the manifest")
            else:
                level.fault("special file", where, "is neither a file nor a folder")
        for name in sorted(found.files.keys() - artefact.manifest.outputs.keys() - {MANIFEST}):
            level.fault("extra file", f"{artefact.name}/{name}", "is not in the manifest: nothing vouches for it")
        count += len(found.files) + len(found.others)
        for name in outside_names(found):
            if name in artefact.manifest.outputs:
                level.fault("link", f"{artefact.name}/{name}", "has another name outside its artefact: a hard link")
    level.facts["files"] = count


def _leftovers(folder: Folder, reached: set[str], level: Level) -> None:
    """Orphans, and the scratch of jobs that died or run on another host."""
    orphans = [name for name in [*folder.artefacts, *folder.unreadable] if name not in reached]
    manifests = [folder.artefacts[name].manifest for name in orphans if name in folder.artefacts]
    size = sum(output.bytes for manifest in manifests for output in manifest.outputs.values())
    if orphans:
        level.note(
            "orphans", orphans[0], f"{len(orphans)} artefacts, {size / 1e6:.1f} MB, that nothing published rests on"
        )
    level.facts["orphans"] = len(orphans)
    scratch = folder.results / "scratch"
    for path in sorted(scratch.iterdir()) if scratch.is_dir() else []:
        if is_in_use(path):
            level.warn("job under way", f"scratch/{path.name}", "a job on another host may be making this")
        else:
            level.note("dead job", f"scratch/{path.name}", "left by a job that died")


def _recorded(folder: Folder, records: Path) -> int:
    """How many artefacts the engine has a record of: a file named by the path of an output in base64.

    Records can be lost or made elsewhere: an artefact without one is no worse.
    """
    paths = [f"results/{name}/{MANIFEST}".encode() for name in folder.artefacts]
    return sum((records / base64.urlsafe_b64encode(path).decode()).is_file() for path in paths)
