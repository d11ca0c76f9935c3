"""New probabilities from stored features: weighed by place and month, pooled over regions; a full softmax each time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Candidate, product_of
from bioclip_core.errors import PluginError
from bioclip_core.labels.label_set import LabelSet
from bioclip_plugin.contracts.rule import Rule
from bioclip_plugin.items.media import Place
from bioclip_plugin.running.engine import Engine

_KEPT_BYTES = 128 << 20  # of remembered weights


@dataclass(frozen=True, slots=True)
class Weighing:
    """The weights of the active rules for a place."""

    weights_N: NDArray[np.float32] | None
    """Product of the weights of rules and plugins; None if it changes nothing."""
    by_rules: tuple[str, ...] = ()
    """Rules of the pass that changed it, which stored answers do not include yet."""
    ignored: tuple[str, ...] = ()
    """Rules that would have left no label at all; each is left out."""


class Probabilities:
    """Classifies stored features anew with a run's model and labels; no image and no vision tower is needed."""

    def __init__(self, engine: Engine, rules: Sequence[Rule]) -> None:
        self._engine = engine
        self._rules = [rule for rule in rules if rule.weighs]
        self._places: OrderedDict[Place, Weighing] = OrderedDict()
        self._products: OrderedDict[tuple[int, ...], tuple[list[NDArray[np.float32]], Weighing]] = OrderedDict()

    @property
    def weighs(self) -> bool:
        """True if anything weighs labels, so that the place of each region matters."""
        return bool(self._rules) or self._engine.weighs

    @property
    def labels(self) -> LabelSet:
        """The run's labels."""
        return self._engine.label_set

    def weighing(self, place: Place) -> Weighing:
        """Return the weights of the rules for a place; each distinct place is asked about once."""
        if place not in self._places:
            self._places[place] = self._asked(place)
            if len(self._places) > self._remembered:
                self._places.popitem(last=False)
        self._places.move_to_end(place)
        return self._places[place]

    @property
    def _remembered(self) -> int:
        return max(4, min(4096, _KEPT_BYTES // (4 * len(self.labels))))

    def _asked(self, place: Place) -> Weighing:
        prior = self._engine.prior(place)
        asked: list[tuple[str, NDArray[np.float32]]] = []
        for rule in self._rules:
            weights_N = rule.weights(place, self.labels)
            if weights_N is None:
                continue
            if (
                weights_N.shape != (len(self.labels),)
                or not np.isfinite(weights_N).all()
                or bool((weights_N < 0).any())
            ):
                raise PluginError(
                    f"rule {rule.name}: gave {weights_N.shape} weights; needed are {len(self.labels)} finite numbers from 0"
                )
            asked.append((rule.name, weights_N))
        # Equal arrays give the very same product, so that regions that are weighed alike are classified together. The
        # arrays are held, so that their ids are not given again.
        held = [*([] if prior is None else [prior]), *(weights_N for _, weights_N in asked)]
        key = tuple(id(weights_N) for weights_N in held)
        if key not in self._products:
            self._products[key] = held, self._product(prior, asked)
            if len(self._products) > self._remembered:
                self._products.popitem(last=False)
        return self._products[key][1]

    def _product(self, prior: NDArray[np.float32] | None, asked: Sequence[tuple[str, NDArray[np.float32]]]) -> Weighing:
        kept_N = self.labels.kept_N
        product = prior if prior is not None and bool((prior[kept_N] > 0).any()) else None
        by_rules, ignored = [], []
        for name, weights_N in asked:
            together = weights_N if product is None else product_of(product, weights_N)
            if bool((together[kept_N] > 0).any()):
                product = together
                by_rules.append(name)
            else:
                ignored.append(name)
        return Weighing(product, tuple(by_rules), tuple(ignored))

    def classify(
        self, pools: Sequence[Sequence[NDArray[np.float16]]], weighings: Sequence[Weighing]
    ) -> list[Mapping[str, Sequence[Candidate]]]:
        """Return one answer per pool of features (rows of D numbers), each with the weights of its place."""
        alike: dict[int, list[int]] = {}
        for n, weighing in enumerate(weighings):
            alike.setdefault(id(weighing.weights_N), []).append(n)
        found: list[Mapping[str, Sequence[Candidate]]] = [{}] * len(pools)
        request = self._engine.request
        for numbers in alike.values():
            answers = self._engine.classifier.classify(
                np.stack([row for n in numbers for row in pools[n]]), rank=request.rank, top=request.top,
                weights_N=weighings[numbers[0]].weights_N, members_G=[len(pools[n]) for n in numbers],
            )  # fmt: skip
            for n, answer in zip(numbers, answers, strict=True):
                found[n] = answer.by_rank
        return found
