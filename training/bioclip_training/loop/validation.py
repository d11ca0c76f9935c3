"""How good the weights in hand are on held-out images: zero-shot by the taxonomic captions of every taxon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import captions_for_labels
from bioclip_core.errors import ImageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.taxonomy import RANKS, Taxon

if TYPE_CHECKING:
    import torch

    from bioclip_training.batches.data import LabelledImages
    from bioclip_training.towers.model import Towers

_MOST = 4096  # images; half a percent of accuracy is seen with these, and a validation must stay short
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Validation:
    """Accuracy on held-out images."""

    images: int
    top1: float
    """Share of images whose own taxon, at whatever rank it is named, is the best of all labels."""
    by_rank: dict[str, float]
    """Share whose best taxon at a rank (summed over its labels) is right, of the images that have a name there."""
    nll: float
    """Mean negative natural logarithm of the probability of the own taxon."""
    hits_N: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool), repr=False, compare=False)
    """For each image whether its own taxon was the best; not written down."""

    @property
    def score(self) -> tuple[float, float]:
        """What the better weights have more of: accuracy, and where that is equal, likelihood."""
        return self.top1, -self.nll

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.images, "top1": self.top1, "by_rank": self.by_rank, "nll": self.nll}


class HeldOut:
    """Images of a part, decoded once by the checkpoint's contract, and the labels that they are classified among."""

    def __init__(
        self, images: LabelledImages, preprocessing: Preprocessing, workers: int, bad: Callable[[str, str], None]
    ) -> None:
        rows = np.linspace(0, len(images) - 1, min(len(images), _MOST)).round().astype(int)
        self.taxa = images.taxa
        with ThreadPoolExecutor(workers) as pool:
            decoded = list(pool.map(lambda row: _decoded(images, int(row), preprocessing), rows))
        kept = []
        for row, pixels in zip(rows, decoded, strict=True):
            if isinstance(pixels, str):
                bad(images.key(int(row)), pixels)
            else:
                kept.append((pixels, int(images.taxon_of_N[row]), images.group(int(row))))
        self.images = [pixels for pixels, _, _ in kept]
        self.taxon_N = np.array([taxon for _, taxon, _ in kept], dtype=np.int64)
        self.groups = [group for _, _, group in kept]
        """Of each image: images of one group are no independent evidence."""
        self._groups = {rank.value: _groups_at(self.taxa, rank.depth) for rank in RANKS}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def captions(self) -> list[str]:
        """The caption that stands for each label."""
        return label_captions(self.taxa)

    def validate(self, towers: Towers) -> Validation:
        """Classify all images with the towers as they are."""
        import torch

        towers.eval()
        try:
            with torch.no_grad():
                texts_CD = torch.cat([towers.text_features(part) for part in _runs(self.captions, 256)]).float()
                images_ND = self.features(towers)
                scale = float(towers.log_scale.exp())
            return self.scored((scale * images_ND @ texts_CD.T.to(images_ND.device)).cpu().numpy())
        finally:
            towers.train()

    def features(self, towers: Towers) -> torch.Tensor:
        """N×D L2-normalised features, fp32; the towers must be in evaluation mode."""
        import torch

        parts = [
            towers.image_features(torch.from_numpy(np.stack(self.images[start : start + _BATCH])))
            for start in range(0, len(self.images), _BATCH)
        ]
        return torch.cat(parts).float()

    def scored(self, logits_NC: NDArray[np.float32]) -> Validation:
        """Accuracy of logits over all labels."""
        logits_NC = logits_NC.astype(np.float64)
        probability_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
        probability_NC /= probability_NC.sum(axis=1, keepdims=True)
        own_N = probability_NC[np.arange(len(logits_NC)), self.taxon_N]
        by_rank = {}
        for rank, (group_C, named_C) in self._groups.items():
            named_N = named_C[self.taxon_N]
            if named_N.any():
                summed_NG = _summed(probability_NC, group_C)
                by_rank[rank] = float((summed_NG.argmax(axis=1) == group_C[self.taxon_N])[named_N].mean())
        hits_N = probability_NC.argmax(axis=1) == self.taxon_N
        nll = float(-np.log(np.maximum(own_N, 1e-30)).mean())
        return Validation(len(logits_NC), float(hits_N.mean()), by_rank, nll, hits_N)


def label_captions(taxa: Sequence[Taxon]) -> list[str]:
    """The caption by which each taxon stands in a label set of taxonomic captions."""
    return [captions_for_labels(taxon)[0] for taxon in taxa]


def _decoded(images: LabelledImages, row: int, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
    try:
        return images.encoded(row).model_input(preprocessing)
    except ImageError as error:
        return str(error)


def _groups_at(taxa: Sequence[Taxon], depth: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each label the number of its whole path down to a depth, and whether it has a name there."""
    numbers: dict[tuple[str, ...], int] = {}
    group_C = np.array([numbers.setdefault(taxon.lineage[: depth + 1], len(numbers)) for taxon in taxa], dtype=np.int64)
    return group_C, np.array([bool(taxon.lineage[depth]) for taxon in taxa], dtype=bool)


def _summed(probability_NC: NDArray[np.float64], group_C: NDArray[np.int64]) -> NDArray[np.float64]:
    summed_NG = np.zeros((len(probability_NC), int(group_C.max()) + 1))
    np.add.at(summed_NG.T, group_C, probability_NC.T)
    return summed_NG


def _runs(texts: Sequence[str], size: int) -> list[Sequence[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]
