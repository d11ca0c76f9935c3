"""Stored items as entries of a MegaDetector file: one per file, with its boxes, names and failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring_ascii as _text
from operator import attrgetter
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.megadetector.read import VIDEO_SUFFIXES
from bioclip_plugin.formats.shared.detections import STATED_FAILURE
from bioclip_plugin.formats.shared.species_labels import BLANK, HUMAN, VEHICLE, description_of
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import Region
from bioclip_plugin.items.web import FETCH_STAGE
from bioclip_plugin.store.records import StoredItem, StoredRegion

_ACCESS_FAILURE = "image access failure"
_INFERENCE_FAILURE = "inference failure"
# The third is that of files until 2020. Runs of earlier versions do not note that an input file stated a failure.
_DETECTORS_WORDS = (_ACCESS_FAILURE, _INFERENCE_FAILURE, "failure image access")
_WHOLE = Region(0, 0, 1, 1)
# For a whole image, since nothing was detected and no reader's threshold shall hide it; for a box that a person drew; for
# the decision of a rule without a probability.
_CERTAIN = 1.0
_SEEN = 100_000  # taxa whose objects are kept
_BEFORE_THE_MODEL = frozenset({"list", FETCH_STAGE, "read", "open", "decode"})  # stages
_BY_PROBABILITY = attrgetter("probability")
_VERDICTS = {"blank": ("blank", BLANK), "person": ("human", HUMAN), "vehicle": ("vehicle", VEHICLE)}
_KEPT = ("width", "height")  # metadata that readers of the format know


class Categories:
    """Ids of detections and of their names, given in the order of first use, so that they are reproducible."""

    def __init__(self) -> None:
        self.detections: dict[str, str] = {"animal": "1", "person": "2", "vehicle": "3"}
        """Ids by name; ``0`` is left free, since readers take it for "empty"."""
        self.names: list[str] = []
        """``classification_categories``: names by id."""
        self.descriptions: list[str] = []
        """``classification_category_descriptions``, with the same ids."""
        self._taxa: dict[tuple[Taxon, str], str] = {}
        self._seen: dict[tuple[int, str], tuple[Taxon, str]] = {}  # the taxon is kept, so that its number stays its own
        self._verdicts: dict[str, str] = {}

    def detection(self, category: str) -> str:
        """Return the id of a detection's category."""
        return self.detections.setdefault(" ".join(category.split()) or "animal", str(len(self.detections) + 1))

    def candidate(self, candidate: Candidate) -> str:
        """Return the id of a name that the model gave."""
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
        """Return the id of a verdict without a taxon: blank, person, vehicle."""
        if verdict not in self._verdicts:
            self._verdicts[verdict] = self._new(*_VERDICTS[verdict])
        return self._verdicts[verdict]

    def _new(self, name: str, description: str) -> str:
        self.names.append(" ".join(name.split()) or "unnamed")
        self.descriptions.append(description)
        return str(len(self.names) - 1)


class EntryWriter:
    """Turns the stored items of a file into its entry, and counts items that the format cannot hold."""

    def __init__(self, level: str, top: int) -> None:
        """Set up.

        Args:
            level: rank whose candidates are written, ``label`` for custom labels.
            top: number of candidates.
        """
        self.level = level
        self.categories = Categories()
        self.items = 0
        """Items that were read, including those that are not files."""
        self.failures = 0
        self.frames_left_out = 0
        """Unreadable frames of videos with readable ones: the format's failures are of whole files."""
        self._top = top
        self._detectors: Counter[tuple[str, str]] = Counter()

    @property
    def detector(self) -> tuple[str, str] | None:
        """The detector of the boxes and its version; all names, without a version, if there are several; None without boxes."""
        if len(self._detectors) == 1:
            return next(iter(self._detectors))
        return ("; ".join(sorted({name for name, _ in self._detectors})), "") if self._detectors else None

    def entry(self, name: str, items: Sequence[StoredItem]) -> str:
        """Return the entry of one file as JSON.

        Args:
            name: the file's name.
            items: its item; several are frames or pages of it, in order.
        """
        first, metadata = items[0], items[0].item.metadata
        if len(items) > 1:
            metadata = {key: value for item in reversed(items) for key, value in item.item.metadata.items()}
        answered = [item for item in items if item.status == "done"]
        is_video = name[name.rfind(".") :].lower() in VIDEO_SUFFIXES
        members = [f'"file":{_text(name)}']
        if is_video:
            rate = metadata.get("frame_rate")
            processed = {*_frames(metadata.get("frames_processed")), *(item.item.frame for item in answered)}
            members.append(f'"frame_rate":{rate if isinstance(rate, (int, float)) and rate > 0 else 0}')
            members.append(f'"frames_processed":[{",".join(map(str, sorted(processed)))}]')
        if not answered:
            self.failures += 1
            members.append(f'"failure":{_text(_failure_text(first.failure, metadata))},"detections":null')
        else:
            self.frames_left_out += len(items) - len(answered)
            detections = self._detections(answered, has_frames=len(items) > 1 or first.item.frame > 0 or is_video)
            members.append(f'"detections":[{",".join(detections)}]')
            members += [f'"{key}":{metadata[key]:d}' for key in _KEPT if isinstance(metadata.get(key), int)]
        if first.item.captured_at is not None:  # as cameras write it
            members.append(f'"datetime":"{first.item.captured_at:%Y:%m:%d %H:%M:%S}"')
        member = first.item.membership
        if first.item.deployment and (member is None or member.is_named):
            members.append(f'"location":{_text(first.item.deployment)}')
        return f"{{{','.join(members)}}}"

    def _detections(self, items: Sequence[StoredItem], has_frames: bool) -> Iterator[str]:
        for stored in items:
            frame = f',"frame_number":{stored.item.frame}' if has_frames else ""
            found = map(self._detection, stored.regions)
            yield from (f"{{{detection}{frame}}}" for detection in found if detection is not None)

    def _detection(self, stored: StoredRegion) -> str | None:
        """Return a box, named or not; None for a whole image with the decision "blank".

        The text is assembled here because a million images have ten million numbers to round and write.
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
                self._detectors[region.detector, region.detector_version] += 1
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
        """Return the model's own candidates; if a rule decided otherwise, only its decision."""
        decision = stored.decision
        if decision is None or not decision.trail:
            return self._pairs(stored.by_rank.get(self.level, ())[: self._top])
        if decision.verdict in _VERDICTS:
            # A box of low confidence already says that it is blank, and the category of a person that it is a person.
            if decision.verdict == category or (decision.verdict == "blank" and not stored.classified):
                return ""
            probability = decision.candidate.probability if decision.candidate else _CERTAIN
            return f'["{self.categories.verdict(decision.verdict)}",{probability:.3f}]'
        return self._pairs((decision.candidate,)) if decision.verdict == "taxon" and decision.candidate else ""

    def _pairs(self, candidates: Sequence[Candidate]) -> str:
        return ",".join(
            [
                f'["{self.categories.candidate(one)}",{one.probability:.3f}]'
                for one in sorted(candidates, key=_BY_PROBABILITY, reverse=True)
            ]
        )


def _failure_text(failure: Failure | None, metadata: Mapping[str, Any]) -> str:
    """Return a failure in the format's words, unchanged if an input file stated it."""
    if failure is None:
        return f"{_INFERENCE_FAILURE}: not processed yet"
    if failure.stage == "list":
        stated = metadata.get(STATED_FAILURE) == failure.reason or failure.reason.lower().startswith(_DETECTORS_WORDS)
        if stated or not failure.reason:
            return failure.reason or _ACCESS_FAILURE
    return f"{_ACCESS_FAILURE if failure.stage in _BEFORE_THE_MODEL else _INFERENCE_FAILURE}: {failure.reason}"


def _frames(value: Any) -> list[int]:
    return [frame for frame in value if isinstance(frame, int)] if isinstance(value, list) else []
