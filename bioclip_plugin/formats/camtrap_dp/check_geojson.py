"""Checks of the GeoJSON that says where a package is from: its geometries, and the numbers of its positions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")

Said = Iterator[tuple[str, str, Any]]


def spatial_faults(key: str, value: Any) -> Said:
    """What is wrong with a GeoJSON object: which part of it, why, and its value."""
    if not isinstance(value, dict):
        yield key, "a GeoJSON object is needed", value
    elif value.get("type") == "Feature":
        yield from spatial_faults(f"{key}.geometry", value.get("geometry"))
    elif value.get("type") == "FeatureCollection":
        yield from _spatial_parts(f"{key}.features", value.get("features"))
    elif value.get("type") == "GeometryCollection":
        yield from _spatial_parts(f"{key}.geometries", value.get("geometries"))
    elif value.get("type") not in _GEOMETRIES:
        yield f"{key}.type", f"allowed are {', '.join(_GEOMETRIES)} and collections of them", value.get("type")
    else:
        depth = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
        fault = _position_fault(value.get("coordinates"), depth[value["type"]], closed="Polygon" in value["type"])
        if fault:
            yield f"{key}.coordinates", fault, value.get("coordinates")


def _spatial_parts(key: str, value: Any) -> Said:
    if not isinstance(value, list):
        yield key, "a list is needed", value
        return
    for number, one in enumerate(value):
        yield from spatial_faults(f"{key}[{number}]", one)


def _position_fault(value: Any, depth: int, *, closed: bool) -> str:
    """What is wrong with coordinates that are lists of positions, so many lists deep."""
    if not isinstance(value, list) or not value:
        return "a list of longitude and latitude is needed"
    if depth == 0:
        numbers = all(
            isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one) for one in value
        )
        if len(value) < 2 or not numbers:
            return "longitude and latitude are needed, as numbers"
        return "" if abs(value[0]) <= 180 and abs(value[1]) <= 90 else "longitude is -180 to 180, latitude -90 to 90"
    if depth == 1 and closed and (len(value) < 4 or value[0] != value[-1]):
        return "a ring has four positions at least, and the last one is the first"
    return next((fault for one in value if (fault := _position_fault(one, depth - 1, closed=closed))), "")
