"""Samples of listings, and the arithmetic of plans."""

from __future__ import annotations

import itertools

import pytest

from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.probing.estimate import Estimate, Measured
from bioclip_plugin.probing.sampling import draw_sample


def items(count: int) -> list[MediaItem]:
    return [MediaItem(f"{number:05}.jpg") for number in range(count)]


def measured(**given: object) -> Measured:
    facts: dict[str, object] = {
        "images": 100, "steady_s": 0.1, "regions": 200, "failed": 0, "first_failure": "", "bytes": 5_000_000,
        "stage_s": {"read": 0.01, "decode": 0.02, "encode": 0.08}, "work": [1.0] * 100, "opening_s": 4.0, "stored_bytes": 2_000.0,
        "feature_bytes": 1024,
    }  # fmt: skip
    return Measured(**facts | given)  # type: ignore[arg-type]


def test_a_sample_is_spread_over_the_whole_listing() -> None:
    sample = draw_sample([*items(5_000), Unlisted("x", "gone"), *items(5_000)], 100)
    places = sorted(int(item.uri[:5]) for item in sample.items)
    assert len(sample.items) == 100
    assert places[0] < 500
    assert places[-1] > 4_500
    assert abs(sum(places) / 100 - 2_500) < 500
    assert (sample.listed, sample.unlisted, sample.is_complete, sample.first_unlisted) == (10_000, 1, True, "x: gone")


def test_a_short_listing_is_the_sample() -> None:
    assert {item.uri for item in draw_sample(items(3), 100).items} == {"00000.jpg", "00001.jpg", "00002.jpg"}


def test_a_listing_without_end_is_left_after_a_while() -> None:
    seconds = itertools.count()
    endless = (MediaItem(f"{number}.jpg") for number in itertools.count())
    sample = draw_sample(endless, 10, limit_s=60, clock=lambda: float(next(seconds)))
    assert not sample.is_complete
    assert sample.listed == 61


def test_time_and_space_follow_from_the_rate() -> None:
    plan = Estimate(measured(), images=100_000, is_complete=True, done=10_000)
    assert plan.to_do == 90_000
    assert plan.rates[1] == pytest.approx(10.0)
    assert plan.seconds(90_000)[1] == pytest.approx(9_004)
    assert plan.features_bytes(1_000) == 2 * 1024 * 1_000
    assert plan.read_bytes(1_000) == 50_000_000
    assert plan.store_bytes(1_000) == {"sqlite": 2_000_000, "postgresql": 2_000_000}  # no more than the features
    assert plan.measured.bottleneck == "encode"


def test_a_disk_that_is_slower_than_everything_else_decides() -> None:
    slow = measured(stage_s={"read": 0.5, "encode": 0.08})
    assert slow.per_image_s == 0.5
    assert slow.bottleneck == "read"


def test_images_of_very_different_sizes_make_a_plan_less_certain() -> None:
    def spread(work: list[float]) -> float:
        return Estimate(measured(work=work), images=1_000_000, is_complete=True).spread

    assert spread([1.0] * 100) == pytest.approx(0.05)
    assert 0.3 < spread([1.0] * 90 + [20.0] * 10) < 0.6
    assert spread([1.0] * 9 + [20.0]) > spread([1.0] * 90 + [20.0] * 10)
    assert spread([1.0]) == 1.0


def test_a_listing_that_was_measured_as_a_whole_leaves_only_the_noise() -> None:
    assert Estimate(measured(work=[1.0, 50.0]), images=2, is_complete=True).spread == pytest.approx(0.05)
    assert Estimate(measured(work=[1.0, 50.0]), images=2, is_complete=False).spread == 1.0
