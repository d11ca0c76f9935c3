"""A geofence: in which countries and regions a taxon is allowed or blocked, with SpeciesNet's semantics, as pure functions.

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
from bioclip_core.identity import settings_id
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.shared.species_labels import taxonomy_of

_COUNTRY = re.compile(r"[A-Z]{3}")
_REGION = re.compile(r"[A-Z0-9]{2}")

Regions = frozenset[str]
"""Codes of regions; empty: the whole country."""


@dataclass(frozen=True, slots=True)
class TaxonRules:
    """What the map says of one taxon."""

    allow: Mapping[str, Regions]
    """Countries where it may be; none: everywhere."""
    block: Mapping[str, Regions]
    """Countries where it may not be, whatever ``allow`` says."""


@dataclass(frozen=True, slots=True)
class FenceVerdict:
    """Whether a taxon may be at a place, and why."""

    allowed: bool
    why: str


class GeofenceMap:
    """Rules by taxon. A taxon without rules of its own is allowed: what is said of its family is not said of it."""

    def __init__(self, rules: Mapping[str, TaxonRules], name: str = "") -> None:
        """``rules``: by ``class;order;family;genus;species`` in lower case. ``name``: shown in messages."""
        self.name = name
        self._rules = dict(rules)
        self._identity = ""

    def __len__(self) -> int:
        return len(self._rules)

    def __contains__(self, taxon: object) -> bool:
        return isinstance(taxon, Taxon) and taxonomy_of(taxon) in self._rules

    @property
    def taxonomies(self) -> tuple[str, ...]:
        """The taxa that it names, as ``class;order;family;genus;species`` in lower case."""
        return tuple(self._rules)

    @property
    def identity(self) -> str:
        """sha256 of all rules: part of the identity of what a run decided with them."""
        if not self._identity:
            self._identity = settings_id(
                {key: [_plain(rules.allow), _plain(rules.block)] for key, rules in sorted(self._rules.items())}
            )
        return self._identity

    def verdict(self, taxon: Taxon, country: str | None, region: str | None = None) -> FenceVerdict:
        """Whether ``taxon`` is allowed in a country (alpha-3) and region (the second half of ISO 3166-2).

        Without a country everything is allowed. Where the region is not known, a country that is allowed or blocked in
        parts only is allowed.

        Raises:
            UsageError: for a country that has no three letters, or a region that has not two; see ``iso_place``.
        """
        if not country:
            return FenceVerdict(True, "the country is not known")
        check_codes(country, region)
        rules = self._rules.get(taxonomy_of(taxon))
        if rules is None:
            return FenceVerdict(True, "the geofence does not name it")
        return _verdict(rules, country, region)

    def blocks(self, taxon: Taxon, country: str | None, region: str | None = None) -> bool:
        """Whether ``taxon`` is not allowed there."""
        return not self.verdict(taxon, country, region).allowed


def _verdict(rules: TaxonRules, country: str, region: str | None) -> FenceVerdict:
    if rules.allow and country not in rules.allow:
        return FenceVerdict(False, f"it is allowed in {len(rules.allow)} countries, and {country} is not one of them")
    allowed_in = rules.allow.get(country, frozenset())
    if region and allowed_in and region not in allowed_in:
        return FenceVerdict(
            False, f"it is allowed in {_some(allowed_in)} of {country}, and {region} is not one of them"
        )
    if country in rules.block:
        blocked_in = rules.block[country]
        if not blocked_in:
            return FenceVerdict(False, f"it is blocked in {country}")
        if region and region in blocked_in:
            return FenceVerdict(False, f"it is blocked in {country}-{region}")
    return FenceVerdict(True, f"it is allowed in {country}{f'-{region}' if region else ''}")


def _some(regions: Regions) -> str:
    listed = sorted(regions)
    return ", ".join(listed) if len(listed) < 6 else f"{len(listed)} regions"


def check_codes(country: str, region: str | None) -> None:
    """Refuse codes that a map cannot hold, so that a place written otherwise is not taken for one where all is blocked.

    Raises:
        UsageError: if the country has no three letters, or a region is given that has not two.
    """
    if len(country) != 3:
        raise UsageError(f"country {country!r}: a geofence needs the three letters of ISO 3166-1 (KEN, USA)")
    if region and len(region) != 2:
        raise UsageError(
            f"region {region!r}: a geofence needs the second half of ISO 3166-2, two characters (CA for US-CA)"
        )


def read_geofence(path: Path) -> GeofenceMap:
    """Read a map from a JSON file, as SpeciesNet's model folders have one.

    Raises:
        SourceError: if it cannot be read, is no JSON, or a rule in it cannot be understood (with taxon and value).
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"the geofence {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise SourceError(f"the geofence {path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(
            f"the geofence {path} must be an object with a member a taxon, 'class;order;family;genus;species'"
        )
    return geofence_of(content, str(path))


def geofence_of(content: Mapping[str, Any], name: str = "geofence") -> GeofenceMap:
    """A map from what its JSON file holds.

    Raises:
        SourceError: if a rule cannot be understood (with taxon and value).
    """
    return GeofenceMap({_key(key, name): _taxon_rules(key, value, name) for key, value in content.items()}, name)


def _key(key: str, name: str) -> str:
    if key.count(";") != 4 or key != key.lower():
        raise SourceError(
            f"{name}: taxon {key!r}: 'class;order;family;genus;species' in lower case is needed, with the lower parts empty "
            "for a higher taxon"
        )
    return key


def _taxon_rules(key: str, value: Any, name: str) -> TaxonRules:
    if not isinstance(value, dict) or not set(value) <= {"allow", "block"}:
        raise SourceError(f"{name}: taxon {key!r}: an object with 'allow' and 'block' is needed, not {_shown(value)}")
    return TaxonRules(*(_countries(key, value.get(word), word, name) for word in ("allow", "block")))


def _countries(key: str, value: Any, word: str, name: str) -> Mapping[str, Regions]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SourceError(f"{name}: taxon {key!r}: {word!r} is an object of countries, not {_shown(value)}")
    for country, regions in value.items():
        if not _COUNTRY.fullmatch(country):
            raise SourceError(
                f"{name}: taxon {key!r}: country {country!r}: three capital letters of ISO 3166-1 are needed"
            )
        if not isinstance(regions, list) or not all(
            isinstance(code, str) and _REGION.fullmatch(code) for code in regions
        ):
            raise SourceError(
                f"{name}: taxon {key!r}, country {country}: a list of regions of two characters (empty: the whole country) "
                f"is needed, not {_shown(regions)}"
            )
    return {country: frozenset(regions) for country, regions in value.items()}


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _plain(countries: Mapping[str, Regions]) -> dict[str, list[str]]:
    return {country: sorted(regions) for country, regions in sorted(countries.items())}
