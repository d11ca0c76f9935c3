"""A geofence at a place: taxa that a map blocks where an image was taken, and the taxon that a blocked answer rolls up to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bioclip_core.cells import three_letters
from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError, SourceError, UsageError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.rule import Subject
from bioclip_plugin.formats.shared.species_labels import Kind
from bioclip_plugin.items.media import Place
from bioclip_plugin.rules.geofence_map import GeofenceMap, read_geofence
from bioclip_plugin.rules.speciesnet_ensemble import Blocked, Scored, never

_SUBDIVISION = re.compile(r"^(?:[A-Z]{2,3}-)?([A-Z0-9]{2})$")  # US-CA, USA-CA or CA
_KINDS: dict[str, Kind] = {
    "blank": "blank", "empty": "blank", "human": "person", "person": "person", "homo sapiens": "person", "vehicle": "vehicle",
}  # fmt: skip


class Fence:
    """A map, and the country and region of images without their own."""

    def __init__(self, path: Path, country: str | None, region: str | None) -> None:
        """Keep the codes of the country and the region; the map is read by :meth:`read`.

        Raises:
            UsageError: for a country or a region that is not a code.
        """
        self._path = path
        self._country = three_letters(country) if country is not None else None
        if country is not None and self._country is None:
            raise UsageError(f"country={country}: an ISO 3166-1 code of two or three letters is needed (KE or KEN)")
        self._region = _subdivision(region)
        if region is not None and self._region is None:
            raise UsageError(f"region={region}: the second half of ISO 3166-2 is needed (CA, or US-CA)")
        self._blocks = lru_cache(maxsize=100_000)(self._is_blocked)
        self._map: GeofenceMap | None = None

    def read(self) -> GeofenceMap:
        """Read the map once.

        Raises:
            UsageError: if it cannot be read or understood.
        """
        if self._map is None:
            try:
                self._map = read_geofence(self._path)
            except SourceError as error:
                raise DataError(str(error)) from None
        return self._map

    def codes(self, place: Place) -> tuple[str | None, str | None]:
        """Return country and region as a map writes them; None where they are unknown, or not written as codes."""
        own = three_letters(place.country) if place.country else None
        if own is None:
            return self._country, self._region
        return own, _subdivision(place.region) or (self._region if own == self._country else None)

    def blocked(self, place: Place) -> Blocked:
        """Return the test whether a taxon cannot be at the place."""
        country, region = self.codes(place)
        return never if country is None else lambda taxon: self._blocks(taxon, country, region)

    def why(self, taxon: Taxon, place: Place) -> str:
        """Return the reason why a taxon is blocked at a place."""
        return self.read().verdict(taxon, *self.codes(place)).why

    def notes(self, labels: LabelSet) -> list[str]:
        """Return how many of the map's taxa the label set lacks: a map with other names fences nothing."""
        if labels.is_custom:
            return [f"{self._path.name}: labels of your own are not taxa; the geofence does not apply to them"]
        known = {
            ";".join(labels.taxon_at(row, level)[0].lineage[2:]).lower()
            for level in ("class", "order", "family", "genus", "species")
            for row in labels.spans(level).starts_S.tolist()
        }
        keys = self.read().taxonomies
        missing = [key for key in keys if key not in known]
        if not missing:
            return []
        shown = ", ".join(
            " ".join(filter(None, key.split(";")[3:])) or key.strip(";").split(";")[-1] for key in missing[:5]
        )
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        return [f"{self._path.name}: {len(missing)} of {len(keys)} taxa are not in the label set: {shown}{more}"]

    def _is_blocked(self, taxon: Taxon, country: str, region: str | None) -> bool:
        return not self.read().verdict(taxon, country, region).allowed


def _subdivision(text: str | None) -> str | None:
    """Return the second half of an ISO 3166-2 code; None for any other text."""
    found = _SUBDIVISION.match((text or "").strip().upper())
    return found[1] if found else None


def scored(candidates: Sequence[Candidate]) -> list[Scored]:
    """Return candidates as SpeciesNet's classes; labels called blank, human or vehicle are those."""
    return [Scored(candidate.taxon, candidate.probability, _kind_of(candidate.taxon)) for candidate in candidates]


@lru_cache(maxsize=65_536)
def _kind_of(taxon: Taxon) -> Kind:
    return _KINDS.get((taxon.scientific_name or taxon.common_name).lower(), "taxon")


def whole_sum(subject: Subject, taxon: Taxon, at_least: float) -> Candidate:
    """Return a taxon with the sum over *all* labels under it, where the answer has that; else with ``at_least``."""
    name = str(taxon.rank) if taxon.rank is not None else subject.level
    best = next((found for found in subject.by_rank.get(name, ()) if found.taxon.lineage == taxon.lineage), None)
    if best is not None and best.probability >= at_least:
        return best
    return Candidate(taxon, name, min(1.0, at_least))
