"""Checks of MegaDetector files: a good file passes, and each fault that breaks the format's own validator is found."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
from megadetector_samples import INFO, detection, image, results, written

from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.megadetector.check import problems_of

FOX = "7f3c;mammalia;carnivora;canidae;vulpes;fictus;invented fox"
NAMED = {"classification_categories": {"0": "fox"}, "classification_category_descriptions": {"0": FOX}}


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(content: Any, base: Path | None = None) -> list[Problem]:
    return list(problems_of(written(content), base))


def found(content: Any) -> list[tuple[str, str, str]]:
    return [(one.severity, one.record, one.message) for one in problems(content)]


def good() -> dict[str, Any]:
    video = image("v.mp4", detection(frame_number=20), frame_rate=30.0, frames_processed=[0, 20])
    failed = {"file": "c.jpg", "failure": "image access failure: it is empty", "detections": None}
    named = detection(classifications=[["0", 0.75], ["0", 0.25]])
    return copy.deepcopy(results(image("a/a.jpg", named, detection("2")), image("b.jpg"), failed, video, **NAMED))


def test_a_good_file_has_no_problems() -> None:
    assert problems(good()) == []
    assert problems(results()) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (detection(conf=math.nan), "conf must be a number from 0 to 1"),
        (detection(conf=1.7), "conf must be a number from 0 to 1"),
        (detection(conf=1), "conf must be written with a point, such as 1.0"),
        (detection(bbox=[0.0]), "bbox [0.0]: must be four numbers"),
        (detection(bbox=[0, math.nan, 1, 1]), "bbox [0, nan, 1, 1]: must be four numbers"),
        (detection(bbox=[0.5, 0.5, 0.6, 0.1]), "bbox [0.5, 0.5, 0.6, 0.1]: it leaves the image"),
        (detection(bbox=[0.5, 0.5, 0.0, 0.1]), "bbox [0.5, 0.5, 0.0, 0.1]: width and height must be above 0"),
        (detection(1), "category must be an id of detection_categories, as text"),
        (detection("9"), "its category is not in detection_categories"),
        (detection(classifications=[["7", 0.5]]), "its category is not in classification_categories"),
        (detection(classifications=[["0", 0.2], ["0", 0.7]]), "classifications must be in descending order"),
        (detection(classifications=[["0", 1.2]]), "a classification's confidence must be a number from 0 to 1"),
        (detection(classifications=[["0", math.nan]]), "a classification's confidence must be a number from 0 to 1"),
        (detection(classifications=[[0, 0.5]]), "a classification must be [id, confidence], the id as text"),
        (detection(classifications={"0": 0.5}), "classifications must be an array"),
        (detection(frame_number=1.5), "frame_number must be a whole number from 0"),
        ("box", "must be an object"),
    ],
)
def test_a_bad_detection_is_found_with_its_place(bad: Any, message: str) -> None:
    content = good()
    content["images"][1]["detections"] = [detection("2", 0.5), bad]
    ((severity, record, text),) = found(content)
    assert severity == "error"
    assert record == "images[1] b.jpg detections[1]"
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (image("a/a.jpg"), "duplicate file, first used by images[0]"),
        (image("a\\a.jpg"), "duplicate file, first used by images[0]"),
        ({"file": "d.jpg"}, "detections must be an array, empty if nothing was found"),
        ({"file": "d.jpg", "failure": None, "detections": None}, "detections must be an array"),
        ({"file": "d.jpg", "failure": 7, "detections": None}, "failure must be a text with the reason"),
        ({"file": "d.jpg", "failure": "", "detections": None}, "failure must be a text with the reason"),
        (
            {"file": "d.jpg", "failure": "inference failure", "detections": []},
            "detections must be null if there is a failure",
        ),
        ({"file": "", "detections": []}, "file must be the name of an image"),
        ({"file": "a\0.jpg", "detections": []}, "file must not contain a NUL"),
        ({"detections": []}, "file must be the name of an image"),
        (["a.jpg"], "must be an object"),
        (image("w.mp4", frame_rate=30), "a video needs frames_processed since version 1.5"),
        (image("w.mp4", frames_processed=[]), "a video needs frame_rate since version 1.4"),
        (image("w.mp4", frame_rate=-1, frames_processed=[]), "frame_rate must be above 0"),
        (image("w.mp4", frame_rate="30", frames_processed=[]), "frame_rate must be a number above 0"),
        (image("w.mp4", frame_rate=30, frames_processed=["0"]), "frames_processed must be whole numbers from 0"),
        (
            image("w.mp4", detection(), frame_rate=30, frames_processed=[0]),
            "a video needs frame_number in each detection since",
        ),
    ],
)
def test_a_bad_image_is_found_with_its_place(bad: Any, message: str) -> None:
    content = good()
    content["images"].insert(1, bad)
    errors = [one for one in found(content) if one[0] == "error"]
    ((_, record, text),) = errors
    assert record.startswith("images[1]")
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("change", "record", "message"),
    [
        ({"info": {}}, "info", "info.format_version is missing"),
        ({"info": {**INFO, "format_version": 1.6}}, "info", "format_version must be a text"),
        ({"info": {**INFO, "format_version": "0.9"}}, "info", "format_version '0.9' is unknown"),
        ({"detection_categories": None}, "detection_categories", "must be an object with the name of each id"),
        (
            {"detection_categories": {"1": "animal", "2": " "}},
            "detection_categories",
            "the name of 2 must not be blank",
        ),
        (
            {"detection_categories": {"1": "animal", "2": "person", "x": "y"}},
            "detection_categories",
            "an id must be a whole",
        ),
        ({"classification_categories": {"0": ""}}, "classification_categories", "the name of 0 must not be blank"),
        (
            {"classification_category_descriptions": {}},
            "classification_category_descriptions",
            "must have the same ids",
        ),
        ({"images": {}}, "images", "must be an array of images"),
    ],
)
def test_a_bad_header_is_found(change: Any, record: str, message: str) -> None:
    assert [("error", record, True)] == [
        (severity, where, text.startswith(message)) for severity, where, text in found({**good(), **change})
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("animalia;chordata;mammalia;carnivora;canidae;vulpesfictus", "must have 7 parts"),
        ("animalia;chordata;mammalia;carnivora;canidae;vulpes;fictus", "the first part must be an id, not a kingdom"),
        (FOX.replace("fictus", "vulpes fictus"), "the species must be the epithet alone"),
        (FOX.title(), "must be in lower case"),
        ("fox", "must have 7 parts"),
        (7, "must have 7 parts"),
        (f"{FOX}|fox", "must have 7 parts"),
    ],
)
def test_a_taxonomy_string_that_readers_misread_is_found(text: Any, message: str) -> None:
    ((severity, record, said),) = found({**good(), "classification_category_descriptions": {"0": text}})
    assert (severity, record) == ("error", "classification_category_descriptions[0]")
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"info": {**INFO, "format_version": 1.4}}, "format_version must be a text"),
        ({"info": {"format_version": "1.6"}}, "detector is missing"),
        ({"extra": 1}, "this member is not part of the format"),
        ({"detection_categories": {"1": "animals", "2": "person"}}, "no category is called animal"),
        ({"detection_categories": {"0": "empty", "1": "animal", "2": "person"}}, 'id "0" means empty'),
        ({"images": [image("C:\\a.jpg")]}, "file should have forward slashes"),
        ({"images": [image("/data/a.jpg")]}, "file is an absolute path"),
        ({"images": [image("../a.jpg")]}, "file leaves its base folder"),
        ({"images": [{"file": "a.jpg", "failure": "cosmic rays", "detections": None}]}, "failure does not begin with"),
        ({"images": [image("a.jpg", detection(bbox=[-0.0004, 0, 0.5, 0.5]))]}, "bbox leaves the image by rounding"),
        ({"images": [image("a.jpg", detection(classifications=[["0", 0.1]] * 6))]}, "6 classifications: hosts keep 5"),
        ({"images": [image("w.mp4", frame_rate=0, frames_processed=[])]}, "frame_rate is 0"),
    ],
)
def test_a_doubtful_part_is_a_warning(change: Any, message: str) -> None:
    said = found({**good(), **change})
    assert {severity for severity, _, _ in said} == {"warning"}
    assert said[0][2].startswith(message)


def test_broken_json_is_one_problem_with_its_position() -> None:
    Path("md.json").write_text(json.dumps(good())[:-2])
    (problem,) = problems_of(Path("md.json"))
    assert "line 1, column" in problem.message
    assert problem.severity == "error"


def test_missing_images_are_reported_if_the_folder_is_given() -> None:
    Path("a").mkdir()
    Path("a/a.jpg").touch()
    said = [str(one) for one in problems(good(), Path())]
    assert said == [
        "md.json: images[1] b.jpg: the file does not exist in . (given: b.jpg)",
        "md.json: images[2] c.jpg: the file does not exist in . (given: c.jpg)",
        "md.json: images[3] v.mp4: the file does not exist in . (given: v.mp4)",
    ]
    assert {one.severity for one in problems(good(), Path())} == {"warning"}


def test_one_mistake_in_all_records_is_reported_a_thousand_times_and_then_counted() -> None:
    bad = [image(f"/{number}.jpg") for number in range(1_020)]
    said = found(results(*bad, image("a.jpg", detection(conf=2.0))))
    assert [severity for severity, _, _ in said] == ["warning"] * 1_000 + ["error"] + ["warning"]
    assert said[-1] == ("warning", "", "20 more warnings, of 1,020")
