"""Question 3: many species with few plates against few species with many, at an equal number of plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
        cells[name] = Cell(seed, Collection(f"spread-{name}", species, _plates(size, step)))
    return cells


def _report(answers: Answers) -> str:
    names = [name for name in _SPREADS if answers.has(name)]
    rows = [
        [_described(answers, name), *(percent(answers.joined(test(name))) for test in _TESTS.values())]
        for name in names
    ]
    parts = [table(["species × plates", *_TESTS], rows)]
    if {"quarter", "all"} <= set(names):
        lead = [points(answers.joined(_lead(test))) for test in _TESTS.values()]
        parts += ["", "The lead of most species over fewest, in points:", "", table([*_TESTS], [lead])]
    return "\n".join(parts)


Test = Callable[[str], Callable[[Answered], Sample]]
"""Of a cell's name."""


def _common(name: str) -> Callable[[Answered], Sample]:
    """Species that every collection has, among the labels of all."""
    return lambda world: world.hits(name, of=world.plates.seen[:: _SPREADS["quarter"]])


def _unseen(rank: Rank) -> Test:
    """Species that no collection has, right down to a rank."""
    return lambda name: lambda world: world.hits(name, of=world.plates.unseen, rank=rank)


_TESTS: Mapping[str, Test] = {
    "species that all have": _common,
    **{f"unseen: {rank}": _unseen(rank) for rank in (Rank.GENUS, Rank.FAMILY, Rank.CLASS)},
}


def _lead(test: Test) -> Callable[[Answered], Sample]:
    return lambda world: test("all")(world).minus(test("quarter")(world))


def _described(answers: Answers, name: str) -> str:
    step = _SPREADS[name]
    return f"{len(answers.worlds[0].plates.seen[::step])} × {_plates(answers.size, step)}"


def _plates(size: Size, step: int) -> int:
    """Of each species, where every ``step``-th is taken: as many in all as half of the seen species would have."""
    return max(1, size.plates * step // 2)


QUESTION = Question("diversity", "More species or more images of each?", _cells, _report)
