"""Conversion of any kind of image to 8-bit RGB: greyscale, palette, alpha, 16-bit, float, CMYK, LAB, embedded profiles."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

_RESIZED_UNCHANGED = frozenset({"RGB", "L", "CMYK", "YCbCr", "LAB"})
"""Modes that are resized unchanged, since the small result can still be converted to RGB."""

SAME_AS_SRGB = 8
"""Largest change of a channel, of 255, by a profile that counts as one of sRGB's many spellings and is not applied.

The models saw such pixels unconverted. Adobe RGB, Display P3 and ProPhoto change some colours by 40 and more.
"""

SampleKind = Literal["unsigned", "signed", "float"]

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
    if mode == "P":
        if "transparency" in image.info:  # Pillow warns of it
            image = image.copy()
            del image.info["transparency"]
        return image.convert("RGB")
    if mode in ("PA", "RGBa"):
        return image.convert("RGBA").convert("RGB")
    if mode in ("LA", "La"):
        return image.getchannel("L")
    if mode == "I" or mode.startswith("I;16"):
        values = np.asarray(image)
        is_16_bit = int(values.min()) >= 0 and int(values.max()) <= 65535
        if is_16_bit:
            return Image.fromarray(_HIGH_BYTE[values])
        return Image.fromarray(_stretched(values, Scale(float(values.min()), float(values.max()))))
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


@dataclass(frozen=True, slots=True)
class Scale:
    """The values that become black and white."""

    black: float
    white: float

    def grey(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return values as 0 to 255."""
        if self.black == 0 and values.dtype in (np.uint8, np.uint16):
            greys = _greys(int(self.white), values.dtype.itemsize)
            return values if greys is None else greys[values]
        return (self.fractions(values) * np.float32(255)).round().astype(np.uint8)

    def fractions(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return values as fractions of the way from black to white, 0 to 1; 0 for values that are not numbers."""
        span = self.white - self.black
        if span <= 0:
            return np.zeros(values.shape, np.float32)
        wide: NDArray[Any] = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
        fractions: NDArray[np.float32] = ((wide - self.black) / span).clip(0, 1).astype(np.float32)
        return np.nan_to_num(fractions, copy=False)


def scale_of(kind: SampleKind, bits: int, low: float, high: float) -> Scale:
    """Return the scale of an image's samples.

    Unsigned integers of up to 16 bits use their full range. Other samples do not say what white is:

    - floats within 0..1, 0..255 or 0..65535, and wider integers within 0..65535, are taken as such;
    - signed integers of up to 16 bits use their positive range, or their full range if that is used;
    - unsigned integers that need their highest bit use their full range;
    - everything else is stretched from its smallest to its largest value.

    Args:
        kind: the sample format.
        bits: bits per sample.
        low: smallest finite value of the image.
        high: largest finite value of the image.
    """
    half = 2 ** (bits - 1)
    if kind == "float":
        top = next((top for top in (1.0, 255.0, 65535.0) if high <= top), None)
        return Scale(low, high) if top is None or low < 0 else Scale(0, top)
    if kind == "unsigned" and (bits <= 16 or high >= half):
        return Scale(0, 2 * half - 1)
    if bits > 16:
        return Scale(0, 65535) if low >= 0 and high <= 65535 else Scale(low, high)
    if low >= 0:
        return Scale(0, half - 1)
    return Scale(-half, half - 1) if low < -half / 2 or high >= half / 2 else Scale(low, high)


@lru_cache(maxsize=16)
def _greys(white: int, size: int) -> NDArray[np.uint8] | None:
    """Return the grey of each value of one or two bytes; None if each value is its own grey."""
    if (white, size) == (255, 1):
        return None
    values = np.arange(256**size, dtype=np.uint32).clip(0, white)
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def _floats_to_grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.nanmin(values[finite]) if finite.any() else 0.0).astype(np.float32)
    return _stretched(values, scale_of("float", 32, float(values.min()), float(values.max())))


def _stretched(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """Return values as 0 to 255. The arithmetic is part of the identity of features, so it is not that of ``Scale.grey``."""
    factor = 255.0 / (scale.white - scale.black) if scale.white > scale.black else 0.0
    return ((values.astype(np.float32) - scale.black) * factor).round().astype(np.uint8)


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
