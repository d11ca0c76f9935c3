"""The pose and the age of one individual: everything about a body except its species."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SEXES = ("female", "male")


@dataclass(frozen=True, slots=True)
class Pose:
    """One individual at one moment. Lengths are in the animal's own unit, about the length of its trunk."""

    life_stage: str
    sex: str
    stride: float
    """Distance of the near hind foot in front of its hip; the others follow."""
    head_lift: float
    """Angle of the neck above its resting angle, in radians."""
    tail_wave: float
    """Distance of the tail's end from its resting place."""
    lean: float
    """Rotation of the whole animal in the picture, in radians."""

    @property
    def head_factor(self) -> float:
        return 1.2 if self.life_stage == "juvenile" else 1.0

    @property
    def leg_factor(self) -> float:
        return 0.85 if self.life_stage == "juvenile" else 1.0

    @property
    def ornament_factor(self) -> float:
        """Factor of horns, crests and claws: larger in males, small in juveniles."""
        return (0.75 if self.life_stage == "juvenile" else 1.0) * (1.15 if self.sex == "male" else 0.9)

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Pose:
        """Draw life stage and sex independently of the species and of each other; one in four is a juvenile."""
        return cls(
            life_stage="juvenile" if rng.random() < 0.25 else "adult",
            sex=SEXES[int(rng.integers(2))],
            stride=float(rng.uniform(-0.12, 0.12)),
            head_lift=float(rng.uniform(-0.25, 0.2)),
            tail_wave=float(rng.uniform(-0.15, 0.15)),
            lean=float(rng.normal(0, 0.06)),
        )
