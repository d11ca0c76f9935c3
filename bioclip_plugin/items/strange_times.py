"""Times that a camera trap cannot have taken an image at: before there were digital ones, and in the future."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Literal

from bioclip_core.findings import Findings

Clock = Literal["camera", "unknown"]
"""Origin of a time: the clock of a camera, or a statement that may be on the life of a specimen."""

FIRST_YEAR = 1990
"""The first year of digital cameras. A camera whose clock was not set begins in 1970, 1980 or 2000."""
BEFORE = f"times of cameras are before {FIRST_YEAR}; they are kept as they are (was the clock set?)"
AHEAD = "times are in the future; they are kept as they are (was the clock set?)"
_ZONES = timedelta(days=1)
"""A local time may be ahead of ours by so much."""


def today() -> date:
    """Return the day of this computer's clock."""
    return date.today()


class StrangeTimes:
    """Counts strange times among findings; the times themselves are not changed."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._last = today() + _ZONES
        self.last_year = self._last.year
        """The year of the last day that is not in the future: all days of earlier years are past."""

    def check(self, moment: datetime, clock: Clock, where: Callable[[], str]) -> None:
        """Count a time if it is strange.

        Args:
            moment: the time.
            clock: its origin; only a camera cannot have taken an image before there were digital ones.
            where: returns the place for the example.
        """
        if moment.year < FIRST_YEAR:
            if clock == "camera":
                self._findings.add(BEFORE, f"{where()}: {moment}")
        elif moment.date() > self._last:
            self._findings.add(AHEAD, f"{where()}: {moment}")
