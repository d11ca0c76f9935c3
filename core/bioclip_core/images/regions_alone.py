"""Regions of an image decoded without the rest of it: tiles of a TIFF or of its levels, and windows of a JPEG's rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from bioclip_core.images.boxes import Box
from bioclip_core.images.crops import turned
from bioclip_core.images.decoded import Decoded
from bioclip_core.images.jpeg_windows import jpeg_regions
from bioclip_core.images.loading import OVERSAMPLING, picture_of
from bioclip_core.images.memory import take_memory
from bioclip_core.images.pyramids import Part, parts_for
from bioclip_core.images.tiff import is_tiff, opened_tiff
from bioclip_core.preprocessing import Preprocessing


def regions_alone(
    data: bytes, boxes: Sequence[Box], preprocessing: Preprocessing, *, frame: int, max_pixels: int
) -> list[Decoded] | None:
    """Return the pixels that each region needs; None for a file that is to be decoded as a whole.

    Args:
        data: the file's bytes.
        boxes: regions of the upright image.
        preprocessing: preprocessing of the model.
        frame: frame or page, from 0.
        max_pixels: limit of the decoded pixels.

    Raises:
        ImageError: if they cannot be decoded, with the reason.
    """
    if is_tiff(data):
        return _of_tiff(data, boxes, preprocessing, frame, max_pixels)
    return None if frame else jpeg_regions(data, boxes, preprocessing, max_pixels)


def _of_tiff(
    data: bytes, boxes: Sequence[Box], preprocessing: Preprocessing, frame: int, max_pixels: int
) -> list[Decoded] | None:
    found = parts_for(io.BytesIO(data), frame, boxes, preprocessing, OVERSAMPLING)
    if found is None:
        return None
    parts, profile = found
    decoded: dict[int, Decoded] = {}
    for part in parts:
        if id(part) not in decoded:
            decoded[id(part)] = _decoded(part, profile, preprocessing, max_pixels)
    return [decoded[id(part)] for part in parts]


def _decoded(part: Part, profile: bytes | None, preprocessing: Preprocessing, max_pixels: int) -> Decoded:
    take_memory(len(part.tiff))
    image = picture_of(opened_tiff(io.BytesIO(part.tiff)), [], preprocessing, max_pixels, 0).image
    picture = replace(part.picture, image=image)
    return Decoded.of(turned(picture) if part.is_turned_first else picture, profile)
