"""Boxes that mean the same part of an image."""

from __future__ import annotations

from collections.abc import Iterable

from bioclip_plugin.items.media import Region

SAME = 0.95
"""Overlap from which two boxes are one, written with other roundings."""
ABOUT = 0.5
"""Overlap from which a box that a person drew is about what a detector found."""


def overlap(one: Region, other: Region) -> float:
    """Intersection over union, 0 to 1."""
    width = min(one.x + one.w, other.x + other.w) - max(one.x, other.x)
    height = min(one.y + one.h, other.y + other.h) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.w * one.h + other.w * other.h - shared)


def same_box(wanted: Region, known: Iterable[Region | None], at_least: float = SAME) -> Region | None:
    """The region of those known that a box means: the one that overlaps most, where it does enough; None where none does."""
    boxes = [region for region in known if region is not None]
    best = max(boxes, key=lambda region: (overlap(wanted, region), region.detector != ""), default=None)
    return best if best is not None and overlap(wanted, best) >= at_least else None
