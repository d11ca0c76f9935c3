"""Results of an ablation: accuracy of each arm and its difference from the baseline, with intervals over groups of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import RANKS, Rank
from bioclip_training.ablation.answers import Answers, Test
from bioclip_training.ablation.arms import Arm
from bioclip_training.ablation.configuration import Ablation
from bioclip_training.evidence.intervals import Interval, difference_interval, share_interval

BETTER, WORSE, NOT_TOLD_APART = "better", "worse", "not told apart"


@dataclass(frozen=True, slots=True)
class Figure:
    """Accuracy of one arm in one test with one caption, over all seeds that every arm was trained with."""

    arm: str
    test: str
    caption: str
    rank: str
    """``label`` is the whole taxon."""
    images: int
    """Images that every model could read, that have a name at the rank, and that are not left out since a model is trained on them."""
    groups: int
    seeds: int
    top1: float
    """Mean over seeds and images."""
    top1_ci95: Interval
    """Over groups of images; the seeds of an image are averaged first, since they are not more images."""
    lowest: float
    """Accuracy with the least accurate seed."""
    highest: float
    difference: float
    """Minus the baseline, on the same images and seeds."""
    difference_ci95: Interval
    verdict: str

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values: an end of an interval that does not exist is None."""
        found = asdict(self)
        for name in ("top1_ci95", "difference_ci95"):
            found[name] = [None if math.isnan(end) else end for end in found[name]]
        return found


class Results:
    """Answers of the runs of an ablation."""

    def __init__(
        self,
        config: Ablation,
        tests: Sequence[Test],
        arms: Sequence[Arm],
        answers: Mapping[tuple[str, int], Answers],
        failed: Mapping[tuple[str, int], str] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.config, self.tests, self.remarks = config, tuple(tests), tuple(remarks)
        self._answers = answers
        self.failed = dict(failed or {})
        """Reason why a run failed, by arm and seed."""
        broken = {name for name, _ in self.failed} - {name for name, _ in answers}
        self.arms = tuple(arm for arm in arms if arm.name not in broken)
        """The arms of the tables: without those of which every attempt failed."""
        self.seeds = tuple(seed for seed in config.seeds if all((arm.name, seed) in answers for arm in self.arms))
        """Seeds that every arm of the tables was trained with; only these are counted."""

    def figures(self, ranks: Sequence[str] = ("label",)) -> list[Figure]:
        """Return the figures of every test, caption, rank and arm, the baseline first; empty without a seed that all arms have."""
        if not self.seeds:
            return []
        return [
            figure
            for test in self.tests
            for caption in self.config.captions
            for rank in ranks
            for figure in self._of(test, caption, rank)
        ]

    def _of(self, test: Test, caption: str, rank: str) -> list[Figure]:
        lineages = [taxon.lineage for taxon in test.catalog.taxa]
        depth = RANKS[-1].depth if rank == "label" else Rank(rank).depth
        name_T = np.unique([repr(lineage[: depth + 1]) for lineage in lineages], return_inverse=True)[1]
        is_named_T = np.array([rank == "label" or bool(lineage[depth]) for lineage in lineages], dtype=bool)
        answers = {
            arm.name: np.stack([self._answers[arm.name, seed].by_test[test.name, caption] for seed in self.seeds])
            for arm in self.arms
        }
        is_read_N = np.all([(found >= 0).all(axis=0) for found in answers.values()], axis=0)
        is_counted_N = is_named_T[test.truth_N] & is_read_N & ~test.left_out_N
        truth_N, group_N = test.truth_N[is_counted_N], test.group_N[is_counted_N]
        if not len(truth_N):
            return []
        hits = {name: name_T[found[:, is_counted_N]] == name_T[truth_N] for name, found in answers.items()}
        base_N = hits[self.arms[0].name].mean(axis=0)
        return [
            _figure(
                arm.name, test.name, caption, rank, hits[arm.name], base_N, np.unique(group_N, return_inverse=True)[1]
            )
            for arm in self.arms
        ]


def _figure(
    arm: str, test: str, caption: str, rank: str, hits_SN: NDArray[np.bool_], base_N: NDArray[np.float64], group_N: NDArray[np.int64]
) -> Figure:  # fmt: skip
    mean_N = hits_SN.mean(axis=0)
    by_seed = hits_SN.mean(axis=1)
    change_N = mean_N - base_N
    low, high = interval = difference_interval(change_N, group_N)
    return Figure(
        arm, test, caption, rank, len(mean_N), len(np.unique(group_N)), len(hits_SN), float(mean_N.mean()),
        share_interval(mean_N, group_N), float(by_seed.min()), float(by_seed.max()), float(change_N.mean()), interval,
        BETTER if low > 0 else WORSE if high < 0 else NOT_TOLD_APART,
    )  # fmt: skip
