"""Members of tars: an index of places that is read once, and compressed tars unpacked once, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.files.archive_gate import DEFAULT_LIMITS, Limits
from bioclip_core.files.archive_tar import FAULTS, decompressed
from bioclip_core.files.archives import damaged
from bioclip_core.files.drives import name_of_bytes
from bioclip_core.files.regular import open_regular
from bioclip_core.files.tar_members import BLOCK, COMPRESSED, LostBytes, is_header, members_in_place
from bioclip_core.files.whole import replacing_file
from bioclip_core.images.decoding import read_bytes
from bioclip_core.progress import Progress, silent

_CHUNK = 1 << 20


class TarImages:
    """The members of an uncompressed tar by name: 24 bytes of memory per member, and no open file."""

    def __init__(self, path: Path) -> None:
        """Read every header.

        Raises:
            SourceError: if the file is not a tar.
        """
        self._path = path
        names, offsets, sizes = array("q"), array("q"), array("q")
        with open_regular(path) as file:
            if not is_header(file.read(BLOCK)):
                raise SourceError(f"{path} is not a tar file, so it has no members")
            for entry in members_in_place(file):
                if not isinstance(entry, LostBytes) and entry.isreg() and not entry.issparse():
                    names.append(hash(entry.name))
                    offsets.append(entry.offset_data)
                    sizes.append(entry.size)
        order = np.argsort(np.frombuffer(names, dtype=np.int64), kind="stable")
        self._names_M, self._offsets_M, self._sizes_M = (
            np.frombuffer(column, dtype=np.int64)[order] for column in (names, offsets, sizes)
        )

    @property
    def nbytes(self) -> int:
        """Memory of the index."""
        return 3 * int(self._names_M.nbytes)

    def read(self, name: str) -> bytes:
        """Return the bytes of a member; of several with one name, those of the first.

        Raises:
            ImageError: if there is no such ordinary file in the tar, or the tar is truncated.
        """
        return read_bytes(self._path, self.place(name))

    def place(self, name: str) -> tuple[int, int]:
        """Return the offset and the size of a member in bytes.

        Raises:
            ImageError: if there is no such ordinary file in the tar.
        """
        for written in (name, name_of_bytes(unquote_to_bytes(name))):  # as it is, or with the escapes of a uri
            _check_name(self._path, written)
            at = int(np.searchsorted(self._names_M, hash(written)))
            if at < len(self._names_M) and self._names_M[at] == hash(written):
                return int(self._offsets_M[at]), int(self._sizes_M[at])
        raise ImageError(
            f"{self._path} has no member {name[:200]!r} that is an ordinary file; it has {len(self._names_M):,} members",
            stage="read",
        )


def is_compressed(path: Path) -> bool:
    """True if a file begins as one that gzip, bzip2, xz or zstd made."""
    with open_regular(path) as file:
        return file.read(8).startswith(COMPRESSED)


def unpacked_name(path: Path) -> str:
    """Return the name of the unpacked copy of a compressed tar, which changes with the file's place, size and time."""
    status = path.stat()
    text = f"{os.path.abspath(path)}\0{status.st_size}\0{status.st_mtime_ns}"  # noqa: PTH100
    stem = PurePosixPath(path.name).name.partition(".tar")[0]
    return f"{stem}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}.tar"


def unpack(
    path: Path,
    folder: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    progress: Progress = silent,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Decompress a tar into a folder, whole or not at all, and return the copy; an existing copy is used.

    Args:
        path: a tar that gzip, bzip2 or xz compressed.
        folder: folder of the copies, which may be deleted after the work.
        limits: largest permitted content.
        progress: called with the bytes written so far, and 0 as the total, which nobody knows.
        tell: called with one sentence when a copy was made, with its size.

    Raises:
        SourceError: if the file is truncated, damaged or expands too much, or the disk has too little room.
    """
    target = folder / unpacked_name(path)
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with decompressed(path) as source, replacing_file(target) as draft, draft.open("wb") as copy:
            _copy(path, source, copy, limits, progress)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a full disk; damage has no number
            raise SourceError(
                f"{path} cannot be unpacked into {folder}: {error.strerror}; give another folder"
            ) from error
        raise damaged(path, error) from error
    except FAULTS as error:
        raise damaged(path, error) from error
    if tell is not None:
        tell(f"{path.name} is compressed: it was unpacked into {folder}, {target.stat().st_size:,} bytes")
    return target


def _copy(path: Path, source: Any, copy: Any, limits: Limits, progress: Progress) -> None:
    packed, written = path.stat().st_size, 0
    free = shutil.disk_usage(Path(copy.name).parent).free
    while data := source.read(_CHUNK):
        if not written and not is_header(data[:BLOCK]):
            raise SourceError(f"{path} is compressed, but it is not a tar file")
        written += len(data)
        if written > limits.small_bytes and written > limits.ratio * packed:
            raise SourceError(f"{path} expands more than {limits.ratio}-fold ({packed:,} bytes packed): it is refused")
        if written > min(limits.total_bytes, free):
            raise SourceError(
                f"{path} has more than {min(limits.total_bytes, free):,} bytes unpacked, which is the limit or all the room "
                f"there is: unpack it yourself, and name the folder"
            )
        copy.write(data)
        progress(written, 0)


def _check_name(path: Path, name: str) -> None:
    """Refuse names that archives must not have: the bytes stay in memory, but such a member is not a collection's image."""
    parts = PurePosixPath(name).parts
    if not name or name.startswith("/") or ".." in parts:
        raise ImageError(
            f"{path}: {name[:200]!r} is not a member that may be read: it leads out of the archive", stage="read"
        )
