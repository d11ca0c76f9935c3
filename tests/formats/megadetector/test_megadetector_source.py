"""MegaDetector files as input: their recognition, their images, and messages about unusable parts."""

from __future__ import annotations

import json
import logging
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from megadetector_samples import CATEGORIES, INFO, detection, image, listed, only_item, results, written
from PIL import Image

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
from bioclip_plugin.items.media import MediaItem, Place, Unlisted
from bioclip_plugin.running.listing import Listing


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def unlisted(*images: Any, **options: Any) -> list[tuple[str, str]]:
    """Return the skipped entries of a file as uri and reason."""
    return [(one.uri, one.reason) for one in listed(results(*images), **options) if isinstance(one, Unlisted)]


def uris(*images: Any, **options: Any) -> list[str]:
    return [one.uri for one in listed(results(*images), **options) if isinstance(one, MediaItem)]


# -- recognised files --------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_off_in_its_first_image_is_recognised_and_the_place_reported() -> None:
    Path("cut.json").write_text('{"images":[{"file":"camA/blank.jpg",')
    with pytest.raises(SourceError, match=r"cut\.json is not a complete JSON file: line 1, column 37"):
        list(Listing(["cut.json"], create_plugin_manager(installed=False).sources()))
    Path("coco.json").write_text('{"images":[{"id":1,"file_name":"camA/blank.jpg",')
    assert not MegaDetectorSource().takes("coco.json")


@pytest.mark.parametrize(
    "content",
    [
        results(image("a.jpg", detection())),
        results(),
        results(image("a.jpg", *[detection()] * 3_000)),  # the first image is longer than the part that is inspected
        {"info": INFO, "detection_categories": CATEGORIES, "images": []},
        {"classification_categories": {str(n): "name" * 5 for n in range(4_000)}, "images": [], "info": INFO},
        {"images": [{"file": "a.jpg", "failure": "image access failure"}]},
    ],
)
def test_a_file_is_known_by_its_content_whatever_it_is_called(content: Any) -> None:
    assert MegaDetectorSource().takes(str(written(content, "results.txt")))


@pytest.mark.parametrize(
    "content",
    [
        {"predictions": [{"filepath": "a.jpg", "detections": []}], "info": {"format_version": "20261015"}},
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []},
        {"info": {}, "images": [{"id": 1, "file_name": "a.jpg"}]},
        [{"file": "a.jpg", "detections": []}],
        {"resources": []},
        {},
        "images",
    ],
)
def test_other_json_is_left_to_others(content: Any) -> None:
    assert not MegaDetectorSource().takes(str(written(content)))


def test_other_files_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    for address in ("a.jpg", ".", "-", "nothing.json"):
        assert not MegaDetectorSource().takes(address)


# -- versions and header -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6"])
def test_versions_from_1_0_to_1_6_are_read(version: str) -> None:
    assert only_item(results(image("a.jpg"), info={"format_version": version})).uri == "a.jpg"


def test_a_version_that_is_a_number_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert only_item(results(image("a.jpg"), info={"format_version": 1})).uri == "a.jpg"
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert only_item(results(image("a.jpg"), info={"format_version": 1.4})).uri == "a.jpg"
    assert caplog.text.count("md.json: format_version 1.4 is a number") == 1


@pytest.mark.parametrize("version", ["0.9", "1.7", "2", 20261015, 1.7, "x", True, ["1.6"]])
def test_another_version_is_refused_by_name(version: Any) -> None:
    with pytest.raises(
        SourceError,
        match=r"format_version .* is unknown: supported are versions 1\.0, 1\.1, 1\.2, 1\.3, 1\.4, 1\.5, 1\.6",
    ):
        listed(results(image("a.jpg"), info={"format_version": version}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detection_categories": None}, "detection_categories is missing"),
        ({"detection_categories": ["animal"]}, "detection_categories is an array"),
        ({"detection_categories": {"1": " "}}, r"detection_categories\['1'\] is ' '; it must be a name"),
        ({"classification_categories": {"0": 7}}, r"classification_categories\['0'\] is 7"),
        ({"images": {}}, "images is an object; it must be an array"),
    ],
)
def test_a_header_that_cannot_be_used_is_an_error_of_the_whole_file(change: Any, message: str) -> None:
    with pytest.raises(SourceError, match=f"md.json: {message}"):
        listed({**results(), **change})
    with pytest.raises(SourceError, match="lacks images"):
        listed({"info": INFO, "detection_categories": CATEGORIES})


@pytest.mark.parametrize("info", [{}, None, {"detector": "md_v4.1.0.pb"}, "unknown"])
def test_a_file_without_a_version_is_read_by_its_shape_and_that_is_reported(info: Any) -> None:
    findings = Findings()
    item = only_item(results(image("a.jpg", detection()), info=info), findings=findings)
    assert [region.category for region in item.regions] == ["animal"]
    assert list(findings.lines()) == [
        "files of MegaDetector's format do not state its version; they are read by their shape: 1 (the first: md.json)"
    ]


def test_a_file_of_2019_is_read_with_its_own_keys_as_metadata() -> None:
    old = {
        "info": {"detector": "megadetector_v3", "detection_completion_time": "2019-05-22 02:12:19", "format_version": "1.0"},
        "detection_categories": {"1": "animal", "2": "person"},
        "images": [
            {"file": "a.jpg", "meta": "site 7", "max_detection_conf": 0.926, "detections": [detection(conf=0.926)]},
            {"file": "b.jpg", "max_detection_conf": 0.0, "detections": []},
            {"file": "c.jpg", "failure": "Failure image access", "detections": None},
        ],
    }  # fmt: skip
    first, empty, failed = listed(old)
    assert isinstance(first, MediaItem)
    assert isinstance(empty, MediaItem)
    assert (first.metadata, first.regions[0].detector) == (
        {"meta": "site 7", "max_detection_conf": 0.926},
        "megadetector_v3",
    )
    assert (empty.regions, empty.detected) == ((), True)
    assert isinstance(failed, Unlisted)
    assert failed.reason == "Failure image access"


def test_the_taxonomy_of_another_classifier_is_kept_with_its_names() -> None:
    found = detection(classifications=[["3", 0.8], ["9", 0.1]])
    item = only_item(
        results(
            image("a.jpg", found),
            classification_categories={"3": "elk", "9": "moose"},
            classification_category_descriptions={"3": "x;mammalia;artiodactyla;cervidae;cervus;canadensis;elk"},
        )
    )
    (answer,) = item.metadata["classifications"]
    assert answer["classes"] == [["elk", 0.8], ["moose", 0.1]]
    assert answer["descriptions"] == {"elk": "x;mammalia;artiodactyla;cervidae;cervus;canadensis;elk"}


# -- PyTorch-Wildlife's files for Timelapse, whose boxes may be of the stored pixels ------------------------------------


def timelapse(*images: Any, **more: Any) -> dict[str, Any]:
    """Return a file as PyTorch-Wildlife writes it for Timelapse: without a version, with categories from 0."""
    return {
        "info": {"detector": "megadetector_v5"},
        "detection_categories": {"0": "animal", "1": "person", "2": "vehicle"},
        "images": [{"max_detection_conf": "", **one} for one in images],
        **more,
    }


def turned_photo(path: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (200, 100)).save(path, exif=exif)


def test_pytorch_wildlife_counts_its_categories_from_0() -> None:
    turned_photo("a.jpg", 1)
    item = only_item(timelapse(image("a.jpg", detection("0", classifications=[]), detection("1", bbox=(0, 0, 1, 1)))))
    assert [(one.category, one.classified) for one in item.regions] == [("animal", True), ("person", False)]
    with pytest.raises(SourceError, match=r"detection_categories is missing; .* PyTorch-Wildlife counts from 0"):
        listed(timelapse(image("a.jpg"), detection_categories=None))


def test_boxes_of_pytorch_wildlife_on_a_turned_image_need_a_statement() -> None:
    turned_photo("a.jpg", 6)
    content = timelapse(image("a.jpg", detection("0", bbox=(0.1, 0.2, 0.3, 0.4))))
    (skipped,) = listed(content)
    assert isinstance(skipped, Unlisted)
    assert "EXIF turns the image (orientation 6)" in skipped.reason
    assert "--turned-boxes upright, or stored" in skipped.reason
    assert only_item(content, turned_boxes="upright").regions[0].xywh == [0.1, 0.2, 0.3, 0.4]
    assert only_item(content, turned_boxes="stored").regions[0].xywh == pytest.approx([0.4, 0.1, 0.4, 0.3])
    assert only_item(results(*content["images"], detection_categories=content["detection_categories"])).regions
    assert only_item(timelapse(image("missing.jpg", detection("0")))).regions


def test_broken_json_is_reported_before_the_first_image(tmp_path: Path) -> None:
    text = json.dumps(results(image("a.jpg"), image("b.jpg")))
    (tmp_path / "md.json").write_text(text[: text.index("}]") + 2])
    items = MegaDetectorSource().items("md.json", ListingOptions())
    with pytest.raises(SourceError, match=r"md\.json is not a complete JSON file: line 1, column \d+"):
        next(items)


# -- images ----------------------------------------------------------------------------------------------------------


def test_boxes_of_animals_at_the_threshold_are_classified_and_all_others_are_kept() -> None:
    boxes = [(0.1 * n, 0.1, 0.05, 0.5) for n in range(5)]
    found = [
        detection("1", 0.2, boxes[0]),
        detection("1", 0.199, boxes[1]),
        detection("2", 0.95, boxes[2]),
        detection("3", 0.9, boxes[3]),
        detection("7", 0.8, boxes[4]),
    ]
    categories = {"1": "Animal", "2": "person", "3": "vehicle", "7": "bird of prey"}
    item = only_item(results(image("cam/a.jpg", *found), detection_categories=categories))
    assert item.detected
    assert item.path == Path("cam/a.jpg")
    assert [(r.category, r.confidence, r.classified) for r in item.regions] == [
        ("animal", 0.2, True), ("animal", 0.199, False), ("person", 0.95, False), ("vehicle", 0.9, False),
        ("bird of prey", 0.8, True),
    ]  # fmt: skip
    assert item.regions[0].xywh == [0.0, 0.1, 0.05, 0.5]
    assert {(r.detector, r.detector_version) for r in item.regions} == {("md_v5a.0.0.pt", "v5a.0.0")}
    other = only_item(results(image("a.jpg", *found), detection_categories=categories), detection_threshold=0.85)
    assert [region.classified for region in other.regions] == [False] * 5


def test_an_image_without_boxes_is_blank_and_not_the_whole_image() -> None:
    item = only_item(results(image("a.jpg")))
    assert item.detected
    assert item.regions == ()


@pytest.mark.parametrize(
    "words", ["Failure image access", "inference failure: CUDA out of memory", "video could not be read"]
)
def test_failures_are_carried_over_word_for_word(words: str) -> None:
    assert unlisted({"file": "a.jpg", "failure": words, "detections": None}) == [("a.jpg", words)]
    assert unlisted({"file": "a.jpg", "failure": words}) == [("a.jpg", words)]


@pytest.mark.parametrize(
    "what", [{"failure": "image access failure", "detections": None}, {"detections": None}, {"detections": ["box"]}]
)
def test_the_metadata_of_an_image_without_boxes_is_kept(what: dict[str, Any]) -> None:
    about = {"datetime": "2024:05:31 12:34:56", "latitude": 1.5, "longitude": 2.5, "location": "camA", "seq_id": 7}
    (one,) = listed(results({"file": "a.jpg", **what, **about}))
    assert isinstance(one, Unlisted)
    assert one.known is not None
    assert one.known.path == Path("a.jpg")
    assert one.known.captured_at == datetime(2024, 5, 31, 12, 34, 56)
    assert one.known.place == Place(latitude=1.5, longitude=2.5, month=5)
    assert one.known.deployment == "camA"
    stated = {"failure": what["failure"]} if "failure" in what else {}
    assert one.known.metadata == {"seq_id": 7, **stated}


def test_a_failure_with_boxes_is_a_failure_and_the_boxes_are_mentioned() -> None:
    assert unlisted(image("a.jpg", detection(), failure="inference failure")) == [
        ("a.jpg", "inference failure"),
        ("md.json#images[0]", "images[0] 'a.jpg': it has a failure and 1 detections; the detections are skipped"),
    ]


def test_frames_of_a_video_are_items_in_their_order() -> None:
    video = image(
        "v.mp4",
        detection(frame_number=60),
        detection(frame_number=20, conf=0.1),
        detection("2", frame_number=20),
        frame_rate=29.97,
        frames_processed=[0, 20, 40, 60],
    )
    first, second = (one for one in listed(results(video)) if isinstance(one, MediaItem))
    assert [(one.frame, len(one.regions), one.detected) for one in (first, second)] == [(20, 2, True), (60, 1, True)]
    assert first.metadata == {"frame_rate": 29.97, "frames_processed": [0, 20, 40, 60]}
    assert second.metadata == {"frame_rate": 29.97}
    empty = only_item(results(image("w.mp4", frame_rate=30, frames_processed=[0])))
    assert (empty.frame, empty.regions, empty.detected) == (0, (), True)


def test_boxes_of_a_video_without_a_frame_are_kept_and_not_named() -> None:
    video = image("v.mp4", detection(), detection("2"), detection(frame_number=7))
    message, first, later = listed(results(video, info={"format_version": "1.3"}))
    assert message == Unlisted(
        "md.json#images[0]",
        "images[0] 'v.mp4': 2 of 3 detections have no frame_number: they are kept with frame 0, and not named",
    )
    assert isinstance(first, MediaItem)
    assert isinstance(later, MediaItem)
    assert (first.frame, [one.classified for one in first.regions]) == (0, [False, False])
    assert (later.frame, [one.classified for one in later.regions]) == (7, [True])


def test_time_place_and_camera_of_the_file_fill_the_item() -> None:
    about = {
        "datetime": "2024:05:06 07:08:09", "latitude": -1.5, "longitude": 36.8, "country": "ken", "location": "cam 7",
        "width": 2048, "height": 1536, "max_detection_conf": math.nan,
    }  # fmt: skip
    item = only_item(results(image("a.jpg", **about)))
    assert item.captured_at == datetime(2024, 5, 6, 7, 8, 9)
    assert item.place == Place("KEN", None, -1.5, 36.8, month=5)
    assert item.deployment == "cam 7"
    assert item.metadata == {"width": 2048, "height": 1536, "max_detection_conf": None}
    aware = only_item(results(image("a.jpg", **about)), time_zone="+03:00")
    assert aware.captured_at is not None
    assert aware.captured_at.isoformat() == "2024-05-06T07:08:09+03:00"


def test_unusable_times_and_places_stay_in_the_metadata() -> None:
    about = {"datetime": "yesterday", "latitude": 91, "longitude": 0, "country": "Kenya!", "location": ["7"]}
    item = only_item(results(image("a.jpg", **about)))
    assert (item.captured_at, item.place, item.deployment) == (None, Place(), None)
    assert item.metadata == about


def test_the_classes_of_another_classifier_are_kept_by_name() -> None:
    found = detection(classifications=[["3", 0.8], ["9", 0.1], "rubbish"])
    item = only_item(results(image("a.jpg", found), classification_categories={"3": "elk"}))
    assert item.metadata == {"classifications": [{"bbox": [0.1, 0.2, 0.3, 0.4], "classes": [["elk", 0.8], ["9", 0.1]]}]}


# -- bad records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (detection(bbox=[0.1, 0.1, math.nan, 0.1]), "bbox [0.1, 0.1, nan, 0.1]: must be four numbers"),
        (detection(bbox=[0.1, 0.1, 0.95, 0.1]), "bbox [0.1, 0.1, 0.95, 0.1]: it leaves the image"),
        (detection(bbox=[120, 80, 300, 200]), "bbox [120, 80, 300, 200]: it leaves the image, which is 0 to 1"),
        (detection(bbox=[-0.01, 0.1, 0.5, 0.1]), "bbox [-0.01, 0.1, 0.5, 0.1]: it leaves the image"),
        (detection(bbox=[0.1, 0.1, 0, 0.1]), "bbox [0.1, 0.1, 0, 0.1]: width and height must be above 0"),
        (detection(bbox=[0.0]), "bbox [0.0]: must be four numbers"),
        (detection(bbox=None), "bbox missing: must be four numbers"),
        (detection(bbox=["left", 0, 0.1, 0.1]), "bbox ['left', 0, 0.1, 0.1]: must be four numbers"),
        (detection(conf=1.7), "conf 1.7: must be a number from 0 to 1"),
        (detection(conf=math.nan), "conf nan: must be a number"),
        ({"category": "1", "bbox": [0, 0, 1, 1]}, "conf missing: must be a number"),
        (detection("8"), "category '8' is not in detection_categories, which has 1, 2, 3"),
        ({"conf": 0.5, "bbox": [0, 0, 1, 1]}, "category missing is not in detection_categories"),
        (detection(conf=10**400), "conf 1000"),
        (detection(frame_number=2**40), "frame_number 1099511627776: must be a whole number from 0"),
        (detection(frame_number=-1), "frame_number -1: must be a whole number from 0"),
        (detection(), "duplicate bbox [0.1, 0.2, 0.3, 0.4] of category animal"),
        ([0.1, 0.1, 0.1, 0.1], "it is an array; it must be an object with category, conf and bbox"),
    ],
)
def test_a_box_that_cannot_be_used_is_dropped_with_its_file_record_and_value(bad: Any, why: str) -> None:
    found = listed(results(image("good.jpg"), image("cam/a.jpg", detection(), bad)))
    assert [one.uri for one in found] == ["good.jpg", "md.json#images[1].detections[1]", "cam/a.jpg"]
    message, item = found[1], found[2]
    assert isinstance(message, Unlisted)
    assert message.reason.startswith(f"images[1] 'cam/a.jpg' detections[1]: {why}")
    assert isinstance(item, MediaItem)
    assert len(item.regions) == 1


def test_an_image_none_of_whose_boxes_can_be_used_is_not_called_blank() -> None:
    assert unlisted(image("a.jpg", detection(bbox=[0.0]), detection(conf=2))) == [
        ("a.jpg", "none of its boxes can be used: images[0] 'a.jpg' detections[0]: bbox [0.0]: must be four numbers: "
         "x, y, width, height from 0 to 1; images[0] 'a.jpg' detections[1]: conf 2: must be a number from 0 to 1")
    ]  # fmt: skip


def test_a_box_outside_by_rounding_is_clipped() -> None:
    item = only_item(results(image("a.jpg", detection(bbox=(-0.0004, 0.5, 0.4, 0.5009), conf=1.0005))))
    (region,) = item.regions
    assert region.confidence == 1.0
    assert region.xywh == pytest.approx([0, 0.5, 0.3996, 0.5])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (image("/etc/passwd"), "file '/etc/passwd' is an absolute path outside the folder"),
        (image("../a.jpg"), "file '../a.jpg' is a path outside the folder"),
        (image("C:\\a.jpg"), "file 'C:\\\\a.jpg' is an absolute path outside the folder"),
        (image(""), "file name '' is empty"),
        (image("good.jpg"), "duplicate file 'good.jpg'; images[0] is used"),
        (image(".\\good.jpg"), "duplicate file '.\\\\good.jpg'; images[0] is used"),
        (image("\ud800.jpg"), "file name '\\ud800.jpg' contains half of a character"),
        ({"detections": []}, "file is null; it must be the name of an image"),
        ("a.jpg", "it is a text; it must be an object with file and detections"),
    ],
)
def test_an_image_with_an_unusable_name_is_reported_and_the_others_are_listed(bad: Any, why: str) -> None:
    images = (image("good.jpg"), bad, image("last.jpg"))
    assert uris(*images) == ["good.jpg", "last.jpg"]
    ((uri, reason),) = unlisted(*images)
    assert uri == "md.json#images[1]"
    assert reason.startswith(f"images[1]: {why}")


def test_a_name_that_no_disk_takes_is_listed_and_fails_when_it_is_read() -> None:
    assert uris(image("a" * 5_000 + ".jpg")) == ["a" * 5_000 + ".jpg"]


def test_paths_outside_are_accepted_and_rebased_on_request() -> None:
    assert uris(image("../a.jpg"), image("/b.jpg"), allow_outside=True) == ["../a.jpg", "/b.jpg"]
    assert uris(image("a.jpg"), base_folder=Path("photos")) == ["photos/a.jpg"]


def test_an_image_without_detections_and_without_failure_is_a_failure() -> None:
    assert unlisted({"file": "a.jpg"}) == [("a.jpg", "images[0] 'a.jpg': detections is null, and there is no failure")]
    assert unlisted({"file": "a.jpg", "detections": {}, "failure": None}) == [
        ("a.jpg", "images[0] 'a.jpg': detections is an object, and there is no failure")
    ]
