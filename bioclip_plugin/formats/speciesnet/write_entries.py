"""Stored items as entries of a SpeciesNet file: one an image, with its boxes, classes, decisions and failures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.formats.megadetector.write_entries import description_of
from bioclip_plugin.formats.speciesnet.labels import ANIMAL, kind_of_word, label_of_kind
from bioclip_plugin.formats.speciesnet.read_images import FAILED, FAILURES, WHOLE_IMAGE
from bioclip_plugin.items.media import BOX_UNIT
from bioclip_plugin.rules.countries import three_letters

if TYPE_CHECKING:
    from bioclip_plugin.items.answers import Failure
    from bioclip_plugin.items.media import MediaItem, Region
    from bioclip_plugin.store import StoredItem, StoredRegion
    from bioclip_plugin.store.records import StoredDecision

_CATEGORIES = {"animal": "1", "person": "2", "human": "2", "people": "2", "vehicle": "3"}
_LABELS = {"1": "animal", "2": "human", "3": "vehicle"}
_DECIMALS = 4  # what SpeciesNet itself writes
_SUBDIVISION = re.compile(r"(?:[A-Z]{2,3}-)?([A-Z0-9]{2})")  # US-CA or CA


class EntryWriter:
    """Turns what is stored of one image into its entry."""

    def __init__(self, level: str, top: int, coordinate_precision: int | None, model_version: str) -> None:
        """Set up.

        Args:
            level: the rank whose candidates are given, ``label`` for custom labels.
            top: how many of them.
            coordinate_precision: decimals of a degree; None: as they are.
            model_version: what answered.
        """
        self._level = level
        self._top = top
        self._precision = coordinate_precision
        self._model_version = model_version
        self._others: dict[str, str] = {}

    def entry(self, name: str, stored: StoredItem) -> dict[str, Any]:
        """The entry of one image."""
        entry: dict[str, Any] = {"filepath": name}
        if stored.failure is not None:
            entry["failures"] = failures_of(stored.failure, stored.item)
        entry |= self._place(stored.item)
        if stored.failure is None:
            detections = [self._detection(region) for region in stored.regions]
            # SpeciesNet takes the first box for the best one; its whole image stands before all.
            entry["detections"] = sorted(detections, key=lambda one: (one["category"] != WHOLE_IMAGE, -one["conf"]))
        entry["model_version"] = self._model_version
        return entry

    def _place(self, item: MediaItem) -> dict[str, Any]:
        """Country and region as codes, where they are given as such: SpeciesNet stops at others."""
        place, found = item.place, dict[str, Any]()
        country = three_letters(place.country) if place.country else None
        if country is not None:
            found["country"] = country
            region = _SUBDIVISION.fullmatch((place.region or "").strip().upper())
            if region:
                found["admin1_region"] = region[1]
        if place.latitude is not None and place.longitude is not None:
            for name, value in (("latitude", place.latitude), ("longitude", place.longitude)):
                found[name] = round(value, self._precision) if self._precision is not None else value
        return found

    def _detection(self, stored: StoredRegion) -> dict[str, Any]:
        detection: dict[str, Any]
        if stored.region is None:
            detection = {"category": WHOLE_IMAGE, "label": "whole_image_classification", "conf": 1.0}
            detection["bbox"] = [0.0, 0.0, 1.0, 1.0]
        else:
            detection = self._box(stored.region)
        if raw := self._raw(stored.by_rank.get(self._level, ())):
            detection["raw_classifications"] = raw
        if stored.decision is not None and (stored.classified or stored.decision.verdict != "unknown"):
            best = next(iter(stored.by_rank.get(self._level, ())), None)
            detection["processed_classification"] = _processed(stored.region, stored.decision, best)
        return detection

    def _box(self, region: Region) -> dict[str, Any]:
        category, label = self._category(region.category)
        # A box that somebody drew has no confidence: it is there.
        confidence = 1.0 if region.confidence is None else round(float(region.confidence), _DECIMALS)
        return {
            "category": category,
            "label": label,
            "conf": confidence,
            "bbox": [side / BOX_UNIT for side in region.box],
        }

    def _category(self, word: str) -> tuple[str, str]:
        """Id and label. Categories that SpeciesNet does not have get ids behind its own, in the order of first use."""
        word = " ".join(word.split())
        known = _CATEGORIES.get(word.lower() or "animal")
        if known is not None:
            return known, _LABELS[known]
        return self._others.setdefault(word, str(len(_LABELS) + 1 + len(self._others))), word

    def _raw(self, candidates: Sequence[Candidate]) -> dict[str, Any] | None:
        """Classes and scores, the best first; of labels that say the same the scores are added up."""
        scores: dict[str, float] = {}
        for candidate in candidates[: self._top]:
            label = label_of_candidate(candidate)
            scores[label] = scores.get(label, 0.0) + float(candidate.probability)
        pairs = sorted(scores.items(), key=lambda pair: -pair[1])
        if not pairs:
            return None
        return {"classes": [label for label, _ in pairs], "scores": [_score(score) for _, score in pairs]}


def label_of_candidate(candidate: Candidate) -> str:
    """The label of a candidate; words of a label set of one's own that say blank, human, vehicle or animal are SpeciesNet's."""
    return _label(candidate.taxon)


@lru_cache(maxsize=50_000)  # the taxa of a run come again and again
def _label(taxon: Taxon) -> str:
    if taxon.rank is None:
        kind = kind_of_word(taxon.common_name)
        if kind is not None:
            return label_of_kind(kind)
        if taxon.common_name.strip().lower() == "animal":
            return ANIMAL
    if taxon.rank is Rank.PHYLUM and taxon.kingdom == "Animalia":
        return ANIMAL
    return description_of(taxon)


def failures_of(failure: Failure, item: MediaItem) -> list[str]:
    """What failed, in SpeciesNet's words; what an input file of its own said of a file goes back as it was."""
    if failure.reason.startswith(FAILED):
        named = [name.strip() for name in failure.reason.removeprefix(FAILED).split(",")]
        known = [name for name in FAILURES if name in named]
        if known:
            return known
    return ["CLASSIFIER"] if item.detected else ["CLASSIFIER", "DETECTOR"]


def _processed(region: Region | None, decision: StoredDecision, best: Candidate | None) -> dict[str, Any]:
    """What was decided, with its score and, in SpeciesNet's words, where it comes from."""
    candidate = decision.candidate
    if decision.verdict == "taxon" and candidate is not None:
        source = _noted_source(decision) or _rolled_up(candidate, best)
        return {"class": label_of_candidate(candidate), "score": _score(candidate.probability), "source": source}
    kind = "unknown" if decision.verdict == "taxon" else decision.verdict
    score, source = _verdict_score(kind, region, candidate or (best if kind == "unknown" else None))
    for step in decision.trail:
        if isinstance(step.get("score"), (int, float)):
            score = step["score"]
    return {"class": label_of_kind(kind), "score": _score(score), "source": _noted_source(decision) or source}


def _verdict_score(kind: str, region: Region | None, candidate: Candidate | None) -> tuple[float, str]:
    """How sure a verdict without a taxon is: by its class, else by its box."""
    if candidate is not None:
        return candidate.probability, "classifier"
    confidence = region.confidence if region is not None and region.confidence is not None else 1.0
    if kind == "unknown":
        return 0.0, "classifier"
    return (1 - confidence if kind == "blank" else confidence), "detector"


def _noted_source(decision: StoredDecision) -> str:
    """The source that the last of the rules with SpeciesNet's semantics gave; empty where none was at work."""
    source = ""
    for step in decision.trail:
        if step.get("rule") == "geofence":
            rank = decision.candidate.rank if decision.candidate else ""
            source = f"classifier+geofence+rollup_{f'to_{_ROLLED[rank]}' if rank in _ROLLED else 'failed'}"
        source = str(step.get("source") or source)
    return source


def _rolled_up(candidate: Candidate, best: Candidate | None) -> str:
    if best is None or candidate.rank == best.rank or candidate.rank not in _ROLLED:
        return "classifier"
    return f"classifier+rollup_to_{_ROLLED[candidate.rank]}"


# SpeciesNet has no phyla: what is known no better is an animal.
_ROLLED = {rank.value: "kingdom" if rank is Rank.PHYLUM else rank.value for rank in RANKS}


def _score(value: float) -> float:
    return round(min(max(float(value), 0.0), 1.0), _DECIMALS)
