"""One region of an image file as upright RGB pixels of about a wanted size, its aspect kept: what is augmented and cached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.images.crops import Box, checked
from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.preprocessing import Interpolation, Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST_TO_SHORTEST = 8
"""A panorama longer than this many times the wanted shorter side is given smaller instead of eating the memory."""


@dataclass(frozen=True, slots=True)
class EncodedRegion:
    """The bytes of an image file and which part of the image is meant."""

    data: bytes
    box: Box | None = None
    """None is the whole image."""
    frame: int = 0

    def model_input(self, preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """Exactly what the main job gives a model: size×size×3 RGB.

        Raises:
            ImageError: if it cannot be decoded, or if the box lies outside the image.
        """
        try:
            return decode_regions(self.data, [self.box], preprocessing, frame=self.frame)[0]
        except UsageError as error:  # here the box is a datum, and one that is wrong spoils one sample only
            raise ImageError(str(error)) from error

    def pixels(
        self, *, shorter: int | None = None, longest: int | None = None, interpolation: Interpolation = "bicubic"
    ) -> NDArray[np.uint8]:
        """The region upright, H×W×3 RGB, reduced (never enlarged) to a shorter or to a longest side in pixels.

        Large JPEG files are decoded at a fraction that keeps twice what is wanted. A region that needs no reduction
        keeps its own pixels.

        Raises:
            ImageError: if it cannot be decoded, or if the box lies outside the image.
        """
        return self._reduced(self.size(), shorter, longest, interpolation)

    def size(self) -> tuple[float, float]:
        """Width and height of the region in the file's own pixels, upright.

        Raises:
            ImageError: if the header cannot be read, or if the box lies outside the image.
        """
        try:
            _, _, w, h = checked(self.box)
        except UsageError as error:
            raise ImageError(str(error)) from error
        width, height = upright_size(self.data, frame=self.frame)
        return max(1.0, w * width), max(1.0, h * height)

    def image(self, *, shorter: int | None = None, longest: int | None = None) -> Image.Image:
        """The same as a Pillow image."""
        return Image.fromarray(self.pixels(shorter=shorter, longest=longest))

    def _reduced(
        self, size: tuple[float, float], shorter: int | None, longest: int | None, interpolation: Interpolation
    ) -> NDArray[np.uint8]:
        width, height = size
        scale = min(1.0, (shorter or math.inf) / min(size), (longest or math.inf) / max(size))
        side = max(1, round(max(size) * scale))
        if shorter is not None:
            side = min(side, _LONGEST_TO_SHORTEST * shorter)
        # The core makes model inputs; one that fits the whole region without cutting, less its padding, is the region.
        contract = Preprocessing(size=side, interpolation=interpolation, resize_mode="longest")
        square = self.model_input(contract)
        ratio = max(size) / side
        columns, rows = max(1, round(width / ratio)), max(1, round(height / ratio))
        left, top = (side - columns) // 2, (side - rows) // 2
        return np.ascontiguousarray(square[top : top + rows, left : left + columns])
