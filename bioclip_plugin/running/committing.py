"""The stage of the store: groups of answered tasks, as many in one transaction as wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bioclip_core.process.threads import Job, Workers
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.running.clock import STORE, StageClock
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.known import Known
from bioclip_plugin.running.tasks import Task, record_of
from bioclip_plugin.store import group_commits
from bioclip_plugin.store.records import ItemRecord, Run

if TYPE_CHECKING:
    from bioclip_plugin.store.results import Results

_UNCOMMITTED_GROUPS = 8
"""Groups that may be on their way to the store: one that is classified, one that is written, and those that wait for the next
transaction."""
_UNKEPT_GROUPS = 2
"""The same without a store, which nothing waits for."""
ITEMS_PER_COMMIT = 1_024
"""Items from which a transaction takes no further group, so that its rows stay some tens of megabytes."""


@dataclass(eq=False)
class _Waiting:
    """A group on its way to the store."""

    tasks: Sequence[Task]
    is_settled: bool = False
    """True once it is committed, or has its error."""
    error: Exception | None = None


class Committing:
    """Commits groups of tasks on the writer's thread; those that wait for it share a transaction.

    A commit waits for the disk, or for a server far away. Then groups queue up, and the more wait, the more are written at once.
    """

    def __init__(
        self,
        engine: Engine,
        kept: tuple[Results, Run] | None,
        known: Known,
        clock: StageClock,
        on_stored: Callable[[Run, Sequence[Answer]], None] | None,
    ) -> None:
        """Set up.

        Args:
            kept: the store and the run; None keeps nothing.
            known: forgets the tasks that are committed.
            on_stored: called with the answers of each group after its commit.
        """
        self._engine, self._kept, self._known, self._clock, self._on_stored = engine, kept, known, clock, on_stored
        self._waiting: deque[_Waiting] = deque()
        self.most_groups = _UNCOMMITTED_GROUPS if kept else _UNKEPT_GROUPS
        """Number of groups that may be on their way at once."""
        self.is_over = self._has_noted = False
        """True if nothing more is written: the store may be closed."""

    def submit(self, group: Sequence[Task], writer: Workers) -> Job[None]:
        """Have a group committed; return the work, which raises the group's own error. One thread calls it.

        Raises:
            WorkersClosed: if the writer takes no more work.
        """
        waiting = _Waiting(group)
        self._waiting.append(waiting)
        return writer.submit(self._clock.timed(STORE, self._commit, waiting))

    def _commit(self, mine: _Waiting) -> None:
        """On the writer's thread: commit a group with those behind it, unless one before it has taken it along."""
        if self.is_over:
            return
        if not mine.is_settled:
            self._settle(self._take())
        if mine.error is not None:
            raise mine.error

    def _take(self) -> list[_Waiting]:
        """Return the groups that wait, in their order, as many as one transaction takes."""
        taken = [self._waiting.popleft()]
        items = len(taken[0].tasks)
        while self._waiting and items + len(self._waiting[0].tasks) <= ITEMS_PER_COMMIT:
            taken.append(self._waiting.popleft())
            items += len(taken[-1].tasks)
        return taken

    def _settle(self, groups: Sequence[_Waiting]) -> None:
        """Commit groups; one that fails does not keep the others from being stored."""
        for group in groups:
            group.is_settled = True
        ready: list[tuple[_Waiting, list[Task], list[ItemRecord]]] = []
        for group in groups:
            try:
                written = [task for task in group.tasks if task.listed and not task.is_done and task.original is None]
                ready.append(
                    (group, written, [record_of(task, self._engine) for task in written] if self._kept else [])
                )
            except Exception as error:
                group.error = error
        errors: Sequence[Exception | None] = [None] * len(ready)
        if self._kept is not None:
            unnoted = self._note_encoder([task for _, written, _ in ready for task in written])
            batches = [records for _, _, records in ready]
            errors = [unnoted] * len(ready) if unnoted else group_commits.commit_each(*self._kept, batches)
        for (group, written, _), refused in zip(ready, errors, strict=True):
            group.error = refused
            if refused is None:
                self._tell(group, written)

    def _note_encoder(self, tasks: Sequence[Task]) -> Exception | None:
        """Have the run say what computes its features, before the first ones are stored; return the error if that fails."""
        if self._has_noted or self._kept is None or not any(work.is_new for task in tasks for work in task.regions):
            return None
        store, run = self._kept
        try:
            store.note_encoder(run, self._engine.encoded_with())
        except Exception as error:
            return error
        self._has_noted = True
        return None

    def _tell(self, group: _Waiting, written: Sequence[Task]) -> None:
        """After a group's commit: it is known from now on, and observers get its answers."""
        try:
            self._known.committed(group.tasks)
            if self._kept is not None and self._on_stored and written:
                self._on_stored(self._kept[1], [task.answer for task in written if task.answer])
        except Exception as error:
            group.error = error
