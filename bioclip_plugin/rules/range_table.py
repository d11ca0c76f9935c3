"""A table of ranges: which weight each taxon has in which country, region, box of coordinates and month."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.cells import number_of
from bioclip_core.errors import UsageError
from bioclip_plugin.rules.countries import three_letters
from bioclip_plugin.rules.tables import name_in, read_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.items.media import Place

COLUMNS = "taxon weight country region min_latitude max_latitude min_longitude max_longitude month".split()
"""All but the first two may be missing, and every cell of them empty."""

_BOX = ("minlatitude", "maxlatitude", "minlongitude", "maxlongitude")
_LIMITS = {"minlatitude": 90.0, "maxlatitude": 90.0, "minlongitude": 180.0, "maxlongitude": 180.0}
_SEASON = re.compile(r"^(\d{1,2})(?:-(\d{1,2}))?$")


class RangeTable:
    """R rows over T taxa, held as arrays, so that a place costs one pass over them."""

    def __init__(self, names: list[str], rows: Mapping[str, list[Any]]) -> None:
        import numpy as np

        self.names = names
        """T names, of any rank."""
        self._taxon_R = np.array(rows["taxon"], dtype=np.int64)
        self._weight_R = np.array(rows["weight"], dtype=np.float32)
        self._country_R = np.array(rows["country"], dtype=object)
        self._region_R = np.array(rows["region"], dtype=object)
        self._months_R = np.array(rows["months"], dtype=np.int64)
        self._box_R4 = np.array(rows["box"], dtype=np.float64).reshape(-1, 4)

    def weights(self, place: Place, floor: float) -> NDArray[np.float32]:
        """T weights at a place: the largest of the rows that fit; 1 where that cannot be told; else ``floor``."""
        import numpy as np

        wrong_R = np.zeros(len(self._taxon_R), dtype=bool)
        open_R = np.zeros(len(self._taxon_R), dtype=bool)
        for stated_R, fits_R in self._conditions(place):
            if fits_R is None:
                open_R |= stated_R
            else:
                wrong_R |= stated_R & ~fits_R
        fits_R = ~wrong_R & ~open_R
        open_R &= ~wrong_R
        weights_T = np.full(len(self.names), -1.0, dtype=np.float32)
        np.maximum.at(weights_T, self._taxon_R[fits_R], self._weight_R[fits_R])
        cannot_tell_T = np.zeros(len(self.names), dtype=bool)
        cannot_tell_T[self._taxon_R[open_R]] = True
        unmatched_T = weights_T < 0
        weights_T[unmatched_T] = np.where(cannot_tell_T[unmatched_T], 1.0, floor)
        return weights_T

    def _conditions(self, place: Place) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_] | None]]:
        """For each part of a place: the rows that state something of it, and those that fit (None: it is not known)."""
        import numpy as np

        country = three_letters(place.country) if place.country else None
        yield self._country_R != "", None if country is None else np.asarray(self._country_R == country)
        region = place.region.strip().casefold() if place.region else None
        yield self._region_R != "", None if region is None else np.asarray(self._region_R == region)
        in_month = None if place.month is None else (self._months_R >> place.month) & 1 == 1
        yield self._months_R != 0, in_month
        south, north, west, east = self._box_R4.T
        latitude, longitude = place.latitude, place.longitude
        yield ~np.isnan(south), None if latitude is None else (latitude >= south) & (latitude <= north)
        if longitude is None:
            yield ~np.isnan(west), None
            return
        inside = (longitude >= west) & (longitude <= east)
        across = (west > east) & ((longitude >= west) | (longitude <= east))  # the box holds the 180th meridian
        yield ~np.isnan(west), inside | across


def read_ranges(path: Path) -> RangeTable:
    """Read a table of ranges.

    Raises:
        UsageError: naming file, line and value of what cannot be used.
    """
    names: dict[str, int] = {}
    rows: dict[str, list[Any]] = {name: [] for name in ("taxon", "weight", "country", "region", "months", "box")}
    for line, row in read_rows(path, "ranges"):
        where = f"ranges {path}, line {line}"
        name = name_in(row)
        if not name:
            raise UsageError(f"{where}: no taxon; name it in a column taxon or in those of its ranks")
        if row.get("region") and not row.get("country"):
            raise UsageError(f"{where}: region {row['region']!r} without a country; give both")
        rows["taxon"].append(names.setdefault(name, len(names)))
        rows["weight"].append(_number(where, "weight", row.get("weight", ""), 0.0, math.inf))
        rows["country"].append(_country(where, row.get("country", "")))
        rows["region"].append(row.get("region", "").casefold())
        rows["months"].append(_months(where, row.get("month") or row.get("months", "")))
        rows["box"].append(_box(where, row))
    return RangeTable(list(names), rows)


def _number(where: str, column: str, text: str, low: float, high: float) -> float:
    value = number_of(text)
    if value is None or not low <= value <= high:
        allowed = f"a number from {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")
        raise UsageError(f"{where}: {column} {text!r}: {allowed} is needed")
    return value


def _country(where: str, text: str) -> str:
    if not text:
        return ""
    code = three_letters(text)
    if code is None:
        raise UsageError(f"{where}: country {text!r} is no ISO 3166-1 code of two or three letters")
    return code


def _months(where: str, text: str) -> int:
    """Months as bits 1 to 12: ``5``, ``3-6``, ``11-2``, several with a space or ``;`` between."""
    months = 0
    for part in re.split(r"[;\s|]+", text.strip()) if text.strip() else []:
        found = _SEASON.match(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not (1 <= first <= 12 and 1 <= last <= 12):
            raise UsageError(f"{where}: month {text!r}: write 5, or 3-6, or 11-2, several with a space between")
        for step in range((last - first) % 12 + 1):
            months |= 1 << ((first - 1 + step) % 12 + 1)
    return months


def _box(where: str, row: Mapping[str, str]) -> list[float]:
    """South, north, west, east; NaN where nothing is stated."""
    values = []
    for column in _BOX:
        text = row.get(column, "")
        values.append(_number(where, column, text, -_LIMITS[column], _LIMITS[column]) if text else math.nan)
    for low, high, what in ((0, 1, "latitude"), (2, 3, "longitude")):
        if math.isnan(values[low]) != math.isnan(values[high]):
            raise UsageError(f"{where}: min_{what} and max_{what} belong together; give both or none")
    if values[0] > values[1]:
        raise UsageError(f"{where}: min_latitude {values[0]:g} is above max_latitude {values[1]:g}")
    return values
