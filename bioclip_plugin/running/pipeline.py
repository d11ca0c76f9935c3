"""Read, decode, encode, classify, store: in input order, with bounded queues, decoding threads and one writer."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import PluginError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.process.threads import FINISHING_S, Job, Workers, WorkersClosed
from bioclip_plugin.contracts.contained_models import encode_each
from bioclip_plugin.items.answers import Answer, Failure
from bioclip_plugin.items.media import MediaItem, Place, Unlisted, place_of
from bioclip_plugin.items.request import DETECTION
from bioclip_plugin.running.detecting import MOST_AT_ONCE, Detecting
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.fetched import Fetching, FetchStage, need_of
from bioclip_plugin.running.known import Drawn, Known
from bioclip_plugin.running.reading import Reader, stat_of
from bioclip_plugin.running.tasks import RegionWork, Task, answer_of, new_task, record_of
from bioclip_plugin.store.records import FeatureKey, Listed, Run, Stat

if TYPE_CHECKING:
    from bioclip_plugin.store import Store

_LISTED_AT_ONCE = 512  # items listed in one transaction
_ITEMS_PER_BATCH = 256  # a batch of items that need no model is committed at this size
_LATE_S = 10.0  # after which a batch with a detector is committed as it is
_UNCOMMITTED_BATCHES = 2  # finished batches that may wait for the writer
_PATIENCE_S = 1.0  # longest wait for decoders at the end of an iteration

CLOSED = "this Session is closed; open a new one, which continues from the committed answers"


class Pipeline:
    """Turns items into answers. One use: make it, iterate :meth:`answers`, let it go.

    Closing the iterator cancels within a batch; committed answers stay.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store | None = None,
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
        self._engine = engine
        self._reader = Reader(engine, run, findings)
        self._findings = findings
        stated = (run.rule_settings if run else {}).get(DETECTION)
        self._detection = engine.detection(None if stated is None else stated["threshold"])
        self.run = run
        self._kept = (store, run) if store is not None and run is not None else None
        self._repeat_done = repeat_done
        self._classify = classify
        self._on_stored = on_stored
        self._known = Known(
            store,
            run,
            findings,
            self._detection,
            repeat_done=repeat_done,
            rehash=rehash,
            waiting=_UNCOMMITTED_BATCHES + 2,
            reads_web=fetching is not None and fetching.has_folder,
        )
        is_whole = engine.request.exact or self._detection is not None  # a detector may find small animals
        need = None if is_whole else need_of(engine.model.preprocessing.size)
        self._fetching = FetchStage(fetching or Fetching(), need, self._check_open, on_wait, findings)
        self._begun: tuple[Workers, Workers] | None = None
        self._drawn: Drawn | None = None
        self._was_closed = self._is_over = False
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
        for decoders, writer in filter(None, (self._begun,)):
            decoders.close(wait_s=min(wait_s, _PATIENCE_S))
            ended = writer.close(wait_s=wait_s)
        self._is_over = True
        return ended

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
        writer = Workers(1, "bioclip-store", must_finish=True)
        self._begun = decoders, writer
        self._drawn = drawn = Drawn(items)
        self._check_open()
        self.is_running = self.was_cut_short = True
        waiting: deque[tuple[Job[None], list[Task]]] = deque()
        try:
            fetched = self._fetching.ahead(self._listed(drawn, writer))
            for batch in self._batches(self._read_ahead(fetched, decoders)):
                self._encode(batch)
                self._answer(batch)
                self._check_open()
                waiting.append((writer.submit(self._commit, batch), batch))
                while waiting and (len(waiting) > _UNCOMMITTED_BATCHES or waiting[0][0].done()):
                    yield from self._committed(*waiting.popleft())
            while waiting:
                yield from self._committed(*waiting.popleft())
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
            writer.close(wait_s=0 if is_interrupted else FINISHING_S)
        if drawn.error is not None:
            raise drawn.error

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
        )

    def _count_undetected(self, task: Task) -> None:
        """Count an image that the detector is not asked about, since it has boxes of its own."""
        if self._detection is None or task.detection is not None or task.failure is not None or self._findings is None:
            return
        name = self._detection.chosen.name
        self._findings.add(f"images have boxes of their own, so that the detector {name} was not asked", task.item.uri)

    def _committed(self, commit: Job[None], batch: list[Task]) -> Iterator[Task]:
        commit.result()
        for task in batch:
            self._check_open()
            yield task

    def _check_open(self) -> None:
        if self._begun is not None:
            self._begun[0].check_process()
        if self._was_closed:
            raise UsageError(CLOSED)

    # Listing and reading

    def _read_ahead(self, tasks: Iterable[Task], decoders: Workers) -> Iterator[Task]:
        """Yield tasks in input order, with enough in decoding that the model never waits, in bounded memory."""
        queue: deque[Task] = deque()
        decoding, limit_s = 0, self._engine.request.item_timeout
        for task in tasks:
            self._count_undetected(task)
            if task.is_to_read:
                self._check_open()
                if task.is_undetected:
                    _ = (
                        self._engine.compute
                    )  # a device that cannot be used ends the stream, and is not a failure of each image
                self._begin_to_read(task, decoders)
                decoding += 1
            queue.append(task)
            # Until the model is needed, the batch size that needs no torch to know.
            batch = self._engine.batch_size if self._engine.is_computing else self._engine.request.batch_size or 16
            while queue and (queue[0].reading is None or decoding > 2 * batch + 2 * self._engine.workers):
                decoding -= queue[0].reading is not None
                yield self._read_through(queue.popleft(), decoders, limit_s)
        while queue:
            yield self._read_through(queue.popleft(), decoders, limit_s)

    def _begin_to_read(self, task: Task, decoders: Workers) -> None:
        boxes = None if task.is_undetected else [work.decoded_box for work in task.classified]
        task.reading = decoders.submit_named(f"{task.item.uri}: decoding", self._reader.read, task.item, boxes)

    def _read_through(self, task: Task, decoders: Workers, limit_s: float) -> Task:
        """Wait for the reading of a task; a file that changed since it was fetched is fetched and read once more."""
        if task.reading is not None and task.read_through(limit_s).failure is not None and self._fetching.again(task):
            self._begin_to_read(task, decoders)
        return task.read_through(limit_s)

    def _listed(self, items: Iterable[MediaItem | Unlisted], writer: Workers) -> Iterator[Task]:
        """Yield tasks with what the store knows of them; chunks are listed one ahead of the work."""
        if self._kept is None:
            yield from (new_task(item, None, None, self._detection) for item in items)
            return
        store, run = self._kept
        entries = iter(items)
        pending: deque[tuple[list[Stat | None], Job[list[Listed]]]] = deque()
        size = self._engine.request.batch_size or 16  # the first chunk is small, so that work begins at once
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

    # Model and labels

    def _batches(self, tasks: Iterable[Task]) -> Iterator[list[Task]]:
        """Yield consecutive tasks, enough for one batch of the model or for one transaction."""
        batch: list[Task] = []
        to_encode, began_at = 0, time.monotonic()
        for task in tasks:
            began_at = began_at if batch else time.monotonic()
            batch.append(task)
            to_encode += sum(work.crop is not None for work in task.regions)
            # A detector may take seconds per image and find nothing in most: its work is not kept back for long.
            is_late = self._detection is not None and time.monotonic() - began_at > _LATE_S
            is_full = len(batch) >= _ITEMS_PER_BATCH or is_late
            if is_full or (to_encode and to_encode >= self._engine.batch_size):
                yield batch
                batch, to_encode = [], 0
        if batch:
            yield batch

    def _encode(self, batch: Sequence[Task]) -> None:
        """Compute the features that are missing; equal contents of a batch are encoded once."""
        fresh = [task for task in batch if task.was_read and task.failure is None]
        self._known.recall_features(fresh)
        keyed = [pair for task in fresh for pair in task.feature_keys()]
        first: dict[FeatureKey, RegionWork] = {}
        for work, key in keyed:
            if work.features is None:
                first.setdefault(key, work)
        if first and self._classify:
            _ = self._engine.classifier  # labels that cannot be used are reported before the model has worked for them
        faults: dict[FeatureKey, str] = {}
        size = self._engine.batch_size if first else 1
        missing = list(first.items())
        for start in range(0, len(missing), size):
            part = missing[start : start + size]
            crops_BHWC = np.stack([work.crop for _, work in part if work.crop is not None])
            rows, faults_of_part = encode_each(self._engine.encoder, crops_BHWC)
            for number, ((key, work), row) in enumerate(zip(part, rows, strict=True)):
                if number in faults_of_part:
                    faults[key] = faults_of_part[number]
                else:
                    work.features, work.is_new = row, True
        for task in fresh if faults else ():
            if reason := next((faults[key] for _, key in task.feature_keys() if key in faults), None):
                task.failure = Failure("encode", reason)
        for work, key in keyed:
            work.features = first[key].features if work.features is None else work.features
            work.crop = None
        self._known.encoded({key: work.features for key, work in first.items() if work.features is not None})

    def _answer(self, batch: Sequence[Task]) -> None:
        """Classify every region that has features and no stored answer, then make the answers."""
        if not self._classify:
            return
        to_classify = [task for task in batch if task.failure is None]
        self._ask_for_weights(to_classify)
        unanswered = [(task, work) for task in to_classify for work in task.regions
                         if work.stored is None and work.features is not None and task.failure is None]  # fmt: skip
        if unanswered:
            features_BD = np.stack([work.features for _, work in unanswered if work.features is not None])
            found = self._engine.classify(features_BD, [place_of(task.item) for task, _ in unanswered])
            for (task, work), classification in zip(unanswered, found, strict=True):
                work.classification = classification
                if not classification.by_rank.get(self._engine.level):  # without a candidate it is not an answer
                    task.failure = Failure("classify", self._engine.reason_without_candidates())
        for task in batch:
            if task.original is None and (self._repeat_done or not task.is_done):
                task.answer = answer_of(task, self._engine)

    def _ask_for_weights(self, tasks: Sequence[Task]) -> None:
        """Make failures of items at whose place a plugin cannot weigh the labels."""
        if not self._engine.weighs:
            return
        reasons: dict[Place, str] = {}
        for task in tasks:
            place = place_of(task.item)
            if not any(work.stored is None and work.features is not None for work in task.regions):
                continue
            if place not in reasons:
                try:
                    self._engine.prior(place)
                    reasons[place] = ""
                except PluginError as error:
                    reasons[place] = str(error)
            if reasons[place]:
                task.failure = Failure("classify", reasons[place])

    # Storing

    def _commit(self, batch: Sequence[Task]) -> None:
        """On the writer's thread: one transaction for the batch, then the observers."""
        if self._kept is None or self._is_over:
            return
        store, run = self._kept
        written = [task for task in batch if task.listed and not task.is_done and task.original is None]
        store.commit(run, [record_of(task, self._engine) for task in written])
        self._known.committed(written)
        if self._on_stored and written:
            self._on_stored(run, [task.answer for task in written if task.answer])
