"""The SpeciesNet exporter, format 5.x: every file of a run with its boxes, classes and failures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.cells import three_letters
from bioclip_core.classify import Candidate
from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import beginning
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.shared.detections import is_whole_file
from bioclip_plugin.formats.shared.frame_names import frame_name
from bioclip_plugin.formats.shared.image_verdicts import is_below, threshold_of
from bioclip_plugin.formats.shared.relative_names import NamesUnder, OutsideFolder, RelativeNames
from bioclip_plugin.formats.shared.species_labels import ANIMAL, description_of, kind_of_word, label_of_kind
from bioclip_plugin.formats.speciesnet.check import check_speciesnet
from bioclip_plugin.formats.speciesnet.read import (
    FAILED,
    FAILURES,
    FORMAT_VERSION,
    LABELS,
    WHOLE_IMAGE,
    is_speciesnet,
)
from bioclip_plugin.items.answers import DETECT_STAGE, Failure
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.deployment_options import DEPLOYMENT_SETTINGS
from bioclip_plugin.items.media import BOX_UNIT, MediaItem, Region
from bioclip_plugin.store.records import StoredDecision, StoredItem, StoredRegion, asked_level

_CATEGORIES = {"animal": "1", "person": "2", "vehicle": "3"}
_DECIMALS = 4  # as SpeciesNet writes
_WHOLE_BOX = {"category": WHOLE_IMAGE, "label": LABELS[WHOLE_IMAGE], "conf": 1.0, "bbox": [0.0, 0.0, 1.0, 1.0]}
_SUBDIVISION = re.compile(r"(?:[A-Z]{2,3}-)?([A-Z0-9]{2})")  # US-CA or CA
# SpeciesNet does not have phyla: a taxon above class is an animal.
_ROLLED = {rank.value: "kingdom" if rank is Rank.PHYLUM else rank.value for rank in RANKS}


class SpeciesNetExporter:
    """One file of JSON, as SpeciesNet's ``run_model`` writes it.

    - Files have their listed names, or names relative to ``base_folder``; a frame of a video, or a page, is
      ``FILE/frame000012.jpg``.
    - An image that was classified as a whole is a detection of category 0, as with SpeciesNet's whole-image classifier.
    - The model's answers are the raw classifications, the decision of the rules is the processed one. A region that was
      kept and not classified has neither.
    - A file that is still to do is left out, so that SpeciesNet's own programs treat it as not processed.
    """

    name = "speciesnet"
    description = "SpeciesNet 5 predictions (JSON), for SpeciesNet's and Wildlife Insights' tools"
    folder = False
    options = frozenset({"base_folder", "top", "coordinate_precision", *DEPLOYMENT_SETTINGS})

    def write(self, path: Path, export: Export) -> int:
        count = 0
        with path.open("w", encoding="ascii", newline="\n") as file:
            file.write(f'{{\n"info": {json.dumps({"format_version": FORMAT_VERSION})},\n"predictions": [')
            for count, entry in enumerate(_entries(export), start=1):
                file.write((",\n" if count > 1 else "\n") + json.dumps(entry, separators=(",", ":"), allow_nan=False))
            file.write("\n]\n}\n")
        return count

    def recognises(self, path: Path) -> bool:
        return is_file(path) and is_speciesnet(beginning(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        return check_speciesnet(path)


def _entries(export: Export) -> Iterator[dict[str, Any]]:
    options, level = export.options, asked_level(export.run)
    name_of: Callable[[str], str] = NamesUnder(options.base_folder) if options.base_folder is not None else _listed_name
    writer = EntryWriter(
        level, options.top, options.coordinate_precision, export.classified_by, threshold_of(export.run)
    )
    # A selection may depend on candidates of any level.
    items = export.items(None if export.selection else {level})
    for uri, group in groupby(items, key=lambda stored: stored.item.uri):
        frames = list(group)
        if not is_whole_file(frames[0]):
            continue
        name = name_of(uri)
        several = len(frames) > 1 or frames[0].item.frame > 0
        for stored in frames:
            if stored.status != "todo":
                yield writer.entry(frame_name(name, stored.item.frame) if several else name, stored)


def _listed_name(uri: str) -> str:
    """Return the name of an item's file, relative or absolute as it was listed, with forward slashes."""
    try:
        return RelativeNames("")(uri)
    except OutsideFolder:
        return f"/{RelativeNames('/')(uri)}" if uri.startswith("/") else uri.replace("\\", "/")


@dataclass(frozen=True, slots=True)
class EntryWriter:
    """Makes the entries of one file."""

    level: str
    """Rank of the candidates, or ``label`` for custom labels."""
    top: int
    """Number of candidates."""
    coordinate_precision: int | None
    """Decimals of a degree; None for all."""
    model_version: str
    """Name of the model."""
    threshold: float
    """Confidence of the detector from which a box counts."""
    _others: dict[str, str] = field(default_factory=dict, init=False)

    def entry(self, name: str, stored: StoredItem) -> dict[str, Any]:
        """Return the entry of one image."""
        entry: dict[str, Any] = {"filepath": name}
        if stored.failure is not None:
            entry["failures"] = failures_of(stored.failure, stored.item)
        entry |= self._place(stored.item)
        if stored.failure is None:
            # SpeciesNet takes the first box for the best one, and expects its whole image before all.
            entry["detections"] = sorted(
                map(self._detection, stored.regions), key=lambda one: (one["category"] != WHOLE_IMAGE, -one["conf"])
            )
        entry["model_version"] = self.model_version
        return entry

    def _place(self, item: MediaItem) -> dict[str, Any]:
        """Return the place, with country and region as codes: SpeciesNet stops at other words."""
        place, found = item.place, dict[str, Any]()
        if country := three_letters(place.country) if place.country else None:
            found["country"] = country
            if region := _SUBDIVISION.fullmatch((place.region or "").strip().upper()):
                found["admin1_region"] = region[1]
        if place.latitude is not None and place.longitude is not None:
            for name, value in (("latitude", place.latitude), ("longitude", place.longitude)):
                found[name] = (
                    round(value, self.coordinate_precision) if self.coordinate_precision is not None else value
                )
        return found

    def _detection(self, stored: StoredRegion) -> dict[str, Any]:
        detection = _WHOLE_BOX.copy() if stored.region is None else self._box(stored.region)
        candidates = stored.by_rank.get(self.level, ())
        if candidates and self.top:
            detection["raw_classifications"] = _raw(candidates[: self.top])
        decision = stored.decision
        is_shown = decision is not None and (stored.classified or decision.verdict != "unknown")
        if decision is not None and is_shown and (decision.verdict == "blank" or not is_below(stored, self.threshold)):
            detection["processed_classification"] = _processed(
                stored.region, decision, candidates[0] if candidates else None
            )
        return detection

    def _box(self, region: Region) -> dict[str, Any]:
        """Return a box. Categories that SpeciesNet does not have get ids behind its own, in the order of first use."""
        label = " ".join(region.category.split())
        kind = kind_of_category(label)
        category = _CATEGORIES.get(label.lower() or "animal" if kind == "animal" else kind)
        if category is None:
            category = self._others.setdefault(label, str(len(LABELS) + len(self._others)))
        # A box that a person drew does not have a confidence; it is certain.
        confidence = 1.0 if region.confidence is None else round(float(region.confidence), _DECIMALS)
        return {
            "category": category,
            "label": LABELS.get(category, label),
            "conf": confidence,
            "bbox": [side / BOX_UNIT for side in region.box],
        }


def _raw(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return classes and scores, the best first; the scores of equal labels are added up."""
    scores: dict[str, float] = {}
    for candidate in candidates:
        label = _label(candidate.taxon)
        scores[label] = scores.get(label, 0.0) + float(candidate.probability)
    pairs = sorted(scores.items(), key=lambda pair: -pair[1])
    return {"classes": [label for label, _ in pairs], "scores": [_score(score) for _, score in pairs]}


@lru_cache(maxsize=50_000)  # a run repeats a few thousand taxa
def _label(taxon: Taxon) -> str:
    """Return the label of a taxon; custom labels that mean blank, human, vehicle or animal become SpeciesNet's."""
    if taxon.rank is None and (kind := kind_of_word(taxon.common_name)) is not None:
        return label_of_kind(kind)
    if (taxon.rank is None and taxon.common_name.strip().lower() == "animal") or (
        taxon.rank is Rank.PHYLUM and taxon.kingdom == "Animalia"
    ):
        return ANIMAL
    return description_of(taxon)


def failures_of(failure: Failure, item: MediaItem) -> list[str]:
    """Return the failed parts in SpeciesNet's words; those that a SpeciesNet file stated are returned unchanged."""
    if failure.reason.startswith(FAILED):
        named = [name.strip() for name in failure.reason.removeprefix(FAILED).split(",")]
        if known := [name for name in FAILURES if name in named]:
            return known
    return ["CLASSIFIER"] if item.detected and failure.stage != DETECT_STAGE else ["CLASSIFIER", "DETECTOR"]


def _processed(region: Region | None, decision: StoredDecision, best: Candidate | None) -> dict[str, Any]:
    """Return the decision with its score and its origin in SpeciesNet's words."""
    candidate, noted = decision.candidate, _noted_source(decision)
    if decision.verdict == "taxon" and candidate is not None:
        rolled = best is not None and candidate.rank != best.rank and candidate.rank in _ROLLED
        source = noted or (f"classifier+rollup_to_{_ROLLED[candidate.rank]}" if rolled else "classifier")
        return {"class": _label(candidate.taxon), "score": _score(candidate.probability), "source": source}
    kind = "unknown" if decision.verdict == "taxon" else decision.verdict
    score, source = _verdict_score(kind, region, candidate or (best if kind == "unknown" else None))
    noted_scores = (step.get("score") for step in reversed(decision.trail))
    score = next((noted for noted in noted_scores if isinstance(noted, (int, float))), score)
    return {"class": label_of_kind(kind), "score": _score(score), "source": noted or source}


def _verdict_score(kind: str, region: Region | None, candidate: Candidate | None) -> tuple[float, str]:
    """Return score and source of a verdict without a taxon: those of its class, else of its box."""
    if candidate is not None:
        return candidate.probability, "classifier"
    if kind == "unknown":
        return 0.0, "classifier"
    confidence = region.confidence if region is not None and region.confidence is not None else 1.0
    return (1 - confidence if kind == "blank" else confidence), "detector"


def _noted_source(decision: StoredDecision) -> str:
    """Return the source that the last of the SpeciesNet rules noted; empty if none was applied."""
    source = ""
    for step in decision.trail:
        if step.get("rule") == "geofence":
            rank = decision.candidate.rank if decision.candidate else ""
            source = f"classifier+geofence+rollup_{f'to_{_ROLLED[rank]}' if rank in _ROLLED else 'failed'}"
        source = str(step.get("source") or source)
    return source


def _score(value: float) -> float:
    return round(min(max(float(value), 0.0), 1.0), _DECIMALS)
