"""Archives that are cut short, found by their ends, without reading what lies before."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from bioclip_core.files.archive_tar import FAULTS, decompressed
from bioclip_core.files.regular import open_regular
from bioclip_core.files.tar_members import BLOCK, LostBytes, is_header, members_in_place

SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".parquet")
"""Ends of the names of archives, in lower case."""
_CHUNK = 1 << 20
_BZIP2_END = 0x177245385090
"""48 bits before the checksum of a bzip2 stream, which ends at any bit of a byte."""


def how_cut(path: Path) -> str:
    """Return how a zip, a tar (compressed with gzip, bzip2 or xz, or not) or a Parquet file is cut short.

    The end of a gzip file says the size of its content, and that of a tar is a multiple of 512 bytes: of 512 truncated ones, one is
    not found. Other gzip files have no end that shows it.

    Args:
        path: the file, of a kind that its content says.

    Returns:
        The end of a sentence about the file; empty if its end is there, and for files of other kinds.

    Raises:
        OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        start = file.read(BLOCK)
        size = file.seek(0, 2)
        file.seek(max(0, size - BLOCK))
        end = file.read(BLOCK)
    if start.startswith(b"PK\x03\x04"):
        return "" if zipfile.is_zipfile(path) else "it lacks the directory at the end of a zip"
    if start.startswith(b"PAR1"):
        footer = struct.unpack("<I", end[-8:-4])[0] if len(end) >= 12 else size
        return "" if end.endswith(b"PAR1") and footer + 12 <= size else "it lacks the footer of a Parquet file"
    if start.startswith(b"BZh"):
        return "" if _ends_as_bzip2(end) else "its bzip2 stream has no end"
    if start.startswith(b"\xfd7zXZ\x00"):
        return "" if end.rstrip(b"\0").endswith(b"YZ") else "its xz stream has no end"
    if start.startswith(b"\x1f\x8b"):
        return _how_cut_gzip(path, end)
    if is_header(start) and end.strip(b"\0"):
        return _how_cut_tar(path, size)
    return ""


def _ends_as_bzip2(end: bytes) -> bool:
    bits = int.from_bytes(end[-12:], "big")
    return any((bits >> (32 + padding)) & ((1 << 48) - 1) == _BZIP2_END for padding in range(8))


def _how_cut_gzip(path: Path, end: bytes) -> str:
    try:
        with decompressed(path) as plain:
            is_tar = is_header(plain.read(BLOCK))
            if not is_tar or struct.unpack("<I", end[-4:])[0] % BLOCK == 0:
                return ""
            while plain.read(_CHUNK):  # streams that were joined end with the size of the last one alone
                pass
    except (*FAULTS, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return "its gzip stream has no end" if isinstance(error, (EOFError, zlib.error)) else f"it is damaged: {error}"
    return ""


def _how_cut_tar(path: Path, size: int) -> str:
    """Return how a tar without the zeros at its end is cut; some programs leave them out."""
    with open_regular(path) as file:
        for entry in members_in_place(file):
            if isinstance(entry, LostBytes):
                if entry.is_rest:
                    return f"{entry} cannot be read"
            elif entry.isreg() and entry.offset_data + entry.size > size:
                return f"it ends within {entry.name}"
    return ""
