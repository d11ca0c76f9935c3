"""Batches of augmented images with captions without end; batch number n is the same on every run, whatever came before."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.batches.augmentation import variation_of, varied
from bioclip_training.batches.caption_drawing import CaptionDrawing
from bioclip_training.batches.data import LabelledImages
from bioclip_training.batches.pixel_cache import PixelCache
from bioclip_training.batches.sample_order import BalancedOrder, SampleOrder, ShuffledOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OVERSAMPLING = 2  # regions are cached with this many times the model's size on the shorter side
_SAMPLES_A_JOB = 8
_AHEAD = 2  # batches in decoding or decoded beside the one that was given out
_BAD_IN_A_ROW = 1000
_SAMPLE = 0  # keeps the random numbers of samples apart from those of the order

Sample = tuple["NDArray[np.uint8]", int, str, str, list[tuple[str, str]]]


@dataclass(frozen=True)
class Batch:
    """This process's share of one batch: B samples, in the order of the stream."""

    number: int
    epoch: float
    """Passes over the data when this batch was begun."""
    images_BHWC: NDArray[np.uint8]
    """RGB at the model's size, not normalised."""
    taxa_B: NDArray[np.int64]
    """Places in ``LabelledImages.taxa``."""
    captions: tuple[str, ...]
    keys: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]
    """Key and reason of samples that could not be read; the next readable one of the order stands in for each."""

    def __len__(self) -> int:
        return len(self.keys)


class TrainingStream:
    """An endless stream over labelled images in which everything random is a function of the seed and the position.

    Position p is sample p % B of batch p // B; epochs follow each other without a seam, so a collection may be smaller
    than a batch. A resumed run needs the number of its next batch and nothing else.
    """

    def __init__(
        self,
        images: LabelledImages,
        *,
        batch_size: int,
        size: int,
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
        """A stream; nothing is read before the first batch.

        Args:
            batch_size: over all processes.
            size: of the model's input in pixels, where it is not that of the contract.
            balance: ``sampling`` draws every taxon equally often; anything else takes every sample once an epoch.
            workers: decoding threads; 0 is one a core, at most 16.
            cache_mb: for decoded regions; when it is full, the others are decoded anew each epoch.
            rank: of this process, from 0 to ``world - 1``; each has an equal slice of every batch.

        Raises:
            UsageError: if the batch cannot be divided, or an augmentation or caption is not known.
            SourceError: if a sample has no name of which a caption could be made.
        """
        _check_world(batch_size, rank, world)
        self.images = images
        self.batch_size = batch_size
        self._preprocessing = replace(preprocessing, size=size)
        self._variation = variation_of(augmentation)
        self._captions = CaptionDrawing(images.taxa, captions)
        self._captions.check(np.unique(images.taxon_of_N).tolist())
        self._order: SampleOrder = (
            BalancedOrder(images.taxon_of_N, seed) if balance == "sampling" else ShuffledOrder(images.blocks, seed)
        )
        self._seed = seed
        self._workers = workers or min(16, os.cpu_count() or 1)
        self._cache = PixelCache(cache_mb * 1_000_000)
        self._bad: dict[int, str] = {}
        self._share = batch_size // world
        self._first_of_share = rank * self._share

    @property
    def batches_per_epoch(self) -> float:
        return len(self.images) / self.batch_size

    def batches(self, first: int = 0) -> Generator[Batch, None, None]:
        """Batch number ``first``, ``first + 1``, … without end. Closing the iterator ends its threads.

        Raises:
            SourceError: if nothing can be read.
        """
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="bioclip-stream")
        waiting: deque[tuple[int, list[Future[list[Sample]]]]] = deque()
        number = first
        try:
            while True:
                while len(waiting) <= _AHEAD:
                    waiting.append((number, self._submitted(pool, number)))
                    number += 1
                ready, jobs = waiting.popleft()
                yield self._batch(ready, [sample for job in jobs for sample in job.result()])
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _submitted(self, pool: ThreadPoolExecutor, number: int) -> list[Future[list[Sample]]]:
        start = number * self.batch_size + self._first_of_share
        positions = range(start, start + self._share)
        return [
            pool.submit(self._samples, positions[at : at + _SAMPLES_A_JOB])
            for at in range(0, self._share, _SAMPLES_A_JOB)
        ]

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

    def _samples(self, positions: range) -> list[Sample]:
        return [self._sample(position) for position in positions]

    def _sample(self, position: int) -> Sample:
        """The sample at a position, or the next one of the order that can be read."""
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
                pixels = varied(pixels, self._variation, self._preprocessing, rng)
            return pixels, taxon, self._captions.draw(taxon, chance), self.images.key(index), bad
        raise SourceError(
            f"{len(bad)} images in a row cannot be read, of {len(self.images)}; the first is {bad[0][0]}: {bad[0][1]}; "
            "is the folder that the catalog belongs to at hand?"
        )

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        """The decoded region: as the contract has it where nothing is varied, else with room for varying it.

        Raises:
            ImageError: if it cannot be read; what could not be read once is not tried again.
        """
        if index in self._bad:
            raise ImageError(self._bad[index])
        cached = self._cache.get(index)
        if cached is None:
            region = self.images.encoded(index)
            if self._variation is None:
                cached = region.model_input(self._preprocessing)
            else:
                interpolation = self._preprocessing.interpolation
                cached = region.pixels(shorter=_OVERSAMPLING * self._preprocessing.size, interpolation=interpolation)
            self._cache.put(index, cached)
        return cached


def _check_world(batch_size: int, rank: int, world: int) -> None:
    if not 0 <= rank < world:
        raise UsageError(f"process {rank} of {world}: processes are numbered from 0 to {world - 1}")
    if batch_size % world:
        lower, upper = batch_size // world * world, -(-batch_size // world) * world
        nearest = upper if upper - batch_size <= batch_size - lower or not lower else lower
        raise UsageError(
            f"a batch of {batch_size} cannot be divided among {world} processes; the nearest that can is --batch-size {nearest}"
        )
