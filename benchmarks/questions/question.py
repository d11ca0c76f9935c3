"""Questions: the cells that each needs from every world, and the tables made from them."""

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
    """Outcomes of one world, by the names of the cells within the question."""

    plates: Plates
    outcomes: Mapping[str, Outcome]

    def hits(
        self, cell: str, *, of: Sequence[int], rank: Rank = Rank.SPECIES, caption: str = "taxonomic", labels: str = "all"
    ) -> Sample:  # fmt: skip
        """Compare the answers of a cell with the truth at a rank, for the plates of the species in ``of``."""
        answers_N = self.outcomes[cell].species_N(caption, labels)
        return hits(answers_N, truth_N(self.plates), self.plates.taxa, rank, of)


@dataclass(frozen=True, slots=True)
class Answers:
    """Worlds with at least one trained cell of a question, with the cells that all of these worlds have."""

    worlds: tuple[Answered, ...]
    missing: tuple[str, ...]
    """Cells that are not counted, since they are not trained in every world."""
    size: Size

    def has(self, *cells: str) -> bool:
        return bool(self.worlds) and all(cell in world.outcomes for cell in cells for world in self.worlds)

    def joined(self, sample: Callable[[Answered], Sample]) -> Sample:
        """Return the samples of every world, joined."""
        return joined([sample(world) for world in self.worlds])


@dataclass(frozen=True, slots=True)
class Question:
    """One experiment."""

    name: str
    asks: str
    cells: Callable[[Size, int], Mapping[str, Cell]]
    """Function from a size and the seed of a world to cells by name."""
    report: Callable[[Answers], str]


def gather(question: Question, study: Study, seeds: Sequence[int]) -> Answers:
    """Return the outcomes of a question's cells, trained if the study may train. A cell counts only if every world has it."""
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
