"""Accuracy of the current weights on held-out images: zero-shot by the taxonomic captions of every taxon."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bioclip_core.captions import captions_for_labels
from bioclip_core.errors import ImageError
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.progress import Progress, silent
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.batches.data import LabelledImages
from bioclip_training.catalog.ahead import in_order
from bioclip_training.evidence.intervals import Interval, share_interval
from bioclip_training.evidence.minima import Evidence
from bioclip_training.towers.model import Towers

MOST = 4096
"""Limit of images: they show half a percent of accuracy, and a validation must stay short."""
IMAGES_AT_ONCE = 64
CAPTIONS_AT_ONCE = 256
_CELLS = 20_000_000
"""Images × labels that are scored at once: 160 MB for each of a few arrays, whatever the number of labels."""


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
    """For each image, True if its own taxon was the best. Not recorded."""

    @property
    def score(self) -> tuple[float, float]:
        """The order of weights: accuracy, and where that is equal, likelihood."""
        return self.top1, -self.nll

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.images, "top1": self.top1, "by_rank": self.by_rank, "nll": self.nll}


class HeldOut:
    """Images of a part, decoded once by the checkpoint's contract, and the labels that they are classified among."""

    def __init__(
        self,
        images: LabelledImages,
        preprocessing: Preprocessing,
        threads: int,
        *,
        most: int = MOST,
        report: Progress = silent,
    ) -> None:
        def decoded(row: int) -> NDArray[np.uint8] | ImageError:
            try:
                return images.encoded(row).model_input(preprocessing)
            except ImageError as error:
                return error

        began = time.perf_counter()
        rows = np.linspace(0, len(images) - 1, min(len(images), most)).round().astype(int).tolist()
        with closing(in_order(decoded, rows, threads, 4 * threads, name="bioclip-decode")) as found:
            read = []
            for row, pixels in zip(rows, found, strict=True):
                read.append((row, pixels))
                report(len(read), len(rows))
        self.decode_s = (time.perf_counter() - began) / max(1, len(rows))
        """Seconds per image that the decoding took."""
        self.bad = [(images.key(row), str(pixels)) for row, pixels in read if isinstance(pixels, ImageError)]
        """Key and reason of each image that cannot be read."""
        self.images = [pixels for _, pixels in read if not isinstance(pixels, ImageError)]
        kept_N = np.array([row for row, pixels in read if not isinstance(pixels, ImageError)], dtype=np.int64)
        self.taxa = images.taxa
        self.taxon_N = images.taxon_of_N[kept_N]
        self.catalog, self.rows = images.catalog, images.rows[kept_N]
        """The whole collection, and the rows of the images in it."""
        self.groups = [images.group(row) for row in kept_N.tolist()]
        """Group of each image: images of one group are not independent evidence."""
        self.evidence = Evidence.of("dev", self.groups)
        """The independent groups behind every figure of these images."""
        self._taxa_at = {rank.value: _taxa_at(self.taxa, rank.depth) for rank in RANKS}

    def __len__(self) -> int:
        return len(self.images)

    def group_numbers(self) -> NDArray[np.int64]:
        """Return the number of each image's group, for intervals."""
        return np.unique(np.array(self.groups, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)

    def interval(self, hits_N: NDArray[np.bool_]) -> Interval | tuple[None, None]:
        """Return the 95% interval of the share of hits, over groups; None for a single group."""
        low, high = share_interval(hits_N, self.group_numbers())
        return (None, None) if np.isnan(low) else (low, high)

    def validate(self, towers: Towers, report: Progress = silent) -> Validation:
        """Classify all images with the current weights of the towers."""
        captions = label_captions(self.taxa)
        parts = [captions[start : start + CAPTIONS_AT_ONCE] for start in range(0, len(captions), CAPTIONS_AT_ONCE)]
        with towers.evaluating():
            texts_CD = torch.cat([towers.text_features(part) for part in parts]).float()
            images_ND = self._features(towers, report)
            scale, texts_DC = float(towers.log_scale.exp()), texts_CD.T.to(images_ND.device)
            return self._scored((scale * images_ND[rows] @ texts_DC).cpu().numpy() for rows in self._parts())

    def features(self, towers: Towers, report: Progress = silent) -> NDArray[np.float32]:
        """Return N×D L2-normalised features with the current weights of the towers."""
        with towers.evaluating():
            features_ND: NDArray[np.float32] = self._features(towers, report).cpu().numpy()
        return features_ND

    def _features(self, towers: Towers, report: Progress) -> torch.Tensor:
        features = []
        for start in range(0, len(self.images), IMAGES_AT_ONCE):
            part = np.stack(self.images[start : start + IMAGES_AT_ONCE])
            features.append(towers.image_features(torch.from_numpy(part)))
            report(min(start + IMAGES_AT_ONCE, len(self.images)), len(self.images))
        return torch.cat(features).float()

    def scored(self, logits_NC: NDArray[np.float32]) -> Validation:
        """Return the accuracy of logits over all labels."""
        return self._scored(logits_NC[rows] for rows in self._parts())

    def _parts(self) -> list[slice]:
        """Return runs of images of which each has few enough cells with all labels, whatever the number of these."""
        step = max(1, _CELLS // max(1, len(self.taxa)))
        return [slice(start, start + step) for start in range(0, len(self), step)]

    def _scored(self, parts: Iterable[NDArray[np.float32]]) -> Validation:
        """Return the accuracy of logits that come in the runs of ``_parts``."""
        own, hits = [], []
        right: dict[str, list[NDArray[np.bool_]]] = {rank: [] for rank in self._taxa_at}
        for rows, logits_RC in zip(self._parts(), parts, strict=True):
            taxon_R = self.taxon_N[rows]
            probability_RC = np.exp(logits_RC.astype(np.float64) - logits_RC.max(axis=1, keepdims=True))
            probability_RC /= probability_RC.sum(axis=1, keepdims=True)
            own.append(probability_RC[np.arange(len(taxon_R)), taxon_R])
            hits.append(probability_RC.argmax(axis=1) == taxon_R)
            for rank, (number_C, _) in self._taxa_at.items():
                best_R = _summed(probability_RC, number_C).argmax(axis=1)
                right[rank].append(best_R == number_C[taxon_R])
        named = {rank: named_C[self.taxon_N] for rank, (_, named_C) in self._taxa_at.items()}
        by_rank = {
            rank: float(np.concatenate(right[rank])[named_N].mean()) for rank, named_N in named.items() if named_N.any()
        }
        hits_N = np.concatenate(hits)
        nll = float(-np.log(np.maximum(np.concatenate(own), 1e-30)).mean())
        return Validation(len(hits_N), float(hits_N.mean()), by_rank, nll, hits_N)


def _summed(probability_RC: NDArray[np.float64], number_C: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the sums of the columns with equal numbers, 0 to G-1: in one pass, since sorted taxa have them side by side."""
    if (np.diff(number_C) < 0).any():
        order = np.argsort(number_C, kind="stable")
        probability_RC, number_C = probability_RC[:, order], number_C[order]
    summed_RG: NDArray[np.float64] = np.add.reduceat(
        probability_RC, np.flatnonzero(np.diff(number_C, prepend=-1)), axis=1
    )
    return summed_RG


def label_captions(taxa: Sequence[Taxon]) -> list[str]:
    """Return the caption of each taxon in a label set of taxonomic captions."""
    return [captions_for_labels(taxon)[0] for taxon in taxa]


def _taxa_at(taxa: Sequence[Taxon], depth: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return, for each label, the number of its path down to a depth, and True if it has a name there."""
    numbers: dict[tuple[str, ...], int] = {}
    number_C = np.array(
        [numbers.setdefault(taxon.lineage[: depth + 1], len(numbers)) for taxon in taxa], dtype=np.int64
    )
    return number_C, np.array([bool(taxon.lineage[depth]) for taxon in taxa], dtype=bool)
