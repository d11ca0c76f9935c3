"""One item on its way through the pipeline: what is known of it, what it still needs, and its record in the store."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Classification
from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Region, Unlisted, path_of
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.store.records import Box, FeatureKey, ItemRecord, Listed, RegionRecord, Stat, StoredRegion


@dataclass(eq=False)
class RegionWork:
    """One region on its way: it needs what is still None."""

    region: Region | None
    crop: NDArray[np.uint8] | None = None
    features: NDArray[np.float16] | None = None
    is_new: bool = False
    """True if the features are not stored yet."""
    classification: Classification | None = None
    stored: StoredRegion | None = None

    @property
    def box(self) -> Box:
        return self.region.box if self.region else WHOLE_BOX

    @property
    def is_classified(self) -> bool:
        """True if the model is to name it."""
        return self.region is None or self.region.classified

    @property
    def decoded_box(self) -> tuple[float, float, float, float] | None:
        """The box by which the features are keyed, so that equal keys mean equal pixels; None for the whole image."""
        if self.region is None:
            return None
        x, y, w, h = (value / WHOLE_BOX[2] for value in self.box)
        return x, y, w, h


@dataclass(eq=False)
class Task:
    """One item on its way."""

    item: MediaItem
    listed: Listed | None = None
    stat: Stat | None = None
    regions: list[RegionWork] = field(default_factory=list)
    reading: Future[None] | None = None
    content_sha256: str | None = None
    content_size: int | None = None
    failure: Failure | None = None
    answer: Answer | None = None
    original: Task | None = None
    """The same item listed before and still on its way: this task gets its answer."""

    @property
    def is_done(self) -> bool:
        return self.listed is not None and self.listed.done

    @property
    def classified(self) -> list[RegionWork]:
        """The regions that the model is to name."""
        return [work for work in self.regions if work.is_classified]

    @property
    def is_known(self) -> bool:
        """True if the store has answers or features for every region, so that neither image nor model is needed.

        An image without a region to name is known once it was read for its camera metadata.
        """
        if not self.classified:
            return self.content_sha256 is not None
        return all(work.stored is not None or work.features is not None for work in self.classified)

    def feature_keys(self) -> list[tuple[RegionWork, FeatureKey]]:
        """Return the classified regions with the keys of their features; nothing while the content is unknown."""
        sha256 = self.content_sha256
        return [(work, (sha256, self.item.frame, work.box)) for work in self.classified] if sha256 else []


def new_task(item: MediaItem | Unlisted, listed: Listed | None, stat: Stat | None) -> Task:
    """Return the task of a listed item (None: without a store), with one piece of work per region."""
    if isinstance(item, Unlisted):
        return Task(item.item, failure=Failure("list", item.reason))
    works = [RegionWork(region) for region in item.regions]
    task = Task(item, listed, stat, works if works or item.detected else [RegionWork(None)])
    if listed is not None:
        task.content_sha256, task.failure = listed.content_sha256, listed.failure
    return task


def stat_of(item: MediaItem | Unlisted) -> Stat | None:
    """Return size and modification time of the item's file; None without one."""
    if isinstance(item, Unlisted) or item.data is not None or item.image is not None:
        return None
    try:
        stat = path_of_item(item).stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


def path_of_item(item: MediaItem) -> Path:
    """Return the file that holds the item's bytes."""
    return item.path if item.path is not None else path_of(item.uri)


def is_read_by_us(item: MediaItem, content: bytes | None = None) -> bool:
    """True if the item's pixels come from a reader of our own, since Pillow would misread them.

    Args:
        item: an item with a file or bytes.
        content: its bytes, if they were read.
    """
    from bioclip_core.images import readers

    if content is not None:
        return readers.is_read_by_us(content, item.frame)
    if item.image is not None or path_of_item(item).suffix.lower() not in readers.SUFFIXES:
        return False
    if item.data is not None:
        return readers.is_read_by_us(item.data, item.frame)
    return readers.is_file_read_by_us(path_of_item(item), item.frame)


def was_misread(item: MediaItem, content_sha256: str | None) -> bool:
    """True if the stored content of an item comes from a version that left the item's kind of file to Pillow."""
    from bioclip_core.images.readers import is_marked

    if content_sha256 is None or is_marked(content_sha256) or item.span is not None:
        return False
    return is_read_by_us(item)


def bytes_of(item: MediaItem) -> bytes:
    """Return the item's bytes: its ``data``, its file, or its part of a file.

    Raises:
        ImageError: if they cannot be read.
    """
    from bioclip_core.images.decoding import read_bytes

    if item.data is not None:
        return item.data
    path = path_of_item(item)
    if item.path is None and "#" in item.uri and not path.exists():  # from a store, which keeps uris
        from bioclip_plugin.formats.webdataset.read import member

        found = member(item.uri)
        if found is not None and found.path is not None:
            return read_bytes(found.path, found.span)
    return read_bytes(path, item.span)


def answer_of(task: Task, engine: Engine | None = None) -> Answer:
    """Return the item's failure, or one answer per region as the engine's request wants it."""
    if task.failure is not None or engine is None:
        return Answer(task.item, failure=task.failure)
    return Answer(task.item, tuple(_region_answer(work, engine) for work in task.regions))


def _region_answer(work: RegionWork, engine: Engine) -> RegionAnswer:
    if not work.is_classified:
        return RegionAnswer(work.region, (), None)
    result = work.stored or work.classification
    assert result is not None
    candidates = tuple(result.by_rank.get(engine.level, ()))
    return RegionAnswer(work.region, candidates, engine.consensus(result.by_rank), tuple(result.flags))


def record_of(task: Task, engine: Engine) -> ItemRecord:
    """Return everything new about the item, for the store."""
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
        for work, answer in zip(task.regions, (task.answer or answer_of(task, engine)).regions, strict=True)
    ]
    read = task.reading is not None
    return ItemRecord(
        task.listed, task.item, task.stat if read else None, task.content_sha256, task.content_size, tuple(regions)
    )
