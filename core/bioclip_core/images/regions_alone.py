"""Regions of an image decoded without the rest of it: tiles of a TIFF or of its levels, and windows of a JPEG's rows."""

from __future__ import annotations

import io
from collections.abc import Sequence

from bioclip_core.images.boxes import Box
from bioclip_core.images.decoded import Decoded
from bioclip_core.images.jpeg_windows import jpeg_regions
from bioclip_core.images.level_pixels import decoded_part, parts_of_levels
from bioclip_core.images.pyramids import levels_of
from bioclip_core.images.tiff import is_tiff
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
    file = io.BytesIO(data)
    found = parts_of_levels(file, levels_of(file, frame), boxes, preprocessing)
    if found is None:
        return None
    parts, profile = found
    decoded: dict[int, Decoded] = {}
    for part in parts:
        if id(part) not in decoded:
            decoded[id(part)] = decoded_part(part, profile, preprocessing, max_pixels)
    return [decoded[id(part)] for part in parts]
