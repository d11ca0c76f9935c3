"""Boxes in an image: their overlap, and from which overlap two of them show the same thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Box = tuple[float, float, float, float]
"""x, y, width, height as fractions of the EXIF-upright image, origin at the top left."""

SAME = 0.95
"""Overlap from which two boxes are the same, written with other roundings."""
ABOUT = 0.5
"""Overlap from which a box that a reviewer or another detector drew is about the same animal."""


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes, 0 to 1."""
    x1, y1, w1, h1 = one
    x2, y2, w2, h2 = other
    width = min(x1 + w1, x2 + w2) - max(x1, x2)
    height = min(y1 + h1, y2 + h2) - max(y1, y2)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (w1 * h1 + w2 * h2 - width * height)


def overlapping(boxes: Sequence[Box], at_least: float) -> Iterator[tuple[int, int, float]]:
    """Yield the places i < j of two boxes that overlap enough, and their overlap.

    Boxes are compared in the order of their left sides, so that thousands of small ones in one image take no longer than needed.

    Args:
        at_least: above 0.
    """
    order = sorted(range(len(boxes)), key=lambda place: boxes[place][0])
    for at, place in enumerate(order):
        x, _, width, _ = one = boxes[place]
        for further in order[at + 1 :]:
            # The overlap in x is at most what is left of this box, and the union at least this box.
            if (x + width - boxes[further][0]) < at_least * width:
                break
            shared = overlap(one, boxes[further])
            if shared >= at_least:
                yield min(place, further), max(place, further), shared
