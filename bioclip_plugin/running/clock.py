"""Wall time of a run by stage, and the share of it in which the encoder had nothing to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")

READ, DETECT, ENCODE, CLASSIFY, STORE = "read", "detect", "encode", "classify", "store"
"""Work, each on threads of its own. Reading includes decoding, cropping, and the wait for memory or a detector."""
ITEMS, READERS, ENCODER, WRITER, CALLER = "items", "reading", "the encoder", "the writer", "its caller"
"""What the thread of the stream waits for."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds of one run."""

    wall_s: float = 0.0
    """From the first item that was asked for to the last answer."""
    regions: int = 0
    """Images and crops that were encoded."""
    encoder_s: float = 0.0
    """From the beginning of the first batch of the encoder to the end of its last one."""
    busy_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of all threads at work, by stage."""
    waiting_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the stream's own thread, by what it waited for."""

    @property
    def idle_share(self) -> float:
        """Share of :attr:`encoder_s` in which the encoder waited."""
        return max(0.0, 1 - self.busy_s.get(ENCODE, 0.0) / self.encoder_s) if self.encoder_s else 0.0

    def lines(self) -> Iterator[str]:
        """Yield the figures in words."""
        rate = f", {self.regions / self.wall_s:,.1f} encoded per second" if self.regions and self.wall_s else ""
        yield f"{self.wall_s:.2f} s{rate}; {_listed(self.busy_s)} (seconds of threads at work)"
        if self.encoder_s:
            yield f"the encoder waited {self.idle_share:.1%} of {self.encoder_s:.2f} s"
        yield f"the stream waited for {_listed(self.waiting_s)} (seconds)"


class StageClock:
    """Measures one run. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may end a stream on a thread that has it
        self._began_at = time.perf_counter()
        self._busy_s: dict[str, float] = {}
        self._waiting_s: dict[str, float] = {}
        self._first_at = self._last_at = 0.0
        self._regions = 0
        self._encoding = 0  # batches that the encoder has: while it has two, time counts once
        self._encodes_since = 0.0  # what is not counted yet

    def begin(self) -> None:
        """Begin to count the time of the whole run."""
        self._began_at = time.perf_counter()

    @contextmanager
    def busy(self, stage: str, regions: int = 0) -> Iterator[None]:
        """Count a block as work of a stage.

        Args:
            stage: one of the five.
            regions: images that the encoder encodes in it.
        """
        began_at = self._begin_to_encode() if stage == ENCODE else time.perf_counter()
        try:
            yield
        finally:
            ended_at = time.perf_counter()
            with self._lock:
                if stage == ENCODE:
                    self._encoding -= 1
                    self._regions += regions
                    began_at, self._encodes_since = self._encodes_since, ended_at
                    self._first_at, self._last_at = self._first_at or began_at, ended_at
                self._busy_s[stage] = self._busy_s.get(stage, 0.0) + ended_at - began_at

    def _begin_to_encode(self) -> float:
        now = time.perf_counter()
        with self._lock:
            self._encodes_since = self._encodes_since if self._encoding else now
            self._encoding += 1
        return now

    def timed(
        self, stage: str, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Callable[[], Result]:
        """Return work whose time is counted."""

        def counted() -> Result:
            with self.busy(stage):
                return work(*given, **named)

        return counted

    @contextmanager
    def waits(self, for_what: str) -> Iterator[None]:
        """Count a block as a wait of the stream's thread."""
        began_at = time.perf_counter()
        try:
            yield
        finally:
            waited_s = time.perf_counter() - began_at
            with self._lock:
                self._waiting_s[for_what] = self._waiting_s.get(for_what, 0.0) + waited_s

    def profile(self) -> Profile:
        """Return the figures up to now."""
        with self._lock:
            return Profile(
                time.perf_counter() - self._began_at,
                self._regions,
                self._last_at - self._first_at,
                dict(self._busy_s),
                dict(self._waiting_s),
            )


def _listed(seconds: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()) or "nothing"
