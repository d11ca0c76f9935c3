"""One item on its way through the pipeline: what is known of it, what it still needs, and what is stored of it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Region, Unlisted, path_of
from bioclip_plugin.store.records import FeatureKey, ItemRecord, Listed, RegionRecord, Stat, StoredRegion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.classify import Classification
    from bioclip_plugin.running.engine import Engine


@dataclass(eq=False)
class RegionWork:
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

    @property
    def is_classified(self) -> bool:
        """Whether the model is to name it."""
        return self.region is None or self.region.classified


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
    """The same item listed again while the first is on its way: it gets the first one's answer."""

    @property
    def is_done(self) -> bool:
        return self.listed is not None and self.listed.done

    def feature_keys(self) -> list[tuple[RegionWork, FeatureKey]]:
        """The classified regions with the keys of their features; none for a content that is not known."""
        sha256 = self.content_sha256
        classified = [work for work in self.regions if work.is_classified]
        return [(work, (sha256, self.item.frame, work.box)) for work in classified] if sha256 else []


def new_task(item: MediaItem | Unlisted, listed: Listed | None, stat: Stat | None) -> Task:
    """A task for a listed item (None: without a store), with one piece of work a region."""
    if isinstance(item, Unlisted):
        return Task(item.item, failure=Failure("list", item.reason))
    works = [RegionWork(region) for region in item.regions]
    task = Task(item, listed, stat, works if works or item.detected else [RegionWork(None)])
    if listed is not None:
        task.content_sha256 = listed.content_sha256
        task.failure = listed.failure
    return task


def is_known(task: Task) -> bool:
    """Whether the store has answers or features for every region, so that neither image nor model is needed.

    An image in which nothing is to be named is known once it was read for what the camera says of it.
    """
    classified = [work for work in task.regions if work.is_classified]
    if not classified:
        return task.content_sha256 is not None
    return all(work.stored is not None or work.features is not None for work in classified)


def stat_of(item: MediaItem | Unlisted) -> Stat | None:
    """Size and modification time of the item's file; None where there is none (any more)."""
    if isinstance(item, Unlisted) or item.data is not None or item.image is not None:
        return None
    try:
        stat = path_of_item(item).stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


def path_of_item(item: MediaItem) -> Path:
    """Where the item's bytes are."""
    return item.path if item.path is not None else path_of(item.uri)


def bytes_of(item: MediaItem) -> bytes:
    """The item's bytes: those at hand, its file's, or the part of a file that it is.

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


def decoded_box(region: Region | None) -> tuple[float, float, float, float] | None:
    """The box that the features are keyed by, so that equal keys mean equal pixels."""
    if region is None:
        return None
    x, y, w, h = (value / WHOLE_BOX[2] for value in region.box)
    return x, y, w, h


def answer_of(task: Task, engine: Engine | None = None) -> Answer:
    """What became of the item: its failure, or an answer a region as the engine's request wants it."""
    if task.failure is not None:
        return Answer(task.item, failure=task.failure)
    return Answer(task.item, tuple(_region_answer(work, engine) for work in task.regions if engine))


def _region_answer(work: RegionWork, engine: Engine) -> RegionAnswer:
    if not work.is_classified:
        return RegionAnswer(work.region, (), None)
    if work.stored is not None:
        by_rank, flags = work.stored.by_rank, work.stored.flags
    else:
        assert work.classification is not None
        by_rank, flags = work.classification.by_rank, work.classification.flags
    return RegionAnswer(work.region, tuple(by_rank.get(engine.level, ())), engine.consensus(by_rank), tuple(flags))


def record_of(task: Task, engine: Engine) -> ItemRecord:
    """What the store is to keep of the item: whatever is new."""
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
