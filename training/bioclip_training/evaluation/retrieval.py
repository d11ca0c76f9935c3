"""Retrieval: for an image the other images of its taxon, for a name the images of its taxon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet
from bioclip_training.evaluation.truth import LevelTruth

MOST = 10_000
"""Images that take part; of more, every n-th, since each is compared with all others."""

_PASS_BYTES = 128 << 20


def image_to_image(
    features_ND: NDArray[np.float16], taxon_N: NDArray[np.int64], group_N: NDArray[np.int64]
) -> dict[str, Any]:
    """Measure how well an image's nearest images are of its taxon: R@1, and mAP@R (Musgrave et al. 2020).

    Other frames of the image's own group do not count, since they are nearly the same picture. An image without another one
    of its taxon outside of its group is not a query.
    """
    features = features_ND.astype(np.float32)

    def compared(part: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        cosine_QN = features[part] @ features.T
        cosine_QN[group_N[part, None] == group_N[None, :]] = -np.inf  # the image itself is in its group
        return cosine_QN, (taxon_N[part, None] == taxon_N[None, :]) & np.isfinite(cosine_QN)

    return _measured(len(features), len(features), compared)


def text_to_image(
    features_ND: NDArray[np.float16], taxon_N: NDArray[np.int64], truth: LevelTruth, labels: LabelSet
) -> dict[str, Any]:
    """Measure how well the images nearest to a label are of its taxon: R@1 and mAP@R over the taxa with images here."""
    present = np.array([taxon for taxon in np.unique(taxon_N) if truth.spans_CK[taxon, 0] >= 0], dtype=np.int64)
    rows = labels.spans(truth.level).starts_S[truth.spans_CK[present, 0]]
    features = features_ND.astype(np.float32)

    def compared(part: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        return _cosines(features, labels, rows[part]), present[part, None] == taxon_N[None, :]

    return _measured(len(present), len(features), compared)


def _cosines(features_ND: NDArray[np.float32], labels: LabelSet, rows_Q: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return Q×N cosines of label rows and images; images are centred for prototypes and probes, as when they are classified."""
    cosine_QN = np.empty((len(rows_Q), len(features_ND)), dtype=np.float32)
    for kind in labels.kinds:
        own = np.isin(rows_Q, kind.rows_R)
        if not own.any():
            continue
        queries_ND = features_ND
        if kind.feature_mean is not None:
            centred_ND = features_ND - np.array(kind.feature_mean, dtype=np.float32)
            queries_ND = centred_ND / np.maximum(np.linalg.norm(centred_ND, axis=1, keepdims=True), 1e-12)
        cosine_QN[own] = labels.embeddings_ND[rows_Q[own]].astype(np.float32) @ queries_ND.T
    return cosine_QN


def _measured(
    queries: int, images: int, compared: Callable[[slice], tuple[NDArray[np.float32], NDArray[np.bool_]]]
) -> dict[str, Any]:
    """Return the means over all queries, compared in passes of a bounded size."""
    step = max(1, _PASS_BYTES // (4 * max(1, images)))
    ranked = [_ranked(*compared(slice(start, start + step))) for start in range(0, queries, step)]
    hits = np.concatenate([hits for hits, _ in ranked]) if ranked else np.empty(0, dtype=bool)
    if not len(hits):
        return {"r_at_1": None, "map_at_r": None, "queries": 0}
    precision = np.concatenate([precision for _, precision in ranked])
    return {"r_at_1": float(hits.mean()), "map_at_r": float(precision.mean()), "queries": len(hits)}


def _ranked(
    cosine_QN: NDArray[np.float32], right_QN: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return for each query with a right image whether the nearest is right, and the mean precision at its right places.

    The mean is over the first R places, where R is the number of right images.
    """
    total_Q = right_QN.sum(axis=1)
    asked = total_Q > 0
    if not asked.any():
        return np.empty(0, dtype=bool), np.empty(0)
    cosine_QN, right_QN, total_Q = cosine_QN[asked], right_QN[asked], total_Q[asked]
    deepest = int(total_Q.max())
    nearest_QR = np.argpartition(-cosine_QN, min(deepest, cosine_QN.shape[1]) - 1, axis=1)[:, :deepest]
    order_QR = np.argsort(-np.take_along_axis(cosine_QN, nearest_QR, axis=1), axis=1, kind="stable")
    hits_QR = np.take_along_axis(right_QN, np.take_along_axis(nearest_QR, order_QR, axis=1), axis=1)
    places_R = np.arange(1, deepest + 1)
    counted_QR = hits_QR & (places_R <= total_Q[:, None])
    return hits_QR[:, 0], (np.cumsum(hits_QR, axis=1) / places_R * counted_QR).sum(axis=1) / total_Q
