"""Strategies of review, each with a name and a sentence: which items a curator should look at next.

A strategy never gives an item that is reviewed. The same items and seed give the same order, and ties are broken by the seed,
so that none depends on the order of a listing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.review_order.clusters import clusters_of
from bioclip_plugin.review_order.scoring import best_of, compared, known, labels_held, place_in_group, some_of
from bioclip_plugin.review_order.spreading import Spread


class Strategy(Protocol):
    """An order of review."""

    @property
    def name(self) -> str:
        """The name, for options and addresses."""

    @property
    def sentence(self) -> str:
        """One sentence that explains the order to a curator."""

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        """Return the numbers of at most ``batch`` items without a review, the first to review first."""


class Randomly:
    """Items at random."""

    name = "random"
    sentence = "Items at random, each as likely as any other."

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        return best_of(items, np.zeros(len(items)), batch, seed)


class LeastSure:
    """The smallest probability first."""

    name = "least-sure"
    sentence = "The items whose decision has the smallest probability; undecided ones come first."

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        return best_of(items, -known(items.probability_N, 0.0), batch, seed)


class SmallestMargin:
    """The smallest difference between the two best candidates first."""

    name = "smallest-margin"
    sentence = "The items whose two best candidates are closest to each other in probability."

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        return best_of(items, -known(items.margin_N, 1.0), batch, seed)


class MostDisagreement:
    """The greatest contradiction between the model and a rule or the catalogue first."""

    name = "most-disagreement"
    sentence = (
        "The items where the model most contradicts a rule or the catalogued name; after these, those with the smallest "
        "margin."
    )

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        extent = np.zeros(len(items)) if items.disagreement_N is None else known(items.disagreement_N, 0.0)
        # Margins are at most 1, so that an item with any disagreement comes before one without.
        score_N = np.where(extent > 0, 1.0 + extent, -known(items.margin_N, 1.0))
        return best_of(items, score_N, batch, seed)


class MostTypical:
    """The items nearest to the middle of their cluster, of each cluster in turn."""

    name = "most-typical"
    sentence = (
        "The items nearest to the middle of their cluster of similar images, one of each cluster in turn, the largest "
        "cluster first."
    )

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        if items.features_ND is None:
            return Randomly().order(items, batch, seed)
        waiting = some_of(np.flatnonzero(~items.reviewed_N), seed)
        clusters = clusters_of(compared(items.features_ND, waiting)[0], batch, seed)
        turn_W = place_in_group(clusters.number_N, clusters.closeness_N)
        order_W = np.lexsort((-clusters.sizes_C[clusters.number_N], turn_W))
        return waiting[order_W[:batch]]


class RareFirst:
    """Taxa that were decided on least often, first."""

    name = "rare-first"
    sentence = "The items of the taxa with the fewest answers and reviews, of each taxon in turn, its most probable item first."

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        waiting = np.flatnonzero(~items.reviewed_N)
        answered = items.taxon_N[items.taxon_N >= 0]
        count_T = np.bincount(answered, minlength=len(items.taxa)) + labels_held(items)
        count_W = np.append(count_T, np.iinfo(np.int64).max)[items.taxon_N[waiting]]  # -1, undecided, is the last one
        tie_W = np.random.default_rng(seed).random(len(waiting))
        turn_W = place_in_group(items.taxon_N[waiting], known(items.probability_N[waiting], 0.0) + 1e-9 * tie_W)
        return waiting[np.lexsort((tie_W, count_W, turn_W, items.taxon_N[waiting] < 0))[:batch]]


DEFAULT = Spread.name
STRATEGIES: Sequence[Strategy] = (
    Spread(), SmallestMargin(), LeastSure(), MostDisagreement(), MostTypical(), RareFirst(), Randomly(),
)  # fmt: skip
"""All strategies of our own, the default first."""


def strategy_named(name: str, strategies: Sequence[Strategy] = STRATEGIES) -> Strategy:
    """Return the strategy of this name.

    Raises:
        UsageError: for a name that no strategy has, with those that exist.
    """
    for strategy in strategies:
        if strategy.name == name:
            return strategy
    known = ", ".join(strategy.name for strategy in strategies)
    raise UsageError(f"there is no order of review {name!r}: choose one of {known}")
