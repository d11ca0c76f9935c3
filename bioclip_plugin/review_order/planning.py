"""How many more reviews of a taxon until the estimate of its precision is within ten points, with exact intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from bioclip_training.evidence.intervals import binomial_interval

REACH = 0.10
"""Half the width of the interval that a plan aims at."""
MOST_REVIEWS = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """The precision of a taxon: the share of its answers that reviewers confirm, and what a better estimate costs."""

    right: int
    reviewed: int
    """Independent reviewed answers: one for each event."""
    low: float
    high: float
    """Clopper and Pearson's exact 95% interval."""
    more: int
    """Further reviews until the interval is within ``reach``, if they are right as often as so far; 0 if it is."""
    worst: int
    """The same if half of the answers were right, which needs the most reviews."""
    waiting: int
    """Answers of the taxon without a review, by event: an estimate cannot have more reviews than these."""

    @property
    def precision(self) -> float | None:
        """The share of right answers; None without a review."""
        return self.right / self.reviewed if self.reviewed else None

    @property
    def can_be_reached(self) -> bool:
        """True if there are as many answers as the plan asks for."""
        return self.more <= self.waiting


def plan(right: int, reviewed: int, waiting: int, reach: float = REACH) -> Plan:
    """Return the plan of one taxon.

    Reviews must be a random part of the taxon's answers, such as those of the audit sample: of answers that a strategy chose
    because they are doubtful, fewer are right than of all.

    Args:
        right: reviewed answers that the reviewer confirmed, one for each event.
        reviewed: all reviewed answers.
        waiting: answers without a review.
        reach: distance of either end of the interval from the estimate.
    """
    if not 0 <= right <= reviewed:
        raise ValueError(f"{right} of {reviewed} answers are right: give a number from 0 to {reviewed}")
    low, high = binomial_interval(right, reviewed)
    # Without a review, a taxon that is right half of the time is assumed, which needs the most.
    share = right / reviewed if reviewed else 0.5
    more = max(_reviews_for(share, reach, float(right), reviewed) - reviewed, 0)
    worst = max(_reviews_for(0.5, reach, float(right), reviewed) - reviewed, 0)
    return Plan(right, reviewed, low, high, more, max(worst, more), waiting)


def plans(counts: Mapping[str, tuple[int, int, int]], reach: float = REACH) -> dict[str, Plan]:
    """Return the plan of each taxon by its name, those that need most reviews first.

    Args:
        counts: right, reviewed and waiting answers by taxon.
        reach: as for :func:`plan`.
    """
    made = {name: plan(*numbers, reach) for name, numbers in counts.items()}
    return dict(sorted(made.items(), key=lambda entry: (-entry[1].more, entry[0])))


@lru_cache(maxsize=4096)
def _reviews_for(share: float, reach: float, right: float, reviewed: int) -> int:
    """Return the fewest reviews in all whose interval is within reach, if the further ones are right in this share."""

    def is_within(reviews: int) -> bool:
        hits = right + share * (reviews - reviewed)
        low, high = binomial_interval(hits, reviews)
        return max(hits / reviews - low, high - hits / reviews) <= reach

    least, most = max(reviewed, 1), max(reviewed, 1)
    if is_within(least):
        return least
    while not is_within(most):
        least, most = most, 2 * most
        if most > MOST_REVIEWS:
            return MOST_REVIEWS
    while most - least > 1:  # the interval narrows with every review
        middle = (least + most) // 2
        least, most = (least, middle) if is_within(middle) else (middle, most)
    return most
