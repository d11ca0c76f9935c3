"""The end of a worker that is stuck, so that its shard is free for another one: a device or a disk may never answer."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

STUCK_AFTER_S = 3_600.0
"""Time without a finished image after which a worker is taken for stuck. Opening a model from a slow disk takes minutes."""
EXIT_STUCK = 70
_LOOKS = 20
"""Looks in that time."""


class Watch:
    """Ends this process if a block makes no progress. A hang in C, or in the kernel, can be ended in no other way."""

    def __init__(self, limit_s: float = STUCK_AFTER_S, end: Callable[[int], object] = os._exit) -> None:
        """Set up; nothing is watched yet.

        Args:
            limit_s: longest time between two calls of :meth:`progressed`, without the time for which the process is stopped.
            end: ends the process with an exit code.
        """
        self._limit_s, self._end = limit_s, end
        self._finished = 0

    def progressed(self) -> None:
        """Note that an image is finished."""
        self._finished += 1

    @contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Watch this block.

        Args:
            what: the work, for the last line of the process.
        """
        if math.isinf(self._limit_s):
            yield
            return
        over = threading.Event()
        threading.Thread(target=self._watch, args=(what, over), name="bioclip-watch", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _watch(self, what: str, over: threading.Event) -> None:
        # Looks are counted, and not the time of a clock: a process that was stopped for hours (scontrol suspend) was not stuck.
        seen, looks = self._finished, 0
        while not over.wait(self._limit_s / _LOOKS):
            seen, looks = self._finished, looks + 1 if seen == self._finished else 0
            if looks >= _LOOKS:
                text = (
                    f"{what}: no image was finished for {self._limit_s / 60:.0f} minutes; this worker ends, and another one works on "
                    "its shard again\n"
                )
                with suppress(OSError):
                    os.write(2, text.encode())  # the stream may be locked by the thread that is stuck
                self._end(EXIT_STUCK)
                return
