"""One region of an image file as upright RGB pixels of about a wanted size, with its aspect: the input of augmentation and cache."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.images.boxes import Box
from bioclip_core.images.crops import checked
from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.images.unexpected import contained
from bioclip_core.preprocessing import Interpolation, Preprocessing

_LONGEST_TO_SHORTEST = 8
"""Limit of the aspect: a longer panorama is reduced below the wanted shorter side, so that it does not fill the memory."""


@dataclass(frozen=True, slots=True)
class EncodedRegion:
    """The bytes of an image file, and a region of the image."""

    data: bytes
    box: Box | None = None
    """None is the whole image."""
    frame: int = 0

    def model_input(self, preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """Return size×size×3 RGB pixels, exactly as the main job gives them to a model.

        Raises:
            ImageError: if it cannot be decoded, or if the box lies outside the image.
        """
        try:
            with contained():
                return decode_regions(self.data, [self.box], preprocessing, frame=self.frame)[0]
        except UsageError as error:  # here the box is a datum, and a wrong one spoils one sample only
            raise ImageError(str(error)) from error

    def size(self) -> tuple[float, float]:
        """Return width and height of the region in the file's own pixels, upright.

        Raises:
            ImageError: if the header cannot be read, or if the box lies outside the image.
        """
        try:
            _, _, w, h = checked(self.box)
        except UsageError as error:
            raise ImageError(str(error)) from error
        width, height = upright_size(self.data, frame=self.frame)
        return max(1.0, w * width), max(1.0, h * height)

    def pixels(
        self, *, shorter: int | None = None, longest: int | None = None, interpolation: Interpolation = "bicubic"
    ) -> NDArray[np.uint8]:
        """Return the region upright, H×W×3 RGB, reduced (never enlarged) to a shorter or a longest side in pixels.

        Large JPEG files are decoded at a fraction that keeps at least twice the wanted size. A region that needs no reduction
        keeps its own pixels.

        Raises:
            ImageError: if it cannot be decoded, or if the box lies outside the image.
        """
        width, height = size = self.size()
        scale = min(1.0, (shorter or math.inf) / min(size), (longest or math.inf) / max(size))
        side = max(1, round(max(size) * scale))
        if shorter is not None:
            side = min(side, _LONGEST_TO_SHORTEST * shorter)
        # The core makes square model inputs: one that holds the whole region, without its padding, is the region.
        square = self.model_input(Preprocessing(size=side, interpolation=interpolation, resize_mode="longest"))
        ratio = max(size) / side
        columns, rows = max(1, round(width / ratio)), max(1, round(height / ratio))
        left, top = (side - columns) // 2, (side - rows) // 2
        return np.ascontiguousarray(square[top : top + rows, left : left + columns])
