"""Read, decode, encode, classify, store: each on threads of its own, with bounded queues, answers in input order."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.findings import Findings
from bioclip_core.process.threads import FINISHING_S, Job, Workers, WorkersClosed, closed_in_turn, wait_for_any
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.items.request import DETECTION
from bioclip_plugin.running.answering import Answering
from bioclip_plugin.running.clock import (
    CALLER,
    CLASSIFY,
    ENCODER,
    ITEMS,
    READ,
    READERS,
    WRITER,
    Profile,
    StageClock,
)
from bioclip_plugin.running.committing import Committing
from bioclip_plugin.running.detecting import MOST_AT_ONCE, Detecting
from bioclip_plugin.running.encoding import Encoding
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.fetched import Fetching, FetchStage, need_of
from bioclip_plugin.running.known import Drawn, Known
from bioclip_plugin.running.line import ITEMS_AT_ONCE, Group, Line
from bioclip_plugin.running.reading import Reader, stat_of
from bioclip_plugin.running.tasks import Task, answer_of, new_task
from bioclip_plugin.store.records import Listed, Run, Stat

if TYPE_CHECKING:
    from bioclip_plugin.store.results import Results

log = logging.getLogger(__name__)

_LISTED_AT_ONCE = 512  # items listed in one transaction
_LATE_S = 10.0  # after which images go to the encoder, and to the store, though they fill no batch: a detector may take seconds
_BATCHES_ENCODED = 2  # one that the encoder has, and one that it finds when it is done
_MOST_ON_THE_WAY = 1_024  # items that are done or under way behind one that takes long
_PATIENCE_S = 1.0  # longest wait for decoders at the end of an iteration

CLOSED = "this Session is closed; open a new one, which continues from the committed answers"


class Pipeline:
    """Turns items into answers. One use: make it, iterate :meth:`answers`, let it go.

    Closing the iterator cancels within a batch; committed answers stay.
    """

    def __init__(
        self,
        engine: Engine,
        store: Results | None = None,
        run: Run | None = None,
        *,
        repeat_done: bool = True,
        rehash: bool = False,
        classify: bool = True,
        on_stored: Callable[[Run, Sequence[Answer]], None] | None = None,
        findings: Findings | None = None,
        fetching: Fetching | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Set up; nothing is opened yet.

        Args:
            engine: model and labels, opened when they are first needed.
            store: keeps the results, with ``run``; None keeps nothing.
            repeat_done: answer items that the run had done before again, from the store.
            rehash: read every file again and recognise it by its bytes, instead of by size and modification time.
            classify: False stops at features.
            on_stored: called after each committed batch, on the writer's thread.
            findings: counts times of cameras that cannot be right, local times that do not exist or occur twice, and files
                that an earlier version misread.
            fetching: the way to images on the web; None: they are failures.
            on_wait: called now and then while an image on the web is waited for.
        """
        self._engine, self.run, self._findings = engine, run, findings
        self._classify = classify
        self._kept = (store, run) if store is not None and run is not None else None
        self._reader = Reader(engine, run, findings)
        stated = (run.rule_settings if run else {}).get(DETECTION)
        self._detection = engine.detection(None if stated is None else stated["threshold"])
        web = fetching or Fetching()
        self._known = Known(
            store, run, findings, self._detection, repeat_done=repeat_done, rehash=rehash, reads_web=web.has_folder
        )
        is_whole = engine.request.exact or self._detection is not None  # a detector may find small animals
        need = None if is_whole else need_of(engine.model.preprocessing.size)
        self._fetching = FetchStage(web, need, self._check_open, on_wait, findings)
        self._clock = StageClock()
        self._encoding = Encoding(engine, self._known, self._clock, classify=classify)
        self._answering = Answering(engine, repeat_done=repeat_done)
        self._committing = Committing(engine, self._kept, self._known, self._clock, on_stored)
        self._begun: tuple[Workers, Workers, Workers, Workers] | None = None
        self._drawn: Drawn | None = None
        self._line: Line | None = None
        self._was_closed = False
        self.is_running = False
        """True between the first and the last answer, also while nobody asks for the next one."""
        self.was_cut_short = False
        """True if the iteration ended before its last answer."""

    def answers(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[Answer]:
        """Yield one answer per item, in input order, each after its batch was committed."""
        for task in self._finished(items):
            if task.original is not None:
                task.answer = replace(task.original.answer or answer_of(task.original), item=task.item)
            if task.answer is not None:
                yield task.answer

    def features(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[tuple[Answer, list[NDArray[np.float16]]]]:
        """Yield for each item its features, one row per region, with an answer that holds the item or its failure."""
        for task in self._finished(items):
            yield Answer(task.item, failure=task.failure), [w.features for w in task.regions if w.features is not None]

    def close(self, *, wait_s: float = FINISHING_S) -> bool:
        """End the iteration from any thread, at its next item: its :class:`UsageError` says that the Session is closed.

        Batches that the writer has are committed. Returns False if that is not done after ``wait_s``.
        """
        self._was_closed = True
        ended = True
        if self._begun is not None:
            decoders, encoder, answerer, writer = self._begun
            decoders.close(wait_s=min(wait_s, _PATIENCE_S))
            ended = closed_in_turn((encoder, answerer, writer), wait_s)
        self._committing.is_over = True
        return ended

    def profile(self) -> Profile:
        """Return the seconds that each stage worked, and the waits of the encoder, up to now."""
        return self._clock.profile()

    @property
    def already_done(self) -> int:
        """Number of items that the run had done before."""
        return self._known.already_done

    @property
    def has_drawn_all(self) -> bool:
        """True if the iterator of the items has ended."""
        return self._drawn is not None and self._drawn.has_ended

    def _finished(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[Task]:
        threads = self._engine.workers
        if self._detection is not None:  # further ones decode while some wait for the detector
            threads += min(MOST_AT_ONCE, max(2, threads // 2))
        decoders = Workers(threads, "bioclip-decode")
        self._reader.detecting = detecting = self._new_detecting()
        encoder = self._encoding.workers
        answerer = Workers(1, "bioclip-classify", must_finish=True)
        writer = Workers(1, "bioclip-store", must_finish=True)
        self._begun = decoders, encoder, answerer, writer
        self._drawn = drawn = Drawn(items)
        self._check_open()
        self.is_running = self.was_cut_short = True
        self._clock.begin()
        try:
            yield from self._through_stages(iter(self._fetching.ahead(self._listed(drawn, writer))))
            self.was_cut_short = drawn.error is not None
        except WorkersClosed:
            self._check_open()
            raise
        finally:
            is_interrupted = isinstance(sys.exception(), KeyboardInterrupt)  # the program is to end now
            self.is_running = False
            self._fetching.close()
            if detecting is not None:
                detecting.close(wait_s=0 if is_interrupted else _PATIENCE_S)
            decoders.close(wait_s=0 if is_interrupted else _PATIENCE_S)  # a decoder may never end
            self._reader.ahead.close(wait_s=0 if is_interrupted else _PATIENCE_S)
            encoder.close(wait_s=0 if is_interrupted else FINISHING_S)
            self._keep_encoded(answerer)
            answerer.close(wait_s=_PATIENCE_S if is_interrupted else FINISHING_S)
            writer.close(wait_s=0 if is_interrupted else FINISHING_S)
            for line in self._clock.profile().lines() if log.isEnabledFor(logging.DEBUG) else ():
                log.debug("%s", line)
        if drawn.error is not None:
            raise drawn.error

    def _through_stages(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Keep every stage at work, and yield tasks in input order, each after its group was committed.

        The encoder gets what is read, whatever is still read before it; answers keep the order.
        """
        assert self._begun is not None
        decoders, _, answerer, _ = self._begun
        self._line = line = Line(_LATE_S)
        groups: deque[Group] = deque()
        while line.has_more or line.on_the_way or line.forming or groups:
            self._check_open()
            drew = False
            if line.has_more and self._has_room(line, groups):
                drew = True
                with self._clock.waits(ITEMS):
                    task = next(tasks, None)
                if task is None:
                    line.has_more = False
                else:
                    self._admit(task, line, decoders)
            for task in line.take_read():
                self._take(task, line, decoders)
            line.take_encoded()
            while line.read and len(line.encoding) < _BATCHES_ENCODED and len(groups) < self._committing.most_groups:
                if not self._encode(line, groups):
                    break
            for task in line.take_ready():
                self._encoding.finish(task)
                line.add_to_group(task)
                self._end_group(line, groups, answerer)
            self._end_group(line, groups, answerer)
            if groups and groups[0].is_committed():
                yield from self._committed(groups.popleft())
            elif not drew:
                self._wait(line, groups, decoders)

    def _end_group(self, line: Line, groups: deque[Group], answerer: Workers) -> None:
        """Have the group answered if it is large or old enough."""
        if line.is_group_due(self._rows_at_once(line)):
            group = line.end_group()
            groups.append(Group(group, answerer.submit(self._answer, group)))

    def _keep_encoded(self, answerer: Workers) -> None:
        """Have the items that are encoded committed, also those behind a slow one, at the end of a stream that was left."""
        line, self._line = self._line, None
        if line is None or self._was_closed:
            return
        encoded = [task for task in line.on_the_way if task.is_encoded]
        for task in encoded:
            self._encoding.finish(task)
        tasks = [*line.forming, *encoded]
        with suppress(WorkersClosed, UsageError):  # in a forked child
            for first in range(0, len(tasks), ITEMS_AT_ONCE):
                answerer.submit(self._answer, tasks[first : first + ITEMS_AT_ONCE])

    def _has_room(self, line: Line, groups: Sequence[Group]) -> bool:
        """True if another item may be read: enough are on the way that the encoder never waits, in bounded memory."""
        batch = self._engine.batch_size
        ahead = len(line.reading) + len(line.read) + batch * max(0, len(line.encoding) - 1)
        answered = sum(len(group.tasks) for group in groups)
        is_wanted = ahead < batch or ahead + answered < 2 * batch + 2 * self._engine.workers
        return is_wanted and len(groups) < self._committing.most_groups and len(line.on_the_way) < _MOST_ON_THE_WAY

    def _admit(self, task: Task, line: Line, decoders: Workers) -> None:
        self._count_undetected(task)
        if task.is_to_read:
            self._check_open()
            if task.is_undetected:  # a device that cannot be used ends the stream, and is not a failure of each image
                _ = self._engine.compute
            self._begin_to_read(task, decoders)
        line.admit(task)

    def _take(self, task: Task, line: Line, decoders: Workers) -> None:
        """Take what was read; a file that changed since it was fetched is fetched and read once more."""
        if task.read_through(self._engine.request.item_timeout).failure is not None and self._fetching.again(task):
            self._begin_to_read(task, decoders)
            line.read_again(task)
        else:
            line.take(task)

    def _encode(self, line: Line, groups: Sequence[Group]) -> bool:
        """Give the encoder a batch if there are enough images for it, or no more will come; return True if it got one."""
        is_last = not line.reading and not (line.has_more and self._has_room(line, groups))
        size = self._engine.batch_size if line.read_rows else 1
        if line.read_rows and not (line.is_batch_due(size) or is_last):
            return False
        batch = line.end_batch(size)
        line.submitted(batch, self._encoding.submit(batch))
        return True

    def _rows_at_once(self, line: Line) -> int:
        """Return the rows that are classified at once; fewer at first, so that the first answers come early."""
        batch = self._engine.batch_size
        return self._answering.rows_at_once(batch) if self._classify and line.groups else batch

    def _wait(self, line: Line, groups: Sequence[Group], decoders: Workers) -> None:
        """Wait until a stage has done something; a decoder that takes too long is given up."""
        jobs: list[Job[Any]] = [task.reading for task in line.reading if task.reading is not None]
        jobs += [*islice(line.encoding, 1), *(group.at_work for group in islice(groups, 1))]
        what = ENCODER if line.encoding else READERS if line.reading else WRITER
        limit_s = min(line.due_in_s(), decoders.give_up_after(self._engine.request.item_timeout))
        with self._clock.waits(what):
            wait_for_any(jobs, limit_s)

    def _new_detecting(self) -> Detecting | None:
        if self._detection is None:
            return None
        store, run = self._kept or (None, None)
        return Detecting(
            self._detection,
            lambda: self._engine.compute.device,
            limit_s=self._engine.request.item_timeout,
            findings=self._findings,
            stored=None if store is None or run is None else lambda contents: store.found_boxes(run, contents),
            keep=None if store is None or run is None else lambda found: store.keep_boxes(run, found),
            clock=self._clock,
        )

    def _count_undetected(self, task: Task) -> None:
        """Count an image that the detector is not asked about, since it has boxes of its own."""
        if self._detection is None or task.detection is not None or task.failure is not None or self._findings is None:
            return
        name = self._detection.chosen.name
        self._findings.add(f"images have boxes of their own, so that the detector {name} was not asked", task.item.uri)

    def _committed(self, group: Group) -> Iterator[Task]:
        group.check()
        for task in group.tasks:
            self._check_open()
            with self._clock.waits(CALLER):
                yield task

    def _check_open(self) -> None:
        if self._begun is not None:
            self._begun[0].check_process()
        if self._was_closed:
            raise UsageError(CLOSED)

    # Listing and reading

    def _begin_to_read(self, task: Task, decoders: Workers) -> None:
        boxes = None if task.is_undetected else [work.decoded_box for work in task.classified]
        what, ahead = f"{task.item.uri}: decoding", self._reader.ahead.begin(task.item)
        task.reading = decoders.submit_named(what, self._clock.timed(READ, self._reader.read, task.item, boxes, ahead))

    def _listed(self, items: Iterable[MediaItem | Unlisted], writer: Workers) -> Iterator[Task]:
        """Yield tasks with what the store knows of them; chunks are listed one ahead of the work."""
        if self._kept is None:
            yield from (new_task(item, None, None, self._detection) for item in items)
            return
        store, run = self._kept
        entries = iter(items)
        pending: deque[tuple[list[Stat | None], Job[list[Listed]]]] = deque()
        size = self._engine.batch_size  # the first chunk is small, so that work begins at once
        while chunk := [
            item if isinstance(item, Unlisted) else self._reader.zoned(item) for item in islice(entries, size)
        ]:
            stats = [stat_of(item) for item in chunk]
            self._check_open()
            pending.append((stats, writer.submit(store.list_items, run, chunk, stats)))
            size = _LISTED_AT_ONCE
            if len(pending) > 1:
                yield from self._recalled(*pending.popleft())
        while pending:
            yield from self._recalled(*pending.popleft())

    def _recalled(self, stats: list[Stat | None], listing: Job[list[Listed]]) -> Iterator[Task]:
        yield from self._known.tasks_of(listing.result(), stats)

    # Answering and storing

    def _answer(self, group: Sequence[Task]) -> Job[None]:
        """On a thread of its own: classify, then have the group committed."""
        assert self._begun is not None
        writer = self._begun[-1]
        if self._classify:
            with self._clock.busy(CLASSIFY):
                self._answering.answer(group)
        return self._committing.submit(group, writer)
