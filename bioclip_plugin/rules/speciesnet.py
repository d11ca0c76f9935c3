"""Rule ``speciesnet-ensemble``: SpeciesNet's own table from classes and a detection to one answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.rules.fence import Fence, scored, whole_sum
from bioclip_plugin.rules.geofence import fence_notes
from bioclip_plugin.rules.speciesnet_ensemble import Detection, ensemble, never

if TYPE_CHECKING:
    from bioclip_core.labels.label_set import LabelSet


@dataclass(frozen=True, slots=True)
class EnsembleSettings:
    """Its geofence is a step of the table, so it is given here and not beside it."""

    geofence: Path | None = field(
        default=None, metadata={"what": "A SpeciesNet geofence; without it nothing is blocked."}
    )
    country: str | None = field(
        default=None, metadata={"what": "Country of images that do not say theirs, two or three letters."}
    )
    region: str | None = field(
        default=None, metadata={"what": "Region of images that do not say theirs, the second half of ISO 3166-2."}
    )

    def __post_init__(self) -> None:
        if self.geofence is None and (self.country or self.region):
            raise UsageError(
                "rule speciesnet-ensemble: country and region are the geofence's; give geofence=MAP.json with them"
            )


class SpeciesNetEnsemble(Rule):
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
        self._fence = Fence(path, settings.country, settings.region) if path is not None else None

    def read(self) -> None:
        if self._fence is not None:
            self._fence.read()

    def notes(self, labels: LabelSet) -> list[str]:
        return fence_notes(self._fence, self.settings.geofence, labels) if self._fence is not None else []

    def decide(self, subject: Subject) -> Ruling | None:
        blocked = self._fence.blocked(subject.item.place) if self._fence is not None else never
        outcome = ensemble(scored(subject.candidates), _detection(subject), blocked=blocked)
        details = {"source": outcome.source}
        if outcome.kind != "taxon" or outcome.taxon is None:
            return Ruling(outcome.kind, None, f"made {outcome.kind}", "", {**details, "score": round(outcome.score, 4)})
        found = whole_sum(subject, outcome.taxon, outcome.score)
        if subject.decided.candidate == found:
            return None
        return Ruling("taxon", found, "decided", "", details)


def _detection(subject: Subject) -> Detection:
    """The box as SpeciesNet has it; a box that somebody drew without a confidence is certain."""
    region = subject.region
    if region is None:
        return Detection()
    return Detection(region.category.lower() or "animal", 1.0 if region.confidence is None else region.confidence)
