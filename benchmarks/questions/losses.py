"""Question 5: ``clip`` against ``taxon`` loss at several label counts. With fewer labels, more captions of a batch are equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.questions.cells import Cell, Collection, plates_of
from benchmarks.questions.figures import Sample, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.shared_cells import all_seen
from benchmarks.questions.sizes import Size

_LOSSES = ("taxon", "clip")


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    """Return whole runs with the most labels first, then runs of half the steps, since few labels are learnt soon with any loss.

    The ``taxon`` model of all seen species is the ``mixture`` cell of other questions, since ``taxon`` is the recipe's loss.
    """
    seen = plates_of(size, seed).seen
    cells = {}
    for share in _SHARES:
        for count in reversed(size.label_counts):
            collection = Collection(f"first-{count}", seen[:count]) if count < len(seen) else all_seen(size, seed)
            for loss in _LOSSES:
                changes = {"loss": loss} if loss != "taxon" else {}
                shorter = {} if share == 1 else {"steps": _steps(size, share)}
                cells[_name(loss, count, share)] = Cell(seed, collection, {**changes, **shorter})
    return cells


def _report(answers: Answers) -> str:
    rows = []
    for share in _SHARES:
        for count in answers.size.label_counts:
            if not answers.has(*(_name(loss, count, share) for loss in _LOSSES)):
                continue
            taxon, clip = (answers.joined(_sampler(_name(loss, count, share), count)) for loss in _LOSSES)
            row = [str(_steps(answers.size, share)), str(count), _duplicates(answers, _name("clip", count, share))]
            rows.append([*row, percent(taxon), percent(clip), points(taxon.minus(clip))])
    return "\n".join(
        [
            "Top-1 accuracy at species rank among the labels trained on (trained on the mixture of captions, tested with "
            "taxonomic captions):",
            "",
            table(["steps", "labels", "repeated captions in a batch", "taxon", "clip", "difference"], rows),
        ]
    )


_SHARES = (1, 2)
"""Whole runs and halves. With all steps, few labels are learnt entirely; with a quarter, accuracy stays near chance."""


def _steps(size: Size, share: int) -> int:
    return max(1, size.steps // share)


def _name(loss: str, count: int, share: int) -> str:
    return f"{loss} {count}" if share == 1 else f"{loss} {count} short"


def _sampler(name: str, count: int) -> Callable[[Answered], Sample]:
    return lambda world: world.hits(name, of=world.plates.seen[:count], labels="trained")


def _duplicates(answers: Answers, name: str) -> str:
    shares = [float(world.outcomes[name].facts["duplicate_captions"]) for world in answers.worlds]
    return f"{100 * sum(shares) / len(shares):.0f}%"


QUESTION = Question("losses", "What does it cost to count equal taxa as negatives?", _cells, _report)
