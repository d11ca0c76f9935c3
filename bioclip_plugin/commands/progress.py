"""The progress line of long commands: live on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bioclip_core.progress import TimeLeft, duration
from bioclip_plugin.commands.reporting import console_for

_PLAIN_EVERY_S = 10.0
_SHORT_STAGE_S = 1.0


class ProgressLine:
    """Count and rate of a long piece of work, with the time left once it can be estimated. Use it in a ``with`` statement."""

    def __init__(
        self,
        what: str,
        *,
        unit: str = "images",
        console: Console | None = None,
        total: int | None = None,
        resumed: bool = False,
        beats: bool = False,
    ) -> None:
        """Describe the work.

        Args:
            what: the work as a participle, such as "Classifying".
            unit: plural of the things that are counted.
            console: the console to print on; None: standard error.
            total: the number of things to do, if it is known.
            beats: in a log file a line is also printed while nothing is reported for long, so that the work does not look dead.
            resumed: the first count that is reported is the work of an earlier call, which is shown but not part of the rate.
        """
        self.console = console or console_for(to_stderr=True)
        self.count = 0
        self.note = ""
        """Text at the end of the line."""
        self.earlier_stages = 0
        """Things done in the stages before this one."""
        self._what, self._unit, self._total, self._resumed = what, unit, total, resumed
        self._beats, self._ended = beats, threading.Event()
        self._bar: Progress | None = None
        self._already = 0
        self._begin_stage()
        self._began_at = self._printed_at = self._stage_began_at

    def __enter__(self) -> ProgressLine:
        self._begin_stage()
        self._began_at = self._printed_at = self._stage_began_at
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}", markup=False),
                console=self.console, transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total or None, state="")
        elif self._beats:
            self._ended.clear()
            threading.Thread(target=self._beat, name="bioclip-progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_at

    @property
    def rate(self) -> float:
        """Things done per second in this stage, without those of an earlier call."""
        seconds = time.monotonic() - self._stage_began_at
        return max(0, self.count - self._already) / seconds if seconds > 0 else 0.0

    def expect(self, total: int) -> None:
        """Set the total, from which the time left is estimated."""
        self._total = total

    def advance(self, by: int = 1) -> None:
        """Add to the count."""
        self.reach(self.count + by)

    def reach(self, count: int, total: int | None = None, *, already: int | None = None) -> None:
        """Set the count, the total if it is given, and how many of the count an earlier call did."""
        self.count, self._total = count, self._total if total is None else total
        if already is not None:
            self._already = already
        elif self._resumed:
            self._already, self._resumed = count, False
        self._time_left.report(max(0, count - self._already))
        if self._bar is not None:
            self._bar.update(
                self._task, description=self._what, completed=count, total=self._total or None, state=self._state()
            )
        elif time.monotonic() - self._printed_at >= _PLAIN_EVERY_S and not self._is_short_stage():
            self._print()

    def remark(self, note: str) -> None:
        """Set the text at the end of the line, and show it although nothing was counted since."""
        self.note = note
        self.reach(self.count)

    def _is_short_stage(self) -> bool:
        """True for a counted stage that has only begun, or that ended soon: a line about it would come too late to tell anything."""
        seconds = time.monotonic() - self._stage_began_at
        if not self._total:
            return False
        return seconds < (_PLAIN_EVERY_S if self.count >= self._total else _SHORT_STAGE_S)

    def _beat(self) -> None:
        """Print a line when none was printed for three times as long as usual."""
        while not self._ended.wait(_PLAIN_EVERY_S):
            if time.monotonic() - self._printed_at >= 3 * _PLAIN_EVERY_S:
                self._print()

    def _print(self) -> None:
        self._printed_at = time.monotonic()
        seconds = self._printed_at - self._stage_began_at
        state = self._state() or (f"{duration(seconds)} so far" if seconds >= 1 else "")
        self.console.print(f"{self._what}: {state}" if state else self._what, markup=False)

    def stage(self, what: str, count: int, total: int, unit: str = "images", *, already: int | None = None) -> None:
        """Set the count and the total of one of several stages; another name ends the stage before.

        A stage whose total is 0 cannot be counted: only its name is shown.
        """
        if what != self._what:
            self.earlier_stages += self.count
            self._what, self._unit, self._already, self.note = what, unit, 0, ""
            self._begin_stage()
            if self._bar is not None:
                self._bar.reset(self._task)
        self.reach(count, total, already=already)

    def _begin_stage(self) -> None:
        self._stage_began_at = time.monotonic()
        self._time_left = TimeLeft()

    def _state(self) -> str:
        of = f" of {self._total}" if self._total else ""
        left_s = self._time_left.seconds(self._total - self.count) if self._total else None
        left = "" if left_s is None else f"{duration(left_s)} left"
        done = f"{self.count}{of} {self._unit}".rstrip() if self.count or of else ""
        return ", ".join(filter(None, (done, _speed(self.rate), left, self.note)))


def _speed(rate: float) -> str:
    """Return a rate in words, empty if it is zero; slow work per minute or hour, so that it is not shown as zero.

    >>> _speed(12.34), _speed(0.02), _speed(0.0)
    ('12.3/s', '1.2/min', '')
    """
    for of_unit_s, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if rate * of_unit_s >= 0.1:
            return f"{rate * of_unit_s:.1f}/{unit}"
    return ""
