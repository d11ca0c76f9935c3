"""Consensus at each threshold: the share of images that get one, and the share of these that is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet
from bioclip_training.evaluation.zero_shot import LevelScores

THRESHOLDS: tuple[float, ...] = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.97, 0.99)

JUDGED = (
    "A consensus is right if it is the truth's taxon of its rank. One that is more specific than the label on the image is judged "
    "at the label's own rank."
)


@dataclass(frozen=True, slots=True)
class Consensus:
    """Consensus of N images at one threshold."""

    level_N: NDArray[np.int64]
    """Place of its level in ``levels``, most specific first; -1 without a consensus."""
    row_N: NDArray[np.int64]
    """A label of its taxon."""
    probability_N: NDArray[np.float32]
    right_N: NDArray[np.bool_]
    levels: tuple[str, ...]

    @property
    def given(self) -> NDArray[np.bool_]:
        """Mask of the images with a consensus."""
        return np.asarray(self.level_N >= 0)


def consensus_at(
    threshold: float, scores: Mapping[str, LevelScores], taxon_N: NDArray[np.int64], labels: LabelSet
) -> Consensus:
    """Return for each image the most specific taxon whose probability reaches the threshold, as ``classify.consensus_of``."""
    levels = tuple(reversed(labels.levels))
    level_N, row_N = np.full(len(taxon_N), -1), np.full(len(taxon_N), -1)
    probability_N = np.zeros(len(taxon_N), np.float32)
    for place, level in enumerate(levels):
        found = scores[level]
        new_N = (level_N < 0) & (found.best_named_probability_N >= threshold)
        level_N[new_N] = place
        row_N[new_N] = labels.spans(level).starts_S[found.best_named_N[new_N]]
        probability_N[new_N] = found.best_named_probability_N[new_N]
    # A consensus is judged at its own level, or at the most specific level above it at which the truth has a name.
    right_N, open_N = np.zeros(len(taxon_N), dtype=bool), level_N >= 0
    for place, level in enumerate(levels):
        truth = scores[level].truth
        is_judged_C = truth.named_C | (truth.spans_CK >= 0).any(axis=1)  # a plain label stands at the level of species
        now_N = open_N & (level_N <= place) & is_judged_C[taxon_N]
        span_N = np.searchsorted(labels.spans(level).starts_S, row_N[now_N], side="right") - 1
        right_N[now_N] = (truth.spans_CK[taxon_N[now_N]] == span_N[:, None]).any(axis=1)
        open_N &= ~now_N
    return Consensus(level_N, row_N, probability_N, right_N, levels)


def curve(
    scores: Mapping[str, LevelScores], taxon_N: NDArray[np.int64], labels: LabelSet, asked: float
) -> list[dict[str, float]]:
    """Return coverage and accuracy at each threshold, the one that was asked for among them."""
    finest = labels.levels[-1]
    found = (
        (threshold, consensus_at(threshold, scores, taxon_N, labels)) for threshold in sorted({*THRESHOLDS, asked})
    )
    return [
        {
            "threshold": threshold,
            "coverage": _mean(at.given),
            "accuracy": _mean(at.right_N[at.given]),
            f"coverage_{finest}": _mean(at.level_N == 0),
            f"accuracy_{finest}": _mean(at.right_N[at.level_N == 0]),
        }
        for threshold, at in found
    ]


def by_rank(found: Consensus) -> dict[str, dict[str, float]]:
    """Return the number of consensuses at each level and the share of right ones; the most general level first."""
    at = {level: found.level_N == place for place, level in enumerate(found.levels)}
    return {
        level: {"images": int(here_N.sum()), "accuracy": _mean(found.right_N[here_N])}
        for level, here_N in reversed(at.items())
    }


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")
