"""Our geofence, roll-up and ensemble beside the functions of speciesnet 5.0.6, on random taxonomies, maps and scores.

speciesnet is a development dependency. Its package imports torch and its detector at once (seven seconds). The four modules
that are compared here do not need them, so they are loaded without the package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import itertools
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from speciesnet_samples import parse_label

from bioclip_core.taxonomy import Rank
from bioclip_plugin.formats.shared.species_labels import (
    ANIMAL,
    BLANK,
    HUMAN,
    UNKNOWN,
    VEHICLE,
    label_of_kind,
)
from bioclip_plugin.rules.geofence_map import GeofenceMap, geofence_of
from bioclip_plugin.rules.speciesnet_ensemble import (
    FENCE_ROLL_UP,
    Detection,
    Outcome,
    Scored,
    ensemble,
    fenced,
    roll_up,
)

INPUTS = 5_000
COUNTRIES = ("USA", "KEN", "AUS", "BRA")
REGIONS = ("CA", "AK", "HI")
# Thresholds of the table and values just above and below, where the strictness of a comparison shows.
EDGES = (0.2, 0.4, 0.5, 0.65, 0.7, 0.8, 0.99)
SCORES = (0.0, 1.0, *EDGES, *(edge + 1e-9 for edge in EDGES), *(edge - 1e-9 for edge in EDGES))
DETECTIONS = {"animal": "animal", "human": "person", "vehicle": "vehicle"}


@dataclass
class Theirs:
    """Modules of speciesnet for the comparison."""

    geofence: Any
    combiner: Any
    taxonomy: Any


@pytest.fixture(scope="module")
def theirs() -> Iterator[Theirs]:
    spec = importlib.util.find_spec("speciesnet")
    assert spec is not None, "the development dependency speciesnet is not installed"
    assert spec.submodule_search_locations is not None
    assert importlib.metadata.version("speciesnet") == "5.0.6"
    loaded = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "speciesnet"}
    for name in loaded:
        del sys.modules[name]
    package = ModuleType("speciesnet")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["speciesnet"] = package
    names = ("geofence_utils", "ensemble_prediction_combiner", "taxonomy_utils")
    yield Theirs(*(importlib.import_module(f"speciesnet.{name}") for name in names))
    for name in [name for name in sys.modules if name.split(".")[0] == "speciesnet"]:
        del sys.modules[name]
    sys.modules.update(loaded)


class World:
    """Random taxonomy with labels, a geofence for some of its taxa, and the ancestors that have labels."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        taxa = {self._taxon() for _ in range(dice.randint(4, 14))}
        self.labels = [f"{taxon.replace(chr(59), chr(46))};{taxon};some animal" for taxon in sorted(taxa)]
        ancestors = {self._cut(taxon, depth) for taxon in taxa for depth in range(1, 6) if dice.random() < 0.8}
        self.taxonomy_map = {
            taxon: f"{taxon.replace(chr(59), chr(46))};{taxon};a higher taxon" for taxon in sorted(ancestors | taxa)
        }
        self.taxonomy_map[";;;;"] = ANIMAL
        self.taxonomy_map[";".join(HUMAN.split(";")[1:6])] = HUMAN
        self.known = {parse_label(label).taxon.lineage for label in self.taxonomy_map.values()}
        self.fence = {taxon: self._rules() for taxon in sorted(self.taxonomy_map) if dice.random() < 0.5}
        self.ours: GeofenceMap = geofence_of(self.fence)
        self.country: str | None = None
        self.region: str | None = None

    def moved(self) -> World:
        """Return the same world as seen from another random place."""
        self.country = self.dice.choice((*COUNTRIES, None, ""))
        self.region = self.dice.choice((*REGIONS, None, ""))
        return self

    def blocked(self, taxon: Any) -> bool:
        return not self.ours.verdict(taxon, self.country, self.region).allowed

    def classes(self, special: float = 0.25) -> tuple[list[str], list[float]]:
        """Return up to five different labels with falling scores; the first is often at a threshold of the table."""
        pool = [*self.labels, ANIMAL]
        if self.dice.random() < special:
            pool += [BLANK, HUMAN, VEHICLE, UNKNOWN] * 3
        labels = list(dict.fromkeys(self.dice.choices(pool, k=self.dice.randint(1, 5))))
        weights = (
            [0.25] * len(labels) if self.dice.random() < 0.2 else [self.dice.expovariate(1.0) ** 2 for _ in labels]
        )
        if self.dice.random() < 0.4:
            top = self.dice.choice(SCORES)
            scores = [top, *(weight * min(1 - top, top) / sum(weights) for weight in weights[1:])]
        else:
            scores = [weight / max(1.0, sum(weights)) for weight in weights]
        scores.sort(reverse=True)
        return labels, scores

    def label(self, outcome: Outcome) -> str:
        """Return speciesnet's label for our outcome."""
        if outcome.kind != "taxon":
            return label_of_kind(outcome.kind)
        assert outcome.taxon is not None
        if outcome.source in ("classifier", "detector"):
            return next((label for label in self.labels if parse_label(label).taxon == outcome.taxon), ANIMAL)
        by_lineage = {parse_label(label).taxon.lineage: label for label in self.taxonomy_map.values()}
        return by_lineage[outcome.taxon.lineage]

    def _taxon(self) -> str:
        names = [f"{letter}{self.dice.randint(1, 2)}" for letter in "cofg"] + [f"s{self.dice.randint(1, 3)}"]
        depth = self.dice.choice((5, 5, 5, 5, 4, 3, 2, 1))
        names = [f"{name}{''.join(names[:at])}" if at < 4 else name for at, name in enumerate(names)]
        if self.dice.random() < 0.1:  # a hole in the lineage
            names[self.dice.randint(0, 3)] = ""
        return self._cut(";".join(names), depth)

    def _cut(self, taxon: str, depth: int) -> str:
        return ";".join([*taxon.split(";")[:depth], *[""] * (5 - depth)])

    def _rules(self) -> dict[str, Any]:
        rules: dict[str, Any] = {}
        for word in ("allow", "block"):
            if self.dice.random() < 0.6:
                countries = self.dice.sample(COUNTRIES, self.dice.randint(0, 3))
                rules[word] = {
                    country: self.dice.sample(REGIONS, self.dice.choice((0, 0, 1, 2))) for country in countries
                }
        return rules


def worlds(dice: random.Random) -> Iterator[World]:
    """Yield one world per input. Ten share a taxonomy and a geofence, which take longer to make than to use."""
    for _ in range(INPUTS // 10):
        world = World(dice)
        for _ in range(10):
            yield world.moved()


def scored(labels: list[str], scores: list[float]) -> list[Scored]:
    parsed = [parse_label(label) for label in labels]
    return [Scored(label.taxon, score, label.kind) for label, score in zip(parsed, scores, strict=True)]


def test_the_geofence_gives_speciesnets_verdict_for_5000_random_taxa_and_places(theirs: Theirs) -> None:
    dice = random.Random(4)
    blocked = 0
    for world in worlds(dice):
        label = dice.choice(list(world.taxonomy_map.values()))
        expected = theirs.geofence.should_geofence_animal_classification(
            label, world.country, world.region, world.fence, True
        )
        assert world.blocked(parse_label(label).taxon) is expected, (label, world.country, world.region, world.fence)
        blocked += expected
    assert 0.1 < blocked / INPUTS < 0.9


def test_the_roll_up_gives_speciesnets_answer_for_5000_random_inputs(theirs: Theirs) -> None:
    dice = random.Random(5)
    ranks = (Rank.SPECIES, Rank.GENUS, *FENCE_ROLL_UP)
    rolled = 0
    for world in worlds(dice):
        labels, scores = world.classes()
        levels = sorted(dice.sample(ranks, dice.randint(1, 6)), key=ranks.index)
        threshold = dice.choice((0.65, 0.3, scores[0] - 1e-10, 0.0))
        expected = theirs.geofence.roll_up_labels_to_first_matching_level(
            labels, scores, world.country, world.region, [level.value for level in levels], threshold,
            world.taxonomy_map, world.fence, True,
        )  # fmt: skip
        ours = roll_up(scored(labels, scores), levels, threshold, blocked=world.blocked, known=world.known)
        found = None if ours is None else (world.label(ours), ours.score, ours.source)
        assert found == expected, (labels, scores, levels, threshold)
        rolled += expected is not None
    assert 0.1 < rolled / INPUTS < 0.95


def test_a_blocked_best_class_becomes_the_same_as_in_speciesnet_for_5000_random_inputs(theirs: Theirs) -> None:
    dice = random.Random(6)
    ways: dict[str, int] = {}
    for world in worlds(dice):
        labels, scores = world.classes()
        expected = theirs.geofence.geofence_animal_classification(
            labels=labels, scores=scores, country=world.country, admin1_region=world.region, taxonomy_map=world.taxonomy_map,
            geofence_map=world.fence, enable_geofence=True,
        )  # fmt: skip
        ours = fenced(scored(labels, scores), blocked=world.blocked, known=world.known)
        assert (world.label(ours), ours.score, ours.source) == expected, (labels, scores)
        ways[ours.source] = ways.get(ours.source, 0) + 1
    assert set(ways) == {
        "classifier", "classifier+geofence+rollup_failed",
        *(f"classifier+geofence+rollup_to_{rank}" for rank in ("family", "order", "class", "kingdom")),
    }  # fmt: skip


def test_the_whole_ensemble_gives_speciesnets_answer_for_5000_random_inputs(theirs: Theirs) -> None:
    dice = random.Random(7)
    ways: dict[tuple[str, str], int] = {}
    for world in worlds(dice):
        labels, scores = world.classes(special=0.8)
        category = dice.choice(list(DETECTIONS))
        confidence = dice.choice(SCORES) if dice.random() < 0.5 else dice.random()
        expected = theirs.combiner.combine_predictions(
            classifications_list=[{"classes": labels, "scores": scores}], detections=[{"label": category, "conf": confidence}],
            country=world.country, admin1_region=world.region, taxonomy_map=world.taxonomy_map, geofence_map=world.fence,
            enable_geofence=True, geofence_fn=theirs.geofence.geofence_animal_classification,
            roll_up_fn=theirs.geofence.roll_up_labels_to_first_matching_level,
        )  # fmt: skip
        ours = ensemble(
            scored(labels, scores),
            Detection(DETECTIONS[category], confidence),
            blocked=world.blocked,
            known=world.known,
        )
        found = {"class": world.label(ours), "score": ours.score, "source": ours.source}
        assert found == expected[0], (labels, scores, category, confidence)
        ways[ours.kind, ours.source] = ways.get((ours.kind, ours.source), 0) + 1
    # Every line of the table was exercised.
    assert {("person", "detector"), ("person", "classifier"), ("vehicle", "detector"), ("vehicle", "classifier"),
            ("blank", "classifier"), ("taxon", "classifier"), ("taxon", "detector"), ("unknown", "classifier"),
            ("taxon", "classifier+rollup_to_genus"), ("taxon", "classifier+geofence+rollup_to_family"),
            ("taxon", "classifier+rollup_to_kingdom")} <= set(ways)  # fmt: skip


def test_the_ensemble_agrees_at_each_of_its_thresholds_and_a_billionth_beside_it(theirs: Theirs) -> None:
    world = World(random.Random(8)).moved()
    tops = (world.labels[0], ANIMAL, BLANK, HUMAN, VEHICLE, UNKNOWN)
    for category, confidence, top, score in itertools.product(DETECTIONS, SCORES, tops, SCORES):
        expected = theirs.combiner.combine_predictions(
            classifications_list=[{"classes": [top], "scores": [score]}], detections=[{"label": category, "conf": confidence}],
            country=None, admin1_region=None, taxonomy_map=world.taxonomy_map, geofence_map={}, enable_geofence=True,
            geofence_fn=theirs.geofence.geofence_animal_classification,
            roll_up_fn=theirs.geofence.roll_up_labels_to_first_matching_level,
        )  # fmt: skip
        ours = ensemble(scored([top], [score]), Detection(DETECTIONS[category], confidence), known=world.known)
        found = {"class": world.label(ours), "score": ours.score, "source": ours.source}
        assert found == expected[0], (top, score, category, confidence)


def test_our_five_labels_are_speciesnets(theirs: Theirs) -> None:
    constants = sys.modules["speciesnet.constants"].Classification
    names = ("BLANK", "ANIMAL", "HUMAN", "VEHICLE", "UNKNOWN")
    assert [constants[name].value for name in names] == [BLANK, ANIMAL, HUMAN, VEHICLE, UNKNOWN]
