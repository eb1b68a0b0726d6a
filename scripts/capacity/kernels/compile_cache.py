"""Where compiled code is kept: a folder for each kind of processor, since torch's names do not tell them apart.

What inductor writes for a processor has the width of its vectors in it, but is found again by the graph alone: a node
of another kind would compile that text for itself, and compute nonsense.
"""

import hashlib
import os
import stat
from pathlib import Path

from capacity.environment import processor_kind
from capacity.errors import UserError

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
TEMPORARY = "capacity-inductor-"  # how a folder among the files that are temporary begins; others can foresee its name


def use_folder_of_processor() -> None:
    """Have torch keep what it compiles apart from what other kinds of processor compile. Raises UserError."""
    folder = Path(os.environ.get(VARIABLE) or _of_torch())
    kind = hashlib.sha256(processor_kind().encode()).hexdigest()[:12]
    if folder.name == kind:
        return
    if folder.name.startswith(TEMPORARY):
        _make_private(folder)
    os.environ[VARIABLE] = str(folder.absolute() / kind)


def _of_torch() -> str:
    """Where torch keeps it if nobody says where."""
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir  # torch: only where it is needed anyway

    return str(default_cache_dir())


def _make_private(folder: Path) -> None:
    """Make a folder that nobody else can write to, or refuse: what lies in it is run."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    others_may = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or others_may:
        raise UserError(
            f"{folder}: compiled code would be kept there, but others can write to it; remove it, or set {VARIABLE} "
            "to a folder of your own"
        )
