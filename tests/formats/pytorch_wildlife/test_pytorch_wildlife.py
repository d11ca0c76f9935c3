"""Detections of PyTorch-Wildlife and plain lists: their recognition, the meaning of their boxes, and skipped entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_core.errors import SourceError
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.pytorch_wildlife.read import PytorchWildlifeSource
from bioclip_plugin.formats.shared.pixel_boxes import Header, boxes_in
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.listing import Listing, source_of

NAMES = {"0": "animal", "1": "person", "2": "vehicle"}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo("a.jpg")


def photo(name: str, size: tuple[int, int] = (200, 100), orientation: int = 1) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(name, exif=exif)


def listed(content: Any, **options: Any) -> list[MediaItem | Unlisted]:
    """Return what the built-in source that takes the file lists."""
    Path("d.json").write_text(json.dumps(content))
    with Listing(["d.json"], create_plugin_manager(installed=False).sources(), ListingOptions(**options)) as listing:
        return list(listing)


def only_item(content: Any, **options: Any) -> MediaItem:
    (item,) = listed(content, **options)
    assert isinstance(item, MediaItem), item.reason
    return item


def reasons(content: Any, **options: Any) -> list[tuple[str, str]]:
    return [(one.uri, one.reason) for one in listed(content, **options) if isinstance(one, Unlisted)]


def box(*bbox: float, category: Any = "animal", confidence: Any = 0.9) -> dict[str, Any]:
    return {"category": category, "confidence": confidence, "bbox": list(bbox)}


def entry(file: str, *detections: Any, **more: Any) -> dict[str, Any]:
    return {"file": file, "detections": list(detections), **more}


def annotated(*annotations: Any, categories: Any = NAMES) -> dict[str, Any]:
    return {"annotations": list(annotations), "categories": categories}


def annotation(file: str, *boxes: tuple[list[float], int, float], **more: Any) -> dict[str, Any]:
    bbox, category, confidence = ([one[place] for one in boxes] for place in range(3))
    return {"img_id": file, "bbox": bbox, "category": category, "confidence": confidence, **more}


# -- lists of detections -----------------------------------------------------------------------------------------------


def test_corners_in_pixels_become_fractions_of_the_image() -> None:
    first, empty = listed([entry("a.jpg", box(20, 10, 120, 60), seen="night"), entry("b.jpg")])
    assert isinstance(first, MediaItem)
    assert isinstance(empty, MediaItem)
    (region,) = first.regions
    assert region.xywh == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert (region.category, region.confidence, region.classified) == ("animal", 0.9, True)
    assert first.metadata == {"seen": "night"}
    assert (empty.regions, empty.detected) == ((), True)


def test_people_and_faint_boxes_are_kept_and_not_named() -> None:
    item = only_item([entry("a.jpg", box(0, 0, 9, 9, category="human"), box(0, 0, 8, 8, confidence=0.1))])
    assert [(one.category, one.classified) for one in item.regions] == [("person", False), ("animal", False)]


def test_the_results_of_megadetectors_own_python_functions_are_read_as_they_are_meant() -> None:
    one = {"category": "1", "conf": 0.8, "bbox": [0.1, 0.2, 0.3, 0.4]}
    person = {"category": "2", "conf": 0.7, "bbox": [0.5, 0.5, 0.5, 0.5]}
    item = only_item([entry("a.jpg", one, person)])
    assert [(region.category, region.xywh) for region in item.regions] == [
        ("animal", [0.1, 0.2, 0.3, 0.4]), ("person", [0.5, 0.5, 0.5, 0.5]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0.6, 0.6, 0.9, 0.9)], [0.6, 0.6, 0.3, 0.3]),  # x + width would leave the image
        ([(0.5, 0.5, 0.2, 0.2), (0.1, 0.1, 0.9, 0.9)], [0.5, 0.5, 0.2, 0.2]),  # right would be left of left
    ],
)
def test_fractions_are_read_where_all_boxes_allow_one_meaning(boxes: Any, expected: list[float]) -> None:
    item = only_item([entry("a.jpg", *(box(*one) for one in boxes))])
    assert item.regions[0].xywh == pytest.approx(expected)


def test_fractions_with_two_meanings_are_refused() -> None:
    with pytest.raises(SourceError, match="may be x, y, width, height as well as left, top, right, bottom"):
        listed([entry("a.jpg", box(0.1, 0.1, 0.3, 0.3))])


def test_pixels_that_are_no_corners_are_refused() -> None:
    with pytest.raises(
        SourceError, match=r"left, top, right, bottom, which element 1, box 0: \[150, 10, 30, 50\] is not"
    ):
        listed([entry("a.jpg", box(1, 1, 30, 30)), entry("b.jpg", box(150, 10, 30, 50))])


@pytest.mark.parametrize(
    ("detection", "why"),
    [
        (box(20, 10, 120, category="animal"), "bbox [20, 10, 120]: four numbers are needed"),
        (box(20, 10, 20, 60), "bbox [20, 10, 20, 60]: right must be greater than left, and bottom than top"),
        (box(20, 10, 40, 60, confidence=90), "conf 90: must be a number from 0 to 1"),
        (box(20, 10, 40, 60, category=1), "category 1: a name such as animal is needed"),
        (box(1, 1, 50, 50), "duplicate bbox"),
        ("box", "bbox missing: four numbers are needed"),
    ],
)
def test_an_unusable_box_is_reported_and_the_others_are_kept(detection: Any, why: str) -> None:
    message, item = listed([entry("a.jpg", box(1, 1, 50, 50), detection)])
    assert isinstance(message, Unlisted)
    assert message.reason.startswith(f"[0] 'a.jpg' detections[1]: {why}")
    assert isinstance(item, MediaItem)
    assert len(item.regions) == 1


def test_an_element_without_a_usable_file_or_without_boxes_is_skipped_with_the_reason() -> None:
    Path("broken.jpg").write_text("no image")
    content = [
        entry("a.jpg", box(20, 10, 250, 60)),
        entry("missing.jpg", box(20, 10, 120, 60)),
        entry("broken.jpg", box(20, 10, 120, 60)),
        entry("../x.jpg"),
        entry("a.jpg"),
        {"file": "c.jpg", "detections": None, "failure": "image access failure"},
        {"file": "d.jpg"},
        {"detections": []},
    ]
    found = reasons(content)
    assert [uri for uri, _ in found] == [
        "a.jpg", "missing.jpg", "broken.jpg", "d.json#[3]", "d.json#[4]", "c.jpg", "d.jpg", "d.json#[7]",
    ]  # fmt: skip
    assert [reason.partition(":")[0] for _, reason in found[:3]] == [
        "bbox [20.0, 10.0, 250.0, 60.0]",
        "its boxes cannot be used without the size of the image",
        "its boxes cannot be used without the size of the image",
    ]
    assert "duplicate file 'a.jpg'; [0] is used" in found[4][1]
    assert found[5][1] == "image access failure"


# -- PyTorch-Wildlife's own files --------------------------------------------------------------------------------------


def test_annotations_of_pytorch_wildlife_are_read() -> None:
    photo("b.jpg")
    content = annotated(
        annotation("a.jpg", ([20, 10, 120, 60], 0, 0.95), ([0, 0, 50, 50], 1, 0.5)), annotation("b.jpg")
    )
    first, empty = listed(content)
    assert isinstance(first, MediaItem)
    assert isinstance(empty, MediaItem)
    assert [(one.category, one.classified) for one in first.regions] == [("animal", True), ("person", False)]
    assert first.regions[0].xywh == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert (empty.regions, empty.detected) == ((), True)


def test_answers_of_its_classifier_are_metadata() -> None:
    one = {
        "img_id": "a.jpg", "bbox": [[20, 10, 120, 60]], "det_category": [0], "det_confidence": [0.9],
        "clf_category": [3], "clf_confidence": [0.7],
    }  # fmt: skip
    item = only_item({"annotations": [one], "det_categories": NAMES, "clf_categories": {"3": "ocelot"}})
    assert item.metadata == {"classifications": [{"classes": [["ocelot", 0.7]]}]}
    assert [region.category for region in item.regions] == ["animal"]


def test_categories_without_names_are_refused_since_ids_differ_between_detectors() -> None:
    content = annotated(annotation("a.jpg", ([20, 10, 120, 60], 1, 0.95)), categories=None)
    with pytest.raises(SourceError, match="categories is null, and the ids of the boxes mean other things"):
        listed(content)
    as_list = annotated(annotation("a.jpg", ([20, 10, 120, 60], 1, 0.95)), categories=["animal", "person"])
    assert [region.category for region in only_item(as_list).regions] == ["person"]


def test_points_are_refused_with_the_function_that_writes_boxes() -> None:
    content = annotated({"img_id": "a.jpg", "dot": [[20, 30]], "category": [0], "confidence": [0.9]})
    with pytest.raises(SourceError, match="points and no boxes; save the detections with save_detection_json"):
        listed(content)


def test_lists_of_different_lengths_are_skipped_with_the_reason() -> None:
    content = annotated(
        annotation("a.jpg", ([20, 10, 120, 60], 0, 0.95)),
        {"img_id": "b.jpg", "bbox": [[1, 2, 3, 4]], "category": [], "confidence": [0.9]},
    )
    assert reasons(content) == [("b.jpg", "bbox, category and confidence must be lists of the same length")]


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]},
        [{"name": "a.jpg"}],
        [],
        {"annotations": []},
    ],
)
def test_other_json_is_refused_with_the_kinds_that_are_known(content: Any) -> None:
    assert not PytorchWildlifeSource().takes("d.json")
    with pytest.raises(SourceError, match=r"JSON of an unknown kind: .*PyTorch-Wildlife.*cct_to_md"):
        listed(content)


def test_a_long_first_element_is_recognised_too() -> None:
    many = annotation("a.jpg", *[([20, 10, 120, 60], 0, 0.95)] * 3_000)
    Path("d.json").write_text(json.dumps(annotated(many)))
    assert source_of("d.json", create_plugin_manager(installed=False).sources()).name == PytorchWildlifeSource.name


# -- images that EXIF turns --------------------------------------------------------------------------------------------


def test_the_boxes_decide_whether_they_are_of_the_turned_image_where_they_fit_one_way_only() -> None:
    photo("turned.jpg", orientation=6)  # upright, it is 100 wide and 200 high
    (upright,) = only_item([entry("turned.jpg", box(10, 20, 60, 180))]).regions
    assert upright.xywh == pytest.approx([0.1, 0.1, 0.5, 0.8])
    (stored,) = only_item([entry("turned.jpg", box(20, 10, 180, 60))]).regions
    assert stored.xywh == pytest.approx([0.4, 0.1, 0.5, 0.8])


def test_boxes_that_fit_both_ways_need_a_statement() -> None:
    photo("turned.jpg", orientation=6)
    content = [entry("turned.jpg", box(10, 20, 60, 80))]
    ((uri, reason),) = reasons(content)
    assert uri == "turned.jpg"
    assert "EXIF turns the image (orientation 6)" in reason
    assert "--turned-boxes upright, or stored" in reason
    assert only_item(content, turned_boxes="upright").regions[0].xywh == pytest.approx([0.1, 0.1, 0.5, 0.3])
    assert only_item(content, turned_boxes="stored").regions[0].xywh == pytest.approx([0.2, 0.05, 0.6, 0.25])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5_000), st.integers(1, 5_000), st.integers(1, 8), st.sampled_from(["upright", "stored"]), st.data()
)
def test_any_box_within_the_image_becomes_a_box_within_the_upright_one(
    width: int, height: int, orientation: int, turned: Any, data: st.DataObject
) -> None:
    wide, high = (height, width) if orientation >= 5 and turned == "upright" else (width, height)
    left, top = data.draw(st.integers(0, wide - 1)), data.draw(st.integers(0, high - 1))
    right, bottom = data.draw(st.integers(left + 1, wide)), data.draw(st.integers(top + 1, high))
    corners = (float(left), float(top), float(right), float(bottom))
    ((x, y, w, h),) = boxes_in(Header(width, height, orientation), [corners], turned)
    assert x >= -1e-9
    assert y >= -1e-9
    assert x + w <= 1 + 1e-9
    assert y + h <= 1 + 1e-9
    assert w * h * width * height == pytest.approx((right - left) * (bottom - top))
