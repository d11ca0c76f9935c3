"""Duplicates: equal bytes, similar looks, and a search that finds every pair without comparing all pairs."""

from __future__ import annotations

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from catalog_samples import picture, save
from PIL import Image, ImageEnhance

from bioclip_core.errors import ImageError
from bioclip_training.catalog.duplicates import Joined, near_pairs
from bioclip_training.catalog.fingerprints import Look, fingerprint
from bioclip_training.catalog.options import NEAR_DISTANCE


def bits(look: Look, other: Look) -> int:
    return sum((one ^ two).bit_count() for one, two in zip(look.hashed, other.hashed, strict=True))


def look_of(image: Image.Image, folder: Path) -> Look:
    image.save(folder / "at_hand.png")
    return fingerprint(folder / "at_hand.png", [None], 0, perceptual=True).looks[0]


def as_jpeg(image: Image.Image) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=50)
    return Image.open(io.BytesIO(data.getvalue()))


def test_every_pair_within_the_distance_is_found_once_and_no_other() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (40, 18), dtype=np.uint8)
    for row in range(20, 40):  # copies of the first twenty with 0 to 19 flipped bits
        hashes[row] = hashes[row - 20]
        for bit in rng.choice(144, row - 20, replace=False):
            hashes[row, bit // 8] ^= 1 << (bit % 8)
    by_hand = {
        (i, j): sum(int(one ^ two).bit_count() for one, two in zip(hashes[i], hashes[j], strict=True))
        for i, j in combinations(range(40), 2)
    }
    colours = np.zeros((40, 48), dtype=np.uint8)
    for distance in (0, 3, 10):
        found = [
            (int(i), int(j), int(far))
            for left, right, away in near_pairs(hashes, colours, distance)
            for i, j, far in zip(left, right, away, strict=True)
        ]
        assert sorted(found) == sorted((*pair, far) for pair, far in by_hand.items() if far <= distance)
    assert len(found) == 11  # copies with 0 to 10 flipped bits


def test_equal_hashes_of_other_colours_are_no_pair() -> None:
    hashes = np.zeros((2, 18), dtype=np.uint8)
    colours = np.zeros((2, 48), dtype=np.uint8)
    colours[1] = 40
    assert sum(len(left) for left, _, _ in near_pairs(hashes, colours, 5)) == 0
    colours[1] = 20
    assert sum(len(left) for left, _, _ in near_pairs(hashes, colours, 5)) == 1


def test_nothing_to_compare_gives_no_pairs() -> None:
    empty = np.zeros((0, 18), dtype=np.uint8), np.zeros((0, 48), dtype=np.uint8)
    assert list(near_pairs(*empty, 10)) == []


def test_copies_look_alike_and_other_pictures_do_not(tmp_path: Path) -> None:
    look = look_of(picture(1), tmp_path)
    copies = [as_jpeg(picture(1)), picture(1).resize((48, 40)), ImageEnhance.Brightness(picture(1)).enhance(1.1)]
    assert max(bits(look, look_of(copy, tmp_path)) for copy in copies) <= NEAR_DISTANCE
    assert min(bits(look, look_of(picture(seed), tmp_path)) for seed in range(2, 8)) > 4 * NEAR_DISTANCE


def test_a_region_has_a_look_of_its_own(tmp_path: Path) -> None:
    both = Image.new("RGB", (192, 80))
    both.paste(picture(1), (0, 0))
    both.paste(picture(2), (96, 0))
    both.save(tmp_path / "both.png")
    left, right = fingerprint(tmp_path / "both.png", [(0, 0, 0.5, 1), (0.5, 0, 0.5, 1)], 0, perceptual=True).looks
    assert bits(left, look_of(picture(1), tmp_path)) <= NEAR_DISTANCE  # resizing changes the edges
    assert bits(right, look_of(picture(2), tmp_path)) <= NEAR_DISTANCE


def test_a_picture_of_one_colour_has_no_look(tmp_path: Path) -> None:
    assert look_of(Image.new("RGB", (32, 32), (200, 10, 10)), tmp_path) == Look()


def test_without_near_duplicates_images_are_decoded_all_the_same(tmp_path: Path) -> None:
    save(tmp_path, 1)
    found = fingerprint(tmp_path / "1.png", [None], 0, perceptual=False)
    assert (len(found.sha256), found.looks) == (64, (Look(),))
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    with pytest.raises(ImageError, match="truncated"):
        fingerprint(tmp_path / "1.png", [None], 0, perceptual=False)


def test_joined_sets_bear_their_smallest_member() -> None:
    joined = Joined(6)
    for pair in ((5, 4), (4, 1), (2, 3)):
        joined.join(*pair)
    assert joined.roots().tolist() == [0, 1, 2, 2, 1, 1]
