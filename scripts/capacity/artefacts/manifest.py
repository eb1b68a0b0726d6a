"""Manifests: what really happened when an artefact was made, and whether its bytes are still the ones that were made.

`manifest.json` lies in the artefact's folder, is written last, lists the digest of every other file, and has a digest
of itself, which is noted by what is made from the artefact. An artefact without one, whose bytes do not match it, or
that holds anything else, is never used.
"""

import contextlib
import hashlib
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from capacity.artefacts.identity import digest, file_digest
from capacity.errors import OtherSchema, Unlisted, UserError, printable

SCHEMA = 2
MANIFEST = "manifest.json"
AS_ASKED = "(and the CONFIG, STUDY and SCALE that you ran)"
REMEDY = "replace it with `make prune DAMAGED=1` (and the CONFIG and STUDY that you ran) and a rerun"


def forcing(paths: Iterable[Path]) -> str:
    """The command that makes files of a results folder anew, and nothing that is there beside."""
    return f'`make table ARGS="--force {" ".join(map(str, paths))}"` {AS_ASKED}'


def write_atomically(path: Path, text: str, durable: bool = True, time: float | None = None) -> None:
    """Put text at a path such that a reader sees the old file or the new one, never a part.

    durable: survive a power cut too, at milliseconds a file. time: the file's mtime, from the beginning.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(scratch, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if time is not None:
            os.utime(scratch, (time, time))
        os.replace(scratch, path)
    except BaseException:
        with contextlib.suppress(OSError):  # a disk that can only be read
            scratch.unlink(missing_ok=True)
        raise


@dataclass(frozen=True)
class Contents:
    """What lies below a folder by relative path, with stats from before it was read. No link is followed."""

    files: dict[str, os.stat_result]  # plain ones
    folders: dict[str, os.stat_result]  # `.` is the folder itself
    others: set[str]  # links, special files, empty folders: an artefact has none


def contents(folder: Path) -> Contents:
    """List all that lies below a folder. Raises OSError."""
    found = Contents({}, {}, set())
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        found.folders[prefix[:-1] or "."] = os.stat(f"{folder}/{prefix}")
        with os.scandir(f"{folder}/{prefix}") as listing:
            entries = list(listing)
        if prefix and not entries:
            found.others.add(prefix[:-1])
        for entry in entries:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                found.files[name] = entry.stat(follow_symlinks=False)
            else:
                found.others.add(name)
    return found


def list_outputs(folder: Path, found: Contents | None = None) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each file below a folder, the manifest excepted; keys are relative paths.

    found: its contents, where they were listed just now. Raises UserError for a link or anything else that is no
    plain file.
    """
    found = contents(folder) if found is None else found
    if found.others:
        odd = folder / min(found.others)
        raise UserError(f"{odd}: an artefact holds plain files alone, no links and no empty folders")
    names = sorted(name for name in found.files if name != MANIFEST)
    return {name: {"bytes": found.files[name].st_size, "sha256": file_digest(folder / name)} for name in names}


def content_digest(outputs: dict[str, dict[str, Any]], members: dict[str, str] | None = None) -> str:
    """One digest for the bytes of an artefact and its members, whatever its manifest says of times and machines.

    members: content digests of the artefacts that belong to a set, by name.
    """
    files = {name: entry["sha256"] for name, entry in outputs.items()}
    return digest({"files": files, "members": members} if members else files)


DIGEST = "digest"  # the key of a manifest's digest of itself; manifests of older code have none


def manifest_digest(manifest: dict[str, Any]) -> str:
    """SHA-256 of all that a manifest says, formatting and the digest itself excepted. manifest: as read from JSON."""
    said = {key: value for key, value in manifest.items() if key != DIGEST}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def noted(manifest: dict[str, Any]) -> dict[str, str]:
    """What a job writes down of an artefact that it was made from: its bytes, and which execution made them."""
    return {"content": manifest["content"], "manifest": manifest_digest(manifest)}


def read_manifest(folder: Path) -> dict[str, Any]:
    """An artefact's manifest. Raises UserError where it is missing, unreadable or of another schema."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not folder.exists():
            raise UserError(f"{folder}: is missing; {forcing([path])} makes it") from None
        raise UserError(f"{folder}: no {MANIFEST}, so the artefact is incomplete; {REMEDY}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: unreadable ({error}); {REMEDY}") from None
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise UserError(f"{path}: not a manifest of this project; {REMEDY}")
    if manifest["schema"] != SCHEMA:
        raise OtherSchema(
            f"{path}: schema {manifest['schema']}, this code reads schema {SCHEMA}; use the code version that made it, "
            "or another results folder"
        )
    return manifest


def verify(
    folder: Path, name: str | None = None, files: Iterable[str] | None = None, found: Contents | None = None
) -> dict[str, Any]:
    """The manifest of an artefact whose every byte was compared with it, and which holds nothing else.

    name: the artefact `<stage>/<id>` that is expected there. files: the only ones that will be read; of the others
    sizes are compared, no bytes. found: its contents, where they were listed just now. Raises UserError naming the
    folder and what is wrong, and Unlisted where there is something that the manifest does not list.
    """
    if folder.is_symlink():
        raise Unlisted(f"{folder}: is a link, and a link can change what is read; put the folder itself in its place")
    manifest = read_manifest(folder)
    if name is not None and manifest.get("name") != name:
        raise UserError(f"{folder}: holds the artefact {manifest.get('name')}, not {name}; remove the folder and rerun")
    try:
        members = {member: manifest["inputs"][member]["content"] for member in manifest["members"]}
        if content_digest(manifest["outputs"], members) != manifest["content"]:
            raise UserError(f"{folder / MANIFEST}: lists other files than were written; {REMEDY}")
        if manifest.get(DIGEST, stated := manifest_digest(manifest)) != stated:
            raise UserError(f"{folder / MANIFEST}: was edited after it was written; {REMEDY}")
        found = contents(folder) if found is None else found
        _refuse_unlisted(folder, found, manifest["outputs"])
        for file, entry in manifest["outputs"].items():
            if fault := _fault(folder, file, found, entry, whole=files is None or file in files):
                raise UserError(f"{folder / file}: {fault}, so the artefact is damaged; {REMEDY}")
        _refuse_hard_links(folder, found)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); fix that and rerun") from None
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST}: not a manifest of this project ({error!r}); {REMEDY}") from None
    return manifest


def _refuse_unlisted(folder: Path, found: Contents, outputs: dict[str, Any]) -> None:
    """Raise Unlisted for what lies in an artefact's folder and not in its manifest."""
    unlisted = sorted((found.files.keys() | found.others) - outputs.keys() - {MANIFEST})
    if unlisted:
        path = folder / _topmost(unlisted[0], outputs)
        more = f" (and {len(unlisted) - 1} more here)" if len(unlisted) > 1 else ""
        raise Unlisted(
            f"{printable(str(path))}: is not in the artefact's manifest{more}, and could change what is read from "
            f"here; nobody vouches for it: look at it, then rm -r {_quoted(path)}"
        )
    if MANIFEST in found.others:
        raise UserError(f"{folder / MANIFEST}: is a link; {REMEDY}")


def _topmost(name: str, outputs: Iterable[str]) -> str:
    """What to remove to be rid of an unlisted file: the first folder on the way to it that holds no listed one."""
    needed = {parent for file in outputs for parent in PurePosixPath(file).parents}
    way = [*reversed(PurePosixPath(name).parents), PurePosixPath(name)]
    return next(step for step in way if step not in needed and step != PurePosixPath(".")).as_posix()


def _quoted(path: Path) -> str:
    """A path as a shell takes it, whatever characters are in it."""
    if str(path).isprintable():
        return shlex.quote(str(path))
    plain = (chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in os.fsencode(path))
    return f"$'{''.join(plain)}'"


def outside_names(found: Contents) -> list[str]:
    """Which files of an artefact have a name outside it too: hard links, by which they could be changed."""
    linked = {name: each for name, each in found.files.items() if each.st_nlink > 1}
    inside = Counter((each.st_dev, each.st_ino) for each in linked.values())
    return [name for name, each in linked.items() if each.st_nlink > inside[each.st_dev, each.st_ino]]


def _refuse_hard_links(folder: Path, found: Contents) -> None:
    for file in outside_names(found):
        old, new = _quoted(folder), _quoted(folder.with_name(folder.name + ".copy"))
        raise Unlisted(
            f"{printable(str(folder / file))}: has another name outside the artefact (a hard link), by which it can be "
            f"changed; make the artefact its own: cp -a {old} {new} && rm -r {old} && mv {new} {old}"
        )


def _fault(folder: Path, file: str, found: Contents, entry: dict[str, Any], whole: bool) -> str | None:
    """What is wrong with one file, in the user's words, or None. whole: its bytes are compared, not only its size."""
    if file not in found.files:
        return "is no plain file" if file in found.others else "is missing"
    if (size := found.files[file].st_size) != entry["bytes"]:
        return f"has {size} bytes, {entry['bytes']} were written"
    try:
        if whole and file_digest(folder / file) != entry["sha256"]:
            return "holds other bytes than were written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None
