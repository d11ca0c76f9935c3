"""Quadrupeds: four legs under a barrel; tail and ears or horns by style."""

from __future__ import annotations

import math

from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Point, Shape, ellipse, limb
from bioclip_training.biosphere.traits import Traits

_HIP, _SHOULDER = -0.38, 0.36
_PAIR_SHADES = (0.75, 1.0)  # of two ears or horns, the far one is a little in front and in shade


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return a standing or walking animal, seen from its right side."""
    depth = 0.34 + 0.24 * traits.proportion("girth")
    legs = (0.22 + 0.5 * traits.proportion("legs")) * pose.leg_factor
    neck = 0.12 + 0.5 * traits.proportion("neck")
    head = (0.13 + 0.08 * traits.proportion("head")) * pose.head_factor
    lift = 0.9 + pose.head_lift
    x, y = head_at = (0.42 + neck * math.cos(lift), -0.1 - neck * math.sin(lift))
    return [
        _leg(_HIP + 0.1, depth, legs, -pose.stride, 0.72),
        _leg(_SHOULDER - 0.08, depth, legs, pose.stride, 0.72),
        *_tail(traits.tail_style, (-0.5, -depth * 0.15), 0.3 + 0.5 * traits.proportion("tail"), pose.tail_wave),
        ellipse("body", (0.0, 0.0), (0.55, depth / 2), 0.05),
        limb("body", [(0.35, 0.02), head_at], (depth * 0.75, head * 1.1)),
        ellipse("belly", (0.0, depth * 0.3), (0.4, depth * 0.2)),
        _leg(_HIP, depth, legs, pose.stride, 1.0),
        _leg(_SHOULDER, depth, legs, -pose.stride, 1.0),
        *_ornament(traits.ornament_style, head_at, head, pose.ornament_factor),
        limb("head", [head_at, (x + head * 1.5, y + head * 0.45)], (head * 1.5, head * 0.75)),
        ellipse("head", head_at, (head, head * 0.85)),
        ellipse("eye", (x + head * 0.35, y - head * 0.2), (head * 0.16, head * 0.16)),
    ]


def _leg(x: float, depth: float, length: float, swing: float, shade: float) -> Shape:
    path = [(x, depth * 0.1), (x + 0.3 * swing, depth * 0.3 + length * 0.5), (x + swing, depth * 0.35 + length)]
    return limb("leg", path, (0.17, 0.1, 0.085), shade)


def _tail(style: int, root: Point, length: float, wave: float) -> list[Shape]:
    x, y = root
    match style:
        case 0:  # a whip with a tassel
            tip = (x - 0.25 * length - 0.1, y + length * (0.9 + wave))
            whip = limb("tail", [root, (x - 0.18, y + 0.1), tip], (0.08, 0.05, 0.05))
            return [whip, ellipse("tail", tip, (0.07, 0.12))]
        case 1:  # a brush
            path = [root, (x - 0.5 * length, y + 0.05), (x - length, y + length * (0.35 + wave))]
            return [limb("tail", path, (0.1, 0.3, 0.26, 0.04))]
        case 2:  # a plume
            path = [root, (x - 0.45 * length, y - 0.3 * length), (x - 0.15 * length, y - length * (1.15 + wave))]
            return [limb("tail", path, (0.1, 0.24, 0.3, 0.1))]
        case 3:  # a bob
            return [ellipse("tail", (x - 0.06, y - 0.04), (0.13, 0.12))]
        case _:  # a paddle
            end = (x - length * 0.95, y + 0.1 + 0.3 * wave)
            return [limb("tail", [root, end], (0.12, 0.1)), ellipse("tail", end, (0.24, 0.11), -0.1 - wave)]


def _ornament(style: int, at: Point, head: float, factor: float) -> list[Shape]:
    x, y = at
    match style:
        case 0:  # round ears
            pair = zip((x + 0.1 * head, x - 0.5 * head), _PAIR_SHADES, strict=True)
            radii = (head * 0.55, head * 0.55)
            return [ellipse("ornament", (ear, y - head * 0.85), radii, 0, shade) for ear, shade in pair]
        case 1:  # long ears
            root, tip, widths = y - head * 0.5, y - head * 2.4, (head * 0.35, head * 0.55, head * 0.2)
            pair = zip((x + 0.25 * head, x - 0.2 * head), _PAIR_SHADES, strict=True)
            return [limb("ornament", [(ear, root), (ear - head * 0.6, tip)], widths, shade) for ear, shade in pair]
        case 2:  # straight horns
            reach, root = head * 2.2 * factor, y - head * 0.6
            pair = zip((x + 0.35 * head, x - 0.15 * head), _PAIR_SHADES, strict=True)
            paths = [([(horn, root), (horn + reach * 0.45, root - reach)], shade) for horn, shade in pair]
            return [limb("ornament", path, (head * 0.4, head * 0.08), shade) for path, shade in paths]
        case 3:  # a curled horn
            reach = head * 1.5 * factor
            curl = [
                (x - reach * 0.5, y - head - reach * 0.7),
                (x - reach * 1.5, y - head - reach * 0.1),
                (x - reach * 1.1, y - head * 0.1),
            ]
            return [limb("ornament", [(x, y - head * 0.6), *curl], (head * 0.55, head * 0.4, head * 0.1))]
        case _:  # antlers: a stem, and three ends from its fork
            reach = head * 2.6 * factor
            fork = (x - reach * 0.22, y - head - reach * 0.3)
            stem = [
                (x, y - head * 0.5),
                (x - reach * 0.25, y - head - reach * 0.4),
                (x - reach * 0.35, y - head * 0.5 - reach),
            ]
            ends = [
                (x + reach * 0.3, y - head - reach * 0.65),
                (x - reach * 0.75, y - head - reach * 0.55),
                (x + reach * 0.25, y - head - reach),
            ]
            return [
                limb("ornament", stem, (head * 0.3, head * 0.22)),
                *(limb("ornament", [fork, end], (head * 0.22, head * 0.12)) for end in ends),
            ]
