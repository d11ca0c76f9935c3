"""Question 2: taxonomic names against scientific names alone, to see if ranks in a caption help with genus, family and new species."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.questions.cells import Cell
from benchmarks.questions.figures import Sample, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.shared_cells import trained_on
from benchmarks.questions.sizes import Size
from bioclip_core.taxonomy import Rank

_NAMES = ("taxonomic", "scientific")
_RANKS = (Rank.SPECIES, Rank.GENUS, Rank.FAMILY, Rank.ORDER, Rank.CLASS)


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    return {name: trained_on(size, seed, name) for name in _NAMES}


def _report(answers: Answers) -> str:
    if not answers.has(*_NAMES):
        return "Both models are needed; train the missing cells first."
    parts = []
    for what in ("seen", "unseen"):
        rows = []
        for rank in _RANKS:
            taxonomic, scientific = (answers.joined(_sampler(name, what, rank)) for name in _NAMES)
            rows.append([rank.value, percent(taxonomic), percent(scientific), points(taxonomic.minus(scientific))])
        parts += [
            f"{what.capitalize()} species, among the labels of all species; each model is tested with the kind of name that it "
            "was trained on:",
            "",
        ]
        parts += [table(["correct down to", "taxonomic", "scientific", "difference"], rows), ""]
    return "\n".join(parts).rstrip()


def _sampler(name: str, what: str, rank: Rank) -> Callable[[Answered], Sample]:
    """Sample the species in ``what`` (``seen`` or ``unseen``)."""
    return lambda world: world.hits(name, of=getattr(world.plates, what), rank=rank, caption=name)


QUESTION = Question("names", "Do the ranks above the genus belong in a caption?", _cells, _report)
