"""Numbers with their nouns, for messages."""

from __future__ import annotations


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> number_of(1, "taxon", "taxa"), number_of(2, "row")
    ('1 taxon', '2 rows')
    """
    return f"{count} {one if count == 1 else many or one + 's'}"


def size_of(count: int) -> str:
    """Return a number of bytes in words.

    >>> size_of(1), size_of(28_350_000), size_of(412_000_000_000)
    ('1 byte', '28.4 MB', '412.0 GB')
    """
    if count < 1000:
        return number_of(count, "byte")
    if count >= 10_000_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
