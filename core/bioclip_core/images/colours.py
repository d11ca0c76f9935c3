"""Conversion of any kind of image to 8-bit RGB: greyscale, palette, alpha, 16-bit, float, CMYK, LAB, embedded profiles."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_RESIZED_UNCHANGED = frozenset({"RGB", "L", "CMYK", "YCbCr", "LAB"})
"""Modes that are resized unchanged, since the small result can still be converted to RGB."""

SAME_AS_SRGB = 8
"""Largest change of a channel, of 255, by a profile that counts as one of sRGB's many spellings and is not applied.

The models saw such pixels unconverted. Adobe RGB, Display P3 and ProPhoto change some colours by 40 and more.
"""

_HIGH_BYTE: NDArray[np.uint8] = ((np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
_LAB = b"LAB"
"""Stands for Pillow's own LAB profile, since LAB TIFF files rarely embed one."""


def resizable(image: Image.Image) -> Image.Image:
    """Return the image in a mode that can be resized smoothly and converted to RGB afterwards.

    Alpha is dropped, not composited, as ``convert("RGB")`` of open_clip and pybioclip does. 16-bit values are divided by
    257. 32-bit integers and floats within 0..1, 0..255 or 0..65535 are taken as such, others are stretched from their
    smallest to their largest value; NaN becomes black.
    """
    mode = image.mode
    if mode in _RESIZED_UNCHANGED:
        return image
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "PA", "RGBa"):
        # By way of RGBA: Pillow warns on standard error if a palette has transparency and the target has none.
        return image.convert("RGBA").convert("RGB")
    if mode in ("LA", "La"):
        return image.getchannel("L")
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image)
        is_16_bit = int(values.min()) >= 0 and int(values.max()) <= 65535
        return Image.fromarray(_HIGH_BYTE[values] if is_16_bit else _stretched(values))
    if mode == "F":
        return Image.fromarray(_floats_to_grey(np.asarray(image)))
    return image.convert("RGB")


def rgb(small: Image.Image, profile: object) -> Image.Image:
    """Return a resized image as RGB in sRGB.

    Args:
        small: in a mode that :func:`resizable` returns.
        profile: the file's ICC profile; an unusable one is ignored.
    """
    profile = _LAB if small.mode == "LAB" else profile
    if (
        isinstance(profile, bytes)
        and profile
        and small.mode in ("RGB", "CMYK", "LAB")
        and (transform := _to_srgb(profile, small.mode))
    ):
        return transform.apply(small)
    return small if small.mode == "RGB" else small.convert("RGB")


def _floats_to_grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.nanmin(values[finite]) if finite.any() else 0.0).astype(np.float32)
    top = next((top for top in (1.0, 255.0, 65535.0) if values.max() <= top), None)
    return _stretched(values, None if values.min() < 0 else top)


def _stretched(values: NDArray[Any], top: float | None = None) -> NDArray[np.uint8]:
    """Return values as 0 to 255: from 0 to ``top``, or without it from the smallest to the largest value."""
    low, high = (float(values.min()), float(values.max())) if top is None else (0.0, top)
    scale = 255.0 / (high - low) if high > low else 0.0
    return ((values.astype(np.float32) - low) * scale).round().astype(np.uint8)


@lru_cache(maxsize=8)  # the images of a collection come from a few devices; building a transform takes milliseconds
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB; None for a profile that changes next to nothing or cannot be used."""
    try:
        source = ImageCms.createProfile("LAB") if profile is _LAB else ImageCms.getOpenProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
        if mode == "RGB":
            steps = np.linspace(0, 255, 6).astype(np.uint8)
            probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
            converted = np.asarray(transform.apply(Image.fromarray(probe)), dtype=int)
            if np.abs(converted - probe).max() <= SAME_AS_SRGB:
                return None
    except Exception:  # PyCMSError derives from Exception; an unusable profile is not a reason to lose the image
        return None
    return transform
