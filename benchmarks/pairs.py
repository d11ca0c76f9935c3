"""Measurement beside the peer: A B A B in one run, and the ratio of each adjacent pair with its quartiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

T = TypeVar("T")
WARM_UP_ROUNDS = 1


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles, lowest and highest of a few rounds."""

    median: float
    q1: float
    """First quartile: a quarter of the rounds are below."""
    q3: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(*[values[0]] * 5)
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3, min(values), max(values))

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def percentile_90(values: Sequence[float]) -> float:
    """Return the 90th percentile: the rate that a machine reaches when it is left alone, without a single lucky sample."""
    return statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]


def in_turn(
    sides: Mapping[str, Callable[[T], float]], *, prepare: Callable[[], T], pairs: int
) -> dict[str, list[float]]:
    """Run each side once per round, one after the other, and return the seconds of each after the warm-up.

    Args:
        sides: each runs the work of a round and returns its seconds.
        prepare: makes the work of one round; not timed.
        pairs: rounds that count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(WARM_UP_ROUNDS + pairs):
        for name, side in sides.items():
            taken = side(prepare())
            if number >= WARM_UP_ROUNDS:
                seconds[name].append(taken)
    return seconds


def timed(work: Callable[[T], Any]) -> Callable[[T], float]:
    """Return a side that runs ``work`` in this process and returns its seconds."""

    def side(given: T) -> float:
        started = time.perf_counter()
        work(given)
        return time.perf_counter() - started

    return side


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
    figures = pair_figures(ours_s, peer_s, ours_items, peer_items or ours_items)
    benchmark.extra_info.update(unit=unit, **figures, mark=mark, note=note)


def pair_figures(ours_s: Sequence[float], peer_s: Sequence[float], ours_items: int, peer_items: int) -> dict[str, Any]:
    """Return the rates of both sides and the ratios of adjacent rounds, as they stand in the JSON file.

    The two rounds of a pair follow each other, so work beside them disturbs both, and their ratio less than either rate.
    """
    ours_rates = [ours_items / seconds for seconds in ours_s]
    peer_rates = [peer_items / seconds for seconds in peer_s]
    ratios = [mine / theirs for mine, theirs in zip(ours_rates, peer_rates, strict=True)]
    return {
        "ours": Spread.of(ours_rates).as_dict(),
        "peer": Spread.of(peer_rates).as_dict(),
        "ratio": Spread.of(ratios).as_dict(),
        "pairs": len(ratios),
    }
