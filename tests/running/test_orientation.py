"""A photograph that is stored rotated: its box gives the pixels that the detector saw, in every format with an orientation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bioclip_core.device import Compute
from bioclip_core.models import ModelEntry
from bioclip_core.preprocessing import preprocessing_of
from bioclip_plugin import MediaItem, Region, Session, create_plugin_manager, hookimpl
from bioclip_plugin.testing import FakeEncoder

SIZE = 64
UPRIGHT = (480, 320)
BOX = (0.125, 0.25, 0.5, 0.375)
"""Box in the upright picture: pixels 60 to 300 across, 80 to 200 down."""


class KeepingEncoder(FakeEncoder):
    """Encoder that keeps every image that it receives."""

    def __init__(self) -> None:
        super().__init__("keeping")
        self.preprocessing = preprocessing_of(SIZE, registry=PINNED)
        self.seen: list[NDArray[np.uint8]] = []

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.seen += list(images_BHWC)
        return super().encode_images(images_BHWC)


PINNED = {"size": SIZE, "resize_mode": "squash", "interpolation": "bilinear"}


class KeepingModel:
    """Plugin that registers the encoder."""

    def __init__(self) -> None:
        self.encoder = KeepingEncoder()

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        register(ModelEntry("keeping", "keeping", preprocessing=PINNED, open_encoder=self._open, dimension=3))

    def _open(self, compute: Compute) -> FakeEncoder:
        return self.encoder


def seen_in(path: Path, box: tuple[float, float, float, float] | None) -> NDArray[np.uint8]:
    """Return the pixels that reach the model for a box of a file."""
    model, manager = KeepingModel(), create_plugin_manager(installed=False)
    manager.register(model)
    regions = () if box is None else (Region(*box, category="animal", confidence=0.9),)
    with Session(model="keeping", labels=("red", "blue"), plugins=manager) as session:
        answer = session.classify(MediaItem(uri=str(path), path=path, regions=regions))
    assert answer.failure is None
    (pixels,) = model.encoder.seen
    return pixels


def upright_picture() -> Image.Image:
    """Return a picture with soft colours and without symmetry, so that every other crop or rotation differs."""
    chance = np.random.default_rng(5)
    small = Image.fromarray(chance.integers(0, 256, (8, 12, 3), dtype=np.uint8))
    return small.resize(UPRIGHT, Image.Resampling.BICUBIC)


def expected(picture: Image.Image, box: tuple[float, float, float, float] | None) -> NDArray[np.int64]:
    """Cut the box out of the upright picture in whole pixels, and resize it."""
    if box is not None:
        x, y, w, h = (round(v * side) for v, side in zip(box, UPRIGHT * 2, strict=True))
        picture = picture.crop((x, y, x + w, y + h))
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).astype(np.int64)


# How a camera stores an upright picture under each orientation: the inverse of the transformation for display.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def save_heif(image: Image.Image, path: Path, exif: Image.Exif) -> None:
    pillow_heif.from_pillow(image).save(path, quality=-1, chroma="444", matrix_coefficients=0, exif=exif.tobytes())


SAVED: dict[str, Callable[[Image.Image, Path, Image.Exif], Any]] = {
    "jpg": lambda image, path, exif: image.save(path, quality=98, subsampling=0, exif=exif),
    "png": lambda image, path, exif: image.save(path, exif=exif),
    "webp": lambda image, path, exif: image.save(path, lossless=True, exif=exif),
    "tif": lambda image, path, exif: image.save(path, exif=exif),
    "heic": save_heif,
}


def stored(path: Path, orientation: int) -> Path:
    """Write a file with pixels rotated as by a camera held that way, and with the orientation in its EXIF."""
    exif, turn = Image.Exif(), STORED[orientation]
    exif[0x0112] = orientation
    picture = upright_picture()
    SAVED[path.suffix[1:]](picture.transpose(turn) if turn is not None else picture, path, exif)
    return path


@pytest.mark.parametrize("kind", list(SAVED))
@pytest.mark.parametrize("orientation", list(STORED))
def test_a_box_gives_the_crop_that_the_detector_saw(tmp_path: Path, orientation: int, kind: str) -> None:
    path = stored(tmp_path / f"a.{kind}", orientation)
    found = seen_in(path, BOX).astype(np.int64)
    difference = np.abs(found - expected(upright_picture(), BOX))
    # Resampling stored pixels instead of rotated ones changes a value by rounding; JPEG and HEIF by compression.
    assert difference.mean() < 1.5
    assert difference.max() <= 16


@pytest.mark.parametrize("kind", list(SAVED))
@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_the_whole_image_reaches_the_model_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    found = seen_in(stored(tmp_path / f"a.{kind}", orientation), None).astype(np.int64)
    assert np.abs(found - expected(upright_picture(), None)).mean() < 1.5


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_the_stored_pixels_of_the_same_box_would_be_another_picture(tmp_path: Path, orientation: int) -> None:
    """This is the crop of AddaxAI 7.1's worker. If ours were the same, the test above would fail."""
    with Image.open(stored(tmp_path / "a.png", orientation)) as image:
        wrong = image.convert("RGB")
        x, y, w, h = BOX
        left, upper, right, lower = x * wrong.width, y * wrong.height, (x + w) * wrong.width, (y + h) * wrong.height
        pixels = np.asarray(wrong.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, upper, right, lower)))
        assert np.abs(pixels.astype(np.int64) - expected(upright_picture(), BOX)).mean() > 20
        turned = ImageOps.exif_transpose(image)
        assert np.array_equal(np.asarray(turned.convert("RGB")), np.asarray(upright_picture()))


def test_a_large_jpeg_that_is_decoded_at_a_fraction_gives_the_same_crop(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = upright_picture().resize((UPRIGHT[0] * 8, UPRIGHT[1] * 8), Image.Resampling.BICUBIC)
    path = tmp_path / "a.jpg"
    large.transpose(STORED[6]).save(path, quality=95, exif=exif)  # type: ignore[arg-type]
    difference = np.abs(seen_in(path, BOX).astype(np.int64) - expected(upright_picture(), BOX))
    assert difference.mean() < 2
