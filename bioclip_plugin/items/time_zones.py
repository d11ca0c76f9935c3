"""Time zones as users give them, and moments in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from bioclip_core.cells import moment_of
from bioclip_core.errors import UsageError

_OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})$")


@lru_cache(maxsize=64)
def zone_of(given: str) -> tzinfo:
    """Return the time zone of a name (``Europe/Brussels``), an offset (``+02:00``) or ``UTC``.

    Raises:
        UsageError: if it is none of them.
    """
    text = given.strip()
    if text.upper() in ("UTC", "Z"):
        return UTC
    match = _OFFSET.match(text)
    if match:
        minutes = int(match[2]) * 60 + int(match[3])
        if minutes < 24 * 60 and int(match[3]) < 60:
            return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(text)
    except (ValueError, LookupError, OSError) as error:  # unknown, a folder, a path that leaves the database
        raise UsageError(
            f"time zone {given!r} is not known; give a name such as Europe/Brussels, or an offset such as +02:00"
        ) from error


def in_zone(moment: datetime, zone: str | None) -> datetime:
    """Return a naive moment in a zone; a moment with an offset, and any moment without a zone, unchanged."""
    return moment.replace(tzinfo=zone_of(zone)) if moment.tzinfo is None and zone is not None else moment


def clock_doubt(moment: datetime | None) -> str:
    """Return a sentence in the plural about a local time in a named zone that does not exist or occurs twice; empty if it is sound.

    A time of the first kind is taken with the offset before the clocks change, one of the second kind as the first of the two.
    """
    if moment is None or moment.tzinfo is None or not is_named_zone(moment.tzinfo):
        return ""
    offsets = {moment.replace(fold=fold).utcoffset() for fold in (0, 1)}
    if len(offsets) == 1:
        return ""
    exists = moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)
    standard = moment.replace(month=1, day=15).strftime("%z") if moment.dst() is not None else "+0100"
    return (
        f"local times {'occur twice' if exists else 'do not exist'} in {moment.tzinfo}, where the clocks change; give a fixed offset "
        f"such as {standard[:3]}:{standard[3:5]} if the camera's clock is not changed"
    )


def is_named_zone(zone: tzinfo) -> bool:
    """True for a zone with a name such as Europe/Brussels, whose offset changes; False for an offset."""
    return hasattr(zone, "key")


def moment_in(cell: object, zone: str | None) -> datetime | None:
    """Return the date and time that a cell holds, naive ones in the zone given; None for anything else."""
    moment = moment_of(cell)
    return None if moment is None else in_zone(moment, zone)
