"""Stored items as entries of a MegaDetector file: one a file, with its boxes, names and failure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.media import Region
from bioclip_plugin.speciesnet_labels import BLANK, HUMAN, VEHICLE, label_of

if TYPE_CHECKING:
    from bioclip_plugin.answers import Failure
    from bioclip_plugin.store import StoredItem, StoredRegion

ACCESS_FAILURE = "image access failure"
INFERENCE_FAILURE = "inference failure"
NOT_DONE = f"{INFERENCE_FAILURE}: not processed yet"
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mpeg", ".mpg", ".mov", ".mkv", ".flv"})
"""Files that the format's readers take for videos, which need a frame rate and the frames that were looked at."""

_DETECTIONS = {"animal": "1", "person": "2", "vehicle": "3"}
_WHOLE = Region(0, 0, 1, 1)
_CERTAIN = 1.0  # nobody detected anything: the box is the image, and no reader's threshold is to hide it
_READING = frozenset({"list", "read", "decode"})  # stages before the model
_VERDICTS = {"blank": ("blank", BLANK), "person": ("human", HUMAN), "vehicle": ("vehicle", VEHICLE)}
_LIKE_A_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_RECORD = re.compile(r"#\w+(?:=|\[)[^/]*$")  # of a table's row, or an element of somebody's JSON
_KEPT = ("width", "height")  # of the metadata, because readers of the format know them


class Categories:
    """Ids of what was detected and of what it was named, given in the order of first use, so that they are reproducible."""

    def __init__(self) -> None:
        self.detections: dict[str, str] = dict(_DETECTIONS)
        """Ids by name; ``0`` is left free, since readers take it for "empty"."""
        self._names: list[str] = []
        self._descriptions: list[str] = []
        self._taxa: dict[tuple[Taxon, str], str] = {}
        self._verdicts: dict[str, str] = {}

    def detection(self, category: str) -> str:
        """The id of a detection's category."""
        name = " ".join(category.split()) or "animal"
        return self.detections.setdefault(name, str(len(self.detections) + 1))

    def candidate(self, candidate: Candidate) -> str:
        """The id of a name that the model gave."""
        key = (candidate.taxon, candidate.rank)
        found = self._taxa.get(key)
        if found is None:
            found = self._taxa[key] = self._new(candidate.name, description_of(candidate.taxon))
        return found

    def verdict(self, verdict: str) -> str:
        """The id of a verdict that is no taxon: blank, person, vehicle."""
        if verdict not in self._verdicts:
            self._verdicts[verdict] = self._new(*_VERDICTS[verdict])
        return self._verdicts[verdict]

    def names(self) -> dict[str, str]:
        """``classification_categories``."""
        return {str(number): name for number, name in enumerate(self._names)}

    def descriptions(self) -> dict[str, str]:
        """``classification_category_descriptions``, with the same ids."""
        return {str(number): text for number, text in enumerate(self._descriptions)}

    def _new(self, name: str, description: str) -> str:
        self._names.append(" ".join(name.split()) or "unnamed")
        self._descriptions.append(description)
        return str(len(self._names) - 1)


def description_of(taxon: Taxon) -> str:
    """The seven parts ``id;class;order;family;genus;species;common``, so that the format's own tools take them as they are.

    They read a space in the epithet as a subspecies, so a hybrid's mark stands close; ``|`` parts alternatives.
    """
    parts = label_of(taxon).replace("|", "/").split(";")
    parts[5] = parts[5].replace("× ", "×").replace(" ", "-")
    if not parts[4]:
        parts[5] = ""  # an epithet without its genus names nothing
    return ";".join(parts)


class EntryWriter:
    """Turns what is stored of one file into its entry, and counts what the format has no place for."""

    def __init__(self, level: str, top: int) -> None:
        """Set up.

        Args:
            level: the rank whose candidates are given, ``label`` for custom labels.
            top: how many of them.
        """
        self._level = level
        self._top = top
        self.categories = Categories()
        self.detectors: Counter[tuple[str, str]] = Counter()
        """Boxes by detector and its version."""
        self.failures = 0
        self.frames_left_out = 0
        """Frames that could not be read, of videos of which others could: the format's failures are of whole files."""

    def entry(self, name: str, items: Sequence[StoredItem]) -> dict[str, Any]:
        """The entry of one file; several items are frames or pages of it, in order."""
        first = items[0]
        entry: dict[str, Any] = {"file": name}
        about = {key: value for item in reversed(items) for key, value in item.item.metadata.items()}
        if _is_video(name):
            done = [item.item.frame for item in items if item.status == "done"]
            rate = about.get("frame_rate")
            entry["frame_rate"] = rate if isinstance(rate, (int, float)) and rate > 0 else 0
            entry["frames_processed"] = sorted({*_frames(about.get("frames_processed")), *done})
        answered = [item for item in items if item.status == "done"]
        if not answered:
            self.failures += 1
            entry["failure"] = failure_text(first.failure)
            entry["detections"] = None
            return entry
        self.frames_left_out += len(items) - len(answered)
        several = len(items) > 1 or first.item.frame > 0 or _is_video(name)
        entry["detections"] = [found for item in answered for found in self._detections(item, several)]
        entry.update({key: about[key] for key in _KEPT if isinstance(about.get(key), int)})
        if first.item.captured_at is not None:
            entry["datetime"] = first.item.captured_at.strftime("%Y:%m:%d %H:%M:%S")  # as cameras write it
        return entry

    def _detections(self, stored: StoredItem, several: bool) -> list[dict[str, Any]]:
        found = []
        for region in stored.regions:
            detection = self._detection(region)
            if detection is not None:
                if several:
                    detection["frame_number"] = stored.item.frame
                found.append(detection)
        return found

    def _detection(self, stored: StoredRegion) -> dict[str, Any] | None:
        """A box, also one that was not named; None for a whole image that was decided to be blank."""
        region, category = stored.region, "animal"
        verdict = stored.decision.verdict if stored.decision else "taxon"
        if region is None:
            if verdict == "blank":
                return None
            category = verdict if verdict in ("person", "vehicle") else category
            region = _WHOLE
        else:
            category = region.category or category
            if region.detector:
                self.detectors[region.detector, region.detector_version] += 1
        x, y = round(region.x, 4), round(region.y, 4)
        box = [x, y, min(round(region.w, 4), round(1 - x, 4)), min(round(region.h, 4), round(1 - y, 4))]
        confidence = _CERTAIN if region.confidence is None else region.confidence
        detection: dict[str, Any] = {
            "category": self.categories.detection(category),
            "conf": round(float(confidence), 3),
            "bbox": box,
        }
        if classifications := self._classifications(stored, category, confidence):
            detection["classifications"] = classifications
        return detection

    def _classifications(self, stored: StoredRegion, category: str, confidence: float) -> list[list[Any]]:
        """The model's own candidates; where a rule decided otherwise, what it decided, alone."""
        decision = stored.decision
        if decision is not None and decision.trail:
            if decision.verdict in _VERDICTS:
                if decision.verdict == category:
                    return []
                said = decision.candidate.probability if decision.candidate else confidence
                return [[self.categories.verdict(decision.verdict), round(float(said), 3)]]
            decided = (decision.candidate,) if decision.verdict == "taxon" and decision.candidate else ()
            return self._pairs(decided)
        return self._pairs(stored.by_rank.get(self._level, ())[: self._top])

    def _pairs(self, candidates: Sequence[Candidate]) -> list[list[Any]]:
        pairs = [[self.categories.candidate(one), round(float(one.probability), 3)] for one in candidates]
        return sorted(pairs, key=lambda pair: -pair[1])


def failure_text(failure: Failure | None) -> str:
    """Why a file has no answer, in the format's words; what an input file said of a file goes back as it was."""
    if failure is None:
        return NOT_DONE
    if failure.stage == "list":
        return failure.reason or ACCESS_FAILURE
    return f"{ACCESS_FAILURE if failure.stage in _READING else INFERENCE_FAILURE}: {failure.reason}"


def is_file(stored: StoredItem) -> bool:
    """Whether an item is a file at all: a bad row of a table, or a folder that could not be listed, is a failure without one."""
    if stored.failure is None or stored.failure.stage != "list":
        return True
    return bool(_LIKE_A_FILE.search(stored.item.uri)) and not _RECORD.search(stored.item.uri)


def _is_video(name: str) -> bool:
    return name[name.rfind(".") :].lower() in VIDEO_SUFFIXES


def _frames(value: Any) -> list[int]:
    return [one for one in value if isinstance(one, int)] if isinstance(value, list) else []


def described(counts: Mapping[tuple[str, str], int]) -> tuple[str, str]:
    """The detector and its version that boxes are of; all detectors' names where there are several."""
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(sorted({name for name, _ in counts})) or "unknown", ""
