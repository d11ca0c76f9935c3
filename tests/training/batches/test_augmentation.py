"""Augmentations: the changes that each makes to an image, and unchanged parts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import UsageError
from bioclip_core.images.decoding import prepare
from bioclip_core.preprocessing import Preprocessing, ResizeMode
from bioclip_training.batches.augmentation import VARIATIONS, Variation, variation_of, varied

Pixels = NDArray[np.uint8]
SQUASH = Preprocessing(size=32, resize_mode="squash")


def gradient(width: int = 96, height: int = 64) -> Pixels:
    """Return an image whose red grows to the right and green downwards, with even blue."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 90)], axis=-1).astype(np.uint8)


def draws(variation: Variation, pixels: Pixels, count: int, contract: Preprocessing = SQUASH) -> list[Pixels]:
    return [varied(pixels, variation, contract, np.random.default_rng([5, n])) for n in range(count)]


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
def test_a_variation_of_nothing_is_exactly_the_preprocessing_contract(mode: ResizeMode) -> None:
    contract = Preprocessing(size=32, resize_mode=mode, fill=7)
    expected = prepare(Image.fromarray(gradient()), [None], contract)[0]
    assert all((out == expected).all() for out in draws(Variation(), gradient(), 5, contract))


@pytest.mark.parametrize("name", ["recipe", "camera", "specimen"])
def test_the_same_random_numbers_give_the_same_image_and_others_another(name: str) -> None:
    variation = VARIATIONS[name]
    assert variation is not None
    first, again = draws(variation, gradient(), 20), draws(variation, gradient(), 20)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert len({out.tobytes() for out in first}) == 20
    assert {(out.shape, out.dtype) for out in first} == {((32, 32, 3), np.dtype(np.uint8))}


def test_the_recipe_keeps_90_to_100_percent_of_the_area() -> None:
    variation = VARIATIONS["recipe"]
    assert variation is not None
    areas = []
    for out in draws(variation, gradient(), 300):
        across = float(out[:, -1, 0].mean()) - float(out[:, 0, 0].mean())  # in grey values of 255, over the whole width
        down = float(out[-1, :, 1].mean()) - float(out[0, :, 1].mean())
        areas.append(across * down)
    whole = draws(Variation(), gradient(), 1)[0]
    full = (float(whole[:, -1, 0].mean()) - float(whole[:, 0, 0].mean())) * (
        float(whole[-1, :, 1].mean()) - float(whole[0, :, 1].mean())
    )
    shares = np.array(areas) / full
    assert 0.87 < shares.min() < 0.92  # rounding to grey values moves a product of two by a few percent
    assert 0.98 < shares.max() < 1.03
    assert 0.935 < shares.mean() < 0.965


def test_padding_keeps_the_fill_of_the_contract() -> None:
    contract = Preprocessing(size=32, resize_mode="longest", fill=200)
    for name in ("recipe", "camera"):
        variation = VARIATIONS[name]
        assert variation is not None
        for out in draws(variation, gradient(160, 32), 20, contract):
            assert (out[[0, -1]] == 200).all()


def test_a_mirrored_image_has_left_for_right() -> None:
    plain = draws(Variation(), gradient(), 1)[0]
    assert all((out == plain[:, ::-1]).all() for out in draws(Variation(mirror=1.0), gradient(), 3))
    half = [bool((out == plain).all()) for out in draws(Variation(mirror=0.5), gradient(), 200)]
    assert 70 < sum(half) < 130  # 100 ± 4 standard deviations of a fair coin


def test_a_turned_specimen_lies_on_the_colour_of_its_edge() -> None:
    pixels = np.full((60, 60, 3), (200, 210, 220), dtype=np.uint8)
    pixels[20:40, 20:40] = (10, 10, 10)
    for out in draws(Variation(rotate=1.0), pixels, 12):
        corners = out[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert (np.abs(corners.astype(int) - (200, 210, 220)) <= 1).all()
        assert out.min() < 40  # the specimen is still visible


def test_a_night_picture_is_grey_and_noisy_and_dark_in_its_corners() -> None:
    even = np.full((64, 64, 3), (200, 60, 20), dtype=np.uint8)
    nights = np.stack(draws(Variation(night=1.0), even, 60)).astype(float)
    assert (nights[..., 0] == nights[..., 1]).all()
    assert (nights[..., 1] == nights[..., 2]).all()
    assert nights[:, 12:20, 12:20].mean() > 1.2 * nights[:, :4, :4].mean()
    assert nights[:, 14:18, 14:18, 0].std(axis=(1, 2)).min() > 0.5


def test_light_keeps_colours_and_changes_brightness_within_its_limit() -> None:
    even = np.full((64, 64, 3), 100, dtype=np.uint8)
    means = [float(out.mean()) for out in draws(Variation(light=0.3), even, 200)]
    assert 69 <= min(means) < 76
    assert 124 < max(means) <= 131


def test_saturation_moves_colours_to_and_from_their_grey_and_leaves_grey_alone() -> None:
    even = np.full((32, 32, 3), (200, 100, 100), dtype=np.uint8)  # its grey is 0.299·200 + 0.701·100 = 129.9
    spreads = []
    for out in draws(Variation(saturation=0.5), even, 100):
        red, green, _ = out[5, 5].astype(float)
        assert abs(0.299 * red + 0.701 * green - 129.9) < 1
        spreads.append(red - green)
    assert 49 <= min(spreads) < 60
    assert 140 < max(spreads) <= 151
    grey = np.full((32, 32, 3), 90, dtype=np.uint8)
    assert all((out == 90).all() for out in draws(Variation(saturation=0.5), grey, 5))


def edge_width(pixels: Pixels) -> int:
    """Count the grey values between black and white along the middle row and column."""
    grey = pixels[..., 0]
    lines = np.concatenate([grey[grey.shape[0] // 2], grey[:, grey.shape[1] // 2]])
    return int(((lines > 12) & (lines < 243)).sum())


def test_blur_widens_edges_along_a_line_or_all_around() -> None:
    square = np.zeros((120, 120, 3), dtype=np.uint8)
    square[30:90, 30:90] = 255
    contract = Preprocessing(size=120, resize_mode="squash")
    widths = [edge_width(out) for out in draws(Variation(blur=1.0), square, 60, contract)]
    assert edge_width(square) == 0
    assert sum(width > 0 for width in widths) > 50
    assert max(widths) < 4 * 16


def through_jpeg(pixels: Pixels, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream)).tobytes()


def test_compression_is_that_of_a_jpeg_of_quality_25_to_75() -> None:
    noise = np.random.default_rng(3).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    possible = {through_jpeg(noise, quality) for quality in range(25, 76)}
    out = {out.tobytes() for out in draws(Variation(jpeg=1.0), noise, 30)}
    assert out <= possible
    assert len(out) > 10


def test_an_unknown_augmentation_is_refused_with_those_there_are() -> None:
    assert variation_of("none") is None
    with pytest.raises(UsageError, match="none, recipe, camera, specimen"):
        variation_of("strong")


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
def test_odd_shapes_survive_every_variation(size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), 77, dtype=np.uint8)
    for name in ("recipe", "camera", "specimen"):
        variation = VARIATIONS[name]
        assert variation is not None
        assert {out.shape for out in draws(variation, pixels, 10)} == {(32, 32, 3)}
