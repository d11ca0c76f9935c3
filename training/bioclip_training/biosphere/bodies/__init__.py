"""Body plans: the outlines of an animal from its traits and its pose, one module per plan.

Each plan draws five kinds of tail and five of ornament (``traits.STYLES``), by the style's number.
"""

from __future__ import annotations

from collections.abc import Callable

from bioclip_training.biosphere.bodies import bird, crab, hexapod, lizard, quadruped, shell
from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.shapes import Shape
from bioclip_training.biosphere.traits import Traits

_PLANS: dict[str, Callable[[Traits, Pose], list[Shape]]] = {
    "quadruped": quadruped.outline,
    "bird": bird.outline,
    "hexapod": hexapod.outline,
    "lizard": lizard.outline,
    "shell": shell.outline,
    "crab": crab.outline,
}


def outline(traits: Traits, pose: Pose) -> list[Shape]:
    """Return the animal's shapes from back to front, in its own coordinates: its trunk, about one unit long, lies around (0, 0)."""
    return _PLANS[traits.plan](traits, pose)
