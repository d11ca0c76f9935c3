"""Files that a list names twice, found with eight bytes per file: noted in a first pass, queried in a second."""

from __future__ import annotations

import posixpath
from array import array


class Duplicates:
    """File names that a list repeats. The names of two million files themselves would take a third of a gigabyte."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._repeated: frozenset[int] | None = None
        self._first: dict[str, int] = {}

    def note(self, name: str) -> None:
        """Note a name in the first pass."""
        self._hashes.append(hash(_same_file(name)))

    @property
    def repeated(self) -> frozenset[int]:
        """Hashes that occurred more than once; after the first pass."""
        if self._repeated is None:
            import numpy as np

            ordered = np.sort(np.frombuffer(self._hashes, dtype=np.int64)) if self._hashes else np.empty(0, np.int64)
            self._repeated = frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
            self._hashes = array("q")
        return self._repeated

    def earlier(self, name: str, number: int) -> int | None:
        """Return the number under which the second pass asked for the same file before, None for a new file."""
        same = _same_file(name)
        if hash(same) not in self.repeated:
            return None
        first = self._first.setdefault(same, number)
        return first if first != number else None


def _same_file(name: str) -> str:
    r"""Return one spelling for a file, so that ``cam\a.jpg`` and ``cam//a.jpg`` are the same."""
    name = name.replace("\\", "/")
    return posixpath.normpath(name) if "//" in name or "./" in name else name
