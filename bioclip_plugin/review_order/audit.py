"""The audit sample: events drawn once, up front, at random within each deployment, over the whole project.

Every honest figure comes from it: a later draw, from what is left after reviews by a strategy, would be biased.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.nouns import number_of

EVENTS = 200
"""Events of an audit sample by default: within ±7 points for the whole project if it is right half of the time."""
NO_DEPLOYMENT = ""
"""Stratum of items without a deployment."""


@dataclass(frozen=True, slots=True)
class AuditSample:
    """A drawn sample."""

    rows_S: NDArray[np.int64]
    """Every item of the drawn events, in order."""
    inclusion_S: NDArray[np.float64]
    """For each of them the probability with which an event of its deployment was drawn."""
    drawn: int
    """Events drawn."""
    events: int
    """Events in all."""

    @property
    def sentence(self) -> str:
        """The draw, for users."""
        return (
            f"{number_of(self.drawn, 'event')} of {self.events:,} ({number_of(len(self.rows_S), 'item')}), at random within each "
            "deployment"
        )


def draw(
    event_N: NDArray[np.integer],
    deployment_N: NDArray[np.integer],
    seed: int,
    events: int = EVENTS,
) -> AuditSample:
    """Draw whole events at random within each deployment, as many of each deployment as its share of the events, at least one.

    With fewer draws than deployments, some could give none, and nothing would stand for them: then all events are one stratum.
    An event that spans deployments belongs to the one of its first item.

    Args:
        event_N: number of each item's event; -1 for an item that is an event of its own.
        deployment_N: number of each item's deployment; -1 without one, which is a stratum of its own.
        seed: random seed.
        events: number of events to draw; of fewer, all are drawn.

    Raises:
        UsageError: for less than one event, and for a project without items.
    """
    if events < 1:
        raise UsageError(f"an audit sample of {events} events: draw at least 1")
    if not len(event_N):
        raise UsageError("there is nothing to draw an audit sample from: classify images first")
    unit_N = _units(np.asarray(event_N))
    units, first_U = np.unique(unit_N, return_index=True)
    stratum_U = np.unique(np.asarray(deployment_N)[first_U], return_inverse=True)[1]
    if min(events, len(units)) <= stratum_U.max():
        stratum_U = np.zeros_like(stratum_U)
    sizes_H = np.bincount(stratum_U)
    shares_H = _allotted(sizes_H, min(events, len(units)))
    random = np.random.default_rng(seed)
    order_U = np.lexsort((random.random(len(units)), stratum_U))
    starts_H = np.cumsum(sizes_H) - sizes_H
    is_drawn_U = np.zeros(len(units), dtype=bool)
    is_drawn_U[order_U] = np.arange(len(units)) - starts_H[stratum_U[order_U]] < shares_H[stratum_U[order_U]]
    rows_S = np.flatnonzero(is_drawn_U[unit_N])
    return AuditSample(rows_S, (shares_H / sizes_H)[stratum_U[unit_N[rows_S]]], int(is_drawn_U.sum()), len(units))


def _units(event_N: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return numbers from 0 without gaps: one for each event, and one for each item that is an event of its own."""
    single_N = event_N < 0
    own_N = np.where(single_N, int(event_N.max(initial=-1)) + 1 + np.cumsum(single_N), event_N)
    return np.unique(own_N, return_inverse=True)[1]


def _allotted(sizes_H: NDArray[np.int64], events: int) -> NDArray[np.int64]:
    """Return how many events each stratum gives: in proportion to its size, but at least one and no more than it has."""
    exact_H = sizes_H * events / sizes_H.sum()
    given_H: NDArray[np.int64] = np.clip(np.floor(exact_H).astype(np.int64), 1, sizes_H)
    while (missing := events - int(given_H.sum())) != 0:
        step = 1 if missing > 0 else -1
        # More go to those that are furthest below their share, and are taken from those furthest above it.
        can_H = given_H < sizes_H if step > 0 else given_H > 1
        wish_H = np.where(can_H, (exact_H - given_H) * step, -np.inf)
        given_H[np.argsort(-wish_H, kind="stable")[: min(abs(missing), int(can_H.sum()))]] += step
    return given_H
