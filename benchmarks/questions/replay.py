"""Question 6: teaching new species without replay of the old ones, with replay, and with a second projection (BioCLIP 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.questions.cells import Cell, Collection, plates_of
from benchmarks.questions.figures import Sample, percent, points, table
from benchmarks.questions.question import Answered, Answers, Question
from benchmarks.questions.shared_cells import all_seen
from benchmarks.questions.sizes import Size

_ARMS = ("no replay", "shared projection", "second projection")


def _cells(size: Size, seed: int) -> Mapping[str, Cell]:
    """Return cells of a vision transformer, the only tower with a projection that can be copied."""
    old = all_seen(size, seed)
    base = Cell(seed, old, vision="transformer")
    new = Collection("new", plates_of(size, seed).new)
    return {
        "before": base,
        "no replay": Cell(seed, new, base=base),
        "shared projection": Cell(seed, new, {"replay_projection": "shared"}, base=base, replay=old),
        "second projection": Cell(seed, new, {"replay_projection": "second"}, base=base, replay=old),
    }


def _report(answers: Answers) -> str:
    if not answers.has("before"):
        return "The model before teaching is needed; train the missing cells first."
    rows = []
    for name in ("before", *(arm for arm in _ARMS if answers.has(arm))):
        new, old = (answers.joined(_sampler(name, what)) for what in ("new", "seen"))
        kept = "" if name == "before" else points(answers.joined(_change(name)))
        rows.append([name, percent(new), percent(old), kept])
    return "\n".join(
        [
            "Top-1 accuracy at species rank among the labels of all species (taxonomic captions):",
            "",
            table(["", "new species", "old species", "change in old species"], rows),
        ]
    )


def _sampler(name: str, what: str) -> Callable[[Answered], Sample]:
    return lambda world: world.hits(name, of=getattr(world.plates, what))


def _change(name: str) -> Callable[[Answered], Sample]:
    return lambda world: _sampler(name, "seen")(world).minus(_sampler("before", "seen")(world))


QUESTION = Question(
    "replay", "What does replay keep of the old species, and what does it cost the new?", _cells, _report
)
