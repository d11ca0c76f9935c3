"""An image that is decoded once: its regions as the model's input, and all of it as a detector's input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.images.boxes import Box
from bioclip_core.images.budget import check_profile
from bioclip_core.images.colours import resizable, rgb
from bioclip_core.images.crops import Picture, checked, padded, resized, turned_upright
from bioclip_core.images.memory import take_memory
from bioclip_core.images.reasons import reasons
from bioclip_core.preprocessing import Preprocessing

_MOST_PIXELS = 64_000_000
"""Pixels of a detector's input: a larger image is reduced, so that scans and panoramas do not fill the memory."""
_LEAST_TO_SIDE = 2
"""Longer side of a reduced image, in multiples of the side that the detector wants."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The pixels of an image, in a mode that can be resized, with its colour profile."""

    picture: Picture
    profile: Any

    @classmethod
    def of(cls, picture: Picture, profile: Any) -> Decoded:
        """Return the image after its conversion to a mode that can be resized.

        Raises:
            ImageError: for a colour profile over the budget.
        """
        check_profile(profile)
        return cls(replace(picture, image=resizable(picture.image)), profile)

    def crops(self, boxes: Sequence[Box | None], preprocessing: Preprocessing) -> list[NDArray[np.uint8]]:
        """Return one size×size×3 RGB array per box (normalised x, y, width, height of the upright image; None: all of it)."""
        return [
            np.array(padded(rgb(resized(self.picture, checked(box), preprocessing), self.profile), preprocessing))
            for box in boxes
        ]

    def upright_pixels(self, side: int) -> NDArray[np.uint8]:
        """Return the whole image upright, height x width x 3 RGB, read-only.

        It has the pixels of the file, so that a detector finds what it finds elsewhere; one of more than 64 megapixels is
        reduced by averaging, with a longer side of at least twice ``side``.

        Args:
            side: longer side in pixels that the detector wants.

        Raises:
            ImageError: if there is not enough memory.
        """
        with reasons(b""):
            image = self.picture.image
            wanted = math.ceil(math.sqrt(image.width * image.height / _MOST_PIXELS))
            factor = max(1, min(wanted, max(image.size) // (_LEAST_TO_SIDE * side)))
            width, height = -(-image.width // factor), -(-image.height // factor)
            is_copied = factor > 1 or image.mode != "RGB" or bool(self.profile)
            take_memory(width * height * (3 + 4 * is_copied + 4 * (self.picture.orientation != 1)))
            reduced = image.reduce(factor) if factor > 1 else image
            return np.asarray(turned_upright(rgb(reduced, self.profile), self.picture.orientation))
