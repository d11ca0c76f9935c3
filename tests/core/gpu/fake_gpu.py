"""A GPU whose work is done late and in any order that its queues allow, so that each missing wait shows in the features."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(eq=False)
class Queued:
    work: Callable[[], object]
    after: Queued | None
    number: int
    is_done: bool = False


class FakeStreams:
    """Queues of a device: whatever is queued is done when somebody waits, never before, in an order drawn at random."""

    name = "fake GPU"

    def __init__(self, seed: int = 0, *, free_bytes: int = 1 << 40, image_bytes: int = 1 << 20) -> None:
        self.free, self.image_bytes = free_bytes, image_bytes
        self.log: list[str] = []
        self.most: int | None = None
        """Number of images that memory suffices for."""
        self.failure: Exception | None = None
        """Error of the driver, which every wait reports."""
        self.repeats = self.captures = 0
        self.is_repeating = False
        self.capture_failure: Exception | None = None
        self._order = random.Random(seed)
        self._queues: dict[str, deque[Queued]] = {"copy": deque(), "compute": deque()}
        self._count = {"copy": 0, "compute": 0}
        self._lock = threading.RLock()
        self.batch = 0
        """Number of images of the last computation, which the encoder of a test sets."""

    def host(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.full(tuple(shape), 77, dtype=dtype)

    def device(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        if self.most is not None and len(shape) == 4 and shape[0] > self.most:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return torch.full(tuple(shape), 77, dtype=dtype)

    def copy(self, work: Callable[[], object]) -> Queued:
        return self._queue("copy", work, None)

    def compute(self, work: Callable[[], object], after: Queued | None = None) -> Queued:
        return self._queue("compute", work, after)

    def _queue(self, name: str, work: Callable[[], object], after: Queued | None) -> Queued:
        with self._lock:
            queued = Queued(work, after, self._count[name])
            self._count[name] += 1
            self._queues[name].append(queued)
            self.log.append(f"{name} {queued.number}")
            return queued

    def wait(self, mark: Queued) -> None:
        with self._lock:
            self.log.append("wait")
            while not mark.is_done:
                if self.failure is not None:
                    raise self.failure
                self._do_one()

    def _do_one(self) -> None:
        ready = [q for q in self._queues.values() if q and (q[0].after is None or q[0].after.is_done)]
        queue = self._order.choice(ready)
        queued = queue[0]
        with torch.inference_mode():
            queued.work()
        queue.popleft()
        queued.is_done = True

    def repeated(self, work: Callable[[], object]) -> Callable[[], object]:
        self.captures += 1
        if self.capture_failure is not None:
            raise self.capture_failure

        def repeat() -> Any:
            self.repeats += 1
            self.is_repeating = True
            try:
                return work()
            finally:
                self.is_repeating = False

        return repeat

    def free_bytes(self) -> int:
        return self.free

    def peak_bytes(self, work: Callable[[], object]) -> int:
        work()
        return self.batch * self.image_bytes


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""
