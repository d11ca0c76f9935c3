"""Shelled animals: a creeping foot under a shell; the shell's form and the eye stalks by style."""

from __future__ import annotations

import math

from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Point, Shape, ellipse, limb, polygon
from bioclip_training.biosphere.traits import Traits

_RIM = ellipse("belly", (-0.08, 0.14), (0.46, 0.09))


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return a snail-like animal, seen from its right side."""
    head = (0.1 + 0.05 * traits.proportion("head")) * pose.head_factor
    raised = 0.1 + 0.22 * traits.proportion("neck") + 0.1 * pose.head_lift
    head_at = (0.62, 0.12 - raised)
    foot = [(-0.66 - 0.3 * traits.proportion("tail"), 0.26), (-0.2, 0.2), (0.42, 0.2), head_at]
    reach = (0.2 + 0.12 * traits.proportion("legs")) * pose.ornament_factor
    return [
        *_ornament(traits.ornament_style, head_at, head, reach, pose.ornament_factor),
        limb("leg", foot, (0.04, 0.2, 0.2, head * 1.8)),
        ellipse("head", head_at, (head * 1.15, head)),
        *_shell(traits.tail_style, 0.34 + 0.2 * traits.proportion("girth")),
        ellipse("eye", (head_at[0] + head * 0.45, head_at[1] - head * 0.1), (head * 0.2, head * 0.2)),
    ]


def _shell(style: int, tall: float) -> list[Shape]:
    match style:
        case 0:  # a flat coil
            turns = ((0.5, 0.3), (1.8, 0.24), (3.1, 0.2), (4.4, 0.15), (5.7, 0.1), (7.0, 0.05))
            coil = [(-0.1 + radius * math.cos(turn), -0.1 + radius * math.sin(turn)) for turn, radius in turns]
            return [_RIM, ellipse("body", (-0.1, -0.1), (0.42, tall * 0.85)), limb("tail", coil, (0.05, 0.09, 0.1))]
        case 1:  # a spire
            whole = [(0.36, 0.16), (0.26, -0.12), (-0.42, -0.28 - tall), (-0.5, 0.16)]
            tip = [(-0.06, -0.19 - 0.45 * tall), (-0.42, -0.28 - tall), (-0.46, -0.06 - 0.5 * tall)]
            return [_RIM, polygon("body", whole), polygon("tail", tip)]
        case 2:  # a low dome
            dome = ellipse("body", (-0.08, 0.05), (0.52, tall * 0.8))
            return [dome, _RIM, ellipse("tail", (-0.08, 0.05 - tall * 0.72), (0.16, 0.09))]
        case 3:  # a dome with spikes
            spikes = [_spike(turn, tall) for turn in (0.6, 1.2, 1.9, 2.5)]
            return [*spikes, ellipse("body", (-0.08, 0.0), (0.44, tall * 0.75)), _RIM]
        case _:  # an upright fan
            angles = (0.35, 0.8, 1.2, 1.57, 1.95, 2.35, 2.8)
            edge = [(-0.08 + 0.56 * math.cos(turn), 0.14 - (tall + 0.3) * math.sin(turn)) for turn in angles]
            fan = polygon("body", [(0.1, 0.16), *edge, (-0.28, 0.16)])
            return [fan, _RIM, ellipse("tail", (-0.08, 0.08), (0.18, 0.12))]


def _spike(turn: float, tall: float) -> Shape:
    before, after = ((-0.08 + 0.36 * math.cos(side), -0.3 * math.sin(side)) for side in (turn - 0.25, turn + 0.25))
    return polygon("tail", [before, (-0.08 + 0.68 * math.cos(turn), -(tall + 0.2) * math.sin(turn)), after])


def _ornament(style: int, at: Point, head: float, reach: float, factor: float) -> list[Shape]:
    x, y = at
    match style:
        case 0:  # knobs on stalks
            tips = ((x + 0.02, y - head - reach), (x + 0.2, y - head - reach * 0.8))
            stalks = [
                (limb("ornament", [at, tip], (0.045, 0.04)), ellipse("ornament", tip, (0.05, 0.05))) for tip in tips
            ]
            return [shape for stalk in stalks for shape in stalk]
        case 1:  # a trunk
            path = [at, (x + 0.22, y - 0.02), (x + 0.26 + reach * 0.4, y + 0.16)]
            return [limb("ornament", path, (0.13, 0.1, 0.06))]
        case 2:  # a ball on a stalk
            tip = (x + 0.1, y - head - reach * 1.1)
            return [limb("ornament", [at, tip], (0.09, 0.07)), ellipse("ornament", tip, (0.1, 0.1))]
        case 3:  # a beard
            paths = [
                [(x + 0.05, y), (x + 0.2, y + dy), (x + 0.16 + reach * 0.6, y + 1.6 * dy)] for dy in (-0.1, 0.03, 0.13)
            ]
            return [limb("ornament", path, (0.05, 0.04, 0.02)) for path in paths]
        case _:  # a veil
            edge = [(x + 0.02, y - head - reach), (x + 0.3 * factor, y - head - reach * 0.7)]
            return [polygon("ornament", [(x - 0.1, y), *edge, (x + 0.1, y)])]
