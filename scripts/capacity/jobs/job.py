"""One job of the engine: read its spec, check code and parents, make the artefact, end with one line where that fails.

A spec is the frozen description of one artefact, written by the engine's main process to `results/specs/<id>.json`
before any job starts. Jobs read nothing else of the configuration.
"""

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from capacity.artefacts.making import Making
from capacity.artefacts.manifest import MANIFEST, noted, verify
from capacity.artefacts.spec import Spec, check_present, read_spec
from capacity.errors import UserError, fail, unwritable
from capacity.jobs.gpu_locks import take_gpus

T = TypeVar("T")


def job_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all stage scripts share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path, required=True, help="the spec: results/specs/<id>.json")
    parser.add_argument("--results", type=Path, help="the results folder (default: the one that holds the spec)")
    return parser


class Job(Making, Generic[T]):
    """One engine job: its spec, its verified parents, and the folder to fill. Ends the process on a UserError.

    read: from the spec's JSON to the stage's settings, typed; `.settings` has them.
    """

    def __init__(self, args: argparse.Namespace, read: Callable[[dict[str, Any]], T]):
        try:
            spec = read_spec(args.spec)
            check_present(spec)
            self.results = args.results or args.spec.resolve().parents[1]
            names = spec.parent_names()
            manifests = {name: verify(self.results / name, name) for name in names}
        except UserError as error:
            fail(error)
        inputs = {name: noted(manifest) for name, manifest in manifests.items()}
        super().__init__(spec, self.results, inputs)
        self.manifests = manifests
        self.settings = read(spec.settings)
        self.resume = self.results / "resume" / spec.id

    def __enter__(self) -> Self:
        take_gpus([each.settings for each in self.spec.with_members()])
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
        if reason := unwritable(error, self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            fail(UserError(f"{self.spec.name}: {reason}"))

    def check_again(self) -> None:
        """Refuse where the code was edited since the job began; to be called after imports that came late."""
        check_present(self.spec)

    def parent(self, role: str) -> Path:
        """The verified folder of the one parent in a role."""
        return self.results / str(self.spec.parents[role])

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
            print(f"{self.spec.name}: made in {time.monotonic() - self.clock:.1f} s", flush=True)

    def make_set(
        self,
        make: Callable[[Spec, Making], None],
        counted: str,
        lease: Callable[[Making], AbstractContextManager[bool]] = lambda _: nullcontext(True),
    ) -> None:
        """Make each member of this set that is missing, take all of them as inputs, and count them in the metrics.

        counted: what the members are called there, for example "variants"; "reused" are those that were there. lease:
        entered while a member is made; gives False where another process has made it meanwhile.
        """
        missing = [member for member in self.spec.members if self._is_missing(member)]
        for member in missing:
            making = self._making_member(member)
            with lease(making) as mine:
                if mine:
                    with making:
                        make(member, making)
        for member in self.spec.members:
            self.add_input(member.name)
        self.metrics = {counted: len(self.spec.members), "reused": len(self.spec.members) - len(missing)}

    def _is_missing(self, member: Spec) -> bool:
        """Whether a member is still to be made; a spec to make the set again makes all of them again."""
        if self.spec.remake:
            return True
        is_there = (self.results / member.name / MANIFEST).is_file()
        return not (is_there or self._making_member(member).fetched())

    def _making_member(self, member: Spec) -> Making:
        """The scratch folder of one member; its parents are verified and become this job's inputs too."""
        for name in member.parent_names():
            if name not in self.inputs:
                self.add_input(name)
        again = replace(member, remake=self.spec.remake)  # made again with its set
        return Making(again, self.results, {name: self.inputs[name] for name in member.parent_names()})

    def add_input(self, name: str, files: Sequence[str] | None = None) -> Path:
        """Verify an artefact that a parent or this job made, and chain its content into the manifest.

        files: the only ones of a large artefact that this job reads.
        """
        folder = self.results / name
        self.inputs[name] = noted(verify(folder, name, files))
        return folder
