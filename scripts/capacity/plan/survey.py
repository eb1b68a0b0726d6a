"""What the main process does before any job starts: survey the artefacts, stamp the fixed paths, write the specs.

Nothing here depends on the engine. A job never runs this code.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING

from capacity.artefacts.hash_index import HERE, Memory, marks
from capacity.artefacts.identity import check_bytecode_by_hash, digest
from capacity.artefacts.manifest import MANIFEST, contents, noted, read_manifest, verify, write_atomically
from capacity.artefacts.spec import Spec, spec_text
from capacity.artefacts.store import VARIABLE
from capacity.errors import NotOurs, Unlisted, UserError, unwritable
from capacity.jobs.run_loggers import check_loggers
from capacity.plan.context_checks import check_contexts
from capacity.plan.fixed_paths import published, stamp_copy
from capacity.plan.model_checks import check_models

if TYPE_CHECKING:
    from capacity.plan.grid import Grid

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # of a lock: another process has it
ONE_WORD = re.compile(r"[^\s'\"\\]+")  # of a command line, as it stands
STUDIES = "report/studies.json"  # each study's question and findings, for the report's pages
# glibc returns big blocks to the system and faults them in again on every step unless set otherwise.
ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"


class State(StrEnum):
    """Whether an artefact can be used."""

    DONE = "done"
    MISSING = "missing"
    DAMAGED = "damaged"


class Survey:
    """The state of artefacts below a results folder; bytes are hashed once, then recognised by their stat.

    The memory keeps size, mtime, ctime and inode of each file that was hashed and found right, and of the folders
    that hold them, which change when anything is put beside.
    """

    def __init__(self, results: Path):
        self.results = results
        self.faults: dict[str, str] = {}
        self._memory = Memory(results)

    def state(self, name: str) -> State:
        """The state of one artefact; what is wrong with a damaged one is in `.faults`. Raises NotOurs."""
        known, prefix = self._memory.known.get(name), f"{self.results}/{name}/"
        if known and HERE in known and all(_marks_at(prefix + file) == value for file, value in known.items()):
            return State.DONE
        folder = self.results / name
        try:
            found = contents(folder)
        except (FileNotFoundError, NotADirectoryError):
            return State.MISSING
        except OSError as error:
            raise NotOurs(f"{folder}: cannot be read ({error.strerror}); make it readable, or remove it") from None
        if not (found.files or found.others):
            return State.MISSING
        try:
            verify(folder, name, found=found)
        except NotOurs:
            raise
        except UserError as error:
            self.faults[name] = str(error)
            self._memory.changed |= self._memory.known.pop(name, None) is not None
            return State.DAMAGED
        self._memory.known[name] = {place: marks(stat) for place, stat in (found.folders | found.files).items()}
        self._memory.changed = True
        return State.DONE

    def save(self) -> None:
        """Keep what was hashed for the next look."""
        self._memory.save()


def _marks_at(path: str) -> list[int]:
    try:
        return marks(os.stat(path))
    except OSError:
        return []


def survey(specs: Iterable[Spec], results: Path) -> tuple[dict[str, State], dict[str, str]]:
    """State of every artefact and set member, and the faults of damaged ones.

    Raises Unlisted where artefacts hold what their manifests do not list: nobody but a person may remove that.
    """
    watch = Survey(results)
    states: dict[str, State] = {}
    refused: list[Unlisted] = []
    for name in (name for spec in specs for name in (spec.name, *(m.name for m in spec.members))):
        try:
            states[name] = watch.state(name)
        except Unlisted as error:
            refused.append(error)
    watch.save()
    if refused:
        more = f" (and the like in {len(refused) - 1} other artefacts)" if len(refused) > 1 else ""
        raise Unlisted(f"{refused[0]}{more}")
    return states, watch.faults


def left_behind(specs: dict[str, Spec], states: dict[str, State], results: Path) -> dict[str, str]:
    """What an earlier run was to make again and did not come to, with the parent that was made anew before.

    A spec that asks for it is newer than the artefact, and the artefact notes another execution of the parent.
    """
    found = {}
    asked = {entry.name: entry.stat().st_mtime for entry in _listing(results / "specs")}
    for name, spec in specs.items():
        manifest = results / name / MANIFEST
        if states[name] == State.DONE and asked.get(f"{spec.id}.json", 0) > manifest.stat().st_mtime:
            inputs = read_manifest(results / name)["inputs"]
            parents = [parent for parent in spec.parent_names() if states.get(parent) == State.DONE]
            anew = [each for each in parents if inputs.get(each) != noted(read_manifest(results / each))]
            if anew:
                found[name] = anew[0]
    return found


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    return list(os.scandir(folder)) if folder.is_dir() else []


def to_remake(
    specs: dict[str, Spec], states: dict[str, State], faults: dict[str, str], behind: dict[str, str]
) -> dict[str, str]:
    """Artefacts to make again although they exist, with the reason: damaged ones and all that followed from them.

    specs: in the order of the flow, parents before children. behind: as of `left_behind`.
    """
    reasons: dict[str, str] = {}
    needed = {p for spec in specs.values() if states[spec.name] != State.DONE for p in spec.parent_names()}
    for name, spec in specs.items():
        bad = next((m for m in (name, *(m.name for m in spec.members)) if states[m] == State.DAMAGED), None)
        lost = next((m.name for m in spec.members if states[m.name] == State.MISSING), None)
        parent = next((p for p in spec.parent_names() if p in reasons), None)
        if bad:
            reasons[name] = f"damaged: {faults[bad]}"
        elif lost and name in needed and states[name] == State.DONE:
            reasons[name] = f"damaged: its member {lost} is missing"
        elif name in behind:
            reasons[name] = f"follows from {behind[name]}, which was made again by an earlier run"
        elif parent and states[name] == State.DONE:
            reasons[name] = f"follows from {parent}, which is made again"
        elif parent:
            reasons[name] = ""
    return {name: reason for name, reason in reasons.items() if reason}


def write_specs(plan: "Plan", results: Path) -> None:
    """Put every spec into `results/specs/`, where jobs read it; those of artefacts to make again stand there already.

    It has the oldest time there is, by which it is known to ask for nothing new.
    """
    folder = results / "specs"
    folder.mkdir(parents=True, exist_ok=True)
    present = {entry.name: entry.stat().st_mtime for entry in _listing(folder)}
    for spec in plan.specs.values():
        path = folder / f"{spec.id}.json"
        if spec.name in plan.remake:
            continue
        if present.get(path.name) != 0 or (plan.states[spec.name] != State.DONE and not _holds(path, spec)):
            write_atomically(path, spec_text(spec), durable=False, time=0)


def _spec_again(plan: "Plan", results: Path) -> None:
    """Write specs of artefacts to make again: inputs of their rules, newer than what is there, since the engine
    compares times. They name the reason, so that their checksum differs too.
    """
    for name, reason in plan.remake.items():
        print(f"{name} is made again: {reason}", file=sys.stderr)
        spec = replace(plan.specs[name], remake=reason)
        with ending_where_unwritable(results):
            _take_back(results / name / MANIFEST)
            (results / "specs").mkdir(parents=True, exist_ok=True)
            write_atomically(results / "specs" / f"{spec.id}.json", spec_text(spec), durable=False)


def _take_back(manifest: Path) -> None:
    """Make a manifest old whose time is ahead of the clock, or no spec that is written now is newer.

    Not by the time 0: to the engine an output of that time has none.
    """
    if manifest.is_file() and manifest.stat().st_mtime >= time.time():
        os.utime(manifest, (1, 1))


def _holds(path: Path, spec: Spec) -> bool:
    return path.read_bytes() == spec_text(spec).encode()


@dataclass(frozen=True)
class Plan:
    """A resolved configuration held against the artefacts that exist."""

    grid: "Grid"
    states: dict[str, State]
    faults: dict[str, str]
    remake: dict[str, str]  # artefact name -> why it is made again

    @property
    def specs(self) -> dict[str, Spec]:
        return self.grid.specs

    @functools.cached_property
    def by_id(self) -> dict[str, Spec]:
        return {spec.id: spec for spec in self.specs.values()}


def hold_against(grid: "Grid", results: Path) -> Plan:
    """Survey the artefacts of a grid; changes nothing but the index of hashed files."""
    states, faults = survey(grid.specs.values(), results)
    behind = left_behind(grid.specs, states, results)
    return Plan(grid, states, faults, to_remake(grid.specs, states, faults, behind))


def try_models(plan: Plan) -> None:
    """Build the models that are not of the paper and still to be made, and see that texts fit. Raises UserError."""
    done = {name for name, state in plan.states.items() if state == State.DONE}
    check_contexts(plan.specs, done)
    check_models(plan.specs, done)


def prepare_run(grid: "Grid", results: Path) -> Plan:
    """Survey the artefacts, then write what the engine compares: specs to make again, stamps."""
    check_bytecode_by_hash()
    plan = hold_against(grid, results)
    try_models(plan)
    check_loggers(grid.loggers)
    _spec_again(plan, results)
    for artefact, files, id_file in published(grid):
        stamp_copy(artefact, files, id_file, results)
    return plan


def write_studies(grid: "Grid", results: Path) -> None:
    """Put what the studies ask where the report reads it, unless it stands there."""
    path, text = results / STUDIES, json.dumps(grid.studies, indent=1) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with ending_where_unwritable(results):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text, durable=False)


def use_store(variables: MutableMapping[str, str], store: str | None) -> None:
    """Set for the jobs which shared store to use, or that there is none."""
    variables.pop(VARIABLE, None)
    if store:
        variables[VARIABLE] = os.path.abspath(os.path.expanduser(store))


def set_job_environment(variables: MutableMapping[str, str], results: Path) -> None:
    """What every job inherits: this interpreter first, one thread, malloc settings, one compile cache, no network.

    A variable that the user set already is left alone, except PATH and the thread counts, which decide numbers.
    """
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
        variables[name] = "1"
    variables.setdefault("GLIBC_TUNABLES", ALLOCATOR)
    variables.setdefault("TORCHINDUCTOR_CACHE_DIR", compile_cache(results))
    variables.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")  # or each job compiles a program to see that AVX works
    variables.setdefault("TOKENIZERS_PARALLELISM", "false")
    variables.setdefault("HF_HUB_OFFLINE", "1")


def compile_cache(results: Path) -> str:
    """Where compiled kernels are kept: below the results, unless a compiler would take that path for several words.

    A results folder has one of its own among the files that are temporary then, and so has each user.
    """
    path = str((results / "cache" / "inductor").absolute())
    if ONE_WORD.fullmatch(path):
        return path
    return str(Path(tempfile.gettempdir()) / f"capacity-inductor-{digest([path, os.getuid()])[:12]}")


@contextlib.contextmanager
def ending_where_unwritable(results: Path) -> Iterator[None]:
    """End the process with one line where the results folder takes nothing. Raises SystemExit."""
    try:
        yield
    except OSError as error:
        reason = unwritable(error, results)
        if reason is None:
            raise
        print(f"error: {reason}", file=sys.stderr)
        raise SystemExit(1) from None


def lock_run(results: Path) -> IO[str]:
    """Hold the results folder for this process until it ends, however it ends. Raises SystemExit where another does."""
    with ending_where_unwritable(results):
        file = open(results / "engine.lock", "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        reason = f"another run is under way here ({file.read().strip()}); wait for it"
        if error.errno not in HELD:
            reason = f"engine.lock cannot be locked ({error.strerror}); put results on a file system that has flock"
        sys.stderr.write(f"error: {results}: {reason}\n")  # at once: the engine writes from a thread of its own
        raise SystemExit(1) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file
