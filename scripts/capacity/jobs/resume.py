"""The state of a training that was stopped: written whole or not at all, and never used without a check.

One file: a SHA-256 in hex, a line of JSON, a safetensors payload. The digest covers the other two. Nothing in
it is code.
"""

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from capacity.artefacts.identity import digest
from capacity.jobs.training_files import CURVE, POSITION

STATE = "state"

Facts = dict[str, Any]


def save_state(folder: Path, tensors: dict[str, Tensor], counters: Facts, conditions: Facts) -> None:
    """Replace the folder's state; a reader or a crash sees the old one or the new one.

    counters: plain numbers that belong to the state. conditions: what must be equal for the state to be of
    use.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = json.dumps({"counters": counters, "conditions": conditions}, sort_keys=True).encode()
    payload = save({name: tensor.cpu() for name, tensor in tensors.items()})
    digest = hashlib.sha256(facts + b"\n")
    digest.update(payload)
    scratch = folder / f".{STATE}.{os.getpid()}"
    try:
        with open(scratch, "wb") as file:
            for part in (digest.hexdigest().encode(), b"\n", facts, b"\n", payload):  # large ones are not put together
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, folder / STATE)
    finally:
        scratch.unlink(missing_ok=True)


def bring_back(folder: Path, conditions: Facts) -> None:
    """Exchange a folder's state for the one that was put aside until a process with these conditions comes."""
    path, aside = folder / STATE, _aside(folder, conditions)
    if aside.is_file():
        if path.is_file():
            put_aside(folder)
        os.replace(aside, path)


def load_state(folder: Path, conditions: Facts) -> tuple[dict[str, Tensor], Facts] | None:
    """The tensors and counters of a stopped training, or None where there is nothing to go on from.

    A state that cannot be used is named in one line on stderr: one that is damaged, or that was made under other
    conditions, such as on another kind of node, and is to be put aside before another is saved.
    """
    path = folder / STATE
    try:
        with open(path, "rb") as file:
            digest, line, payload = file.readline().rstrip(b"\n"), file.readline(), file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        _refuse(path, f"cannot be read ({error})")
        return None
    found = hashlib.sha256(line)
    found.update(payload)
    if digest.decode("ascii", "replace") != found.hexdigest():
        _refuse(path, "is damaged")
        return None
    try:
        facts, tensors = json.loads(line), load(payload)
        counters, made_with = facts["counters"], facts["conditions"]
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        _refuse(path, f"is of another layout ({type(error).__name__})")
        return None
    for name, value in json.loads(json.dumps(conditions)).items():
        if made_with.get(name) != value:
            _refuse(path, f"was made with {name} {made_with.get(name)}, now {value}, and is put aside")
            return None
    return tensors, counters


def _aside(folder: Path, conditions: Facts) -> Path:
    """Where a state waits for a process under its conditions."""
    return folder / f"{STATE}-{digest(json.loads(json.dumps(conditions)))[:12]}"


def put_aside(folder: Path) -> None:
    """Move a state to where `bring_back` finds it for a process under its conditions; a damaged one stays."""
    path = folder / STATE
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError), open(path, "rb") as file:
        file.readline()
        os.replace(path, _aside(folder, json.loads(file.readline())["conditions"]))


def forget(folder: Path) -> None:
    """Remove a state that is no longer needed, what it showed, and the folder where nothing else is in it."""
    shown = (folder / POSITION, folder / CURVE)
    states = (folder / STATE, *folder.glob(f"{STATE}-*"), *folder.glob(f".{STATE}.*"))
    for path in (*states, *shown, *folder.glob(f".{POSITION}.*")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _refuse(path: Path, why: str) -> None:
    print(f"{path}: the saved training {why}; starting over", file=sys.stderr, flush=True)
