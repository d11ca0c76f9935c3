"""One item on its way through the pipeline: what is known of it, what it still needs, and its record in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Classification
from bioclip_core.process.threads import GivenUp, Job
from bioclip_plugin.contracts.containing import owner_at_work
from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Region, Unlisted
from bioclip_plugin.items.web import is_remote
from bioclip_plugin.running.detecting import DetectorSettings, is_detected
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.reading import Reading, decoded_box
from bioclip_plugin.store.records import Box, FeatureKey, FoundBox, ItemRecord, Listed, RegionRecord, Stat, StoredRegion


@dataclass(eq=False)
class RegionWork:
    """One region on its way: it needs what is still None."""

    region: Region | None
    crop: NDArray[np.uint8] | None = None
    features: NDArray[np.float16] | None = None
    is_new: bool = False
    """True if the features are not stored yet."""
    leader: RegionWork | None = None
    """The region that is encoded for this one and all others with the same pixels; None once its outcome is taken."""
    fault: str = ""
    """Reason why the encoder's features cannot be used."""
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
        return decoded_box(self.region)


@dataclass(eq=False)
class Task:
    """One item on its way."""

    item: MediaItem
    listed: Listed | None = None
    stat: Stat | None = None
    regions: list[RegionWork] = field(default_factory=list)
    detection: DetectorSettings | None = None
    """The detector that is to find the regions; None for an item with boxes of its own, and without a detector."""
    found: tuple[FoundBox, ...] | None = None
    """The boxes of the detector; None while they are unknown."""
    reading: Job[Reading] | None = None
    """The work of a decoding thread, until its outcome is taken."""
    is_waiting: bool = False
    """True from the beginning of its reading until the encoder has it."""
    encoding: Job[None] | None = None
    """The work of the encoder after which every region has its features, until its outcome is taken."""
    was_read: bool = False
    """True if the item was read in this call, and not recalled from the store."""
    content_sha256: str | None = None
    content_size: int | None = None
    failure: Failure | None = None
    was_given_up: bool = False
    """True if its decoding did not end."""
    answer: Answer | None = None
    original: Task | None = None
    """The same item listed before and still on its way: this task gets its answer."""

    @property
    def is_done(self) -> bool:
        return self.listed is not None and self.listed.done

    @property
    def is_ready(self) -> bool:
        """True if every region that can have features has them."""
        return not self.is_waiting and (self.encoding is None or self.encoding.done())

    @property
    def is_encoded(self) -> bool:
        """True if it is ready, and neither an error nor its end kept the encoder from the item."""
        return not self.is_waiting and (self.encoding is None or self.encoding.succeeded())

    @property
    def classified(self) -> list[RegionWork]:
        """The regions that the model is to name."""
        return [work for work in self.regions if work.is_classified]

    @property
    def is_to_read(self) -> bool:
        """True if its image is needed: it is neither done nor failed nor known, and not on its way already."""
        return not self.is_done and self.failure is None and self.original is None and not self.is_known

    @property
    def is_known(self) -> bool:
        """True if the store has answers or features for every region, so that neither image nor model is needed.

        An image without a region to name is known once it was read for its camera metadata; one on the web is not fetched for
        them.
        """
        if self.is_undetected:
            return False
        if not self.classified:
            return self.content_sha256 is not None or is_remote(self.item)
        return all(work.stored is not None or work.features is not None for work in self.classified)

    @property
    def is_undetected(self) -> bool:
        """True if the detector has still to find the regions."""
        return self.detection is not None and self.found is None

    def take_boxes(self, found: Sequence[FoundBox]) -> None:
        """Make the boxes of the detector the regions of the item."""
        assert self.detection is not None
        self.found = tuple(found)
        self.item = self.detection.with_boxes(self.item, found)
        self.regions = [RegionWork(region) for region in self.item.regions]

    def read_through(self, limit_s: float) -> Task:
        """Wait for the reading and take its outcome; a decoder that does not end is a failure of the item."""
        if self.reading is None:
            return self
        reading, self.reading, self.was_read = self.reading, None, True
        try:
            read = reading.result(limit_s)
        except GivenUp:
            self.was_given_up = True
            owner = owner_at_work(self.item.uri, self.item.frame)
            what = f"{owner}: open_media" if owner else "its decoding"
            self.failure = Failure(
                "decode",
                f"{what} did not end within {limit_s:g} s and was given up; convert the file, or give it more time "
                "(item_timeout)",
            )
            return self
        self.failure, self.item = read.failure, read.item
        self.content_sha256 = read.content_sha256 or self.content_sha256
        if read.failure is None:
            self.content_size = read.content_size
            if read.found is not None:
                self.take_boxes(read.found)
            for work, crop in zip(self.classified, read.crops, strict=True):
                work.crop = crop
        return self

    def feature_keys(self) -> list[tuple[RegionWork, FeatureKey]]:
        """Return the classified regions with the keys of their features; nothing while the content is unknown."""
        sha256 = self.content_sha256
        return [(work, (sha256, self.item.frame, work.box)) for work in self.classified] if sha256 else []


def new_task(
    item: MediaItem | Unlisted, listed: Listed | None, stat: Stat | None, detection: DetectorSettings | None = None
) -> Task:
    """Return the task of a listed item (None: without a store), with one piece of work per region.

    The regions of an item without boxes of its own are unknown if there is a detector.
    """
    if isinstance(item, Unlisted):
        return Task(item.item, failure=Failure("list", item.reason))
    works = [RegionWork(region) for region in item.regions]
    if detection is not None and not is_detected(item):
        task = Task(item, listed, stat, detection=detection)
    else:
        task = Task(item, listed, stat, works if works or item.detected else [RegionWork(None)])
    if listed is not None:
        task.content_sha256, task.failure = listed.content_sha256, listed.failure
    return task


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
            # Features that an equal file has stored are given again, since its run may be deleted before this commit.
            work.features if work.is_new or task.was_read else None,
            work.classification.by_rank if work.classification else None,
            work.classification.flags if work.classification else (),
            answer.consensus,
        )
        for work, answer in zip(task.regions, (task.answer or answer_of(task, engine)).regions, strict=True)
    ]
    stat = task.stat if task.was_read else None
    return ItemRecord(
        task.listed,
        task.item,
        stat,
        task.content_sha256,
        task.content_size,
        tuple(regions),
        # Given again if an equal file has them stored, as features are.
        found=task.found if task.was_read else None,
        by_detector=task.detection is not None,
    )
