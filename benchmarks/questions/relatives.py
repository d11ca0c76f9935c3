"""Question 4: zero-shot answers on unseen species, by the distance of the nearest seen relative."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.questions.cells import Cell
from benchmarks.questions.figures import Sample, percent, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.shared_cells import MIXTURE, trained_on
from benchmarks.questions.sizes import Size
from bioclip_core.taxonomy import Rank

_NEAREST = (Rank.GENUS, Rank.FAMILY, Rank.ORDER, Rank.CLASS)
RANKS = (Rank.SPECIES, Rank.GENUS, Rank.FAMILY, Rank.ORDER, Rank.CLASS)


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    return {MIXTURE: trained_on(size, seed, MIXTURE)}


def _report(answers: Answers) -> str:
    if not answers.has(MIXTURE):
        return "The model is needed; train the missing cell first."
    parts = []
    for labels, what in (("all", "the labels of all species"), ("untrained", "the labels of unseen species alone")):
        rows = []
        for nearest in _NEAREST:
            count = sum(len(_species(world, nearest)) for world in answers.worlds)
            if not count:
                continue
            row = [f"{nearest.value} ({count} species)"]
            row += [percent(answers.joined(_sampler(nearest, rank, labels))) for rank in RANKS]
            rows.append(row)
        parts += [f"Among {what} (chance for a species: {_chance(answers, labels)}):", ""]
        parts += [table(["nearest seen relative shares the", *(f"{rank} correct" for rank in RANKS)], rows), ""]
    return "\n".join(parts).rstrip()


def _sampler(nearest: Rank, rank: Rank, labels: str) -> Callable[[Answered], Sample]:
    """Sample answers to ranks and common name together: a common name says something about looks, a new epithet does not."""

    def sample(world: Answered) -> Sample:
        return world.hits(MIXTURE, of=_species(world, nearest), rank=rank, caption="taxonomic_common", labels=labels)

    return sample


def _species(world: Answered, nearest: Rank) -> list[int]:
    return [index for index in world.plates.unseen if world.plates.nearest_seen(index) is nearest]


def _chance(answers: Answers, labels: str) -> str:
    plates = answers.worlds[0].plates
    return f"{100 / (len(plates.taxa) if labels == 'all' else len(plates.unseen)):.1f}%"


QUESTION = Question("relatives", "How far does a model see beyond its species?", _cells, _report)
