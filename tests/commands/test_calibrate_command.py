"""``calibrate``: the fitted temperature, its file, and its effect on other commands."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import parquet

from bioclip_core.calibration import (
    Calibration,
    check_calibration_output,
    find_calibration,
    keep_calibration,
    why_not_beside,
)
from bioclip_core.errors import BioclipError, ModelError
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
    assert (
        "split 'tune': 6 images in 6 groups. A temperature needs as many as 20 equal groups, so none is fitted: give a catalog"
        in said.err
    )
    assert "--labels that have" not in said.err, "no taxon is missing in them"
    assert not Path("cache", "calibrations").exists()


def test_many_images_of_few_groups_give_no_temperature(bioclip: Bioclip, catalog: str, labels: str) -> None:
    rows = [
        CatalogRow(
            f"{number}.png", Taxon.of(NAMES[("red", "green")[number % 2]]), split="tune", group=f"g{number // 10}"
        )
        for number in range(20)
    ]
    parquet.write_table(table_from(rows), "tracks.parquet")
    said = bioclip("calibrate", "--data", "tracks.parquet", "--model", "fake", "--labels", labels, "--split", "tune")
    assert said.code == 1
    assert "20 images in 2 groups. A temperature needs as many as 20 equal groups" in said.err


@pytest.mark.parametrize(
    ("truths", "cause"), [(("red", "green"), "are all right"), (("blue", "blue"), "are all wrong")]
)
def test_images_that_are_all_right_or_all_wrong_give_no_temperature(
    bioclip: Bioclip, catalog: str, labels: str, truths: tuple[str, str], cause: str
) -> None:
    rows = [
        CatalogRow(f"{number}.png", Taxon.of(NAMES[truths[number % 2]]), split="tune", group=f"g{number}")
        for number in range(20)
    ]
    parquet.write_table(table_from(rows), "extreme.parquet")
    said = bioclip("calibrate", "--data", "extreme.parquet", "--model", "fake", "--labels", labels, "--split", "tune")
    assert said.code == 1
    assert f"20 images in 20 groups {cause}" in said.err
    assert not Path("cache", "calibrations").exists()


def test_a_part_that_is_missing_is_named(bioclip: Bioclip, catalog: str, labels: str) -> None:
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


def own(folder: Path) -> Path:
    folder.mkdir(mode=0o755)
    return folder


def another_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: folder.parent.stat().st_uid + 1)
    return own(folder)


def everyones(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    own(folder).chmod(0o777)
    return folder


def linked(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    folder.symlink_to(own(folder.with_name("elsewhere")))
    return folder


def with_a_linked_file(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    own(folder).joinpath("calibration.json").symlink_to(folder.parent / "elsewhere.json")
    return folder


def of_a_package(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    (folder.parent / "__init__.py").touch()
    return own(folder)


def installed(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    deep = folder / "site-packages" / "some" / "demo_model"
    deep.mkdir(parents=True)
    return deep


def of_the_hub(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    deep = folder / "models--org--name" / "snapshots" / "0a1b"
    deep.mkdir(parents=True)
    return deep


@pytest.mark.skipif(os.name != "posix", reason="owners and links are those of POSIX")
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (another_users, "belongs to another user"),
        (everyones, "can be written by every user"),
        (linked, "is a link to a folder elsewhere"),
        (with_a_linked_file, "is a link to a file elsewhere"),
        (of_a_package, "belongs to an installed package"),
        (installed, "belongs to an installed package"),
        (of_the_hub, "belongs to the hub's cache"),
    ],
)
def test_a_shared_folder_is_left_alone_with_the_reason(
    make: Callable[[Path, pytest.MonkeyPatch], Path], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    folder = make(tmp_path / "model", monkeypatch)
    before = sorted(path.name for path in folder.iterdir())
    found = model(folder)
    assert says in why_not_beside(found)
    kept = keep_calibration(found, Calibration(1.5, "a" * 64, "one", {}))
    assert kept == tmp_path / "cache" / "calibrations" / f"{'a' * 64}.json"
    assert sorted(path.name for path in folder.iterdir()) == before
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(BioclipError, match=r"is in the folder of a model, and .*: a temperature there would change"):
        check_calibration_output(found, folder / "calibration.json")
    assert not (tmp_path / "elsewhere.json").exists()


def test_output_keeps_the_temperature_in_a_file_of_its_own(bioclip: Bioclip, catalog: str, labels: str) -> None:
    options = ("--data", catalog, "--model", "fake", "--labels", labels, "--split", "tune")
    said = bioclip("calibrate", *options, "--output", "temperature.json")
    assert said.code == 0, said.err
    assert "kept in temperature.json" in said.out
    assert "when it lies in the model's folder as calibration.json" in " ".join(said.out.split())
    assert not (Path("cache") / "calibrations").exists()
    (kept,) = json.loads(Path("temperature.json").read_text())["label_sets"].values()
    assert kept["temperature"] > 0
    Path("notes.json").write_text('{"mine": 1}')
    said = bioclip("calibrate", *options, "--output", "notes.json")
    assert said.code == 1
    assert "notes.json cannot be read" in said.err
    assert Path("notes.json").read_text() == '{"mine": 1}'
    assert bioclip("calibrate", *options, "--output", "nowhere/t.json").code == 1


def test_the_command_says_why_the_cache_has_the_temperature(bioclip: Bioclip, catalog: str, labels: str) -> None:
    said = bioclip("calibrate", "--data", catalog, "--model", "fake", "--labels", labels, "--split", "tune")
    assert "That is your own cache, because the model has no folder" in " ".join(said.out.split())


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format_version": 9, "label_sets": {}}',
        '{"format_version": 1, "label_sets": {"one": 3}}',
        '{"format_version": 1, "label_sets": {"one": {"temperature": NaN}}}',
        '{"format_version": 1, "format_version": 1, "label_sets": {}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_of_temperatures_is_an_error_and_not_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ModelError, match=r"calibration\.json cannot be read .* `calibrate` again"):
        find_calibration(model(tmp_path), "one")


def test_a_temperature_is_a_number_above_nothing() -> None:
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ModelError, match="above 0"):
            Calibration(wrong, "a" * 64, "one", {})


def test_the_parabola_finds_the_lowest_point_between_the_temperatures() -> None:
    from bioclip_training.evaluation.temperature import TEMPERATURES, best_temperature

    assert best_temperature((np.log(TEMPERATURES) - math.log(1.7)) ** 2) == pytest.approx(1.7)
    assert best_temperature(TEMPERATURES) == TEMPERATURES[0]
