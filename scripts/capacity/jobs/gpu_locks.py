"""The GPUs of this machine dealt out to the jobs of local runs, by locks that end with the processes that hold them.

The engine's main process says in a variable which GPUs its jobs may have, and how many jobs share one. A job takes
free ones before it imports what may look for GPUs, and sees no others. Locks are files of the machine, not of a run:
runs in several checkouts, and jobs whose engine was killed, do not meet on one GPU. Without the variable, as on
clusters, a job uses what it is given.
"""

import argparse
import fcntl
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from capacity.jobs.allocation import follows
from capacity.jobs.gpus import HIDING, gpus_asked

VARIABLE = "CAPACITY_GPUS"
POLL = 0.5  # seconds between looks for a free GPU

_held: list[int] = []  # descriptors, open until this process ends


def deal_out(variables: MutableMapping[str, str], gpus: list[str], share: int) -> None:
    """Set for the jobs of a run which GPUs they may have, by names, and how many of them share one; none: nothing."""
    variables.pop(VARIABLE, None)
    if gpus:
        variables[VARIABLE] = json.dumps({"gpus": gpus, "share": share})


def take_gpus_of_spec(words: list[str]) -> None:
    """Take what the spec on a job's command line asks for, as `take_gpus` does; nothing where there is none."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--spec", type=Path)
    if VARIABLE not in os.environ:
        return
    try:
        spec = json.loads(parser.parse_known_args(words)[0].spec.read_text(encoding="utf-8"))
        asked = [spec["settings"], *(member["settings"] for member in spec["members"])]
    except (argparse.ArgumentError, OSError, ValueError, KeyError, AttributeError):
        return  # the job itself says what is wrong
    take_gpus(asked)


def take_gpus(settings: list[dict[str, Any]]) -> None:
    """Wait for as many free GPUs as a job's settings, or its members', ask for, and let this process see no others.

    Nothing happens where no run deals GPUs out, on the second call, and in a process that follows another one.
    """
    asked = max(map(gpus_asked, settings), default=0)
    if VARIABLE not in os.environ or not asked or _held or follows():
        return
    dealt = json.loads(os.environ[VARIABLE])
    said = False
    while not (taken := _take_free(dealt["gpus"], dealt["share"], asked)):
        if not said:
            print(f"waiting for {asked} free of the GPUs {', '.join(dealt['gpus'])}", file=sys.stderr, flush=True)
            said = True
        time.sleep(POLL * random.uniform(0.5, 1.5))  # so that two which want several each do not meet again and again
    os.environ[HIDING] = ",".join(taken)
    for descriptors in taken.values():
        _held.extend(descriptors)


def _take_free(gpus: list[str], share: int, asked: int) -> dict[str, list[int]]:
    """Locks by GPU, on those with the fewest jobs first; none where too few are free."""
    taken: dict[str, list[int]] = {}
    for place in range(share):
        for gpu in gpus:
            if gpu not in taken and (descriptors := _lock_place(gpu, share, place)):
                taken[gpu] = descriptors
            if len(taken) == asked:
                return taken
    for descriptors in taken.values():
        _release(descriptors)
    return {}


def _lock_place(gpu: str, share: int, place: int) -> list[int]:
    """Locks on one of a GPU's places, and on the GPU itself: alone, or together with others that share it too."""
    folder = Path(tempfile.gettempdir()) / f"capacity-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    held: list[int] = []
    for name, kind in ((gpu, fcntl.LOCK_SH if share > 1 else fcntl.LOCK_EX), (f"{gpu}.{place}", fcntl.LOCK_EX)):
        held.append(os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600))
        try:
            fcntl.flock(held[-1], kind | fcntl.LOCK_NB)
        except BlockingIOError:
            _release(held)
            return []
    return held


def _release(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
