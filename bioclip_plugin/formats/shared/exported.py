"""Tables that ``export`` wrote: known by their columns, and their texts without the guard against formulas."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

FIRST_IMAGE = "first_image"
"""Column of a table with one row per event."""

# A text that begins with apostrophes gets one more, so that taking one away always gives the text itself.
_COMPUTED = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-](?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")
# A program of others may have one of these names.
_TELLING = frozenset(
    """status failure_stage failure_reason consensus_scientific_name consensus_rank other_candidates detection_category
    rule_trail review_verdict review_scientific_name counts""".split()
)
_TOGETHER = 2


def is_exported(header: Collection[str]) -> bool:
    """True if the columns of a table are those of our export; other columns may have been added, and most taken out."""
    return "uri" in header and len(_TELLING.intersection(header)) >= _TOGETHER


def has_events(header: Collection[str]) -> bool:
    """True if the columns of a table are those of our export with one row per event."""
    return {"event", FIRST_IMAGE, "images"} <= set(header)


def guarded(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: with an apostrophe before the sign that begins one.

    A number with its sign computes nothing and stays as it is.

    >>> guarded("=1+1"), guarded("'=1+1"), guarded("'t Zand"), guarded("-70.25")
    ("'=1+1", "''=1+1", "'t Zand", '-70.25')
    """
    return f"'{text}" if _COMPUTED.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(value: Any) -> Any:
    """Return a cell of a text table without the apostrophe of :func:`guarded`.

    >>> unguarded("'=1+1"), unguarded("''=1+1"), unguarded("'t Zand"), unguarded(1)
    ('=1+1', "'=1+1", "'t Zand", 1)
    """
    return value[1:] if isinstance(value, str) and value[:1] == "'" and _COMPUTED.match(value) else value
