"""The ladder of retraining: from the starting model as it is to the trained weights, every rung on the same held-out images.

A rung that costs less and wins is the one to take; which weights the checkpoint gets is decided among the last ones only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.loop.recipe import TrainingProgress
from bioclip_training.loop.validation import HeldOut, Validation

if TYPE_CHECKING:
    import torch

    from bioclip_training.batches.data import LabelledImages
    from bioclip_training.loop.start import Start
    from bioclip_training.loop.trainer import Trainer
    from bioclip_training.towers.model import Towers

    Weights = Mapping[str, torch.Tensor]

_SHARES = tuple(tenth / 10 for tenth in range(11))
_RESAMPLES = 1000
_KEPT = 0.95  # of the accuracy on what was known before; dev is small, and 0.9 on it may be 0.85 on other images


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to use the collection, and how good it is on ``dev``."""

    name: str
    images: int
    top1: float
    top1_ci95: tuple[float, float]
    """Bootstrap over groups."""
    nll: float | None
    old_top1: float | None
    """On ``dev`` of the replayed collection among its own taxa: what the model knew before."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs in order, and the weights that were kept."""

    weights: Weights
    rungs: tuple[Rung, ...]
    kept: str
    share: float
    """Of the trained weights in the kept ones; the rest is the start's."""
    start_dev_top1: float | None
    dev_top1: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the weights."""
        rungs = [
            {"name": rung.name, "images": rung.images, "top1": rung.top1, "top1_ci95": list(rung.top1_ci95), "nll": rung.nll,
             "old_top1": rung.old_top1}
            for rung in self.rungs
        ]  # fmt: skip
        return {"part": "dev", "rungs": rungs, "kept": self.kept, "share_of_trained_weights": self.share}


def climb(trainer: Trainer, start: Start, images: LabelledImages, new: Weights) -> Ladder:
    """Measure every rung on ``dev`` and choose between the trained weights and their interpolations with the start's.

    Without held-out images the trained weights are kept, unmeasured.
    """
    held_out, old = trainer.held_out, trainer.starting_weights
    if held_out is None:
        return Ladder(new, (), "trained", 1.0, None, None)
    rungs = []
    start_top1 = None
    if old is not None:
        trainer.towers.load_export(old)
        zero_shot = _rung("zero-shot", trainer, held_out)
        start_top1 = zero_shot.top1
        rungs += [zero_shot, *_on_frozen_features(trainer, start, images, held_out)]
    choices: dict[float, tuple[Rung, Weights]] = {}
    for share in _SHARES if trainer.config.wise_ft and old is not None else (1.0,):
        weights = new if share == 1.0 or old is None else interpolated(old, new, share)
        trainer.towers.load_export(weights)
        name = (
            f"{trainer.config.method}, trained"
            if share == 1.0
            else f"{trainer.config.method}, {share:.0%} of the way (WiSE-FT)"
        )
        choices[share] = (_rung(name, trainer, held_out), weights)
        _tell(trainer, f"{name}: {choices[share][0].top1:.1%} on dev")
    best = chosen_share({share: rung for share, (rung, _) in choices.items()}, rungs[0].old_top1 if rungs else None)
    kept, weights = choices[best]
    rungs += [choices[1.0][0]] + ([kept] if best != 1.0 else [])
    return Ladder(weights, tuple(rungs), kept.name, best, start_top1, kept.top1)


def chosen_share(rungs: Mapping[float, Rung], old_before: float | None) -> float:
    """The interpolation to keep: the most right on ``dev``; of equals the likelier.

    With replay only those count that lose at most a twentieth of what the start knew of the replayed collection; where all
    lose more, the most right on both together.
    """
    allowed = list(rungs)
    if old_before is not None:
        kept = [share for share, rung in rungs.items() if (rung.old_top1 or 0.0) >= _KEPT * old_before]
        if not kept:
            return max(rungs, key=lambda share: rungs[share].top1 + (rungs[share].old_top1 or 0.0))
        allowed = kept
    return max(allowed, key=lambda share: (rungs[share].top1, -(rungs[share].nll or 0.0)))


def interpolated(old: Weights, new: Weights, share: float) -> dict[str, torch.Tensor]:
    """``share`` of the new weights and the rest of the old ones (WiSE-FT, Wortsman et al. 2022)."""
    import torch

    return {
        name: torch.lerp(old[name].float(), tensor.float(), share) if tensor.is_floating_point() else tensor
        for name, tensor in new.items()
    }


def _rung(name: str, trainer: Trainer, held_out: HeldOut) -> Rung:
    """The towers as they are."""
    old = trainer.held_out_of_replay
    found = held_out.validate(trainer.towers)
    return _measured(name, held_out, found, old.validate(trainer.towers).top1 if old else None)


def _measured(name: str, held_out: HeldOut, found: Validation, old_top1: float | None) -> Rung:
    low, high = interval(found.hits_N, held_out.groups)
    return Rung(name, found.images, found.top1, (low, high), found.nll, old_top1)


def _on_frozen_features(trainer: Trainer, start: Start, images: LabelledImages, held_out: HeldOut) -> list[Rung]:
    """Prototypes and a logistic regression on the features of the starting model: what needs no training of it."""
    from bioclip_training.loop.building import workers_of

    learnt = HeldOut(images, start.preprocessing, workers_of(trainer.config), trainer.quarantined)
    features_MD = frozen_features(trainer.towers, learnt)
    queries_ND = frozen_features(trainer.towers, held_out)
    rungs = []
    ways: tuple[tuple[str, Callable[..., NDArray[np.float32]]], ...] = (
        ("prototypes of the examples", prototype_logits), ("logistic regression on features", logistic_logits),
    )  # fmt: skip
    for name, way in ways:
        try:
            logits_NC = way(features_MD, learnt.taxon_N, queries_ND, len(images.taxa))
        except ImportError:
            _tell(trainer, f"no rung {name!r}: scikit-learn is not installed (extra train)")
            continue
        rungs.append(_measured(name, held_out, held_out.scored(logits_NC), None))
        _tell(trainer, f"{name}: {rungs[-1].top1:.1%} on dev")
    return rungs


def frozen_features(towers: Towers, held_out: HeldOut) -> NDArray[np.float32]:
    """N×D features of the towers as they are."""
    import torch

    towers.eval()
    try:
        with torch.no_grad():
            features: NDArray[np.float32] = held_out.features(towers).cpu().numpy()
            return features
    finally:
        towers.train()


def prototype_logits(
    features_MD: NDArray[np.float32], taxon_M: NDArray[np.int64], queries_ND: NDArray[np.float32], taxa: int
) -> NDArray[np.float32]:
    """Cosines with each taxon's mean after the mean of all is subtracted (SimpleShot, Wang et al. 2019), on a common scale."""
    mean_D = features_MD.mean(axis=0)
    centred_MD, centred_ND = _unit(features_MD - mean_D), _unit(queries_ND - mean_D)
    sums_CD = np.zeros((taxa, features_MD.shape[1]), dtype=np.float32)
    np.add.at(sums_CD, taxon_M, centred_MD)
    logits_NC = (10.0 * centred_ND @ _unit(sums_CD).T).astype(np.float32)
    logits_NC[:, np.bincount(taxon_M, minlength=taxa) == 0] = -1e4
    return logits_NC


def logistic_logits(
    features_MD: NDArray[np.float32], taxon_M: NDArray[np.int64], queries_ND: NDArray[np.float32], taxa: int
) -> NDArray[np.float32]:
    """A logistic regression whose loss counts every taxon equally."""
    from sklearn.linear_model import LogisticRegression

    mean_D = features_MD.mean(axis=0)
    # Unit features lie close together; ten times as large, the usual strength of the penalty suits them.
    learner = LogisticRegression(max_iter=300, class_weight="balanced")
    learner.fit(10 * _unit(features_MD - mean_D), taxon_M)
    logits_NC = np.full((len(queries_ND), taxa), -1e4, dtype=np.float32)
    logits_NC[:, learner.classes_] = learner.predict_log_proba(10 * _unit(queries_ND - mean_D))
    return logits_NC


def interval(hits_N: NDArray[np.bool_], groups: list[str]) -> tuple[float, float]:
    """The 95% interval of a share of hits, by drawing whole groups with replacement."""
    names, group_N = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    right_G = np.bincount(group_N, weights=hits_N, minlength=len(names))
    count_G = np.bincount(group_N, minlength=len(names))
    drawn = np.random.default_rng(0).integers(len(names), size=(_RESAMPLES, len(names)))
    shares = right_G[drawn].sum(axis=1) / count_G[drawn].sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(low), float(high)


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    norms: NDArray[np.float32] = np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    unit: NDArray[np.float32] = rows_ND / norms
    return unit


def _tell(trainer: Trainer, message: str) -> None:
    if trainer.config.tell:
        trainer.config.tell(TrainingProgress(trainer.step, trainer.total, message=message))
