"""Rates of encoders beside each other, on made-up images, in a few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

Encode = Callable[[NDArray[np.uint8]], Any]

MOST_IMAGES = 16
"""Largest batch: the usual one of a CPU."""
_ROUNDS = 3
_ROUND_S = 1.0
"""Length of a round that is aimed at."""


def rates_of(ways: Mapping[str, Encode], size: int) -> dict[str, float]:
    """Return images per second of each way: medians of rounds taken in turn (A B A B), since machines have other work too.

    Args:
        ways: functions that encode B×H×W×3 images, by name.
        size: H and W.
    """
    images_BHWC = np.random.default_rng(0).integers(0, 256, size=(MOST_IMAGES, size, size, 3), dtype=np.uint8)
    slowest_s = max(_seconds(encode, images_BHWC[:2], warm_up=True) for encode in ways.values()) / 2
    batch = images_BHWC[: max(1, min(MOST_IMAGES, int(_ROUND_S / slowest_s)))]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, encode in ways.items():
            taken[name].append(_seconds(encode, batch, warm_up=not taken[name]))
    return {name: len(batch) / median(seconds) for name, seconds in taken.items()}


def _seconds(encode: Encode, images_BHWC: NDArray[np.uint8], *, warm_up: bool) -> float:
    """Return the time of one batch. The first one of a size is not timed: libraries choose and compile kernels in it."""
    if warm_up:
        encode(images_BHWC)
    began = time.perf_counter()
    encode(images_BHWC)
    return max(time.perf_counter() - began, 1e-6)
