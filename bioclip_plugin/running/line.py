"""The tasks of one stream on their way: drawn, being read, read, being encoded, and the groups that are answered together."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bioclip_core.process.threads import Job
from bioclip_plugin.running.answering import unanswered_of
from bioclip_plugin.running.tasks import Task

ITEMS_AT_ONCE = 256
"""Items of one transaction, if they need no model."""
_GROUP_S = 5.0
"""After which features are classified and committed though more rows would be cheaper: an interruption costs them."""


@dataclass(eq=False)
class Group:
    """Consecutive tasks that are classified and committed together."""

    tasks: Sequence[Task]
    answered: Job[Job[None]]

    @property
    def at_work(self) -> Job[Job[None]] | Job[None]:
        """The work that the group waits for."""
        if not self.answered.done():
            return self.answered
        return self.answered.result()

    def is_committed(self) -> bool:
        """True if the group is committed; its error is raised."""
        return self.answered.done() and self.answered.result().done()

    def check(self) -> None:
        """Raise the error of its work, if there was one."""
        self.answered.result().result()


@dataclass(eq=False)
class Line:
    """Tasks between the source and their answers. One thread uses it."""

    late_s: float
    """Longest time for which images are kept back since they fill no batch."""
    has_more: bool = True
    """False once the source has ended."""
    on_the_way: deque[Task] = field(default_factory=deque)
    """Tasks in input order, until they have their features."""
    reading: list[Task] = field(default_factory=list)
    read: list[Task] = field(default_factory=list)
    """Tasks that wait for the encoder."""
    read_rows: int = 0
    """Their crops."""
    encoding: deque[Job[None]] = field(default_factory=deque)
    forming: list[Task] = field(default_factory=list)
    """The next group."""
    groups: int = 0
    """Number of groups so far."""
    _forming_rows: int = 0
    _read_since: float = 0.0
    _forming_since: float = 0.0

    def admit(self, task: Task) -> None:
        self.on_the_way.append(task)
        if task.reading is not None:
            task.is_waiting = True
            self.reading.append(task)

    def take_read(self) -> list[Task]:
        """Remove and return the tasks that a decoding thread is done with."""
        done: list[Task] = []
        left: list[Task] = []
        for task in self.reading:  # each is asked once: one that ends meanwhile would be in neither list
            (done if task.reading is None or task.reading.done() else left).append(task)
        self.reading = left
        return done

    def read_again(self, task: Task) -> None:
        self.reading.append(task)

    def take(self, task: Task) -> None:
        """Note a task whose image was read; the encoder is next, unless it is a failure."""
        if task.failure is not None:
            task.is_waiting = False
            return
        self._read_since = self._read_since if self.read else time.monotonic()
        self.read.append(task)
        self.read_rows += _crops_of(task)

    def is_batch_due(self, size: int) -> bool:
        """True if the encoder is to have what was read."""
        return self.read_rows >= size or len(self.read) >= ITEMS_AT_ONCE or self._read_due_in_s() <= 0

    def end_batch(self, size: int) -> list[Task]:
        """Return the first tasks that were read and have ``size`` crops together, or all, for the encoder."""
        count = rows = 0
        while count < len(self.read) and rows < size:
            rows += _crops_of(self.read[count])
            count += 1
        batch, self.read = self.read[:count], self.read[count:]
        self.read_rows -= rows
        self._read_since = time.monotonic()  # what is left goes with the next batch
        return batch

    def submitted(self, batch: Sequence[Task], work: Job[None] | None) -> None:
        """Note that the encoder has a batch; None if there was nothing to encode in it."""
        for task in batch:
            task.is_waiting = False
        if work is not None:
            self.encoding.append(work)

    def take_encoded(self) -> None:
        """Forget the batches that are encoded; an error of the encoder is raised."""
        while self.encoding and self.encoding[0].done():
            self.encoding.popleft().result()

    def take_ready(self) -> Iterator[Task]:
        """Remove and yield the first tasks that have their features, or need none."""
        while self.on_the_way and len(self.forming) < ITEMS_AT_ONCE and self.on_the_way[0].is_ready:
            yield self.on_the_way.popleft()

    def add_to_group(self, task: Task) -> None:
        self._forming_since = self._forming_since if self.forming else time.monotonic()
        self.forming.append(task)
        self._forming_rows += len(unanswered_of(task))

    def is_group_due(self, rows: int) -> bool:
        """True if the tasks with features are to be answered: enough rows, enough items, long enough, or the last ones."""
        if not self.forming:
            return False
        is_full = self._forming_rows >= rows or len(self.forming) >= ITEMS_AT_ONCE
        is_last = not self.has_more and not self.on_the_way
        return is_full or is_last or self._forming_due_in_s() <= 0

    def end_group(self) -> list[Task]:
        """Return the tasks of the next group."""
        group, self.forming, self._forming_rows = self.forming, [], 0
        self.groups += 1
        return group

    def due_in_s(self) -> float:
        """Return the seconds until something is due by time alone."""
        return min(self._read_due_in_s() if self.read and not self.encoding else math.inf, self._forming_due_in_s())

    def _read_due_in_s(self) -> float:
        return self._read_since + self.late_s - time.monotonic() if self.read else math.inf

    def _forming_due_in_s(self) -> float:
        return self._forming_since + min(_GROUP_S, self.late_s) - time.monotonic() if self.forming else math.inf


def _crops_of(task: Task) -> int:
    return sum(work.crop is not None for work in task.regions)
