"""MegaDetector's tables as input: boxes from top to right, failures, and rows that are no items."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.findings import Findings
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.read_table import MegaDetectorTableSource, is_table
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.listing import Listing, source_of

SOURCES = create_plugin_manager(installed=False).sources()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(*rows: dict[str, Any], name: str = "md.csv") -> str:
    with Path(name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return name


def row(image: str, detections: Any, confidence: Any = 0.9, **more: Any) -> dict[str, Any]:
    cell = detections if isinstance(detections, str) else json.dumps(detections)
    return {"image_path": image, "max_confidence": confidence, "detections": cell, **more}


def listed(address: str, **options: Any) -> list[MediaItem | Unlisted]:
    with Listing([address], SOURCES, ListingOptions(**options)) as listing:
        return list(listing)


def test_boxes_are_read_from_top_to_right_with_their_categories() -> None:
    address = table(
        row("cam/a.jpg", [[0.1, 0.2, 0.5, 0.8, 0.9, 1], [0, 0, 1, 1, 0.8, 2], [0.2, 0.2, 0.3, 0.3, 0.1]]),
        row("cam/b.jpg", [], 0),
    )
    first, empty = listed(address)
    assert isinstance(first, MediaItem)
    assert isinstance(empty, MediaItem)
    assert [(one.category, one.classified) for one in first.regions] == [
        ("animal", True), ("person", False), ("animal", False),
    ]  # fmt: skip
    assert first.regions[0].xywh == pytest.approx([0.2, 0.1, 0.6, 0.4])
    assert (empty.regions, empty.detected) == ((), True)
    assert "detections" not in first.metadata


def test_failures_bad_boxes_and_duplicates_have_a_reason() -> None:
    good = [0.1, 0.2, 0.5, 0.8, 0.9, 1]
    address = table(
        row("a.jpg", "image access failure", "failure"),
        row("b.jpg", [good, [0.1, 0.2, 0.5, 0.8, 1.9, 1], [10, 20, 50, 80, 0.9, 1], [1, 2], [*good[:5], 7]]),
        row("c.jpg", "yes"),
        row("b.jpg", [good]),
        row("", []),
        row("../x.jpg", []),
    )
    found = listed(address)
    assert [one.uri for one in found] == [
        "a.jpg", *["md.csv#row=2"] * 4, "b.jpg", "c.jpg", "md.csv#row=4", "md.csv#row=5", "md.csv#row=6",
    ]  # fmt: skip
    reasons = [one.reason for one in found if isinstance(one, Unlisted)]
    assert reasons[0] == "image access failure"
    assert "detections[1]: conf 1.9" in reasons[1]
    assert "it leaves the image" in reasons[2]
    assert "top, left, bottom, right, confidence and category are needed" in reasons[3]
    assert "category 7" in reasons[4]
    assert "a list of boxes is needed" in reasons[5]
    assert "duplicate image 'b.jpg'; row 2 is used" in reasons[6]


def test_a_table_without_boxes_is_whole_images_and_reported() -> None:
    findings = Findings()
    (item,) = listed(table({"image_path": "a.jpg", "max_confidence": 0.9}), findings=findings)
    assert isinstance(item, MediaItem)
    assert (item.regions, item.detected) == ((), False)
    assert [line.partition(";")[0] for line in findings.lines()] == [
        "tables without the column detections do not have boxes"
    ]


def test_the_table_that_megadetector_utils_writes_is_read(tmp_path: Path) -> None:
    from megadetector.postprocessing.convert_output_format import convert_json_to_csv

    boxes = [{"category": "1", "conf": 0.9, "bbox": [0.2, 0.1, 0.6, 0.4]}]
    content = {
        "info": {"format_version": "1.4", "detector": "md_v5a.0.0.pt"},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": [{"file": "a.jpg", "detections": boxes}, {"file": "b.jpg", "failure": "x", "detections": None}],
    }
    (tmp_path / "md.json").write_text(json.dumps(content))
    convert_json_to_csv("md.json", "md.csv")
    assert source_of("md.csv", SOURCES).name == MegaDetectorTableSource.name
    item, failed = listed("md.csv")
    assert isinstance(item, MediaItem)
    assert item.regions[0].xywh == pytest.approx([0.2, 0.1, 0.6, 0.4])
    assert isinstance(failed, Unlisted)
    assert failed.reason == "x"


def test_other_tables_are_left_to_others() -> None:
    assert not is_table(["image_path", "species"])
    assert not is_table(["image", "detections"])
