"""Cells that several questions share: models of all seen species, by the captions that they were trained on."""

from __future__ import annotations

from typing import Any

from benchmarks.questions.cells import CAPTIONS, Cell, Collection, plates_of
from benchmarks.questions.sizes import Size

MIXTURE = "mixture"


def all_seen(size: Size, seed: int) -> Collection:
    """Return the collection of every seen species, with the world's number of plates."""
    return Collection("seen", plates_of(size, seed).seen)


def trained_on(size: Size, seed: int, captions: str, **changes: Any) -> Cell:
    """Return the cell of all seen species, trained on one caption or the mixture of the recipe."""
    mix = {} if captions == MIXTURE else {"captions": {captions: 1.0}}
    return Cell(seed, all_seen(size, seed), {**mix, **changes})


def by_caption(size: Size, seed: int) -> dict[str, Cell]:
    """Return one cell per caption, with the mixture first because other questions need it."""
    return {name: trained_on(size, seed, name) for name in (MIXTURE, *(kind.value for kind in CAPTIONS))}
