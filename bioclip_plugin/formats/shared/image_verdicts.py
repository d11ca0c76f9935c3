"""One verdict for an image with several regions, for formats that have one row or one place per image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bioclip_core.classify import Candidate
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.request import DETECTION_THRESHOLD
from bioclip_plugin.store.records import Run, StoredItem, StoredRegion

PRECEDENCE = ("taxon", "person", "vehicle", "unknown", "", "blank")
"""Verdicts in the order in which one of several stands for the image; empty: answered and not decided."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The result for one region: a verdict of the rules, or of the detector for a box that is not classified."""

    verdict: str
    candidate: Candidate | None
    """The decided taxon; without a decision the best candidate."""
    region: StoredRegion | None

    @property
    def name(self) -> str:
        """The name of the taxon, or the verdict in words."""
        if self.candidate is not None and self.verdict in ("taxon", ""):
            return self.candidate.taxon.scientific_name or self.candidate.name
        return self.verdict or "unknown"


def threshold_of(run: Run) -> float:
    """Return the confidence below which the boxes of a run show nothing."""
    return float(run.settings.get("detection_threshold", DETECTION_THRESHOLD))


def is_below(region: StoredRegion, threshold: float) -> bool:
    """True for a box that was kept below the confidence from which boxes count, whatever it is and a rule decided."""
    box = region.region
    return not region.classified and box is not None and box.confidence is not None and box.confidence < threshold


def seen_in(region: StoredRegion, level: str, threshold: float) -> Seen | None:
    """Return the result for a region; None for a box below the threshold, which shows nothing.

    Args:
        level: the rank whose candidates the run gives.
        threshold: the confidence of the detector from which a box counts.
    """
    decision = region.decision
    if is_below(region, threshold):
        return None
    if decision is not None:
        if not region.classified and decision.verdict in ("unknown", "blank"):
            return None
        return Seen(decision.verdict, decision.candidate, region)
    if region.classified:
        return Seen("", next(iter(region.by_rank.get(level, ())), None), region)
    box = region.region
    if box is None:
        return None
    kind = kind_of_category(box.category)
    return Seen(kind, None, region) if kind in ("person", "vehicle") else None


def all_seen(stored: StoredItem, level: str, threshold: float) -> list[Seen]:
    """Return the results for the regions of an image; one blank for an image in which the detector found nothing."""
    found = [seen for region in stored.regions if (seen := seen_in(region, level, threshold)) is not None]
    return found or ([Seen("blank", None, None)] if stored.status == "done" and stored.failure is None else [])


def best_of(found: Sequence[Seen]) -> Seen | None:
    """Return the result that stands for the image: by the verdict, then the probability."""
    return min(found, key=_weight, default=None)


def _weight(seen: Seen) -> tuple[int, float]:
    return PRECEDENCE.index(seen.verdict), -(seen.candidate.probability if seen.candidate else 0.0)


def counts_of(found: Iterable[Seen]) -> Counter[str]:
    """Return the number of regions by name, without blank ones."""
    return Counter(seen.name for seen in found if seen.verdict != "blank")
