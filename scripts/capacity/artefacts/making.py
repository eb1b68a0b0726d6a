"""How an artefact is made: written to a scratch folder, renamed into place, manifest last.

Artefacts are named `<stage>/<id>`.
"""

import contextlib
import errno
import json
import os
import shlex
import shutil
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from capacity.artefacts.hash_index import note
from capacity.artefacts.manifest import (
    DIGEST,
    MANIFEST,
    SCHEMA,
    Contents,
    content_digest,
    contents,
    list_outputs,
    manifest_digest,
    verify,
    write_atomically,
)
from capacity.artefacts.spec import Spec
from capacity.artefacts.store import Store
from capacity.environment import environment, git_state, hardware, usage
from capacity.errors import NotOurs, UserError


class Making:
    """A scratch folder that becomes an artefact, manifest last, or nothing at all.

    Use as a context manager: write files into `.folder`, put a JSON-able summary into `.metrics`.
    """

    def __init__(self, spec: Spec, results: Path, inputs: dict[str, dict[str, Any]]):
        self.spec = spec
        self.results = results
        self.target = results / spec.name
        self.inputs = inputs
        self.metrics: dict[str, Any] = {}
        self.store = Store.from_environment()
        self.folder = results / "scratch" / f"{spec.id}.{socket.gethostname()}.{os.getpid()}"

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.started, self.clock = datetime.now(UTC), time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            if kind is None:
                found = contents(self.folder)
                write_atomically(
                    self.folder / MANIFEST, json.dumps(self.manifest(found), indent=1, sort_keys=True) + "\n"
                )
                self._publish()
                note(self.results, self.spec.name, found.files)
                if self.store and not self.spec.members:
                    self.store.add(self.spec.name, self.target)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def fetched(self) -> bool:
        """Whether the shared store had this artefact; it is in its place then."""
        if self.store is None or self.spec.members or self.spec.remake:
            return False
        if not self.store.fetch(self.spec.name, self.inputs, self.folder):
            return False
        self._publish()
        print(f"{self.spec.name}: taken from the store {self.store.root}", flush=True)
        return True

    def _publish(self) -> None:
        """Rename the scratch folder into place, where an empty folder makes room at once.

        The same artefact, made there by another process meanwhile, stays, unless this spec asks to make it again;
        anything else moves aside.
        """
        self.target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                os.rename(self.folder, self.target)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if self.is_made():
                shutil.rmtree(self.folder)
                return
            self._move_aside()

    def is_made(self) -> bool:
        """Whether the artefact is there, whole, and not to be made again."""
        if self.spec.remake or not (self.target / MANIFEST).is_file():
            return False
        try:
            verify(self.target, self.spec.name)
        except NotOurs:
            raise
        except UserError:
            return False
        return True

    def _move_aside(self) -> None:
        replaced = self.folder.with_name(self.folder.name + ".replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.rename(self.target, replaced)
        shutil.rmtree(replaced, ignore_errors=True)

    def manifest(self, found: Contents) -> dict[str, Any]:
        """What really happened: digests of outputs and inputs, code, environment, time, cost. found: the outputs."""
        spec, outputs = self.spec, list_outputs(self.folder, found)
        said = {
            "schema": SCHEMA,
            "name": spec.name,
            "settings": spec.settings,
            "parents": spec.parents,
            "members": [member.name for member in spec.members],
            "inputs": self.inputs,
            "outputs": outputs,
            "content": content_digest(outputs, self._member_contents()),
            "code": {
                "digest": spec.code,
                "script": spec.script,
                "for_model": spec.for_model,
                "modules": spec.present_modules(),
            },
            "packages": spec.packages,
            "git": git_state(),
            "environment": environment(),
            "hardware": hardware(),
            "command": shlex.join(sys.argv),
            "started": self.started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self.clock, 3),
            **usage(),
            "metrics": self.metrics,
        }
        said = json.loads(json.dumps(said))  # as it comes back from the file
        return {**said, DIGEST: manifest_digest(said)}

    def _member_contents(self) -> dict[str, str]:
        return {member.name: self.inputs[member.name]["content"] for member in self.spec.members}
