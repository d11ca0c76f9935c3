"""Orders of review beside each other: a simulated reviewer who knows the true names, on frozen features of leaves and reef fish.

python -m benchmarks.review_order                     all orders, five seeds; needs BIOCLIP_DATA; features are made once
python -m benchmarks.review_order --seeds 1           quickly, without intervals
python -m benchmarks.review_order --only "reef fish"  the collections whose name has these words

In each round an order gets what a store has: features, events, and the answers of a probe or of prototypes that were made of the
reviews so far. The true names of its batch are added, and accuracy is measured on images of other events.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.learning_curves import _built, _data, _features, _found, _train
from benchmarks.questions.figures import table
from bioclip_core.files.whole import replacing_file
from bioclip_core.labels.prototypes import UNFITTED, sums_of, unit_rows
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.review_order.spreading import representatives
from bioclip_plugin.review_order.strategies import STRATEGIES, Randomly, Strategy
from bioclip_training.catalog.rows import Catalog, hashed_share
from bioclip_training.evaluation.learning_curve import Sample
from bioclip_training.evaluation.probing import fit_probe
from bioclip_training.evidence.intervals import t_quantile

RESULTS = Path(__file__).parent / "results" / "review_order.json"

Answers = tuple[NDArray[np.int64], NDArray[np.float64]]
"""The taxa that a learner knows, and the probability of each for every image (N x C)."""
Learner = Callable[[NDArray[np.float32], NDArray[np.int64], Sequence[Taxon], NDArray[np.float32]], Answers]
"""Features and taxa of the reviewed images, all taxa, features of the images to answer."""


@dataclass(frozen=True)
class Collection:
    """Images to review, and held-out ones of other events."""

    name: str
    pool: Sample
    test: Sample
    taxa: Sequence[Taxon]
    batch: int
    most: int
    """Reviews after which the simulation ends."""
    learners: Sequence[str]


class RandomEvents:
    """The fairer baseline: at random, but one image of each event."""

    name, sentence = "random events", "One item of each event at random."

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:
        random = np.random.default_rng(seed)
        waiting = representatives(items, random.random(len(items)), random.random(len(items)))
        chosen = random.permutation(waiting)[:batch]
        return chosen if len(chosen) == batch else Randomly().order(items, batch, seed)


ORDERS: Sequence[Strategy] = (*STRATEGIES, RandomEvents())


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate the reviews, print the tables, and store the curves."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.review_order", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=5, help="Number of seeds.")
    parser.add_argument("--only", default="", help="Words in the names of the collections to simulate.")
    parser.add_argument("--learner", choices=[*LEARNERS], help="One learner alone.")
    options = parser.parse_args(arguments)
    for collection in _collections(options.only):
        for learner in collection.learners:
            if options.learner not in (None, learner):
                continue
            begun = time.process_time()
            curves = {order.name: _curves(collection, order, learner, options.seeds) for order in ORDERS}
            found = {
                "curves": curves, "images": len(collection.pool), "test": len(collection.test), "seeds": options.seeds,
                "processor_s": round(time.process_time() - begun, 1), "machine": machine.describe(), "commit": machine.commit(),
            }  # fmt: skip
            print(f"{collection.name}; {learner}: {time.process_time() - begun:.0f} s", file=sys.stderr, flush=True)
            stored = _stored() | {f"{collection.name}; {learner}": found}
            with replacing_file(RESULTS) as draft:
                draft.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", "utf-8")
    print(markdown({name: found for name, found in _stored().items() if options.only in name}))
    return 0


def _stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {}
    return found


def markdown(stored: dict[str, Any]) -> str:
    """Return a table per collection and learner: accuracy by the number of reviews, and reviews for the accuracy of random ones."""
    parts, places = [], {order.name: place for place, order in enumerate(ORDERS)}
    for name, found in stored.items():
        curves = {order: _array(curve) for order, curve in found["curves"].items()}
        counts = next(iter(found["curves"].values()))["reviews"]
        shown = [place for place in range(len(counts)) if counts[place] in _shown(counts)]
        rows = [
            [
                order,
                *(_spread_of(accuracy_SR[:, place]) for place in shown),
                *map(_ratio_of, _ratios(curves, order, counts)),
            ]
            for order, accuracy_SR in sorted(curves.items(), key=lambda entry: places[entry[0]])
        ]
        heads = ["order", *(f"{counts[place]} reviews" for place in shown), "of random", "of random events"]
        parts.append(f"**{name}** ({found['images']} images, {found['test']} held out)\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


def _shown(counts: Sequence[int]) -> set[int]:
    """Return four of the numbers of reviews: about a quarter, a half, three quarters and all."""
    return {counts[max(len(counts) * part // 4 - 1, 0)] for part in (1, 2, 3, 4)}


def _ratios(curves: dict[str, NDArray[np.float64]], order: str, counts: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return, for both kinds of random review, the share of its reviews that an order needs for the same accuracy, by seed.

    The mean over all numbers of reviews from the second batch on. An accuracy that is not reached within the simulation counts as
    if the next review would reach it, so that such a share is too small, not too large.
    """
    found = []
    for baseline in (Randomly.name, RandomEvents.name):
        wanted_R = curves[baseline].mean(axis=0)
        shares = [
            [_reached(counts, accuracy_R, wanted_R[place]) / counts[place] for place in range(1, len(counts))]
            for accuracy_R in curves[order]
        ]
        found.append(np.mean(shares, axis=1))
    return found


def _reached(counts: Sequence[int], accuracy_R: NDArray[np.float64], wanted: float) -> float:
    """Return the number of reviews at which an accuracy is first reached, between two rounds by interpolation."""
    places = np.flatnonzero(accuracy_R >= wanted)
    if not len(places):
        return float(counts[-1])
    place = int(places[0])
    if place == 0:
        return float(counts[0])
    before, after = accuracy_R[place - 1], accuracy_R[place]
    return counts[place - 1] + (counts[place] - counts[place - 1]) * float((wanted - before) / (after - before))


def _spread_of(values_S: NDArray[np.float64]) -> str:
    return f"{100 * values_S.mean():.1f} ±{100 * _reach(values_S):.1f}"


def _ratio_of(values_S: NDArray[np.float64]) -> str:
    return f"{100 * values_S.mean():.0f}% ±{100 * _reach(values_S):.0f}"


def _reach(values_S: NDArray[np.float64]) -> float:
    """Return half of the 95% interval of a mean over seeds."""
    if len(values_S) < 2:
        return float("nan")
    return float(t_quantile(len(values_S) - 1) * values_S.std(ddof=1) / np.sqrt(len(values_S)))


def _array(curve: dict[str, Any]) -> NDArray[np.float64]:
    return np.array(curve["accuracy"], dtype=np.float64)


# Simulation


def _curves(collection: Collection, order: Strategy, learner: str, seeds: int) -> dict[str, Any]:
    found = [_reviewed(collection, order, LEARNERS[learner], seed) for seed in range(seeds)]
    return {
        "reviews": [reviews for reviews, _, _ in found[0]],
        "accuracy": [[round(accuracy, 5) for _, accuracy, _ in curve] for curve in found],
        "macro": [[round(macro, 5) for _, _, macro in curve] for curve in found],
    }


def _reviewed(collection: Collection, order: Strategy, learn: Learner, seed: int) -> list[tuple[int, float, float]]:
    """Return reviews, accuracy and mean accuracy of the taxa after each batch."""
    pool, test = collection.pool, collection.test
    both_ND, count = np.concatenate([pool.features_ND, test.features_ND]), len(pool)
    names = tuple(taxon.scientific_name for taxon in collection.taxa)
    event_N = np.unique(pool.group_N, return_inverse=True)[1].astype(np.int32)
    features_ND, reviewed_N = pool.features_ND.astype(np.float16), np.zeros(count, dtype=bool)
    answer_N, best_N = np.full(count, -1), np.full(count, np.nan)
    margin_N, disagreement_N = best_N, best_N
    curve = []
    while (held := int(reviewed_N.sum())) < collection.most:
        items = ReviewItems(
            answer_N.astype(np.int32), names, best_N.astype(np.float32), margin_N.astype(np.float32), event_N,
            np.full(count, -1, dtype=np.int32), reviewed_N.copy(), features_ND, disagreement_N.astype(np.float32),
            np.bincount(pool.taxon_N[reviewed_N], minlength=len(names)).astype(np.int32),
        )  # fmt: skip
        chosen = order.order(items, collection.batch, 1000 * seed + held)
        assert len(np.unique(chosen)) == collection.batch
        assert not reviewed_N[chosen].any()
        reviewed_N[chosen] = True
        known, probability_NC = learn(pool.features_ND[reviewed_N], pool.taxon_N[reviewed_N], collection.taxa, both_ND)
        named_N = known[probability_NC.argmax(axis=1)]
        hit_T = named_N[count:] == test.taxon_N
        curve.append((int(reviewed_N.sum()), float(hit_T.mean()), _macro(hit_T, test.taxon_N)))
        ranked_NC = np.sort(probability_NC[:count], axis=1)
        answer_N, best_N, margin_N = named_N[:count], ranked_NC[:, -1], ranked_NC[:, -1] - ranked_NC[:, -2]
        if order.name == "most-disagreement":  # the other kind of learner stands for a rule or a catalogue
            other = _prototypes if learn is _probe else _probe
            known, other_NC = other(
                pool.features_ND[reviewed_N], pool.taxon_N[reviewed_N], collection.taxa, pool.features_ND
            )
            disagreement_N = np.where(known[other_NC.argmax(axis=1)] != answer_N, best_N, 0.0)
    return curve


def _macro(hit_T: NDArray[np.bool_], taxon_T: NDArray[np.int64]) -> float:
    counts = np.bincount(taxon_T)
    return float((np.bincount(taxon_T, weights=hit_T)[counts > 0] / counts[counts > 0]).mean())


def _probe(
    features_RD: NDArray[np.float32], taxon_R: NDArray[np.int64], taxa: Sequence[Taxon], queries_ND: NDArray[np.float32]
) -> Answers:
    """Fit a probe as ``probe build`` does for examples of one group: without cross-validation, which takes 35 times as long."""
    probe, _, _ = fit_probe(features_RD, [taxa[taxon] for taxon in taxon_R.tolist()], ["one"] * len(taxon_R))
    number = {taxon.lineage: place for place, taxon in enumerate(taxa)}
    known = np.array([number[taxon.lineage] for taxon in probe.taxa])
    return known, _softmax(unit_rows(queries_ND - probe.mean_D) @ probe.weights_CD.T + probe.bias_C)


def _prototypes(
    features_RD: NDArray[np.float32],
    taxon_R: NDArray[np.int64],
    _taxa: Sequence[Taxon],
    queries_ND: NDArray[np.float32],
) -> Answers:
    """Make prototypes as ``prototypes build`` does, at one scale."""
    known, label_R = np.unique(taxon_R, return_inverse=True)
    mean_D = features_RD.mean(axis=0)
    rows_CD = unit_rows(sums_of(unit_rows(features_RD - mean_D), label_R, len(known)))
    return known, _softmax(UNFITTED * (unit_rows(queries_ND - mean_D) @ rows_CD.T))


def _softmax(logits_NC: NDArray[np.float32]) -> NDArray[np.float64]:
    powers_NC = np.exp(logits_NC.astype(np.float64) - logits_NC.max(axis=1, keepdims=True))
    shares_NC: NDArray[np.float64] = powers_NC / powers_NC.sum(axis=1, keepdims=True)
    return shares_NC


LEARNERS: dict[str, Learner] = {"probe": _probe, "prototypes": _prototypes}


# Collections


def _collections(only: str) -> Iterator[Collection]:
    """Yield leaves and reef fish with features of the mini checkpoint and of the demo model, which knows neither.

    The mini checkpoint was trained on ``train`` of both, the images to review, but not on the held-out ones and the unseen species.
    """
    for model, name in (("mini", f"local-dir:{_data() / 'models' / 'mini'}"), ("demo", "demo")):
        wanted = {
            f"reef fish, {model}": ("reef_fish", 10, 150, tuple(LEARNERS)),
            # A probe of 85 species takes half of the time of all, and the demo model hardly tells them apart.
            f"leaves of 85 species, {model}": (
                "leaves",
                40,
                320,
                tuple(LEARNERS) if model == "mini" else ("prototypes",),
            ),
        }
        for title, (folder, batch, most, learners) in wanted.items():
            if only in title:
                catalog = _built(folder)
                pool, test = _train(catalog), catalog.rows_of("val")
                yield _collection(title, catalog, name, pool, test, batch, most, learners)
        title = f"leaves of 14 species that the model never saw, {model}"
        if only in title:
            leaves = _built("leaves")
            unseen = leaves.rows_of("unseen")
            is_test = np.array(
                [hashed_share(f"curve {leaves.group(row)}") < 0.3 for row in unseen.tolist()], dtype=bool
            )
            yield _collection(title, leaves, name, unseen[~is_test], unseen[is_test], 7, 70, tuple(LEARNERS))


def _collection(
    title: str,
    catalog: Catalog,
    model: str,
    pool: NDArray[np.int64],
    test: NDArray[np.int64],
    batch: int,
    most: int,
    learners: Sequence[str],
) -> Collection:
    rows = np.union1d(pool, test)
    sample, is_pool = _features(_found(model), catalog, rows), np.isin(rows, pool)
    return Collection(title, sample.where(is_pool), sample.where(~is_pool), catalog.taxa, batch, most, learners)


if __name__ == "__main__":
    raise SystemExit(main())
