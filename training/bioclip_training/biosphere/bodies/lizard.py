"""Lizards: long and low on four bent legs; the tail's end and the spines by style."""

from __future__ import annotations

from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Point, Shape, ellipse, limb, polygon
from bioclip_training.biosphere.traits import Traits

_ROOT = (-0.45, 0.02)


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return a lizard on the ground, seen from its right side."""
    depth = 0.2 + 0.16 * traits.proportion("girth")
    legs = (0.12 + 0.22 * traits.proportion("legs")) * pose.leg_factor
    head = (0.12 + 0.07 * traits.proportion("head")) * pose.head_factor
    neck = 0.12 + 0.2 * traits.proportion("neck")
    x, y = head_at = (0.5 + neck, -0.06 - 0.3 * neck - 0.1 * pose.head_lift)
    belly = [(-0.4, depth * 0.4), (0.0, depth * 0.45), (0.4, depth * 0.4)]
    return [
        _leg(-0.3, depth, legs, -pose.stride, 0.7),
        _leg(0.3, depth, legs, pose.stride, 0.7),
        *_TAILS[traits.tail_style](depth, 0.5 + 0.5 * traits.proportion("tail"), pose.tail_wave),
        *_ORNAMENTS[traits.ornament_style](depth, head_at, head, pose.ornament_factor),
        limb("body", [(-0.5, 0.02), (-0.1, 0.0), (0.35, 0.0), head_at], (depth * 0.75, depth, depth * 1.05, head)),
        limb("belly", belly, (depth * 0.2, depth * 0.3, depth * 0.2)),
        _leg(-0.38, depth, legs, pose.stride, 1.0),
        _leg(0.38, depth, legs, -pose.stride, 1.0),
        limb("head", [(x - head * 0.4, y), head_at, (x + head * 1.6, y + head * 0.3)], (head * 1.2, head * 1.5, head * 0.6)),
        ellipse("eye", (x + head * 0.3, y - head * 0.3), (head * 0.17, head * 0.17)),
    ]  # fmt: skip


def _leg(x: float, depth: float, length: float, swing: float, shade: float) -> Shape:
    knee, foot = (x - 0.1 + 0.5 * swing, depth * 0.3 + 0.4 * length), (x + 0.12 + swing, depth * 0.3 + length)
    return limb("leg", [(x, depth * 0.1), knee, foot, (foot[0] + 0.1, foot[1])], (0.13, 0.09, 0.06, 0.05), shade)


def _whip(depth: float, length: float, wave: float) -> list[Shape]:
    x, y = _ROOT
    path = [_ROOT, (x - 0.5 * length, y + 0.1), (x - length, y + depth * 0.4 + wave * 0.3)]
    return [limb("tail", path, (depth * 0.75, depth * 0.35, 0.02))]


def _club(depth: float, length: float, _wave: float) -> list[Shape]:
    end = (_ROOT[0] - length, _ROOT[1] + depth * 0.4)
    return [limb("tail", [_ROOT, end], (depth * 0.7, 0.09)), ellipse("tail", end, (0.15, 0.13))]


def _coil(depth: float, _length: float, _wave: float) -> list[Shape]:
    turns = ((0.0, 0.0), (-0.3, -0.05), (-0.5, -0.3), (-0.35, -0.5), (-0.2, -0.36), (-0.3, -0.28))
    return [limb("tail", [(_ROOT[0] + dx, _ROOT[1] + dy) for dx, dy in turns], (depth * 0.75, 0.13, 0.1, 0.05))]


def _leaf(_depth: float, _length: float, _wave: float) -> list[Shape]:
    return [ellipse("tail", (_ROOT[0] - 0.22, _ROOT[1] - 0.04), (0.28, 0.17), -0.15)]


def _fork(depth: float, length: float, wave: float) -> list[Shape]:
    x, y = _ROOT[0] - length, _ROOT[1] + depth * 0.4
    ends = [(x - 0.12, y - 0.16 - 0.2 * wave), (x - 0.14, y + 0.1)]
    middle = (_ROOT[0] - 0.5 * length, _ROOT[1] + 0.05)
    return [limb("tail", [_ROOT, middle, end], (depth * 0.7, 0.12, 0.05)) for end in ends]


def _saw(depth: float, _at: Point, _head: float, factor: float) -> list[Shape]:
    top, tall = -depth * 0.4, 0.12 + 0.14 * factor
    places = (-0.36, -0.2, -0.04, 0.12, 0.28)
    return [polygon("ornament", [(x - 0.07, top), (x - 0.04, top - tall), (x + 0.07, top)]) for x in places]


def _sail(depth: float, _at: Point, _head: float, factor: float) -> list[Shape]:
    return [ellipse("ornament", (-0.03, -depth * 0.4), (0.36, (0.12 + 0.14 * factor) * 1.6))]


def _frill(_depth: float, at: Point, head: float, factor: float) -> list[Shape]:
    return [ellipse("ornament", (at[0] - head * 0.4, at[1] - head * 0.2), (head * 0.8, head * 2.1 * factor), 0.2)]


def _nose_horn(_depth: float, at: Point, head: float, factor: float) -> list[Shape]:
    nose = (at[0] + head * 1.2, at[1])
    return [limb("ornament", [nose, (nose[0] + head * 0.3, nose[1] - head * 2.0 * factor)], (head * 0.6, head * 0.1))]


def _throat_fan(_depth: float, at: Point, head: float, factor: float) -> list[Shape]:
    return [ellipse("ornament", (at[0] + head * 0.6, at[1] + head * 1.0), (head * 0.8, head * 0.9 * factor))]


_TAILS = (_whip, _club, _coil, _leaf, _fork)
_ORNAMENTS = (_saw, _sail, _frill, _nose_horn, _throat_fan)
