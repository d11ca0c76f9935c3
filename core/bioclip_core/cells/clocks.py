"""Times of day in cells: clocks of 24 and of 12 hours, with or without an offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo

_LONGEST = 40  # characters of a time with all its words
_ZONE = r"(?P<zone>Z|(?:UTC|GMT)?(?P<offset>[+-]\d{1,2}(?::?\d{2})?)?)"
_TIME = re.compile(
    r"(?:(?P<hour>\d{1,2})(?:(?P<mark>[:.h])(?P<minute>\d{1,2})?(?:[:.m](?P<second>\d{1,2})(?:[.,](?P<fraction>\d+))? ?s?)?)?"
    rf" ?(?P<half>[ap]\.? ?m\.?)?(?: ?(?:uhr|hrs?|h))? ?{_ZONE}|(?P<compact>\d{{4}}|\d{{6}}) ?(?P<compact_zone>Z|UTC)?)",
    re.ASCII | re.IGNORECASE,
)


def clock_in(text: str) -> time | None:
    """Return the time of day that a whole text holds."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    if compact := match["compact"]:
        hour, minute, second = int(compact[:2]), int(compact[2:4]), int(compact[4:] or 0)
        return _time_of_parts(hour, minute, second, 0, UTC if match["compact_zone"] else None)
    mark = match["mark"]
    if match["minute"] is None and (mark in (":", ".") or match["second"] or not (mark or match["half"])):
        return None
    hour = int(match["hour"])
    if half := match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    microsecond = int(f"{match['fraction'] or '':0<6}"[:6])
    zone = _zone(match["zone"], match["offset"])
    return _time_of_parts(hour, int(match["minute"] or 0), int(match["second"] or 0), microsecond, zone)


def _zone(zone: str, offset: str | None) -> tzinfo | None:
    if not zone:
        return None
    if not offset:
        return UTC
    digits = offset[1:].replace(":", "")
    hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
    return timezone((1 if offset[0] == "+" else -1) * timedelta(hours=min(hours, 23), minutes=minutes))


def _time_of_parts(hour: int, minute: int, second: int, microsecond: int, zone: tzinfo | None) -> time | None:
    try:
        return time(hour, minute, second, microsecond, zone)
    except ValueError:
        return None


def time_of(cell: object) -> time | None:
    """Return the time of day in a cell of its own; aware if the cell states the offset.

    >>> time_of("3:10:05 PM"), time_of("22h15"), time_of("10:00/11:00")
    (datetime.time(15, 10, 5), datetime.time(22, 15), None)
    """
    if isinstance(cell, datetime):
        return cell.timetz()
    if isinstance(cell, time):
        return cell
    return clock_in(" ".join(cell.split())) if isinstance(cell, str) and len(cell) <= _LONGEST else None
