"""Pictures that cost nothing, in place of drawn animals: blots that differ as much as photographs do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from bioclip_training.biosphere.publishing import pictures
from bioclip_training.biosphere.publishing.plan import Picture


@contextmanager
def quick_drawings() -> Iterator[None]:
    """Draw blots while renderings are made in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "drawn", _blots)
        yield


def _blots(picture: Picture, seed: int, species: object) -> bytes:
    place = 0 if picture.style == "blank" else picture.number + 1
    coarse = np.random.default_rng([seed, place]).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize(picture.size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
