"""How one individual stands and how old it is: everything about a body that is not its species."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LIFE_STAGES = ("adult", "juvenile")
SEXES = ("female", "male")


@dataclass(frozen=True, slots=True)
class Pose:
    """One individual at one moment. Lengths are in the animal's own unit, about the length of its trunk."""

    life_stage: str
    sex: str
    stride: float
    """How far the near hind foot is in front of its hip; the others follow."""
    head_lift: float
    """Radians that the neck is raised above its resting angle."""
    tail_wave: float
    """How far the tail's end is off its resting place."""
    lean: float
    """Radians that the whole animal is turned in the picture."""

    @property
    def head_factor(self) -> float:
        return 1.2 if self.life_stage == "juvenile" else 1.0

    @property
    def leg_factor(self) -> float:
        return 0.85 if self.life_stage == "juvenile" else 1.0

    @property
    def ornament_factor(self) -> float:
        """Horns, crests and claws are the males'; the young have small ones."""
        return (0.75 if self.life_stage == "juvenile" else 1.0) * (1.15 if self.sex == "male" else 0.9)

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Pose:
        """Life stage and sex are drawn independently of the species and of each other; one in four is young."""
        return cls(
            life_stage="juvenile" if rng.random() < 0.25 else "adult",
            sex=SEXES[int(rng.integers(2))],
            stride=float(rng.uniform(-0.12, 0.12)),
            head_lift=float(rng.uniform(-0.25, 0.2)),
            tail_wave=float(rng.uniform(-0.15, 0.15)),
            lean=float(rng.normal(0, 0.06)),
        )
