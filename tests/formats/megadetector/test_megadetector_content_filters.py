"""Filters of curation out of a MegaDetector file: scores by hand, names in archives, and files that are something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from bioclip_core.errors import SourceError, UsageError
from bioclip_plugin import create_plugin_manager
from bioclip_training.curation.content_filters import FilterOptions, FilterRecord

ENTRIES = {
    "d/lynx.jpg": [("1", 0.9), ("1", 0.3)],
    "d/hiker.jpg": [("2", 0.8), ("1", 0.05)],
    "d/empty.jpg": [],
    "d/car.jpg": [("3", 0.7)],
}


@pytest.fixture
def detections(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    for name in ENTRIES:
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    images = [
        {
            "file": name,
            "detections": [{"category": kind, "conf": conf, "bbox": [0.1, 0.1, 0.2, 0.2]} for kind, conf in found],
        }
        for name, found in ENTRIES.items()
    ]
    images.append({"file": "d/failed.jpg", "failure": "Failure image access"})
    content = {
        "info": {"format_version": "1.3", "detector": "md_v5a.0.0.pt"}, "images": images,
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
    }  # fmt: skip
    file = tmp_path / "detections.json"
    file.write_text(json.dumps(content))
    return file


def scores(name: str, options: FilterOptions, *records: FilterRecord) -> list[float | None]:
    opened = create_plugin_manager(installed=False).content_filters()[name].open(options)
    assert opened.preprocessing is None
    return list(opened.score(records))


def of_file(path: Path) -> FilterRecord:
    return FilterRecord("a", path.name, path, None, None)


def test_empty_frames_and_people_are_scored_by_the_boxes(detections: Path) -> None:
    folder, options = detections.parent, FilterOptions({"detections": detections})
    records = [of_file(folder / name) for name in (*ENTRIES, "d/failed.jpg", "d/unlisted.jpg")]
    empty = scores("empty-frames", options, *records)
    assert empty == [pytest.approx(0.1), pytest.approx(0.95), 1.0, 1.0, None, None]
    assert scores("people", options, *records) == [0.0, 0.8, 0.0, 0.0, None, None]


def test_members_of_archives_are_found_by_their_names_below_the_base_folder(detections: Path) -> None:
    options = FilterOptions({"detections": detections})
    member = FilterRecord("a", "shards/x.tar#d/hiker.jpg", None, None, None)
    address = FilterRecord("a", "", None, None, None)
    assert scores("people", options, member, address) == [0.8, None]
    elsewhere = FilterOptions({"detections": detections, "base": detections.parent / "other"})
    assert scores("people", elsewhere, member) == [0.8]
    assert scores("people", elsewhere, of_file(detections.parent / "d/hiker.jpg")) == [None]


def test_a_missing_file_and_one_of_another_kind_are_refused(detections: Path) -> None:
    people = create_plugin_manager(installed=False).content_filters()["people"]
    with pytest.raises(UsageError, match="the filter people needs the file of a detector"):
        people.identity(FilterOptions())
    with pytest.raises(UsageError, match="options of the filter people: 'threshold' is not known"):
        people.identity(FilterOptions({"detections": detections}, {"threshold": 0.2}))
    other = detections.with_name("other.json")
    other.write_text("{}")
    with pytest.raises(SourceError, match="is not a MegaDetector file"):
        people.open(FilterOptions({"detections": other}))
