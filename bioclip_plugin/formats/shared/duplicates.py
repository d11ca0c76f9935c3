"""Files that one list names twice, found in eight bytes a file: noted in a first reading, asked for in a second."""

from __future__ import annotations

import posixpath
from array import array


class Duplicates:
    """Which of a list's file names stand there again. The names themselves of two million files would be a third of a gigabyte."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._repeated: frozenset[int] | None = None
        self._first: dict[str, int] = {}

    def note(self, name: str) -> None:
        """Take up a name, in the first reading."""
        self._hashes.append(hash(same_file(name)))

    def earlier(self, name: str, number: int) -> int | None:
        """In the second reading: the number under which the same file was asked for before, if it was."""
        if self._repeated is None:
            self._repeated = _repeated(self._hashes)
            self._hashes = array("q")
        same = same_file(name)
        if hash(same) not in self._repeated:
            return None
        first = self._first.setdefault(same, number)
        return first if first != number else None


def same_file(name: str) -> str:
    r"""One spelling for a file, so that ``cam\a.jpg`` and ``cam//a.jpg`` are the same."""
    name = name.replace("\\", "/")
    return posixpath.normpath(name) if "//" in name or "./" in name else name


def _repeated(hashes: array[int]) -> frozenset[int]:
    import numpy as np

    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.empty(0, np.int64)
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
