"""SpeciesNet JSON in, classified and decided by SpeciesNet's rules, and out again: nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from speciesnet_samples import classified, detection, prediction, results, written

from bioclip_plugin import Session, create_plugin_manager
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.species_labels import HUMAN
from bioclip_plugin.formats.speciesnet.read import SpeciesNetSource
from bioclip_plugin.formats.speciesnet.write import SpeciesNetExporter
from bioclip_plugin.testing import FakeModel

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


@pytest.fixture
def survey(tmp_path: Path) -> dict[str, Any]:
    """Predictions for images whose left half is red and whose right half is green."""
    (tmp_path / "cam1").mkdir()
    photo = Image.new("RGB", (200, 100), (0, 255, 0))
    photo.paste((255, 0, 0), (0, 0, 100, 100))
    for number in range(4):
        photo.save(tmp_path / "cam1" / f"IMG_{number}.png")
    place = {"country": "KEN", "latitude": -1.5, "longitude": 36.75}
    return results(
        prediction("cam1/IMG_0.png", classified(conf=0.9512, bbox=LEFT), detection("2", 0.8765, RIGHT), **place),
        prediction("cam1/IMG_1.png", detection("1", 0.5, RIGHT), detection("1", 0.05, LEFT)),
        prediction("cam1/IMG_2.png"),
        prediction("cam1/IMG_3.png", detection("3", 0.7, (0.1234, 0.2345, 0.3456, 0.4567))),
        {"filepath": "cam1/IMG_4.png", "failures": ["CLASSIFIER", "DETECTOR"], "model_version": "4.0.3a"},
    )


def gone_through(labels: str, survey: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """Classify the predictions with the fake model and return them exported again."""
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    source = str(written(survey))
    with Session(model="fake", labels=labels, store="r.db", plugins=manager, **options) as session:
        run = session.begin_run([source])
        for _ in session.pipeline(run).answers(SpeciesNetSource().items(source, ListingOptions())):
            pass
        session.apply_rules(run)
        assert session.store is not None
        session.store.end_run(run, "finished", {})
        exporter = SpeciesNetExporter()
        exporter.write(Path("out.json"), Export(session.store, session.store.run(run.id)))
    assert list(exporter.check(Path("out.json"), ExportOptions())) == []
    content: dict[str, Any] = json.loads(Path("out.json").read_text())
    predictions: list[dict[str, Any]] = content["predictions"]
    return predictions


def boxes(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the boxes and the place of each file, or its failures."""
    kept = ("category", "label", "conf", "bbox")
    return {
        one["filepath"]: (
            one.get("failures") or [[box[name] for name in kept] for box in one["detections"]],
            [one.get(name) for name in ("country", "latitude", "longitude")],
        )
        for one in predictions
    }


def test_every_file_box_category_place_and_failure_of_the_input_comes_back(
    colour_labels: str, survey: dict[str, Any]
) -> None:
    after = gone_through(colour_labels, survey)
    assert boxes(after) == boxes(survey["predictions"])
    assert [one["filepath"] for one in after] == [one["filepath"] for one in survey["predictions"]]


def test_boxes_of_animals_have_our_classes_and_decisions_and_no_others(
    colour_labels: str, survey: dict[str, Any]
) -> None:
    after = gone_through(colour_labels, survey)
    names = {
        (one["filepath"], number): box["raw_classifications"]["classes"][0].split(";")[4:6]
        for one in after
        for number, box in enumerate(one.get("detections", []))
        if "raw_classifications" in box
    }
    assert names == {("cam1/IMG_0.png", 0): ["red", "fictus"], ("cam1/IMG_1.png", 0): ["green", "fictus"]}
    first = after[0]["detections"][0]
    assert first["processed_classification"]["class"] == first["raw_classifications"]["classes"][0]
    assert first["processed_classification"]["source"] == "classifier"
    assert after[0]["model_version"].startswith("fake (bioclip-plugin")


def test_the_decision_of_speciesnets_own_rule_is_the_processed_classification(
    colour_labels: str, survey: dict[str, Any], tmp_path: Path
) -> None:
    red = "mammalia;carnivora;warmidae;red;fictus"
    (tmp_path / "fence.json").write_text(
        json.dumps({red: {"allow": {"USA": []}}, "mammalia;carnivora;warmidae;;": {"block": {"KEN": []}}})
    )
    after = gone_through(colour_labels, survey, rules=("speciesnet-ensemble:geofence=fence.json",))
    animal, person = after[0]["detections"]
    assert animal["raw_classifications"]["classes"][0].split(";")[1:6] == red.split(";")
    # Blocked in Kenya, and so is its family: the order is left.
    assert animal["processed_classification"]["class"].split(";")[1:] == [
        "mammalia",
        "carnivora",
        "",
        "",
        "",
        "carnivora order",
    ]
    assert animal["processed_classification"]["source"] == "classifier+geofence+rollup_to_order"
    assert person["processed_classification"] == {"class": HUMAN, "score": 0.8765, "source": "detector"}
