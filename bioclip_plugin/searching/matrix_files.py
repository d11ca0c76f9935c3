"""The files of a matrix: vectors and keys that grow at their ends, and a description that says how far they are valid."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.documents import read_document
from bioclip_core.files.locks import lock
from bioclip_core.files.replacing import reason_of, remove
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import keep_checked, settings_id, was_checked

FORMAT = 1
KEYS = 3
"""Numbers per key: content, packed box, beginning of the content's sha256."""
_DESCRIPTION, _LOCK = "matrix.json", "lock"
_CHUNK = 1 << 24
_WORTH_REMEMBERING = 1 << 26  # smaller files are compared with their checksums at every opening
_PATIENCE_S = 600.0
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Description:
    """The content of ``matrix.json``: which bytes of the two other files are valid, and what they were made of."""

    format: int
    feature_id: str
    dimension: int
    generation: int
    """Part of the names of the two other files. Another one for each rebuilding, since older files may still be mapped."""
    rows: int
    state: str
    """State of the store's features, as the store gives it."""
    vectors_crc: int
    keys_crc: int
    deviation: float
    """Largest difference of a row's length from 1."""
    removed: list[int] = field(default_factory=list)
    """Rows whose features are not in the store any more."""
    unusable: int = 0
    """Features that have no direction: zero, or not numbers. They have no row."""


class Damaged(Exception):
    """A matrix that cannot be used, with the reason. It is rebuilt."""


class MatrixFiles:
    """The folder of one matrix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def vectors(self, generation: int) -> Path:
        """Return the file of the vectors: little-endian float16, row by row."""
        return self.folder / f"vectors-{generation}.f16"

    def keys(self, generation: int) -> Path:
        """Return the file of the keys: little-endian int64, three numbers per row."""
        return self.folder / f"keys-{generation}.i64"

    def read(self, feature_id: str, dimension: int) -> Description | None:
        """Return the description of a matrix whose files are whole; None if there is none.

        Raises:
            Damaged: if files are missing, truncated or changed, or belong to another feature set or version.
        """
        path = self.folder / _DESCRIPTION
        if not path.exists():
            return None
        try:
            found = read_document(path, Description, name="description of a search matrix")
        except DataError as error:
            raise Damaged(str(error)) from None
        if found.format != FORMAT:
            raise Damaged(f"it has the format {found.format}, that of this version is {FORMAT}")
        if (found.feature_id, found.dimension) != (feature_id, dimension):
            raise Damaged(f"it holds another feature set ({found.feature_id[:12]}…, {found.dimension} numbers)")
        parts = (
            (self.vectors(found.generation), found.rows * dimension * 2, found.vectors_crc),
            (self.keys(found.generation), found.rows * KEYS * 8, found.keys_crc),
        )
        for file, size, crc in parts:
            _check(file, size, crc)
        return found

    def map_vectors(self, found: Description) -> NDArray[np.float16]:
        """Return the vectors (N×D) as a memory map."""
        if not found.rows:
            return np.empty((0, found.dimension), np.float16)
        shape = (found.rows, found.dimension)
        return np.memmap(self.vectors(found.generation), dtype="<f2", mode="r", shape=shape)

    def read_keys(self, found: Description) -> NDArray[np.int64]:
        """Return the keys (N×3)."""
        numbers = np.fromfile(self.keys(found.generation), "<i8", found.rows * KEYS)
        return numbers.astype(np.int64, copy=False).reshape(-1, KEYS)

    def write(self, description: Description) -> None:
        """Make a description valid; the files of other generations are removed where no program maps them."""
        write_whole(self.folder / _DESCRIPTION, json.dumps(asdict(description)))
        ours = {self.vectors(description.generation).name, self.keys(description.generation).name}
        for path in self.folder.iterdir():
            if path.suffix in (".f16", ".i64") and path.name not in ours:
                with suppress(OSError):  # mapped by another program on Windows; the next writer removes it
                    remove(path)

    def clear(self) -> None:
        """Remove the description, so that the matrix is rebuilt."""
        with suppress(FileNotFoundError):
            remove(self.folder / _DESCRIPTION)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other programs from writing here; wait for one that does.

        Raises:
            BioclipError: if the folder cannot be written, or another program goes on for ten minutes.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("a+b") as file:
                self._wait_for(file.fileno())
                yield
        except OSError as error:
            raise BioclipError(
                f"the search matrix in {self.folder} cannot be written: {reason_of(error, self.folder)}; make room, or give yourself "
                "the right to write there"
            ) from error

    def _wait_for(self, file: int) -> None:
        until = time.monotonic() + _PATIENCE_S
        while lock(file, exclusive=True) is False:
            if time.monotonic() > until:
                raise BioclipError(
                    f"another program writes the search matrix in {self.folder} and does not end: wait for it, or end it"
                )
            time.sleep(_PAUSE_S)


class Appending:
    """Rows added to the end of a generation's files, which count once a description says so."""

    def __init__(self, files: MatrixFiles, found: Description) -> None:
        self._paths = (files.vectors(found.generation), files.keys(found.generation))
        sizes = (found.rows * found.dimension * 2, found.rows * KEYS * 8)
        self._open = [path.open("r+b" if path.exists() else "w+b") for path in self._paths]
        for file, size in zip(self._open, sizes, strict=True):
            file.truncate(size)  # what a killed program left
            file.seek(size)
        self._crcs = [found.vectors_crc, found.keys_crc]
        self.rows = found.rows

    def add(self, vectors_RD: NDArray[np.float16], keys_R3: NDArray[np.int64]) -> None:
        """Add R rows."""
        parts = (np.ascontiguousarray(vectors_RD, "<f2"), np.ascontiguousarray(keys_R3, "<i8"))
        for place, part in enumerate(parts):
            content = part.tobytes()
            self._open[place].write(content)
            self._crcs[place] = zlib.crc32(content, self._crcs[place])
        self.rows += len(vectors_RD)

    def finish(self) -> tuple[int, int, int]:
        """Flush to the disk; return the number of rows and both checksums."""
        for file in self._open:
            file.flush()
            os.fsync(file.fileno())
        return self.rows, self._crcs[0], self._crcs[1]

    def close(self) -> None:
        """Close the files."""
        for file in self._open:
            file.close()


def _check(path: Path, size: int, crc: int) -> None:
    """Compare the first bytes of a file with their checksum; a large file that is unchanged is not read again."""
    try:
        stat = path.stat()
        if stat.st_size < size:
            raise Damaged(f"{path.name} has {stat.st_size:,} bytes instead of {size:,}")
        place = {"path": str(path.resolve()), "size": size, "crc": crc, "mtime": stat.st_mtime_ns, "inode": stat.st_ino}
        is_large = size >= _WORTH_REMEMBERING
        if is_large and was_checked(settings_id(place)):
            return
        if _crc_of(path, size) != crc:
            raise Damaged(f"the checksum of {path.name} is wrong")
        if is_large:
            keep_checked(settings_id(place))
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error.strerror or error}") from None


def _crc_of(path: Path, size: int) -> int:
    found, left = 0, size
    with path.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK, left))):
            found, left = zlib.crc32(chunk, found), left - len(chunk)
    return found if not left else -1
