"""Work on the sample of a run, in a store that is thrown away, and measure its stages."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from bioclip_core.errors import BioclipError, SourceError
from bioclip_core.process.machine import usable_cores
from bioclip_core.process.threads import Workers
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.web import is_remote
from bioclip_plugin.probing.estimate import DECODE, FETCH, READ, Measured, steady_s
from bioclip_plugin.running.clock import CLASSIFY, DETECT, ENCODE, STORE, StageClock
from bioclip_plugin.running.fetched import FetchStage, need_of
from bioclip_plugin.running.pipeline import Pipeline
from bioclip_plugin.running.reading import Reader, bytes_of, decoded_box, path_of_item
from bioclip_plugin.running.tasks import new_task

if TYPE_CHECKING:
    from bioclip_plugin.running.session import Session
    from bioclip_plugin.store import Store
    from bioclip_plugin.store.records import ItemRecord, Run

_WARM_SHARE = 10  # one image of so many is worked on before the time runs
_DECODED_ALONE = 32
_STORED_IMAGES = 1_000  # so many rows that the first taxa and the pages of an empty store do not count
_STORED_AT_ONCE = 100


class _KeepingStore:
    """A store that remembers the records that are committed to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.records: list[ItemRecord] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, run: Run, records: Sequence[ItemRecord]) -> None:
        self._store.commit(run, records)
        self.records.extend(records)


class Probe:
    """One probe. Its Session has a store of its own."""

    def __init__(self, session: Session, begin: Callable[[], Run], report: Callable[[str, int], None]) -> None:
        """Set up.

        Args:
            session: opened over a new store, which is thrown away afterwards.
            begin: begins the run in it.
            report: called with the name of a step and the images done in it.
        """
        assert session.store is not None
        self._session, self._store, self._begin, self._report = session, session.store, begin, report
        self._sizes: dict[str, int] = {}
        self._files: list[MediaItem] = []

    def measure(self, items: Sequence[MediaItem]) -> Measured:
        """Work on the images, and return what it took.

        Raises:
            SourceError: if none of them can be used.
        """
        # A single image is not worked on twice: the second time its features are known.
        warm = items[: max(1, len(items) // _WARM_SHARE)] if len(items) > 1 else ()
        timed = items[len(warm) :]
        self._report("Opening model and labels", 0)
        for _ in self._session.with_int8_model(
            items
        ):  # one that is asked for and missing is made, and is kept for the run
            pass
        began_at = time.perf_counter()
        self.run = self._opened()
        opening_s = time.perf_counter() - began_at
        fetch_s, fetched = self._fetch(items)
        self._files = [item for item in fetched[len(warm) :] if self._has_file(item)]
        failures, warmed = list[str](), 0
        for answer in self._answers(self._session.pipeline(self.run), warm, "Warming up"):
            warmed += answer.failure is None
            failures += _failure_of(answer)
        self._report("Reading the sample", 0)
        read_s = self._alone(READ, self._read, self._files)
        engine, keeping = self._session.engine, _KeepingStore(self._store)
        commits = list[tuple[float, int]]()
        pipeline = Pipeline(
            engine, cast("Store", keeping), self.run, fetching=self._session.fetching,
            on_stored=lambda _, stored: commits.append((time.perf_counter(), len(stored))),
        )  # fmt: skip
        began_at, processor_s = time.perf_counter(), time.process_time()
        answers = list(self._answers(pipeline, timed, "Probing"))
        seconds, processor_s = time.perf_counter() - began_at, time.process_time() - processor_s
        done = [answer for answer in answers if answer.failure is None]
        failures += chain.from_iterable(map(_failure_of, answers))
        if not done:
            raise SourceError(_why_no_plan(len(items), warmed, failures[0]))
        count = len(answers)
        stage_s = {FETCH: fetch_s / len(items), READ: read_s / count, DECODE: self._decode(done)}
        busy_s = pipeline.profile().busy_s
        stage_s |= {stage: busy_s[stage] / count for stage in (DETECT, ENCODE, CLASSIFY) if stage in busy_s}
        regions = [sum(bool(region.candidates) for region in answer.regions) for answer in answers]
        stage_s[STORE], stored_bytes = self._store_more(keeping.records)
        return Measured(
            images=count,
            warmed=len(warm),
            steady_s=steady_s(commits, seconds, processor_s / (usable_cores() or 1)),
            regions=sum(regions),
            failed=len(failures),
            first_failure=next(iter(failures), ""),
            bytes=sum(self._sizes.values()),
            stage_s={stage: spent for stage, spent in stage_s.items() if spent > 0},
            work=self._work_of(answers, regions, stage_s),
            opening_s=opening_s,
            stored_bytes=stored_bytes,
            feature_bytes=2 * engine.dimension,
        )

    def _opened(self) -> Run:
        """Open model and labels and begin the run."""
        run, engine = self._begin(), self._session.engine
        _ = engine.compute, engine.encoder, engine.classifier
        return run

    def _answers(self, pipeline: Pipeline, items: Sequence[MediaItem], step: str) -> Iterator[Answer]:
        self._report(step, 0)
        with closing(cast("Generator[Answer]", pipeline.answers(items))) as answers:
            for done, answer in enumerate(answers, start=1):
                self._report(step, done)
                yield answer

    def _fetch(self, items: Sequence[MediaItem]) -> tuple[float, list[MediaItem]]:
        """Fetch the images on the web while nothing else works; return the wall time, and the items with their files."""
        if not self._session.fetching.has_folder or not any(map(is_remote, items)):
            return 0.0, list(items)
        self._report("Fetching", 0)
        request = self._session.request
        need = None if request.exact or request.detector else need_of(self._session.engine.model.preprocessing.size)
        stage = FetchStage(self._session.fetching, need, lambda: None, None, None)
        fetched, began_at = list[MediaItem](), time.perf_counter()
        try:
            for task in stage.ahead(new_task(item, None, None, None) for item in items):
                fetched.append(task.item)
                self._report("Fetching", len(fetched))
        finally:
            stage.close()
        return time.perf_counter() - began_at, fetched

    def _has_file(self, item: MediaItem) -> bool:
        """True for an item with bytes of its own in a file: not for an image in memory, on the web, or in a video."""
        if item.is_in_memory or is_remote(item):
            return False
        return not self._session.engine.opens(path_of_item(item).suffix.lower())

    def _read(self, item: MediaItem) -> None:
        self._sizes[_key(item)] = len(bytes_of(item))

    def _decode(self, done: Sequence[Answer]) -> float:
        """Decode some images while nothing else works, and return the time per image; 0 without files."""
        reader, usable = Reader(self._session.engine, None, None), {_key(answer.item) for answer in done}
        files = [item for item in self._files if _key(item) in usable][:_DECODED_ALONE]

        def decode(item: MediaItem) -> None:
            regions = item.regions if item.regions or item.detected else (None,)
            reader.read(item, [decoded_box(region) for region in regions if region is None or region.classified])

        return self._alone(DECODE, decode, files) / len(files) if files else 0.0

    def _alone(self, stage: str, work: Callable[[MediaItem], None], items: Sequence[MediaItem]) -> float:
        """Return the time that a stage takes with all its threads while no other works."""
        count, limit_s = self._session.engine.workers, self._session.request.item_timeout
        clock, workers = StageClock(), Workers(count, "bioclip-probe")
        try:
            for job in [workers.submit(clock.timed(stage, work, item)) for item in items]:
                with suppress(BioclipError, OSError):  # the pipeline says what is wrong with the image
                    job.result(limit_s)
        finally:
            workers.close(wait_s=0)
        return clock.profile().busy_s.get(stage, 0.0) / min(count, len(items) or 1)

    def _work_of(self, answers: Sequence[Answer], regions: Sequence[int], stage_s: dict[str, float]) -> list[float]:
        """Return the work of each image: its bytes to read and decode, its regions to encode and classify."""
        mean_bytes = sum(self._sizes.values()) / len(answers) or 1.0
        mean_regions = sum(regions) / len(answers) or 1.0
        by_bytes = stage_s.get(FETCH, 0.0) + stage_s.get(READ, 0.0) + stage_s.get(DECODE, 0.0)
        by_regions = stage_s.get(ENCODE, 0.0) + stage_s.get(CLASSIFY, 0.0)
        return [
            by_bytes * self._sizes.get(_key(answer.item), 0) / mean_bytes
            + by_regions * count / mean_regions
            + stage_s.get(DETECT, 0.0)
            for answer, count in zip(answers, regions, strict=True)
        ]

    def _store_more(self, records: Sequence[ItemRecord]) -> tuple[float, float]:
        """Store the sample's results again as those of many other images; return seconds and bytes per image."""
        self._report("Storing", 0)
        before, stored, spent = self._store_size(), 0, 0.0
        while records and stored < _STORED_IMAGES:
            part = [records[(stored + number) % len(records)] for number in range(_STORED_AT_ONCE)]
            items = [replace(record.item, uri=f"{record.item.uri}~{stored + n}") for n, record in enumerate(part)]
            began_at = time.perf_counter()
            listed = self._store.list_items(self.run, items, [record.stat for record in part])
            others = [
                replace(record, listed=one, item=item, content_sha256=_other(record.content_sha256, item.uri))
                for record, one, item in zip(part, listed, items, strict=True)
            ]
            self._store.commit(self.run, others)
            spent += time.perf_counter() - began_at
            stored += len(part)
        return (spent / stored, (self._store_size() - before) / stored) if stored else (0.0, 0.0)

    def _store_size(self) -> int:
        """Return the bytes of the pages in use, those in the write-ahead log included."""
        with closing(sqlite3.connect(str(self._session.request.store))) as connection:
            count, free, size = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
            return int((count - free) * size)


def _failure_of(answer: Answer) -> list[str]:
    return [] if answer.failure is None else [f"{answer.item.uri}: {answer.failure.reason}"]


def _why_no_plan(images: int, warmed: int, failure: str) -> str:
    """Return why no image was left to measure.

    Args:
        images: images of the sample.
        warmed: of them, those that could be used and were worked on before the time ran.
        failure: the first image that cannot be used, with its reason.
    """
    if not warmed:
        return f"none of the {images} sampled images can be used, so there is no plan: {failure}"
    return (
        f"only {warmed} of the {images} sampled images can be used, too few to measure after warming up with them, so that there is "
        f"no plan; give more images, or a larger --plan-images (the first that cannot be used: {failure})"
    )


def _key(item: MediaItem) -> str:
    return f"{item.uri}#{item.frame}"


def _other(sha256: str | None, name: str) -> str | None:
    """Return the hash of other content, so that features are stored once more."""
    return None if sha256 is None else hashlib.sha256(f"{sha256} {name}".encode()).hexdigest()
