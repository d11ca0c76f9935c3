"""Zero-shot scores of images against a label set: at every level the best answers, and place and probability of the truth."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classify import Classifier
from bioclip_core.classifying.largest import largest
from bioclip_core.labels.label_set import GROUP, LABEL
from bioclip_core.taxonomy import RANKS
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evaluation.truth import EXACT, LevelTruth

if TYPE_CHECKING:
    import torch

TOP = 5
_FEATURES_A_PASS = 4096
_Sums = Callable[[str], "torch.Tensor"]
"""Probabilities of a batch of images at a level."""


@dataclass(frozen=True, slots=True)
class LevelScores:
    """Answers to N images at one level."""

    truth: LevelTruth
    top_NK: NDArray[np.int64]
    """The best spans, the best first and equal ones in order; K is five, or as many as there are."""
    probability_NK: NDArray[np.float32]
    place_N: NDArray[np.int64]
    """Number of spans that were more probable than the truth; -1 if the truth is not a possible answer."""
    own_N: NDArray[np.float32]
    """Probability of the truth; 0 if it is not a possible answer."""
    best_named_N: NDArray[np.int64]
    """The best span with a name at this level, which may become the consensus."""
    best_named_probability_N: NDArray[np.float32]

    def counted(self, taxon_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the images with a true name at this level."""
        return self.truth.named_C[taxon_N]


def score(
    classifier: Classifier,
    features_ND: NDArray[np.float16],
    taxon_N: NDArray[np.int64],
    truths: Mapping[str, LevelTruth],
    progress: StageProgress,
) -> dict[str, LevelScores]:
    """Classify N features at every level. All probabilities of an image are seen, and only these figures of them are kept.

    Args:
        taxon_N: the number of each image's true taxon, as in ``truths``.
    """
    import torch

    parts: dict[str, list[list[NDArray[Any]]]] = {name: [] for name in truths}
    unnamed = {
        truth.level: torch.from_numpy(~classifier.labels.spans(truth.level).named_S) for truth in truths.values()
    }
    progress("Scoring", 0, len(features_ND))
    for start, sums_at in _batches(classifier, features_ND):
        done, level, sums_BS = start, "", torch.empty(0)  # one level's sums at a time, since they are large
        for name, truth in truths.items():
            if level != truth.level:
                level, sums_BS = truth.level, sums_at(truth.level)
            done = start + len(sums_BS)
            parts[name].append(_scored(sums_BS, truth, taxon_N[start:done], unnamed[level]))
        progress("Scoring", done, len(features_ND))
    return {
        name: LevelScores(truths[name], *(np.concatenate(column) for column in zip(*scored, strict=True)))
        for name, scored in parts.items()
    }


def _batches(classifier: Classifier, features_ND: NDArray[np.float16]) -> Iterator[tuple[int, _Sums]]:
    for begin in range(0, len(features_ND), _FEATURES_A_PASS):
        for start, sums_at in classifier.sums(features_ND[begin : begin + _FEATURES_A_PASS]):
            yield begin + start, sums_at


def _scored(
    sums_BS: torch.Tensor, truth: LevelTruth, taxon_B: NDArray[np.int64], unnamed_S: torch.Tensor
) -> list[NDArray[Any]]:
    """Return the fields of :class:`LevelScores` for a batch."""
    import torch

    device = sums_BS.device
    spans_BK = torch.from_numpy(truth.spans_CK[taxon_B]).to(device)
    right_BK = sums_BS.gather(1, spans_BK.clamp(min=0)).masked_fill(spans_BK < 0, -1.0)
    own_B = right_BK.amax(dim=1)
    place_B = torch.where(own_B >= 0, _places(sums_BS, own_B, spans_BK, right_BK), -1)
    values_BK, top_BK = largest(sums_BS, min(TOP, sums_BS.shape[1]))
    named_value_B, named_B = values_BK[:, 0], top_BK[:, 0]
    if unnamed_S.any():
        named_value_B, named_B = sums_BS.masked_fill(unnamed_S.to(device), -1.0).max(dim=1)
    found = (
        top_BK, values_BK.clamp(max=1).float(), place_B, own_B.clamp(0, 1).float(), named_B, named_value_B.clamp(max=1).float(),
    )  # fmt: skip
    return [tensor.cpu().numpy() for tensor in found]


def _places(sums_BS: torch.Tensor, own_B: torch.Tensor, spans_BK: torch.Tensor, right_BK: torch.Tensor) -> torch.Tensor:
    """Return the number of spans that are more probable than the truth; equally probable ones before it count too."""
    import torch

    above_B = (sums_BS > own_B[:, None]).sum(dim=1)
    ties_B = (sums_BS == own_B[:, None]).sum(dim=1) > 1
    if ties_B.any():  # rare, and expensive over a million labels
        first_B = torch.where(right_BK == own_B[:, None], spans_BK, sums_BS.shape[1]).amin(dim=1)[ties_B]
        is_before_TS = torch.arange(sums_BS.shape[1], device=sums_BS.device) < first_B[:, None]
        above_B[ties_B] += ((sums_BS[ties_B] == own_B[ties_B, None]) & is_before_TS).sum(dim=1)
    return above_B


def level_name(name: str, levels: Collection[str]) -> str:
    """Return a level's name for readers: taxa have ranks and the exact taxon; labels without a taxonomy have labels and groups.

    Args:
        name: the level.
        levels: all levels with images, of which taxa have some ranks.
    """
    if name == EXACT:
        return "label" if {*RANKS}.isdisjoint(levels) else "exact taxon"
    return {GROUP: "group", LABEL: "label"}.get(name, name)
