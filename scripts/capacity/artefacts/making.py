"""How a job makes an artefact: read the order, check code and parents, write to scratch, rename, manifest last.

An order is the frozen description of one artefact, written by the engine's main process to `results/specs/<id>.json`
before any job starts. Jobs read nothing else of the configuration. Artefacts are named `<stage>/<id>`.
"""

import argparse
import contextlib
import errno
import json
import os
import shlex
import shutil
import socket
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from capacity.artefacts.manifest import (
    DIGEST,
    MANIFEST,
    SCHEMA,
    content_digest,
    list_outputs,
    manifest_digest,
    noted,
    verify,
    write_atomically,
)
from capacity.artefacts.orders import Order, check_present, read_order
from capacity.artefacts.store import Store
from capacity.environment import environment, git_state, hardware, usage
from capacity.errors import NotOurs, UserError, printable, unwritable


class Making:
    """A scratch folder that becomes an artefact, manifest last, or nothing at all.

    Use as a context manager: write files into `.folder`, put a JSON-able summary into `.metrics`.
    """

    def __init__(self, order: Order, results: Path, inputs: dict[str, dict[str, Any]]):
        self.order = order
        self.target = results / order.name
        self.inputs = inputs
        self.metrics: dict[str, Any] = {}
        self.store = Store.from_environment()
        self.folder = results / "scratch" / f"{order.id}.{socket.gethostname()}.{os.getpid()}"

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.started, self.clock = datetime.now(UTC), time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            if kind is None:
                write_atomically(self.folder / MANIFEST, json.dumps(self.manifest(), indent=1, sort_keys=True) + "\n")
                self._publish()
                if self.store and not self.order.members:
                    self.store.add(self.order.name, self.target)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def fetched(self) -> bool:
        """Whether the shared store had this artefact; it is in its place then."""
        if self.store is None or self.order.members or self.order.remake:
            return False
        if not self.store.fetch(self.order.name, self.inputs, self.folder):
            return False
        self._publish()
        print(f"{self.order.name}: taken from the store {self.store.root}", flush=True)
        return True

    def _publish(self) -> None:
        """Rename the scratch folder into place, where an empty folder makes room at once.

        The same artefact, made there by another process meanwhile, stays, unless this order asks to make it again;
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
            if not self.order.remake and self._is_made():
                shutil.rmtree(self.folder)
                return
            self._move_aside()

    def _is_made(self) -> bool:
        try:
            verify(self.target, self.order.name)
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

    def manifest(self) -> dict[str, Any]:
        """What really happened: digests of outputs and inputs, code, environment, time, cost."""
        order, outputs = self.order, list_outputs(self.folder)
        said = {
            "schema": SCHEMA,
            "name": order.name,
            "spec": order.spec,
            "parents": order.parents,
            "members": [member.name for member in order.members],
            "inputs": self.inputs,
            "outputs": outputs,
            "content": content_digest(outputs, self._member_contents()),
            "code": {
                "digest": order.code,
                "script": order.script,
                "for_model": order.for_model,
                "modules": order.present_modules(),
            },
            "packages": order.packages,
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
        return {**said, DIGEST: manifest_digest(said)}

    def _member_contents(self) -> dict[str, str]:
        return {member.name: self.inputs[member.name]["content"] for member in self.order.members}


def job_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all stage scripts share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True, help="the order: results/specs/<id>.json")
    parser.add_argument("--results", type=Path, help="the results folder (default: the one that holds the order)")
    return parser


class Job(Making):
    """One engine job: its order, its verified parents, and the folder to fill. Ends the process on a UserError."""

    def __init__(self, args: argparse.Namespace):
        try:
            order = read_order(args.spec)
            check_present(order)
            self.results = args.results or args.spec.resolve().parents[1]
            names = order.parent_names()
            manifests = {name: verify(self.results / name, name) for name in names}
        except UserError as error:
            fail(error)
        inputs = {name: noted(manifest) for name, manifest in manifests.items()}
        super().__init__(order, self.results, inputs)
        self.manifests = manifests
        self.spec = order.spec
        self.resume = self.results / "resume" / order.id

    def __enter__(self) -> Self:
        try:
            super().__enter__()
            fetched = self.fetched()
        except OSError as error:
            self._fail_where_unwritable(error)
            raise
        if fetched:
            raise SystemExit(0)
        return self

    def _fail_where_unwritable(self, error: BaseException | None) -> None:
        """End the process with one line where the disk takes no more."""
        if told := unwritable(error, self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            fail(UserError(f"{self.order.name}: {told}"))

    def check_again(self) -> None:
        """Refuse where the code was edited since the job began; to be called after imports that came late."""
        check_present(self.order)

    def parent(self, role: str) -> Path:
        """The verified folder of the one parent in a role."""
        return self.results / str(self.order.parents[role])

    def parents(self, role: str) -> list[Path]:
        """The verified folders of all parents in a role, in the order's order."""
        return [self.results / name for name in self.order.parents[role]]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._fail_where_unwritable(error)
        try:
            super().__exit__(kind, error, trace)
        except UserError as refused:
            fail(refused)
        except OSError as refused:
            self._fail_where_unwritable(refused)
            raise
        if isinstance(error, UserError):
            fail(error)
        if kind is None:
            print(f"{self.order.name}: made in {time.monotonic() - self.clock:.1f} s", flush=True)

    def missing_members(self) -> list[Order]:
        """Members that are still to be made; an order to make the set again makes all of them again."""
        if self.order.remake:
            return self.order.members
        return [m for m in self.order.members if not (self.results / m.name).exists() and not self._fetched_member(m)]

    def _fetched_member(self, member: Order) -> bool:
        making = self.making_member(member)
        return making.store is not None and making.fetched()

    def making_member(self, member: Order) -> Making:
        """The scratch folder of one member; its parents are verified and become this job's inputs too."""
        for name in member.parent_names():
            if name not in self.inputs:
                self.add_input(name)
        ordered = replace(member, remake=self.order.remake)  # made again with its set
        return Making(ordered, self.results, {name: self.inputs[name] for name in member.parent_names()})

    def add_input(self, name: str) -> Path:
        """Verify an artefact that a parent or this job made, and chain its content into the manifest."""
        folder = self.results / name
        self.inputs[name] = noted(verify(folder, name))
        return folder


def fail(error: UserError) -> None:
    """One line for the user, exit code 1."""
    print("error:", printable(str(error), kept="\n"), file=sys.stderr, flush=True)
    raise SystemExit(1)
