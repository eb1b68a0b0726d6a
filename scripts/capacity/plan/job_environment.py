"""The environment variables that every job inherits."""

import os
import re
import sys
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from capacity.artefacts.identity import digest
from capacity.artefacts.store import VARIABLE
from capacity.kernels.compile_cache import TEMPORARY

ONE_WORD = re.compile(r"[^\s'\"\\]+")  # of a command line, as it stands
# glibc returns big blocks to the system and faults them in again on every step unless set otherwise.
ALLOCATOR = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=4294967296"


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
    return str(Path(tempfile.gettempdir()) / f"{TEMPORARY}{digest([path, os.getuid()])[:12]}")
