"""Batches through two pairs of buffers in turn: one is copied to the device while the other one is computed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.gpu.streams import Mark, Streams

if TYPE_CHECKING:
    import torch

PAIRS = 2

Encode = Callable[["torch.Tensor"], "torch.Tensor"]
"""B×H×W×3 uint8 pixels on the device to B×D features in float16 on the device."""
Way = Callable[["torch.Tensor", Mark], Encode]
"""Choice of the way to encode pixels, which are on the device after the mark."""


@dataclass(eq=False)
class _Pair:
    """Buffers of one batch on its way, and the marks behind its work."""

    pixels: torch.Tensor | None = None
    on_device: torch.Tensor | None = None
    features: torch.Tensor | None = None
    count: int = 0
    marks: list[Mark] = field(default_factory=list)


class DoubleBuffers:
    """Encodes images on a device. Any thread may call it: while one waits for its features, another one copies its images.

    A pair of buffers belongs to one batch from the first byte that is written until its features are read. So nothing is overwritten
    that the device has still to read, which it would not notice.
    """

    def __init__(self, streams: Streams, encode: Encode, dimension: int, way: Way | None = None) -> None:
        """Set up; buffers are made when they are needed.

        Args:
            streams: the device.
            encode: queues the computation.
            dimension: D.
            way: chooses another way to do the same; None always takes ``encode``.
        """
        self._streams, self._encode, self._dimension, self._way = streams, encode, dimension, way
        self._launching = threading.Lock()
        self._free: SimpleQueue[_Pair] = SimpleQueue()
        for _ in range(PAIRS):
            self._free.put(_Pair())

    def __call__(self, images_BHWC: NDArray[np.uint8], most: int = 0) -> NDArray[np.float16]:
        """Return B×D features.

        Args:
            images_BHWC: the images.
            most: images per batch; 0 takes all at once.
        """
        import torch

        size = most or max(1, len(images_BHWC))
        begun: deque[_Pair] = deque()
        found: list[NDArray[np.float16]] = []
        with torch.inference_mode():
            try:
                for first in range(0, len(images_BHWC), size):
                    pair = self._next_pair(begun, found)
                    begun.append(pair)
                    self._begin(pair, images_BHWC[first : first + size])
                while begun:
                    found.append(self._features_of(begun[0]))
                    self._free.put(begun.popleft())
            finally:
                for pair in begun:  # after an error
                    self._abandon(pair)
        return np.concatenate(found) if found else np.empty((0, self._dimension), np.float16)

    def _next_pair(self, begun: deque[_Pair], found: list[NDArray[np.float16]]) -> _Pair:
        """Return a pair that is free. A caller that has pairs frees its first one, and never waits for others'."""
        try:
            return self._free.get_nowait()
        except Empty:
            if not begun:
                return self._free.get()
        found.append(self._features_of(begun[0]))
        return begun.popleft()

    def _begin(self, pair: _Pair, images_BHWC: NDArray[np.uint8]) -> None:
        import torch

        pair.count = count = len(images_BHWC)
        if pair.pixels is None or len(pair.pixels) < count or pair.pixels.shape[1:] != images_BHWC.shape[1:]:
            pair.pixels = pair.on_device = pair.features = None
            pair.pixels = self._streams.host(images_BHWC.shape, torch.uint8)
            pair.on_device = self._streams.device(images_BHWC.shape, torch.uint8)
            pair.features = self._streams.host((count, self._dimension), torch.float16)
        assert pair.on_device is not None
        assert pair.features is not None
        pixels, on_device, features = pair.pixels[:count], pair.on_device[:count], pair.features[:count]
        np.copyto(pixels.numpy(), images_BHWC)
        with self._launching:
            copied = self._streams.copy(lambda: on_device.copy_(pixels, non_blocking=True))
            pair.marks.append(copied)
            encode = self._way(on_device, copied) if self._way else self._encode
            pair.marks.append(
                self._streams.compute(lambda: features.copy_(encode(on_device), non_blocking=True), copied)
            )

    def _features_of(self, pair: _Pair) -> NDArray[np.float16]:
        """Wait for the features of a batch and return a copy of them; its buffers are free then."""
        assert pair.features is not None
        self._streams.wait(pair.marks[-1])
        pair.marks.clear()
        features: NDArray[np.float16] = pair.features[: pair.count].numpy().copy()
        return features

    def _abandon(self, pair: _Pair) -> None:
        """Put another pair in the place of one whose batch failed, once the device does not use its buffers any more."""
        with suppress(RuntimeError):  # a device that failed says so again
            for mark in pair.marks:
                self._streams.wait(mark)
        self._free.put(_Pair())
