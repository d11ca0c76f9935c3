"""The end of a worker that is stuck, so that its shard is free for another one: a device or a disk may never answer."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

STUCK_AFTER_S = 3_600.0
"""Time without a finished image after which a worker is taken for stuck. Opening a model from a slow disk takes minutes."""
EXIT_STUCK = 70
_LOOKS = 20  # in that time


class Watch:
    """Ends this process if a block makes no progress. A hang in C, or in the kernel, can be ended in no other way."""

    def __init__(self, limit_s: float = STUCK_AFTER_S, end: Callable[[int], object] = os._exit) -> None:
        """Set up; nothing is watched yet.

        Args:
            limit_s: longest time between two calls of :meth:`progressed`.
            end: ends the process with an exit code.
        """
        self._limit_s, self._end = limit_s, end
        self._seen = 0.0

    def progressed(self) -> None:
        """Note that an image is finished."""
        self._seen = time.monotonic()

    @contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Watch this block.

        Args:
            what: the work, for the last line of the process.
        """
        if math.isinf(self._limit_s):
            yield
            return
        self.progressed()
        over = threading.Event()
        threading.Thread(target=self._watch, args=(what, over), name="bioclip-watch", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, what: str, over: threading.Event) -> None:
        while not over.wait(self._limit_s / _LOOKS):
            if time.monotonic() - self._seen > self._limit_s:
                text = (
                    f"{what}: no image was finished for {self._limit_s / 60:.0f} minutes; this worker ends, and another one works on "
                    "its shard again\n"
                )
                with suppress(OSError):
                    os.write(2, text.encode())  # the stream may be locked by the thread that is stuck
                self._end(EXIT_STUCK)
                return
