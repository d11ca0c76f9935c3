"""Plain entries of MegaDetector's ``images``, decoded by the thousand: a file and boxes, each with category, conf and bbox.

Nearly all of millions are like that. Everything else (further members, a failure, values out of range, text in place of numbers) is
left to the careful reader, which says what is wrong and where.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec

from bioclip_plugin.items.media import BOX_UNIT

_QUOTES_PER_IMAGE, _QUOTES_PER_BOX = 6, 8  # of three texts, and of four
_APART = 2 / BOX_UNIT  # boxes whose left edges are further apart are not the same


class PlainDetection(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A box with its category."""

    category: str
    conf: float
    bbox: tuple[float, float, float, float]


class PlainImage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A file with its boxes."""

    file: str
    detections: list[PlainDetection]

    def as_record(self) -> dict[str, Any]:
        """Return the entry as the careful reader has it."""
        boxes = [{"category": box.category, "conf": box.conf, "bbox": list(box.bbox)} for box in self.detections]
        return {"file": self.file, "detections": boxes}


_DECODER = msgspec.json.Decoder(list[PlainImage])


def well_formed(text: str) -> list[PlainImage] | None:
    """Return the entries of a text ``{...}, {...}``; None unless all of them are plain, whatever their numbers.

    The decoder takes the last of two members with one name. These are found by their quotation marks: an entry without
    quotation marks in its texts has as many as its members need.
    """
    try:
        images = _DECODER.decode(f"[{text}]")
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    boxes = sum([len(image.detections) for image in images])
    return images if text.count('"') == _QUOTES_PER_IMAGE * len(images) + _QUOTES_PER_BOX * boxes else None


def in_range(text: str) -> list[PlainImage] | None:
    """Return the entries of a text as :func:`well_formed` does; None as well if a number is out of range."""
    images = well_formed(text)
    for image in images or ():
        for box in image.detections:
            x, y, w, h = box.bbox
            if not (
                0 <= box.conf <= 1
                and x >= 0
                and y >= 0
                and 0 < w <= 1 - x
                and 0 < h <= 1 - y
                and x + w <= 1
                and y + h <= 1
            ):
                return None
    return images


def are_apart(boxes: list[PlainDetection]) -> bool:
    """True if no two boxes can be the same; False leaves the question open."""
    if len(boxes) == 2:
        return abs(boxes[0].bbox[0] - boxes[1].bbox[0]) > _APART
    left = sorted([box.bbox[0] for box in boxes])
    return all(after - before > _APART for before, after in pairwise(left))
