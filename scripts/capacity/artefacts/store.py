"""A folder that several checkouts or users share: artefacts by identity, verified on the way in and on the way out.

An object is the artefact's own folder, manifest included, with read-only files. It appears by one rename, so two
writers at once do no harm. A store that cannot be written, or holds a damaged object, costs a line and nothing else.
"""

import contextlib
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Any

from capacity.artefacts.manifest import MANIFEST, REMEDY, verify
from capacity.artefacts.spec import spec_digest, told_spec
from capacity.errors import UserError, printable

VARIABLE = "CAPACITY_STORE"  # set by the engine's main process for its jobs


class Store:
    """One shared folder."""

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    def from_environment(cls) -> "Store | None":
        """The store that the run uses, if any."""
        root = os.environ.get(VARIABLE)
        return cls(Path(root)) if root else None

    def fetch(self, name: str, inputs: dict[str, dict[str, Any]], folder: Path) -> bool:
        """Copy an artefact into a folder; False, with a line, where there is none that can be used.

        inputs: what is noted of the parents here; an object made from other bytes is not the same artefact.
        """
        source = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if not source.is_dir():
                return False
            shutil.copytree(source, folder, symlinks=True, dirs_exist_ok=True)  # a link is copied as one, and refused
            _check_origin(name, inputs, folder)
        except (UserError, OSError) as error:
            fault = str(error).replace(str(folder), str(source))  # what was copied is as it lies in the store
            fault = fault.replace(REMEDY, f"remove {source}, and who makes it next puts it there again")
            print(f"store: {printable(fault)}; the artefact is made here instead", flush=True)
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            return False
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return True

    def add(self, name: str, folder: Path) -> None:
        """Copy a made artefact into the store; a line where that fails."""
        target = self.root / name
        if os.path.exists(target):  # False too where it may not be looked at
            return
        incoming = self.root / "incoming" / f"{target.name}.{socket.gethostname()}.{os.getpid()}"
        try:
            for place in (incoming.parent, target.parent):
                self._open(place)
            shutil.copytree(folder, incoming, symlinks=True)
            verify(incoming, name)
            for path in (incoming, *incoming.rglob("*")):
                path.chmod(0o444 if path.is_file() else 0o755)
            if not os.path.exists(target):
                os.rename(incoming, target)
        except (UserError, OSError) as error:
            if not os.path.exists(target):
                print(f"store: {self.root} did not take {name} ({error}); it stays in results only", flush=True)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)

    def _open(self, place: Path) -> None:
        """Make a folder of the store, for the users that the store itself is for."""
        if not place.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            mode = stat.S_IMODE(self.root.stat().st_mode)
            with contextlib.suppress(OSError):  # another user was faster
                place.chmod(mode)


def _check_origin(name: str, inputs: dict[str, dict[str, Any]], folder: Path) -> None:
    """Refuse an object that is not whole, or was made from another spec or other parents. Raises UserError."""
    manifest = verify(folder, name)
    try:
        follows = spec_digest(told_spec(name, manifest))
        others = any(_content(manifest["inputs"], parent) != _content(inputs, parent) for parent in inputs)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST}: not a manifest of this project ({error!r}); {REMEDY}") from None
    if not name.endswith(f"-{follows}"):
        raise UserError(f"{folder / MANIFEST}: its settings, code and parents make {follows}, not {name}; {REMEDY}")
    if others:
        raise UserError(f"{folder}: was made from parents with other bytes than those here")


def _content(inputs: dict[str, dict[str, Any]], parent: str) -> Any:
    """Which bytes of a parent were read, whichever execution made them."""
    return inputs.get(parent, {}).get("content")
