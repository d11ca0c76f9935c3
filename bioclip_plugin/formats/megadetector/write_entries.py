"""Stored items as entries of a MegaDetector file: one a file, with its boxes, names and failure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _text
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.megadetector.read_images import VIDEO_SUFFIXES
from bioclip_plugin.formats.speciesnet.labels import BLANK, HUMAN, VEHICLE, label_of
from bioclip_plugin.items.media import Region

if TYPE_CHECKING:
    from bioclip_plugin.items.answers import Failure
    from bioclip_plugin.store import StoredItem, StoredRegion

ACCESS_FAILURE = "image access failure"
INFERENCE_FAILURE = "inference failure"
NOT_DONE = f"{INFERENCE_FAILURE}: not processed yet"

_DETECTIONS = {"animal": "1", "person": "2", "vehicle": "3"}
_WHOLE = Region(0, 0, 1, 1)
# Of a whole image, since nobody detected anything and no reader's threshold is to hide it; of a box that a person drew; of
# what a rule decided without a probability.
_CERTAIN = 1.0
_SEEN = 100_000  # taxa whose objects are kept
_READING = frozenset({"list", "read", "open", "decode"})  # stages before the model
_BY_PROBABILITY = attrgetter("probability")
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
        self._seen: dict[tuple[int, str], tuple[Taxon, str]] = {}  # the taxon is kept, so that its number stays its own
        self._verdicts: dict[str, str] = {}

    def detection(self, category: str) -> str:
        """The id of a detection's category."""
        name = " ".join(category.split()) or "animal"
        return self.detections.setdefault(name, str(len(self.detections) + 1))

    def candidate(self, candidate: Candidate) -> str:
        """The id of a name that the model gave."""
        # A store gives the same object for the same taxon, so that its nine names need not be hashed for every box.
        seen = self._seen.get((id(candidate.taxon), candidate.rank))
        if seen is not None:
            return seen[1]
        key = (candidate.taxon, candidate.rank)
        found = self._taxa.get(key)
        if found is None:
            found = self._taxa[key] = self._new(candidate.name, description_of(candidate.taxon))
        if len(self._seen) < _SEEN:
            self._seen[id(candidate.taxon), candidate.rank] = (candidate.taxon, found)
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
        self.items = 0
        """Items that were read, also those that are no files."""
        self.failures = 0
        self.frames_left_out = 0
        """Frames that could not be read, of videos of which others could: the format's failures are of whole files."""

    def entry(self, name: str, items: Sequence[StoredItem]) -> str:
        """The entry of one file as JSON; several items are frames or pages of it, in order."""
        first = items[0]
        about = first.item.metadata
        if len(items) > 1:
            about = {key: value for item in reversed(items) for key, value in item.item.metadata.items()}
        answered = [item for item in items if item.status == "done"]
        video = _is_video(name)
        members = [f'"file":{_text(name)}']
        if video:
            rate = about.get("frame_rate")
            processed = {*_frames(about.get("frames_processed")), *(item.item.frame for item in answered)}
            members.append(f'"frame_rate":{rate if isinstance(rate, (int, float)) and rate > 0 else 0}')
            members.append(f'"frames_processed":[{",".join(map(str, sorted(processed)))}]')
        if not answered:
            self.failures += 1
            members.append(f'"failure":{_text(failure_text(first.failure))},"detections":null')
        else:
            self.frames_left_out += len(items) - len(answered)
            several = len(items) > 1 or first.item.frame > 0 or video
            members.append(f'"detections":[{",".join(self._detections(answered, several))}]')
            members += [f'"{key}":{about[key]:d}' for key in _KEPT if isinstance(about.get(key), int)]
        if first.item.captured_at is not None:  # as cameras write it
            members.append(f'"datetime":"{first.item.captured_at:%Y:%m:%d %H:%M:%S}"')
        return f"{{{','.join(members)}}}"

    def _detections(self, items: Sequence[StoredItem], several: bool) -> Iterator[str]:
        for stored in items:
            frame = f',"frame_number":{stored.item.frame}' if several else ""
            for region in stored.regions:
                detection = self._detection(region)
                if detection is not None:
                    yield f"{{{detection}{frame}}}"

    def _detection(self, stored: StoredRegion) -> str | None:
        """A box, also one that was not named; None for a whole image that was decided to be blank.

        Text is put together here because a million images have ten million numbers to be rounded and written.
        """
        region, category = stored.region, "animal"
        if region is None:
            verdict = stored.decision.verdict if stored.decision else "taxon"
            if verdict == "blank":
                return None
            category = verdict if verdict in ("person", "vehicle") else category
            region = _WHOLE
        else:
            category = region.category or category
            if region.detector:
                self.detectors[region.detector, region.detector_version] += 1
        x, y, w, h = region.x, region.y, region.w, region.h
        if x + w > 1 or y + h > 1:  # by rounding
            x, y = round(x, 4), round(y, 4)
            w, h = min(w, 1 - x), min(h, 1 - y)
        confidence = _CERTAIN if region.confidence is None else region.confidence
        named = self._classifications(stored, category)
        return (
            f'"category":"{self.categories.detection(category)}","conf":{confidence:.3f},'
            f'"bbox":[{x:.4f},{y:.4f},{w:.4f},{h:.4f}]{named and f""","classifications":[{named}]"""}'
        )

    def _classifications(self, stored: StoredRegion, category: str) -> str:
        """The model's own candidates; where a rule decided otherwise, what it decided, alone."""
        decision = stored.decision
        if decision is None or not decision.trail:
            return self._pairs(stored.by_rank.get(self._level, ())[: self._top])
        if decision.verdict in _VERDICTS:
            # That a box of low confidence is nothing is said by its confidence; that a person is one, by its category.
            if decision.verdict == category or (decision.verdict == "blank" and not stored.classified):
                return ""
            said = decision.candidate.probability if decision.candidate else _CERTAIN
            return f'["{self.categories.verdict(decision.verdict)}",{said:.3f}]'
        return self._pairs((decision.candidate,)) if decision.verdict == "taxon" and decision.candidate else ""

    def _pairs(self, candidates: Sequence[Candidate]) -> str:
        ordered = sorted(candidates, key=_BY_PROBABILITY, reverse=True)
        return ",".join([f'["{self.categories.candidate(one)}",{one.probability:.3f}]' for one in ordered])


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
