"""An endless stream of batches of augmented images with captions; batch number n is the same in every run."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.nouns import number_of
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.batches.augmentation import variation_of, varied
from bioclip_training.batches.caption_drawing import CaptionDrawing, shares_of
from bioclip_training.batches.data import LabelledImages
from bioclip_training.batches.pixel_cache import PixelCache
from bioclip_training.batches.sample_order import BalancedOrder, SampleOrder, ShuffledOrder
from bioclip_training.catalog.ahead import in_order, threads_for

_OVERSAMPLING = 2  # regions are cached with this many times the model's size on the shorter side
_SAMPLES_PER_JOB = 8
_AHEAD = 2  # batches in decoding or decoded, beside the one that was given out
_BAD_IN_A_ROW = 1000
_SAMPLE = 0  # keeps the random numbers of samples apart from those of the order

Sample = tuple[NDArray[np.uint8], int, str, str, list[tuple[str, str]]]
"""Pixels, number of the taxon, caption, key, and the unreadable samples in whose place it is."""


@dataclass(frozen=True)
class Batch:
    """This process's share of one batch: B samples, in the order of the stream."""

    number: int
    epoch: float
    """Passes over the data when this batch was begun."""
    images_BHWC: NDArray[np.uint8]
    """RGB at the model's size, not normalised."""
    taxa_B: NDArray[np.int64]
    """Numbers in ``LabelledImages.taxa``."""
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]
    """Key and reason of unreadable samples; the next readable one of the order takes the place of each."""


class TrainingStream:
    """An endless stream over labelled images in which everything random is a function of the seed and the position.

    Position p is sample p % B of batch p // B; epochs follow each other without a gap, so a collection may be smaller
    than a batch. A resumed run needs only the number of its next batch.
    """

    def __init__(
        self,
        images: LabelledImages,
        *,
        batch_size: int,
        preprocessing: Preprocessing,
        augmentation: str,
        captions: Mapping[str, float],
        balance: str = "none",
        seed: int = 0,
        workers: int = 0,
        cache_mb: int = 2048,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare a stream; nothing is read before the first batch.

        Args:
            images: the samples.
            batch_size: number of samples over all processes.
            preprocessing: the contract of the model.
            augmentation: a name of ``VARIATIONS``.
            captions: the probability of each caption.
            balance: ``sampling`` draws every taxon equally often; anything else takes every sample once per epoch.
            seed: of everything random.
            workers: number of decoding threads; 0 is one per core, at most 16.
            cache_mb: for decoded regions; when it is full, the others are decoded again in each epoch.
            rank: of this process, from 0 to ``world - 1``; each has an equal slice of every batch.
            world: number of processes.

        Raises:
            UsageError: if the batch cannot be divided, or an augmentation or caption is unknown.
            SourceError: if a sample lacks a name for a caption.
        """
        if not 0 <= rank < world:
            raise UsageError(f"process {rank} of {world}: processes are numbered from 0 to {world - 1}")
        if batch_size % world:
            lower = batch_size // world * world
            nearest = lower if lower and batch_size - lower < lower + world - batch_size else lower + world
            raise UsageError(
                f"a batch of {batch_size} cannot be divided among {world} processes; the nearest that can is --batch-size {nearest}"
            )
        self.images, self.batch_size, self.preprocessing = images, batch_size, preprocessing
        self._variation = variation_of(augmentation)
        self._captions = CaptionDrawing(images.taxa, captions)
        self._shares = shares_of(captions)
        if images.taxa:  # without taxa every sample has a caption of its own
            self._captions.check(np.unique(images.taxon_of_N).tolist())
        self._order: SampleOrder = (
            BalancedOrder(images.taxon_of_N, seed) if balance == "sampling" else ShuffledOrder(images.blocks, seed)
        )
        self._seed = seed
        self._threads = threads_for(workers)
        self._cache = PixelCache(cache_mb * 1_000_000)
        self._bad: dict[int, str] = {}
        self._share = batch_size // world
        self._first_of_share = rank * self._share

    def batches(self, first: int = 0) -> Generator[Batch, None, None]:
        """Yield batch number ``first``, ``first + 1``, … without end. Closing the iterator ends its threads.

        Raises:
            SourceError: if nothing can be read.
        """
        starts = range(0, self._share, _SAMPLES_PER_JOB)
        jobs = (self._positions(number, start) for number in count(first) for start in starts)
        ahead = (_AHEAD + 1) * len(starts) - 1
        done = in_order(self._samples, jobs, self._threads, ahead, name="bioclip-stream")
        try:
            for number in count(first):
                yield self._batch(number, [sample for samples in islice(done, len(starts)) for sample in samples])
        finally:
            done.close()

    def cached_bytes(self) -> int:
        """Return the bytes of the decoded regions in memory."""
        return self._cache.bytes

    def cached_bytes_each(self) -> float:
        """Return the mean bytes of a decoded region in memory; 0 while there is none."""
        return self._cache.bytes / len(self._cache) if len(self._cache) else 0.0

    def _positions(self, number: int, start: int) -> range:
        """Return the positions of one job of a batch."""
        begin = number * self.batch_size + self._first_of_share
        return range(begin + start, begin + min(start + _SAMPLES_PER_JOB, self._share))

    def _samples(self, positions: range) -> list[Sample]:
        return [self._sample(position) for position in positions]

    def _batch(self, number: int, samples: list[Sample]) -> Batch:
        images, taxa, captions, keys, bad = zip(*samples, strict=True)
        return Batch(
            number=number,
            epoch=number * self.batch_size / len(self.images),
            images_BHWC=np.stack(images),
            taxa_B=np.array(taxa, dtype=np.int64),
            captions=captions,
            keys=keys,
            bad=tuple(dict.fromkeys(failure for failures in bad for failure in failures)),
        )

    def _sample(self, position: int) -> Sample:
        """Return the sample at a position, or the next readable one of the order."""
        rng = np.random.default_rng([self._seed, _SAMPLE, position])
        chance = rng.random()
        bad: list[tuple[str, str]] = []
        for further in range(min(len(self.images), _BAD_IN_A_ROW)):
            index = self._order.index_at(position + further)
            try:
                pixels = self._pixels(index)
            except ImageError as error:
                self._bad[index] = str(error)
                bad.append((self.images.key(index), str(error)))
                continue
            taxon = int(self.images.taxon_of_N[index])
            if self._variation is not None:
                pixels = varied(pixels, self._variation, self.preprocessing, rng)
            return pixels, taxon, self._caption(index, taxon, chance), self.images.key(index), bad
        raise SourceError(
            f"{number_of(len(bad), 'image')} in a row cannot be read, of {len(self.images)}; the first is {bad[0][0]}: {bad[0][1]}; "
            "check that the folder of the catalog is available"
        )

    def _caption(self, index: int, taxon: int, chance: float) -> str:
        """Return the caption of a sample: as published if it is to be and there is one, else one of its taxon."""
        texts = self.images.texts
        published = texts.draw(index, chance, self._shares) if texts is not None else None
        return self._captions.draw(taxon, chance) if published is None else published

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        """Return the decoded region: as the contract has it without augmentation, otherwise with room for it.

        Raises:
            ImageError: if it cannot be read; it is not tried again.
        """
        if index in self._bad:
            raise ImageError(self._bad[index])
        pixels = self._cache.get(index)
        if pixels is None:
            region, contract = self.images.encoded(index), self.preprocessing
            if self._variation is None:
                pixels = region.model_input(contract)
            else:
                pixels = region.pixels(shorter=_OVERSAMPLING * contract.size, interpolation=contract.interpolation)
            self._cache.put(index, pixels)
        return pixels
