"""Which reviews are in force: later ones replace, and an undoing one takes an earlier one back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.reviews.in_force import in_force
from bioclip_plugin.store import Review, ReviewTarget

WHEN = datetime(2026, 5, 6, 12, 0, tzinfo=UTC)
IMAGE = ReviewTarget("media", "a.jpg")
BOX = ReviewTarget("region", "a.jpg", region=Region(0.1, 0.1, 0.2, 0.2))
EVENT = ReviewTarget("event", event="night 3")


def said(
    number: int, target: ReviewTarget = IMAGE, verdict: ReviewVerdict = "blank", *, by: str = "Ada", minute: int | None = None,
    taxon: Taxon | None = None, details: Mapping[str, Any] | None = None,
) -> Review:  # fmt: skip
    when = WHEN + timedelta(minutes=number if minute is None else minute)
    return Review(number, target, verdict, taxon, by, when, "", f"u{number}", details or {})


def undo(number: int, of: int, target: ReviewTarget = IMAGE) -> Review:
    return said(number, target, details={"undoes": f"u{of}"})


@pytest.mark.parametrize(
    ("reviews", "numbers"),
    [
        ([], []),
        ([said(1), said(2)], [2]),
        ([said(1, minute=9), said(2, minute=3)], [1]),  # imported later, said earlier
        ([said(1, minute=3), said(2, minute=3, by="Ben")], [2]),
        ([said(1), said(2, BOX), said(3, EVENT)], [1, 2, 3]),
        ([said(1), undo(2, 1)], []),
        ([said(1), said(2), undo(3, 2)], [1]),  # undoing brings the replaced one back
        ([said(1), undo(2, 1), undo(3, 2)], [1]),  # undoing is undone
        ([said(1), undo(2, 1), said(3)], [3]),
        ([said(1), said(2), undo(3, 1)], [2]),
        ([said(1), undo(2, 9)], [1]),  # nothing of that name
        ([said(1), undo(2, 2)], [1]),  # itself
        ([undo(1, 2), said(2)], [2]),  # a later one
        ([said(1, BOX), undo(2, 1, IMAGE)], []),  # a box of the same image
        ([said(1), undo(2, 1, EVENT)], [1]),  # another subject
        ([said(1), said(2, details={"undoes": 5})], [2]),  # no name of a review
    ],
)
def test_reviews_in_force(reviews: list[Review], numbers: list[int]) -> None:
    assert [one.id for one in in_force(reviews)] == numbers
    assert [one.id for one in in_force(reversed(reviews))] == numbers


def test_several_taxa_of_one_moment_are_all_in_force() -> None:
    lynx, fox = Taxon(genus="Lynx", species="fictus"), Taxon(genus="Vulpes", species="ficta")
    together = [said(1, verdict="taxon", taxon=lynx, minute=5), said(2, verdict="taxon", taxon=fox, minute=5)]
    assert [one.id for one in in_force([*together, said(3, minute=4)])] == [1, 2]
    assert [one.id for one in in_force([*together, said(3, minute=6)])] == [3]


def test_reviewers_replace_their_own_reviews_alone_where_their_agreement_is_asked_for() -> None:
    reviews = [said(1, by="Ada"), said(2, by="Ben"), said(3, by=" ada ")]
    assert [one.id for one in in_force(reviews, by_reviewer=True)] == [2, 3]
    assert [one.id for one in in_force([*reviews, undo(4, 3)], by_reviewer=True)] == [1, 2]


def test_a_review_with_a_moment_after_today_can_be_replaced() -> None:
    future = said(1, minute=60 * 24 * 365 * 200)
    assert [one.id for one in in_force([future, said(2)])] == [1], "as if it were said today"
    now = Review(2, IMAGE, "person", None, "Ben", datetime.now(UTC) + timedelta(minutes=1), "", "u2")
    assert [one.id for one in in_force([future, now])] == [2]
