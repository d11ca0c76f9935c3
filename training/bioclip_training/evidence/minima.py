"""Minima of independent groups: the fewest that show a difference, and the fewest that anything is chosen on; with their sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FEWEST_TO_DIFFER = 6
"""Groups that must change, all for the better, before a difference is more than chance: with five a sign test gives 2 × 0.5⁵ = 6%,
with six 3%."""
FEWEST_TO_CHOOSE = 20
"""Groups below which nothing is chosen on a part (step, interpolation, temperature): with 20, the standard error of an accuracy is up
to 11 points, and only differences of 30 points are more than chance; the best of several candidates is then the luckiest one."""

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Evidence:
    """The images of a part, and their independent groups."""

    part: str
    """Its word, for messages: dev, val."""
    images: int
    groups: int
    effective: float
    """Number of equally large groups that show as much: unequal ones show less."""

    @classmethod
    def of(cls, part: str, groups: Sequence[Any]) -> Evidence:
        """Count a part.

        Args:
            part: its word.
            groups: the group of each image.
        """
        return cls(part, len(groups), len(set(groups)), round(effective_groups(groups), 6))

    @property
    def can_choose(self) -> bool:
        """True if the groups are enough to choose between candidates on them."""
        return self.effective >= FEWEST_TO_CHOOSE - _ROUNDING

    @property
    def smallest_difference(self) -> float | None:
        """The smallest difference of two models on these images that is more than chance: six groups, as a share of all.

        None if even a difference of 100 points can be chance. It holds for groups that are right or wrong as a whole; the images
        of many groups that change in part show less than that.
        """
        return FEWEST_TO_DIFFER / self.effective if self.effective >= FEWEST_TO_DIFFER - _ROUNDING else None

    @property
    def is_unequal(self) -> bool:
        """True if the groups' sizes differ so much that they show clearly less than their number says."""
        return self.effective < 0.9 * self.groups

    @property
    def rule(self) -> str:
        """The way in which the weights of a training run are decided with this part, as a sentence."""
        if not self.images:
            return f"no {self.part} images: the last step of the schedule is kept, without interpolation, unmeasured"
        if self.can_choose:
            return f"step and interpolation are chosen on {self.part} ({self.counted})"
        return f"{self.too_few}: nothing is chosen on it; the last step of the schedule is kept, without interpolation"

    @property
    def too_few(self) -> str:
        """The number of groups beside the number that a choice needs, for parts that cannot choose."""
        if self.groups < FEWEST_TO_CHOOSE:
            return f"fewer than {FEWEST_TO_CHOOSE} independent groups in {self.part} ({self.counted}{self.unequal})"
        return (
            f"the groups of {self.part} are too unequal ({self.counted}{self.unequal}; a choice needs as many as {FEWEST_TO_CHOOSE} equal "
            "ones)"
        )

    @property
    def unequal(self) -> str:
        """The number of equal groups that unequal ones count as, to follow their number; empty for nearly equal ones."""
        if not self.is_unequal and self.can_choose == (self.groups >= FEWEST_TO_CHOOSE):
            return ""
        shown = self.effective if self.can_choose else min(self.effective, FEWEST_TO_CHOOSE - 0.1)  # 19.97 is not 20.0
        return f", which count as {shown:.1f} equal ones"

    @property
    def counted(self) -> str:
        """Number of images and groups, for a sentence: "12 images in 3 groups"."""
        return counted(self.images, self.groups)

    @property
    def shows(self) -> str:
        """What a comparison of two models on these images can show, as a sentence."""
        if not self.images:
            return f"{self.part}: no images, so nothing can be measured on it"
        if self.groups == 1:
            return f"{self.part}: {self.counted}: a single observation, without an interval; no difference of two models can be seen"
        smallest = self.smallest_difference
        if smallest is None:
            return (
                f"{self.part}: {self.counted}{self.unequal}: no difference of two models can be seen, however large "
                f"(that takes {FEWEST_TO_DIFFER} groups)"
            )
        rule = f"as a rule of thumb, differences under {100 * smallest:.0f} points cannot be seen"
        return f"{self.part}: {self.counted}{self.unequal}: {rule}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "part": self.part, "images": self.images, "groups": self.groups, "effective_groups": self.effective,
            "smallest_difference": self.smallest_difference, "shows": self.shows,
            "can_choose": self.can_choose, "fewest_to_choose": FEWEST_TO_CHOOSE,
        }  # fmt: skip


def effective_groups(groups: Sequence[Any]) -> float:
    """Return the number of equally large groups that show as much as these (Kish 1965); 0 without images.

    Args:
        groups: the group of each image.
    """
    sizes = Counter(groups).values()
    return len(groups) ** 2 / sum(size * size for size in sizes) if sizes else 0.0


def counted(images: int, groups: int | None) -> str:
    """Return a number of images and their groups, as every figure carries it: "1 image of 1 group", "12 images in 3 groups"."""
    text = f"{images} image{'' if images == 1 else 's'}"
    if groups is None:
        return text
    return f"{text} of 1 group" if groups == 1 else f"{text} in {groups} groups"
