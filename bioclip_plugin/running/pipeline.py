"""Read, decode, encode, classify, store: in input order, with bounded queues, decoding threads and one writer."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.images.decoding import decode_regions, prepare, right_pixels
from bioclip_core.images.readers import content_key
from bioclip_plugin.items.answers import Answer, Failure
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Unlisted, place_of
from bioclip_plugin.items.strange_times import StrangeTimes
from bioclip_plugin.items.time_zones import clock_doubt, in_zone
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.tasks import (
    RegionWork,
    Task,
    answer_of,
    bytes_of,
    is_read_by_us,
    new_task,
    path_of_item,
    record_of,
    stat_of,
    was_misread,
)
from bioclip_plugin.store.records import FeatureKey, Listed, Run, Stat

if TYPE_CHECKING:
    from bioclip_plugin.store import Store

_LISTED_AT_ONCE = 512  # items listed in one transaction
_ITEMS_PER_BATCH = 256  # a batch of items that need no model is committed at this size
_UNCOMMITTED_BATCHES = 2  # finished batches that may wait for the writer


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
        """
        self._findings = findings
        self._engine = engine
        self._strange = StrangeTimes(findings if findings is not None else Findings())
        self._kept = (store, run) if store is not None and run is not None else None
        self._repeat_done = repeat_done
        self._rehash = rehash
        self._classify = classify
        self._on_stored = on_stored
        self._time_zone: str | None = run.settings.get("time_zone") if run else None
        self._checks_clocks = run is None or not run.settings.get("deployments")  # otherwise when shifts are known
        self._in_flight: dict[int, Task] = {}
        self._uncommitted: deque[dict[FeatureKey, NDArray[np.float16]]] = deque(maxlen=_UNCOMMITTED_BATCHES + 2)
        self.already_done = 0
        """Number of items that the run had done before."""

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

    def _finished(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[Task]:
        decoders = ThreadPoolExecutor(self._engine.workers, thread_name_prefix="bioclip-decode")
        writer = ThreadPoolExecutor(1, thread_name_prefix="bioclip-store")
        waiting: deque[tuple[Future[None], list[Task]]] = deque()
        try:
            for batch in self._batches(self._read_ahead(items, decoders, writer)):
                self._encode(batch)
                self._answer(batch)
                waiting.append((writer.submit(self._commit, batch), batch))
                while waiting and (len(waiting) > _UNCOMMITTED_BATCHES or waiting[0][0].done()):
                    yield from _committed(*waiting.popleft())
            while waiting:
                yield from _committed(*waiting.popleft())
        finally:
            decoders.shutdown(wait=True, cancel_futures=True)
            writer.shutdown(wait=True)  # a batch that the writer has is committed

    # Listing and reading

    def _read_ahead(
        self, items: Iterable[MediaItem | Unlisted], decoders: ThreadPoolExecutor, writer: ThreadPoolExecutor
    ) -> Iterator[Task]:
        """Yield tasks in input order, with enough in decoding that the model never waits, in bounded memory."""
        queue: deque[Task] = deque()
        decoding = 0
        for task in self._listed(items, writer):
            if not task.is_done and task.failure is None and task.original is None and not task.is_known:
                task.reading = decoders.submit(self._read, task)
                decoding += 1
            queue.append(task)
            # Until the model is needed, the batch size that needs no torch to know.
            batch = self._engine.batch_size if self._engine.is_computing else self._engine.request.batch_size or 16
            while queue and (queue[0].reading is None or decoding > 2 * batch + 2 * self._engine.workers):
                decoding -= queue[0].reading is not None
                yield _read_through(queue.popleft())
        while queue:
            yield _read_through(queue.popleft())

    def _listed(self, items: Iterable[MediaItem | Unlisted], writer: ThreadPoolExecutor) -> Iterator[Task]:
        """Yield tasks with what the store knows of them; chunks are listed one ahead of the work."""
        if self._kept is None:
            yield from (new_task(item, None, None) for item in items)
            return
        store, run = self._kept
        entries = iter(items)
        pending: deque[tuple[list[Stat | None], Future[list[Listed]]]] = deque()
        size = self._engine.request.batch_size or 16  # the first chunk is small, so that work begins at once
        while chunk := [item if isinstance(item, Unlisted) else self._zoned(item) for item in islice(entries, size)]:
            stats = [stat_of(item) for item in chunk]
            pending.append((stats, writer.submit(store.list_items, run, chunk, stats)))
            size = _LISTED_AT_ONCE
            if len(pending) > 1:
                yield from self._with_stored(store, run, *pending.popleft())
        while pending:
            yield from self._with_stored(store, run, *pending.popleft())

    def _with_stored(
        self, store: Store, run: Run, stats: list[Stat | None], listing: Future[list[Listed]]
    ) -> Iterator[Task]:
        """Yield the tasks of a listed chunk, with their stored answers and features."""
        tasks = []
        for listed, stat in zip(listing.result(), stats, strict=True):
            if stat is not None and (self._rehash or self._was_misread(listed)):
                listed = replace(listed, done=False, content_sha256=None)
            task = new_task(listed.item, listed, stat)
            first = self._in_flight.get(listed.media_id)
            if listed.done:
                self.already_done += 1
            elif listed.repeated or first is not None:
                task.original = first
            else:
                self._in_flight[listed.media_id] = task
            tasks.append(task)
        asked = [t for t in tasks if t.original is None and (self._repeat_done or not t.is_done) and t.content_sha256]
        stored = store.answers(run, [task.listed.media_id for task in asked if task.listed])
        for task in asked:
            regions = stored.get(task.listed.media_id, []) if task.listed else []
            by_box = {region.region.box if region.region else WHOLE_BOX: region for region in regions}
            for work in task.classified:
                work.stored = by_box.get(work.box)
        self._recall_features([task for task in tasks if task.original is None and not task.is_done])
        yield from tasks

    def _was_misread(self, listed: Listed) -> bool:
        """True if the stored results of a file come from a reader that misread its kind: it is read again."""
        if not was_misread(listed.item, listed.content_sha256):
            return False
        if self._findings is not None:
            self._findings.add(
                "files were misread by an earlier version; their results are made again", listed.item.uri
            )
        return True

    def _recall_features(self, tasks: Sequence[Task]) -> None:
        """Fill in features that are stored or wait for the writer, so that equal contents are encoded once."""
        pairs = [pair for task in tasks for pair in task.feature_keys()]
        wanted = [(work, key) for work, key in pairs if work.stored is None and work.features is None]
        if not wanted:
            return
        found: dict[FeatureKey, NDArray[np.float16]] = {}
        if self._kept is not None:
            store, run = self._kept
            found = store.features(run, [key for _, key in wanted])
        for work, key in wanted:
            for known in (*self._uncommitted, found):
                if key in known:
                    work.features = known[key]

    def _read(self, task: Task) -> None:
        """On a decoding thread: bytes, hash, camera metadata, crops. A failure is the item's own."""
        from bioclip_plugin.items.metadata import with_metadata

        preprocessing = self._engine.model.preprocessing
        boxes = [work.decoded_box for work in task.classified]
        try:
            image = right_pixels(task.item.image) if task.item.image is not None else self._opened(task.item)
            if image is not None:
                content = image.tobytes()
                sha256 = hashlib.sha256(f"{image.mode}{image.size}".encode() + content).hexdigest()
                task.content_sha256 = content_key(sha256, is_read_by_us(task.item))
                if task.item.image is None and (block := _exif_block(image)):
                    task.item = self._with_camera(with_metadata(task.item, block), task.item)
                crops = prepare(image, boxes, preprocessing)
            else:
                content = bytes_of(task.item)
                sha256 = hashlib.sha256(content).hexdigest()
                task.content_sha256 = content_key(sha256, is_read_by_us(task.item, content))
                task.item = self._with_camera(with_metadata(task.item, content), task.item)
                # An image without a region to name is read for its camera metadata, and not decoded.
                crops = decode_regions(content, boxes, preprocessing, frame=task.item.frame) if boxes else []
        except (ImageError, UsageError) as error:
            task.failure = Failure(getattr(error, "stage", "decode"), str(error))
            return
        task.content_size = len(content)
        for work, crop in zip(task.classified, crops, strict=True):
            work.crop = crop

    def _with_camera(self, item: MediaItem, listed: MediaItem) -> MediaItem:
        """Return an item with its camera's time in the zone of the run, and count a time that cannot be right."""
        if listed.captured_at is None and item.captured_at is not None:
            self._strange.check(item.captured_at, "camera", lambda: item.uri)
        return self._zoned(item) if listed.captured_at is None else item

    def _zoned(self, item: MediaItem) -> MediaItem:
        """Return the item with a time without an offset put into the zone of the run."""
        if self._time_zone is None or item.captured_at is None:
            return item
        moment = in_zone(item.captured_at, self._time_zone)
        if self._findings is not None and self._checks_clocks and (doubt := clock_doubt(moment)):
            self._findings.add(doubt, f"{item.uri}: {moment.replace(tzinfo=None).isoformat()}")
        return replace(item, captured_at=moment)

    def _opened(self, item: MediaItem) -> Image.Image | None:
        """Return the image of an item that a plugin opens: a frame of a video, a RAW file."""
        if item.data is not None or not self._engine.opens(path_of_item(item).suffix.lower()):
            return None
        try:
            image: Image.Image | None = self._engine.plugins.hook.open_media(item=item)
        except (ImageError, UsageError):
            raise
        except Exception as error:  # an error of a plugin is a failure of this file, not the end of the run
            raise ImageError(f"a plugin could not open it: {type(error).__name__}: {error}", stage="decode") from error
        return image

    # Model and labels

    def _batches(self, tasks: Iterable[Task]) -> Iterator[list[Task]]:
        """Yield consecutive tasks, enough for one batch of the model or for one transaction."""
        batch: list[Task] = []
        to_encode = 0
        for task in tasks:
            batch.append(task)
            to_encode += sum(work.crop is not None for work in task.regions)
            if (to_encode and to_encode >= self._engine.batch_size) or len(batch) >= _ITEMS_PER_BATCH:
                yield batch
                batch, to_encode = [], 0
        if batch:
            yield batch

    def _encode(self, batch: Sequence[Task]) -> None:
        """Compute the features that are missing; equal contents of a batch are encoded once."""
        fresh = [task for task in batch if task.reading is not None and task.failure is None]
        self._recall_features(fresh)
        keyed = [pair for task in fresh for pair in task.feature_keys()]
        first: dict[FeatureKey, RegionWork] = {}
        for work, key in keyed:
            if work.features is None:
                first.setdefault(key, work)
        works = list(first.values())
        if works and self._classify:
            _ = self._engine.classifier  # labels that cannot be used are reported before the model has worked for them
        size = self._engine.batch_size if works else 1
        for start in range(0, len(works), size):
            part = works[start : start + size]
            rows = self._engine.encoder.encode_images(np.stack([work.crop for work in part if work.crop is not None]))
            for work, row in zip(part, rows, strict=True):
                work.features, work.is_new = row, True
        for work, key in keyed:
            work.features = first[key].features if work.features is None else work.features
            work.crop = None
        self._uncommitted.append({key: work.features for key, work in first.items() if work.features is not None})

    def _answer(self, batch: Sequence[Task]) -> None:
        """Classify every region that has features and no stored answer, then make the answers."""
        if not self._classify:
            return
        unanswered = [(task, work) for task in batch for work in task.regions
                         if work.stored is None and work.features is not None and task.failure is None]  # fmt: skip
        if unanswered:
            features_BD = np.stack([work.features for _, work in unanswered if work.features is not None])
            found = self._engine.classify(features_BD, [place_of(task.item) for task, _ in unanswered])
            for (_, work), classification in zip(unanswered, found, strict=True):
                work.classification = classification
        for task in batch:
            if task.original is None and (self._repeat_done or not task.is_done):
                task.answer = answer_of(task, self._engine)

    # Storing

    def _commit(self, batch: Sequence[Task]) -> None:
        """On the writer's thread: one transaction for the batch, then the observers."""
        if self._kept is None:
            return
        store, run = self._kept
        written = [task for task in batch if task.listed and not task.is_done and task.original is None]
        store.commit(run, [record_of(task, self._engine) for task in written])
        for task in written:
            if task.listed:
                self._in_flight.pop(task.listed.media_id, None)
        if self._on_stored and written:
            self._on_stored(run, [task.answer for task in written if task.answer])


def _exif_block(image: Image.Image) -> bytes:
    """Return the camera's bare EXIF block, which is read like a file, if the image still has it."""
    block = image.info.get("exif")
    return block.removeprefix(b"Exif\x00\x00") if isinstance(block, bytes) else b""


def _read_through(task: Task) -> Task:
    if task.reading is not None:
        task.reading.result()
    return task


def _committed(commit: Future[None], batch: list[Task]) -> list[Task]:
    commit.result()
    return batch
