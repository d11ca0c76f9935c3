"""SpeciesNet files as a source: their recognition, their images, and messages about unusable parts."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from speciesnet_samples import (
    CANIDS,
    FOX,
    INFO,
    WHOLE,
    classified,
    detection,
    listed,
    of_4x,
    only_item,
    prediction,
    raw,
    results,
    written,
)

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.speciesnet.read import SpeciesNetSource
from bioclip_plugin.items.media import MediaItem, Place, Unlisted


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def unlisted(*predictions: Any, **options: Any) -> list[tuple[str, str]]:
    """Return the skipped entries as uri and reason."""
    return [(one.uri, one.reason) for one in listed(results(*predictions), **options) if isinstance(one, Unlisted)]


def uris(*predictions: Any, **options: Any) -> list[str]:
    return [one.uri for one in listed(results(*predictions), **options) if isinstance(one, MediaItem)]


# -- recognised files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        results(prediction("a.jpg", classified())),
        results(),
        # the first image is longer than the part that is inspected
        results(prediction("a.jpg", *[classified()] * 2_000)),
        {"predictions": [of_4x("a.jpg", detection())]},
        {"predictions": [{"filepath": "a.jpg", "failures": ["CLASSIFIER"]}]},
    ],
)
def test_a_file_is_known_by_its_content_whatever_it_is_called(content: Any) -> None:
    assert SpeciesNetSource().takes(str(written(content, "results.txt")))


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"file": "a.jpg", "detections": []}], "detection_categories": {}, "info": {}},
        {"instances": [{"filepath": "a.jpg"}]},
        {"predictions": [{"label": "cat"}]},
        {"predictions": {"a.jpg": []}},
        {"predictions": []},
        [{"filepath": "a.jpg"}],
        {},
    ],
)
def test_other_json_is_left_to_others(content: Any) -> None:
    assert not SpeciesNetSource().takes(str(written(content)))


def test_a_file_that_is_not_json_is_left_to_other_sources(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    for address in ("a.jpg", ".", "-", "nothing.json"):
        assert not SpeciesNetSource().takes(address)


# -- versions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["20261015", 20261015])
def test_the_version_of_5_x_is_read(version: Any) -> None:
    assert only_item(results(prediction("a.jpg"), info={"format_version": version})).uri == "a.jpg"


@pytest.mark.parametrize("version", ["20270101", "1.6", 5, True, ["20261015"]])
def test_another_version_is_refused_by_name(version: Any) -> None:
    with pytest.raises(
        SourceError, match=r"predictions\.json: format_version .* is not known: '20261015' .*5\.x.*4\.x"
    ):
        listed(results(prediction("a.jpg"), info={"format_version": version}))


@pytest.mark.parametrize("info", [{}, None, "20261015", {"format_version": None}])
def test_info_without_a_version_is_refused(info: Any) -> None:
    with pytest.raises(SourceError, match=r"info\.format_version is missing"):
        listed(results(prediction("a.jpg"), info=info))


def test_the_version_may_follow_the_images_and_is_reported_before_the_first() -> None:
    path = written({"predictions": [prediction("a.jpg")], "info": {"format_version": "9"}})
    with pytest.raises(SourceError, match="format_version '9' is not known"):
        next(SpeciesNetSource().items(str(path), ListingOptions()))


def test_predictions_that_are_no_list_and_broken_json_are_errors_of_the_whole_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="predictions is an object; it must be an array"):
        listed({"info": INFO, "predictions": {}})
    with pytest.raises(SourceError, match="lacks predictions"):
        listed({"info": INFO})
    text = json.dumps(results(prediction("a.jpg"), prediction("b.jpg")))
    (tmp_path / "cut.json").write_text(text[:-20])
    with pytest.raises(SourceError, match=r"cut\.json is not a complete JSON file: line 1, column \d+"):
        next(SpeciesNetSource().items("cut.json", ListingOptions()))


# -- boxes ---------------------------------------------------------------------------------------------------------


def test_boxes_become_regions_and_only_animals_from_the_threshold_on_are_classified() -> None:
    item = only_item(
        results(
            prediction(
                "cam/a.jpg", classified(), detection("1", 0.19, (0, 0, 1, 1)), detection("2", 0.8), detection("3", 0.7)
            )
        )
    )
    assert (item.uri, item.path, item.detected) == ("cam/a.jpg", Path("cam/a.jpg"), True)
    assert [(r.category, r.confidence, r.classified) for r in item.regions] == [
        ("animal", 0.9, True), ("animal", 0.19, False), ("person", 0.8, False), ("vehicle", 0.7, False),
    ]  # fmt: skip
    assert item.regions[0].xywh == [0.1, 0.2, 0.3, 0.4]
    assert (item.regions[0].detector, item.regions[0].detector_version) == ("SpeciesNet", "4.0.3a")


def test_the_threshold_can_be_moved() -> None:
    content = results(prediction("a.jpg", detection(conf=0.3)))
    assert only_item(content, detection_threshold=0.3).regions[0].classified
    assert not only_item(content, detection_threshold=0.31).regions[0].classified


def test_a_detector_that_found_nothing_leaves_nothing_to_classify() -> None:
    item = only_item(results(prediction("a.jpg")))
    assert (item.regions, item.detected) == ((), True)


def test_a_single_box_of_the_whole_image_is_the_whole_image() -> None:
    item = only_item(results(prediction("a.jpg", WHOLE | {"raw_classifications": raw((FOX, 0.9))})))
    assert (item.regions, item.detected) == ((), False)
    assert item.metadata["classifications"] == [{"bbox": [0.0, 0.0, 1.0, 1.0], "classes": [[FOX, 0.9]]}]


def test_if_the_detector_found_boxes_they_are_classified_and_not_the_whole_image() -> None:
    item = only_item(results(prediction("a.jpg", WHOLE, detection())))
    assert [region.xywh for region in item.regions] == [[0.1, 0.2, 0.3, 0.4]]
    assert item.detected


def test_an_image_without_a_list_of_boxes_is_classified_whole() -> None:
    item = only_item(results({"filepath": "a.jpg"}))
    assert (item.regions, item.detected) == ((), False)


def test_a_category_that_speciesnet_does_not_have_keeps_its_label() -> None:
    people = detection("human-like", 0.9, (0, 0, 1, 1), label="human")
    item = only_item(results(prediction("a.jpg", detection("7", label="fish"), people)))
    assert [region.category for region in item.regions] == ["fish", "person"]
    assert [region.classified for region in item.regions] == [True, False]


# -- place and SpeciesNet's answers ------------------------------------------------------------------------------------


def test_country_region_and_coordinates_are_the_place() -> None:
    item = only_item(results(prediction("a.jpg", country="usa", admin1_region="CA", latitude=36.5, longitude=-118)))
    assert item.place == Place("USA", "CA", 36.5, -118.0)
    assert item.metadata == {"model_version": "4.0.3a"}


def test_a_place_that_cannot_be_understood_stays_in_the_metadata() -> None:
    findings = Findings()
    item = only_item(results(prediction("a.jpg", country="Kenya", latitude=95, longitude=2)), findings=findings)
    assert not item.place
    assert item.unread == {"country", "position"}
    assert len(list(findings.lines())) == 2
    assert item.metadata == {"model_version": "4.0.3a", "country": "Kenya", "latitude": 95, "longitude": 2}


def test_the_answers_of_speciesnet_for_each_box_are_kept() -> None:
    item = only_item(results(prediction("a.jpg", classified(), detection("2"))))
    assert item.metadata["classifications"] == [
        {
            "bbox": [0.1, 0.2, 0.3, 0.4],
            "classes": [[FOX, 0.6], [CANIDS, 0.3]],
            "processed": {"class": CANIDS, "score": 0.9, "source": "classifier+rollup_to_family"},
        }
    ]


def test_the_4_x_shape_is_read_and_its_one_prediction_an_image_kept() -> None:
    item = only_item(
        {"predictions": [of_4x("a.jpg", detection(), detection("2", 0.5, (0, 0, 0.1, 0.1)), country="KEN")]}
    )
    assert [region.category for region in item.regions] == ["animal", "person"]
    assert item.place.country == "KEN"
    assert item.metadata == {
        "model_version": "4.0.1a",
        "classifications": [
            {
                "bbox": [0.0, 0.0, 1.0, 1.0],
                "classes": [[FOX, 0.6], [CANIDS, 0.3]],
                "processed": {"class": CANIDS, "score": 0.9, "source": "classifier+rollup_to_family"},
            }
        ],
    }


# -- failures ------------------------------------------------------------------------------------------------------


def test_images_that_speciesnet_failed_on_are_carried_over() -> None:
    failed = {"filepath": "a.jpg", "failures": ["CLASSIFIER", "DETECTOR"], "model_version": "4.0.3a"}
    assert unlisted(failed) == [("a.jpg", "SpeciesNet failed: CLASSIFIER, DETECTOR")]
    assert unlisted({"filepath": "a.jpg", "failures": ["CLASSIFIER"]}) == [("a.jpg", "SpeciesNet failed: CLASSIFIER")]


def test_metadata_of_a_failed_image_are_kept() -> None:
    (one,) = listed(
        results({"filepath": "a.jpg", "failures": ["DETECTOR"], "country": "KEN", "latitude": -1.5, "longitude": 36})
    )
    assert isinstance(one, Unlisted)
    assert (one.item.uri, one.item.place.latitude, one.item.metadata["failures"]) == ("a.jpg", -1.5, ["DETECTOR"])


@pytest.mark.parametrize("failure", ["CLASSIFIER", "GEOLOCATION"])
def test_boxes_of_a_successful_detector_are_used(failure: str) -> None:
    item = only_item(results(prediction("a.jpg", detection(), failures=[failure])))
    assert len(item.regions) == 1
    assert item.metadata["failures"] == [failure]


# -- unusable parts ----------------------------------------------------------------------------------------------------


def test_a_record_that_cannot_be_used_is_named_and_the_others_go_on() -> None:
    records = (7, {"detections": []}, {"filepath": 3}, prediction("a.jpg", 5), {"filepath": "b.jpg", "detections": {}})
    assert unlisted(*records, prediction("good.jpg")) == [
        ("predictions.json#predictions[0]", "predictions[0]: it is a number; it must be an object with filepath and detections"),
        ("predictions.json#predictions[1]", "predictions[1]: filepath is null; it must be the name of an image"),
        ("predictions.json#predictions[2]", "predictions[2]: filepath is a number; it must be the name of an image"),
        ("a.jpg", "none of its boxes can be used: predictions[3] 'a.jpg' detections[0]: it is a number; "
                  "it must be an object with category, conf and bbox"),
        ("predictions.json#predictions[4]", "predictions[4] 'b.jpg': detections is an object; it must be an array"),
    ]  # fmt: skip
    assert uris(*records, prediction("good.jpg")) == ["good.jpg"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (detection(bbox=(0.5, 0.5, 0.6, 0.1)), "bbox [0.5, 0.5, 0.6, 0.1]: it leaves the image"),
        (detection(bbox=(0.1, 0.1, 0.0, 0.1)), "width and height must be above 0"),
        (detection(bbox=(0.1, 0.1, math.nan, 0.1)), "must be four numbers"),
        (detection(bbox=[0.1]), "must be four numbers"),
        (detection(conf=1.7), "conf 1.7: must be a number from 0 to 1"),
        (detection(conf=math.nan), "conf nan: must be a number from 0 to 1"),
        ({"conf": 0.9, "bbox": [0, 0, 1, 1]}, "category None: '1' (animal), '2' (human) or '3' (vehicle) is needed"),
        (detection("9", label=" "), "category '9': '1' (animal)"),
        (detection(), "duplicate bbox [0.1, 0.2, 0.3, 0.4] of category animal"),
    ],
)
def test_a_box_that_cannot_be_used_is_named_with_its_value_and_the_others_stay(bad: Any, message: str) -> None:
    found = listed(results(prediction("a.jpg", detection(), bad)))
    (trouble,) = [one for one in found if isinstance(one, Unlisted)]
    (item,) = [one for one in found if isinstance(one, MediaItem)]
    assert trouble.uri == "predictions.json#predictions[0].detections[1]"
    assert trouble.reason.startswith("predictions[0] 'a.jpg' detections[1]: ")
    assert message in trouble.reason
    assert len(item.regions) == 1


def test_a_duplicate_file_counts_once() -> None:
    records = [prediction(name) for name in ("a.jpg", "./a.jpg", "b.jpg", "cam\\c.jpg", "cam/c.jpg")]
    assert uris(*records) == ["a.jpg", "b.jpg", "cam/c.jpg"]
    assert unlisted(*records) == [
        ("predictions.json#predictions[1]", "predictions[1]: duplicate filepath './a.jpg'; predictions[0] is used"),
        ("predictions.json#predictions[4]", "predictions[4]: duplicate filepath 'cam/c.jpg'; predictions[3] is used"),
    ]


# -- places of the images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/photos/a.jpg", "../a.jpg", "C:\\photos\\a.jpg", "~/a.jpg"])
def test_paths_that_leave_the_folder_are_refused_with_the_options_that_help(name: str) -> None:
    ((uri, reason),) = unlisted(prediction(name))
    assert uri == "predictions.json#predictions[0]"
    if name.startswith("C:"):  # no folder here is named like a drive of another machine
        assert "--replace-prefix" in reason
    else:
        assert "--base-folder" in reason
        assert "--allow-outside" in reason


def test_absolute_paths_inside_the_base_folder_are_taken_and_others_if_allowed(tmp_path: Path) -> None:
    inside = f"{tmp_path}/photos/a.jpg"
    assert uris(prediction(inside), base_folder=tmp_path / "photos") == [inside]
    # the folder of the file, given as "."
    assert uris(prediction(f"{tmp_path}/cam/a.jpg")) == [f"{tmp_path}/cam/a.jpg"]
    assert uris(prediction(inside), base_folder=Path("photos")) == [inside]
    assert uris(prediction("/elsewhere/a.jpg"), allow_outside=True) == ["/elsewhere/a.jpg"]
    assert uris(prediction("cam/a.jpg"), base_folder=Path("photos")) == ["photos/cam/a.jpg"]


def test_a_long_file_is_read_in_flat_memory(tmp_path: Path) -> None:
    # Long texts instead of many images, since tracing costs time per allocation.
    said = json.dumps({"detections": [detection()], "model_version": "4" * 8_000})[1:]
    with (tmp_path / "long.json").open("w") as file:
        file.write('{"info": {"format_version": "20261015"}, "predictions": [')
        file.writelines(f'{"," if n else ""}{{"filepath": "cam/{n:06}.jpg", {said}' for n in range(2_000))
        file.write("]}")
    assert (tmp_path / "long.json").stat().st_size > 16_000_000
    source = SpeciesNetSource()
    tracemalloc.start()
    try:
        count = sum(isinstance(one, MediaItem) for one in source.items("long.json", ListingOptions()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2_000
    assert peak < 8_000_000  # chunks of a megabyte, as bytes and as text
