"""What goes into the result store and comes out of it, as frozen dataclasses; no database is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.items.verdicts import ReviewVerdict, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.classify import Candidate
    from bioclip_core.taxonomy import Taxon

RunStatus = Literal["running", "finished", "interrupted", "failed"]
ItemStatus = Literal["todo", "done", "failed"]
TargetKind = Literal["media", "region", "event"]

RUN_STATUSES: tuple[RunStatus, ...] = ("running", "finished", "interrupted", "failed")
ITEM_STATUSES: tuple[ItemStatus, ...] = ("todo", "done", "failed")
"""At the place of the number that the database holds."""
TARGET_KINDS: tuple[TargetKind, ...] = ("media", "region", "event")

Box = tuple[int, int, int, int]
"""x, y, width, height in 1/10,000 of the upright image."""
FeatureKey = tuple[str, int, Box]
"""sha256 of the file, frame, box."""
Stat = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to go on trying when a database goes away; what was committed stays in any case."""

    tries: int = 6
    """Attempts in all, 1 = never again."""
    first_wait_s: float = 0.5
    """Before the second attempt; doubled before each further one."""
    longest_wait_s: float = 30.0
    """All waits together."""

    def waits_s(self) -> list[float]:
        """The pauses between the attempts, in seconds."""
        waits: list[float] = []
        for attempt in range(self.tries - 1):
            wait = min(self.first_wait_s * 2**attempt, self.longest_wait_s - sum(waits))
            waits.append(max(wait, 0.0))
        return waits


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run is going to do: its sources, and the three nested identities with the settings they were made of."""

    sources: tuple[str, ...]
    """The addresses as given; together with ``rule_id`` they say whether an earlier run is taken up again."""
    settings: Mapping[str, Any]
    """The options as given, plain JSON values."""
    feature_id: str
    feature_settings: Mapping[str, Any]
    """``weights_sha256`` among them."""
    dimension: int
    """Numbers in a feature vector."""
    answer_id: str
    answer_settings: Mapping[str, Any]
    rule_id: str
    rule_settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    """Versions, plugins, host, device: beside the identities, never in them. No secrets."""


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
    """UTC; when it was begun or taken up again for the last time."""
    ended_at: datetime | None
    """UTC; None while it runs and after it was killed."""
    status: RunStatus
    resumed: bool
    """Whether ``begin_run`` found it in the store."""
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]
    """Of the last time that it was begun."""
    earlier_provenance: tuple[Mapping[str, Any], ...]
    """Of the times before, oldest first, where they differed."""
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
    """As given to ``end_run``."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One item of a run's listing, with what the store knows of it already."""

    item: MediaItem
    """As listed; capture time, place, deployment, sequence and metadata filled in from an earlier reading."""
    media_id: int
    position: int
    """In the order of the first listing, from 1."""
    done: bool
    """Answered in this run, with the same file and the same stated regions: nothing is left to do."""
    content_sha256: str | None
    """Of the file as it is now, where it is known without opening it."""
    repeated: bool = False
    """The same uri and frame stood earlier in the same call; the first one carries the regions of both."""
    failure: Failure | None = None
    """For something that could not be listed: stored as failed, not to be read."""


@dataclass(frozen=True, slots=True)
class RegionRecord:
    """What to store for one region (None: the whole image)."""

    region: Region | None
    features: NDArray[np.float16] | None
    """D numbers; None where they are stored already."""
    by_rank: Mapping[str, tuple[Candidate, ...]] | None
    """Candidates by the rank that was asked, most probable first; None where the answers are stored already."""
    flags: tuple[str, ...] = ()
    consensus: Candidate | None = None


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What to store for one item: its regions (none at all is an answer too), or why there are none."""

    listed: Listed
    item: MediaItem
    """With what the camera said."""
    stat: Stat | None = None
    """Of the file that was read; None where none was opened."""
    content_sha256: str | None = None
    content_size: int | None = None
    regions: tuple[RegionRecord, ...] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """What the run's rules made of a region's answer; the answer itself stays as the model gave it."""

    verdict: Verdict
    candidate: Candidate | None
    """The taxon that was decided on, with its probability; None where there is none."""
    event: str | None = None
    """The sequence whose images were answered together."""
    trail: tuple[Mapping[str, Any], ...] = ()
    """What each rule did, in order: plain JSON with ``rule`` and ``did`` in each."""


@dataclass(frozen=True, slots=True)
class StoredRegion:
    """One region of an item, its stored candidates and the decision of the run's rules."""

    region: Region | None
    region_id: int
    by_rank: Mapping[str, tuple[Candidate, ...]]
    flags: tuple[str, ...]
    decision: StoredDecision | None
    """None for a region that is not classified, and where the run has not decided yet."""

    @property
    def classified(self) -> bool:
        """False for what is kept and not named: a person, a vehicle, a box below the threshold."""
        return self.region is None or self.region.classified

    @property
    def decided(self) -> bool:
        """Whether the run's decision set has a decision for it; ``consensus`` None may be one."""
        return self.decision is not None

    @property
    def consensus(self) -> Candidate | None:
        """The taxon that was decided on."""
        return self.decision.candidate if self.decision else None


class StoredItem(NamedTuple):
    """One row of a run's listing with all that is stored for it."""

    item: MediaItem
    status: ItemStatus
    failure: Failure | None
    regions: list[StoredRegion]


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """One item that failed, and how often."""

    item: MediaItem
    failure: Failure
    failed_at: datetime
    """UTC, of the last attempt."""
    attempts: int


@dataclass(frozen=True, slots=True)
class Summary:
    """How many items of a run's listing are in which state."""

    listed: int
    done: int
    failed: int
    todo: int
    regions: int
    """Answered regions of the done items."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a run's listing equals its results and failures. ``problems`` says in sentences what does not add up."""

    listed: int
    answered: int
    failed: int
    todo: int
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing is left to do and nothing is wrong."""
        return not self.problems and self.todo == 0


@dataclass(frozen=True, slots=True)
class ReviewTarget:
    """What a person looked at: a media item, a region of one, or an event by its name."""

    kind: TargetKind
    uri: str | None = None
    frame: int = 0
    region: Region | None = None
    """For ``region``; None is the whole image."""
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """What a person said."""

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
    """Whatever else was said (count, sex, life stage, the ids in another system): plain JSON."""


@dataclass(frozen=True, slots=True)
class StatedReview:
    """What a person said, as a file holds it, on its way into the store."""

    target: ReviewTarget
    verdict: ReviewVerdict
    taxon: Taxon | None
    reviewer: str
    reviewed_at: datetime | None
    """None: not known; a naive time is taken as UTC."""
    comment: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    uid: str = ""
    """The same text for the same statement, so that a file that is read twice is stored once; empty: always new."""


NOTHING: Mapping[str, Any] = MappingProxyType({})


def asked_level(run: Run) -> str:
    """The level whose candidates the run gives: the rank that was asked for, ``label`` for custom labels."""
    rank = str(run.answer_settings.get("rank", "species"))
    return "label" if rank == "species" and run.answer_settings.get("words") else rank
