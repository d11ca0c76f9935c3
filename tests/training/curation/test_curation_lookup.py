"""The search for near pairs, beside all pairs compared one by one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bioclip_training.curation.imaging import lookup
from bioclip_training.curation.imaging.lookup import Looks, Pairs, colours_agree, pairs_between, pairs_within

GREY = np.full(48, 128, dtype=np.uint8)


def looks(
    hashes: NDArray[np.uint8], inner: NDArray[np.uint8] | None = None, colours: NDArray[np.uint8] = GREY
) -> Looks:
    """Return looks with inner hashes that are like no other one."""
    if inner is None:
        inner = np.random.default_rng(99).integers(0, 256, (len(hashes), 2, 18), dtype=np.uint8)
    return Looks(hashes, inner, np.broadcast_to(colours, (len(hashes), 48)))


def random_hashes(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 18), dtype=np.uint8)


def flipped(hashes: NDArray[np.uint8], bits: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return hashes with that many other bits."""
    rng = np.random.default_rng(seed)
    unpacked = np.unpackbits(hashes, axis=1)
    for row in unpacked:
        row[rng.choice(144, bits, replace=False)] ^= 1
    return np.packbits(unpacked, axis=1)


def listed(pairs: Pairs) -> list[tuple[int, int, int]]:
    return list(zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True))


@pytest.mark.parametrize("bits", [0, 1, 5])
def test_pairs_of_up_to_five_bits_are_always_found(bits: int) -> None:
    one = random_hashes(300)
    found = listed(pairs_within(looks(np.concatenate([one, flipped(one, bits)])), 5))
    assert found == [(row, row + 300, bits) for row in range(300)]


def test_nearly_all_pairs_of_twelve_bits_are_found() -> None:
    one = random_hashes(500)
    both = looks(np.concatenate([one, flipped(one, 12)]))
    found = listed(pairs_within(both, 12))
    assert all(j == i + 500 and bits == 12 for i, j, bits in found)
    assert 465 <= len(found) < 500  # 96%
    assert pairs_within(both, 11).i.size == 0
    assert listed(pairs_within(both, 12, threads=5)) == found
    assert len(pairs_between(looks(one), looks(flipped(one, 12)), 12)) >= 496  # more cuts between collections


def test_the_hash_of_a_copy_without_its_border_is_that_of_an_inner_part() -> None:
    whole, inner = random_hashes(2), random_hashes(4, seed=1).reshape(2, 2, 18)
    copy = looks(np.stack([whole[0], flipped(inner[0, 1:2], 3)[0], whole[1]]), np.stack([inner[0], inner[1], inner[1]]))
    assert listed(pairs_within(copy, 12)) == [(0, 1, 3)]  # the two equal inner hashes of rows 1 and 2 are no pair
    assert listed(pairs_between(looks(inner[0, :1]), looks(whole, inner), 12)) == [(0, 0, 0)]


def test_brightness_and_a_missing_colour_are_no_difference_but_another_colour_is() -> None:
    def colours(*rgb: int) -> NDArray[np.uint8]:
        return np.tile(np.array(rgb, dtype=np.uint8), 16)[None]

    green = colours(80, 160, 40)
    assert colours_agree(green, colours(96, 192, 48)).tolist() == [True]  # 1.2 times as bright
    assert colours_agree(green, colours(122, 122, 122)).tolist() == [True]  # its luminance
    assert colours_agree(green, colours(160, 80, 40)).tolist() == [False]  # red
    spotted = green.copy()
    spotted[0, :3] = 160, 80, 40
    assert colours_agree(green, spotted).tolist() == [False]  # one cell is red
    pairs = pairs_within(
        Looks(np.zeros((2, 18), np.uint8), random_hashes(4).reshape(2, 2, 18), np.concatenate([green, spotted])), 12
    )
    assert len(pairs) == 0


def test_a_large_bucket_is_bounded_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "LARGEST_BUCKET", 20)
    monkeypatch.setattr(lookup, "NEIGHBOURS", 4)
    blank = looks(np.zeros((60, 18), np.uint8))
    found = pairs_within(blank, 0)
    assert (found.hot_buckets, found.largest_bucket) == (1, 60)
    assert len(found) == 4 * 60 - (4 + 3 + 2 + 1)  # each with the next four
    monkeypatch.setattr(lookup, "LARGEST_BUCKET", 60)
    found = pairs_within(blank, 0)
    assert (found.hot_buckets, len(found)) == (0, 60 * 59 // 2)


def test_no_looks_have_no_pairs() -> None:
    assert len(pairs_within(looks(random_hashes(0)), 12)) == 0
    assert len(pairs_between(looks(random_hashes(0)), looks(random_hashes(3)), 12)) == 0
