"""Start-up of a job that needs torch: what it imports stays, so garbage collection need not look at it."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def permanent_objects() -> Iterator[None]:
    """No garbage collection inside; what is alive at the end is never visited by one.

    Importing torch and transformers makes a million objects. Collecting among them costs 0.8 s of 3.2 s, and
    taking them apart when the process ends another 0.7 s.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def lean_imports() -> Iterator[None]:
    """Imports of torch and transformers, as permanent objects and without scipy, unless it is imported already.

    transformers takes scipy.optimize along for losses of object detection, which costs 0.3 s.
    """
    hidden = "scipy" not in sys.modules
    if hidden:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # found by no import, and by no search
    try:
        with permanent_objects():
            yield
    finally:
        if hidden:
            del sys.modules["scipy"]
