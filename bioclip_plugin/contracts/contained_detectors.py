"""Detectors of plugins, behind a stand-in that checks what they give and names the plugin in whatever goes wrong in them."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from typing import TYPE_CHECKING, Any

from bioclip_core.process.threads import named_if_slow
from bioclip_plugin.contracts.checking import checked_name, is_json, is_number
from bioclip_plugin.contracts.containing import Garbage, Owner, shown
from bioclip_plugin.contracts.detector import Detection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDES = (16, 8192)
"""Limits of the side that a detector may want."""
MOST_BOXES = 10_000
"""Limit of the boxes of one image."""
_LONGEST = 200  # characters of a version, a category
_LONGEST_IDENTITY = 16_384
_SHOWN = 40  # characters of a long text, in messages
_NUMBERS = ("x", "y", "w", "h", "confidence")


class UnusableDetection(Detection):
    """A box that cannot be used, whatever its place: the taker drops and counts it."""

    fault: str
    """The value that is wrong, and what is needed."""

    @classmethod
    def with_fault(cls, fault: str, x: float, y: float, w: float, h: float, confidence: float) -> UnusableDetection:
        """Return a box without a category."""
        made = cls(x, y, w, h, "", confidence)
        made.fault = fault
        return made


def contained_detector(detector: Any, owner: Owner) -> ContainedDetector:
    """Return a detector behind its stand-in."""
    name = checked_name(getattr(detector, "name", None), "detector")
    for method in ("identity", "detect"):
        if isinstance(detector, type) or not callable(getattr(detector, method, None)):
            raise Garbage(f"the detector {name} is {shown(detector)}; an object with identity and detect is needed")
    version = getattr(detector, "version", None)
    if not isinstance(version, str) or not version.strip() or not version.isprintable() or len(version) > _LONGEST:
        raise Garbage(f"the detector {name} has the version {shown(version)}; a text such as '1.0' is needed")
    side = getattr(detector, "side", None)
    if not isinstance(side, int) or isinstance(side, bool) or not SIDES[0] <= side <= SIDES[1]:
        raise Garbage(
            f"the detector {name} has the side {shown(side)}; a whole number of pixels from {SIDES[0]} to {SIDES[1]:,} is needed"
        )
    for text in ("description", "licence"):
        if not isinstance(getattr(detector, text, ""), str):
            raise Garbage(f"the detector {name} has the {text} {shown(getattr(detector, text))}; a text is needed")
    return ContainedDetector(detector, owner)


class ContainedDetector:
    """A detector of a plugin."""

    def __init__(self, detector: Any, owner: Owner) -> None:
        self.name, self.side = str(detector.name), int(detector.side)
        self.description = " ".join(getattr(detector, "description", "").split())
        self.licence = " ".join(getattr(detector, "licence", "").split())
        self.owner = owner
        self._detector, self._owner = detector, owner
        for method in ("fetch", "missing", "with_weights"):
            if callable(getattr(detector, method, None)):
                setattr(self, method, getattr(self, f"_{method}"))

    @property
    def version(self) -> str:
        """Version of the weights, which may have been fetched since the detector was registered."""
        return self._owner.call(f"version of the detector {self.name}", lambda: str(self._detector.version))

    def identity(self) -> Mapping[str, Any]:
        """Return the detector's identity.

        Raises:
            BioclipError: if the detector fails, or gives something that cannot be stored.
        """
        what = f"identity of the detector {self.name}"
        with named_if_slow(f"{self._owner}: {what}"):  # it is asked before anything else is shown
            given = self._owner.call(what, self._detector.identity)
        plain = self._owner.call(what, _plain_identity, given)
        if plain is None:
            raise self._owner.blamed(what, Garbage(f"{what} returned {shown(given)}; a dict of plain JSON is needed"))
        return plain

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> Sequence[Sequence[Detection]]:
        """Return the boxes of each image, as plain numbers and texts; whether they lie in the image is not checked here.

        Raises:
            PluginError: if the detector fails, or gives something else.
        """
        what = f"detect of the detector {self.name}"
        found = self._owner.call(what, self._detector.detect, list(images), device)
        return self._owner.call(what, checked_detections, found, len(images), what)

    def _fetch(self) -> str:
        return self._text("fetch")

    def _missing(self) -> str:
        return self._text("missing")

    def _with_weights(self, weights: str) -> ContainedDetector:
        what = f"with_weights of the detector {self.name}"
        return self._owner.call(what, lambda: contained_detector(self._detector.with_weights(weights), self._owner))

    def _text(self, method: str) -> str:
        what = f"{method} of the detector {self.name}"
        text = self._owner.call(what, getattr(self._detector, method))
        if not isinstance(text, str):
            raise self._owner.blamed(what, Garbage(f"{what} returned {shown(text)}; a text is needed"))
        return " ".join(text.split())


def _plain_identity(given: Any) -> dict[str, Any] | None:
    if not isinstance(given, Mapping) or not given or not is_json(dict(given)):
        return None
    text = json.dumps(dict(given))
    if len(text) > _LONGEST_IDENTITY:
        raise Garbage(f"an identity of {len(text):,} characters; up to {_LONGEST_IDENTITY:,} are stored: give hashes")
    plain: dict[str, Any] = json.loads(text)  # a copy, which the plugin does not change later
    return plain


def checked_detections(found: Any, count: int, what: str) -> list[list[Detection]]:
    """Return the boxes of ``count`` images as plain tuples; those that cannot be used are :class:`UnusableDetection`.

    Raises:
        Garbage: for anything but a list of boxes per image.
    """
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes)):
        raise Garbage(
            f"{what} returned {shown(found)}; a list with the boxes of each image is needed{_in_a_list(found)}"
        )
    if len(found) != count:
        raise Garbage(
            f"{what} returned boxes for {len(found)} images where {count} were given; one list per image is needed"
        )
    return [_boxes(boxes, what) for boxes in found]


def _boxes(boxes: Any, what: str) -> list[Detection]:
    if not isinstance(boxes, Sequence) or isinstance(boxes, (str, bytes)):
        raise Garbage(f"{what} gave {shown(boxes)} for an image; a list of Detections is needed{_in_a_list(boxes)}")
    if len(boxes) > MOST_BOXES:
        raise Garbage(f"{what} gave {len(boxes):,} boxes for an image; up to {MOST_BOXES:,} are taken")
    return [_plain(box, what) for box in boxes]


def _plain(box: Any, what: str) -> Detection:
    if not isinstance(box, Detection):
        raise Garbage(f"{what} gave {shown(box)} as a box; a Detection is needed")
    category, given = box.category, (*box[:4], box.confidence)
    x, y, w, h, confidence = map(_plain_number, given)
    fault = _category_fault(category)
    if not fault:
        wrong = (name for name, value in zip(_NUMBERS, given, strict=True) if not _is_plain_or_float(value))
        name = next(wrong, "")
        fault = f"{name} is {_beginning(getattr(box, name))}; a number from 0 to 1 is needed" if name else ""
    if fault:
        return UnusableDetection.with_fault(fault, x, y, w, h, confidence)
    return Detection(x, y, w, h, str(category).strip(), confidence)


def _plain_number(value: Any) -> float:
    return float(value) if _is_plain_or_float(value) else math.nan


def _is_plain_or_float(value: Any) -> bool:
    """True for numbers; NaN and infinity are numbers, which the taker reports as boxes outside the image."""
    try:
        return is_number(value) or (isinstance(value, numbers.Real) and not math.isfinite(value))
    except OverflowError:  # a whole number beyond the largest float
        return False


def _category_fault(category: Any) -> str:
    """Return why a category cannot be used; empty if it can."""
    if not isinstance(category, str) or not category.strip():
        wrong = "is not a word; give one, such as 'animal'"
    elif len(category) > _LONGEST:
        wrong = f"is longer than {_LONGEST} characters; give a word, such as 'animal'"
    elif not category.isprintable():
        wrong = "has characters that cannot be printed; leave them out"
    else:
        return ""
    return f"category {_beginning(category)} {wrong}"


def _beginning(value: Any) -> str:
    """Return a value for a message, or the beginning of a long text."""
    if isinstance(value, str) and len(value) > _SHOWN:
        return f"{str(value)[:_SHOWN]!r}..."
    return shown(value)


def _in_a_list(given: Any) -> str:
    """Return the advice for a value without a length, such as a generator; an empty text for other values."""
    return ": wrap it in list(...)" if isinstance(given, (Iterator, ValuesView)) else ""
