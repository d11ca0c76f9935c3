"""Differences of two models for the same images: paired intervals, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from space_samples import grown, photographed, tree

from bioclip_core.progress import silent
from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.comparing import difference, differences_of, figures_of, summary
from bioclip_training.analysis.measure import Hits, Measure, missing
from bioclip_training.analysis.measuring import Structure, measure_structure
from bioclip_training.analysis.resampling import difference_spread, jackknife
from bioclip_training.analysis.space import Space, in_common
from bioclip_training.analysis.traits import Trait

TAXA = tree(24, 1, 1)
MEANS = grown(TAXA, 8, 0)
SIZE = Trait.of("size", list(MEANS[:, 0]))
STAGES = Trait.of("stage", ["adult", "young"] * 96)


def structure(noise: float, seed: int) -> Structure:
    space = photographed(TAXA, MEANS, 8, noise, seed)
    return measure_structure(
        space, unit=Rank.SPECIES, traits=[SIZE], classes=[STAGES], permutations=0, seed=0, progress=silent
    )


@pytest.fixture(scope="module")
def pair() -> tuple[Structure, Structure]:
    """The same species with little noise in the features and with much."""
    return structure(0.2, 1), structure(1.5, 2)


def test_every_figure_has_a_difference_and_equal_models_have_none(pair: tuple[Structure, Structure]) -> None:
    clear, noisy = pair
    found = differences_of(clear, noisy)
    assert set(found) == set(figures_of(clear))
    hits = found["neighbours of images in the same species"]
    assert hits.value == pytest.approx(
        clear.purity["images"][Rank.SPECIES].value - noisy.purity["images"][Rank.SPECIES].value
    )
    assert hits.differs_from_chance
    for name, one in found.items():
        assert one.is_missing or one.reason or one.ci95[0] <= one.value <= one.ci95[1], name
    for name, one in differences_of(clear, clear).items():
        assert one.is_missing or (one.value == 0 and one.differs_from_chance is not True), name
    assert "neighbours of images in the same species +" in summary("noisy", found)


def test_what_units_have_in_common_cancels() -> None:
    """Two statistics that vary much over units, and by the same: 6 units with -2.5 to 2.5, the second one 1 above the first.

    The mean of a unit's difference of 1 has no spread, though each mean has an interval of 2 × 1.96.
    """
    values = np.arange(6) - 2.5
    first, second = (
        jackknife(lambda keep, shift=shift: float((values + shift)[keep].mean()), np.arange(6)) for shift in (1.0, 0.0)
    )
    assert first.replicates is not None
    assert second.replicates is not None
    assert first.ci95[1] - first.ci95[0] == pytest.approx(2 * 1.9633, abs=1e-3)
    assert difference_spread(first.replicates, second.replicates).ci95 == pytest.approx((1.0, 1.0))


def test_a_paired_interval_of_hits_is_that_of_the_changes_and_reaches_as_far_as_the_scale() -> None:
    unit = np.arange(30)
    right, wrong = (Measure(v, n=30, units=30, samples={"": Hits(np.full(30, v), unit, reach=7.0)}) for v in (1.0, 0.0))
    low, high = difference(right, wrong).ci95
    assert 0.6 * 7 < low < high == 7.0
    assert difference(right, Measure(0.0, samples={"": Hits(np.zeros(29), np.arange(29))})).reason
    assert difference(right, missing("nothing to find")).is_missing


def test_images_that_one_model_lacks_are_left_out_of_both() -> None:
    features = np.eye(4)
    both = [Space.of(features, [0, 0, 1, 1], TAXA[:2]), Space.of(features[[0, 2, 3]], [0, 1, 1], TAXA[:2])]
    spaces, rows = in_common(both, [np.array([5, 6, 7, 8]), np.array([5, 7, 8])])
    assert [list(one) for one in rows] == [[5, 7, 8], [5, 7, 8]]
    assert np.array_equal(spaces[0].features_ND, spaces[1].features_ND)
    assert spaces[0].species_N.tolist() == spaces[1].species_N.tolist() == [0, 1, 1]


def test_the_interval_of_a_difference_holds_what_many_worlds_show() -> None:
    """24 species whose hits differ by 0.2 in the mean: of 40 worlds most intervals hold it, and they are narrower than unpaired."""
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=24)
        one, other = shared + 0.2 + 0.1 * rng.normal(size=24), shared + 0.1 * rng.normal(size=24)
        first, second = (jackknife(lambda keep, of=of: float(of[keep].mean()), np.arange(24)) for of in (one, other))
        assert first.replicates is not None
        assert second.replicates is not None
        low, high = difference_spread(first.replicates, second.replicates).ci95
        inside.append(low <= 0.2 <= high)
        assert high - low < 0.5 * (first.ci95[1] - first.ci95[0])
    assert np.mean(inside) >= 0.85
