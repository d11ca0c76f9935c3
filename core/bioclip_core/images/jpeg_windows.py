"""Regions of a JPEG decoded by libjpeg-turbo through simplejpeg: only the windows that regions need become images of Pillow.

libjpeg-turbo decodes as Pillow's does, to the same pixels; what Pillow adds is a copy of the whole image with four bytes per pixel.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from bioclip_core.images.boxes import Box
from bioclip_core.images.crops import Picture, needed_part, upright
from bioclip_core.images.decoded import Decoded
from bioclip_core.images.loading import JPEG_SCALES, check_pixels, kept_bytes, most_scale
from bioclip_core.images.memory import take_memory
from bioclip_core.images.orientation import stored_orientation
from bioclip_core.images.pillow_files import JpegFile, opened
from bioclip_core.preprocessing import Preprocessing

_START = b"\xff\xd8\xff"
_BYTES_PER_PIXEL = 3
_LEAST_PIXELS = 1_000_000
"""Decoded pixels below which a copy costs less than a millisecond."""
_LEAST_SHARE = 2
"""Windows that are used hold at most a half of the pixels."""
_MOST_KEPT_BYTES = 150_000_000
"""Memory that all threads together keep between images: that of 50 megapixels."""
_kept: list[NDArray[np.uint8]] = []
"""Memory that no thread uses, the longest unused first."""
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_NO_PIXELS = Image.new("L", (1, 1))


def jpeg_regions(
    data: bytes, boxes: Sequence[Box], preprocessing: Preprocessing, max_pixels: int
) -> list[Decoded] | None:
    """Return the pixels that each region of a JPEG needs, at the fraction at which the whole image would be decoded.

    Args:
        data: the file's bytes.
        boxes: regions of the upright image.
        preprocessing: preprocessing of the model.
        max_pixels: limit of the decoded pixels.

    Returns:
        None for another file, without simplejpeg, and for a file that is to be decoded as a whole: one of few pixels, one whose
        regions need most of it, one that is not RGB, and a damaged one, whose reason Pillow gives.

    Raises:
        ImageError: if its header announces more than the budget.
    """
    if not boxes or not data.startswith(_START) or (decoder := _decoder()) is None:
        return None
    image = opened(data, 0)
    if not isinstance(image, JpegFile) or image.mode != "RGB":
        return None
    size, orientation = image.size, stored_orientation(image)
    most = most_scale(upright(*size, orientation), boxes, preprocessing)
    scale = next(offered for offered in JPEG_SCALES if offered <= most)
    across, down = (-(-side // scale) for side in size)
    picture = Picture(_NO_PIXELS, size[0] / scale, size[1] / scale, orientation)
    windows = [needed_part(picture, box, preprocessing) for box in boxes]
    in_windows = sum((right - left) * (lower - upper) for left, upper, right, lower in windows)
    if across * down < _LEAST_PIXELS or in_windows * _LEAST_SHARE > across * down:
        return None
    kept = kept_bytes(image)
    check_pixels(size, size[0] * size[1] // (1 if kept else scale**2), max_pixels)
    take_memory(kept + _BYTES_PER_PIXEL * across * down + 4 * in_windows)
    profile = image.info.get("icc_profile")
    try:
        with _memory(across * down * _BYTES_PER_PIXEL) as memory:
            pixels: NDArray[np.uint8] = decoder(
                data, colorspace="RGB", min_width=across, min_height=down, buffer=memory
            )
            if pixels.shape != (down, across, 3):
                return None
            # An image of Pillow has a copy of its window.
            images = [Image.fromarray(pixels[upper:lower, left:right]) for left, upper, right, lower in windows]
    except (ValueError, MemoryError):
        return None
    return [
        Decoded.of(replace(picture, image=window, corner=(left, upper)), profile)
        for window, (left, upper, _, _) in zip(images, windows, strict=True)
    ]


@contextmanager
def _memory(size: int) -> Iterator[NDArray[np.uint8]]:
    """Give memory to decode into, which is used again and again: fresh memory costs a fifth of the time."""
    with _lock:
        fitting = next((place for place, kept in enumerate(_kept) if kept.size >= size), None)
        memory = None if fitting is None else _kept.pop(fitting)
    if memory is None:
        memory = np.empty(size, np.uint8)
    try:
        yield memory
    finally:
        if memory.size <= _MOST_KEPT_BYTES:
            with _lock:
                while memory.size + sum(kept.size for kept in _kept) > _MOST_KEPT_BYTES:
                    del _kept[0]
                _kept.append(memory)


@cache
def _decoder() -> Any:
    """Return the function that decodes; None without simplejpeg, or where Pillow has another decoder, with other pixels."""
    if not features.check_feature("libjpeg_turbo"):
        return None
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    return decode_jpeg
