"""The scaling study: nested collections, trends worked out by hand, and a small one from start to end."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling.__main__ import gathered, write
from benchmarks.scaling.cells import Size, Study
from benchmarks.scaling.measuring import FIGURES, Figure, key_of
from benchmarks.scaling.trends import AGAINST, AS_SAID, NOT_SHOWN, trend
from benchmarks.scaling.world import Plates, Pool
from bioclip_training.catalog.rows import Catalog

TINY = Size(
    "tiny", families=6, species=36, sizes=(12, 40), plates=4, image_size=32, width=4, text_width=32, embed_dim=16, steps=2, batch_size=8
)  # fmt: skip
RISING = Figure("share", "within species", "trained", 1, "a share")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_BENCH_CACHE", str(tmp_path / "bench"))
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))


def test_each_collection_holds_those_before_it_and_no_unseen_species() -> None:
    plates = Plates(Pool(3))
    sizes = plates.pool.sizes
    assert sizes[-1] == 32 * sizes[0]
    covered = [set(plates.covered(size)) for size in sizes]
    assert all(one <= other for one, other in pairwise(covered))
    assert not covered[-1] & set(plates.unseen)


def test_the_pool_has_a_long_tail() -> None:
    counts = sorted(Counter(Plates(Pool(0)).drawn_N.tolist()).values(), reverse=True)
    assert counts[0] > 50 * np.median(counts)


def test_the_slope_is_per_doubling_and_its_interval_that_of_students_t_over_worlds() -> None:
    values = {0: {10: 0.1, 20: 0.2, 40: 0.3}, 1: {10: 0.0, 20: 0.2, 40: 0.4}, 2: {10: 0.5, 20: 0.8, 40: 1.1}}
    found = trend(values, (10, 20, 40))
    assert found.slope == pytest.approx(0.2)
    # slopes 0.1, 0.2 and 0.3: a standard error of 0.1 / sqrt(3), times 4.302653 for two degrees of freedom
    assert found.ci95 == pytest.approx((0.2 - 0.2484, 0.2 + 0.2484), abs=1e-4)
    assert (found.worlds, found.direction, found.verdict(RISING)) == (3, 0, NOT_SHOWN)


@pytest.mark.parametrize(("sign", "verdict"), [(1, AS_SAID), (-1, AGAINST)])
def test_a_figure_that_moves_in_every_world_has_a_verdict(sign: int, verdict: str) -> None:
    values = {seed: {10: 0.0, 20: sign * (0.1 + 0.001 * seed)} for seed in range(3)}
    assert trend(values, (10, 20)).verdict(RISING) == verdict


def test_a_world_without_one_of_the_values_does_not_count_and_one_world_has_no_interval() -> None:
    found = trend({0: {10: 0.0, 20: 1.0}, 1: {10: None, 20: 1.0}}, (10, 20))
    assert (found.slope, found.worlds) == (pytest.approx(1.0), 1)
    assert math.isnan(found.ci95[0])
    assert found.verdict(RISING) == NOT_SHOWN


def test_a_study_is_trained_once_measured_and_drawn(tmp_path: Path) -> None:
    said: list[str] = []
    study = Study(TINY, say=said.append)
    found, facts = gathered(study, TINY, [0])
    assert [line for line in said if line.startswith("world")] == [
        "world 0, 12 images",
        "world 0, 40 images",
        "world 0, 0 images",
    ]
    assert set(found[0][40]) == {key_of(figure) for figure in FIGURES}
    assert [one["images"] for one in facts] == [12, 40, 0]
    plates = Plates(TINY.pool(0))
    assert len(Catalog.open(plates.training(40))) == 40
    assert sorted(set(plates.about()["sex"].tolist())) == ["female", "male"]
    write(found, facts, TINY, tmp_path)
    assert "| top-1, species: zero-shot among the labels of all species | trained |" in (
        tmp_path / "SCALING.md"
    ).read_text("utf-8")
    assert "agreement with the tree" in (tmp_path / "scaling.svg").read_text("utf-8")
    assert json.loads((tmp_path / "results" / "scaling.json").read_text("utf-8"))["models"][0]["species"] > 0
    said.clear()
    again, _ = gathered(Study(TINY, may_train=False, say=said.append), TINY, [0, 1])
    assert again == found
    assert said == ["world 1 is not counted: no model of 12, 40, 0 images yet"]
