"""The progress line of long commands: live on a terminal, a plain line now and then in a log file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from bioclip_plugin.commands.reporting import console_for, duration

_PLAIN_EVERY_S = 10.0


class ProgressLine:
    """Count and rate of a long piece of work, with the time left once the total is known. Use it in a ``with`` statement."""

    def __init__(
        self,
        what: str,
        *,
        unit: str = "images",
        console: Console | None = None,
        total: int | None = None,
        resumed: bool = False,
    ) -> None:
        """Describe the work.

        Args:
            what: the work as a participle, such as "Classifying".
            unit: plural of the things that are counted.
            console: the console to print on; None: standard error.
            total: the number of things to do, if it is known.
            resumed: the first count that is reported is the work of an earlier call, which is shown but not part of the rate.
        """
        self.console = console or console_for(to_stderr=True)
        self.count = 0
        self.note = ""
        """Text at the end of the line."""
        self.earlier_stages = 0
        """Things done in the stages before this one."""
        self._what, self._unit, self._total, self._resumed = what, unit, total, resumed
        self._already = 0
        self._began_at = self._stage_began_at = self._printed_at = time.monotonic()
        self._bar: Progress | None = None

    def __enter__(self) -> ProgressLine:
        self._began_at = self._stage_began_at = self._printed_at = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=self.console, transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=self._total, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_at

    @property
    def rate(self) -> float:
        """Things done per second in this stage."""
        seconds = time.monotonic() - self._stage_began_at
        return (self.count - self._already) / seconds if seconds > 0 else 0.0

    def expect(self, total: int) -> None:
        """Set the total, from which the time left is estimated."""
        self._total = total

    def advance(self, by: int = 1) -> None:
        """Add to the count."""
        self.reach(self.count + by)

    def reach(self, count: int, total: int | None = None) -> None:
        """Set the count, and the total if it is given."""
        self.count, self._total = count, self._total if total is None else total
        if self._resumed:
            self._already, self._resumed = count, False
        rate = f"{self.rate:.1f} {self._unit}/s"
        if self._bar is not None:
            self._bar.update(
                self._task,
                description=self._what,
                completed=count,
                total=self._total,
                rate=", ".join(filter(None, (rate, self.note))),
            )
        elif time.monotonic() - self._printed_at >= _PLAIN_EVERY_S:
            self._printed_at = time.monotonic()
            self.console.print(self._plain())

    def stage(self, what: str, count: int, total: int, unit: str = "images") -> None:
        """Set the count and the total of one of several stages; another name ends the stage before."""
        if what != self._what:
            self.earlier_stages += self.count
            self._what, self._unit, self._already = what, unit, 0
            self._stage_began_at = time.monotonic()
            if self._bar is not None:
                self._bar.reset(self._task)
        self.reach(count, total)

    def _plain(self) -> str:
        of = f" of {self._total}" if self._total else ""
        left = ""
        if self._total and self.rate > 0:
            left = f"{duration(max(0, self._total - self.count) / self.rate)} left"
        parts = (f"{self._what}: {self.count}{of} {self._unit}", f"{self.rate:.1f}/s", left, self.note)
        return ", ".join(filter(None, parts))
