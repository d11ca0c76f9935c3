"""Question 1: the five captions and their mixture, trained on one and tested with each (BioCLIP's table)."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.questions.cells import CAPTIONS
from benchmarks.questions.figures import Sample, averaged, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.shared_cells import MIXTURE, by_caption

_TESTS = tuple(kind.value for kind in CAPTIONS)


def _report(answers: Answers) -> str:
    trained = [name for name in (*_TESTS, MIXTURE) if answers.has(name)]
    rows = [[name, *(percent(answers.joined(_sampler(name, test))) for test in _TESTS)] for name in trained]
    parts = [
        "Top-1 accuracy at species rank on seen species, among the labels of all species; rows: caption trained on, "
        "columns: caption tested with:",
        "",
    ]
    parts += [table(["", *_TESTS], rows)]
    if MIXTURE in trained:
        leads = [[name, points(answers.joined(_lead(name)))] for name in trained if name != MIXTURE]
        parts += ["", "Lead of the mixture, in percentage points of the mean over the five tests:", ""]
        parts += [table(["over training on", "lead"], leads)]
    return "\n".join(parts)


def _sampler(name: str, test: str) -> Callable[[Answered], Sample]:
    return lambda world: world.hits(name, of=world.plates.seen, caption=test)


def _over_tests(world: Answered, name: str) -> Sample:
    return averaged([world.hits(name, of=world.plates.seen, caption=test) for test in _TESTS])


def _lead(name: str) -> Callable[[Answered], Sample]:
    return lambda world: _over_tests(world, MIXTURE).minus(_over_tests(world, name))


QUESTION = Question("captions", "Which captions should a model be trained on?", by_caption, _report)
