"""Manifests: what really happened when an artefact was made, and whether its bytes are still the ones that were made.

`manifest.json` lies in the artefact's folder, is written last, and lists the digest of every other file. An artefact
without one, or whose bytes do not match it, is never used.
"""

import json
import os
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import digest, file_digest
from capacity.errors import OtherSchema, UserError

SCHEMA = 1
MANIFEST = "manifest.json"
REMEDY = "replace it with `make prune DAMAGED=1` and a rerun"


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
        scratch.unlink(missing_ok=True)
        raise


def list_outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each file below a folder, the manifest excepted; keys are relative paths."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in files
    }


def content_digest(outputs: dict[str, dict[str, Any]], members: dict[str, str] | None = None) -> str:
    """One digest for the bytes of an artefact and its members, whatever its manifest says of times and machines.

    members: content digests of the artefacts that belong to a set, by name.
    """
    files = {name: entry["sha256"] for name, entry in outputs.items()}
    return digest({"files": files, "members": members} if members else files)


def read_manifest(folder: Path) -> dict[str, Any]:
    """An artefact's manifest. Raises UserError where it is missing, unreadable or of another schema."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{folder}: no {MANIFEST}, so the artefact is incomplete; {REMEDY}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable ({error}); {REMEDY}") from None
    if not isinstance(manifest, dict) or "schema" not in manifest:
        raise UserError(f"{path}: not a manifest of this project; {REMEDY}")
    if manifest["schema"] != SCHEMA:
        raise OtherSchema(
            f"{path}: schema {manifest['schema']}, this code reads schema {SCHEMA}; use the code version that made it, "
            "or another results folder"
        )
    return manifest


def verify(folder: Path, name: str | None = None) -> dict[str, Any]:
    """The manifest of an artefact whose every byte was compared with it.

    name: the artefact `<stage>/<id>` that is expected there. Raises UserError naming the folder and what is wrong.
    """
    manifest = read_manifest(folder)
    if name is not None and manifest.get("name") != name:
        raise UserError(f"{folder}: holds the artefact {manifest.get('name')}, not {name}; remove the folder and rerun")
    try:
        members = {member: manifest["inputs"][member]["content"] for member in manifest["members"]}
        if content_digest(manifest["outputs"], members) != manifest["content"]:
            raise UserError(f"{folder / MANIFEST}: lists other files than were written; {REMEDY}")
        for file, entry in manifest["outputs"].items():
            fault = _fault(folder / file, entry)
            if fault:
                raise UserError(f"{folder / file}: {fault}, so the artefact is damaged; {REMEDY}")
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / MANIFEST}: not a manifest of this project ({error!r}); {REMEDY}") from None
    return manifest


def _fault(path: Path, entry: dict[str, Any]) -> str | None:
    """What is wrong with one file, in the user's words, or None."""
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"has {size} bytes, {entry['bytes']} were written"
        if file_digest(path) != entry["sha256"]:
            return "holds other bytes than were written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None
