"""Tar files, compressed or not, read header by header: each member is checked before its bytes are skipped."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from bioclip_core.files.archive_gate import Entry
from bioclip_core.files.regular import open_regular

FAULTS = (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, OverflowError, RecursionError)
"""Exceptions of the readers for damaged files. tarfile recurses for each header that only describes the next one."""

_HEADER_BYTES = 1 << 20
"""More than the name or an attribute of any member needs."""
_MAGIC = slice(257, 262)
_COMPRESSED: Mapping[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def decompressed(path: Path) -> IO[bytes]:
    """Open a file, decompressing it if it is compressed."""
    with open_regular(path) as file:
        start = file.read(8)
    open_it = next((open_it for magic, open_it in _COMPRESSED.items() if start.startswith(magic)), Path.open)
    return cast("IO[bytes]", open_it(path, "rb"))


def is_tar(path: Path) -> bool:
    """True if a file is a tar file by its content, compressed or not."""
    try:
        with decompressed(path) as plain:
            return plain.read(512)[_MAGIC] == b"ustar"
    except FAULTS:
        return False


class TarReader:
    """A tar file, compressed or not, with a few methods of a zip file."""

    def __init__(self, path: Path) -> None:
        self._file = _Headers(decompressed(path))
        try:
            self._tar = tarfile.TarFile(fileobj=cast("IO[bytes]", self._file), mode="r", errorlevel=2, encoding="utf-8")
        except BaseException:
            self._file.close()
            raise

    def entries(self) -> Iterator[Entry]:
        """Yield every header as it is read. Members may be opened after the last one."""
        while (entry := self._tar.next()) is not None:
            special = ""
            if entry.issym() or entry.islnk():
                special = f"a {'symbolic' if entry.issym() else 'hard'} link to {entry.linkname!r}"
            elif not entry.isdir() and (not entry.isreg() or entry.issparse()):
                special = "a device file or of another special kind"
            yield Entry(entry.name, entry.isdir(), entry.size, entry.mtime, entry, special)
        self._file.listing = False

    def first_names(self, count: int, largest: int) -> Iterator[str]:
        """Yield the unchecked names of the first ``count`` members, up to the first one larger than ``largest`` bytes."""
        for _ in range(count):
            entry = self._tar.next()
            if entry is None:
                return
            yield entry.name
            if entry.size > largest:
                return
            self._tar.members.clear()  # type: ignore[attr-defined] # public, and unknown to the stubs

    def open(self, entry: tarfile.TarInfo) -> IO[bytes]:
        """Open a member."""
        file = self._tar.extractfile(entry)
        if file is None:
            raise tarfile.TarError(f"{entry.name} is not a file")
        return file

    def close(self) -> None:
        """Close the file."""
        self._tar.close()
        self._file.close()


class _Headers:
    """The bytes of a tar file. While headers are read, large reads are refused, since the archive states their size."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self.close = file.seek, file.tell, file.close
        self._file = file
        self.listing = True

    def read(self, size: int = -1) -> bytes:
        if self.listing and not 0 <= size <= _HEADER_BYTES:
            raise tarfile.TarError(f"a header of {size:,} bytes; allowed are {_HEADER_BYTES:,}")
        return self._file.read(size)
