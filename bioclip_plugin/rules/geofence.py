"""Rule ``geofence``: an answer that a map blocks where the image was taken is rolled up to an allowed one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.labels.label_set import LabelSet
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.rules.fence import Fence, scored, whole_sum
from bioclip_plugin.rules.speciesnet_ensemble import fenced


@dataclass(frozen=True, slots=True)
class GeofenceSettings:
    """The map, and the place of images without their own."""

    file: Path = field(
        metadata={"what": "A SpeciesNet geofence: JSON of allowed and blocked countries and regions by taxon."}
    )
    country: str | None = field(
        default=None, metadata={"what": "Country of images without their own, two or three letters."}
    )
    region: str | None = field(
        default=None, metadata={"what": "Region of images without their own, the second half of ISO 3166-2."}
    )


class FencedRule(Rule):
    """A rule with a geofence."""

    fence: Fence | None = None

    def read(self) -> None:
        if self.fence is not None:
            self.fence.read()

    def notes(self, labels: LabelSet) -> list[str]:
        return self.fence.notes(labels) if self.fence is not None else []


class Geofence(FencedRule):
    """Rolls a blocked answer up over family, order, class and kingdom, at the score that it had, as SpeciesNet does."""

    name = "geofence"
    description = (
        "An answer that a SpeciesNet map blocks at the image's country or region is rolled up to one that it allows."
    )
    order = 30
    settings_type = GeofenceSettings

    def __init__(self, settings: GeofenceSettings) -> None:
        super().__init__(settings)
        self.fence: Fence = Fence(settings.file, settings.country, settings.region)

    def decide(self, subject: Subject) -> Ruling | None:
        found, place = subject.decided.candidate, subject.item.place
        if found is None or subject.decided.verdict != "taxon" or found.rank in ("label", "group"):
            return None
        blocked = self.fence.blocked(place)
        if not blocked(found.taxon):
            return None
        why = self.fence.why(found.taxon, place)
        # All candidates are rolled up where the best of them was decided on, else the decision alone.
        is_best = subject.candidates and subject.candidates[0].taxon == found.taxon
        outcome = fenced(scored(subject.candidates if is_best else [found]), blocked=blocked)
        if outcome.kind != "taxon" or outcome.taxon is None:
            return Ruling("unknown", None, "blocked", why)
        rolled = whole_sum(subject, outcome.taxon, outcome.score)
        return Ruling("taxon", rolled, "rolled up", why, {"to": rolled.rank})
