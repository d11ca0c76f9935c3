"""Findings about the data of a run: values that cannot be read, rows that are skipped, settings without effect."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

_LONGEST = 300


def shortened(text: str) -> str:
    """Return a name as it may be printed: a very long address is cut in the middle.

    >>> len(shortened("https://example.org/" + 5000 * "x" + "/a.jpg")), shortened("a.jpg")
    (261, 'a.jpg')
    """
    return text if len(text) <= _LONGEST else f"{text[:200]}…{text[-60:]}"


class Findings:
    """Counts of findings by their text, each with its first example; may be filled from several threads.

    >>> findings = Findings()
    >>> findings.add("values of eventDate cannot be read; they are kept in the metadata", "row 4: '[1901]'")
    >>> findings.add("values of eventDate cannot be read; they are kept in the metadata", "row 5: 's.d.'")
    >>> list(findings.lines())
    ["values of eventDate cannot be read; they are kept in the metadata: 2 (the first: row 4: '[1901]')"]
    """

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}
        self._lock = Lock()
        self.used: set[str] = set()
        """Options that acted on something; the others are reported where they were given."""

    def add(self, text: str, example: str = "", count: int = 1) -> None:
        """Count a finding.

        Args:
            text: the finding as it reads before its count, in the plural: "dates are before 1990".
            example: the place and the value; the first one is kept.
            count: number of cases.
        """
        with self._lock:
            so_far, first = self._found.get(text, (0, ""))
            self._found[text] = (so_far + count, first or example)

    def count(self, text: str) -> int:
        """Return how many times a finding was counted."""
        return self._found.get(text, (0, ""))[0]

    def texts(self) -> frozenset[str]:
        """Return the texts of the findings so far."""
        return frozenset(self._found)

    def found(self) -> list[tuple[str, int, str]]:
        """Return the text, count and first example of each finding, which :meth:`add` takes elsewhere."""
        return [(text, count, example) for text, (count, example) in list(self._found.items())]

    def __bool__(self) -> bool:
        return bool(self._found)

    def lines(self) -> Iterator[str]:
        """Yield one line per finding, in the order in which they were first seen."""
        for text, (count, example) in list(self._found.items()):
            yield f"{text}: {count:,}" + (f" (the first: {shortened(example)})" if example else "")
