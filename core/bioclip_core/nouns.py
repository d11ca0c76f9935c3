"""Numbers with their nouns, for messages."""

from __future__ import annotations


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> number_of(1, "taxon", "taxa"), number_of(2, "row")
    ('1 taxon', '2 rows')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
