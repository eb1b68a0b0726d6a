"""Entries of an archive whose headers stay small: a name, or a map of holes, may not fill the memory."""

import tarfile
from typing import Any

LARGEST_HEADER = 2**20  # bytes of an entry's long names and further attributes, which are read into memory
HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)


class OutOfBounds(Exception):
    """An entry that is not read on; the text says why."""


class BoundedEntry(tarfile.TarInfo):
    """What tarfile makes of a header, before it reads what belongs to it."""

    def _proc_member(self, archive: Any) -> Any:
        if self.type not in HEADERS:
            archive.waiting = 0
        elif self.size > LARGEST_HEADER:
            raise OutOfBounds(f"a header has {self.size:,} bytes, more than {LARGEST_HEADER:,}")
        elif self.type == tarfile.XGLTYPE:  # tarfile keeps them, and copies them for every entry that follows
            raise OutOfBounds("a global header, which a release has none of; pack it by `make release`")
        else:
            archive.waiting += max(self.size, 0)
        if archive.waiting > LARGEST_HEADER:
            raise OutOfBounds(f"the headers of one entry have {archive.waiting:,} bytes, more than {LARGEST_HEADER:,}")
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_holes()
        return super()._proc_member(archive)  # type: ignore[misc]

    def _refuse_holes(self, entry: tarfile.TarInfo | None = None, *_: Any) -> None:
        """entry: the one that this header says it of, where it is another."""
        raise OutOfBounds(f"{(entry or self).name[:120]!r} is no plain file: it has holes")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_holes


class BoundedArchive(tarfile.TarFile):
    """An archive of such entries. waiting: bytes of headers that were read, and whose entry has not come yet."""

    tarinfo = BoundedEntry
    waiting = 0
