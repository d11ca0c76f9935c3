"""Colours of any kind of image to 8-bit RGB: greyscale, palette, alpha, 16-bit, float, CMYK, LAB, embedded profile."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageCms import ImageCmsTransform

# Modes in which an image is resized as it is, because the small result can still be turned into RGB.
_RESIZED_AS_THEY_ARE = frozenset({"RGB", "L", "CMYK", "YCbCr", "LAB"})

# Largest change of a channel, of 255, up to which a profile is taken for one of sRGB's many spellings and left alone:
# the models saw such pixels unconverted. Adobe RGB, Display P3 and ProPhoto change some colours by 40 and more.
SAME_AS_SRGB = 8


def resizable(image: Image.Image) -> Image.Image:
    """The image in a mode that can be resized smoothly and turned into RGB afterwards.

    Alpha is dropped, not composited: that is what open_clip's and pybioclip's ``convert("RGB")`` does. 16-bit values
    are divided by 257. 32-bit integers and floats are taken as 0..1, 0..255 or 0..65535 where they lie in there, else
    stretched from their smallest to their largest value; NaN becomes black.
    """
    mode = image.mode
    if mode in _RESIZED_AS_THEY_ARE:
        return image
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "PA", "RGBa"):
        # By way of RGBA: Pillow warns on standard error where a palette has transparency and the target has none.
        return image.convert("RGBA").convert("RGB")
    if mode in ("LA", "La"):
        return image.getchannel("L")
    if mode.startswith("I;16"):
        return Image.fromarray(_HIGH_BYTE[np.asarray(image)])
    if mode == "I":
        return Image.fromarray(_integers_to_grey(np.asarray(image)))
    if mode == "F":
        return Image.fromarray(_floats_to_grey(np.asarray(image)))
    return image.convert("RGB")


def rgb(small: Image.Image, profile: bytes | None) -> Image.Image:
    """A resized image as RGB in sRGB.

    Args:
        small: in a mode that ``resizable`` gives.
        profile: the file's ICC profile; one that cannot be used is passed over.
    """
    if small.mode == "LAB":
        profile = _LAB
    if profile and small.mode in ("RGB", "CMYK", "LAB"):
        transform = _to_srgb(profile, small.mode)
        if transform is not None:
            return transform.apply(small)
    return small if small.mode == "RGB" else small.convert("RGB")


_HIGH_BYTE: NDArray[np.uint8] = ((np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
_LAB = b"LAB"  # stands for Pillow's own LAB profile, since a LAB TIFF seldom has one


def _integers_to_grey(values: NDArray[np.int32]) -> NDArray[np.uint8]:
    low, high = int(values.min()), int(values.max())
    if low >= 0 and high <= 65535:
        grey: NDArray[np.uint8] = _HIGH_BYTE[values]
        return grey
    return _stretched(values.astype(np.float32), float(low), float(high))


def _floats_to_grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.nanmin(values[finite]) if finite.any() else 0.0).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if low >= 0:
        for top in (1.0, 255.0, 65535.0):
            if high <= top:
                low, high = 0.0, top
                break
    return _stretched(values, low, high)


def _stretched(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    scale = 255.0 / (high - low) if high > low else 0.0
    grey: NDArray[np.uint8] = np.rint((values - low) * scale).astype(np.uint8)
    return grey


@lru_cache(maxsize=8)  # a collection comes from a few devices; building a transform takes milliseconds
def _to_srgb(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """The transform from a profile to sRGB; None where it changes next to nothing or cannot be used."""
    try:
        from PIL import ImageCms

        source = ImageCms.createProfile("LAB") if profile is _LAB else ImageCms.getOpenProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )  # fmt: skip
        if mode == "RGB":
            steps = np.linspace(0, 255, 6).astype(np.uint8)
            probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
            seen = np.asarray(transform.apply(Image.fromarray(probe)))
            if int(np.abs(seen.astype(int) - probe.astype(int)).max()) <= SAME_AS_SRGB:
                return None
    except Exception:  # PyCMSError has no base of its own; a profile that cannot be used is no reason to lose the image
        return None
    return transform
