"""Text of cells: names of columns, marks of an unknown value, bytes that are not UTF-8, and values as JSON has them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

UNKNOWN = frozenset(
    ("", "-", "--", "---", "–", "—", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "nat", "null", "none", "nil", r"\n")
)
"""Texts, in lower case, that programs write for a value that they do not have."""
_LONGEST_UNKNOWN = max(map(len, UNKNOWN))


@lru_cache(maxsize=4096)
def column_name(text: str) -> str:
    """Return a column's name in the form in which names are compared.

    Case, white space, underscores and hyphens do not matter. Of a term's address or of a name with a prefix, the last part
    counts.

    >>> column_name("dwc:scientific_name"), column_name("http://rs.tdwg.org/dwc/terms/taxonID"), column_name("Common name")
    ('scientificname', 'taxonid', 'commonname')
    """
    name = text.strip().strip('"')
    if "://" in name:
        name = re.split("[/#]", name.rstrip("/#"))[-1]
    return re.sub(r"[\s_-]", "", name.rpartition(":")[2]).lower()


def plain_cells(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a row by the comparable names of their columns."""
    return {column_name(str(column)): value for column, value in cells.items()}


def is_unknown(cell: object) -> bool:
    """True for a cell without a value: None, NaN, white space, and the marks that programs write, such as NA and null.

    >>> is_unknown(" NA "), is_unknown(None), is_unknown("s.d."), is_unknown(0)
    (True, True, False, False)
    """
    if cell is None or cell != cell:  # NaN differs from itself
        return True
    if not isinstance(cell, str):
        return False
    text = cell.strip()
    return len(text) <= _LONGEST_UNKNOWN and text.lower() in UNKNOWN


UNDECODED = re.compile("[\udc80-\udcff]")
"""A byte that could not be decoded, kept as a surrogate."""
_WINDOWS_1252 = {
    0xDC00 + byte: bytes([byte]).decode("latin-1" if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "cp1252")
    for byte in range(0x80, 0x100)
}


def latin_1(text: str) -> str:
    """Return text whose bytes were not UTF-8 (kept as surrogates) read as Latin-1 in Windows' form, and other text unchanged."""
    return text if text.isascii() or not UNDECODED.search(text) else text.translate(_WINDOWS_1252)


def json_value(value: Any) -> Any:
    """Return a value as JSON has it: dates as ISO 8601, decimals as numbers, NaN as None, unknown types as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, Decimal)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): json_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(part) for part in value]
    return str(value)
