"""Images against a label set: at every level the best answers, the place of the truth and its probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import GROUP, LABEL
from bioclip_training.evaluation.features import StageProgress
from bioclip_training.evaluation.truth import EXACT, LevelTruth

if TYPE_CHECKING:
    import torch

    from bioclip_core.classify import Classifier

TOP = 5
_FEATURES_A_PASS = 4096


@dataclass(frozen=True, slots=True)
class LevelScores:
    """What N images were answered at one level."""

    truth: LevelTruth
    top_NK: NDArray[np.int64]
    """The best spans, the best first; K is five, or as many as there are."""
    probability_NK: NDArray[np.float32]
    place_N: NDArray[np.int64]
    """How many spans were more probable than the truth; -1 where the truth is no possible answer."""
    own_N: NDArray[np.float32]
    """Probability of the truth; 0 where it is no possible answer."""
    best_named_N: NDArray[np.int64]
    """The best span that has a name at this level: what a consensus may be."""
    best_named_probability_N: NDArray[np.float32]

    def counted(self, taxon_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which images have a true name at this level."""
        return self.truth.named_C[taxon_N]


def score(
    classifier: Classifier,
    features_ND: NDArray[np.float16],
    taxon_N: NDArray[np.int64],
    truths: Mapping[str, LevelTruth],
    progress: StageProgress,
) -> dict[str, LevelScores]:
    """Classify N features at every level; all probabilities of an image are seen and none but these are kept.

    Args:
        taxon_N: the number of each image's true taxon, as in ``truths``.
    """
    parts: dict[str, list[LevelScores]] = {name: [] for name in truths}
    unnamed = {level: _unnamed(classifier, level) for level in {truth.level for truth in truths.values()}}
    progress("Scoring", 0, len(features_ND))
    for start, sums in _runs(classifier, features_ND):
        done = start
        for name, truth in truths.items():
            sums_BS = sums[truth.level]
            taxon_B = taxon_N[start : start + len(sums_BS)]
            parts[name].append(_scored(sums_BS, truth, taxon_B, unnamed[truth.level]))
            done = start + len(sums_BS)
        progress("Scoring", done, len(features_ND))
    return {name: _joined(truths[name], scored) for name, scored in parts.items()}


class _Sums:
    """A run's probabilities by level, each made when it is first asked for and let go with the next."""

    def __init__(self, sums_at: Callable[[str], torch.Tensor]) -> None:
        self._sums_at = sums_at
        self._last: tuple[str, torch.Tensor] | None = None

    def __getitem__(self, level: str) -> torch.Tensor:
        if self._last is None or self._last[0] != level:
            self._last = (level, self._sums_at(level))
        return self._last[1]


def _runs(classifier: Classifier, features_ND: NDArray[np.float16]) -> Iterator[tuple[int, _Sums]]:
    for begin in range(0, len(features_ND), _FEATURES_A_PASS):
        for start, sums_at in classifier.sums(features_ND[begin : begin + _FEATURES_A_PASS]):
            yield begin + start, _Sums(sums_at)


def _unnamed(classifier: Classifier, level: str) -> torch.Tensor:
    import torch

    return torch.from_numpy(~classifier.labels.spans(level).named_S)


def _scored(
    sums_BS: torch.Tensor, truth: LevelTruth, taxon_B: NDArray[np.int64], unnamed_S: torch.Tensor
) -> LevelScores:
    import torch

    device = sums_BS.device
    spans_BK = torch.from_numpy(truth.spans_CK[taxon_B]).to(device)
    right_BK = sums_BS.gather(1, spans_BK.clamp(min=0)).masked_fill(spans_BK < 0, -1.0)
    own_B = right_BK.amax(dim=1)
    place_B = torch.where(own_B >= 0, _places(sums_BS, own_B, spans_BK, right_BK), -1)
    values_BK, top_BK = sums_BS.topk(min(TOP, sums_BS.shape[1]), dim=1)
    named_value_B, named_B = values_BK[:, 0], top_BK[:, 0]
    if unnamed_S.any():
        named_value_B, named_B = sums_BS.masked_fill(unnamed_S.to(device), -1.0).max(dim=1)
    return LevelScores(
        truth, _array(top_BK), _array(values_BK.clamp(max=1).float()), _array(place_B), _array(own_B.clamp(0, 1).float()),
        _array(named_B), _array(named_value_B.clamp(max=1).float()),
    )  # fmt: skip


def _places(sums_BS: torch.Tensor, own_B: torch.Tensor, spans_BK: torch.Tensor, right_BK: torch.Tensor) -> torch.Tensor:
    """How many spans are more probable than the truth; of equally probable ones those that stand before it count too."""
    import torch

    above_B = (sums_BS > own_B[:, None]).sum(dim=1)
    ties_B = (sums_BS == own_B[:, None]).sum(dim=1) > 1
    if ties_B.any():  # rare, and over a million labels not to be had for nothing
        first_B = torch.where(right_BK == own_B[:, None], spans_BK, sums_BS.shape[1]).amin(dim=1)[ties_B]
        columns_S = torch.arange(sums_BS.shape[1], device=sums_BS.device)
        before_TS = (sums_BS[ties_B] == own_B[ties_B, None]) & (columns_S < first_B[:, None])
        above_B[ties_B] += before_TS.sum(dim=1)
    return above_B


def _joined(truth: LevelTruth, parts: list[LevelScores]) -> LevelScores:
    def column(name: str) -> NDArray[Any]:
        joined: NDArray[Any] = np.concatenate([getattr(part, name) for part in parts])
        return joined

    names = ("top_NK", "probability_NK", "place_N", "own_N", "best_named_N", "best_named_probability_N")
    return LevelScores(truth, **{name: column(name) for name in names})


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array


def level_name(name: str, *, custom: bool) -> str:
    """A level for people: custom labels have labels and groups, taxa have ranks and the exact taxon."""
    if name == EXACT:
        return "label" if custom else "exact taxon"
    return {GROUP: "group", LABEL: "label"}.get(name, name)
