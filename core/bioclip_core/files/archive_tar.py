"""Tar files, compressed or not, read header by header: each member is checked before its bytes are gone over."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from bioclip_core.files.archive_gate import Gate, Limits, Member

FAULTS = (tarfile.TarError, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
"""What a damaged file makes of its readers."""

_HEADER_BYTES = 1 << 20  # no name or attribute of a member needs more
_MAGIC = slice(257, 262)
_COMPRESSED: Mapping[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


def decompressed(path: Path) -> IO[bytes]:
    """A file's bytes, decompressed where it is compressed."""
    with path.open("rb") as file:
        start = file.read(8)
    for magic, open_it in _COMPRESSED.items():
        if start.startswith(magic):
            return cast("IO[bytes]", open_it(path, "rb"))
    return path.open("rb")


def is_tar(path: Path) -> bool:
    """Whether a file is a tar file by its content, compressed or not."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
        if start[_MAGIC] == b"ustar":
            return True
        if not any(start.startswith(magic) for magic in _COMPRESSED):
            return False
        with decompressed(path) as plain:
            return plain.read(512)[_MAGIC] == b"ustar"
    except FAULTS:
        return False


class TarReader:
    """A tar file, compressed or not, with the same few methods as a zip file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _Headers(decompressed(path))
        try:
            self._tar = tarfile.TarFile(fileobj=self._file, mode="r", errorlevel=2, encoding="utf-8")
        except BaseException:
            self._file.close()
            raise

    @property
    def listing(self) -> bool:
        """Whether headers are being read, which are small."""
        return self._file.listing

    @listing.setter
    def listing(self, value: bool) -> None:
        self._file.listing = value

    def checked(self, limits: Limits) -> Iterator[tuple[Member, tarfile.TarInfo]]:
        """Every ordinary file, as its header is reached."""
        gate = Gate(self._path, limits)
        while (entry := self._tar.next()) is not None:
            name = gate.name(entry.name, is_folder=entry.isdir())
            if entry.issym() or entry.islnk():
                raise gate.special(
                    entry.name, f"a {'symbolic' if entry.issym() else 'hard'} link to {entry.linkname!r}"
                )
            if entry.isdir():
                continue
            if not entry.isreg() or entry.issparse():
                raise gate.special(entry.name, "a device file or of another special kind")
            gate.size(entry.name, entry.size)
            yield Member(name, entry.size, max(int(entry.mtime), 0)), entry

    def first_names(self, count: int, largest: int) -> Iterator[str]:
        """Names as they stand there, unchecked, of so many members; none behind one that is larger than ``largest`` bytes."""
        for _ in range(count):
            entry = self._tar.next()
            if entry is None:
                return
            yield entry.name
            if entry.size > largest:
                return
            self.forget()

    def open(self, entry: tarfile.TarInfo) -> IO[bytes]:
        """A member's bytes."""
        file = self._tar.extractfile(entry)
        if file is None:
            raise tarfile.TarError(f"{entry.name} is no file")
        return file

    def forget(self) -> None:
        """Keep no list of what was read: a shard of a million samples would fill the memory."""
        self._tar.members.clear()  # type: ignore[attr-defined] # public, and unknown to the stubs

    def close(self) -> None:
        """Close both files."""
        self._tar.close()
        self._file.close()


class _Headers(io.RawIOBase):
    """A tar file's bytes; while headers are read, no single read may be large: its size is the archive's word."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.listing = True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self.listing and not 0 <= size <= _HEADER_BYTES:
            raise tarfile.TarError(f"a header of {size:,} bytes; allowed are {_HEADER_BYTES:,}")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()
