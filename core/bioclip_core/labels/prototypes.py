"""Prototypes: label sets made from example images instead of captions, which need no text tower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LabelSet, one_label_each
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon

SCALES: tuple[float, ...] = tuple(float(round(scale, 3)) for scale in np.geomspace(1.0, 100.0, 41))
"""Scales to try: 12% apart, which is finer than a few thousand examples can tell, up to 100, where CLIP clamps its own."""

UNFITTED = 10.0
"""Scale if no taxon has two examples. With a small CLIP model, leaves and reef fish are likeliest at 16 and 11."""

_ROWS_PER_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class ScaleFit:
    """The choice of a scale for prototypes, as the label set's manifest keeps it."""

    scale: float
    """The scale of ``SCALES`` under which the left-out examples are likeliest."""
    examples: int
    """Examples that could be left out: those of taxa with at least one other example."""
    top1: float | None
    """Fraction of these examples whose own taxon was the nearest; None without any."""
    log_likelihood: float | None
    """Mean natural logarithm of the probability of the example's own taxon, at ``scale``."""


def build_prototypes(
    features_ND: NDArray[Any], taxa: Sequence[Taxon], encoder_identity: dict[str, str], folder: Path
) -> LabelSet:
    """Write a label set whose embeddings are the centroids of example images.

    The mean of all features is subtracted from each feature, and the result is L2-normalised; a taxon's prototype is the
    normalised mean of its examples. A query is centred and normalised in the same way before the cosine (CL2N of SimpleShot,
    Wang et al. 2019). Cosines of centred images are on another scale than those of an image and a caption, so the block gets
    its own scale: the one under which the examples are likeliest, each classified against prototypes made without it. A
    taxon with one example has a prototype, but its example cannot be left out and is not part of the fit. The feature mean
    is not recomputed for each example left out, which makes no difference with more than a few dozen examples.

    Args:
        features_ND: one L2-normalised row per example, float16 or float32, from the encoder.
        taxa: the taxon of each row; lineages that differ only in missing ranks are one taxon, with its first common name.
        encoder_identity: identity of the encoder that made the features.
        folder: folder to write; one that holds another label set is refused.

    Raises:
        LabelSetError: if rows and taxa do not fit, a row is unusable or lacks a taxon, or fewer than two taxa have examples.
    """
    features = checked_examples(features_ND, taxa)
    labels, label_of_N, _ = one_label_each(taxa)
    mean_D = features.mean(axis=0)
    centred_ND = unit_rows(features - mean_D)
    sums_CD = sums_of(centred_ND, label_of_N, len(labels))
    fit = _fit_scale(centred_ND, label_of_N, sums_CD)
    block = Block(0, len(labels), "prototype", fit.scale, 0.0, tuple(float(value) for value in mean_D))
    notes = {"captions": None, "examples": len(features), "scale_fit": asdict(fit)}
    return write_label_set(folder, labels, unit_rows(sums_CD), encoder_identity, block, notes)


def _fit_scale(
    centred_ND: NDArray[np.float32], label_of_N: NDArray[np.int64], sums_CD: NDArray[np.float32]
) -> ScaleFit:
    """Choose the scale by the likelihood of each example under prototypes made without it.

    Args:
        centred_ND: the examples, mean-subtracted and L2-normalised.
        label_of_N: number of each example's prototype, 0 to C-1.
        sums_CD: for each prototype the sum of its examples.
    """
    rows = np.flatnonzero(np.bincount(label_of_N)[label_of_N] > 1)
    if not len(rows):
        return ScaleFit(UNFITTED, 0, None, None)
    prototypes_CD = unit_rows(sums_CD)
    totals_S = np.zeros(len(SCALES))
    right = 0
    for start in range(0, len(rows), _ROWS_PER_CHUNK):
        chunk = rows[start : start + _ROWS_PER_CHUNK]
        cosines_RC = left_out_cosines(centred_ND[chunk], label_of_N[chunk], sums_CD, prototypes_CD)
        own_R = cosines_RC[np.arange(len(chunk)), label_of_N[chunk]]
        right += int((cosines_RC.argmax(axis=1) == label_of_N[chunk]).sum())
        totals_S -= [float(log_sum(scale * (cosines_RC - own_R[:, None])).sum()) for scale in SCALES]
    best = int(totals_S.argmax())
    return ScaleFit(SCALES[best], len(rows), right / len(rows), float(totals_S[best] / len(rows)))


def left_out_cosines(
    queries_RD: NDArray[np.float32],
    own_R: NDArray[np.int64],
    sums_CD: NDArray[np.float32],
    prototypes_CD: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return R×C cosines, with each query's own prototype made of the other examples of its taxon."""
    cosines_RC = (queries_RD @ prototypes_CD.T).astype(np.float64)
    cosines_RC[np.arange(len(queries_RD)), own_R] = (queries_RD * unit_rows(sums_CD[own_R] - queries_RD)).sum(axis=1)
    return cosines_RC


def checked_examples(features_ND: NDArray[Any], taxa: Sequence[Taxon], *, least: int = 2) -> NDArray[np.float32]:
    """Return the examples' features in fp32.

    Raises:
        LabelSetError: if rows and taxa do not fit, a row is unusable or lacks a taxon, or fewer than ``least`` taxa have examples.
    """
    if features_ND.ndim != 2 or len(features_ND) != len(taxa):
        raise LabelSetError(
            f"prototypes: {len(taxa)} taxa for features of shape {'x'.join(map(str, features_ND.shape))}; "
            "give one taxon for each row of an N x D array"
        )
    features = np.asarray(features_ND, dtype=np.float32)
    unusable = np.flatnonzero(~np.isfinite(features).all(axis=1) | ~features.any(axis=1))
    if len(unusable):
        raise LabelSetError(
            f"prototypes: {len(unusable)} of {len(features)} features are zero or not numbers, first in row {unusable[0]}; "
            "leave these examples out"
        )
    nameless = [row for row, taxon in enumerate(taxa) if taxon.rank is None]
    if nameless:
        raise LabelSetError(
            f"prototypes: {len(nameless)} of {len(taxa)} examples have no name at any rank, first in row {nameless[0]}; "
            "leave these examples out, or name them"
        )
    if len(one_label_each(taxa)[0]) < least:
        if least == 1:
            raise LabelSetError("prototypes: there are no examples; give at least two images of one taxon")
        raise LabelSetError(
            "prototypes: examples of at least two taxa are needed, since a single one would always be the answer; add a taxon, "
            "or join the prototype to a text label set"
        )
    return features


def sums_of(rows_ND: NDArray[np.float32], label_of_N: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return the sum of the rows of each of C labels."""
    sums_CD = np.zeros((count, rows_ND.shape[1]), dtype=np.float32)
    np.add.at(sums_CD, label_of_N, rows_ND)
    return sums_CD


def log_sum(logits_RC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the sum of the exponentials of each row, without overflow."""
    peak_R = logits_RC.max(axis=1)
    total: NDArray[np.float64] = peak_R + np.log(np.exp(logits_RC - peak_R[:, None]).sum(axis=1))
    return total


def unit_rows(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return L2-normalised rows. A row equal to the feature mean stays zero, and the label set masks it."""
    norms = np.linalg.norm(rows_ND, axis=1, keepdims=True)
    out: NDArray[np.float32] = np.zeros_like(rows_ND, dtype=np.float32)
    np.divide(rows_ND, norms, out=out, where=norms > 1e-6)
    return out
