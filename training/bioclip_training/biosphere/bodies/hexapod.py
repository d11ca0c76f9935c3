"""Hexapods: head, thorax and abdomen on six bent legs; the abdomen's end and the feelers by style."""

from __future__ import annotations

import math

from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Point, Shape, ellipse, limb, polygon
from bioclip_training.biosphere.traits import Traits

_END = -0.58  # end of the abdomen
_FEET = ((-0.28, -0.2), (0.12, 0.0), (0.34, 0.22))  # root of a leg, and its reach forward


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return a large insect, seen from its right side."""
    depth = 0.3 + 0.22 * traits.proportion("girth")
    legs = (0.28 + 0.3 * traits.proportion("legs")) * pose.leg_factor
    head = (0.12 + 0.07 * traits.proportion("head")) * pose.head_factor
    head_at = (0.5 + 0.5 * head, -0.04 - 0.08 * pose.head_lift)
    reach = (0.25 + 0.15 * traits.proportion("neck")) * pose.ornament_factor
    return [
        *(_leg(x + 0.05, forward - pose.stride, legs, 0.65) for x, forward in _FEET),
        *_tail(traits.tail_style, depth, 0.2 + 0.25 * traits.proportion("tail"), pose.tail_wave),
        ellipse("body", (-0.2, 0.0), (0.42, depth / 2), -0.05),
        ellipse("belly", (-0.2, depth * 0.3), (0.34, depth * 0.18)),
        ellipse("body", (0.26, -0.04), (0.22, depth * 0.38)),
        *(_leg(x, forward + pose.stride, legs, 1.0) for x, forward in _FEET),
        *_ornament(traits.ornament_style, head_at, head, reach, pose.ornament_factor),
        ellipse("head", head_at, (head, head)),
        ellipse("eye", (head_at[0] + head * 0.35, head_at[1] - head * 0.3), (head * 0.28, head * 0.28)),
    ]


def _leg(x: float, reach: float, length: float, shade: float) -> Shape:
    path = [(x, 0.08), (x + 0.8 * reach, 0.05 - length * 0.15), (x + 1.5 * reach, 0.1 + length)]
    return limb("leg", path, (0.08, 0.065, 0.035), shade)


def _tail(style: int, depth: float, length: float, wave: float) -> list[Shape]:
    match style:
        case 0:  # a sting, arched over the back
            arch = [(_END - 0.2, -0.2), (_END - 0.1, -0.25 - length), (_END + 0.2, -0.3 - length + wave * 0.5)]
            return [limb("tail", [(_END, 0.0), *arch], (0.16, 0.13, 0.1, 0.03))]
        case 1:  # bristles
            tips = [(_END - 1.6 * length, dy + wave) for dy in (-0.15, 0.1)]
            return [limb("tail", [(_END, 0.0), tip], (0.07, 0.025)) for tip in tips]
        case 2:  # wings
            return [ellipse("tail", (_END + 0.12 - 0.3 * length, -0.14), (0.3 + 0.4 * length, 0.13), -0.25)]
        case 3:  # a second abdomen
            return [ellipse("tail", (_END - 0.1, 0.02), (0.2, depth * 0.3))]
        case _:  # a fan
            edge = [(_END - length, -0.2), (_END - length * 0.7, 0.0), (_END - length, 0.2)]
            return [polygon("tail", [(_END + 0.1, -depth * 0.3), *edge, (_END + 0.1, depth * 0.3)])]


def _ornament(style: int, at: Point, head: float, reach: float, factor: float) -> list[Shape]:
    (x, y), root = at, (at[0], at[1] - head * 0.5)
    match style:
        case 0:  # threads
            bend = (x + 0.1, y - head - reach)
            paths = [[(x, y - head * 0.6), bend, (x + dx, y - head - 1.5 * reach)] for dx in (-0.25, 0.05)]
            return [limb("ornament", path, (0.05, 0.035)) for path in paths]
        case 1:  # clubs
            tips = ((x + reach * 0.4, y - head - reach * 0.8), (x + reach * 0.9, y - head - reach * 0.35))
            clubs = [
                (limb("ornament", [root, tip], (0.045, 0.045)), ellipse("ornament", tip, (0.075, 0.075)))
                for tip in tips
            ]
            return [shape for club in clubs for shape in club]
        case 2:  # mandibles
            tip = x + head + 0.3 * factor
            paths = [
                [(x + head * 0.6, y + dy * 0.4), (x + head + 0.12, y + dy), (tip, y + dy * 0.35)]
                for dy in (-0.13, 0.15)
            ]
            return [limb("ornament", path, (0.1, 0.09, 0.03)) for path in paths]
        case 3:  # a great horn
            bend, end = (
                (x + head + reach * 0.5, y - head - reach * 0.3),
                (x + head + reach * 0.7, y - head - reach * 1.2),
            )
            return [limb("ornament", [root, bend, end], (0.14, 0.1, 0.03))]
        case _:  # a comb
            y -= head * 0.4
            teeth = [(x + reach * math.cos(turn), y - reach * math.sin(turn)) for turn in (0.4, 0.8, 1.2, 1.6, 2.0)]
            return [limb("ornament", [(x, y), tooth], (0.05, 0.05)) for tooth in teeth]
