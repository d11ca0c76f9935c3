"""What a question is: the cells that it needs of each world, and the tables that they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.questions.cells import Cell, Outcome, Study, plates_of, truth_N
from benchmarks.questions.figures import Sample, hits, joined
from benchmarks.questions.sizes import Size
from benchmarks.questions.world import Plates
from bioclip_core.taxonomy import Rank


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcomes of one world, by the cells' names within the question."""

    plates: Plates
    outcomes: Mapping[str, Outcome]

    def hits(
        self, cell: str, *, of: Sequence[int], rank: Rank = Rank.SPECIES, caption: str = "taxonomic", labels: str = "all"
    ) -> Sample:  # fmt: skip
        """Whether the answers of a cell are right at a rank, of the plates of some species."""
        answers_N = self.outcomes[cell].species_N(caption, labels)
        return hits(answers_N, truth_N(self.plates), self.plates.taxa, rank, of)


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of a question: the worlds in which at least one cell is there, and the cells that all of these have."""

    worlds: tuple[Answered, ...]
    missing: tuple[str, ...]
    """Cells that could not be counted since they are not trained in every world."""
    size: Size

    def has(self, *cells: str) -> bool:
        return bool(self.worlds) and all(cell in world.outcomes for cell in cells for world in self.worlds)

    def joined(self, sample: Callable[[Answered], Sample]) -> Sample:
        """A sample of every world, as one."""
        return joined([sample(world) for world in self.worlds])


@dataclass(frozen=True, slots=True)
class Question:
    """One experiment."""

    name: str
    asks: str
    cells: Callable[[Size, int], Mapping[str, Cell]]
    """Of a world's seed, by name."""
    report: Callable[[Answers], str]


def gather(question: Question, study: Study, seeds: Sequence[int]) -> Answers:
    """The outcomes of a question's cells, trained where the study may; cells that only some worlds have are left out."""
    found: list[tuple[Plates, dict[str, Outcome]]] = []
    missing: set[str] = set()
    for seed in seeds:
        cells = question.cells(study.size, seed)
        outcomes = {name: outcome for name, cell in cells.items() if (outcome := study.outcome(cell)) is not None}
        missing |= set(cells) - set(outcomes)
        if outcomes:
            found.append((plates_of(study.size, seed), outcomes))
    common = set.intersection(*(set(outcomes) for _, outcomes in found)) if found else set()
    worlds = tuple(
        Answered(plates, {name: outcomes[name] for name in outcomes if name in common}) for plates, outcomes in found
    )
    return Answers(worlds, tuple(sorted(missing)), study.size)
