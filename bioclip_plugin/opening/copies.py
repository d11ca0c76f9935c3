"""Pages that are smaller copies of other pages, found by their pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.images.budget import MAX_COMPARED_PIXELS
from bioclip_core.images.decoding import prepare
from bioclip_core.preprocessing import Preprocessing

_SIDE = 64  # pixels of the small pictures that are compared
_CELLS = 4  # per side: a part of the picture that differs is not averaged away
_NOISE = 4.0
"""Root mean square difference of a cell, in grey levels of 255, that resampling and compression may cause."""
_SHARE = 0.5
"""The same as a share of the cell's contrast: two unrelated textures differ by 1.4 times their contrast, a texture and a plain
surface by its contrast, and a picture and its smaller copy by less than a quarter, even if it was made of every n-th pixel."""


class Looks:
    """Small versions of the pages of a file, each made once."""

    def __init__(self, load: Callable[[int], Image.Image], pixels: Callable[[int], int]) -> None:
        """Set up; nothing is decoded yet.

        Args:
            load: returns a page by its number.
            pixels: returns the number of its pixels.
        """
        self._load, self._pixels = load, pixels
        self._pixels_left = MAX_COMPARED_PIXELS
        self.not_compared = 0
        """Number of pages that were not decoded, since the others had too many pixels."""
        self._looks: dict[int, Image.Image | None] = {}

    def are_alike(self, number: int, other: int, shorter_side: int) -> bool:
        """True if two pages show the same picture; False if one of them cannot be decoded.

        Args:
            number: a page.
            other: a larger page.
            shorter_side: of the smaller page in pixels.
        """
        one, two = (self._look(page) for page in (number, other))
        if one is None or two is None:
            return False
        side = min(_SIDE, shorter_side)
        return is_same_picture(*(np.asarray(look.resize((side, side), Image.Resampling.BOX)) for look in (one, two)))

    def _look(self, number: int) -> Image.Image | None:
        if number not in self._looks:
            self._pixels_left -= (pixels := self._pixels(number))
            if self._pixels_left < 0:
                self._pixels_left += pixels
                self.not_compared += 1
                self._looks[number] = None
                return None
            try:
                contract = Preprocessing(size=_SIDE, resize_mode="squash", interpolation="bilinear")
                self._looks[number] = Image.fromarray(prepare(self._load(number), [None], contract)[0])
            except ImageError:  # reported when the page is read
                self._looks[number] = None
        return self._looks[number]


def is_same_picture(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """True if two small pictures of equal size differ in no part by more than a copy does.

    Each cell of a 4×4 grid may differ, as a root mean square, by 4 grey levels or by half of its contrast in one of the pictures.
    """
    for rows_one, rows_other in zip(np.array_split(one, _CELLS), np.array_split(other, _CELLS), strict=True):
        cells = zip(np.array_split(rows_one, _CELLS, axis=1), np.array_split(rows_other, _CELLS, axis=1), strict=True)
        for cell, same in cells:
            a, b = cell.astype(np.float32), same.astype(np.float32)
            if not a.size:
                continue
            contrast = max(float(part.std(axis=(0, 1)).mean()) for part in (a, b))
            if float(np.sqrt(((a - b) ** 2).mean())) > max(_NOISE, _SHARE * contrast):
                return False
    return True
