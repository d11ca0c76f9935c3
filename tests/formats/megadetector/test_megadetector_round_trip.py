"""MegaDetector JSON in, classified, and out again: nothing is lost, and megadetector-utils accepts the result."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from megadetector_samples import INFO, Command, detection, image, results, written
from PIL import Image

from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.megadetector.check import problems_of
from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
from bioclip_plugin.items.media import MediaItem, Unlisted

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle", "5": "bird"}


@pytest.fixture
def survey(tmp_path: Path) -> dict[str, Any]:
    """Survey of two deployments with a red and a green half in each image; some boxes, blanks and failures."""
    for camera in ("cam1", "cam2"):
        (tmp_path / "survey" / camera).mkdir(parents=True)
        for number in range(4):
            photo = Image.new("RGB", (200, 100), COLOURS["green"])
            photo.paste(COLOURS["red"], (0, 0, 100, 100))
            photo.save(tmp_path / "survey" / camera / f"IMG_{number}.png")
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)
    (tmp_path / "survey" / "cam2" / "broken.jpg").write_bytes(b"not an image")
    (tmp_path / "survey" / "cam2" / "before.jpg").write_bytes(b"")
    return results(
        image("cam1/IMG_0.png", detection("1", 0.951, left), detection("2", 0.876, right)),
        image(
            "cam1/IMG_1.png", detection("1", 0.501, right), detection("1", 0.05, left), datetime="2030:05:06 07:08:09"
        ),
        image("cam1/IMG_2.png"),
        image("cam1/IMG_3.png", detection("3", 0.7, (0.1234, 0.2345, 0.3456, 0.4567))),
        image("cam2/IMG_0.png", detection("5", 0.6, right), detection("5", 0.5, left)),
        image("cam2/IMG_1.png", detection("1", 0.2, left)),
        {"file": "cam2/before.jpg", "failure": "Failure image access", "detections": None},
        image("cam2/broken.jpg", detection("1", 0.9, left)),
        detection_categories=CATEGORIES,
    )


@pytest.fixture
def exported(command: Command, colour_labels: str, survey: dict[str, Any]) -> Path:
    """The survey's file, classified and exported beside it."""
    written(survey, "survey/md.json")
    code, _, said = command(
        "classify", "survey/md.json", "--model", "fake", "--labels", colour_labels, "--store", "r.db"
    )
    assert code == 3, said  # two images cannot be read
    code, _, said = command("export", "--store", "r.db", "--format", "megadetector", "--output", "survey/out.json")
    assert code == 0, said
    return Path("survey/out.json")


def validated(path: Path, base_folder: str) -> dict[str, Any]:
    """Validate the file with megadetector-utils, which raises errors and requires that each image exists."""
    from megadetector.postprocessing.validate_batch_results import ValidateBatchResultsOptions, validate_batch_results

    options = ValidateBatchResultsOptions()
    options.raise_errors = options.check_image_existence = True
    options.relative_path_base = base_folder
    found: dict[str, Any] = validate_batch_results(str(path), options)["validation_results"]
    assert (found["errors"], found["warnings"]) == ([], [])
    return found


def boxes(content: dict[str, Any]) -> dict[str, Any]:
    """Return the boxes of each file by category name, confidence and place, or its failure."""
    names = content["detection_categories"]
    return {
        entry["file"]: entry.get("failure")
        or [(names[one["category"]], one["conf"], one["bbox"]) for one in entry["detections"]]
        for entry in content["images"]
    }


def test_every_file_box_category_and_failure_of_the_input_comes_back(exported: Path, survey: dict[str, Any]) -> None:
    before, after = boxes(survey), boxes(json.loads(exported.read_text()))
    broken = after.pop("cam2/broken.jpg")  # the detector could read it, but it is damaged now
    assert broken.startswith("image access failure: ")
    del before["cam2/broken.jpg"]
    assert after == before
    assert list(after) == list(before)
    again = json.loads(exported.read_text())
    assert again["info"]["detector"] == INFO["detector"]
    assert again["info"]["detector_metadata"]["megadetector_version"] == "v5a.0.0"


def test_boxes_of_animals_have_names_and_no_others(exported: Path) -> None:
    content = json.loads(exported.read_text())
    names = content["classification_categories"]
    best = {
        (entry["file"], number): names[one["classifications"][0][0]]
        for entry in content["images"]
        for number, one in enumerate(entry["detections"] or [])
        if "classifications" in one
    }
    assert best == {
        ("cam1/IMG_0.png", 0): "Red fictus", ("cam1/IMG_1.png", 0): "Green fictus", ("cam2/IMG_0.png", 0): "Green fictus",
        ("cam2/IMG_0.png", 1): "Red fictus", ("cam2/IMG_1.png", 0): "Red fictus",
    }  # fmt: skip
    taxonomy = {text.split(";", 1)[1] for text in content["classification_category_descriptions"].values()}
    assert "mammalia;carnivora;warmidae;red;fictus;scarlet invention" in taxonomy


def test_the_same_export_again_has_the_same_bytes_and_is_read_and_exported_again_alike(
    command: Command, exported: Path, colour_labels: str
) -> None:
    first = exported.read_bytes()
    arguments = ("export", "--store", "r.db", "--format", "megadetector", "--output")
    assert command(*arguments, "survey/two.json")[0] == 0
    assert Path("survey/two.json").read_bytes() == first
    classified = command("classify", exported, "--model", "fake", "--labels", colour_labels, "--store", "second.db")
    assert classified[0] == 3
    assert command("export", "--store", "second.db", *arguments[3:], "survey/three.json")[0] == 0
    assert boxes(json.loads(Path("survey/three.json").read_text())) == boxes(json.loads(first))


def test_our_validation_and_that_of_megadetector_utils_find_nothing(command: Command, exported: Path) -> None:
    code, out, said = command("validate", exported, "--base-folder", "survey", "--json")
    assert code == 0, said
    # A failure from an old file is given back word for word, although readers know newer words.
    assert [one["record"] for one in json.loads(out)["problems"]] == ["images[6] cam2/before.jpg"]

    assert validated(exported, "survey")["detection_category_id_to_count"] == {"1": 4, "2": 1, "3": 1, "4": 2}


def test_the_sequence_smoother_and_the_csv_report_of_megadetector_utils_run_without_a_warning(
    exported: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    from megadetector.postprocessing.classification_postprocessing import (
        ClassificationSmoothingOptions,
        smooth_classification_results_sequence_level,
    )
    from megadetector.postprocessing.generate_csv_report import generate_csv_report

    content = json.loads(exported.read_text())
    options = ClassificationSmoothingOptions()
    options.classification_confidence_threshold = 0.0
    options.detection_category_names_to_smooth = ["animal", "bird"]
    sequences = [
        {"file_name": one["file"], "seq_id": one["file"].split("/")[0], "datetime": str(number)}
        for number, one in enumerate(content["images"])
    ]
    capsys.readouterr()
    smoothed = smooth_classification_results_sequence_level(
        str(exported), {"images": sequences}, "survey/smoothed.json", options
    )
    assert "pre_smoothing_description" in smoothed["images"][0]
    generate_csv_report(str(exported), "survey/report.csv", datetime_source=str(exported), verbose=False)
    said = capsys.readouterr()
    assert "arning" not in said.out + said.err
    assert [str(one.message) for one in recwarn if "megadetector" in one.filename] == []
    with Path("survey/report.csv").open(newline="") as file:
        rows = {
            (row["filename"], row["detection_category"]): row["classification_category"] for row in csv.DictReader(file)
        }
    assert rows["cam1/IMG_0.png", "animal"] == "Red fictus"
    assert rows["cam1/IMG_0.png", "person"] == ""
    assert rows["cam1/IMG_2.png", "empty"] == ""
    assert rows["cam2/before.jpg", "error"] == "Failure image access"


def test_images_without_a_detector_are_whole_images_in_the_file(
    command: Command, colour_labels: str, survey: Any
) -> None:
    assert command("classify", "survey/cam1", "--model", "fake", "--labels", colour_labels, "--store", "r.db")[0] == 0
    code, _, said = command(
        "export", "--store", "r.db", "--format", "megadetector", "--base-folder", "survey", "--output", "whole.json"
    )
    assert code == 0, said
    content = json.loads(Path("whole.json").read_text())
    assert [entry["file"] for entry in content["images"]] == [f"cam1/IMG_{number}.png" for number in range(4)]
    assert {(one["conf"], tuple(one["bbox"])) for entry in content["images"] for one in entry["detections"]} == {
        (1.0, (0, 0, 1, 1))
    }


def test_frames_of_a_video_are_named_and_come_back_as_one_entry(
    command: Command, colour_labels: str, tmp_path: Path
) -> None:
    red_then_green(tmp_path / "v.mp4", frames=20)
    found = [
        detection("1", 0.9, (0.0, 0.0, 1.0, 1.0), frame_number=5),
        detection("2", 0.8, (0.0, 0.0, 0.5, 0.5), frame_number=5),
        detection("1", 0.7, (0.25, 0.25, 0.5, 0.5), frame_number=15),
    ]
    video = image("v.mp4", *found, frame_rate=10.0, frames_processed=[0, 5, 10, 15])
    written(results(video), "md.json")
    code, _, said = command("classify", "md.json", "--model", "fake", "--labels", colour_labels, "--store", "r.db")
    assert code == 0, said
    code, _, said = command("export", "--store", "r.db", "--format", "megadetector", "--output", "out.json")
    assert code == 0, said
    validated(Path("out.json"), ".")
    content = json.loads(Path("out.json").read_text())
    (entry,) = content["images"]
    assert (entry["frame_rate"], entry["frames_processed"]) == (10.0, [0, 5, 10, 15])
    names = content["classification_categories"]
    named = [one.pop("classifications", None) for one in entry["detections"]]
    assert entry["detections"] == found
    assert [names[pairs[0][0]] if pairs else None for pairs in named] == ["Red fictus", None, "Green fictus"]


def red_then_green(path: Path, frames: int) -> None:
    """Write a video at ten frames per second whose first half is red."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            pixels = np.zeros((64, 96, 3), np.uint8)
            pixels[:] = COLOURS["red" if number < frames // 2 else "green"]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def test_a_file_that_megadetector_utils_writes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from megadetector.detection.run_detector_batch import write_results_to_file

    monkeypatch.chdir(tmp_path)
    entries = [
        image(str(tmp_path / "cam" / "a.jpg"), detection("1", 0.5), detection("2", 0.9)),
        {"file": str(tmp_path / "cam" / "b.jpg"), "failure": "image access failure", "detections": None},
        image(str(tmp_path / "c.jpg")),
    ]
    write_results_to_file(entries, "md.json", relative_path_base=str(tmp_path), detector_file="md_v5a.0.0.pt")
    assert MegaDetectorSource().takes("md.json")
    empty, found, failed = MegaDetectorSource().items("md.json", ListingOptions())
    assert isinstance(found, MediaItem)
    assert isinstance(empty, MediaItem)
    assert (empty.uri, found.uri, failed.uri) == ("c.jpg", "cam/a.jpg", "cam/b.jpg")
    assert [(one.category, one.detector, one.detector_version) for one in found.regions] == [
        ("person", "md_v5a.0.0.pt", "v5a.0.1"), ("animal", "md_v5a.0.0.pt", "v5a.0.1"),
    ]  # fmt: skip
    assert isinstance(failed, Unlisted)
    assert failed.reason == "image access failure"
    assert list(problems_of(Path("md.json"))) == []
