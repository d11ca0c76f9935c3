"""Question 3: many species with few plates against few species with many, at an equal number of plates."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.questions.cells import Cell, Collection, plates_of
from benchmarks.questions.figures import Sample, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.sizes import Size
from bioclip_core.taxonomy import Rank

_SPREADS = {"quarter": 4, "half": 2, "all": 1}
"""Every how manyth seen species; the plates of each grow as the species get fewer."""


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    """All as many plates as half the seen species have at the world's number: 12, 24 and 48 of each for 24."""
    cells = {}
    for name, step in _SPREADS.items():
        species = plates_of(size, seed).seen[::step]
        cells[name] = Cell(seed, Collection(f"spread-{name}", species, max(1, size.plates * step // 2)))
    return cells


def _report(answers: Answers) -> str:
    rows = []
    names = [name for name in _SPREADS if answers.has(name)]
    for name in names:
        world = answers.worlds[0]
        species = len(world.plates.seen[:: _SPREADS[name]])
        row = [f"{species} × {max(1, answers.size.plates * _SPREADS[name] // 2)}"]
        row += [percent(answers.joined(lambda world, name=name: _common(world, name)))]  # type: ignore[misc]
        row += [
            percent(answers.joined(lambda world, name=name, rank=rank: _unseen(world, name, rank)))  # type: ignore[misc]
            for rank in _RANKS
        ]
        rows.append(row)
    parts = [table(["species × plates", "species that all have", *(f"unseen: {rank}" for rank in _RANKS)], rows)]
    if {"quarter", "all"} <= set(names):
        parts += ["", "The lead of most species over fewest:", ""]
        lead = [points(answers.joined(lambda world: _common(world, "all").minus(_common(world, "quarter"))))]
        for rank in _RANKS:
            lead.append(
                points(
                    answers.joined(
                        lambda world, rank=rank: _unseen(world, "all", rank).minus(_unseen(world, "quarter", rank))  # type: ignore[misc]
                    )
                )
            )
        parts += [table(["species that all have", *(f"unseen: {rank}" for rank in _RANKS)], [lead])]
    return "\n".join(parts)


_RANKS = (Rank.GENUS, Rank.FAMILY, Rank.CLASS)


def _common(world: Answered, name: str) -> Sample:
    """Species that every collection has, among the labels of all."""
    return world.hits(name, of=world.plates.seen[:: _SPREADS["quarter"]])


def _unseen(world: Answered, name: str, rank: Rank) -> Sample:
    return world.hits(name, of=world.plates.unseen, rank=rank)


QUESTION = Question("diversity", "More species or more images of each?", _cells, _report)
