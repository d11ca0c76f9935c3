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

from bioclip_core.quiet import importing, quiet
from bioclip_training.batches.data import LabelledImages
from bioclip_training.evidence.intervals import difference_interval
from bioclip_training.evidence.minima import Evidence
from bioclip_training.loop.trainer import Trainer
from bioclip_training.loop.validation import HeldOut, Validation
from bioclip_training.towers.model import Towers

Weights = Mapping[str, torch.Tensor]

START = "start model"
"""Name of the rung of the unchanged starting weights."""

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

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the weights."""
        rungs = [asdict(rung) for rung in self.rungs]
        return {
            "part": "dev", "rungs": rungs, "kept": self.kept, "share_of_trained_weights": self.share, "rule": self.rule,
            "evidence": self.evidence.as_dict(),
        }  # fmt: skip


def climb(trainer: Trainer, towers: Towers, images: LabelledImages, new: Weights) -> Ladder:
    """Measure every rung on ``dev`` and choose between the start's weights, the trained ones and interpolations of the two.

    A rung is measured even if the choice falls on another one. Without held-out images the trained weights are kept, unmeasured;
    with fewer groups than a choice needs they are kept, not interpolated, unless they are worse than the start by more than chance.

    Args:
        trainer: the finished trainer.
        towers: towers that take weights as the checkpoint has them; the rungs are measured in them.
        images: the training images.
        new: the trained weights of the best step, whether or not they are better than the start's.
    """
    held_out, old, method = trainer.held_out, trainer.starting_weights, trainer.config.method
    if held_out is None:
        nothing = Evidence.of("dev", ())
        return Ladder(new, (), "trained", 1.0, None, None, nothing, nothing.rule)
    of_replay = trainer.held_out_of_replay
    hits: dict[str, NDArray[np.bool_]] = {}

    def measured(name: str, weights: Weights) -> Rung:
        towers.load_export(weights)
        found = held_out.validate(towers, trainer.stage(f"Measuring {name}"))
        hits[name] = found.hits_N
        return _rung(name, held_out, found, of_replay.validate(towers).top1 if of_replay else None)

    rungs: list[Rung] = []
    choices: dict[float, tuple[Rung, Weights]] = {}
    if old is not None:
        choices[0.0] = measured(START, old), old
        rungs = [choices[0.0][0], *_on_frozen_features(trainer, towers, images, held_out)]
    evidence = deciding = held_out.evidence
    if of_replay is not None and evidence.can_choose:
        deciding = replace(of_replay.evidence, part="dev of --replay")
    is_chosen = old is not None and deciding.can_choose
    for share in _SHARES if trainer.config.wise_ft and is_chosen else (1.0,):
        weights = new if share == 1.0 or old is None else interpolated(old, new, share)
        name = f"{method}, trained" if share == 1.0 else f"{method}, {share:.0%} of the way (WiSE-FT)"
        choices[share] = measured(name, weights), weights
        trainer.say(f"{name}: {choices[share][0].top1:.1%} of {evidence.counted} of dev")
    measured_at = {share: rung for share, (rung, _) in choices.items()}
    start = measured_at.get(0.0)
    best, rule = 1.0, evidence.rule if deciding.can_choose else deciding.rule
    if is_chosen:
        best = chosen_share(measured_at, start.old_top1 if start and trainer.config.wise_ft else None)
    elif start is not None:
        change_N = hits[measured_at[1.0].name].astype(np.float64) - hits[START]
        low, high = difference_interval(change_N, held_out.group_numbers())
        if high < 0:
            best = 0.0
            rule += f"; but it is worse than the start by more than chance ({100 * low:.0f} to {100 * high:.0f} points), which is kept"
    kept, weights = choices[best]
    rungs += [choices[1.0][0]] + ([kept] if 0.0 < best < 1.0 else [])
    return Ladder(weights, tuple(rungs), kept.name, best, start.top1 if start else None, kept.top1, evidence, rule)


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


def _on_frozen_features(trainer: Trainer, towers: Towers, images: LabelledImages, held_out: HeldOut) -> list[Rung]:
    """Return prototypes and a logistic regression on the features of the starting model: the rungs without training."""
    contract, report = trainer.data.stream.preprocessing, trainer.stage("Decoding the training images")
    learnt = HeldOut(images, contract, trainer.config.threads, report=report)
    trainer.quarantine(learnt.bad)
    features_MD = learnt.features(towers, trainer.stage("Encoding the training images"))
    queries_ND = held_out.features(towers)
    rungs = []
    for name, logits_of in (
        ("prototypes of the examples", prototype_logits), ("logistic regression on features", logistic_logits),
    ):  # fmt: skip
        trainer.stage(f"Fitting {name}")(0, 0)
        try:
            logits_NC = logits_of(features_MD, learnt.taxon_N, queries_ND, len(images.taxa))
        except ImportError:
            trainer.say(f"no rung {name!r}: scikit-learn is not installed (extra train)")
            continue
        rungs.append(_rung(name, held_out, held_out.scored(logits_NC), None))
        trainer.say(f"{name}: {rungs[-1].top1:.1%} of {held_out.evidence.counted} of dev")
    return rungs


def prototype_logits(
    features_MD: NDArray[np.float32], taxon_M: NDArray[np.int64], queries_ND: NDArray[np.float32], taxa: int
) -> NDArray[np.float32]:
    """Return scaled cosines with the mean of each taxon, after the mean of all is subtracted (SimpleShot, Wang et al. 2019)."""
    mean_D = features_MD.mean(axis=0)
    sums_CD = np.zeros((taxa, features_MD.shape[1]), dtype=np.float32)
    np.add.at(sums_CD, taxon_M, _unit(features_MD - mean_D))
    logits_NC = (10.0 * _unit(queries_ND - mean_D) @ _unit(sums_CD).T).astype(np.float32)
    logits_NC[:, np.bincount(taxon_M, minlength=taxa) == 0] = -1e4
    return logits_NC


def logistic_logits(
    features_MD: NDArray[np.float32], taxon_M: NDArray[np.int64], queries_ND: NDArray[np.float32], taxa: int
) -> NDArray[np.float32]:
    """Return the logits of a logistic regression whose loss counts every taxon equally."""
    with importing():
        from sklearn.linear_model import LogisticRegression

    mean_D = features_MD.mean(axis=0)
    # Unit features lie close together; ten times as large, they suit the usual strength of the penalty.
    learner = LogisticRegression(max_iter=300, class_weight="balanced")
    logits_NC = np.full((len(queries_ND), taxa), -1e4, dtype=np.float32)
    with quiet(), np.errstate(all="ignore"):
        learner.fit(10 * _unit(features_MD - mean_D), taxon_M)
        logits_NC[:, learner.classes_] = learner.predict_log_proba(10 * _unit(queries_ND - mean_D))
    return logits_NC


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    unit_ND: NDArray[np.float32] = rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    return unit_ND
