"""Stage ``filters``: scores by hand, records without a score, a threshold, and work that is not done twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imaging_samples import encoded, given_records, put, record, result, rows_of
from PIL import Image

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_plugin.testing import FakeModel
from bioclip_training.curation.configuration import Curation, FilterConfig, SourceConfig
from bioclip_training.curation.content_filters import FilterOptions, FilterRecord
from bioclip_training.curation.imaging.filters import FiltersStage
from bioclip_training.curation.imaging.images import ImagesStage
from bioclip_training.curation.imaging.support_set import SupportSetFilter
from bioclip_training.curation.manifests import StageManifest

GREYS = {"black": 0, "dark": 51, "light": 204}


@dataclass
class Brightness:
    """Scores a region by its mean grey level, from 0 to 1, times a factor."""

    name: str = "brightness"
    description: str = "mean grey level"
    opened: int = 0
    scored: list[str] = field(default_factory=list)
    preprocessing: Preprocessing = field(default_factory=lambda: Preprocessing(size=8))
    batch_size: int = 2

    def identity(self, options: FilterOptions) -> Mapping[str, Any]:
        return {"factor": options.values.get("factor", 1)}

    def open(self, options: FilterOptions) -> Brightness:
        self.opened += 1
        self.factor = options.values.get("factor", 1)
        return self

    def score(self, records: Sequence[FilterRecord]) -> list[float | None]:
        assert len(records) <= 2
        self.scored += [record.uri for record in records]
        return [round(float(one.pixels.mean()) / 255 * self.factor, 3) for one in records if one.pixels is not None]


@dataclass
class Suffix:
    """Scores an image by the length of its suffix, without reading it; None for a record without a file."""

    name: str = "suffix"
    description: str = "length of the suffix"
    preprocessing: None = None
    batch_size: int = 100

    def identity(self, options: FilterOptions) -> Mapping[str, Any]:
        return {}

    def open(self, options: FilterOptions) -> Suffix:
        return self

    def score(self, records: Sequence[FilterRecord]) -> list[float | None]:
        return [None if one.path is None else len(one.path.suffix) for one in records]


def grey(level: int) -> bytes:
    return encoded(Image.new("RGB", (16, 12), (level,) * 3))


def configured(folder: Path, **filters: FilterConfig) -> Curation:
    return Curation(folder / "out", {"a": SourceConfig(folder / "a")}, filters=filters)


def records_in(folder: Path) -> list[dict[str, Any]]:
    for name, level in GREYS.items():
        put(folder / f"a/{name}.png", grey(level))
    put(folder / "a/broken.png", grey(0)[:40])
    names = [*GREYS, "broken"]
    return [*(record("a", name, f"{name}.png") for name in names), record("a", "url", url="https://example.org/x.png")]


def test_a_filter_writes_a_column_and_deletes_nothing(tmp_path: Path) -> None:
    rows = records_in(tmp_path)
    brightness = Brightness()
    config = configured(
        tmp_path, bright=FilterConfig("brightness", exclude_from=0.5), letters=FilterConfig("suffix"),
        twice=FilterConfig("brightness", options={"factor": 2}),
    )  # fmt: skip
    stages = [given_records(*rows), ImagesStage(), FiltersStage({"brightness": brightness, "suffix": Suffix()})]
    found = result(config, stages)
    scores = {row["record_id"]: {**found[row["key"]], "key": ""} for row in rows}
    assert scores == {
        "black": {"key": "", "bright": 0.0, "letters": 4.0, "twice": 0.0},
        "dark": {"key": "", "bright": 0.2, "letters": 4.0, "twice": 0.4},
        "light": {"key": "", "bright": 0.8, "letters": 4.0, "twice": 1.6},
        "broken": {"key": "", "bright": None, "letters": 4.0, "twice": None},
        "url": {"key": "", "bright": None, "letters": None, "twice": None},
    }  # fmt: skip
    manifest = StageManifest.read(config.output / "filters")
    assert manifest is not None
    assert manifest.dropped == ()
    assert manifest.counts["records with 0.5 or more from the filter bright"] == 1
    assert manifest.counts["records without a score of the filter bright"] == 2
    assert brightness.opened == 2  # once with each of its options


def test_boxes_are_scored_each_by_its_own_pixels(tmp_path: Path) -> None:
    both = Image.new("RGB", (32, 16))
    both.paste((255, 255, 255), (16, 0, 32, 16))
    put(tmp_path / "a/x.png", encoded(both))
    rows = [record("a", str(left), "x.png", box=(left, 0.0, 0.5, 1.0)) for left in (0.0, 0.5)]
    config = configured(tmp_path, bright=FilterConfig("brightness"))
    found = result(config, [given_records(*rows), ImagesStage(), FiltersStage({"brightness": Brightness()})])
    assert [found[row["key"]]["bright"] for row in rows] == pytest.approx([0, 1], abs=0.02)  # bicubic, at the edge


def test_another_threshold_or_filter_scores_nothing_again_and_another_option_does(tmp_path: Path) -> None:
    rows, brightness = records_in(tmp_path), Brightness()
    known = {"brightness": brightness, "suffix": Suffix()}
    stages = [given_records(*rows), ImagesStage(), FiltersStage(known)]
    result(configured(tmp_path, bright=FilterConfig("brightness")), stages)
    assert len(brightness.scored) == 3
    config = configured(tmp_path, bright=FilterConfig("brightness", exclude_from=0.1), more=FilterConfig("suffix"))
    result(config, stages)
    assert len(brightness.scored) == 3
    config = configured(tmp_path, bright=FilterConfig("brightness", options={"factor": 3}))
    result(config, stages)
    assert len(brightness.scored) == 6


def test_a_filter_that_scores_nothing_is_said(tmp_path: Path) -> None:
    rows = [record("a", "url", url="https://example.org/x.png")]
    (tmp_path / "a").mkdir()
    config = configured(tmp_path, letters=FilterConfig("suffix"))
    result(config, [given_records(*rows), ImagesStage(), FiltersStage({"suffix": Suffix()})])
    manifest = StageManifest.read(config.output / "filters")
    assert manifest is not None
    assert manifest.notes[0].startswith("the filter letters scored no record: see that its files")


def test_without_filters_the_stage_has_the_keys_alone(tmp_path: Path) -> None:
    rows = records_in(tmp_path)
    config = configured(tmp_path)
    result(config, [given_records(*rows), ImagesStage(), FiltersStage()])
    assert rows_of(config.output / "filters") == {row["key"]: {"key": row["key"]} for row in rows}


def test_a_filter_that_is_not_known_and_a_name_that_is_taken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean support-set"):
        FiltersStage().settings(configured(tmp_path, x=FilterConfig("suport-set")))
    with pytest.raises(UsageError, match=r"filters\.species: species is a column of the catalog already"):
        FiltersStage().settings(configured(tmp_path, species=FilterConfig("support-set")))


class TestSupportSet:
    """Features of the colour model are unit vectors of red, green and blue."""

    def options(self, folder: Path, **values: Any) -> FilterOptions:
        models = {entry.name: entry for entry in self.entries()}
        return FilterOptions({"examples": folder}, {"model": "fake", "precision": "fp32", **values}, models)

    def entries(self) -> list[Any]:
        found: list[Any] = []
        FakeModel().register_models(found.append)
        return found

    def examples(self, folder: Path) -> Path:
        for name, colour in (("labels/a.png", (255, 0, 0)), ("maps/b.png", (0, 255, 0)), ("wanted/c.png", (0, 0, 255))):
            put(folder / name, encoded(Image.new("RGB", (16, 16), colour)))
        return folder

    def scores(self, options: FilterOptions, *colours: tuple[int, int, int]) -> list[float | None]:
        opened = SupportSetFilter().open(options)
        side = opened.preprocessing.size
        pixels = [np.full((side, side, 3), colour, dtype=np.uint8) for colour in colours]
        return opened.score([FilterRecord("a", "x", None, None, one) for one in pixels])

    def test_the_score_is_the_nearest_unwanted_example_less_the_nearest_wanted_one(self, tmp_path: Path) -> None:
        folder = self.examples(tmp_path)
        found = self.scores(self.options(folder), (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 200, 200))
        assert found == pytest.approx([1, 1, -1, 0], abs=1e-3)
        half = self.scores(self.options(folder, wanted=["labels", "wanted"]), (200, 200, 0), (0, 200, 0))
        assert half == pytest.approx([0, 1], abs=1e-3)

    def test_without_wanted_examples_it_is_the_cosine(self, tmp_path: Path) -> None:
        folder = self.examples(tmp_path)
        (folder / "wanted/c.png").unlink()
        found = self.scores(self.options(folder), (255, 0, 0), (200, 0, 200))
        assert found == pytest.approx([1, math.sqrt(0.5)], abs=1e-3)

    def test_it_runs_in_the_stage(self, tmp_path: Path) -> None:
        folder = self.examples(tmp_path / "examples")
        put(tmp_path / "a/r.png", encoded(Image.new("RGB", (40, 30), (250, 0, 0))))
        row = record("a", "r", "r.png")
        options = self.options(folder)
        config = configured(
            tmp_path, unwanted=FilterConfig("support-set", files=options.files, options=options.values, exclude_from=0)
        )
        stages = [given_records(row), ImagesStage(), FiltersStage(models=options.models)]
        assert result(config, stages)[row["key"]]["unwanted"] == pytest.approx(1, abs=1e-3)

    def test_what_is_missing_or_wrong_is_said(self, tmp_path: Path) -> None:
        folder = self.examples(tmp_path)
        refused = SupportSetFilter()
        with pytest.raises(UsageError, match="needs example images"):
            refused.identity(FilterOptions({}, {"model": "fake"}))
        with pytest.raises(UsageError, match="needs a model"):
            refused.identity(FilterOptions({"examples": folder}))
        with pytest.raises(UsageError, match="'modle' is not known; did you mean model"):
            refused.identity(FilterOptions({"examples": folder}, {"modle": "fake"}))
        for word, told in (("device", "allowed are auto, cpu, cuda"), ("precision", "allowed are auto, fp32")):
            with pytest.raises(UsageError, match=f"{word} of the filter support-set 'fast': {told}"):
                refused.identity(FilterOptions({"examples": folder}, {"model": "fake", word: "fast"}))
        for call in (refused.identity, refused.open):  # the first one before any work
            with pytest.raises(SourceError, match="no folder with images of an unwanted class"):
                call(self.options(folder, wanted=["labels", "maps", "wanted"]))
        put(folder / "maps/broken.png", b"no image")
        with pytest.raises(SourceError, match=r"broken\.png cannot be used: .*; repair or remove it"):
            refused.open(self.options(folder))
