"""Crabs: a carapace seen from the front on eight legs, with two claws; the carapace's edge and the claws by style."""

from __future__ import annotations

import math

from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Shape, ellipse, limb, polygon
from bioclip_training.biosphere.traits import Traits

_SIDES = (-1, 1)


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return a crab-like animal that faces the camera."""
    wide = 0.42 + 0.14 * traits.proportion("neck")
    tall = 0.2 + 0.16 * traits.proportion("girth")
    legs = (0.3 + 0.3 * traits.proportion("legs")) * pose.leg_factor
    head, lift = 0.06 * pose.head_factor, -tall - 0.08 - 0.1 * traits.proportion("head")
    eyes = [(side * 0.13, lift) for side in _SIDES]
    return [
        *(_leg(side, index, wide, legs, pose.stride) for side in _SIDES for index in range(4)),
        *_edge(traits.tail_style, wide, tall),
        ellipse("body", (0.0, 0.0), (wide, tall)),
        ellipse("belly", (0.0, tall * 0.62), (wide * 0.72, tall * 0.36)),
        *(shape for side in _SIDES for shape in _arm(traits.ornament_style, side, wide, pose)),
        *(
            shape
            for side, at in zip(_SIDES, eyes, strict=True)
            for shape in (
                limb("head", [(side * 0.1, -tall * 0.7), at], (0.09, 0.08)),
                ellipse("head", at, (head, head)),
                ellipse("eye", at, (head * 0.5, head * 0.5)),
            )
        ),
    ]


def _leg(side: int, index: int, wide: float, length: float, stride: float) -> Shape:
    angle = (0.0, 0.3, 0.6, 0.9)[index]
    knee = (side * (wide * 0.8 + length * 0.6 * math.cos(angle)), -0.06 + 0.1 * index + 0.2 * stride)
    foot = (side * (wide * 0.8 + length * math.cos(angle) + 0.04), 0.12 + length * (0.35 + 0.5 * math.sin(angle)))
    return limb("leg", [(side * wide * 0.7, 0.05), knee, foot], (0.1, 0.075, 0.03), 0.7 if index % 2 else 1.0)


def _edge(style: int, wide: float, tall: float) -> list[Shape]:
    match style:
        case 0:  # a thorn on each side
            half = [(wide * 0.8, -tall * 0.5), (wide + 0.28, -tall * 0.7), (wide * 0.85, tall * 0.3)]
            return [polygon("tail", [(side * x, y) for x, y in half]) for side in _SIDES]
        case 1:  # a hump
            return [ellipse("tail", (0.0, -tall * 0.75), (wide * 0.6, tall * 0.75))]
        case 2:  # teeth
            base, tip = -tall * 0.6, -tall - 0.24
            return [polygon("tail", [(x - 0.09, base), (x, tip), (x + 0.09, base)]) for x in (-0.3, 0.0, 0.3)]
        case 3:  # a skirt
            return [ellipse("tail", (0.0, tall * 0.5), (wide * 1.12, tall * 0.75))]
        case _:  # lobes
            return [ellipse("tail", (side * wide * 0.85, -tall * 0.55), (0.2, 0.16)) for side in _SIDES]


def _arm(style: int, side: int, wide: float, pose: Pose) -> list[Shape]:
    """Return one arm and its claw. In style 1 one claw is giant and the other small."""
    x, y = hand = (side * (wide * 0.72 + 0.2), -(0.25 + 0.3 * pose.head_lift))
    size = 0.16 * pose.ornament_factor * ({-1: 0.5, 1: 1.6}[side] if style == 1 else 1.0)
    arm = limb("ornament", [(side * wide * 0.7, 0.05), (side * (wide + 0.12), 0.02), hand], (0.1, 0.1, 0.08))
    match style:
        case 0 | 1:  # pincers
            paths = [[hand, (x + dx, y - size), (x + 0.3 * dx, y - 1.9 * size)] for dx in (-0.9 * size, 0.9 * size)]
            fingers = [limb("ornament", path, (0.12, 0.1, 0.03)) for path in paths]
            return [arm, ellipse("ornament", hand, (size * 0.9, size * 0.8)), *fingers]
        case 2:  # paddles
            return [arm, ellipse("ornament", hand, (size * 0.8, size * 1.7), side * 0.4)]
        case 3:  # forceps
            tips = [(x + dx, y - 0.42 * pose.ornament_factor) for dx in (-0.1, 0.1)]
            return [arm, *(limb("ornament", [hand, tip], (0.08, 0.03)) for tip in tips)]
        case _:  # hammers
            return [arm, ellipse("ornament", (x, y - 0.05), (size * 1.5, size * 0.7))]
