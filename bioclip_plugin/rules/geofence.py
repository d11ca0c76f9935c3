"""Rule ``geofence``: an answer that a map blocks where the image was taken is rolled up to what is allowed there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.rules.fence import Fence, scored, whole_sum
from bioclip_plugin.rules.speciesnet_ensemble import Scored, fenced

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_core.labels.label_set import LabelSet


@dataclass(frozen=True, slots=True)
class GeofenceSettings:
    """The map, and where images are that do not say it."""

    file: Path = field(
        metadata={"what": ("A SpeciesNet geofence: JSON of allowed and blocked countries and regions by taxon.")}
    )
    country: str | None = field(
        default=None, metadata={"what": "Country of images that do not say theirs, two or three letters."}
    )
    region: str | None = field(
        default=None, metadata={"what": "Region of images that do not say theirs, the second half of ISO 3166-2."}
    )


class Geofence(Rule):
    """Rolls a blocked answer up over family, order, class and kingdom, at the score that it had, as SpeciesNet does."""

    name = "geofence"
    description = (
        "An answer that a SpeciesNet map blocks at the image's country or region is rolled up to one that it allows."
    )
    order = 30
    settings_type = GeofenceSettings

    def __init__(self, settings: GeofenceSettings) -> None:
        super().__init__(settings)
        self._fence = Fence(settings.file, settings.country, settings.region)

    def read(self) -> None:
        self._fence.read()

    def notes(self, labels: LabelSet) -> list[str]:
        return fence_notes(self._fence, self.settings.file, labels)

    def decide(self, subject: Subject) -> Ruling | None:
        found = subject.decided.candidate
        if found is None or subject.decided.verdict != "taxon" or found.rank in ("label", "group"):
            return None
        blocked = self._fence.blocked(subject.item.place)
        if not blocked(found.taxon):
            return None
        why = self._fence.why(found.taxon, subject.item.place)
        outcome = fenced(self._classes(subject, found), blocked=blocked)
        if outcome.kind != "taxon" or outcome.taxon is None:
            return Ruling("unknown", None, "blocked", why)
        rolled = whole_sum(subject, outcome.taxon, outcome.score)
        return Ruling("taxon", rolled, "rolled up", why, {"to": rolled.rank})

    def _classes(self, subject: Subject, found: Candidate) -> list[Scored]:
        """What is rolled up: all candidates where the best of them was decided on, else what was decided alone."""
        if subject.candidates and subject.candidates[0].taxon == found.taxon:
            return scored(subject.candidates)
        return scored([found])


def fence_notes(fence: Fence, path: Path, labels: LabelSet) -> list[str]:
    """How many of the map's taxa the label set has: a map for other names fences nothing."""
    if labels.is_custom:
        return [f"{path.name}: labels of your own are no taxa; the geofence does not apply to them"]
    known = _taxonomies(labels)
    missing = [key for key in fence.read().taxonomies if key not in known]
    count = len(fence.read())
    if not missing:
        return []
    shown = ", ".join(
        " ".join(filter(None, key.split(";")[3:])) or key.strip(";").split(";")[-1] for key in missing[:5]
    )
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return [f"{path.name}: {len(missing)} of {count} taxa are not in the label set: {shown}{more}"]


def _taxonomies(labels: LabelSet) -> set[str]:
    """Every taxon of the label set from class to species as the map's keys write it."""
    known: set[str] = set()
    for level in ("class", "order", "family", "genus", "species"):
        for row in labels.spans(level).starts_S.tolist():
            known.add(";".join(labels.taxon_at(row, level)[0].lineage[2:]).lower())
    return known
