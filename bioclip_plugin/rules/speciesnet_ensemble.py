"""SpeciesNet's way from classes and a detection to one answer: the ordered table, the geofence step and the roll-up, as pure functions.

What they give was compared with speciesnet 5.0.6 answer by answer (tests/rules/test_speciesnet_agreement.py). The scores of
a roll-up are sums over the classes that were considered, so a lower bound of what the whole list of classes adds up to.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, fields

from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin.formats.shared.species_labels import ANIMALS, Kind

Lineage = tuple[str, str, str, str, str, str, str]
Blocked = Callable[[Taxon], bool]
"""Whether a taxon cannot be where the image was taken."""

ROLL_UP = (Rank.GENUS, Rank.FAMILY, Rank.ORDER, Rank.CLASS, Rank.KINGDOM)
"""The ranks that the ensemble rolls up to, in order. SpeciesNet has no phyla."""
FENCE_ROLL_UP = ROLL_UP[1:]
"""The ranks that a blocked answer rolls up to: a genus is as local as its species."""

_SLACK = 1e-10  # a blocked answer rolls up to what reaches its own score, with room for the rounding of sums


@dataclass(frozen=True, slots=True)
class Scored:
    """One class and its probability."""

    taxon: Taxon
    """Of a person Homo sapiens, which rolls up like any other; empty for what rolls up to nothing."""
    score: float
    kind: Kind = "taxon"


@dataclass(frozen=True, slots=True)
class Detection:
    """What the detector said of the region; nothing found is an animal of confidence 0, as SpeciesNet has it."""

    category: str = "animal"
    confidence: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer. ``source`` says how it was come by, in SpeciesNet's words: ``classifier+rollup_to_genus``."""

    kind: Kind
    taxon: Taxon | None
    """For ``taxon``; Animalia alone where nothing more is known."""
    score: float
    source: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a probability or a detection's confidence must exceed (``no_detection``: stay below). SpeciesNet's own by default."""

    sure_detection: float = 0.7
    """A person or vehicle whatever the classes say."""
    some_detection: float = 0.2
    """A person, vehicle or animal where the classes agree."""
    no_detection: float = 0.2
    """Below it the image may be blank."""
    person_class: float = 0.5
    """Class person (or, in a person's box, vehicle) with some detection of a person or vehicle."""
    vehicle_class: float = 0.4
    """Class vehicle with some detection of a vehicle."""
    blank_class: float = 0.5
    """Class blank without a detection."""
    sure_blank_class: float = 0.99
    """Class blank whatever the detector says."""
    sure_class: float = 0.8
    """A taxon whatever the detector says."""
    some_class: float = 0.65
    """A taxon with some detection of an animal."""
    roll_up: float = 0.65
    """The sum of a higher taxon."""
    animal_detection: float = 0.5
    """An animal, where the classes do not say which."""
    considered: int = 5
    """How many of the most probable classes are looked at."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "considered" and not 0 <= value <= 1:
                raise UsageError(f"threshold {field.name} = {value}: a number from 0 to 1 is needed")
        if self.considered < 1:
            raise UsageError(f"considered = {self.considered}: at least one class must be looked at")


SPECIESNET = Thresholds()


def never(taxon: Taxon) -> bool:  # noqa: ARG001 - the signature of a fence
    """The fence that blocks nothing."""
    return False


def ensemble(
    classes: Sequence[Scored],
    detection: Detection,
    *,
    blocked: Blocked = never,
    known: Container[Lineage] | None = None,
    thresholds: Thresholds = SPECIESNET,
) -> Outcome:
    """The answer for one region, by the first line of the table that holds.

    Args:
        classes: the most probable first; may be empty, then the detector alone decides.
        detection: the region's own; for a whole image its best one.
        blocked: see :class:`bioclip_plugin.rules.geofence_map.GeofenceMap`.
        known: the higher taxa that there are; None: every ancestor of a class.
    """
    classes = classes[: thresholds.considered]
    top = classes[0] if classes else Scored(Taxon(), 0.0, "unknown")
    special = _person_vehicle_or_blank(top, detection, thresholds)
    if special is not None:
        return special
    animal = detection.category == "animal"
    some_animal = animal and detection.confidence > thresholds.some_detection
    is_taxon = top.kind not in ("blank", "person", "vehicle")
    sure = top.score > thresholds.sure_class or (top.score > thresholds.some_class and some_animal)
    if is_taxon and sure:
        return fenced(classes, blocked=blocked, known=known)
    rolled = roll_up(classes, ROLL_UP, thresholds.roll_up, blocked=blocked, known=known)
    if rolled is not None:
        return rolled
    if animal and detection.confidence > thresholds.animal_detection:
        return Outcome("taxon", ANIMALS, detection.confidence, "detector")
    return Outcome("unknown", None, top.score, "classifier")


def _person_vehicle_or_blank(top: Scored, detection: Detection, given: Thresholds) -> Outcome | None:
    """The lines of the table that come before taxa, in order: condition, kind, score, source."""
    person, vehicle = (detection.category == word for word in ("person", "vehicle"))
    box, score = detection.confidence, top.score
    some, sure = box > given.some_detection, box > given.sure_detection
    table: tuple[tuple[bool, Kind, float, str], ...] = (
        (person and sure, "person", box, "detector"),
        (
            person and some and top.kind in ("person", "vehicle") and score > given.person_class,
            "person",
            score,
            "classifier",
        ),
        (vehicle and some and top.kind == "person" and score > given.person_class, "person", score, "classifier"),
        (vehicle and sure, "vehicle", box, "detector"),
        (vehicle and some and top.kind == "vehicle" and score > given.vehicle_class, "vehicle", score, "classifier"),
        (box < given.no_detection and top.kind == "blank" and score > given.blank_class, "blank", score, "classifier"),
        (top.kind == "blank" and score > given.sure_blank_class, "blank", score, "classifier"),
    )
    return next((Outcome(kind, None, value, source) for holds, kind, value, source in table if holds), None)


def fenced(classes: Sequence[Scored], *, blocked: Blocked, known: Container[Lineage] | None = None) -> Outcome:
    """The best class, or, where it is blocked, the first higher taxon that is not and that reaches the best class's score.

    The higher taxon need not be an ancestor of the best class: another one that adds up to more comes first.
    """
    top = classes[0]
    if top.kind == "unknown" or not blocked(top.taxon):
        return _as_it_is(top)
    rolled = roll_up(classes, FENCE_ROLL_UP, top.score - _SLACK, blocked=blocked, known=known)
    if rolled is None:
        return Outcome("unknown", None, top.score, "classifier+geofence+rollup_failed")
    return Outcome("taxon", rolled.taxon, rolled.score, rolled.source.replace("classifier", "classifier+geofence", 1))


def _as_it_is(top: Scored) -> Outcome:
    return Outcome(top.kind, top.taxon if top.kind == "taxon" else None, top.score, "classifier")


def roll_up(
    classes: Iterable[Scored],
    ranks: Sequence[Rank],
    threshold: float,
    *,
    blocked: Blocked = never,
    known: Container[Lineage] | None = None,
) -> Outcome | None:
    """The first rank in ``ranks`` at which a taxon's sum exceeds the threshold, and the taxon with the largest sum there.

    Blocked taxa do not count; of equal sums the one that came first in ``classes`` is taken. None where no rank has one.
    """
    classes = list(classes)
    for rank in ranks:
        sums: dict[Lineage, float] = {}
        for scored in classes:
            ancestor = _ancestor(scored.taxon, rank)
            if ancestor is not None and (known is None or ancestor in known):
                sums[ancestor] = sums.get(ancestor, 0.0) + scored.score
        best, largest = None, 0.0
        for lineage, total in sums.items():
            if total > largest and not blocked(Taxon.of(lineage)):
                best, largest = lineage, total
        if best is not None and largest > threshold:
            return Outcome("taxon", Taxon.of(best), largest, f"classifier+rollup_to_{rank.value}")
    return None


def _ancestor(taxon: Taxon, rank: Rank) -> Lineage | None:
    """The lineage down to a rank; None where it has no name there."""
    return taxon.truncated(rank).lineage if taxon.lineage[rank.depth] else None
