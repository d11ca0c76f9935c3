"""A table of ranges: the weight of each taxon in each country, region, box of coordinates and month."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.cells import number_of, three_letters
from bioclip_core.errors import DataError
from bioclip_plugin.items.media import Place
from bioclip_plugin.rules.tables import named_rows

COLUMNS = "taxon weight country region min_latitude max_latitude min_longitude max_longitude month".split()
"""Columns of the table. All but the first two may be missing, and every cell of them empty."""

_BOX = {"minlatitude": 90.0, "maxlatitude": 90.0, "minlongitude": 180.0, "maxlongitude": 180.0}
"""Columns of the box with their limits, south, north, west and east."""
_SEASON = re.compile(r"^(\d{1,2})(?:-(\d{1,2}))?$")


class RangeTable:
    """R rows over T taxa, held as arrays, so that a place costs one pass over them."""

    def __init__(self, names: list[str], rows: Mapping[str, list[Any]]) -> None:
        self.names = names
        """T names, of any rank."""
        self._taxon_R = np.array(rows["taxon"], dtype=np.int64)
        self._weight_R = np.array(rows["weight"], dtype=np.float32)
        self._country_R = np.array(rows["country"], dtype=object)
        self._region_R = np.array(rows["region"], dtype=object)
        self._months_R = np.array(rows["months"], dtype=np.int64)
        self._box_R4 = np.array(rows["box"], dtype=np.float64).reshape(-1, 4)

    def weights(self, place: Place, floor: float) -> NDArray[np.float32]:
        """Return T weights at a place: the largest of the rows that fit; 1 where that is unknown; else ``floor``."""
        wrong_R = np.zeros(len(self._taxon_R), dtype=bool)
        open_R = wrong_R.copy()
        for stated_R, fits_R in self._conditions(place):
            if fits_R is None:
                open_R |= stated_R
            else:
                wrong_R |= stated_R & ~fits_R
        fits_R = ~wrong_R & ~open_R
        weights_T = np.full(len(self.names), -1.0, dtype=np.float32)
        np.maximum.at(weights_T, self._taxon_R[fits_R], self._weight_R[fits_R])
        unknown_T = np.zeros(len(self.names), dtype=bool)
        unknown_T[self._taxon_R[open_R & ~wrong_R]] = True
        return np.where(weights_T >= 0, weights_T, np.where(unknown_T, 1.0, floor)).astype(np.float32)

    def _conditions(self, place: Place) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_] | None]]:
        """Yield for each part of a place the rows that state something of it and those that fit, None if it is unknown."""
        country = three_letters(place.country) if place.country else None
        yield self._country_R != "", None if country is None else np.asarray(self._country_R == country)
        region = place.region.strip().casefold() if place.region else None
        yield self._region_R != "", None if region is None else np.asarray(self._region_R == region)
        yield self._months_R != 0, None if place.month is None else (self._months_R >> place.month) & 1 == 1
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
        DataError: naming file, line and value of a cell that cannot be used.
    """
    names: dict[str, int] = {}
    rows: dict[str, list[Any]] = {name: [] for name in ("taxon", "weight", "country", "region", "months", "box")}
    for line, name, row in named_rows(path, "ranges"):
        where = f"ranges {path}, line {line}"
        country = row.get("country", "")
        code = three_letters(country) if country else ""
        if code is None:
            raise DataError(f"{where}: country {country!r} is not an ISO 3166-1 code of two or three letters")
        if row.get("region") and not code:
            raise DataError(f"{where}: region {row['region']!r} without a country; give both")
        rows["taxon"].append(names.setdefault(name, len(names)))
        rows["weight"].append(_number(where, "weight", row.get("weight", ""), 0.0, math.inf))
        rows["country"].append(code)
        rows["region"].append(row.get("region", "").casefold())
        rows["months"].append(_months(where, row.get("month") or row.get("months", "")))
        rows["box"].append(_box(where, row))
    return RangeTable(list(names), rows)


def _number(where: str, column: str, text: str, low: float, high: float) -> float:
    value = number_of(text)
    if value is None or not low <= value <= high:
        allowed = f"a number from {low:g}" + (f" to {high:g}" if math.isfinite(high) else "")
        raise DataError(f"{where}: {column} {text!r}: {allowed} is needed")
    return value


def _months(where: str, text: str) -> int:
    """Return months as bits 1 to 12: ``5``, ``3-6``, ``11-2``, several with a space or ``;`` between."""
    months = 0
    for part in re.split(r"[;\s|]+", text.strip()) if text.strip() else []:
        found = _SEASON.match(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not (1 <= first <= 12 and 1 <= last <= 12):
            raise DataError(f"{where}: month {text!r}: write 5, or 3-6, or 11-2, several with a space between")
        for step in range((last - first) % 12 + 1):
            months |= 1 << ((first - 1 + step) % 12 + 1)
    return months


def _box(where: str, row: Mapping[str, str]) -> list[float]:
    """Return south, north, west, east; NaN for an empty cell."""
    values = [
        _number(where, column, row[column], -limit, limit) if row.get(column) else math.nan
        for column, limit in _BOX.items()
    ]
    for low, high, name in ((0, 1, "latitude"), (2, 3, "longitude")):
        if math.isnan(values[low]) != math.isnan(values[high]):
            raise DataError(f"{where}: min_{name} and max_{name} belong together; give both or none")
    if values[0] > values[1]:
        raise DataError(f"{where}: min_latitude {values[0]:g} is above max_latitude {values[1]:g}")
    return values
