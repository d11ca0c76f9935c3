"""A geofence at a place: which taxa a map blocks where an image was taken, and what a blocked answer rolls up to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bioclip_core.classify import Candidate
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.rule import Subject
from bioclip_plugin.formats.shared.species_labels import Kind
from bioclip_plugin.items.media import Place
from bioclip_plugin.rules.countries import three_letters
from bioclip_plugin.rules.geofence_map import GeofenceMap, read_geofence
from bioclip_plugin.rules.speciesnet_ensemble import Blocked, Scored, never

_SUBDIVISION = re.compile(r"^(?:[A-Z]{2,3}-)?([A-Z0-9]{2})$")  # US-CA, USA-CA or CA
_KINDS: dict[str, Kind] = {
    "blank": "blank", "empty": "blank", "human": "person", "person": "person", "homo sapiens": "person", "vehicle": "vehicle",
}  # fmt: skip


class Fence:
    """A map, and the country and region of images that do not say theirs."""

    def __init__(self, path: Path, country: str | None, region: str | None) -> None:
        self._path = path
        self._country = country_of(country)
        self._region = region_of(region)
        self._blocks = lru_cache(maxsize=100_000)(self._asked)
        self._map: GeofenceMap | None = None

    def read(self) -> GeofenceMap:
        """Read the map.

        Raises:
            UsageError: if it cannot be read or understood.
        """
        if self._map is None:
            try:
                self._map = read_geofence(self._path)
            except SourceError as error:
                raise UsageError(str(error)) from None
        return self._map

    def codes(self, place: Place) -> tuple[str | None, str | None]:
        """Country and region as a map writes them; None where they are not known, or not written as codes."""
        own = three_letters(place.country) if place.country else None
        if own is None:
            return self._country, self._region
        found = _SUBDIVISION.match((place.region or "").strip().upper())
        return own, found[1] if found else (self._region if own == self._country else None)

    def blocked(self, place: Place) -> Blocked:
        """The taxa that cannot be there."""
        country, region = self.codes(place)
        if country is None:
            return never
        return lambda taxon: self._blocks(taxon, country, region)

    def why(self, taxon: Taxon, place: Place) -> str:
        """Why a taxon is blocked at a place."""
        return self.read().verdict(taxon, *self.codes(place)).why

    def _asked(self, taxon: Taxon, country: str, region: str | None) -> bool:
        return self.read().blocks(taxon, country, region)


def country_of(text: str | None) -> str | None:
    """A setting's country as alpha-3.

    Raises:
        UsageError: if it is no code.
    """
    if text is None:
        return None
    code = three_letters(text)
    if code is None:
        raise UsageError(f"country={text}: an ISO 3166-1 code of two or three letters is needed (KE or KEN)")
    return code


def region_of(text: str | None) -> str | None:
    """A setting's region as the second half of ISO 3166-2.

    Raises:
        UsageError: if it is no such code.
    """
    if text is None:
        return None
    found = _SUBDIVISION.match(text.strip().upper())
    if not found:
        raise UsageError(f"region={text}: the second half of ISO 3166-2 is needed (CA, or US-CA)")
    return found[1]


def scored(candidates: Sequence[Candidate]) -> list[Scored]:
    """Candidates as SpeciesNet's classes; labels called blank, human or vehicle are those."""
    return [Scored(one.taxon, one.probability, _kind_of(one.taxon)) for one in candidates]


@lru_cache(maxsize=65_536)
def _kind_of(taxon: Taxon) -> Kind:
    return _KINDS.get((taxon.scientific_name or taxon.common_name).lower(), "taxon")


def whole_sum(subject: Subject, taxon: Taxon, at_least: float) -> Candidate:
    """A taxon with the sum over *all* labels under it, where the answer has that; else what was added up."""
    rank = taxon.rank
    name = str(rank) if rank is not None else subject.level
    best = next((one for one in subject.by_rank.get(name, ()) if one.taxon.lineage == taxon.lineage), None)
    if best is not None and best.probability >= at_least:
        return best
    return Candidate(taxon, name, min(1.0, at_least))
