"""Comparison of two evaluations of the same images, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, SourceError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.tables.parquet_limits import check_whole
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.examples import region_text
from bioclip_training.evaluation.outcome import Answers
from bioclip_training.evaluation.scores import rank_hits
from bioclip_training.evidence.intervals import difference_interval


def compare_with(folder: Path, catalog: Catalog, answers: Answers) -> dict[str, Any]:
    """Compare answers with those in an evaluation's folder, over the images (uri, frame and region) that both have.

    Returns:
        The other evaluation's folder and model, the number of images that only one of the two has, and per level the shares of
        right best answers, their difference with its interval, and the images that only one of the two has right.

    Raises:
        SourceError: if the folder is not an evaluation.
        DataError: if the two have no image in common.
    """
    model, there = read_hits(folder)
    uris = catalog.column("uri")
    keys = [(uris[row], catalog.frame(row), region_text(catalog, row)) for row in answers.rows_N.tolist()]
    common = [place for place, key in enumerate(keys) if key in there]
    if not common:
        raise DataError(
            f"compare {folder}: it has none of these {len(keys)} images; two evaluations compare when they are of the same part of "
            "one catalog"
        )
    by_rank = {}
    for level, scores in answers.scores.items():
        hits_N, counted_N = rank_hits(scores.place_N, 1), scores.counted(answers.truth_N)
        both = [place for place in common if counted_N[place] and there[keys[place]].get(level) is not None]
        if both:
            other_N = np.array([there[keys[place]][level] for place in both], dtype=bool)
            by_rank[level] = _difference(hits_N[both], other_N, answers.group_N[both])
    return {
        "other": str(folder),
        "other_model": model,
        "only_here": len(keys) - len(common),
        "only_there": len(there) - len({keys[place] for place in common}),
        "by_rank": by_rank,
    }


@dataclass(frozen=True, slots=True)
class _Model:
    name: str


@dataclass(frozen=True, slots=True)
class _Provenance:
    model: _Model


@dataclass(frozen=True, slots=True)
class _Metrics:
    """Part of an evaluation's ``metrics.json`` that a comparison needs."""

    provenance: _Provenance


def read_hits(folder: Path) -> tuple[str, dict[tuple[str, int, str], dict[str, bool | None]]]:
    """Return the model of an evaluation, and the hits of each of its answered images by level.

    Raises:
        SourceError: if the folder is not an evaluation.
    """
    from pyarrow import ArrowException, parquet

    try:
        metrics = read_document(folder / "metrics.json", _Metrics, name="", error=ValueError)
        check_whole(folder / "examples.parquet")
        table = parquet.read_table(folder / "examples.parquet")
        levels = [name.removeprefix("hit_") for name in table.column_names if name.startswith("hit_")]
        rows = table.select(["uri", "frame", "region", "failure", *(f"hit_{level}" for level in levels)]).to_pylist()
    except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
        raise SourceError(
            f"compare {folder}: it is not an evaluation ({first_line(error)}); give the --output folder of an earlier evaluate"
        ) from error
    return metrics.provenance.model.name, {
        (row["uri"], row["frame"], row["region"]): {level: row[f"hit_{level}"] for level in levels}
        for row in rows
        if row["failure"] is None
    }


def _difference(here_N: NDArray[np.bool_], there_N: NDArray[np.bool_], group_N: NDArray[np.int64]) -> dict[str, Any]:
    change_N = here_N.astype(np.float64) - there_N
    interval = difference_interval(change_N, group_N)
    here, there = float(here_N.mean()), float(there_N.mean())
    return {
        "n": len(here_N), "groups": len(np.unique(group_N)), "top1": here, "other_top1": there, "difference": here - there,
        "difference_ci95": list(interval),
        "gained": int((change_N > 0).sum()), "lost": int((change_N < 0).sum()),
    }  # fmt: skip
