"""Rule ``speciesnet-ensemble``: SpeciesNet's own table from classes and a detection to one answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.rule import Ruling, Subject
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.rules.fence import Fence, scored, whole_sum
from bioclip_plugin.rules.geofence import FencedRule
from bioclip_plugin.rules.speciesnet_ensemble import Detection, ensemble, never


@dataclass(frozen=True, slots=True)
class EnsembleSettings:
    """The geofence, which is a step of the table and therefore given here."""

    geofence: Path | None = field(
        default=None, metadata={"what": "A SpeciesNet geofence; without it nothing is blocked."}
    )
    country: str | None = field(
        default=None, metadata={"what": "Country of images without their own, two or three letters."}
    )
    region: str | None = field(
        default=None, metadata={"what": "Region of images without their own, the second half of ISO 3166-2."}
    )

    def __post_init__(self) -> None:
        if self.geofence is None and (self.country or self.region):
            raise UsageError("country and region belong to a geofence; give geofence=MAP.json with them")


class SpeciesNetEnsemble(FencedRule):
    """Decides as SpeciesNet 5 does from its five best classes and the box; roll-ups state the sum over all labels."""

    name = "speciesnet-ensemble"
    description = (
        "SpeciesNet's table: person, vehicle, blank, a sure species, else rolled up until a sum is above 0.65."
    )
    order = 20
    settings_type = EnsembleSettings
    decides_unclassified = True

    def __init__(self, settings: EnsembleSettings) -> None:
        super().__init__(settings)
        path = settings.geofence
        self.fence = Fence(path, settings.country, settings.region) if path is not None else None

    def decide(self, subject: Subject) -> Ruling | None:
        blocked = self.fence.blocked(subject.item.place) if self.fence is not None else never
        outcome = ensemble(scored(subject.candidates), _detection(subject), blocked=blocked)
        details = {"source": outcome.source}
        if outcome.kind != "taxon" or outcome.taxon is None:
            return Ruling(outcome.kind, None, f"made {outcome.kind}", "", {**details, "score": round(outcome.score, 4)})
        found = whole_sum(subject, outcome.taxon, outcome.score)
        return None if subject.decided.candidate == found else Ruling("taxon", found, "decided", "", details)


def _detection(subject: Subject) -> Detection:
    """Return the box as SpeciesNet has it; a box without a confidence was drawn by a person and is certain."""
    region = subject.region
    if region is None:
        return Detection()
    return Detection(kind_of_category(region.category), 1.0 if region.confidence is None else region.confidence)
