"""Callbacks that report progress, the estimate of the time left, and lengths of time in words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Function that is called with the number done so far and the total."""

_SLOW_START_S = 1.0  # a first report that takes longer waited for a model or a connection, not for the work itself
_LOG_EVERY_S = 5.0
_SHORTEST_MEASURED_S = 5.0  # shorter, one batch or one slow file would decide


def silent(*_: object) -> None:
    """Report nothing."""


def logged(log: logging.Logger, text: str) -> Progress:
    """Return a callback that logs the counts of long work, at once and then every few seconds.

    Args:
        log: the logger.
        text: the line, with two ``%d`` for the number done and the total.
    """
    logged_at = -_LOG_EVERY_S

    def report(done: int, total: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= _LOG_EVERY_S:
            logged_at = time.monotonic()
            log.info(text, done, total)

    return report


def duration(seconds: float) -> str:
    """Return a length of time in words: "45 s", "3 min 20 s", "5 h 10 min".

    >>> duration(200)
    '3 min 20 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class TimeLeft:
    """Estimate of the time left, from the reports after a slow start; None until enough work was measured.

    The things of a batch are reported in one moment. So a slow first report begins the measurement, and only a later moment
    ends it.
    """

    def __init__(self) -> None:
        self._began_at = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._last = (self._began_at, 0)

    def report(self, done: int) -> None:
        """Record the number of things that were done since the beginning of the work, without those of earlier calls."""
        if done == self._last[1]:
            return
        self._last = (time.monotonic(), done)
        if self._first is None:
            is_slow = self._last[0] - self._began_at > _SLOW_START_S
            self._first = self._last if is_slow else (self._began_at, 0)

    def seconds(self, to_do: int) -> float | None:
        """Return the seconds that ``to_do`` more things will take, at least one; None if it cannot be estimated."""
        if self._first is None or to_do <= 0:
            return None
        measured_s, done = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if measured_s < _SHORTEST_MEASURED_S or done <= 0:
            return None
        return max(1.0, to_do * measured_s / done)
