"""Cells of tables and records that other programs wrote: column names, numbers, coordinates and moments."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

_CLOCK = re.compile(
    r"(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})(?:T|\s+)(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?(?=\D|$)", re.ASCII
)
_DAY = "2020-05-30"


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


def number_of(cell: object) -> float | None:
    """Return the finite number that a cell holds, as a number or as text; None for anything else.

    >>> number_of(" 4.5 "), number_of(True), number_of("1_000"), number_of("nan"), number_of("4,5")
    (4.5, None, None, None, None)
    """
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):  # float() reads both
        return None
    try:
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def degrees_of(cell: object, limit: float) -> float | None:
    """Return the degrees that a cell holds; None unless it holds a number from ``-limit`` to ``limit``."""
    degrees = number_of(cell)
    return degrees if degrees is not None and abs(degrees) <= limit else None


def position_of(latitude: object, longitude: object) -> tuple[float | None, float | None]:
    """Return degrees north and east of a pair of cells.

    Returns:
        Two numbers, or None twice: if a cell is not usable, and for 0, 0, which cameras and databases write for an unknown place.
    """
    north, east = degrees_of(latitude, 90), degrees_of(longitude, 180)
    if north is None or east is None or (north == 0 and east == 0):
        return None, None
    return north, east


def country_of(cell: object) -> str | None:
    """Return a country's code of two or three letters in capitals, as ISO 3166-1 has it; None for anything else."""
    code = cell.strip().upper() if isinstance(cell, str) else ""
    return code if code.isascii() and code.isalpha() and len(code) in (2, 3) else None


def moment_of(cell: object) -> datetime | None:
    """Return the date and time that a cell holds, in ISO 8601 or as EXIF writes it; aware if the cell states the offset.

    A day without a time is not a moment: midnight would place all images of that day in one sequence.

    >>> moment_of("2020:05:30 4:57:37"), moment_of("2020-05-30T04:57Z"), moment_of("2020-05-30")
    (datetime.datetime(2020, 5, 30, 4, 57, 37), datetime.datetime(2020, 5, 30, 4, 57, tzinfo=datetime.timezone.utc), None)
    """
    if isinstance(cell, datetime):
        return cell
    if not isinstance(cell, str) or len(text := cell.strip()) <= len(_DAY):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        clock = _CLOCK.match(text)
    if clock is None:
        return None
    year, month, day, hour, minute, second = clock.groups("00")
    iso = f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute:0>2}:{second:0>2}{text[clock.end() :]}"
    return moment_of(iso) if iso != text else None


def day_of(cell: object) -> date | None:
    """Return the day that a cell holds, with or without a time, in ISO 8601 or as EXIF writes it; None for anything else."""
    if moment := moment_of(cell):
        return moment.date()
    if isinstance(cell, date):
        return cell
    try:
        return date.fromisoformat(str(cell).strip().replace(":", "-"))
    except ValueError:
        return None


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
