"""A geofence: countries and regions where a taxon is allowed or blocked, with SpeciesNet's semantics, as pure functions.

The file is JSON: ``{"class;order;family;genus;species": {"allow": {"KEN": [], "USA": ["AK"]}, "block": {"USA": ["HI"]}}}``,
names in lower case, a higher taxon's key with its lower parts empty, countries as ISO 3166-1 alpha-3, regions as the second
half of ISO 3166-2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.documents import read_document
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.shared.species_labels import taxonomy_of

_COUNTRY = re.compile(r"[A-Z]{3}")
_REGION = re.compile(r"[A-Z0-9]{2}")

Regions = frozenset[str]
"""Codes of regions; empty: the whole country."""


@dataclass(frozen=True, slots=True)
class TaxonRules:
    """Rules of the map for one taxon."""

    allow: Mapping[str, Regions]
    """Countries where it may be; empty: everywhere."""
    block: Mapping[str, Regions]
    """Countries where it may not be, whatever ``allow`` says."""

    def verdict(self, country: str, region: str | None) -> FenceVerdict:
        """Say whether the taxon may be at a place."""
        if self.allow and country not in self.allow:
            return FenceVerdict(
                False, f"it is allowed in {len(self.allow)} countries, and {country} is not one of them"
            )
        allowed_in, blocked_in = self.allow.get(country), self.block.get(country)
        if region and allowed_in and region not in allowed_in:
            some = ", ".join(sorted(allowed_in)) if len(allowed_in) < 6 else f"{len(allowed_in)} regions"
            return FenceVerdict(False, f"it is allowed in {some} of {country}, and {region} is not one of them")
        if blocked_in is not None and not blocked_in:
            return FenceVerdict(False, f"it is blocked in {country}")
        if region and blocked_in and region in blocked_in:
            return FenceVerdict(False, f"it is blocked in {country}-{region}")
        return FenceVerdict(True, f"it is allowed in {country}{f'-{region}' if region else ''}")


@dataclass(frozen=True, slots=True)
class FenceVerdict:
    """Verdict of a map on a taxon at a place, with the reason."""

    allowed: bool
    why: str


class GeofenceMap:
    """Rules by taxon. A taxon without rules of its own is allowed: rules of its family do not apply to it."""

    def __init__(self, rules: Mapping[str, TaxonRules]) -> None:
        """Keep the rules, by ``class;order;family;genus;species`` in lower case."""
        self._rules = dict(rules)

    @property
    def taxonomies(self) -> tuple[str, ...]:
        """The taxa that it names, as ``class;order;family;genus;species`` in lower case."""
        return tuple(self._rules)

    def verdict(self, taxon: Taxon, country: str | None, region: str | None = None) -> FenceVerdict:
        """Say whether ``taxon`` is allowed in a country (alpha-3) and region (the second half of ISO 3166-2).

        Without a country everything is allowed. Without a region, a country that is allowed or blocked in parts only is
        allowed.

        Raises:
            UsageError: for a place in another spelling, which would otherwise be blocked for every taxon.
        """
        if not country:
            return FenceVerdict(True, "the country is not known")
        if len(country) != 3:
            raise UsageError(f"country {country!r}: a geofence needs the three letters of ISO 3166-1 (KEN, USA)")
        if region and len(region) != 2:
            raise UsageError(
                f"region {region!r}: a geofence needs the second half of ISO 3166-2, two characters (CA for US-CA)"
            )
        rules = self._rules.get(taxonomy_of(taxon))
        return FenceVerdict(True, "the geofence does not name it") if rules is None else rules.verdict(country, region)


def read_geofence(path: Path) -> GeofenceMap:
    """Read a map from a JSON file, as SpeciesNet's model folders have one.

    Raises:
        SourceError: if it cannot be read, is not JSON, or has a rule that cannot be understood (with taxon and value).
    """
    content = read_document(path, dict[str, Any], name="the geofence", error=SourceError)
    return geofence_of(content, str(path))


def geofence_of(content: Mapping[str, Any], name: str = "geofence") -> GeofenceMap:
    """Return the map of a JSON file's content.

    Args:
        name: shown in messages.

    Raises:
        SourceError: if a rule cannot be understood (with taxon and value).
    """
    rules = {}
    for key, value in content.items():
        where = f"{name}: taxon {key!r}"
        if key.count(";") != 4 or key != key.lower():
            raise SourceError(
                f"{where}: 'class;order;family;genus;species' in lower case is needed, with the lower parts empty "
                "for a higher taxon"
            )
        if not isinstance(value, dict) or not set(value) <= {"allow", "block"}:
            raise SourceError(f"{where}: an object with 'allow' and 'block' is needed, not {_shown(value)}")
        rules[key] = TaxonRules(*(_countries(where, value.get(word), word) for word in ("allow", "block")))
    return GeofenceMap(rules)


def _countries(where: str, value: Any, word: str) -> Mapping[str, Regions]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SourceError(f"{where}: {word!r} must be an object of countries, not {_shown(value)}")
    for country, regions in value.items():
        if not _COUNTRY.fullmatch(country):
            raise SourceError(f"{where}: country {country!r}: three capital letters of ISO 3166-1 are needed")
        are_codes = isinstance(regions, list) and all(
            isinstance(code, str) and _REGION.fullmatch(code) for code in regions
        )
        if not are_codes:
            raise SourceError(
                f"{where}, country {country}: a list of regions of two characters (empty: the whole country) is needed, "
                f"not {_shown(regions)}"
            )
    return {country: frozenset(regions) for country, regions in value.items()}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."
