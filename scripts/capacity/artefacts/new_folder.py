"""A folder for others that appears whole or not at all."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from capacity.errors import UserError


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """An empty folder to fill, of the same name, which is put in its place at the end; where that fails, nothing stays.

    Raises UserError where the place is taken.
    """
    if output.exists():
        raise UserError(f"{output}: exists already; name another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=output.parent) as scratch:
        folder = Path(scratch) / output.name
        folder.mkdir()
        yield folder
        folder.rename(output)
