"""Few-shot classification by SimpleShot: a few example images of each taxon, and the nearest of their means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evaluation.features import FeatureBook
from bioclip_training.evaluation.scores import macro_mean

_QUERIES_A_PASS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Pool:
    """Rows that the examples of one taxon are drawn from."""

    taxon: int
    rows: NDArray[np.int64]
    most: int
    """Examples that may be drawn: an unseen taxon's are its queries, of which one must be left."""

    def drawn(self, shots: int, draw: int, seed: int) -> NDArray[np.int64]:
        """Return rows in the order in which they are used: the first k of a draw are the k-shot support."""
        return np.random.default_rng([seed, draw, self.taxon]).permutation(self.rows)[: min(shots, self.most)]


@dataclass(frozen=True, slots=True)
class FewShot:
    """Figures of k example images per taxon."""

    shots: int
    accuracy_R: tuple[float, ...]
    """Share of right answers in each of R draws."""
    macro_R: tuple[float, ...]
    queries: float
    """Images classified, a mean over draws."""
    taxa: int
    """Number of taxa to choose from."""
    short: int
    """Taxa with fewer than ``shots`` examples; all of these are used."""

    def as_dict(self) -> dict[str, float]:
        """Return mean and spread (standard deviation over draws) of the accuracy, and the numbers behind them."""
        return {
            "top1": float(np.mean(self.accuracy_R)),
            "spread": float(np.std(self.accuracy_R, ddof=1)) if len(self.accuracy_R) > 1 else 0.0,
            "macro": float(np.mean(self.macro_R)),
            "queries": self.queries,
            "taxa": self.taxa,
            "short": self.short,
        }


def support_pools(
    query_rows: NDArray[np.int64], train_rows: NDArray[np.int64], taxon_of_row: NDArray[np.int64]
) -> list[Pool]:
    """Return the pool of each taxon of the queries: its rows in ``train``, else (for an unseen one) those of the queries."""
    queries, examples = (_by_taxon(rows, taxon_of_row) for rows in (query_rows, train_rows))
    pools = []
    for taxon, own in queries.items():
        rows = examples.get(taxon, own)
        inside = bool(np.isin(rows, own).all())  # an unseen taxon, or train itself is evaluated
        pools.append(Pool(taxon, rows, len(rows) - inside))
    return pools


def _by_taxon(rows: NDArray[np.int64], taxon_of_row: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return rows by their taxon, sorted once: a catalog has thousands of taxa."""
    order = rows[np.argsort(taxon_of_row[rows], kind="stable")]
    taxa, starts = np.unique(taxon_of_row[order], return_index=True)
    return dict(zip(taxa.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}


def nearest_centroid(
    queries_QD: NDArray[np.float32], support_SD: NDArray[np.float32], class_S: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Return the class of each query by SimpleShot's CL2N (Wang et al. 2019): centred on the support's mean, L2, nearest centroid.

    |q - c|² = |q|² - 2 q·c + |c|², of which |q|² is the same for all classes: one matrix product, and nothing of size
    classes × queries × D.

    Args:
        queries_QD: features.
        support_SD: features of the examples.
        class_S: the class of each example, 0 to ``classes`` - 1; every class has one.
    """
    mean_D = support_SD.mean(axis=0)
    support_SD, queries_QD = _unit(support_SD - mean_D), _unit(queries_QD - mean_D)
    centroids_CD = np.zeros((classes, support_SD.shape[1]), dtype=np.float32)
    np.add.at(centroids_CD, class_S, support_SD)
    centroids_CD /= np.bincount(class_S, minlength=classes)[:, None]
    half_C = 0.5 * (centroids_CD**2).sum(axis=1)
    step = max(1, _QUERIES_A_PASS_BYTES // (4 * classes))
    parts = [
        (queries_QD[start : start + step] @ centroids_CD.T - half_C).argmax(axis=1)
        for start in range(0, len(queries_QD), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def few_shot(
    shots: int,
    pools: Sequence[Pool],
    query_rows: NDArray[np.int64],
    taxon_of_row: NDArray[np.int64],
    group_of_row: NDArray[np.int64],
    features: FeatureBook,
    *,
    draws: int,
    seed: int,
) -> FewShot:
    """Classify the queries by ``shots`` examples of each taxon, drawn ``draws`` times.

    An example is not a query, and neither is another frame of its group. Queries of taxa without an example are skipped.
    """
    queries = query_rows[features.usable(query_rows)]
    found = []
    taxa = short = 0
    for draw in range(draws):
        drawn = (pool.drawn(shots, draw, seed) for pool in pools)
        support = [rows[features.usable(rows)] for rows in drawn]
        taxa, short = sum(len(rows) > 0 for rows in support), sum(0 < len(rows) < shots for rows in support)
        right = _one_draw(np.concatenate(support), queries, taxon_of_row, group_of_row, features) if taxa else None
        if right is not None:
            found.append(right)
    if not found:
        return FewShot(shots, (math.nan,), (math.nan,), 0.0, taxa, short)
    return FewShot(
        shots, tuple(float(hits.mean()) for hits, _ in found), tuple(macro_mean(hits, own) for hits, own in found),
        float(np.mean([len(hits) for hits, _ in found])), taxa, short,
    )  # fmt: skip


def _one_draw(
    support: NDArray[np.int64],
    queries: NDArray[np.int64],
    taxon_of_row: NDArray[np.int64],
    group_of_row: NDArray[np.int64],
    features: FeatureBook,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]] | None:
    """Return the hit and the taxon of each query; None if no query is left."""
    present_C, class_S = np.unique(taxon_of_row[support], return_inverse=True)
    asked = queries[~np.isin(group_of_row[queries], group_of_row[support]) & np.isin(taxon_of_row[queries], present_C)]
    if not len(asked):
        return None
    support_SD, queries_QD = (features.of(rows).astype(np.float32) for rows in (support, asked))
    nearest = nearest_centroid(queries_QD, support_SD, class_S, len(present_C))
    return present_C[nearest] == taxon_of_row[asked], taxon_of_row[asked]


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return L2-normalised rows; a row of zeros (a single example is the mean itself) stays zero."""
    return np.asarray(rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12))
