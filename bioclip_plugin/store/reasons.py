"""Counts of failures by reason, with reasons of one kind together, so that a million of them need no memory."""

from __future__ import annotations

import re
from collections import Counter

# Parts of a reason that differ from one failure to the next: quoted values, paths and addresses, numbers.
_PARTICULARS = re.compile(r"'[^']*'|\"[^\"]*\"|(?<!\S)[^\s/\\]*+[/\\]\S*|\d[\d.,:]*")


def kind_of_reason(reason: str) -> str:
    """Return a reason without the names, numbers and quoted values in which reasons of one kind differ."""
    return _PARTICULARS.sub("…", reason)


class ReasonCounts:
    """Numbers of failed items by stage and reason.

    Reasons that differ only in names, numbers and quoted values are counted under the first of them, with "(and the like)" behind it.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}
        self._several: set[tuple[str, str]] = set()

    def add(self, stage: str, reason: str, number: int = 1) -> None:
        """Count failures of one reason."""
        kind = stage, kind_of_reason(reason)
        if self._first.setdefault(kind, reason) != reason:
            self._several.add(kind)
        self._counts[kind] += number

    def by_reason(self) -> dict[tuple[str, str], int]:
        """Return the number of failed items by stage and reason, most frequent first."""
        return {
            (kind[0], self._first[kind] + (" (and the like)" if kind in self._several else "")): number
            for kind, number in self._counts.most_common()
        }
