"""``calibrate``: the fitted temperature, its file, and its effect on other commands."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import parquet

from bioclip_core.calibration import Calibration, find_calibration, keep_calibration
from bioclip_core.errors import ModelError
from bioclip_core.models import FoundModel, ModelEntry
from bioclip_core.preprocessing import preprocessing_of
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import Session
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.engine import Engine
from bioclip_training.catalog.rows import CatalogRow, table_from

NAMES = {
    "red": ["Fictia", "", "", "", "Warmidae", "Red", "fictus"],
    "green": ["Fictia", "", "", "", "Coldidae", "Green", "fictus"],
    "blue": ["Fictia", "", "", "", "Coldidae", "Blue", "pictus"],
}
PIXELS = {"red": (255, 0, 0), "green": (0, 255, 0)}


@pytest.fixture
def catalog(bioclip: Bioclip, tmp_path: Path) -> str:
    """Twenty red or green images in the split ``tune``: sixteen have the right label, the other four are labelled blue.

    The cosines of a red image are 1, 0, 0. With the scale s / T, the truth has the probability p = e^(s/T) / (e^(s/T) + 2) in
    sixteen images and (1 - p) / 2 in four. This is most likely at p = 0.8, which is s / T = ln 8.
    """
    rows = []
    for number in range(20):
        colour = ("red", "green")[number % 2]
        Image.new("RGB", (12, 10), PIXELS[colour]).save(f"{number}.png")
        truth = "blue" if number < 4 else colour
        rows.append(CatalogRow(f"{number}.png", Taxon.of(NAMES[truth]), split="tune", group=f"g{number}"))
    rows.append(CatalogRow("0.png", Taxon.of(NAMES["red"]), split="val", group="v"))
    parquet.write_table(table_from(rows), "catalog.parquet")
    return "catalog.parquet"


def request(labels: str) -> ClassifyRequest:
    return ClassifyRequest(model="fake", labels=labels)


def test_the_temperature_is_the_likeliest_and_the_main_job_uses_it(
    bioclip: Bioclip, catalog: str, labels: str, manager: BioclipPluginManager
) -> None:
    before = Engine(request(labels), manager).identities
    with Session(model="fake", labels=labels, plugins=manager) as session:
        surer = session.classify("1.png").candidates[0].probability
    assert surer == pytest.approx(math.exp(10) / (math.exp(10) + 2), abs=1e-3)

    said = bioclip("calibrate", "--data", catalog, "--model", "fake", "--labels", labels, "--split", "tune")
    assert said.code == 0, said.err
    after = Engine(request(labels), manager).identities
    with Session(model="fake", labels=labels, plugins=manager) as session:
        answer = session.classify("1.png").candidates
    # features are rounded to float16 and the temperature comes from a grid: 0.001 of probability
    assert [candidate.probability for candidate in answer] == pytest.approx([0.8, 0.1, 0.1], abs=2e-3)
    assert after.feature_id == before.feature_id
    assert after.answer_id != before.answer_id
    assert after.answer_settings["temperature"] == pytest.approx(10 / math.log(8), rel=2e-3)
    assert "temperature" not in before.answer_settings
    assert "20 images of tune in 20 groups, 80.0% right" in said.out
    assert "after, cross-validated by group" in said.out


def test_answers_without_a_temperature_keep_the_identity_that_they_had(
    bioclip: Bioclip, labels: str, manager: BioclipPluginManager
) -> None:
    engine = Engine(request(labels), manager)
    assert sorted(engine.identities.answer_settings) == [
        "blocks", "classify_version", "feature_id", "label_set", "prior", "rank", "subset", "top",
    ]  # fmt: skip


def test_evaluate_uses_the_temperature_of_the_pair(bioclip: Bioclip, catalog: str, labels: str) -> None:
    bioclip("calibrate", "--data", catalog, "--model", "fake", "--labels", labels, "--split", "tune")
    call = ("evaluate", "--data", catalog, "--model", "fake", "--split", "tune", "--no-few-shot")
    assert bioclip(*call, "--labels", labels, "--output", "out").code == 0
    found = json.loads(Path("out/metrics.json").read_text("utf-8"))["calibration"]
    assert found["temperature"] == pytest.approx(10 / math.log(8), rel=2e-3)
    # sixteen of twenty are right at probability 0.8; bins of one or two images are all right or all wrong
    assert found["nll"] == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)), abs=2e-3)


@pytest.mark.parametrize("split", ["val", "unseen", "test", "train", "all"])
def test_parts_that_are_measured_or_trained_on_are_refused_with_the_reason(
    bioclip: Bioclip, catalog: str, labels: str, split: str
) -> None:
    said = bioclip("calibrate", "--data", catalog, "--model", "fake", "--labels", labels, "--split", split)
    assert said.code == 2
    assert "use dev" in said.err
    assert not (Path("cache") / "calibrations").exists()


def test_too_few_images_are_refused_with_their_number(bioclip: Bioclip, catalog: str, labels: str) -> None:
    table = parquet.read_table(catalog)
    parquet.write_table(table.slice(0, 6), "few.parquet")
    said = bioclip("calibrate", "--data", "few.parquet", "--model", "fake", "--labels", labels, "--split", "tune")
    assert said.code == 1
    assert "6 of its 6 images" in said.err
    said = bioclip("calibrate", "--data", catalog, "--model", "fake", "--labels", labels)
    assert "it has tune 20, val 1" in said.err


def model(folder: Path | None, weights: str = "a" * 64, source: str = "local-dir:here") -> FoundModel:
    return FoundModel("here", source, "", weights, preprocessing_of(8), folder=folder)


def test_a_temperature_is_kept_beside_its_checkpoint_for_each_label_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    here = model(tmp_path)
    for label_set, temperature in (("one", 1.5), ("two", 0.7), ("one", 1.25)):
        place = keep_calibration(here, Calibration(temperature, "a" * 64, label_set, {}))
        assert place == tmp_path / "calibration.json"
    kept = {name: found.temperature for name in ("one", "two") if (found := find_calibration(here, name))}
    assert kept == {"one": 1.25, "two": 0.7}
    assert find_calibration(here, "three") is None
    assert find_calibration(model(tmp_path, weights="b" * 64), "one") is None  # other weights in the same folder
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]


def test_a_folder_that_is_not_ours_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    hub = tmp_path / "snapshot"
    hub.mkdir()
    registered = replace(model(hub), entry=ModelEntry("demo", f"local-dir:{hub}"))
    for found in (model(hub, source="hf-hub:someone/something"), registered, model(hub / "gone")):
        place = keep_calibration(found, Calibration(1.5, "a" * 64, "one", {}))
        assert place == tmp_path / "cache" / "calibrations" / f"{'a' * 64}.json"
        assert find_calibration(found, "one") == Calibration(1.5, "a" * 64, "one", {})
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format_version": 9, "label_sets": {}}', '{"format_version": 1, "label_sets": {"one": 3}}']
)
def test_a_damaged_file_of_temperatures_is_an_error_and_not_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ModelError, match=r"calibration\.json cannot be read .* calibrate again"):
        find_calibration(model(tmp_path), "one")


def test_a_temperature_is_a_number_above_nothing() -> None:
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ModelError, match="above 0"):
            Calibration(wrong, "a" * 64, "one", {})


def test_the_parabola_finds_the_lowest_point_between_the_temperatures() -> None:
    from bioclip_training.evaluation.temperature import TEMPERATURES, best_temperature

    assert best_temperature((np.log(TEMPERATURES) - math.log(1.7)) ** 2) == pytest.approx(1.7)
    assert best_temperature(TEMPERATURES) == TEMPERATURES[0]
