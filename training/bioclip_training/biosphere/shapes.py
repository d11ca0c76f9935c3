"""The shapes of animals: filled polygons in the animal's own coordinates, x forward, y down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Point = tuple[float, float]

Points = np.ndarray
"""N×2 float64 vertices."""


class Shape(NamedTuple):
    """One filled polygon of one part of the animal; later shapes cover earlier ones."""

    part: str
    points: Points
    shade: float = 1.0
    """Factor of the part's colour; the far legs are darker."""


def ellipse(part: str, centre: Point, radii: tuple[float, float], tilt: float = 0.0, shade: float = 1.0) -> Shape:
    """Return an ellipse; ``tilt`` in radians lifts its front end."""
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    x, y = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
    points = np.stack(
        [centre[0] + x * np.cos(tilt) + y * np.sin(tilt), centre[1] - x * np.sin(tilt) + y * np.cos(tilt)], axis=1
    )
    return Shape(part, points, shade)


def limb(part: str, path: Sequence[Point], widths: tuple[float, ...], shade: float = 1.0) -> Shape:
    """Return a smooth tube along ``path`` (two points or more) whose width passes through ``widths`` from root to tip."""
    line = _smooth(np.asarray(path, dtype=float))
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # Round ends: a half circle of the end's own width.
    tip, root = _cap(line[-1], along[-1], float(width[-1, 0])), _cap(line[0], -along[0], float(width[0, 0]))
    return Shape(part, np.concatenate([line - normal * width, tip, (line + normal * width)[::-1], root]), shade)


def polygon(part: str, points: Sequence[Point], shade: float = 1.0) -> Shape:
    """Return a shape with corners."""
    return Shape(part, np.asarray(points, dtype=float), shade)


def bounds(shapes: list[Shape]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of all shapes."""
    points = np.concatenate([shape.points for shape in shapes])
    left, top = points.min(axis=0)
    right, bottom = points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _smooth(path: Points) -> Points:
    """Return a Catmull-Rom curve through the path's points, with eight steps per piece."""
    if len(path) == 2:
        return np.linspace(path[0], path[1], 4)
    padded = np.concatenate([[2 * path[0] - path[1]], path, [2 * path[-1] - path[-2]]])
    steps = np.linspace(0, 1, 8, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * steps + (2 * a - 5 * b + 4 * c - d) * steps**2 + (3 * b - a - 3 * c + d) * steps**3)
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return np.concatenate([*pieces, path[-1:]])


def _cap(end: Points, along: Points, radius: float) -> Points:
    turn = np.linspace(-np.pi / 2, np.pi / 2, 7)[:, None]
    normal = np.array([-along[1], along[0]])
    return np.asarray(end + radius * (np.cos(turn) * along + np.sin(turn) * normal))
