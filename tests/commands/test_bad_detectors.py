"""Detectors that give nonsense, nothing, too much, or fail: one line each, every image is done or failed, and none is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bioclip_plugin import create_plugin_manager, hookimpl
from bioclip_plugin.cli import run as run_cli
from bioclip_plugin.plugin_api import Detection
from bioclip_plugin.store import open_store
from bioclip_plugin.testing import FakeModel

Images = Sequence[NDArray[np.uint8]]
Boxes = Callable[[Images], Any]
NAN = float("nan")
LEFT = Detection(0.0, 0.0, 0.5, 1.0, "animal", 0.9)
WIDTHS = (60, 61, 62, 63)


class Bad:
    """A detector whose answer to a batch is given."""

    name, version, side = "bad", "1", 256

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes

    def identity(self) -> Mapping[str, Any]:
        return {"weights": "bad"}

    def detect(self, images: Images, device: str) -> Any:
        return self.boxes(images)

    @hookimpl
    def register_detectors(self, register: Any) -> None:
        register(self)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working directory with four photographs and labels."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("bad")
        patch.chdir(base)
        (base / "photos").mkdir()
        for width in WIDTHS:
            Image.new("RGB", (width, 40), "red").save(base / "photos" / f"{width}.png")
        (base / "labels.txt").write_text("a red fox\na green fox\n")
        yield base


@pytest.fixture
def classify(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``classify`` with a detector into a store of the test; return exit code and both outputs."""

    def call(boxes: Boxes, *options: str) -> tuple[int, str, str]:
        manager = create_plugin_manager(installed=False)
        manager.register(FakeModel(logit_scale=10.0))
        manager.register(Bad(boxes))
        capsys.readouterr()
        code = run_cli(["classify", "photos", "--detector", "bad", "--model", "fake", "--labels", "labels.txt", "--rank", "label",
                        "--store", str(tmp_path / "r.db"), *options], manager=manager)  # fmt: skip
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def statuses(tmp_path: Path) -> list[str]:
    with open_store(str(tmp_path / "r.db")) as store:
        return [item.status for item in store.items_of(store.run(None))]


def always(*boxes: Any) -> Boxes:
    return lambda images: [list(boxes) for _ in images]


def interrupted(images: Images) -> Any:
    raise KeyboardInterrupt


def failing(images: Images) -> Any:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        (failing, "4 x detect: plugin Bad: detect of the detector bad failed: RuntimeError: out of memory"),
        (interrupted, "4 x detect: plugin Bad: detect of the detector bad failed: KeyboardInterrupt"),
        (lambda images: None, "4 x detect: plugin Bad: detect of the detector bad returned None"),
        (lambda images: [[LEFT]] * 9, "returned boxes for 9 images"),
        (lambda images: np.zeros((len(images), 1, 6)), "returned ndarray"),
        (always((0.0, 0.0, 0.5, 1.0, "animal", 0.9)), "a Detection is needed"),
        (always({"category": "1", "conf": 0.9, "bbox": [0, 0, 1, 1]}), "a Detection is needed"),
        (always(Detection(0, 0, 1, 1, 1, 0.9)), "none of its boxes can be used: category 1 is not a word"),  # type: ignore[arg-type]
        (always(Detection(0, 0, 1, 1, " ", 0.9)), "none of its boxes can be used: category ' ' is not a word"),
        (always(*[LEFT] * 10_001), "gave 10,001 boxes for an image; up to 10,000 are taken"),
        (always(Detection(12, 8, 30, 20, "animal", 0.9)), "it leaves the image"),
        (always(Detection(0.8, 0.2, -0.5, 0.5, "animal", 0.9)), "width and height must be above 0"),
        (always(Detection(0.2, 0.2, 0.0, 0.0, "animal", 0.9)), "width and height must be above 0"),
        (always(Detection(NAN, 0.2, 0.5, 0.5, "animal", 0.9)), "must be four numbers"),
        (always(Detection(0, 0, 1, 1, "animal", "0.9")), "confidence is '0.9'; a number from 0 to 1"),  # type: ignore[arg-type]
        (lambda images: ([LEFT] for _ in images), "is needed: wrap it in list(...)"),
        (always(Detection(0.2, 0.2, 0.5, 0.5, "animal", 90)), "conf 90.0: must be a number from 0 to 1"),
    ],
)
def test_an_image_that_a_detector_fails_on_is_a_failure_with_one_reason_and_never_blank(
    classify: Callable[..., tuple[int, str, str]], tmp_path: Path, boxes: Boxes, reason: str
) -> None:
    code, out, err = classify(boxes)
    assert code == 3
    assert statuses(tmp_path) == ["failed"] * 4
    lines = [line for line in (out + err).splitlines() if reason in line and " x detect: " in line]
    assert len(lines) == 1
    assert lines[0].lstrip().startswith("4 x detect: ")
    assert "without a box" not in out
    assert classify(always(LEFT))[0] == 0  # the same command retries them
    assert statuses(tmp_path) == ["done"] * 4


def test_an_image_that_a_detector_failed_on_is_exported_as_a_failure(
    classify: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert classify(failing)[0] == 3
    exported = {}
    for name in ("megadetector", "speciesnet"):
        output = tmp_path / f"{name}.json"
        assert run_cli(["export", "--store", str(tmp_path / "r.db"), "--format", name, "--output", str(output)]) == 0
        exported[name] = json.loads(output.read_text())
    for image in exported["megadetector"]["images"]:
        assert image["detections"] is None
        assert image["failure"].startswith("inference failure: plugin Bad: detect of the detector bad failed")
    assert exported["megadetector"]["info"]["detector"] == "bad"
    assert exported["megadetector"]["info"]["bioclip_plugin"]["failures"] == 4
    assert [one["failures"] for one in exported["speciesnet"]["predictions"]] == [["CLASSIFIER", "DETECTOR"]] * 4


def test_one_image_that_a_detector_fails_on_takes_no_other_with_it(
    classify: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    def boxes(images: Images) -> Any:
        if any(image.shape[1] == WIDTHS[2] for image in images):
            raise ValueError("this one")
        return [[LEFT] for _ in images]

    code, out, _ = classify(boxes)
    assert code == 3
    assert statuses(tmp_path) == ["done", "done", "failed", "done"]
    assert "1 x detect: plugin Bad: detect of the detector bad failed: ValueError: this one" in out


def test_a_detector_that_finds_nothing_anywhere_is_told_with_advice(
    classify: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, _ = classify(always())
    assert code == 0
    assert statuses(tmp_path) == ["done"] * 4
    assert "Detector bad 1: 0 boxes of animals; 4 of 4 images without a box" in out
    assert "found nothing in any image, so that all of them are blank; look at some, and leave out --detector" in out


def test_boxes_that_are_all_below_the_threshold_are_told_with_the_highest_confidence(
    classify: Callable[..., tuple[int, str, str]],
) -> None:
    faint = always(LEFT._replace(confidence=0.1), LEFT._replace(confidence=0.125, x=0.5))
    code, out, _ = classify(faint)
    assert code == 0
    assert "Detector bad 1: 0 boxes of animals, 8 below 0.2; 0 of 4 images without a box" in out
    assert "No box of an animal reaches --detection-threshold 0.2; the highest confidence is 0.12" in out
    assert "8 boxes of animals; 0 of 4" in classify(faint, "--detection-threshold", "0.05")[1]


def test_people_and_vehicles_below_the_threshold_are_counted_as_below_it(
    classify: Callable[..., tuple[int, str, str]],
) -> None:
    faint = [LEFT._replace(confidence=0.03, category=word) for word in ("Human", "TRUCK", "empty", "animal")]
    _, out, _ = classify(always(*faint, LEFT._replace(x=0.4, category="person")))
    assert "Detector bad 1: 0 boxes of animals, 4 of people, 16 below 0.2; 0 of 4 images without a box" in out
    assert "No box of an animal reaches --detection-threshold 0.2; the highest confidence is 0.03" in out


def test_people_vehicles_and_words_of_its_own_are_counted_and_boxes_that_cannot_be_used_are_dropped_alone(
    classify: Callable[..., tuple[int, str, str]],
) -> None:
    words = ("Human", "TRUCK", "moose", "7", "empty")
    found = [LEFT._replace(category=word) for word in words]
    code, out, err = classify(always(*found, LEFT._replace(w=0.0), LEFT._replace(y=NAN)))
    assert code == 0
    assert "Detector bad 1: 8 boxes of animals, 4 of people, 4 of vehicles, 4 of nothing; 0 of 4 images" in out
    dropped = [line for line in (out + err).splitlines() if "boxes of the detector bad cannot be used: 8" in line]
    assert len(dropped) == 1
    assert "the first: photos/6" in dropped[0]


def test_what_a_detector_prints_does_not_come_between_the_lines_of_json(
    classify: Callable[..., tuple[int, str, str]],
) -> None:
    def boxes(images: Images) -> Any:
        print("Fusing layers...")
        return [[LEFT] for _ in images]

    code, out, err = classify(boxes, "--json")
    assert code == 0
    assert [json.loads(line)["region"] for line in out.splitlines()] == [[0.0, 0.0, 0.5, 1.0]] * 4
    assert "Fusing layers..." in err


def test_a_category_that_cannot_be_used_costs_its_box_alone_and_is_counted(
    classify: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, err = classify(always(LEFT, LEFT._replace(x=0.4, category="\u200eabc")))
    assert code == 0
    assert statuses(tmp_path) == ["done"] * 4
    said = " ".join((out + err).split())
    assert "boxes of the detector bad cannot be used" in said
    assert "characters that cannot be printed" in said


def test_an_identity_that_changes_each_time_is_refused_with_the_name_of_the_detector(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Restless(Bad):
        def identity(self) -> Mapping[str, Any]:
            return {"weights": "w", "made": time.time_ns()}

    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    manager.register(Restless(always(LEFT)))
    code = run_cli(["classify", "photos", "--detector", "bad", "--model", "fake", "--labels", "labels.txt",
                    "--store", str(tmp_path / "r.db")], manager=manager)  # fmt: skip
    assert code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "plugin Restless: the detector bad: identity() says something else each time it is asked (made: " in said
    assert not (tmp_path / "r.db").exists()


def test_a_box_that_is_given_twice_is_told_in_short_numbers(classify: Callable[..., tuple[int, str, str]]) -> None:
    twice = LEFT._replace(x=1 / 3, w=1 / 7)
    _, out, err = classify(always(twice, twice))
    told = " ".join((out + err).split())
    assert "boxes that the detector bad gave twice were used once: 4" in told
    assert "0.3333 0 0.1429 1" in told


def test_a_batch_that_was_too_much_is_told_with_the_right_number(
    classify: Callable[..., tuple[int, str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    def boxes(images: Images) -> Any:
        if len(images) > 1:
            raise RuntimeError("out of memory")
        return [[LEFT]]

    code, _, _ = classify(boxes)
    assert code == 0
    told = [message for message in caplog.messages if "smaller from now on" in message]
    assert not [message for message in told if message.endswith(": 1 images")]
