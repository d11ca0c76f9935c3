"""Boxes in pixels, as some detectors write them: as fractions of the upright image, for which the image's header is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bioclip_core.errors import ImageError, UsageError
from bioclip_plugin.contracts.source import TurnedBoxes
from bioclip_plugin.items.media import Region

Corners = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""
Box = tuple[float, float, float, float]
"""x, y, width and height as fractions."""

_SLACK = 1.5  # pixels by which rounding may put a corner outside


class Header(NamedTuple):
    """Size of an image's pixels as they are stored, and how EXIF turns them."""

    width: int
    height: int
    orientation: int


def header_of(path: Path) -> Header:
    """Read the header of an image.

    Raises:
        UsageError: if the file is missing, or is not an image that is read here (a video, RAW).
    """
    from bioclip_core.images.decoding import stored_size

    try:
        return Header(*stored_size(path))
    except ImageError as error:
        raise UsageError(f"its boxes cannot be used without the size of the image: {error}") from error


def boxes_in(header: Header, corners: Sequence[Corners], turned: TurnedBoxes) -> list[Box]:
    """Return the boxes of one image as fractions of its upright pixels.

    A box beyond the image by rounding is clipped. Where EXIF turns the image, the boxes may be of the turned image or of the
    stored pixels: programs differ, and their files do not tell. The boxes themselves decide if only one of the two holds them.

    Args:
        header: the image's header.
        corners: the boxes, each with its right behind its left and its bottom below its top.
        turned: meaning of the boxes of an image that EXIF turns, as the user stated it.

    Raises:
        UsageError: if the image holds a box neither way, or both ways and ``turned`` is ``refuse``.
    """
    from bioclip_core.images.crops import upright, upright_box

    stored = (float(header.width), float(header.height))
    sizes: dict[TurnedBoxes, tuple[float, float]] = {"upright": upright(*stored, header.orientation), "stored": stored}
    if header.orientation == 1:
        meanings: list[TurnedBoxes] = ["upright"]
    else:
        meanings = (
            [turned] if turned != "refuse" else [meaning for meaning, size in sizes.items() if _fit(size, corners)]
        )
    if len(meanings) > 1:
        raise UsageError(turned_reason(header.orientation))
    meaning = meanings[0] if meanings else "upright"
    width, height = size = sizes[meaning]
    if not _fit(size, corners):
        shown = ", ".join(str(list(one)) for one in corners)
        raise UsageError(f"bbox {shown}: it leaves the image, which is {width:g} × {height:g} pixels")
    boxes = [_fractions(one, size) for one in corners]
    return boxes if meaning == "upright" else [upright_box(box, header.orientation) for box in boxes]


def upright_region(region: Region, orientation: int) -> Region:
    """Return a region of the stored pixels as one of the upright image."""
    from bioclip_core.images.crops import upright_box

    x, y, w, h = upright_box((region.x, region.y, region.w, region.h), orientation)
    return replace(region, x=x, y=y, w=w, h=h)


def turned_reason(orientation: int) -> str:
    """Return the reason why the boxes of an image that EXIF turns cannot be used."""
    return (
        f"EXIF turns the image (orientation {orientation}), and the file does not tell whether its boxes are of the turned "
        "image: give --turned-boxes upright, or stored if the detector ignored the orientation"
    )


def _fit(size: tuple[float, float], corners: Sequence[Corners]) -> bool:
    return all(
        left >= -_SLACK and top >= -_SLACK and right <= size[0] + _SLACK and bottom <= size[1] + _SLACK
        for left, top, right, bottom in corners
    )


def _fractions(corners: Corners, size: tuple[float, float]) -> Box:
    left, top, right, bottom = (
        min(max(value / side, 0.0), 1.0) for value, side in zip(corners, (*size, *size), strict=True)
    )
    return left, top, right - left, bottom - top
