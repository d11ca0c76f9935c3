"""Members of an uncompressed tar in place: every header is read once, and reading goes on behind a damaged one."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

BLOCK = 512
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""Beginnings of compressed files: gzip, bzip2, xz and zstd."""
_MOST_HEADER_BYTES = 1 << 20  # a longer name or attribute is damage
_ENCODING = "utf-8"


@dataclass(frozen=True, slots=True)
class LostBytes:
    """A part of a tar that cannot be read."""

    start: int
    end: int
    """Offset at which reading goes on; the size of the file if it does not."""
    is_rest: bool
    """True if nothing behind it can be read."""

    def __str__(self) -> str:
        return f"everything from byte {self.start:,} on" if self.is_rest else f"bytes {self.start:,} to {self.end:,}"


def is_header(block: bytes) -> bool:
    """True if a block is the header of a member, by its checksum."""
    try:
        tarfile.TarInfo.frombuf(block, _ENCODING, "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def members_in_place(file: BinaryIO, start: int = 0) -> Iterator[tarfile.TarInfo | LostBytes]:
    """Yield the members of an open tar in order, of any kind and unchecked; memory does not grow with their number.

    The caller may move the position of the file between two members. Names that are not UTF-8 have surrogates
    (``surrogateescape``). The bytes of a member lie at ``offset_data``; a truncated tar ends before them.
    """
    size = os.fstat(file.fileno()).st_size
    at = start
    while at < size:
        end = yield from _run_of_members(file, at)
        file.seek(min(end, size))
        if not file.read(BLOCK).strip(b"\0"):
            return  # a proper end: zeros, the end of the file, or a member that the caller finds truncated
        at = _next_header(file, end, size)
        yield LostBytes(end, at, is_rest=at >= size)


def _run_of_members(file: BinaryIO, at: int) -> Generator[tarfile.TarInfo, None, int]:
    """Yield members from an offset on; return the offset at which they end or break off."""
    file.seek(at)
    guarded: Any = _Guarded(file)
    end = at
    with (
        suppress(tarfile.TarError, ValueError, OverflowError, EOFError),  # the caller examines the place at the end
        tarfile.TarFile(fileobj=guarded, mode="r", encoding=_ENCODING, errors="surrogateescape") as tar,
    ):
        while (entry := tar.next()) is not None and tar.offset > end:  # a negative size would never end
            tar.members.clear()  # type: ignore[attr-defined] # a shard of a million would fill the memory
            end = tar.offset
            yield entry
    return end


def _next_header(file: BinaryIO, after: int, size: int) -> int:
    """Return the offset of the next block that is a good header; the size of the file without one."""
    at = after + BLOCK
    file.seek(at)
    while block := file.read(BLOCK):
        if block[257:262] == b"ustar" and is_header(block):
            return at
        at += BLOCK
    return size


class _Guarded:
    """A tar's bytes for the reader of headers, which would trust any size that a damaged header states."""

    name, mode = "", "rb"

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)
