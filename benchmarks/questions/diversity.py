"""Question 3: many species with few plates each against few species with many, with the same number of plates in all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.questions.cells import Cell, Collection, plates_of
from benchmarks.questions.figures import Sample, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.sizes import Size
from bioclip_core.taxonomy import Rank

_SPREADS = {"quarter": 4, "half": 2, "all": 1}
"""Step between the seen species that are taken. The fewer species, the more plates of each."""


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    """Return one cell per spread, all with the same number of plates: 12, 24 and 48 per species if the world has 24."""
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
        parts += ["", "Lead of the most species over the fewest, in percentage points:", "", table([*_TESTS], [lead])]
    return "\n".join(parts)


Test = Callable[[str], Callable[[Answered], Sample]]
"""Function from the name of a cell to its sample in a world."""


def _common(name: str) -> Callable[[Answered], Sample]:
    """Sample the species that are in every collection, among the labels of all."""
    return lambda world: world.hits(name, of=world.plates.seen[:: _SPREADS["quarter"]])


def _unseen(rank: Rank) -> Test:
    """Sample the species that are in none of the collections, correct down to a rank."""
    return lambda name: lambda world: world.hits(name, of=world.plates.unseen, rank=rank)


_TESTS: Mapping[str, Test] = {
    "species in all collections": _common,
    **{f"unseen: {rank}": _unseen(rank) for rank in (Rank.GENUS, Rank.FAMILY, Rank.CLASS)},
}


def _lead(test: Test) -> Callable[[Answered], Sample]:
    return lambda world: test("all")(world).minus(test("quarter")(world))


def _described(answers: Answers, name: str) -> str:
    step = _SPREADS[name]
    return f"{len(answers.worlds[0].plates.seen[::step])} × {_plates(answers.size, step)}"


def _plates(size: Size, step: int) -> int:
    """Return the plates per species if every ``step``-th species is taken: in all as many as half of the seen species have."""
    return max(1, size.plates * step // 2)


QUESTION = Question("diversity", "More species or more images of each?", _cells, _report)
