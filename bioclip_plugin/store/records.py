"""Frozen dataclasses that go into the result store and come out of it; importing them imports no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.items.request import DETECTION
from bioclip_plugin.items.verdicts import ReviewVerdict, Verdict
from bioclip_plugin.store.database.values import digest
from bioclip_plugin.store.statuses import RunStatus

ItemStatus = Literal["todo", "done", "failed"]
TargetKind = Literal["media", "region", "event"]

ITEM_STATUSES: tuple[ItemStatus, ...] = get_args(ItemStatus)
TODO, DONE, FAILED = range(len(ITEM_STATUSES))
"""The statuses of items as the database holds them."""
ENCODED_WITH = "encoded_with"
"""Key in a provenance: runtime, device and precision with which features of the run were computed last; none if it computed none."""
TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)

Box = tuple[int, int, int, int]
"""x, y, width, height in 1/10,000 of the upright image."""
FeatureKey = tuple[str, int, Box]
"""sha256 of the file, frame, box."""
Content = tuple[str, int]
"""sha256 of the file, frame."""
FoundBox = tuple[float, float, float, float, str, float]
"""A box of the run's detector: x, y, width, height as fractions of the upright image, category, confidence."""
Stat = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""
MediaName = tuple[str, int]
"""uri and frame."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The plan of a run: its sources, and three nested identities with the settings that they are made of."""

    sources: tuple[str, ...]
    """The addresses as given; an earlier run with the same ones and the same ``rule_id`` is resumed."""
    settings: Mapping[str, Any]
    """The options as given; plain JSON values."""
    feature_id: str
    feature_settings: Mapping[str, Any]
    """Contains ``weights_sha256``."""
    dimension: int
    """Numbers in a feature vector."""
    answer_id: str
    answer_settings: Mapping[str, Any]
    rule_id: str
    rule_settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    """Versions, plugins, host, device; not part of the identities. Without secrets."""
    keeps_listing: bool = False
    """True to keep the failures of an earlier listing in a resumed run; otherwise they are forgotten, since it lists again."""

    @property
    def key(self) -> str:
        """sha256 of the sources and ``rule_id``, by which a store finds the run again."""
        return digest(list(self.sources), self.rule_id)


@dataclass(frozen=True, slots=True)
class Run:
    """One stored run. ``feature_set``, ``answer_set`` and ``decision_set`` are the numbers of its three layers."""

    id: int
    key: str
    """sha256 of the sources and ``rule_id``."""
    sources: tuple[str, ...]
    created_at: datetime
    """UTC."""
    begun_at: datetime
    """UTC; the last time that it was begun or resumed."""
    ended_at: datetime | None
    """UTC; None while it runs, and after it was killed."""
    status: RunStatus
    resumed: bool
    """True if ``begin_run`` found it in the store."""
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    """Provenance of the last time that it was begun."""
    earlier_provenance: tuple[Mapping[str, Any], ...]
    """Provenances of earlier times, oldest first, as far as they differ."""
    feature_set: int
    answer_set: int
    decision_set: int
    feature_id: str
    answer_id: str
    rule_id: str
    feature_settings: Mapping[str, Any]
    answer_settings: Mapping[str, Any]
    rule_settings: Mapping[str, Any]
    dimension: int
    counts: Mapping[str, Any]
    """The counts given to ``end_run``."""

    @property
    def detector(self) -> tuple[str, str] | None:
        """Name and version of the detector in front of the model; None for a run without one."""
        detection = self.rule_settings.get(DETECTION)
        found = detection.get("detector") if isinstance(detection, Mapping) else None
        return (str(found.get("name", "")), str(found.get("version", ""))) if isinstance(found, Mapping) else None


@dataclass(frozen=True, slots=True)
class Listed:
    """One item of a run's listing, with the stored knowledge about it."""

    item: MediaItem
    """As listed; capture time, place, deployment, sequence and metadata are filled in from an earlier reading."""
    media_id: int
    position: int
    """Position in the order of the first listing, from 1."""
    done: bool
    """True if it is answered in this run, with the same file and the same stated regions."""
    content_sha256: str | None
    """Hash of the file as it is now, if it is known without opening the file."""
    failure: Failure | None = None
    """Reason why it could not be listed: it is stored as failed and need not be read."""


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """The results of one region (None: the whole image), to be stored."""

    region: Region | None
    features: NDArray[np.float16] | None
    """D numbers; None if they are stored already."""
    by_rank: Mapping[str, tuple[Candidate, ...]] | None
    """Candidates by requested rank, most probable first; None if the answers are stored already."""
    flags: tuple[str, ...] = ()
    consensus: Candidate | None = None


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """The results of one item, to be stored: its regions (an empty tuple is an answer too), or its failure."""

    listed: Listed
    item: MediaItem
    """Completed by the camera's metadata."""
    stat: Stat | None = None
    """Of the file that was read; None if none was opened."""
    content_sha256: str | None = None
    content_size: int | None = None
    regions: tuple[RegionRecord, ...] = ()
    failure: Failure | None = None
    found: tuple[FoundBox, ...] | None = None
    """All boxes of the run's detector, to be stored by content; None if it was not asked, or if they are stored already."""
    by_detector: bool = False
    """True if the regions are those of the run's detector."""


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """The decision of a run's rules on a region; the model's answer is stored unchanged beside it."""

    verdict: Verdict
    candidate: Candidate | None
    """The taxon that was decided on, with its probability; None without a taxon."""
    event: str | None = None
    """Name of the event whose images were answered together."""
    trail: tuple[Mapping[str, Any], ...] = ()
    """The steps of the rules, in order: plain JSON with ``rule`` and ``did`` in each."""


@dataclass(frozen=True, slots=True)
class StoredRegion:
    """One region of an item, its stored candidates and the decision of the run's rules."""

    region: Region | None
    region_id: int
    by_rank: Mapping[str, tuple[Candidate, ...]]
    flags: tuple[str, ...]
    decision: StoredDecision | None
    """None for a region that is not classified, and for one without a decision yet."""

    @property
    def classified(self) -> bool:
        """False for a region that is stored but not answered: a person, a vehicle, a box below the threshold."""
        return self.region is None or self.region.classified

    @property
    def decided(self) -> bool:
        """True if the run has a decision for it, which may be one without a taxon."""
        return self.decision is not None

    @property
    def consensus(self) -> Candidate | None:
        """The taxon that was decided on."""
        return self.decision.candidate if self.decision else None


class StoredItem(NamedTuple):
    """One item of a run's listing with its stored results."""

    item: MediaItem
    status: ItemStatus
    failure: Failure | None
    regions: list[StoredRegion]


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """One failed item, with the number of attempts."""

    item: MediaItem
    failure: Failure
    failed_at: datetime
    """UTC; time of the last attempt."""
    attempts: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of the items of a run's listing by status."""

    listed: int
    done: int
    failed: int
    todo: int
    regions: int
    """Answered regions of the done items."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Comparison of a run's listing with its results and failures. ``problems`` are sentences about every difference."""

    listed: int
    answered: int
    failed: int
    todo: int
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """True if nothing is left to do and nothing is wrong."""
        return not self.problems and self.todo == 0


@dataclass(frozen=True, slots=True)
class Keep:
    """The runs that a pruning keeps: a run that none of these keeps is deleted."""

    newest: int | None = None
    """This many, those begun last."""
    days: float | None = None
    """Those begun in the last days."""
    statuses: tuple[str, ...] = ()
    """Those with another status than these."""
    by_sources: bool = False
    """True counts the newest for each set of sources."""

    def __post_init__(self) -> None:
        if self.newest is None and self.days is None and not self.statuses:
            raise UsageError("this would keep no run: say which to keep, or delete runs by their numbers")


@dataclass(frozen=True, slots=True)
class Removal:
    """Removed runs and rows, or those that would be removed."""

    runs: tuple[int, ...]
    rows: Mapping[str, int]
    """Rows by table, without those of other runs."""
    bytes: int
    """About how many bytes the rows take. The file or the tables become smaller by ``compact``."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """The outcome of a compaction, or what it would be."""

    finished: tuple[int, ...]
    """Runs whose deletion was finished."""
    rows: Mapping[str, int]
    """Removed rows by table."""
    bytes_before: int
    bytes_after: int
    left: tuple[str, ...] = ()
    """Sentences about what could not be done, with the reason."""


@dataclass(frozen=True, slots=True)
class TableSize:
    """Rows of a table, and its bytes with its indexes."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class RunSize:
    """One run with the number of its images by status and of its regions."""

    run: Run
    listed: int
    done: int
    failed: int
    todo: int
    regions: int
    worked_on: bool
    """True if a living program works on it now."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Kind, version and sizes of a store."""

    address: str
    """Without a password."""
    kind: Literal["SQLite", "PostgreSQL"]
    version: str
    """Version of the tables."""
    bytes: int
    """Of the SQLite file with its write-ahead log, or of our tables on PostgreSQL."""
    free_bytes: int
    """Bytes of unused pages in an SQLite file, which ``compact`` gives back."""
    log_bytes: int
    """Bytes of SQLite's write-ahead log."""
    dead_rows: int | None
    """Rows on PostgreSQL that are deleted or replaced and not vacuumed yet, as its statistics have them."""
    method: str
    """The way in which the bytes of tables were found."""
    tables: tuple[TableSize, ...]
    """The largest one first."""
    runs: tuple[RunSize, ...]
    half_deleted: tuple[int, ...]
    """Numbers of runs whose deletion was begun and not finished."""


@dataclass(frozen=True, slots=True)
class ReviewTarget:
    """The subject of a review: a media item, a region of one, or an event by its name."""

    kind: TargetKind
    uri: str | None = None
    frame: int = 0
    region: Region | None = None
    """The region of a ``region`` review; None is the whole image."""
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A stored review."""

    id: int
    target: ReviewTarget
    verdict: ReviewVerdict
    taxon: Taxon | None
    reviewer: str
    reviewed_at: datetime
    """UTC."""
    comment: str
    uid: str = field(default="", compare=False)
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further facts (count, sex, life stage, ids in another system): plain JSON."""


@dataclass(frozen=True, slots=True)
class StatedReview:
    """A review on its way into the store."""

    target: ReviewTarget
    verdict: ReviewVerdict
    taxon: Taxon | None
    reviewer: str
    reviewed_at: datetime | None
    """None: unknown; a naive time is taken as UTC."""
    comment: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    uid: str = ""
    """The same text for the same review, so that a file that is read twice is stored once; empty: always new."""


class DrawnItem(NamedTuple):
    """An image that was drawn for the audit sample, on its way into the store."""

    media_id: int
    event: str
    stratum: str
    inclusion: float


@dataclass(frozen=True, slots=True)
class AuditItem:
    """An image of the audit sample, which is shown without the model's answer and never trained on."""

    media_id: int
    uri: str
    frame: int
    event: str
    """The event that was drawn with all of its images; an image without an event is one of its own."""
    stratum: str
    """The deployment within which it was drawn."""
    inclusion: float
    """Probability with which an event of the stratum was drawn: its inverse weighs the event in estimates for the project."""
    drawn_at: datetime
    """UTC."""


NOTHING: Mapping[str, Any] = MappingProxyType({})


def asked_level(run: Run) -> str:
    """Return the level of the run's candidates: the requested rank, ``label`` for custom labels."""
    rank = str(run.answer_settings.get("rank", "species"))
    return "label" if rank == "species" and run.answer_settings.get("words") else rank
