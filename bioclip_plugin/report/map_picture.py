"""Cameras on a grid of latitude and longitude as a picture, without tiles, network or coastline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 320
LARGEST, SMALLEST = 13.0, 3.5  # radius of a point
_MARGIN = 34  # for the labels of the grid
_STEPS = (60.0, 30.0, 20.0, 10.0, 5.0, 2.0, 1.0)
_LEAST_SPAN = 0.002  # smallest span of the map in degrees: 200 m
_ROUNDINGS = 6  # smallest span in steps of rounded coordinates, so that they do not look exact
_NAMED = 14  # points with a name beside them; the table has all names
_LETTER, _LONGEST = 7.0, 18  # width of a letter, and the most letters of a name in the picture
_KM_PER_DEGREE = 111.32


@dataclass(frozen=True, slots=True)
class Spot:
    """One point of the map."""

    station: int
    name: str
    latitude: float
    longitude: float
    regions: int


@dataclass(frozen=True, slots=True)
class _View:
    """The visible part of the world: its middle, and the scale in points per degree."""

    latitude: float
    longitude: float
    across: float
    """Points per degree of longitude."""
    up: float
    """Points per degree of latitude."""

    def x(self, longitude: float) -> float:
        """Return the position of a longitude, by the shorter way around the world."""
        return WIDTH / 2 + ((longitude - self.longitude + 540.0) % 360.0 - 180.0) * self.across

    def y(self, latitude: float) -> float:
        return HEIGHT / 2 - (latitude - self.latitude) * self.up


def map_svg(spots: Sequence[Spot], decimals: int | None = None) -> str:
    """Return the picture; a point's area is the number of its camera's regions.

    Args:
        decimals: precision of rounded places in decimals of a degree; the picture is not finer than that.
    """
    view = _view(spots, _LEAST_SPAN if decimals is None else max(_LEAST_SPAN, _ROUNDINGS * 10.0**-decimals))
    # The finest step that leaves 70 points between the lines of the grid.
    steps = (*_STEPS, *(lead * 10.0**-power for power in range(1, 6) for lead in (5.0, 2.0, 1.0)))
    step = min((step for step in steps if step * min(view.across, view.up) >= 70), default=_STEPS[0])
    most = max((spot.regions for spot in spots), default=0)
    label = f"{len(spots)} place{'s' if len(spots) != 1 else ''} on a grid of {step:g}°; the table below names them"
    parts = [
        f'<svg class="map" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" data-largest="{LARGEST}" '
        f'data-smallest="{SMALLEST}"><rect class="sea" width="{WIDTH}" height="{HEIGHT}"/>',
        *_grid(view, step),
    ]
    largest_first = sorted(spots, key=lambda spot: (-spot.regions, spot.station))
    parts += [
        f'<circle class="spot" data-station="{spot.station}" cx="{view.x(spot.longitude):.2f}" '
        f'cy="{view.y(spot.latitude):.2f}" r="{_radius(spot.regions, most):.2f}"><title>{escape(spot.name)}: '
        f"{spot.regions:,} regions at {north(spot.latitude)}, {east(spot.longitude)}</title></circle>"
        for spot in largest_first
    ]
    return "".join([*parts, *_names(view, largest_first, most), *_scale(view), "</svg>"])


def north(latitude: float) -> str:
    """Return a latitude as text, such as 51.2°N."""
    return f"{abs(latitude):g}°{'N' if latitude >= 0 else 'S'}"


def east(longitude: float) -> str:
    """Return a longitude as text, such as 4.4°E."""
    return f"{abs(longitude):g}°{'E' if longitude >= 0 else 'W'}"


def _view(spots: Sequence[Spot], least: float) -> _View:
    """Return a view of all points with a margin; it leaves out the widest empty stretch of longitude, so Fiji is not 360° wide."""
    if not spots:
        return _View(0.0, 0.0, (WIDTH - 2 * _MARGIN) / 360, (HEIGHT - 2 * _MARGIN) / 180)
    latitudes = [spot.latitude for spot in spots]
    middle, high = (min(latitudes) + max(latitudes)) / 2, max(latitudes) - min(latitudes)
    turns = sorted({spot.longitude % 360.0 for spot in spots})
    gap, begin = max(
        (after - before, after) for before, after in zip(turns, [*turns[1:], turns[0] + 360.0], strict=True)
    )
    wide, squeeze = 360.0 - gap, max(0.1, math.cos(math.radians(middle)))
    up = min(
        (WIDTH - 2 * _MARGIN - 2 * LARGEST) / (max(wide, least) * squeeze),
        (HEIGHT - 2 * _MARGIN - 2 * LARGEST) / max(high, least),
    )
    return _View(middle, (begin + wide / 2 + 180.0) % 360.0 - 180.0, up * squeeze, up)


def _grid(view: _View, step: float) -> list[str]:
    parts = []
    places = max(0, -math.floor(math.log10(step) + 1e-9))
    west, last = (view.longitude + sign * WIDTH / 2 / view.across for sign in (-1, 1))
    for number in range(math.ceil(west / step), math.floor(last / step) + 1):
        x = WIDTH / 2 + (number * step - view.longitude) * view.across
        label = east(round((number * step + 540.0) % 360.0 - 180.0, places))
        parts.append(f'<line class="grid" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{HEIGHT}"/>')
        if 30 < x < WIDTH - 20:
            parts.append(f'<text x="{x:.2f}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    lowest, highest = (view.latitude + sign * HEIGHT / 2 / view.up for sign in (-1, 1))
    for number in range(math.ceil(max(lowest, -90.0) / step), math.floor(min(highest, 90.0) / step) + 1):
        y = view.y(number * step)
        parts.append(f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:.2f}" y2="{y:.2f}"/>')
        if 12 < y < HEIGHT - 22:
            parts.append(f'<text x="5" y="{y - 4:.2f}">{north(round(number * step, places))}</text>')
    return parts


def _radius(regions: int, most: int) -> float:
    return SMALLEST + (LARGEST - SMALLEST) * math.sqrt(regions / most) if most else SMALLEST


def _names(view: _View, spots: Sequence[Spot], most: int) -> list[str]:
    """Return the names of the largest points, each placed so that it covers neither a point nor another name."""
    points = [(view.x(spot.longitude), view.y(spot.latitude)) for spot in spots]
    taken: list[tuple[float, float, float]] = []  # left, right and height of the written names
    parts: list[str] = []
    for number, (spot, (x, y)) in enumerate(zip(spots, points, strict=True)):
        short = spot.name if len(spot.name) <= _LONGEST else spot.name[: _LONGEST - 1] + "…"
        beside, wide = _radius(spot.regions, most) + 3, _LETTER * len(short)
        others = points[:number] + points[number + 1 :]
        for left, anchor in ((x + beside, "start"), (x - beside - wide, "end")):
            right = left + wide
            covers = any(left - 6 < px < right + 6 and abs(py - y) < 11 for px, py in others) or any(
                left < end and right > begin and abs(height - y) < 14 for begin, end, height in taken
            )
            if not covers and left > 0 and right < WIDTH:
                at = f'x="{left if anchor == "start" else right:.2f}" y="{y + 4:.2f}" text-anchor="{anchor}"'
                parts.append(f'<text class="name" {at}>{escape(short)}</text>')
                taken.append((left, right, y))
                break
        if len(parts) == _NAMED:
            break
    return parts


def _scale(view: _View) -> list[str]:
    """Return a bar of a round number of kilometres, correct in the middle of the map."""
    km_per_point = _KM_PER_DEGREE / view.up
    rounds = [lead * 10.0**power for power in range(-3, 5) for lead in (1, 2, 5)]
    length = max((km for km in rounds if km / km_per_point <= 110), default=rounds[0])
    end, label = WIDTH - 10, f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    return [
        f'<path class="scale" d="M{end - length / km_per_point:.2f} 12v5H{end}v-5"/>',
        f'<text x="{end}" y="30" text-anchor="end">{label}</text>',
    ]
