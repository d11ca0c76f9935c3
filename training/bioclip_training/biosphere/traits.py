"""The looks of an animal as numbers and styles, and their drift from an ancestor to its descendants."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bioclip_core.taxonomy import Rank

PLANS = ("quadruped", "bird", "hexapod", "lizard", "shell", "crab")
"""Body plans; a class has one. ``bodies`` has the drawings."""

PATTERNS = ("bars", "spots", "stripes", "saddle", "rings", "halves", "net", "chevrons")
ACCENTS = ("none", "head", "tail", "leg", "belly")
"""Part with the colour of the marks instead of the coat's."""

STYLES = 5
"""Number of kinds of tail, and of head ornament, of each body plan."""

PROPORTIONS = ("girth", "legs", "neck", "head", "tail")
_STEP = {Rank.ORDER: 0.30, Rank.FAMILY: 0.22, Rank.GENUS: 0.06, Rank.SPECIES: 0.04}
# Marks by tone: an almost black, an almost white and a bright one stay apart at 64 pixels; the first two in infrared too.
TONES = ("dark", "pale", "bright")


@dataclass(frozen=True, slots=True)
class Traits:
    """The looks of one taxon, from which the looks of its descendants start."""

    plan: str
    """One of ``PLANS``; set by the class."""
    proportions: tuple[float, ...]
    """Girth, legs, neck, head and tail, each from 0 to 1; drift at every rank."""
    hue: float
    """Hue of the coat, in turns (0 to 1, red at 0); set apart by order and family."""
    lightness: float
    """Lightness of the coat, 0 to 1."""
    tail_style: int = 0
    """0 to ``STYLES`` - 1; set by the family."""
    ornament_style: int = 0
    """Style of the head's ornament, likewise."""
    pattern: str = "bars"
    """One of ``PATTERNS``; set by the genus."""
    pattern_count: int = 5
    """Number of bars, or of spots in a row."""
    tone: str = "dark"
    """One of ``TONES``: the colour of the marks; set by the species."""
    accent: str = "none"
    """One of ``ACCENTS``; set by the species."""

    def proportion(self, name: str) -> float:
        return self.proportions[PROPORTIONS.index(name)]

    def drifted(self, rank: Rank, rng: np.random.Generator) -> Traits:
        """Return a descendant at ``rank`` before anything is set apart: proportions and colour are a step away."""
        step = _STEP[rank]
        moved = np.clip(np.asarray(self.proportions) + rng.normal(0, step, len(self.proportions)), 0, 1)
        lightness = float(np.clip(self.lightness + rng.normal(0, step / 6), 0.3, 0.68))
        return replace(self, proportions=tuple(float(value) for value in moved), lightness=lightness)


def founder(plan: str, hue: float, rng: np.random.Generator) -> Traits:
    """Return the first animal of a class."""
    return Traits(plan, tuple(float(value) for value in rng.uniform(0.25, 0.75, len(PROPORTIONS))), hue % 1.0, 0.5)


def family_traits(parent: Traits, index: int, hue: float, rng: np.random.Generator) -> Traits:
    """Return the ``index``-th family of a class: tail, ornament and lightness differ from its neighbours', the hue is given."""
    return replace(
        parent.drifted(Rank.FAMILY, rng),
        hue=hue % 1.0,
        lightness=(0.36, 0.6, 0.48)[index % 3] + float(rng.uniform(-0.03, 0.03)),
        tail_style=index % STYLES,
        ornament_style=(2 * index + index // STYLES) % STYLES,
    )


def genus_traits(parent: Traits, index: int, offset: int, rng: np.random.Generator) -> Traits:
    """Return the ``index``-th genus of a family, with another pattern than its sisters."""
    moved = parent.drifted(Rank.GENUS, rng)
    return replace(
        moved,
        hue=(moved.hue + float(rng.uniform(-0.02, 0.02))) % 1.0,
        pattern=PATTERNS[(offset + 3 * index) % len(PATTERNS)],
    )


def species_traits(parent: Traits, index: int, offset: int, rng: np.random.Generator) -> Traits:
    """Return the ``index``-th species of a genus, with another tone and accent than its sisters (character displacement)."""
    moved = parent.drifted(Rank.SPECIES, rng)
    place = offset + index
    return replace(
        moved,
        hue=(moved.hue + float(rng.uniform(-0.015, 0.015))) % 1.0,
        tone=TONES[place % len(TONES)],
        accent=ACCENTS[place % len(ACCENTS)],
        pattern_count=(4, 7)[(place // 2) % 2],
    )
