"""Detectors of plugins that break their contract."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from plugin_samples import House, gives, house, one_of, raises

from bioclip_core.errors import ModelUnavailable, PluginError
from bioclip_core.process import threads
from bioclip_plugin.contracts.contained_detectors import UnusableDetection
from bioclip_plugin.plugin_api import Detection

__all__ = ["house"]

BOX = Detection(0.1, 0.2, 0.3, 0.4, "animal", 0.9)
IMAGES = [np.zeros((4, 6, 3), np.uint8), np.zeros((5, 3, 3), np.uint8)]


def _members(**changed: Any) -> dict[str, Any]:
    usable = {
        "name": "keen",
        "version": "1",
        "side": 64,
        "identity": gives({"weights": "none"}),
        "detect": gives([[BOX], []]),
    }
    return {**usable, **changed}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "a b"}, "the name of a detector is 'a b'; it must be a text without spaces, colons"),
        ({"version": 5}, "the detector keen has the version 5; a text such as '1.0' is needed"),
        ({"version": " "}, "the detector keen has the version ' '"),
        ({"side": 0}, "the detector keen has the side 0; a whole number of pixels from 16 to 8,192 is needed"),
        ({"side": True}, "the detector keen has the side True"),
        ({"side": "640"}, "the detector keen has the side '640'"),
        ({"identity": "abc"}, "an object with identity and detect is needed"),
        ({"detect": None}, "an object with identity and detect is needed"),
        ({"licence": 3}, "the detector keen has the licence 3; a text is needed"),
    ],
)
def test_a_detector_with_members_that_cannot_be_used_is_refused(house: House, changed: Any, said: str) -> None:
    assert said in house.refused(register_detectors=one_of(**_members(**changed)))


def test_the_stand_in_has_what_the_detector_says_about_itself(house: House) -> None:
    house.register(register_detectors=one_of(**_members(licence="MIT", missing=gives("pip install x"))))
    kept: Any = house.manager.detectors()["keen"]
    assert (kept.name, kept.version, kept.side, kept.licence, kept.description) == ("keen", "1", 64, "MIT", "")
    assert kept.missing() == "pip install x"
    assert not hasattr(kept, "fetch")
    assert kept.identity() == {"weights": "none"}
    assert kept.detect(IMAGES, "cpu") == [[BOX], []]


@pytest.mark.parametrize("identity", [None, {}, "abc", {"a": object}, {1: "a"}, {"a": float("nan")}])
def test_an_identity_that_cannot_be_stored_is_an_error_with_the_name_of_the_plugin(house: House, identity: Any) -> None:
    house.register(register_detectors=one_of(**_members(identity=gives(identity))))
    with pytest.raises(PluginError, match=r"^plugin broken: identity of the detector keen returned .*plain JSON"):
        house.manager.detectors()["keen"].identity()


def test_an_identity_that_is_too_long_is_an_error_with_the_name_of_the_plugin(house: House) -> None:
    house.register(register_detectors=one_of(**_members(identity=gives({"weights": "w" * 20_000}))))
    with pytest.raises(PluginError, match=r"^plugin broken: .*an identity of 20,015 characters; up to 16,384"):
        house.manager.detectors()["keen"].identity()


def test_an_error_of_the_contract_keeps_its_type(house: House) -> None:
    missing = ModelUnavailable("the weights are missing; fetch them")
    house.register(register_detectors=one_of(**_members(identity=raises(missing))))
    with pytest.raises(ModelUnavailable, match=r"^plugin broken: the weights are missing; fetch them$"):
        house.manager.detectors()["keen"].identity()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "returned None; a list with the boxes of each image is needed"),
        ("boxes", "returned 'boxes'; a list"),
        ([[BOX]], "returned boxes for 1 images where 2 were given; one list per image is needed"),
        ([[BOX], None], "gave None for an image; a list of Detections is needed"),
        ([[BOX], [(0, 0, 1, 1)]], "gave tuple (0, 0, 1, 1) as a box; a Detection is needed"),
        ([[BOX] * 10_001, []], "gave 10,001 boxes for an image; up to 10,000 are taken"),
        (([BOX] for _ in IMAGES), ": wrap it in list(...)"),
        ({1: [BOX], 2: []}.values(), ": wrap it in list(...)"),
        ([[BOX], (box for box in [BOX])], ": wrap it in list(...)"),
    ],
)
def test_boxes_of_another_form_are_an_error_with_the_name_of_the_plugin(house: House, found: Any, said: str) -> None:
    house.register(register_detectors=one_of(**_members(detect=gives(found))))
    with pytest.raises(PluginError) as caught:
        house.manager.detectors()["keen"].detect(IMAGES, "cpu")
    assert str(caught.value).startswith("plugin broken: detect of the detector keen ")
    assert said in str(caught.value)


def test_numbers_of_a_detector_become_plain_ones(house: House) -> None:
    given = Detection(np.float32(0.5), 0, np.float64(0.25), 1, " bird ", float("nan"))
    house.register(register_detectors=one_of(**_members(detect=gives(((given,), ())))))
    [[box], none] = house.manager.detectors()["keen"].detect(IMAGES, "cpu")
    assert none == []
    assert box[:5] == (0.5, 0.0, 0.25, 1.0, "bird")
    assert all(type(value) is float for value in (*box[:4], box.confidence))
    assert np.isnan(box.confidence)  # the taker reports it


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"category": 3}, "category 3 is not a word; give one, such as 'animal'"),
        ({"category": None}, "category None is not a word"),
        ({"category": " "}, "category ' ' is not a word"),
        ({"category": "\u200eabc"}, "category '\\u200eabc' has characters that cannot be printed; leave them out"),
        ({"category": "a\nb"}, "category 'a\\nb' has characters that cannot be printed"),
        ({"category": "x" * 201}, f"category '{'x' * 40}'... is longer than 200 characters; give a word"),
        ({"confidence": "0.9"}, "confidence is '0.9'; a number from 0 to 1 is needed"),
        ({"confidence": None}, "confidence is None; a number"),
        ({"confidence": True}, "confidence is True; a number"),
        ({"x": "0.1"}, "x is '0.1'; a number"),
        ({"h": "9" * 100}, f"h is '{'9' * 40}'...; a number"),
        ({"w": 10**400}, "w is a value of type int; a number"),
        ({"y": [0.1]}, "y is list [0.1]; a number"),
    ],
)
def test_a_value_that_cannot_be_used_costs_its_box_alone_and_is_shown(
    house: House, changed: dict[str, Any], fault: str
) -> None:
    house.register(register_detectors=one_of(**_members(detect=gives([[BOX, BOX._replace(**changed)], [BOX]]))))
    (good, bad), other = house.manager.detectors()["keen"].detect(IMAGES, "cpu")
    assert (good, other) == (BOX, [BOX])
    assert isinstance(bad, UnusableDetection)
    assert fault in bad.fault


def test_an_identity_that_takes_long_is_named_once_while_it_does(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "SLOW_S", 0.05)
    named = threading.Event()
    caplog.handler.addFilter(lambda record: named.set() or True)  # type: ignore[func-returns-value]

    def identity(_self: Any = None) -> dict[str, str]:
        assert named.wait(10), "nothing was logged meanwhile"
        return {"weights": "none"}

    house.register(register_detectors=one_of(**_members(identity=identity)))
    house.manager.detectors()["keen"].identity()
    assert caplog.messages == ["plugin broken: identity of the detector keen takes longer than 0 s"]
