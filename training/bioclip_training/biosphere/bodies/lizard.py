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
        *_tail(traits.tail_style, depth, 0.5 + 0.5 * traits.proportion("tail"), pose.tail_wave),
        *_ornament(traits.ornament_style, depth, head_at, head, pose.ornament_factor),
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


def _tail(style: int, depth: float, length: float, wave: float) -> list[Shape]:
    x, y = _ROOT
    match style:
        case 0:  # a whip
            path = [_ROOT, (x - 0.5 * length, y + 0.1), (x - length, y + depth * 0.4 + wave * 0.3)]
            return [limb("tail", path, (depth * 0.75, depth * 0.35, 0.02))]
        case 1:  # a club
            end = (x - length, y + depth * 0.4)
            return [limb("tail", [_ROOT, end], (depth * 0.7, 0.09)), ellipse("tail", end, (0.15, 0.13))]
        case 2:  # a coil
            turns = ((0.0, 0.0), (-0.3, -0.05), (-0.5, -0.3), (-0.35, -0.5), (-0.2, -0.36), (-0.3, -0.28))
            return [limb("tail", [(x + dx, y + dy) for dx, dy in turns], (depth * 0.75, 0.13, 0.1, 0.05))]
        case 3:  # a leaf
            return [ellipse("tail", (x - 0.22, y - 0.04), (0.28, 0.17), -0.15)]
        case _:  # a fork
            middle, fork_x, fork_y = (x - 0.5 * length, y + 0.05), x - length, y + depth * 0.4
            ends = [(fork_x - 0.12, fork_y - 0.16 - 0.2 * wave), (fork_x - 0.14, fork_y + 0.1)]
            return [limb("tail", [_ROOT, middle, end], (depth * 0.7, 0.12, 0.05)) for end in ends]


def _ornament(style: int, depth: float, at: Point, head: float, factor: float) -> list[Shape]:
    (x, y), top, tall = at, -depth * 0.4, 0.12 + 0.14 * factor
    match style:
        case 0:  # a saw along the back
            teeth = [
                [(place - 0.07, top), (place - 0.04, top - tall), (place + 0.07, top)]
                for place in (-0.36, -0.2, -0.04, 0.12, 0.28)
            ]
            return [polygon("ornament", tooth) for tooth in teeth]
        case 1:  # a sail
            return [ellipse("ornament", (-0.03, top), (0.36, tall * 1.6))]
        case 2:  # a frill
            return [ellipse("ornament", (x - head * 0.4, y - head * 0.2), (head * 0.8, head * 2.1 * factor), 0.2)]
        case 3:  # a horn on the nose
            path = [(x + head * 1.2, y), (x + head * 1.2 + head * 0.3, y - head * 2.0 * factor)]
            return [limb("ornament", path, (head * 0.6, head * 0.1))]
        case _:  # a fan at the throat
            return [ellipse("ornament", (x + head * 0.6, y + head * 1.0), (head * 0.8, head * 0.9 * factor))]
