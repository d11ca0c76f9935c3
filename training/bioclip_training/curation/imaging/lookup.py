"""Near pairs among millions of looks, found through bytes that their hashes share, without comparing all pairs.

The 18 bytes of a hash are cut into six bands of three bytes, several times with other bytes together; two looks are compared if
they are equal in a band. So hashes that differ in at most five bits are always found, and others with a probability that grows
with the number of cuts: 96% of those that differ in 12 random bits after six cuts, and more if their inner hashes are near, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.progress import Progress, silent
from bioclip_training.catalog.ahead import in_order
from bioclip_training.catalog.fingerprints import COLOUR_BYTES, HASH_BYTES, INNER_MARGINS

BAND_BYTES = 3
BANDS = HASH_BYTES // BAND_BYTES
CUTS = 6
"""Cuts of the hashes into bands, for pairs within one collection."""
CUTS_BETWEEN = 24
"""Cuts for pairs between two collections, which are cheaper: few of the larger one share a band with the other."""
LARGEST_BUCKET = 256
"""Looks with one band that are all compared with each other; of more, each is compared with its neighbours in the order of the hashes."""
NEIGHBOURS = 64
COLOUR_MEAN, COLOUR_MOST = 12.0, 40.0
"""Largest mean and largest single difference of the colours of near images, in levels of 255, apart from their brightness."""
_GREY = 12
_BRIGHTNESS = (0.7, 1.43)
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_AT_ONCE = 1 << 20
_ENTRY_BITS = np.uint64(32)
_BITS_SET = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Looks:
    """Looks of N regions."""

    hashes_NB: NDArray[np.uint8]
    """Perceptual hashes, 18 bytes each."""
    inner_NVB: NDArray[np.uint8]
    """Hashes of their inner parts, one for each margin."""
    colours_NC: NDArray[np.uint8]
    """Mean colours of a grid of cells, RGB of each."""

    def __post_init__(self) -> None:
        rows = len(self.hashes_NB)
        assert self.hashes_NB.shape == (rows, HASH_BYTES)
        assert self.inner_NVB.shape == (rows, len(INNER_MARGINS), HASH_BYTES)
        assert self.colours_NC.shape == (rows, COLOUR_BYTES)

    def __len__(self) -> int:
        return len(self.hashes_NB)


@dataclass(slots=True)
class Pairs:
    """Near pairs, each once, sorted."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    bits: NDArray[np.int64]
    """Bits of 144 in which their nearest hashes differ: both whole, or one whole and the other one inner."""
    hot_buckets: int = 0
    """Buckets with more looks than are all compared with each other."""
    largest_bucket: int = 0

    def __len__(self) -> int:
        return len(self.i)


def pairs_within(looks: Looks, distance: int, *, threads: int = 1, progress: Progress = silent) -> Pairs:
    """Find near pairs i < j of one collection.

    Args:
        looks: hashes and colours.
        distance: largest number of bits in which the nearest hashes of a pair differ.
        threads: number of threads; the result does not depend on it.
        progress: called with finished and all tables.
    """
    entries = _Entries(looks)
    work = partial(_pairs_of_table, entries, distance, None)
    return _collected(work, cuts=CUTS, threads=threads, progress=progress)


def pairs_between(one: Looks, other: Looks, distance: int, *, threads: int = 1, progress: Progress = silent) -> Pairs:
    """Find near pairs of two collections: i is a row of the first, j of the second. Arguments are those of :func:`pairs_within`."""
    work = partial(_pairs_of_table, _Entries(one, other), distance, len(one))
    found = _collected(work, cuts=CUTS_BETWEEN, threads=threads, progress=progress)
    found.j -= len(one)
    return found


def colours_agree(one_NC: NDArray[np.uint8], other_NC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True for pairs whose colours agree apart from their brightness, which the hashes compare; a grey image agrees with all."""
    one, other = (colours.reshape(len(colours), -1, 3).astype(np.float32) for colours in (one_NC, other_NC))
    light, other_light = one @ _LUMINANCE, other @ _LUMINANCE
    gain = np.clip(light.mean(1) / np.maximum(other_light.mean(1), 1), *_BRIGHTNESS)[:, None, None]
    apart = np.abs((one - light[..., None]) - gain * (other - other_light[..., None])).reshape(len(one), -1)
    is_grey = np.minimum(*(np.ptp(colours, axis=2).max(1, initial=0) for colours in (one, other))) <= _GREY
    return np.asarray(is_grey | ((apart.mean(1) <= COLOUR_MEAN) & (apart.max(1, initial=0) <= COLOUR_MOST)))


class _Entries:
    """Hashes of a collection in the order of its whole hashes: first N whole ones, then N of each margin."""

    def __init__(self, *looks: Looks) -> None:
        firsts = np.concatenate([np.ascontiguousarray(one.hashes_NB[:, :8]).view(np.uint64)[:, 0] for one in looks])
        self.order = np.argsort(firsts, kind="stable").astype(np.uint32)
        self.count = len(firsts)
        del firsts
        self.colours_NC = looks[0].colours_NC if len(looks) == 1 else np.concatenate([one.colours_NC for one in looks])
        size = self.count * (1 + len(INNER_MARGINS))
        self.words: tuple[NDArray[np.unsignedinteger[Any]], ...] = (
            np.empty(size, np.uint64),
            np.empty(size, np.uint64),
            np.empty(size, np.uint16),
        )
        for number in range(1 + len(INNER_MARGINS)):
            here = slice(number * self.count, (number + 1) * self.count)
            parts = [one.hashes_NB if number == 0 else one.inner_NVB[:, number - 1] for one in looks]
            ordered = np.concatenate(parts)[self.order]
            for word, start in zip(self.words, (0, 8, 16), strict=True):
                width = word.dtype.itemsize
                word[here] = np.ascontiguousarray(ordered[:, start : start + width]).view(word.dtype)[:, 0]

    def byte(self, number: int) -> NDArray[np.uint8]:
        """Return one byte of every entry's hash."""
        word = self.words[number // 8]
        return word.view(np.uint8).reshape(len(word), word.dtype.itemsize)[:, number % 8]


def _tables(cuts: int) -> list[tuple[int, ...]]:
    """Return the bytes of each band of each cut; they are the same everywhere."""
    found: list[tuple[int, ...]] = []
    for cut in range(cuts):
        order = sorted(range(HASH_BYTES), key=lambda byte: hashlib.sha256(f"{cut} {byte}".encode()).digest())
        found += [tuple(sorted(order[start : start + BAND_BYTES])) for start in range(0, HASH_BYTES, BAND_BYTES)]
    return found


def _collected(work: partial[Pairs], *, cuts: int, threads: int, progress: Progress) -> Pairs:
    tables = _tables(cuts)
    whole = Pairs(*_none())
    waiting: list[Pairs] = []
    for done, found in enumerate(in_order(work, tables, threads, threads, name="bioclip-lookup"), start=1):
        waiting.append(found)
        whole.hot_buckets = max(whole.hot_buckets, found.hot_buckets)
        whole.largest_bucket = max(whole.largest_bucket, found.largest_bucket)
        if done % BANDS == 0:
            parts = [(whole.i, whole.j, whole.bits), *((one.i, one.j, one.bits) for one in waiting)]
            whole.i, whole.j, whole.bits = _distinct(*map(np.concatenate, zip(*parts, strict=True)))
            waiting.clear()
        progress(done, len(tables))
    return whole


def _distinct(
    i: NDArray[np.int64], j: NDArray[np.int64], bits: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    order = np.lexsort((bits, j, i))
    i, j, bits = i[order], j[order], bits[order]
    first = np.ones(len(i), dtype=bool)
    first[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
    return i[first], j[first], bits[first]


def _pairs_of_table(entries: _Entries, distance: int, border: int | None, band: tuple[int, ...]) -> Pairs:
    """Return the near pairs of which two hashes are equal in a band.

    Args:
        entries: the hashes.
        distance: in bits.
        border: first row of the second collection, for pairs between two; None: pairs within one.
        band: numbers of its bytes.
    """
    keys = _sorted_keys(entries, border, band)
    numbers = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    keys >>= _ENTRY_BITS
    starts = np.flatnonzero(np.diff(keys, prepend=keys[:1] ^ np.uint64(1)))
    del keys
    sizes = np.diff(starts, append=len(numbers))
    found = [_none()]
    for left, right in _compared(numbers, starts, sizes):
        found.append(_near(entries, distance, border, left, right))
    i, j, bits = (np.concatenate(column) for column in zip(*found, strict=True))
    return Pairs(*_distinct(i, j, bits), int((sizes > LARGEST_BUCKET).sum()), int(sizes.max(initial=0)))


def _sorted_keys(entries: _Entries, border: int | None, band: tuple[int, ...]) -> NDArray[np.uint64]:
    """Return the bytes of a band and the number of the entry behind them, of all entries that are compared, sorted."""
    bands = np.zeros(len(entries.words[0]), dtype=np.uint32)
    for number in band:
        bands <<= np.uint32(8)
        bands |= entries.byte(number)
    chosen: NDArray[Any] | None = None
    if border is not None:
        is_second = np.tile(entries.order >= border, len(bands) // max(1, entries.count))
        chosen = np.flatnonzero(np.isin(bands, bands[is_second], kind=None if len(bands) > _AT_ONCE else "sort"))
        bands = bands[chosen]
    keys = bands.astype(np.uint64)
    del bands
    keys <<= _ENTRY_BITS
    for first in range(0, len(keys), _AT_ONCE):
        here = slice(first, min(first + _AT_ONCE, len(keys)))
        keys[here] |= (np.arange(here.start, here.stop) if chosen is None else chosen[here]).astype(np.uint64)
    keys.sort()
    return keys


def _compared(
    numbers: NDArray[np.uint32], starts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
    """Yield pairs of entries of one bucket, in chunks: each with those behind it, of a large bucket with its neighbours only.

    Args:
        numbers: the entries, bucket after bucket.
        starts: place of the first one of each bucket.
        sizes: number of entries of each bucket.
    """
    behind = np.repeat((starts + sizes).astype(np.uint32), sizes)
    behind -= np.arange(1, len(numbers) + 1, dtype=np.uint32)
    most = np.where(sizes > LARGEST_BUCKET, NEIGHBOURS, LARGEST_BUCKET).astype(np.uint16)
    behind = np.minimum(behind, np.repeat(most, sizes)).astype(np.uint16)
    for first in range(0, len(numbers), _AT_ONCE):
        here = first + np.flatnonzero(behind[first : first + _AT_ONCE])
        step = 1
        while len(here):
            yield numbers[here], numbers[here + step]
            step += 1
            here = here[behind[here] >= step]


def _near(
    entries: _Entries, distance: int, border: int | None, left: NDArray[np.uint32], right: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of pairs of entries that are near, of which one is a whole hash, and their distances."""
    count = entries.count
    is_whole = (left < count) | (right < count)
    left, right = left[is_whole], right[is_whole]
    bits = np.zeros(len(left), dtype=np.uint8)
    for word in entries.words:
        bits += _bits_set(word[left] ^ word[right])
        is_near = bits <= distance
        left, right, bits = left[is_near], right[is_near], bits[is_near]
    i, j = (entries.order[one % count].astype(np.int64) for one in (left, right))
    i, j = np.minimum(i, j), np.maximum(i, j)
    is_pair = (i != j) if border is None else (i < border) & (j >= border)
    i, j, bits = i[is_pair], j[is_pair], bits[is_pair]
    is_pair = colours_agree(entries.colours_NC[i], entries.colours_NC[j]) if len(i) else np.empty(0, dtype=bool)
    return i[is_pair], j[is_pair], bits[is_pair].astype(np.int64)


def _bits_set(words: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint8]:
    if hasattr(np, "bitwise_count"):  # since NumPy 2
        return np.asarray(np.bitwise_count(words))
    return np.asarray(_BITS_SET[words.view(np.uint8).reshape(len(words), -1)].sum(axis=1, dtype=np.uint8))


def _none() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
