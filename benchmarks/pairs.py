"""Measurement beside the peer: A B A B in one run, and the ratio of each pair with its spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

T = TypeVar("T")
WARM_UP_ROUNDS = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of a few rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def as_dict(self) -> dict[str, float]:
        return {"median": self.median, "low": self.low, "high": self.high}


def beside_peer(
    benchmark: BenchmarkFixture,
    *,
    prepare: Callable[[], T],
    ours: Callable[[T], Any],
    peer: Callable[[T], float],
    ours_items: int,
    peer_items: int | None = None,
    pairs: int,
    unit: str = "images/s",
    mark: float | None = None,
    note: str = "",
) -> None:
    """Time ``pairs`` rounds of the peer and of our side in turn, and put the figures into ``benchmark.extra_info``.

    Args:
        prepare: makes the work of both sides for one round; not timed.
        ours: our side, timed here.
        peer: the peer's side; returns its seconds, timed in its own process.
        ours_items: items per round on our side.
        peer_items: items per round on the peer's side, if it gets fewer.
        mark: target: the smallest ratio of our items per second to the peer's.
        note: a fact that a reader needs to judge the figure.
    """
    peer_s: list[float] = []

    def before_each_round() -> tuple[tuple[T], dict[str, Any]]:
        work = prepare()
        peer_s.append(peer(work))
        return (work,), {}

    benchmark.pedantic(ours, setup=before_each_round, rounds=pairs, warmup_rounds=WARM_UP_ROUNDS)  # type: ignore[no-untyped-call]
    if benchmark.stats is None:  # --benchmark-disable: run once, without timing
        return
    ours_s = list(benchmark.stats.stats.data)
    peer_s = peer_s[WARM_UP_ROUNDS : WARM_UP_ROUNDS + pairs]
    ours_rates = [ours_items / seconds for seconds in ours_s]
    peer_rates = [(peer_items or ours_items) / seconds for seconds in peer_s]
    ratios = [mine / theirs for mine, theirs in zip(ours_rates, peer_rates, strict=True)]
    benchmark.extra_info.update(
        unit=unit,
        ours=Spread.of(ours_rates).as_dict(),
        peer=Spread.of(peer_rates).as_dict(),
        ratio=Spread.of(ratios).as_dict(),
        pairs=pairs,
        mark=mark,
        note=note,
    )
