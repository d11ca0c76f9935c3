"""The ladder of retraining: from the unchanged starting model to the trained weights, every rung on the same held-out images.

The cheapest rung that is good enough is the one to use. The weights of the checkpoint are chosen among the start's, the trained
ones and interpolations of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioclip_core.models import ModelEntry
from bioclip_training.evaluation.probing import MOST_EXAMPLES
from bioclip_training.evidence.intervals import difference_interval
from bioclip_training.evidence.minima import Evidence
from bioclip_training.loop.building import Plan
from bioclip_training.loop.frozen import Frozen, FrozenRung, frozen_rungs
from bioclip_training.loop.recommending import (
    START,
    Measured,
    Recommendation,
    commands_of,
    recommend,
    without_held_out,
)
from bioclip_training.loop.trainer import Trainer
from bioclip_training.loop.validation import HeldOut, Validation
from bioclip_training.towers.model import Towers

Weights = Mapping[str, torch.Tensor]

_SHARES = tuple(tenth / 10 for tenth in range(1, 11))  # 0 is the start, which is measured in any case
_KEPT = 0.95  # of the accuracy on earlier knowledge; dev is small, and 0.9 on it may be 0.85 on other images


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to use the collection, and its accuracy on ``dev``."""

    name: str
    images: int
    top1: float
    top1_ci95: tuple[float, float] | tuple[None, None]
    """95% interval over groups; None for a single one."""
    nll: float | None
    old_top1: float | None
    """Accuracy on ``dev`` of the replayed collection among its own taxa: the model's earlier knowledge."""
    groups: int = 0
    """Independent groups of the images."""
    commands: tuple[str, ...] = ()
    """Commands that lead to it; empty for weights that were not kept."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs in order, and the kept weights."""

    weights: Weights
    rungs: tuple[Rung, ...]
    kept: str
    """Name of the rung whose weights are kept."""
    share: float
    """Share of the trained weights in the kept ones; the rest is the start's."""
    start_dev_top1: float | None
    dev_top1: float | None
    evidence: Evidence
    """The held-out images of all rungs."""
    rule: str
    """The way in which the kept weights were decided, as a sentence."""
    recommendation: Recommendation | None = None
    """None in records of earlier versions."""
    old_evidence: Evidence | None = None
    """The images behind each rung's ``old_top1``; None without a replayed collection."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the weights."""
        rungs = [asdict(rung) for rung in self.rungs]
        return {
            "part": "dev", "rungs": rungs, "kept": self.kept, "share_of_trained_weights": self.share, "rule": self.rule,
            "evidence": self.evidence.as_dict(),
            "old_evidence": None if self.old_evidence is None else self.old_evidence.as_dict(),
            "recommendation": None if self.recommendation is None else asdict(self.recommendation),
        }  # fmt: skip


def climb(trainer: Trainer, towers: Towers, plan: Plan, new: Weights, models: Mapping[str, ModelEntry]) -> Ladder:
    """Measure every rung on ``dev`` and choose between the start's weights, the trained ones and interpolations of the two.

    A rung is measured even if the choice falls on another one. Without held-out images the trained weights are kept, unmeasured;
    with fewer groups than a choice needs they are kept, not interpolated, unless they are worse than the start by more than chance.

    Args:
        trainer: the finished trainer.
        towers: towers that take weights as the checkpoint has them; the rungs are measured in them.
        plan: the plan of the run.
        new: the trained weights of the best step, whether or not they are better than the start's.
        models: the registry of models, by name.
    """
    held_out, of_replay, old = trainer.held_out, trainer.held_out_of_replay, trainer.starting_weights
    if held_out is None:
        return _unmeasured(plan, new)
    measuring = _Measuring(trainer, towers, held_out)
    at: dict[float, Rung] = {}
    frozen = Frozen()
    if old is not None:
        at[0.0] = measuring.rung(START, old)
        frozen = frozen_rungs(plan, models, held_out, trainer)
        trainer.quarantine(frozen.bad)
    deciding = _deciding(held_out, of_replay)
    is_chosen = old is not None and deciding.can_choose
    for share in _SHARES if trainer.config.wise_ft and is_chosen else (1.0,):
        # Made again if kept: eleven would fill the memory.
        at[share] = measuring.rung(_name_at(share, trainer.config.method), _weights_at(share, old, new))
        trainer.say(f"{at[share].name}: {at[share].top1:.1%} of {held_out.evidence.counted} of dev")
    best, rule = _decided(at, measuring, deciding, is_wise=trainer.config.wise_ft)
    learnt = plan.learnt_by_start(held_out.catalog, held_out.rows, "dev")
    start, kept, hits = at.get(0.0), at[best], measuring.hits | {rung.name: rung.hits_N for rung in frozen.rungs}
    rungs = [*([start] if start else []), *(_frozen_rung(rung, held_out) for rung in frozen.rungs), at[1.0]]
    rungs += [kept] if 0.0 < best < 1.0 else []
    commands = commands_of(plan.config, kept.name if best else None, is_capped=frozen.is_capped)
    # Prototypes and a probe do not answer with the taxa of the replay, which the user wants to keep.
    names = [*([START] if start else []), *(rung.name for rung in frozen.rungs if of_replay is None)]
    candidates = [Measured(name, hits[name]) for name in [*names, *([kept.name] if best else [])]]
    return Ladder(
        _weights_at(best, old, new), tuple(replace(rung, commands=commands.get(rung.name, ())) for rung in rungs), kept.name, best,
        start.top1 if start else None, kept.top1, held_out.evidence, f"{rule}; {learnt}" if learnt else rule,
        recommend(candidates, held_out.evidence, held_out.group_numbers(), commands, frozen.left_out),
        None if of_replay is None else _of_replay(of_replay),
    )  # fmt: skip


class _Measuring:
    """Measures weights on the held-out images, and keeps the hits of each rung."""

    def __init__(self, trainer: Trainer, towers: Towers, held_out: HeldOut) -> None:
        self._trainer, self._towers, self.held_out = trainer, towers, held_out
        self.hits: dict[str, NDArray[np.bool_]] = {}

    def rung(self, name: str, weights: Weights) -> Rung:
        """Return the rung of some weights."""
        self._towers.load_export(weights)
        found = self.held_out.validate(self._towers, self._trainer.stage(f"Measuring {name}"))
        self.hits[name] = found.hits_N
        of_replay = self._trainer.held_out_of_replay
        return _rung(name, self.held_out, found, of_replay.validate(self._towers).top1 if of_replay else None)


def _deciding(held_out: HeldOut, of_replay: HeldOut | None) -> Evidence:
    """Return the images that decide if anything can be chosen: those of the replay, if only they are too few."""
    return held_out.evidence if of_replay is None or not held_out.evidence.can_choose else _of_replay(of_replay)


def _of_replay(held_out: HeldOut) -> Evidence:
    return replace(held_out.evidence, part="dev of --replay")


def _decided(
    at: Mapping[float, Rung], measuring: _Measuring, deciding: Evidence, *, is_wise: bool
) -> tuple[float, str]:
    """Return the share of the trained weights to keep, and the rule of the decision.

    Args:
        at: the rungs by their share; that of 0 is missing if the start is random.
        measuring: has their hits.
        deciding: the images that decide if anything can be chosen.
        is_wise: interpolations were measured.
    """
    evidence, start = measuring.held_out.evidence, at.get(0.0)
    rule = evidence.rule if deciding.can_choose else deciding.rule
    if start is None:
        return 1.0, rule
    if deciding.can_choose:
        return chosen_share(at, start.old_top1 if is_wise else None), rule
    change_N = measuring.hits[at[1.0].name].astype(np.float64) - measuring.hits[START]
    low, high = difference_interval(change_N, measuring.held_out.group_numbers())
    if high >= 0:
        return 1.0, rule
    worse = f"worse than the start by more than chance ({100 * low:.0f} to {100 * high:.0f} points), which is kept"
    return 0.0, f"{rule}; but it is {worse}"


def _name_at(share: float, method: str) -> str:
    return f"{method}, trained" if share == 1.0 else f"{method}, {share:.0%} of the way (WiSE-FT)"


def _unmeasured(plan: Plan, new: Weights) -> Ladder:
    """Return the trained weights, unmeasured, and the way to try before them."""
    nothing, trained = Evidence.of("dev", ()), f"{plan.config.method}, trained"
    images = len(plan.images)
    advice = without_held_out(
        len(np.unique(plan.images.taxon_of_N)), images, trained,
        commands_of(plan.config, trained, is_capped=images > MOST_EXAMPLES),
        is_random=plan.start.is_random, is_replayed=plan.replayed_taxa is not None,
    )  # fmt: skip
    return Ladder(new, (), trained, 1.0, None, None, nothing, nothing.rule, advice)


def _weights_at(share: float, old: Weights | None, new: Weights) -> Weights:
    """Return the weights of a share of the way from the start to the trained ones."""
    if old is None or share == 1.0:
        return new
    return old if share == 0.0 else interpolated(old, new, share)


def chosen_share(rungs: Mapping[float, Rung], old_before: float | None) -> float:
    """Return the share of the interpolation to keep: the most accurate on ``dev``; of equals the likelier.

    With replay only interpolations count that lose at most a twentieth of the start's accuracy on the replayed collection; if
    all lose more, the most accurate on both together is kept.
    """
    allowed = list(rungs)
    if old_before is not None:
        allowed = [share for share, rung in rungs.items() if (rung.old_top1 or 0.0) >= _KEPT * old_before]
        if not allowed:
            return max(rungs, key=lambda share: rungs[share].top1 + (rungs[share].old_top1 or 0.0))
    return max(allowed, key=lambda share: (rungs[share].top1, -(rungs[share].nll or 0.0)))


def interpolated(old: Weights, new: Weights, share: float) -> dict[str, torch.Tensor]:
    """Return ``share`` of the new weights plus the rest of the old ones (WiSE-FT, Wortsman et al. 2022)."""
    return {
        name: torch.lerp(old[name].float(), tensor.float(), share) if tensor.is_floating_point() else tensor
        for name, tensor in new.items()
    }


def _rung(name: str, held_out: HeldOut, found: Validation, old_top1: float | None) -> Rung:
    return Rung(
        name, found.images, found.top1, held_out.interval(found.hits_N), found.nll, old_top1, len(set(held_out.groups))
    )


def _frozen_rung(rung: FrozenRung, held_out: HeldOut) -> Rung:
    share = float(rung.hits_N.mean())
    groups = len(set(held_out.groups))
    return Rung(rung.name, len(rung.hits_N), share, held_out.interval(rung.hits_N), rung.nll, None, groups)
