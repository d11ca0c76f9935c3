"""Question 5: ``clip`` against ``taxon`` loss at several label counts; the fewer labels, the more captions of a batch are equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.questions.cells import Cell, Collection, plates_of
from benchmarks.questions.figures import Sample, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.shared_cells import all_seen
from benchmarks.questions.sizes import Size

_LOSSES = ("taxon", "clip")


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    """Many labels first; the ``taxon`` model of all seen species is the mixture of other questions, since it is the recipe's loss."""
    cells = {}
    for count in reversed(size.label_counts):
        species = plates_of(size, seed).seen[:count]
        collection = (
            Collection(f"first-{count}", species) if count < len(plates_of(size, seed).seen) else all_seen(size, seed)
        )
        for loss in _LOSSES:
            cells[f"{loss} {count}"] = Cell(seed, collection, {} if loss == "taxon" else {"loss": loss})
    return cells


def _report(answers: Answers) -> str:
    rows = []
    for count in answers.size.label_counts:
        if not answers.has(*(f"{loss} {count}" for loss in _LOSSES)):
            continue
        taxon, clip = (answers.joined(_sampler(loss, count)) for loss in _LOSSES)
        rows.append([str(count), _duplicates(answers, count), percent(taxon), percent(clip), points(taxon.minus(clip))])
    return "\n".join(
        [
            "Top-1 species among the labels trained on (taxonomic captions; trained on the mixture of captions):",
            "",
            table(["labels", "repeated captions in a batch", "taxon", "clip", "difference"], rows),
        ]
    )


def _sampler(loss: str, count: int) -> Callable[[Answered], Sample]:
    return lambda world: world.hits(f"{loss} {count}", of=world.plates.seen[:count], labels="trained")


def _duplicates(answers: Answers, count: int) -> str:
    shares = [float(world.outcomes[f"clip {count}"].facts["duplicate_captions"]) for world in answers.worlds]
    return f"{100 * sum(shares) / len(shares):.0f}%"


QUESTION = Question("losses", "What does it cost to count equal taxa as negatives?", _cells, _report)
