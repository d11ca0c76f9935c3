"""Work on the sample of a run, in a store that is thrown away, and measure its stages."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from bioclip_core.errors import BioclipError, SourceError
from bioclip_core.process.threads import Workers
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.web import is_remote
from bioclip_plugin.probing.estimate import DECODE, READ, Measured
from bioclip_plugin.running.clock import CLASSIFY, DETECT, ENCODE, STORE
from bioclip_plugin.running.pipeline import Pipeline
from bioclip_plugin.running.reading import Reader, bytes_of, decoded_box, path_of_item

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

    def measure(self, items: Sequence[MediaItem]) -> Measured:
        """Work on the images, and return what it took.

        Raises:
            SourceError: if none of them can be used.
        """
        # A single image is not worked on twice: the second time its features are known.
        warm = items[: max(1, len(items) // _WARM_SHARE)] if len(items) > 1 else ()
        timed = items[len(warm) :]
        self._report("Opening model and labels", 0)
        began_at = time.perf_counter()
        self.run = self._opened(items)
        opening_s = time.perf_counter() - began_at
        for _ in self._answers(self._session.pipeline(self.run), warm, "Warming up"):
            pass
        self._report("Reading the sample", 0)
        read_s = self._read(timed)
        engine, keeping = self._session.engine, _KeepingStore(self._store)
        pipeline = Pipeline(engine, cast("Store", keeping), self.run, fetching=self._session.fetching)
        began_at = time.perf_counter()
        answers = list(self._answers(pipeline, timed, "Probing"))
        seconds = time.perf_counter() - began_at
        done = [answer for answer in answers if answer.failure is None]
        failures = [f"{answer.item.uri}: {answer.failure.reason}" for answer in answers if answer.failure is not None]
        if not done:
            raise SourceError(
                f"none of the {len(timed)} sampled images can be used, so that there is no plan: {failures[0]}"
            )
        count = len(answers)
        stage_s = {READ: read_s / count, DECODE: self._decode([answer.item for answer in done])}
        busy_s = pipeline.profile().busy_s
        stage_s |= {stage: busy_s[stage] / count for stage in (DETECT, ENCODE, CLASSIFY) if stage in busy_s}
        regions = [sum(bool(region.candidates) for region in answer.regions) for answer in answers]
        stage_s[STORE], stored_bytes = self._store_more(keeping.records)
        return Measured(
            images=count,
            seconds=seconds,
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

    def _opened(self, items: Sequence[MediaItem]) -> Run:
        """Open model and labels and begin the run; an int8 model that is asked for and missing is made, as the run would."""
        for _ in self._session.with_int8_model(items):
            pass
        run, engine = self._begin(), self._session.engine
        _ = engine.compute, engine.encoder, engine.classifier
        return run

    def _answers(self, pipeline: Pipeline, items: Sequence[MediaItem], step: str) -> Iterator[Answer]:
        self._report(step, 0)
        with closing(cast("Generator[Answer]", pipeline.answers(items))) as answers:
            for done, answer in enumerate(answers, start=1):
                self._report(step, done)
                yield answer

    def _files(self, items: Sequence[MediaItem]) -> list[MediaItem]:
        """Return the items with bytes of their own in a file: not images in memory, on the web, or in a video."""
        opens = self._session.engine.opens
        return [
            item
            for item in items
            if not item.is_in_memory and not is_remote(item) and not opens(path_of_item(item).suffix.lower())
        ]

    def _read(self, items: Sequence[MediaItem]) -> float:
        """Read the files, which the system then has in memory, and return the wall time."""

        def read(item: MediaItem) -> None:
            self._sizes[f"{item.uri}#{item.frame}"] = len(bytes_of(item))

        return self._in_threads(read, self._files(items))

    def _decode(self, items: Sequence[MediaItem]) -> float:
        """Decode some images while nothing else works, and return the wall time per image; 0 without files."""
        reader, files = Reader(self._session.engine, None, None), self._files(items)[:_DECODED_ALONE]

        def decode(item: MediaItem) -> None:
            regions = item.regions if item.regions or item.detected else (None,)
            reader.read(item, [decoded_box(region) for region in regions if region is None or region.classified])

        return self._in_threads(decode, files) / len(files) if files else 0.0

    def _in_threads(self, work: Callable[[MediaItem], None], items: Sequence[MediaItem]) -> float:
        limit_s = self._session.request.item_timeout
        workers = Workers(self._session.engine.workers, "bioclip-probe")
        began_at = time.perf_counter()
        try:
            for job in [workers.submit(work, item) for item in items]:
                with suppress(BioclipError, OSError):  # the pipeline says what is wrong with the image
                    job.result(limit_s)
        finally:
            workers.close(wait_s=0)
        return time.perf_counter() - began_at

    def _work_of(self, answers: Sequence[Answer], regions: Sequence[int], stage_s: dict[str, float]) -> list[float]:
        """Return the work of each image: its bytes to read and decode, its regions to encode and classify."""
        mean_bytes = sum(self._sizes.values()) / len(answers) or 1.0
        mean_regions = sum(regions) / len(answers) or 1.0
        by_bytes = stage_s.get(READ, 0.0) + stage_s.get(DECODE, 0.0)
        by_regions = stage_s.get(ENCODE, 0.0) + stage_s.get(CLASSIFY, 0.0)
        return [
            by_bytes * self._sizes.get(f"{answer.item.uri}#{answer.item.frame}", 0) / mean_bytes
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


def _other(sha256: str | None, name: str) -> str | None:
    """Return the hash of other content, so that features are stored once more."""
    return None if sha256 is None else hashlib.sha256(f"{sha256} {name}".encode()).hexdigest()
