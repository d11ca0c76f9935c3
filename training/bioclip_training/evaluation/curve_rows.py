"""Images of a catalog's ``train`` for the learning curve, and the model whose features it is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_models import origin_of
from bioclip_training.evaluation.answering import Answered
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.features import FeatureBook, StageProgress
from bioclip_training.evaluation.learning_curve import Sample, learning_curve
from bioclip_training.evaluation.questions import groups_of

MOST_IMAGES = 3000
"""Images of ``train`` that are encoded; of more, as many of each taxon as fit."""


def curve_of(
    config: EvaluationConfig, catalog: Catalog, models: Sequence[Answered], progress: StageProgress
) -> dict[str, Any]:
    """Measure the learning curve on the features of the first model that was not trained by ``train``, else of the first one.

    The features of a model that has learnt the labels separate its taxa with one example already, so that its curve is flat.
    """
    answered = next((one for one in models if not origin_of(one.found.folder)), models[0])
    catalog_taxon_N, group_N = catalog.taxon_of_N, groups_of(catalog)
    queries = answered.answers.rows_N
    wanted = np.unique(catalog_taxon_N[queries])
    train = np.concatenate([catalog.rows_of("train"), catalog.rows_of("dev")])
    train = np.setdiff1d(train[np.isin(catalog_taxon_N[train], wanted)], queries)
    rows = chosen(train, catalog_taxon_N, group_N, config.seed)
    if len(rows):
        answered.book.encode(rows, "Labelled images", progress)

    def sample(book: FeatureBook, rows_M: NDArray[np.int64]) -> Sample:
        usable_M = rows_M[book.usable(rows_M)]
        return Sample(book.of(usable_M).astype(np.float32), catalog_taxon_N[usable_M], group_N[usable_M])

    found = learning_curve(
        sample(answered.book, rows), sample(answered.book, queries), draws=config.draws, seed=config.seed
    )  # fmt: skip
    origin = origin_of(answered.found.folder)
    return {"model": answered.found.name, "learnt_labels": bool(origin), "left_out": len(train) - len(rows), **found}


def chosen(
    rows_M: NDArray[np.int64],
    taxon_N: NDArray[np.int64],
    group_N: NDArray[np.int64],
    seed: int,
    most: int = MOST_IMAGES,
) -> NDArray[np.int64]:
    """Return at most about ``most`` rows: all of rare taxa, and as many of each frequent one as fit, in whole groups."""
    if len(rows_M) <= most:
        return rows_M
    random = np.random.default_rng(seed)
    groups, own_M = np.unique(group_N[rows_M], return_inverse=True)
    order = np.lexsort((random.random(len(rows_M)), random.permutation(len(groups))[own_M], taxon_N[rows_M]))
    drawn = rows_M[order]
    starts = np.flatnonzero(np.diff(taxon_N[drawn], prepend=-1))
    sizes = np.diff(starts, append=len(drawn))
    place_M = np.arange(len(drawn)) - np.repeat(starts, sizes)
    limit = next((limit for limit in range(int(sizes.max()), 0, -1) if np.minimum(sizes, limit).sum() <= most), 1)
    return np.sort(drawn[place_M < limit])
