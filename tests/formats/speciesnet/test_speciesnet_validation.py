"""Checks of SpeciesNet files: a good file passes, and each fault is found with record and value."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from speciesnet_samples import CANIDS, FOX, INFO, WHOLE, classified, detection, of_4x, prediction, raw, results, written

from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.speciesnet.check import check_speciesnet


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(content: Any) -> list[Problem]:
    return list(check_speciesnet(written(content)))


def only_problem(content: Any) -> Problem:
    (problem,) = problems(content)
    return problem


def processed(**changes: Any) -> dict[str, Any]:
    """Return a classified box whose processed classification is changed."""
    said = {"class": CANIDS, "score": 0.9, "source": "classifier"}
    return classified(processed_classification=said | changes)


def with_raw(*pairs: tuple[str, float]) -> dict[str, Any]:
    """Return a classified box with these classes."""
    return classified(raw_classifications=raw(*pairs))


def test_a_good_file_has_no_problems() -> None:
    place = {"country": "USA", "admin1_region": "CA", "latitude": 36.5, "longitude": -118.0}
    content = results(
        prediction("cam/a.jpg", classified(), detection("2", 0.5), detection("3", 0.3), **place),
        prediction("cam/b.jpg"),
        prediction("/photos/c.jpg", {**classified(), **WHOLE}, detection(conf=0.4)),
        {"filepath": "d.jpg", "failures": ["CLASSIFIER", "DETECTOR"]},
        prediction("e.jpg", detection(), failures=["CLASSIFIER"]),
    )
    assert problems(content) == []
    assert problems(results()) == []


def test_the_4_x_shape_is_called_by_its_name() -> None:
    found = problems({"predictions": [prediction("a.jpg"), of_4x("b.jpg", detection())]})
    assert [problem.record for problem in found] == ["predictions[1] classifications"]
    assert "SpeciesNet 4.x" in found[0].message
    assert "raw_classifications" in found[0].message


@pytest.mark.parametrize(
    ("content", "record", "message"),
    [
        ({"info": INFO}, "", "it lacks predictions"),
        ({"predictions": []}, "info", "info.format_version is missing"),
        (results(info={}), "info.format_version", "info.format_version is missing"),
        (results(info={"format_version": "20270101"}), "info.format_version", "format_version '20270101' is not known"),
        (results(info={"format_version": 20261015}), "info.format_version", "it must be a text"),
    ],
)
def test_a_head_that_is_wrong_is_named(content: Any, record: str, message: str) -> None:
    problem = only_problem(content)
    assert problem.record == record
    assert message in problem.message


def test_broken_json_is_one_problem_with_its_place(tmp_path: Path) -> None:
    text = json.dumps(results(prediction("a.jpg", detection())))
    (tmp_path / "cut.json").write_text(text[:-10])
    (problem,) = check_speciesnet(tmp_path / "cut.json")
    assert "line 1, column" in problem.message
    (missing,) = check_speciesnet(tmp_path / "none.json")
    assert "cannot be read" in missing.message


@pytest.mark.parametrize(
    ("record", "part", "message", "value"),
    [
        (7, "", "it is a number", ""),
        ({"detections": []}, "filepath", "the name of an image is needed", ""),
        ({"filepath": " ", "detections": []}, "filepath", "the name of an image is needed", "' '"),
        ({"filepath": "a.jpg"}, "detections", "it is missing, without failures", ""),
        ({"filepath": "a.jpg", "detections": {}}, "detections", "it is an object", ""),
        (prediction("a.jpg", failures=[]), "failures", "a list of the failed parts", "[]"),
        (prediction("a.jpg", failures=["ENSEMBLE"]), "failures", "allowed are CLASSIFIER", "'ENSEMBLE'"),
        (prediction("a.jpg", country="KE"), "country", "three capital letters", "'KE'"),
        (
            prediction("a.jpg", country="USA", admin1_region="California"),
            "admin1_region",
            "two characters",
            "'California'",
        ),
        (prediction("a.jpg", latitude=91, longitude=0), "latitude", "degrees from -90 to 90", "91"),
        (prediction("a.jpg", latitude=math.nan, longitude=0), "latitude", "degrees from -90 to 90", "nan"),
        (prediction("a.jpg", latitude=1.0), "latitude", "given together", ""),
        (prediction("a.jpg", 5), "detections[0]", "it is a number", ""),
        (prediction("a.jpg", detection(), WHOLE), "detections[1]", "the whole image must come first", ""),
        (prediction("a.jpg", detection(conf=0.1), detection()), "detections[1].conf", "falling order", "0.9"),
    ],
)
def test_a_record_that_is_wrong_is_named_with_its_value(record: Any, part: str, message: str, value: str) -> None:
    problem = only_problem(results(record))
    name = record.get("filepath") if isinstance(record, dict) else None
    assert problem.record == " ".join(["predictions[0]", *([name] if name else []), *([part] if part else [])])
    assert message in problem.message
    assert problem.value == value
    assert problem.severity == "error"


@pytest.mark.parametrize(
    ("one", "part", "message", "value"),
    [
        (detection(bbox=(0.5, 0.1, 0.6, 0.1)), "bbox", "it leaves the image", "[0.5, 0.1, 0.6, 0.1]"),
        (detection(bbox=(-0.1, 0.1, 0.6, 0.1)), "bbox", "it leaves the image", "[-0.1, 0.1, 0.6, 0.1]"),
        (detection(bbox=(0.5, 0.1, 0.2, 0.0)), "bbox", "above 0", "[0.5, 0.1, 0.2, 0.0]"),
        (detection(bbox=[0.0]), "bbox", "four numbers", "[0.0]"),
        (detection(bbox=(0, 0, 1, math.inf)), "bbox", "four numbers", "[0, 0, 1, inf]"),
        (detection(conf=1.7), "conf", "a number from 0 to 1", "1.7"),
        (detection(conf=math.nan), "conf", "a number from 0 to 1", "nan"),
        (detection(conf=True), "conf", "a number from 0 to 1", "True"),
        (detection(label="person") | {"category": "2"}, "label", "category 2 is 'human'", "'person'"),
        (detection() | {"category": 1}, "category", "'1' (animal)", "1"),
        (classified(raw_classifications=None), "raw_classifications", "lists classes and scores", ""),
        (with_raw(), "raw_classifications", "one class at least", "{'classes': [], 'scores': []}"),
        (classified(raw_classifications={"classes": [FOX], "scores": [0.6, 0.1]}), "raw_classifications", "1 classes and 2 scores", ""),
        (with_raw((FOX, 0.2), (CANIDS, 0.3)), "raw_classifications.scores", "falling order", "[0.2, 0.3]"),
        (with_raw((FOX, 1.2)), "raw_classifications.scores[0]", "0 to 1", "1.2"),
        (with_raw((FOX, 0.3), (FOX, 0.2)), "raw_classifications.classes", "duplicate class", None),
        (with_raw(("vulpes vulpes", 0.3)), "raw_classifications.classes[0]", "seven parts", "'vulpes vulpes'"),
        (with_raw((FOX.upper(), 0.3)), "raw_classifications.classes[0]", "lower case", None),
        (with_raw((";;;;;;fox", 0.3)), "raw_classifications.classes[0]", "needs an id", "';;;;;;fox'"),
        (processed(score=1.01), "processed_classification.score", "0 to 1", "1.01"),
        (processed(source=""), "processed_classification.source", "is needed", "''"),
        (processed(source=None), "processed_classification.source", "is needed", ""),
        (classified(processed_classification=FOX), "processed_classification", "it is a text", ""),
        (processed(**{"class": "fox"}), "processed_classification.class", "seven parts", "'fox'"),
    ],
)  # fmt: skip
def test_a_detection_that_is_wrong_is_named_with_its_value(
    one: Any, part: str, message: str, value: str | None
) -> None:
    problem = only_problem(results(prediction("a.jpg", one)))
    assert problem.record == f"predictions[0] a.jpg detections[0].{part}"
    assert message in problem.message
    assert value is None or problem.value == value
    assert problem.severity == "error"


def test_a_fault_that_only_some_readers_notice_is_a_warning() -> None:
    content = results(prediction("a.jpg", detection("4", label="fish"), processed(source="committee") | {"conf": 0.1}))
    found = problems(content)
    assert [(problem.record.split(".")[-1], problem.severity) for problem in found] == [
        ("category", "warning"), ("source", "warning"),
    ]  # fmt: skip
    problem = only_problem(results({"filepath": "a.jpg", "detections": [processed()]}))
    assert (problem.record, problem.severity) == ("predictions[0] a.jpg model_version", "warning")


def test_a_warning_about_many_boxes_is_one_line_with_their_count_and_the_first() -> None:
    boxes = [detection(str(4 + n % 2), label="fish", conf=0.9) for n in range(3000)]
    found = problems(
        results(prediction("a.jpg", *boxes, detection("1", 0.5, label="x")), prediction("b.jpg", boxes[0]))
    )
    error, warning = found
    assert (error.record, error.severity) == ("predictions[0] a.jpg detections[3000].label", "error")
    assert str(warning).endswith(
        "predictions[0] a.jpg detections[0].category: SpeciesNet has '0' to '3' only; it ignores others: 3,001 times "
        "(given: '4')"
    )
    assert warning.severity == "warning"


def test_a_duplicate_file_is_found() -> None:
    problem = only_problem(results(prediction("cam/a.jpg"), prediction("b.jpg"), prediction("cam\\a.jpg")))
    assert problem.record == "predictions[2] cam\\a.jpg filepath"
    assert problem.message == "duplicate file; predictions[0] has the same one"
