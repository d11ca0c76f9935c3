"""Files of detections that our exports wrote, classified again: the same items, frames, boxes and failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.store import open_store

Command = Callable[..., tuple[int, str, str]]
FORMATS = ("megadetector", "speciesnet")


def items_in(store: str) -> list[tuple[str, int, list[list[float]]]]:
    """Return uri, frame and boxes of each item of the newest run; a whole image has an empty box."""
    with open_store(store) as opened:
        run = opened.runs()[-1]
        return [
            (
                stored.item.uri,
                stored.item.frame,
                sorted(region.region.xywh if region.region else [] for region in stored.regions),
            )
            for stored in opened.items_of(run)
        ]


def listed(address: str) -> list[MediaItem | Unlisted]:
    with Listing([address], create_plugin_manager(installed=False).sources(), ListingOptions()) as listing:
        return list(listing)


def video(path: Path, frames: int = 20) -> None:
    """Write a video at ten frames per second whose first half is red."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            pixels = np.zeros((64, 96, 3), np.uint8)
            pixels[:] = (255, 0, 0) if number < frames // 2 else (0, 255, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def classified(command: Command, address: str, labels: str, store: str, *options: str) -> int:
    return command("classify", address, "--model", "fake", "--labels", labels, "--store", store, *options)[0]


@pytest.mark.parametrize("format_name", FORMATS)
def test_frames_pages_and_photos_come_back_as_they_were_listed(
    command: Command, colour_labels: str, tmp_path: Path, format_name: str
) -> None:
    (tmp_path / "survey").mkdir()
    video(tmp_path / "survey" / "v.mp4")
    pages = [Image.new("RGB", (60, 40), colour) for colour in ("red", "green")]
    pages[0].save(tmp_path / "survey" / "slides.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "survey" / "photo.jpg")
    assert classified(command, "survey", colour_labels, "one.db", "--frames-per-second", "2") == 0
    first = items_in("one.db")
    assert [(uri, frame) for uri, frame, _ in first] == [
        ("survey/photo.jpg", 0), ("survey/slides.tif", 0), ("survey/slides.tif", 1),
        ("survey/v.mp4", 0), ("survey/v.mp4", 5), ("survey/v.mp4", 10), ("survey/v.mp4", 15),
    ]  # fmt: skip
    given = ("--base-folder", "survey") if format_name == "speciesnet" else ()
    code, _, said = command(
        "export", "--store", "one.db", "--format", format_name, "--output", "survey/out.json", *given
    )
    assert code == 0, said
    assert classified(command, "survey/out.json", colour_labels, "two.db") == 0
    assert items_in("two.db") == first


@pytest.mark.parametrize("format_name", FORMATS)
def test_boxes_in_frames_come_back(command: Command, colour_labels: str, tmp_path: Path, format_name: str) -> None:
    video(tmp_path / "v.mp4")
    boxes: list[dict[str, Any]] = [
        {"category": "1", "conf": 0.9, "bbox": [0.0, 0.0, 1.0, 1.0], "frame_number": 5},
        {"category": "2", "conf": 0.8, "bbox": [0.0, 0.0, 0.5, 0.5], "frame_number": 5},
        {"category": "1", "conf": 0.7, "bbox": [0.25, 0.25, 0.5, 0.5], "frame_number": 0},
    ]
    entry = {"file": "v.mp4", "frame_rate": 10.0, "frames_processed": [0, 5], "detections": boxes}
    content = {
        "info": {"format_version": "1.6", "detector": "md"},
        "detection_categories": {"1": "animal", "2": "person"},
        "images": [entry],
    }
    (tmp_path / "md.json").write_text(json.dumps(content))
    assert classified(command, "md.json", colour_labels, "one.db") == 0
    first = items_in("one.db")
    assert [frame for _, frame, _ in first] == [0, 5]
    assert command("export", "--store", "one.db", "--format", format_name, "--output", "out.json")[0] == 0
    assert classified(command, "out.json", colour_labels, "two.db") == 0
    assert items_in("two.db") == first


def test_a_frame_of_a_missing_video_is_a_failure_of_the_video_and_a_folder_of_frames_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extracted.mp4").mkdir()
    names = ("gone.mp4/frame000012.jpg", "extracted.mp4/frame000012.jpg", "cam/frame000012.jpg")
    boxes = [{"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1]}]
    content = {
        "info": {"format_version": "1.3"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": name, "detections": boxes} for name in names],
    }
    Path("md.json").write_text(json.dumps(content))
    found = [(one.uri, one.frame) for one in listed("md.json")]
    assert found == [("gone.mp4", 12), ("extracted.mp4/frame000012.jpg", 0), ("cam/frame000012.jpg", 0)]
    parts = [one.is_part for one in listed("md.json") if isinstance(one, MediaItem)]
    assert parts == [True, False, False]


def test_failures_of_a_listing_have_the_words_of_megadetectors_format_and_stated_ones_stay(
    command: Command, colour_labels: str, tmp_path: Path
) -> None:
    Image.new("RGB", (60, 40), "red").save(tmp_path / "a.jpg")
    bad = {"category": "1", "conf": 0.9, "bbox": [0.5, 0.5, 1.0, 1.0]}
    content = {
        "info": {"format_version": "1.6"},
        "detection_categories": {"1": "animal"},
        "images": [
            {"file": "a.jpg", "detections": [bad]},
            {"file": "b.jpg", "detections": None},
            {"file": "c.jpg", "failure": "Failure image access", "detections": None},
            {"file": "d.jpg", "failure": "video could not be read"},
        ],
    }
    (tmp_path / "md.json").write_text(json.dumps(content))

    def exported(source: str, store: str, output: str) -> dict[str, str]:
        assert classified(command, source, colour_labels, store) == 3
        assert command("export", "--store", store, "--format", "megadetector", "--output", output)[0] == 0
        images = json.loads(Path(output).read_text())["images"]
        assert [one["detections"] for one in images] == [None] * 4
        return {one["file"]: one["failure"] for one in images}

    first = exported("md.json", "one.db", "out.json")
    assert first["a.jpg"].startswith("image access failure: none of its boxes can be used")
    assert first["b.jpg"].startswith("image access failure: images[1] 'b.jpg': detections is null")
    assert first["c.jpg"] == "Failure image access"
    assert first["d.jpg"] == "video could not be read"
    assert exported("out.json", "two.db", "again.json") == first
