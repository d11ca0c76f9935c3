"""Plans of reviews, against intervals worked out by hand, and items handed out with a clock of our own."""

from __future__ import annotations

import pytest

from bioclip_plugin.review_order.handing_out import HandingOut
from bioclip_plugin.review_order.planning import plan, plans
from bioclip_training.evidence.intervals import binomial_interval


def test_a_plan_says_how_many_reviews_bring_the_interval_within_ten_points() -> None:
    # Of n right answers of n, the lower end is 0.025 ** (1 / n): 0.8999 for 35, 0.9026 for 36
    always = plan(20, 20, waiting=16)
    assert (always.more, always.can_be_reached) == (16, True)
    assert plan(36, 36, waiting=0).more == 0
    half = plan(5, 10, waiting=30)
    reviews = half.more + 10
    (low, high), (less, _) = binomial_interval(reviews / 2, reviews), binomial_interval((reviews - 1) / 2, reviews - 1)
    assert (0.5 - low <= 0.1, high - 0.5 <= 0.1, 0.5 - less <= 0.1) == (True, True, False)
    assert (half.precision, half.worst, half.can_be_reached) == (0.5, half.more, False)
    assert (round(half.low, 3), round(half.high, 3)) == (0.187, 0.813)  # Clopper and Pearson's table


def test_a_taxon_without_reviews_is_planned_as_if_half_of_its_answers_were_right() -> None:
    unknown = plan(0, 0, waiting=500)
    assert (unknown.precision, unknown.low, unknown.high) == (None, 0.0, 1.0)
    assert unknown.more == plan(5, 10, waiting=500).more + 10
    found = plans({"deer": (36, 36, 0), "fox": (0, 0, 9), "lynx": (5, 10, 9), "boar": (36, 36, 5)})
    assert list(found) == ["fox", "lynx", "boar", "deer"]
    assert plan(1, 2, 0, reach=0.0001).more == 100_000 - 2
    with pytest.raises(ValueError, match="3 of 2 answers are right"):
        plan(3, 2, 0)


def test_an_item_is_handed_to_one_reviewer_until_it_is_given_back_or_time_is_up() -> None:
    now = [100.0]
    items = HandingOut[str](lambda: now[0], lease_s=600)
    assert items.hand_out("abcd", "Ann", 2) == ["a", "b"]
    assert items.hand_out("abcd", "Ben", 2) == ["c", "d"]
    assert items.hand_out("abcd", "Ann", 1) == ["a"]  # a page that is loaded again
    assert (items.hand_out("abcd", "Cy", 9), items.take("a", "Cy"), items.holder("a")) == ([], False, "Ann")
    items.give_back("ac", "Ann")  # c is not hers
    assert (items.holder("a"), items.holder("c")) == (None, "Ben")
    now[0] += 599.9
    assert items.renew("bc", "Ann") == ["c"]
    now[0] += 0.1
    assert items.held_by_others("Cy") == {"b": "Ann"}
    assert items.hand_out(iter("abcd"), "Cy", 9) == ["a", "c", "d"]
    now[0] += 600
    assert (items.holder("b"), items.holder("a"), items.held_by_others("Ann")) == (None, None, {})


def test_no_more_items_are_drawn_than_are_handed_out() -> None:
    drawn = []

    def waiting() -> object:
        for item in "abc":
            drawn.append(item)
            yield item

    assert HandingOut[str](lambda: 0.0).hand_out(waiting(), "Ann", 2) == ["a", "b"]  # type: ignore[arg-type]
    assert drawn == ["a", "b"]
