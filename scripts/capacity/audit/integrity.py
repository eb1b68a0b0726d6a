"""Level 2: every byte is the one that was made, every name follows from its manifest, and the chain is closed.

The digests of an artefact's files make its content, the contents of its parents stand in its manifest, and spec, code,
packages and parents make the digest that its folder is named by: a manifest cannot be edited, exchanged or taken from
another run without breaking one of them.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import DIGEST_LENGTH, digest, file_digest
from capacity.artefacts.manifest import DIGEST, MANIFEST, content_digest, manifest_digest
from capacity.artefacts.spec import read_spec, spec_digest
from capacity.audit.findings import Level, Severity
from capacity.audit.folder import Artefact, Folder, Published, is_plain_file
from capacity.audit.published_tables import first_difference
from capacity.errors import UserError

UNBOUND, OTHER_EXECUTION = "unbound manifest", "other execution"  # it may have been edited; bytes are what they were


def check_integrity(folder: Folder, jobs: int = 1) -> Level:
    """Recompute every digest and follow every chain.

    jobs: files that are hashed at a time.
    """
    level = Level(2)
    needed = set(folder.lineage(folder.roots()))
    for name in sorted(name for name, each in folder.artefacts.items() if DIGEST not in each.raw):
        what = "is of older code and has no digest of itself: commit, machine, times and metrics could be edited unseen"
        level.warn(UNBOUND, f"{name}/{MANIFEST}", what)
    for name, faults in artefact_faults(folder, folder.artefacts, level, jobs).items():
        weight = Severity.FAULT if name in needed else Severity.WARNING  # an orphan can spoil nothing that is published
        for kind, where, what in faults:
            level.add(weight, kind, where, what)
    _check_specs(folder, level)
    _check_states(folder, level)
    for each in folder.published:
        _check_copies(each, folder, level)
    return level


Fault = tuple[str, str, str]  # kind, where, what


def artefact_faults(folder: Folder, names: Iterable[str], level: Level, jobs: int = 1) -> dict[str, list[Fault]]:
    """Faults of artefacts by name: their files, their manifests, their chain to what they were made from."""
    chosen = [folder.artefacts[name] for name in names]
    wrong = _file_faults(chosen, folder.left_out, level, jobs)
    return {a.name: [*wrong.get(a.name, []), *_own_faults(a), *_chain_faults(a, folder, level)] for a in chosen}


def _file_faults(
    artefacts: list[Artefact], left_out: frozenset[str], level: Level, jobs: int
) -> dict[str, list[Fault]]:
    """Faults of files by artefact; a file that a release left out on purpose is counted, not missed."""
    files = [(artefact, name) for artefact in artefacts for name in artefact.manifest.outputs]
    with ThreadPoolExecutor(jobs) as pool:
        answers = list(pool.map(lambda item: _file_fault(item[0], item[1], left_out), files))
    faults: dict[str, list[Fault]] = {}
    for (artefact, name), (kind, what) in zip(files, answers, strict=True):
        if kind not in ("", LEFT_OUT):
            faults.setdefault(artefact.name, []).append((kind, f"{artefact.name}/{name}", what))
    hashed = [item for item, (kind, _) in zip(files, answers, strict=True) if kind not in ("missing file", LEFT_OUT)]
    level.facts["files hashed"] = len(hashed)
    level.facts["bytes hashed"] = sum(artefact.manifest.outputs[name].bytes for artefact, name in hashed)
    level.facts["files left out of the archive"] = sum(kind == LEFT_OUT for kind, _ in answers)
    return faults


LEFT_OUT = "left out"


def _file_fault(artefact: Artefact, name: str, left_out: frozenset[str]) -> tuple[str, str]:
    """Kind and description of what is wrong with one file, or two empty strings."""
    path, entry = artefact.folder / name, artefact.manifest.outputs[name]
    try:
        if any((artefact.folder / part).is_symlink() for part in (Path(name), *Path(name).parents)):
            return "link", "is a link; its target was not read"
        size = path.stat().st_size
        if size != entry.bytes:
            kind = "truncated" if size < entry.bytes else "bytes differ"
            return kind, f"has {size:,} bytes, {entry.bytes:,} were written"
        if file_digest(path) != entry.sha256:
            return "bytes differ", "holds other bytes than were written, whatever its time says"
    except FileNotFoundError:
        return (
            (LEFT_OUT, "") if artefact.stage in left_out else ("missing file", "is in the manifest, not in the folder")
        )
    except OSError as error:
        return "unreadable file", f"cannot be read ({error.strerror})"
    return "", ""


def _own_faults(artefact: Artefact) -> list[Fault]:
    """Whether a manifest belongs to its folder and is the one that was written."""
    m, where = artefact.manifest, f"{artefact.name}/{MANIFEST}"
    faults = []
    if m.name != artefact.name:
        faults.append(("foreign manifest", where, f"is the manifest of {m.name}"))
    elif (named := artefact.id.rpartition("-")[2]) != (follows := spec_digest(artefact.as_spec())):
        faults.append(
            ("edited manifest", where, f"its specification, parents, code and packages make {follows}, not {named}")
        )
    if digest(m.code.modules) != m.code.digest:
        faults.append(("edited manifest", where, "the code digest is not that of the modules it lists"))
    members = {name: m.inputs[name].get("content", "") for name in m.members if name in m.inputs}
    if content_digest({name: dict(entry) for name, entry in m.outputs.items()}, members) != m.content:
        faults.append(("edited manifest", where, "the content digest is not that of the files it lists"))
    if DIGEST in artefact.raw and artefact.raw[DIGEST] != manifest_digest(artefact.raw):
        faults.append(("edited manifest", where, "its digest of itself is not that of what it says"))
    return faults


def _chain_faults(artefact: Artefact, folder: Folder, level: Level) -> list[Fault]:
    """Whether what an artefact was made from is what lies there now; another execution of equal bytes is a warning."""
    inputs, where = artefact.manifest.inputs, f"{artefact.name}/{MANIFEST}"
    faults = []
    for name in artefact.parents():
        if name not in inputs:
            faults.append(("broken chain", where, f"names {name} as a parent, not which bytes of it were read"))
    for name, entry in inputs.items():
        parent = folder.artefacts.get(name)
        if parent and entry.get("content") != parent.manifest.content:
            faults.append(
                ("broken chain", where, f"was made from {name} with content {_short(entry.get('content'))}, "
                 f"which now has {_short(parent.manifest.content)}")
            )  # fmt: skip
        elif parent and entry.get("manifest", execution := manifest_digest(parent.raw)) != execution:
            level.warn(
                OTHER_EXECUTION,
                f"{name}/{MANIFEST}",
                f"{artefact.name} was made from another execution of it with equal bytes, or this manifest was edited: "
                "nothing vouches for its commit, machine, times and metrics",
            )
        elif not parent and name not in folder.unreadable and name not in artefact.parents():
            faults.append(("broken chain", where, f"was made from {name}, which is gone"))
    return faults


def _short(content: str | None) -> str:
    return (content or "none")[:DIGEST_LENGTH]


AGAIN = "remove the file, and a run that needs it writes it anew"


def _check_specs(folder: Folder, level: Level) -> None:
    """Frozen specs: each under its own id, whole, and in step with the manifest of what was made from it."""
    count = 0
    for path in sorted((folder.results / "specs").glob("*.json")):
        where, count = f"specs/{path.name}", count + 1
        if not is_plain_file(path):
            level.fault("unreadable spec", where, f"is no plain file; {AGAIN}")
            continue
        try:
            spec = read_spec(path)
        except UserError as error:
            level.fault("unreadable spec", where, f"{str(error).partition(': ')[2].partition(';')[0]}; {AGAIN}")
            continue
        if spec.id != path.stem:
            level.fault("foreign spec", where, f"holds the spec for {spec.name}; {AGAIN}")
        elif not spec.id.endswith(f"-{spec_digest(spec)}"):
            what = f"its content makes {spec_digest(spec)}, not the digest that it names"
            level.fault("edited spec", where, f"{what}; {AGAIN}")
    level.facts["specs"] = count


def _check_states(folder: Folder, level: Level) -> None:
    """Saved states of stopped trainings: whole, and each in the folder of the checkpoint that it was saved for."""
    for path in sorted((folder.results / "resume").glob("*/state")):
        where = f"resume/{path.parent.name}/{path.name}"
        try:
            conditions = _conditions(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            level.fault("damaged state", where, f"is not a whole saved training ({type(error).__name__})")
            continue
        owner = conditions.get("checkpoint")
        artefact = folder.artefacts.get(f"checkpoints/{path.parent.name}")
        if owner != path.parent.name:
            level.fault("foreign state", where, f"was saved by the training of {owner or 'an unnamed checkpoint'}")
        elif artefact and conditions.get("settings") != artefact.manifest.settings:
            level.fault("foreign state", where, "was saved under another specification")
        else:
            level.note("saved state", where, "of a training that was stopped")


def _conditions(path: Path) -> dict[str, Any]:
    """What a saved training says of itself, read without torch: a digest, a line of JSON, tensors."""
    if not is_plain_file(path):
        raise ValueError("no plain file")
    stated, _, body = path.read_bytes().partition(b"\n")
    if stated.decode() != hashlib.sha256(body).hexdigest():
        raise ValueError("digest")
    return dict(json.loads(body.partition(b"\n")[0])["conditions"])


def _check_copies(each: Published, folder: Folder, level: Level) -> None:
    """Fixed paths: byte for byte the files of the artefact that they name."""
    identity = folder.published_id(each)
    artefact = folder.artefacts.get(f"{each.stage}/{identity}")
    if artefact is None:
        if identity:
            level.fault("missing", each.id_file, f"names {each.stage}/{identity}, which has no usable manifest here")
        return
    for name, path in each.files.items():
        entry, copy = artefact.manifest.outputs.get(name), folder.results / path
        if entry is None:
            level.fault("copy differs", path, f"{artefact.name} has no file {name}")
        elif is_plain_file(copy) and file_digest(copy) != entry.sha256:
            place = first_difference(copy, artefact.folder / name) if name.endswith(".csv") else ""
            what = f"is not {artefact.name}/{name}{place and ': ' + place}"
            level.fault("copy differs", path, f"{what}; `make table` copies it again")


def damaged_names(level: Level, names: Iterable[str]) -> set[str]:
    """Which artefacts a level found damaged."""
    wrong = [
        each for each in level.findings if each.severity > Severity.NOTE and each.kind not in (UNBOUND, OTHER_EXECUTION)
    ]
    places = {finding.where for finding in wrong}
    return {name for name in names if any(place == name or place.startswith(f"{name}/") for place in places)}
