"""The number of images that the encoder gets at once: forced, remembered, found on the first batches, halved if memory runs out."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bioclip_core.device import Compute
from bioclip_core.encoder import USUAL_BATCH
from bioclip_core.identity import read_cache, settings_id, user_cache, write_cache
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of
from bioclip_core.runtimes.library import processor

log = logging.getLogger(__name__)

TRIED: Sequence[int] = (8, 16, 32)
"""Sizes that are tried on a CPU, where larger ones gain nothing and cost memory."""
TRIALS = 3
"""Batches of each size, in turn, so that other work on the machine meets all sizes alike. The first one warms up."""
LEAST_GAIN = 1.05
"""Rate over that of the usual size from which another size is taken: less is noise."""


class BatchSizes:
    """The size of the encoder's batches for one engine. Any thread may call it."""

    def __init__(
        self, usual: int = USUAL_BATCH, *, forced: int | None = None, key: str = "", tried: Sequence[int] = ()
    ) -> None:
        """Set up.

        Args:
            usual: the size until a better one is known.
            forced: the size that the user wants; nothing is tried then.
            key: what decides the best size: machine, model, precision; the size is remembered under it.
            tried: sizes to try on the first batches; none keeps the usual one.
        """
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._said = self._halved_from = 0
        self._size, self._key = forced or usual, key
        self._usual = usual
        self._seconds: dict[int, list[float]] = {}
        remembered = _remembered(key) if forced is None and tried and key else None
        if remembered is not None:
            self._size = remembered
        elif forced is None and tried:
            self._seconds = {size: [] for size in tried}
        self._turn = 0

    @property
    def size(self) -> int:
        """The number of images of the next batch."""
        with self._lock:
            size = self._on_trial() or self._size
            return min(size, self._limit) if self._limit else size

    def _on_trial(self) -> int | None:
        return list(self._seconds)[self._turn % len(self._seconds)] if self._seconds else None

    @contextmanager
    def timed(self, count: int) -> Iterator[None]:
        """Measure a batch of some images, while the best size is not known."""
        began_at = time.perf_counter()
        yield
        seconds = time.perf_counter() - began_at
        with self._lock:
            if not self._seconds or count != self._on_trial():
                return
            self._seconds[count].append(seconds / count)
            self._turn += 1
            if self._turn < len(self._seconds) * (TRIALS + 1):
                return
            per_image_s = {size: median(found[1:]) for size, found in self._seconds.items()}
            self._size, self._seconds = best_size(per_image_s, self._usual), {}
            best = self._size
        log.debug(
            "Batches of %d images are encoded from now on; measured per image: %s",
            best,
            ", ".join(f"{size}: {1000 * s:.1f} ms" for size, s in per_image_s.items()),
        )
        if self._key:
            write_cache(_book(), {**read_cache(_book()), self._key: best})

    def halve(self, count: int) -> bool:
        """Take at most half of a batch that memory did not suffice for; False if it was one image."""
        if count <= 1:
            return False
        with self._lock:
            self._seconds = {}
            self._limit = min(self._limit or count, max(1, count // 2))
            self._halved_from = self._halved_from or count
        return True

    def fitted(self) -> None:
        """Say once what memory sufficed for, after it did not."""
        with self._lock:
            if not self._halved_from or self._said:
                return
            self._said, before, limit = 1, self._halved_from, self._limit
        log.warning(
            "the memory of the device did not suffice for %s at once; encoding goes on with %d (--batch-size %d says so from "
            "the beginning)",
            number_of(before, "image"),
            limit,
            limit,
        )


def best_size(per_image_s: Mapping[int, float], usual: int) -> int:
    """Return the fastest size; the usual one unless another is faster by more than noise."""
    best = min(per_image_s, key=lambda size: per_image_s[size])
    if usual in per_image_s and per_image_s[usual] < LEAST_GAIN * per_image_s[best]:
        return usual
    return best


def _remembered(key: str) -> int | None:
    size = read_cache(_book()).get(key)
    return size if isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 65_536 else None


def _book() -> Path:
    return user_cache() / "batch_sizes.json"


def sizes_for(
    forced: int | None, model: FoundModel, compute: Compute, best: Callable[[], int | None] = lambda: None
) -> BatchSizes:
    """Return the sizes of batches of a model on a device, in the runtime that was chosen.

    Args:
        forced: the size that the user wants.
        model: the model.
        compute: its device, precision and runtime.
        best: asks the encoder for the size that suits it; on a CPU it is found on the first batches instead.
    """
    if compute.device != "cpu":
        return BatchSizes(forced or best() or USUAL_BATCH, forced=forced)
    key = settings_id(
        {
            "weights_sha256": model.weights_sha256,
            "size": model.preprocessing.size,
            "compute": [compute.precision, compute.runtime, compute.quantised],
            "machine": [processor(), os.cpu_count()],
        }
    )
    return BatchSizes(forced=forced, key=key, tried=TRIED)
