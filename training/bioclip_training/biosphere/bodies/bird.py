"""Birds: two thin legs, a wing and a beak; tail and crest by style."""

from __future__ import annotations

import math

from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Point, Shape, ellipse, limb, polygon
from bioclip_training.biosphere.traits import Traits

_RUMP = (-0.3, 0.12)


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return a standing bird, seen from its right side."""
    depth = 0.34 + 0.2 * traits.proportion("girth")
    legs = (0.18 + 0.5 * traits.proportion("legs")) * pose.leg_factor
    neck = 0.1 + 0.38 * traits.proportion("neck")
    head = (0.12 + 0.05 * traits.proportion("head")) * pose.head_factor
    lift = 1.15 + pose.head_lift
    beak = head * (0.9 + 2.2 * traits.proportion("legs"))
    x, y = head_at = (0.32 + neck * math.cos(lift), -0.12 - neck * math.sin(lift))
    return [
        _leg(-0.02 + 0.5 * pose.stride, depth, legs, 0.7),
        *_tail(traits.tail_style, 0.3 + 0.35 * traits.proportion("tail"), pose.tail_wave),
        ellipse("body", (0.02, 0.0), (0.42, depth / 2), 0.35),
        limb("body", [(0.25, -0.06), head_at], (depth * 0.7, head * 1.5)),
        ellipse("belly", (0.1, depth * 0.25), (0.26, depth * 0.22), 0.35),
        ellipse("back", (-0.1, -0.01), (0.34, depth * 0.3), 0.3, 0.8),
        _leg(0.1 - 0.5 * pose.stride, depth, legs, 1.0),
        *_ornament(traits.ornament_style, head_at, head, pose.ornament_factor),
        polygon(
            "beak",
            [
                (x + head * 0.4, y - head * 0.5),
                (x + head * 0.6 + beak, y + beak * 0.12),
                (x + head * 0.4, y + head * 0.5),
            ],
        ),
        ellipse("head", head_at, (head, head * 0.92)),
        ellipse("eye", (x + head * 0.3, y - head * 0.2), (head * 0.18, head * 0.18)),
    ]


def _leg(x: float, depth: float, length: float, shade: float) -> Shape:
    ground = depth * 0.4 + length
    path = [(x, depth * 0.2), (x - 0.05, depth * 0.4 + length * 0.5), (x + 0.02, ground), (x + 0.14, ground + 0.01)]
    return limb("leg", path, (0.11, 0.055, 0.05, 0.04), shade)


def _tail(style: int, length: float, wave: float) -> list[Shape]:
    x, y = _RUMP
    match style:
        case 0:  # a fan
            turns = (0.1, 0.45, 0.8, 1.15, 1.5)
            ends = [(x - length * math.cos(turn), y - length * math.sin(turn) * 1.3) for turn in turns]
            return [polygon("tail", [(x + 0.1, y), *ends, (x + 0.2, y - 0.15)], 0.9)]
        case 1:  # streamers
            paths = [
                [_RUMP, (x - length, y + 0.1 + drop), (x - 1.7 * length, y + 0.25 + drop + wave)]
                for drop in (0.0, 0.12)
            ]
            return [limb("tail", path, (0.14, 0.07, 0.04), 0.9) for path in paths]
        case 2:  # a wedge
            corners = [(x + 0.1, y - 0.1), (x - length, y - 0.06), (x - length, y + 0.2), (x + 0.1, y + 0.12)]
            return [polygon("tail", corners, 0.9)]
        case 3:  # a stub
            return [ellipse("tail", (x - 0.06, y + 0.02), (0.16, 0.09), 0.3, 0.9)]
        case _:  # a fork
            ends = [
                (x - length * 1.1, y - length * 0.95 - wave),
                (x - length * 0.5, y + 0.02),
                (x - length * 1.2, y + length * 0.55),
            ]
            return [polygon("tail", [(x + 0.12, y - 0.12), *ends, (x + 0.1, y + 0.12)], 0.9)]


def _ornament(style: int, at: Point, head: float, factor: float) -> list[Shape]:
    (x, y), reach = at, head * 1.7 * factor
    match style:
        case 0:  # a casque
            return [ellipse("ornament", (x + head * 0.1, y - head * 0.75), (head * 0.6, head * 0.5))]
        case 1:  # a plume
            path = [(x, y - head * 0.5), (x - reach, y - head - reach * 0.4), (x - 1.6 * reach, y - head * 0.2)]
            return [limb("ornament", path, (head * 0.45, head * 0.3, head * 0.1))]
        case 2:  # a crown
            tips = [(x + dx * reach, y - head - reach) for dx in (-0.8, -0.25, 0.3)]
            return [limb("ornament", [(x, y - head * 0.5), tip], (head * 0.25, head * 0.4)) for tip in tips]
        case 3:  # a wattle
            return [ellipse("ornament", (x + head * 0.55, y + head * 1.2), (head * 0.45, head * 0.85 * factor))]
        case _:  # a horn
            path = [(x + head * 0.6, y - head * 0.3), (x + head + reach * 0.2, y - head - reach * 0.8)]
            return [limb("ornament", path, (head * 0.5, head * 0.15))]
