"""SpeciesNet's way from classes and a detection to one answer: the table, the geofence step and the roll-up, as pure functions.

The results were compared with speciesnet 5.0.6 answer by answer (tests/rules/test_speciesnet_agreement.py). The scores of
a roll-up are sums over the considered classes, so a lower bound of the sum over the whole list of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from bioclip_core.options import check_options
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin.formats.shared.species_labels import ANIMALS, Kind

Lineage = tuple[str, str, str, str, str, str, str]
Blocked = Callable[[Taxon], bool]
"""Test whether a taxon cannot be where the image was taken."""

ROLL_UP = (Rank.GENUS, Rank.FAMILY, Rank.ORDER, Rank.CLASS, Rank.KINGDOM)
"""Ranks that the ensemble rolls up to, in order. SpeciesNet does not use phyla."""
FENCE_ROLL_UP = ROLL_UP[1:]
"""Ranks that a blocked answer rolls up to: a genus is as local as its species."""

_SLACK = 1e-10  # room for the rounding of sums, since a blocked answer rolls up to a sum that reaches its own score


@dataclass(frozen=True, slots=True)
class Scored:
    """One class and its probability."""

    taxon: Taxon
    """Homo sapiens for a person, which rolls up like any other; empty for a class that rolls up to nothing."""
    score: float
    kind: Kind = "taxon"


@dataclass(frozen=True, slots=True)
class Detection:
    """The detection of the region; as in SpeciesNet, no detection is an animal of confidence 0."""

    category: str = "animal"
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer."""

    kind: Kind
    taxon: Taxon | None
    """Set for ``taxon``; Animalia alone where nothing more is known."""
    score: float
    source: str
    """Derivation in SpeciesNet's words: ``classifier+rollup_to_genus``."""


def _above(default: float) -> Any:
    return field(default=default, metadata={"low": 0, "high": 1})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits that a probability or confidence must exceed (``no_detection``: stay below). The defaults are SpeciesNet's."""

    sure_detection: float = _above(0.7)
    """A person or vehicle whatever the classes say."""
    some_detection: float = _above(0.2)
    """A person, vehicle or animal where the classes agree."""
    no_detection: float = _above(0.2)
    """Below it the image may be blank."""
    person_class: float = _above(0.5)
    """Class person (or, in a person's box, vehicle) with some detection of a person or vehicle."""
    vehicle_class: float = _above(0.4)
    """Class vehicle with some detection of a vehicle."""
    blank_class: float = _above(0.5)
    """Class blank without a detection."""
    sure_blank_class: float = _above(0.99)
    """Class blank whatever the detector says."""
    sure_class: float = _above(0.8)
    """A taxon whatever the detector says."""
    some_class: float = _above(0.65)
    """A taxon with some detection of an animal."""
    roll_up: float = _above(0.65)
    """The sum of a higher taxon."""
    animal_detection: float = _above(0.5)
    """An animal, where the classes do not say which."""
    considered: int = field(default=5, metadata={"low": 1})
    """Number of the most probable classes to consider."""

    def __post_init__(self) -> None:
        check_options(self)


SPECIESNET = Thresholds()


def never(taxon: Taxon) -> bool:  # noqa: ARG001 - the signature of a fence
    """Block nothing."""
    return False


def ensemble(
    classes: Sequence[Scored],
    detection: Detection,
    *,
    blocked: Blocked = never,
    known: Container[Lineage] | None = None,
    thresholds: Thresholds = SPECIESNET,
) -> Outcome:
    """Return the answer for one region, by the first line of the table that holds.

    Args:
        classes: the most probable first; empty: the detector alone decides.
        detection: the region's own; for a whole image its best one.
        blocked: see :class:`bioclip_plugin.rules.fence.Fence`.
        known: the existing higher taxa; None: every ancestor of a class.
    """
    classes = classes[: thresholds.considered]
    top = classes[0] if classes else Scored(Taxon(), 0.0, "unknown")
    special = _person_vehicle_or_blank(top, detection, thresholds)
    if special is not None:
        return special
    animal = detection.category == "animal"
    some_animal = animal and detection.confidence > thresholds.some_detection
    sure = top.score > thresholds.sure_class or (top.score > thresholds.some_class and some_animal)
    if sure and top.kind not in ("blank", "person", "vehicle"):
        return fenced(classes, blocked=blocked, known=known)
    rolled = roll_up(classes, ROLL_UP, thresholds.roll_up, blocked=blocked, known=known)
    if rolled is not None:
        return rolled
    if animal and detection.confidence > thresholds.animal_detection:
        return Outcome("taxon", ANIMALS, detection.confidence, "detector")
    return Outcome("unknown", None, top.score, "classifier")


def _person_vehicle_or_blank(top: Scored, detection: Detection, given: Thresholds) -> Outcome | None:
    """Return the outcome of the lines of the table that come before taxa: condition, kind, score, source."""
    person, vehicle = (detection.category == word for word in ("person", "vehicle"))
    box, score = detection.confidence, top.score
    some, sure = box > given.some_detection, box > given.sure_detection
    is_person = top.kind == "person" and score > given.person_class
    is_vehicle_in_person_box = top.kind == "vehicle" and score > given.person_class
    table: tuple[tuple[bool, Kind, float, str], ...] = (
        (person and sure, "person", box, "detector"),
        (person and some and (is_person or is_vehicle_in_person_box), "person", score, "classifier"),
        (vehicle and some and is_person, "person", score, "classifier"),
        (vehicle and sure, "vehicle", box, "detector"),
        (vehicle and some and top.kind == "vehicle" and score > given.vehicle_class, "vehicle", score, "classifier"),
        (box < given.no_detection and top.kind == "blank" and score > given.blank_class, "blank", score, "classifier"),
        (top.kind == "blank" and score > given.sure_blank_class, "blank", score, "classifier"),
    )
    return next((Outcome(kind, None, value, source) for holds, kind, value, source in table if holds), None)


def fenced(classes: Sequence[Scored], *, blocked: Blocked, known: Container[Lineage] | None = None) -> Outcome:
    """Return the best class, or, where it is blocked, the first allowed higher taxon that reaches the best class's score.

    The higher taxon need not be an ancestor of the best class: another one with a larger sum comes first.
    """
    top = classes[0]
    if top.kind == "unknown" or not blocked(top.taxon):
        return Outcome(top.kind, top.taxon if top.kind == "taxon" else None, top.score, "classifier")
    rolled = roll_up(classes, FENCE_ROLL_UP, top.score - _SLACK, blocked=blocked, known=known)
    if rolled is None:
        return Outcome("unknown", None, top.score, "classifier+geofence+rollup_failed")
    return Outcome("taxon", rolled.taxon, rolled.score, rolled.source.replace("classifier", "classifier+geofence", 1))


def roll_up(
    classes: Sequence[Scored],
    ranks: Sequence[Rank],
    threshold: float,
    *,
    blocked: Blocked = never,
    known: Container[Lineage] | None = None,
) -> Outcome | None:
    """Return the taxon with the largest sum at the first rank in ``ranks`` where that exceeds the threshold, or None.

    Blocked taxa do not count; of equal sums the one that came first in ``classes`` is taken.
    """
    for rank in ranks:
        sums: dict[Lineage, float] = {}
        for scored in classes:
            ancestor = scored.taxon.truncated(rank).lineage
            if ancestor[rank.depth] and (known is None or ancestor in known):
                sums[ancestor] = sums.get(ancestor, 0.0) + scored.score
        largest_first = sorted(sums, key=lambda lineage: -sums[lineage])
        best = next((lineage for lineage in largest_first if not blocked(Taxon.of(lineage))), None)
        if best is not None and sums[best] > max(threshold, 0.0):
            return Outcome("taxon", Taxon.of(best), sums[best], f"classifier+rollup_to_{rank.value}")
    return None
