"""Minima of groups, and the sentences that say what a part can show."""

from __future__ import annotations

import pytest

from bioclip_training.evidence.intervals import paired_interval
from bioclip_training.evidence.minima import FEWEST_TO_DIFFER, Evidence, counted, effective_groups


def test_a_part_says_the_smallest_difference_that_it_can_show() -> None:
    assert Evidence.of("dev", range(15)).smallest_difference == pytest.approx(0.4)  # 6 of 15
    assert (
        Evidence.of("dev", range(15)).shows
        == "dev: 15 images in 15 groups: as a rule of thumb, differences under 40 points cannot be seen"
    )
    assert Evidence.of("val", [0, 0, 1, 1]).smallest_difference is None
    assert Evidence.of("val", [0, 0, 1, 1]).shows == (
        "val: 4 images in 2 groups: no difference of two models can be seen, however large (that takes 6 groups)"
    )


def test_the_stated_difference_is_the_first_that_its_interval_shows() -> None:
    for groups in (6, 15, 19):
        assert paired_interval(FEWEST_TO_DIFFER, 0, groups)[0] > 0
        assert paired_interval(FEWEST_TO_DIFFER - 1, 0, groups)[0] < 0


def test_a_single_group_is_a_single_observation_and_no_group_is_none() -> None:
    assert "40 images of 1 group: a single observation" in Evidence.of("dev", ["a"] * 40).shows
    assert Evidence.of("dev", []).shows == "dev: no images, so nothing can be measured on it"


def test_unequal_groups_show_less() -> None:
    assert effective_groups(["a"] * 4 + ["b"] * 4) == 2
    assert effective_groups(["a"] * 9 + ["b"]) == pytest.approx(100 / 82)
    assert effective_groups([]) == 0
    found = Evidence.of("dev", [0] * 30 + list(range(1, 11)))
    assert found.effective == pytest.approx(1600 / 910)
    assert "40 images in 11 groups, which count as 1.8 equal ones" in found.shows


def test_nothing_is_chosen_on_fewer_than_twenty_groups() -> None:
    assert not Evidence.of("dev", range(19)).can_choose
    assert Evidence.of("dev", range(20)).can_choose
    assert not Evidence.of("dev", [0, 1] * 50).can_choose
    assert not Evidence.of("dev", []).can_choose


def test_a_count_reads_as_a_sentence() -> None:
    assert [counted(1, 1), counted(3, 1), counted(3, 2), counted(3, None)] == [
        "1 image of 1 group", "3 images of 1 group", "3 images in 2 groups", "3 images",
    ]  # fmt: skip


def test_enough_groups_that_are_too_unequal_are_no_contradiction() -> None:
    found = Evidence.of("dev", [*range(29), *[99] * 10])
    assert not found.can_choose
    assert found.rule.startswith(
        "the groups of dev are too unequal (39 images in 30 groups, which count as 11.8 equal ones; a choice needs as many as 20 equal "
        "ones): nothing is chosen on it"
    )
    nearly = Evidence.of("dev", [*range(20), 0])
    assert not nearly.can_choose
    assert "21 images in 20 groups, which count as 19.2 equal ones" in nearly.rule
    assert Evidence.of("dev", range(3)).rule.startswith(
        "fewer than 20 independent groups in dev (3 images in 3 groups): "
    )
