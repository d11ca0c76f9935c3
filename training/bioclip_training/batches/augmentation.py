"""Random variation of training images: as in BioCLIP's recipe, as camera traps vary, as photographed specimens do, or none."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bioclip_core.errors import UsageError
from bioclip_core.images.boxes import Box
from bioclip_core.images.crops import Picture, padded, resized
from bioclip_core.preprocessing import Preprocessing

Floats = NDArray[np.float32]

_ROTATED_OVERSAMPLING = 1.25  # before a rotation, the shorter side of a region has this many times the model's size
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Variation:
    """Strength of each kind of variation; probabilities and shares are from 0 to 1."""

    crop: float = 1.0
    """Smallest share of the area that a crop keeps."""
    aspect: float = 3 / 4
    """Narrowest aspect of a crop, relative to the whole; the widest is its inverse."""
    mirror: float = 0.0
    """Probability of swapping left and right."""
    rotate: float = 0.0
    """Probability of a rotation; the area from outside the image gets the colour of its edge."""
    angle: float = 180.0
    """Largest rotation to either side, in degrees."""
    night: float = 0.0
    """Probability of an infrared night picture: grey, with another exposure, dark corners and noise."""
    blur: float = 0.0
    """Probability of a blur; half of the blurs are along a line."""
    light: float = 0.0
    """Largest change of brightness and contrast: they are multiplied by 1 ± this."""
    saturation: float = 0.0
    """Largest change of saturation."""
    tint: float = 0.0
    """Largest change of each colour channel."""
    jpeg: float = 0.0
    """Probability of JPEG compression, at a quality of 25 to 75."""


VARIATIONS: Mapping[str, Variation | None] = MappingProxyType(
    {
        "none": None,
        "recipe": Variation(crop=0.9),
        "camera": Variation(
            crop=0.5, aspect=5 / 6, mirror=0.5, night=0.15, blur=0.2, light=0.3, saturation=0.3, tint=0.1, jpeg=0.1
        ),
        "specimen": Variation(
            crop=0.5, aspect=5 / 6, mirror=0.5, rotate=0.9, angle=20, light=0.3, saturation=0.3, tint=0.1
        ),
    }
)
"""The variations by their names in ``--augmentation``. ``recipe`` is RandomResizedCrop of 0.9 to 1 of the area (Stevens et al. 2024)."""


def variation_of(name: str) -> Variation | None:
    """Return the variation of a name; None leaves images as they are.

    Raises:
        UsageError: if the name is unknown.
    """
    if name not in VARIATIONS:
        raise UsageError(f"augmentation {name!r}: allowed are {', '.join(VARIATIONS)}")
    return VARIATIONS[name]


def varied(
    pixels_HWC: NDArray[np.uint8], variation: Variation, preprocessing: Preprocessing, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Vary a region and bring it to the model's size by its contract: size×size×3 RGB.

    The contract's resize mode holds: ``squash`` squashes the crop, ``shortest`` cuts out the crop's centre.
    """
    image = Image.fromarray(pixels_HWC)
    if rng.random() < variation.rotate:
        angle = rng.uniform(-variation.angle, variation.angle)
        image = _rotated(image, angle, _edge_colour(pixels_HWC), preprocessing.size)
    small = resized(Picture(image, image.width, image.height), _crop(variation, rng), preprocessing)
    if rng.random() < variation.mirror:
        small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < variation.blur:
        small = _blurred(small, rng)
    out = np.asarray(small)
    if variation.night or variation.light or variation.saturation or variation.tint:
        out = _lit(out, variation, rng)
    if rng.random() < variation.jpeg:
        out = _compressed(out, int(rng.integers(25, 76)))
    return np.asarray(padded(Image.fromarray(out), preprocessing))  # last, so that the padding is the contract's own


def _crop(variation: Variation, rng: np.random.Generator) -> Box:
    """Draw a part of at least ``crop`` of the area, with an aspect that still fits inside."""
    area = rng.uniform(variation.crop, 1.0)
    widest = -math.log(max(variation.aspect, area))
    stretch = math.exp((rng.random() - 0.5) * widest)
    w, h = min(math.sqrt(area) * stretch, 1.0), min(math.sqrt(area) / stretch, 1.0)
    return rng.uniform(0, 1 - w), rng.uniform(0, 1 - h), w, h


def _rotated(image: Image.Image, degrees: float, fill: tuple[int, ...], size: int) -> Image.Image:
    """Rotate an image on a canvas that holds all of it, so that no tip of a leaf is lost."""
    scale = _ROTATED_OVERSAMPLING * size / min(image.size)
    if scale < 1:  # rotation costs by the pixel, and samples single pixels instead of averaging them
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    return image.rotate(degrees, Image.Resampling.BILINEAR, expand=True, fillcolor=fill)


def _edge_colour(pixels_HWC: NDArray[np.uint8]) -> tuple[int, ...]:
    """Return the median colour of the outermost pixels: the ground under a specimen."""
    edges = (pixels_HWC[0], pixels_HWC[-1], pixels_HWC[:, 0], pixels_HWC[:, -1])
    return tuple(int(value) for value in np.median(np.concatenate(edges), axis=0))


def _blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur an image as out of focus, or as moved while the shutter was open; by up to about 1/40 of the side."""
    reach = image.width / 40
    if rng.random() < 0.5:
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0) * reach / 2))
    length, angle = rng.uniform(0.5, 2.0) * reach, rng.uniform(0, math.pi)
    taps = max(2, math.ceil(length) + 1)
    edge = math.ceil(length / 2) + 1
    padded_HWC = np.pad(np.asarray(image, dtype=np.float32), ((edge, edge), (edge, edge), (0, 0)), mode="edge")
    total = np.zeros((image.height, image.width, 3), dtype=np.float32)
    for at in np.linspace(-length / 2, length / 2, taps):
        x, y = edge + round(at * math.cos(angle)), edge + round(at * math.sin(angle))
        total += padded_HWC[y : y + image.height, x : x + image.width]
    return Image.fromarray((total / taps + 0.5).astype(np.uint8))


def _lit(pixels_HWC: NDArray[np.uint8], variation: Variation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change the light: night infrared, or another brightness, contrast, saturation and tint by day."""
    if rng.random() < variation.night:
        return _as_infrared(pixels_HWC, rng)
    brightness = 1 + rng.uniform(-variation.light, variation.light)
    contrast = 1 + rng.uniform(-variation.light, variation.light)
    gain = brightness * (1 + rng.uniform(-variation.tint, variation.tint, 3))
    middle = float(pixels_HWC[::4, ::4].mean())
    # Each channel depends on its own value alone, and a table of 256 values is faster than arithmetic on pixels.
    values = np.arange(256, dtype=np.float64)[:, None]
    table = np.clip((middle + (values - middle) * contrast) * gain + 0.5, 0, 255).astype(np.uint8)
    lit = np.stack([table[:, channel][pixels_HWC[..., channel]] for channel in range(3)], axis=-1)
    if not variation.saturation:
        return lit
    share = 1 + rng.uniform(-variation.saturation, variation.saturation)
    grey: Floats = (lit @ _LUMA)[..., None]
    return np.clip(grey + (lit - grey) * np.float32(share) + 0.5, 0, 255).astype(np.uint8)


def _as_infrared(pixels_HWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the image in grey under a flash: with another exposure, dark corners and a noisy sensor."""
    grey: Floats = pixels_HWC.astype(np.float32) @ _LUMA
    height, width = grey.shape
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    fall: Any = 1 - rng.uniform(0.1, 0.6) * ((x * x + y * y) / 2).astype(np.float32)
    exposure, lift = rng.uniform(0.7, 1.5), rng.uniform(0, 25)
    noise = rng.standard_normal(grey.shape, dtype=np.float32) * rng.uniform(2, 12)
    out = np.clip((grey * exposure + lift) * fall + noise, 0, 255).astype(np.uint8)
    return np.repeat(out[..., None], 3, axis=-1)


def _compressed(pixels_HWC: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(pixels_HWC).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))
