"""Body plans: the outlines of an animal from its traits and its pose, one module a plan.

Each plan has a tuple of functions for its tail's styles and one for its ornaments', five in each (``traits.STYLES``). All
functions of a tuple are called alike; an argument that one of them has no use for begins with an underscore.
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
    """The animal's shapes from back to front, in its own coordinates: its trunk is about one unit long and lies around (0, 0)."""
    return _PLANS[traits.plan](traits, pose)
