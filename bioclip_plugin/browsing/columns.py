"""The columns of one run: arrays with one value per region, and the words that their numbers stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.browsing.tree import TaxonNode
from bioclip_plugin.items.verdicts import Verdict
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.records import TargetKind

VERDICTS: tuple[str, ...] = get_args(Verdict)
"""``verdict_N`` counts in this list."""
LEVELS = RANK_CODES
"""``rank_N`` counts in this list: the seven ranks, then the levels of custom labels."""
UNKNOWN_MOMENT = np.iinfo(np.int64).min
"""``moment_N`` of an image without a time."""
MOST_FLAGS = 32
DAY_S = 86_400

COLUMN_TYPES: Mapping[str, type[np.generic]] = MappingProxyType({
    "media_N": np.int64, "region_N": np.int64, "position_N": np.int64, "name_N": np.int32, "taxon_N": np.int32,
    "rank_N": np.int8, "probability_N": np.float32, "best_N": np.float32, "margin_N": np.float32, "verdict_N": np.int8,
    "flags_N": np.uint32, "camera_N": np.int32, "event_N": np.int32, "moment_N": np.int64, "review_N": np.int32,
    "failure_N": np.int16,
})  # fmt: skip
"""Type of each array of :class:`Columns`."""


@dataclass(frozen=True, slots=True)
class ReviewMark:
    """A review in force, as far as views need it."""

    id: int
    kind: TargetKind
    """Whether the review is of the region itself, of its image or of its event."""
    verdict: str
    """One of ``REVIEW_VERDICTS``."""
    taxon: int
    """Number in ``Columns.taxa``; -1 without a taxon."""
    reviewer: str
    reviewed_at: float
    """Seconds since 1970, UTC."""


@dataclass(frozen=True)
class Columns:
    """The regions of a run in the order of its listing, N rows; images that are still to do have none.

    An image that failed has one row with region 0, and so has one in which a detector found nothing (its verdict is
    ``blank``). Boxes below the run's detection threshold have no row.

    Raises:
        ValueError: for arrays of other types or of different lengths.
    """

    media_N: NDArray[np.int64]
    """The store's number of the image."""
    region_N: NDArray[np.int64]
    """The store's number of the region; 0 without one."""
    position_N: NDArray[np.int64]
    """Position of the image in the listing, from 1."""
    name_N: NDArray[np.int32]
    """Place of the image's name in the order of all names of the run; equal for the regions of one image."""
    taxon_N: NDArray[np.int32]
    """Number of the decided taxon in ``taxa``; -1 without one."""
    rank_N: NDArray[np.int8]
    """Level of the decision in ``LEVELS``; -1 without a taxon."""
    probability_N: NDArray[np.float32]
    """Probability of the decided taxon; NaN without one."""
    best_N: NDArray[np.float32]
    """Probability of the model's best candidate at the run's requested rank; NaN without candidates."""
    margin_N: NDArray[np.float32]
    """Its distance from the second candidate's probability; NaN with fewer than two."""
    verdict_N: NDArray[np.int8]
    """Verdict in ``VERDICTS``; -1 for a failure, and for a region that the rules have not decided on yet."""
    flags_N: NDArray[np.uint32]
    """Bit set of ``flags``."""
    camera_N: NDArray[np.int32]
    """Number of the deployment in ``cameras``; -1 without one."""
    event_N: NDArray[np.int32]
    """Number of the event in ``events``: the one that a rule made, else the image's sequence; -1 without one."""
    moment_N: NDArray[np.int64]
    """Capture time on the clock of the place, in seconds since 1970 as if it were UTC; ``UNKNOWN_MOMENT`` without one."""
    review_N: NDArray[np.int32]
    """Number of the review in force in ``reviews``; -1 without one."""
    failure_N: NDArray[np.int16]
    """Number of the failure in ``failures``; -1 without one."""
    taxa: tuple[TaxonNode, ...] = ()
    """The tree of the taxa of decisions and reviews, each followed by all below it."""
    cameras: tuple[str, ...] = ()
    """Names of deployments, sorted."""
    events: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """At most 32."""
    failures: tuple[str, ...] = ()
    """``STAGE: REASON``, reasons of one kind together."""
    reviews: tuple[ReviewMark, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name, kind in COLUMN_TYPES.items():
            array: NDArray[Any] = getattr(self, name)
            if array.dtype != kind or array.shape != self.media_N.shape or array.ndim != 1:
                raise ValueError(
                    f"{name} has type {array.dtype} and shape {array.shape}: {kind.__name__} of {self.media_N.shape}"
                )

    def __len__(self) -> int:
        return len(self.media_N)

    @cached_property
    def timed(self) -> NDArray[np.bool_]:
        """True for rows with a capture time."""
        found: NDArray[np.bool_] = self.moment_N != UNKNOWN_MOMENT
        return found

    @cached_property
    def hours(self) -> NDArray[np.int8]:
        """Hour of the day, 0 to 23; -1 without a time."""
        return np.where(self.timed, self.moment_N % DAY_S // 3_600, -1).astype(np.int8)

    @cached_property
    def days(self) -> NDArray[np.int32]:
        """Days since 1970-01-01; the smallest number without a time."""
        return np.where(self.timed, self.moment_N // DAY_S, np.iinfo(np.int32).min).astype(np.int32)

    @cached_property
    def current_taxa(self) -> NDArray[np.int32]:
        """Number of the taxon that a row counts as at present: that of its review in force, else the decided one."""
        of_reviews = np.array([mark.taxon for mark in self.reviews] or [-1], np.int32)
        return np.where(self.review_N >= 0, of_reviews[self.review_N], self.taxon_N)

    @cached_property
    def taxa_by_key(self) -> dict[str, int]:
        """Numbers of the taxa by their keys."""
        return {node.key: node.first for node in self.taxa}

    @cached_property
    def reviewed_at(self) -> NDArray[np.float64]:
        """Time of the review in force, in seconds since 1970, UTC; NaN without one."""
        return np.array([*(mark.reviewed_at for mark in self.reviews), np.nan])[self.review_N]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in COLUMN_TYPES}

    @property
    def words(self) -> dict[str, tuple[Any, ...]]:
        """Everything else: what the numbers stand for, by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in COLUMN_TYPES}
