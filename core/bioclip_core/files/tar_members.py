"""Members of an uncompressed tar in place: every header is read once, and reading goes on behind a damaged one."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

BLOCK = 512
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""Beginnings of compressed files: gzip, bzip2, xz and zstd."""
_MOST_HEADER_BYTES = 1 << 20  # a longer name or attribute is damage
_ENCODING = "utf-8"
_AT_ONCE = 256
"""Members that ``tarfile`` reads before plain headers are tried again."""
_PLAIN = frozenset((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE))
_WITHOUT_WEIGHT = frozenset((b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"))
"""Records of extended headers that do not change name, size or kind."""


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


class Member(NamedTuple):
    """A member of a tar."""

    name: str
    """Names that are not UTF-8 have surrogates (``surrogateescape``)."""
    offset: int
    """Of its first header."""
    offset_data: int
    """Of its bytes; a truncated tar ends before the last of them."""
    size: int
    """Bytes."""
    kind: bytes
    """Type of the header: ``0`` or NUL for a file, ``5`` for a folder."""
    is_sparse: bool = False

    def isreg(self) -> bool:
        """True for an ordinary file."""
        return self.kind in tarfile.REGULAR_TYPES

    def isdir(self) -> bool:
        """True for a folder."""
        return self.kind == tarfile.DIRTYPE

    def issparse(self) -> bool:
        """True for a file whose holes are not in the tar."""
        return self.is_sparse


def members_in_place(file: BinaryIO, start: int = 0) -> Iterator[Member | LostBytes]:
    """Yield the members of an open tar in order, of any kind and unchecked; memory does not grow with their number.

    The caller may move the position of the file between two members. Plain headers, nearly all of those of shards, are read
    here; ``tarfile`` reads the others.
    """
    size = os.fstat(file.fileno()).st_size
    at = start
    while at < size:
        end = yield from _plain_members(file, at)
        at = end if end >= size else (yield from _run_of_members(file, end))
        if at > end:
            continue
        file.seek(min(end, size))
        if not file.read(BLOCK).strip(b"\0"):
            return  # a proper end: zeros, the end of the file, or a member that the caller finds truncated
        at = _next_header(file, end, size)
        yield LostBytes(end, at, is_rest=at >= size)


def _plain_members(file: BinaryIO, at: int) -> Generator[Member, None, int]:
    """Yield files and folders with plain headers from an offset on; return the offset of the first header that is not one."""
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        read = at + BLOCK
        name = b""
        if header[156:157] == tarfile.XHDTYPE:
            size = _size_in(header)
            if size is None or size > _MOST_HEADER_BYTES:
                return at
            path = _path_in(file.read(size))
            if path is None:
                return at
            name = path.rstrip(b"/")
            read += -(-size // BLOCK) * BLOCK
            file.seek(read)
            header = file.read(BLOCK)
            read += BLOCK
        kind, size = header[156:157], _size_in(header)
        if size is None or kind not in _PLAIN:
            return at
        if not name:
            name = header[:100].partition(b"\0")[0]
            if prefix := header[345:500].partition(b"\0")[0]:
                name = prefix + b"/" + name
            if kind == tarfile.AREGTYPE and name.endswith(b"/"):
                kind = tarfile.DIRTYPE
            if kind == tarfile.DIRTYPE:
                name = name.rstrip(b"/")
        found = Member(name.decode(_ENCODING, "surrogateescape"), at, read, size, kind)
        # As for tarfile, a folder has no bytes whatever its header says.
        at = read if kind == tarfile.DIRTYPE else read + -(-size // BLOCK) * BLOCK
        yield found


def _size_in(header: bytes) -> int | None:
    """Return the size that a header states if its checksum is right and both are plain numbers."""
    try:
        if len(header) == BLOCK and int(header[148:156].strip(b"\0 "), 8) == (
            sum(header) - sum(header[148:156]) + 256  # the checksum counts as eight spaces
        ):
            size = int(header[124:136].strip(b"\0 ") or b"0", 8)
            return size if size >= 0 else None
    except ValueError:
        pass
    return None


def _path_in(records: bytes) -> bytes | None:
    """Return the name in the records of an extended header, empty if it has none; None if they say anything else of weight."""
    path, at = b"", 0
    while at < len(records):
        length = records[at : records.find(b" ", at)]
        if not length.isdigit():
            return None
        end = at + int(length)
        key, _, value = records[at + len(length) + 1 : end - 1].partition(b"=")
        if end <= at + len(length) + 1 or end > len(records):
            return None
        if key == b"path":
            path = value
        elif key not in _WITHOUT_WEIGHT:
            return None
        at = end
    return path


def _run_of_members(file: BinaryIO, at: int) -> Generator[Member, None, int]:
    """Yield some members from an offset on; return the offset at which they end or break off."""
    file.seek(at)
    guarded: Any = _Guarded(file)
    end = at
    with (
        suppress(tarfile.TarError, ValueError, OverflowError, EOFError),  # the caller examines the place at the end
        tarfile.TarFile(fileobj=guarded, mode="r", encoding=_ENCODING, errors="surrogateescape") as tar,
    ):
        for _ in range(_AT_ONCE):
            entry = tar.next()
            if entry is None or tar.offset <= end:  # a negative size would never end
                break
            tar.members.clear()  # type: ignore[attr-defined] # a shard of a million would fill the memory
            end = tar.offset
            yield Member(entry.name, entry.offset, entry.offset_data, entry.size, entry.type, entry.issparse())
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
