"""Read, decode, encode, classify, store: in input order, with bounded queues, decoding threads and one writer."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import ImageError, UsageError
from bioclip_plugin.answers import Answer, Failure, RegionAnswer
from bioclip_plugin.media import WHOLE_BOX, MediaItem, Place, Region, Unlisted, path_of
from bioclip_plugin.store.records import FeatureKey, ItemRecord, Listed, RegionRecord, Run, Stat, StoredRegion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.classify import Classification
    from bioclip_plugin.engine import Engine
    from bioclip_plugin.store import Store

log = logging.getLogger(__name__)

_LISTED_AT_ONCE = 512  # items put down in the listing in one transaction
_ITEMS_A_BATCH = 256  # a batch of items that need no model is committed at this size
_UNCOMMITTED_BATCHES = 2  # finished batches that may wait for the writer


@dataclass(eq=False)
class _RegionWork:
    """One region on its way: it needs what is still None."""

    region: Region | None
    crop: NDArray[np.uint8] | None = None
    features: NDArray[np.float16] | None = None
    is_new: bool = False
    """Whether the features are not stored yet."""
    classification: Classification | None = None
    stored: StoredRegion | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.region.box if self.region else WHOLE_BOX


@dataclass(eq=False)
class _Task:
    """One item on its way."""

    item: MediaItem
    listed: Listed | None = None
    stat: Stat | None = None
    regions: list[_RegionWork] = field(default_factory=list)
    reading: Future[None] | None = None
    content_sha256: str | None = None
    content_size: int | None = None
    failure: Failure | None = None
    answer: Answer | None = None
    original: _Task | None = None
    """The same item listed again while the first is on its way: it gets the first one's answer."""

    @property
    def is_done(self) -> bool:
        return self.listed is not None and self.listed.done

    def feature_keys(self) -> list[tuple[_RegionWork, FeatureKey]]:
        """The regions with the keys of their features; none for a content that is not known."""
        sha256 = self.content_sha256
        return [(work, (sha256, self.item.frame, work.box)) for work in self.regions] if sha256 else []


class Pipeline:
    """Takes items to answers. One use: make it, iterate :meth:`answers`, let it go.

    Closing the iterator cancels within a batch; what was committed stays.
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
    ) -> None:
        """Set up; nothing is opened yet.

        Args:
            engine: model and labels, opened when they are first needed.
            store: where results are kept, with ``run``; None keeps nothing.
            repeat_done: whether items that the run had done before are answered again from the store.
            rehash: whether every file is read again and known by its bytes, instead of by size and modification time.
            classify: False stops at features.
            on_stored: called after each committed batch, on the writer's thread.
        """
        self._engine = engine
        self._store = store
        self._run = run
        self._repeat_done = repeat_done
        self._rehash = rehash
        self._classify = classify
        self._on_stored = on_stored
        self._in_flight: dict[int, _Task] = {}
        self._uncommitted: deque[dict[FeatureKey, NDArray[np.float16]]] = deque(maxlen=_UNCOMMITTED_BATCHES + 2)
        self.already_done = 0
        """Items that the run had done before."""

    def answers(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[Answer]:
        """One answer an item, in input order, each after its batch was committed."""
        for task in self._finished(items):
            if task.original is not None:
                task.answer = replace(task.original.answer or _answer_of(task.original), item=task.item)
            if task.answer is not None:
                yield task.answer

    def features(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[tuple[Answer, list[NDArray[np.float16]]]]:
        """One row of features a region for each item, with an answer that holds the item or its failure."""
        for task in self._finished(items):
            yield Answer(task.item, failure=task.failure), [w.features for w in task.regions if w.features is not None]

    def _finished(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[_Task]:
        decoders = ThreadPoolExecutor(self._engine.workers, thread_name_prefix="bioclip-decode")
        writer = ThreadPoolExecutor(1, thread_name_prefix="bioclip-store")
        waiting: deque[tuple[Future[None], list[_Task]]] = deque()
        try:
            for batch in self._batches(self._read_ahead(items, decoders, writer)):
                self._encode(batch)
                self._answer(batch)
                waiting.append((writer.submit(self._commit, batch), batch))
                while waiting and (len(waiting) > _UNCOMMITTED_BATCHES or waiting[0][0].done()):
                    yield from _committed(waiting.popleft())
            while waiting:
                yield from _committed(waiting.popleft())
        finally:
            decoders.shutdown(wait=True, cancel_futures=True)
            writer.shutdown(wait=True)  # what was handed to the writer is committed

    # Listing and reading

    def _read_ahead(
        self, items: Iterable[MediaItem | Unlisted], decoders: ThreadPoolExecutor, writer: ThreadPoolExecutor
    ) -> Iterator[_Task]:
        """Tasks in input order, with so many in decoding that the model never waits and memory stays bounded."""
        queue: deque[_Task] = deque()
        decoding = 0
        for task in self._listed(items, writer):
            if not task.is_done and task.failure is None and task.original is None and not _is_known(task):
                task.reading = decoders.submit(self._read, task)
                decoding += 1
            queue.append(task)
            while queue and (queue[0].reading is None or decoding > self._ahead()):
                decoding -= queue[0].reading is not None
                yield _read_through(queue.popleft())
        while queue:
            yield _read_through(queue.popleft())

    def _ahead(self) -> int:
        """Images that may be decoded or in decoding; until the model is needed, so many as need no torch to know."""
        batch = self._engine.batch_size if self._engine.is_computing else self._engine.request.batch_size or 16
        return 2 * batch + 2 * self._engine.workers

    def _listed(self, items: Iterable[MediaItem | Unlisted], writer: ThreadPoolExecutor) -> Iterator[_Task]:
        """Tasks with what the store knows of them; chunks are listed one ahead of the work."""
        if self._store is None or self._run is None:
            yield from (_new_task(item, None, None) for item in items)
            return
        entries = iter(items)
        pending: deque[tuple[list[Stat | None], Future[list[Listed]]]] = deque()
        size = self._engine.request.batch_size or 16  # the first chunk is small, so that work begins at once
        while chunk := list(islice(entries, size)):
            stats = [_stat(item) for item in chunk]
            pending.append((stats, writer.submit(self._store.list_items, self._run, chunk, stats)))
            size = _LISTED_AT_ONCE
            if len(pending) > 1:
                yield from self._with_stored(*pending.popleft())
        while pending:
            yield from self._with_stored(*pending.popleft())

    def _with_stored(self, stats: list[Stat | None], listing: Future[list[Listed]]) -> Iterator[_Task]:
        """The tasks of a listed chunk, with answers and features that the store has of them."""
        assert self._store is not None
        assert self._run is not None
        tasks = []
        for listed, stat in zip(listing.result(), stats, strict=True):
            if self._rehash and stat is not None:
                listed = replace(listed, done=False, content_sha256=None)
            task = _new_task(listed.item, listed, stat)
            first = self._in_flight.get(listed.media_id)
            if listed.done:
                self.already_done += 1
            elif listed.repeated or first is not None:
                task.original = first
            else:
                self._in_flight[listed.media_id] = task
            tasks.append(task)
        self._recall_answers([t for t in tasks if t.original is None and (self._repeat_done or not t.is_done)])
        self._recall_features([t for t in tasks if t.original is None and not t.is_done])
        yield from tasks

    def _recall_answers(self, tasks: Sequence[_Task]) -> None:
        assert self._store is not None
        assert self._run is not None
        known = [task for task in tasks if task.listed and task.content_sha256]
        stored = self._store.answers(self._run, [task.listed.media_id for task in known if task.listed])
        for task in known:
            regions = {region.region.box if region.region else WHOLE_BOX: region
                       for region in stored.get(task.listed.media_id if task.listed else -1, [])}  # fmt: skip
            for work in task.regions:
                work.stored = regions.get(work.box)

    def _recall_features(self, tasks: Sequence[_Task]) -> None:
        """Fill in features that are stored or wait for the writer, so that equal contents are encoded once."""
        wanted = [
            pair
            for task in tasks
            for pair in task.feature_keys()
            if pair[0].stored is None and pair[0].features is None
        ]
        if not wanted:
            return
        found: dict[FeatureKey, NDArray[np.float16]] = {}
        if self._store is not None and self._run is not None:
            found = self._store.features(self._run, [key for _, key in wanted])
        for work, key in wanted:
            for known in (*self._uncommitted, found):
                if key in known:
                    work.features = known[key]

    def _read(self, task: _Task) -> None:
        """On a decoding thread: bytes, hash, camera metadata, crops. A failure is the item's own."""
        from bioclip_core.images import decode_regions, prepare, read_bytes
        from bioclip_plugin.metadata import with_metadata

        preprocessing = self._engine.model.preprocessing
        boxes = [_quantised(work.region) for work in task.regions]
        try:
            if task.item.image is not None:
                image = task.item.image
                content = image.tobytes()
                task.content_sha256 = hashlib.sha256(f"{image.mode}{image.size}".encode() + content).hexdigest()
                crops = prepare(image, boxes, preprocessing)
            else:
                content = task.item.data if task.item.data is not None else read_bytes(_path(task.item))
                task.content_sha256 = hashlib.sha256(content).hexdigest()
                task.item = with_metadata(task.item, content)
                crops = decode_regions(content, boxes, preprocessing, frame=task.item.frame)
        except ImageError as error:
            task.failure = Failure(error.stage, str(error))
            return
        except UsageError as error:
            task.failure = Failure("decode", str(error))
            return
        task.content_size = len(content)
        for work, crop in zip(task.regions, crops, strict=True):
            work.crop = crop

    # Model and labels

    def _batches(self, tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
        """Consecutive tasks, closed when enough regions wait for the model or enough items for the writer."""
        batch: list[_Task] = []
        to_encode = 0
        for task in tasks:
            batch.append(task)
            to_encode += sum(work.crop is not None for work in task.regions)
            if (to_encode and to_encode >= self._engine.batch_size) or len(batch) >= _ITEMS_A_BATCH:
                yield batch
                batch, to_encode = [], 0
        if batch:
            yield batch

    def _encode(self, batch: Sequence[_Task]) -> None:
        """Features for every region that has none; equal contents of a batch are encoded once."""
        import numpy as np

        fresh = [task for task in batch if task.reading is not None and task.failure is None]
        self._recall_features(fresh)
        first: dict[FeatureKey, _RegionWork] = {}
        for task in fresh:
            for work, key in task.feature_keys():
                if work.features is None:
                    first.setdefault(key, work)
        works = list(first.values())
        if works and self._classify:
            _ = self._engine.classifier  # labels that cannot be used are heard of before the model has worked for them
        size = self._engine.batch_size if works else 1
        for start in range(0, len(works), size):
            part = works[start : start + size]
            rows = self._engine.encoder.encode_images(np.stack([work.crop for work in part if work.crop is not None]))
            for work, row in zip(part, rows, strict=True):
                work.features, work.is_new = row, True
        for task in fresh:
            for work, key in task.feature_keys():
                work.features = first[key].features if work.features is None else work.features
                work.crop = None
        self._uncommitted.append({key: work.features for key, work in first.items() if work.features is not None})

    def _answer(self, batch: Sequence[_Task]) -> None:
        """Classifications for every region that has features and no stored answer, then the answers."""
        unanswered = [(task, work) for task in batch for work in task.regions
                         if work.stored is None and work.features is not None and task.failure is None]  # fmt: skip
        if unanswered and self._classify:
            import numpy as np

            features_BD = np.stack([work.features for _, work in unanswered if work.features is not None])
            found = self._engine.classify(features_BD, [_place(task.item) for task, _ in unanswered])
            for (_, work), classification in zip(unanswered, found, strict=True):
                work.classification = classification
        for task in batch:
            if self._classify and task.original is None and (self._repeat_done or not task.is_done):
                task.answer = _answer_of(task, self._engine)

    # Storing

    def _commit(self, batch: Sequence[_Task]) -> None:
        """On the writer's thread: one transaction for the batch, then those who want to know."""
        if self._store is None or self._run is None:
            return
        written = [task for task in batch if task.listed and not task.is_done and task.original is None]
        self._store.commit(self._run, [_record(task, self._engine) for task in written])
        for task in written:
            if task.listed:
                self._in_flight.pop(task.listed.media_id, None)
        if self._on_stored and written:
            self._on_stored(self._run, [task.answer for task in written if task.answer])


def _new_task(item: MediaItem | Unlisted, listed: Listed | None, stat: Stat | None) -> _Task:
    if isinstance(item, Unlisted):
        return _Task(MediaItem(uri=item.uri), failure=Failure("list", item.reason))
    task = _Task(item, listed, stat, [_RegionWork(region) for region in item.regions] or [_RegionWork(None)])
    if listed is not None:
        task.content_sha256 = listed.content_sha256
        task.failure = listed.failure
    return task


def _is_known(task: _Task) -> bool:
    """Whether the store has answers or features for every region, so that neither image nor model is needed."""
    return all(work.stored is not None or work.features is not None for work in task.regions)


def _read_through(task: _Task) -> _Task:
    if task.reading is not None:
        task.reading.result()
    return task


def _committed(waiting: tuple[Future[None], list[_Task]]) -> list[_Task]:
    future, batch = waiting
    future.result()
    return batch


def _stat(item: MediaItem | Unlisted) -> Stat | None:
    """Size and modification time of the item's file; None where there is none (any more)."""
    if isinstance(item, Unlisted) or item.data is not None or item.image is not None:
        return None
    try:
        stat = _path(item).stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


def _path(item: MediaItem) -> Any:
    return item.path if item.path is not None else path_of(item.uri)


def _quantised(region: Region | None) -> tuple[float, float, float, float] | None:
    """The box that the features are keyed by, so that equal keys mean equal pixels."""
    if region is None:
        return None
    x, y, w, h = (value / WHOLE_BOX[2] for value in region.box)
    return x, y, w, h


def _place(item: MediaItem) -> Place:
    if item.place.month is None and item.captured_at is not None:
        return replace(item.place, month=item.captured_at.month)
    return item.place


def _answer_of(task: _Task, engine: Engine | None = None) -> Answer:
    if task.failure is not None:
        return Answer(task.item, failure=task.failure)
    return Answer(task.item, tuple(_region_answer(work, engine) for work in task.regions if engine))


def _region_answer(work: _RegionWork, engine: Engine) -> RegionAnswer:
    if work.stored is not None:
        by_rank, flags = work.stored.by_rank, work.stored.flags
    else:
        assert work.classification is not None
        by_rank, flags = work.classification.by_rank, work.classification.flags
    return RegionAnswer(work.region, tuple(by_rank.get(engine.level, ())), engine.consensus(by_rank), tuple(flags))


def _record(task: _Task, engine: Engine) -> ItemRecord:
    assert task.listed is not None
    if task.failure is not None:
        return ItemRecord(task.listed, task.item, task.stat, failure=task.failure)
    regions = [
        RegionRecord(
            work.region,
            work.features if work.is_new else None,
            work.classification.by_rank if work.classification else None,
            work.classification.flags if work.classification else (),
            answer.consensus,
        )
        for work, answer in zip(task.regions, (task.answer or _answer_of(task, engine)).regions, strict=True)
    ]
    read = task.reading is not None
    return ItemRecord(
        task.listed, task.item, task.stat if read else None, task.content_sha256, task.content_size, tuple(regions)
    )
