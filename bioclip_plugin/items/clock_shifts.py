"""Corrections of clocks that were set wrong: "this camera was one hour, one day, one year off"."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from bioclip_core.errors import UsageError

_SIGNED = re.compile(r"([+-]?)\s*([\dPp].*)")
_ISO = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.IGNORECASE
)
_CLOCK = re.compile(r"(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_SECONDS = {
    **dict.fromkeys(("w", "week", "weeks"), 604_800), **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3_600), **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
}  # fmt: skip
_MONTHS = {
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 12), **dict.fromkeys(("mo", "mon", "month", "months"), 1)
}  # fmt: skip
_MOST_MONTHS, _MOST_SECONDS = 12 * 200, 200 * 366 * 86_400  # cameras begin in 1970, 1904 or 2000


@dataclass(frozen=True, slots=True)
class ClockShift:
    """A correction that is added to the times of a camera. Years and months are those of the calendar."""

    months: int
    seconds: float
    text: str
    """As it was given."""

    def corrected(self, moment: datetime) -> datetime:
        """Return the true time of a moment on the camera's clock; the 29th of February becomes the 28th in other years."""
        if self.months:
            count = moment.year * 12 + moment.month - 1 + self.months
            year, month = count // 12, count % 12 + 1
            moment = moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))
        return moment + timedelta(seconds=self.seconds)


@lru_cache(maxsize=1024)
def clock_shift_of(text: str) -> ClockShift | None:
    """Return the correction that a text states; None for no correction.

    Known are units ("+1 year", "-1d", "1 day 2 h"), a clock ("+01:00:00", "-0:30"), both ("1 day, 01:00:00"), and durations
    of ISO 8601 ("P1DT2H").

    >>> clock_shift_of("-1 year").corrected(datetime(2024, 2, 29, 6)), clock_shift_of("+01:30").seconds, clock_shift_of("0")
    (datetime.datetime(2023, 2, 28, 6, 0), 5400.0, None)

    Raises:
        UsageError: for any other text.
    """
    signed = _SIGNED.fullmatch(text.strip().replace("\N{MINUS SIGN}", "-"))
    found = _amount_of(signed[2]) if signed else None
    if signed is None or found is None or abs(found[0]) > _MOST_MONTHS or abs(found[1]) > _MOST_SECONDS:
        raise UsageError(
            f"clock shift {text!r} is not known; give what is to be added to the camera's times, such as +1h, -1 day, +1 year, "
            "+01:00:00 or P1DT2H"
        )
    sign, (months, seconds) = -1 if signed[1] == "-" else 1, found
    return ClockShift(sign * months, sign * seconds, text.strip()) if months or seconds else None


def _amount_of(text: str) -> tuple[int, float] | None:
    """Return calendar months and seconds; None for a text that is not a duration."""
    if text.strip("0") in ("", "."):
        return 0, 0.0
    if text[0] in "Pp":
        match = _ISO.fullmatch(text)
        if match is None or not any(match.groups()):
            return None
        years, months, weeks, days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return round(years * 12 + months), weeks * 604_800 + days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    months, total, rest = 0, 0.0, text.lower()
    if clock := _CLOCK.search(rest):
        if rest[clock.end() :].strip():
            return None
        total = int(clock[1]) * 3_600 + int(clock[2]) * 60 + float(clock[3] or 0)
        rest = rest[: clock.start()]
    for number, unit in _PART.findall(rest):
        if unit in _MONTHS and float(number).is_integer():
            months += int(float(number)) * _MONTHS[unit]
        elif unit in _SECONDS:
            total += float(number) * _SECONDS[unit]
        else:
            return None
    left = _PART.sub("", rest).replace(",", " ").split()
    return None if [word for word in left if word != "and"] else (months, total)
