"""``examples.parquet``: a row an image that was asked about, with its answers, its hits, or why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.consensus import Consensus
from bioclip_training.evaluation.figures import Answers, answer_name
from bioclip_training.evaluation.scores import rank_hits
from bioclip_training.evaluation.truth import EXACT


def write_examples(
    catalog: Catalog,
    answers: Answers,
    consensus: Consensus,
    failures: Mapping[int, str],
    file: Path,
    rows_Q: NDArray[np.int64],
) -> None:
    """Write Q rows in the order of the catalog.

    Columns: ``uri``, ``frame``, ``region`` (x, y, width, height; empty for the whole image), ``split``, ``group``,
    ``source``, the seven ranks and ``common_name`` of the truth; ``top1`` to ``top5`` with ``top1_probability`` to
    ``top5_probability``, the best labels; ``hit_LEVEL``, whether the best answer of a level was right (empty where the truth
    has no name there); ``truth_probability`` and ``truth_place`` (1 is best) of the exact taxon, empty where it is not in the
    label set; ``consensus``, ``consensus_rank``, ``consensus_probability``, ``consensus_right``; ``failure``, the reason of an
    image that could not be used or is not named.
    """
    import pyarrow as pa
    from pyarrow import parquet

    place_Q = np.full(len(rows_Q), -1, dtype=np.int64)
    place_Q[np.searchsorted(rows_Q, answers.rows_N)] = np.arange(len(answers.rows_N))
    found = {**_answer_columns(answers), **_consensus_columns(answers, consensus)}
    columns = {**_catalog_columns(catalog, rows_Q), **{name: _spread(found[name], place_Q) for name in found}}
    table = {name: pa.array(values, _type(name)) for name, values in columns.items()}
    no_name = "it has no name in the catalog that the labels are held against"
    reasons = [
        None if place >= 0 else failures.get(row, no_name) for row, place in zip(rows_Q.tolist(), place_Q, strict=True)
    ]
    table["failure"] = pa.array(reasons, pa.string())
    parquet.write_table(pa.table(table), file)


_CATALOG = ("uri", "frame", "region", "split", "group", "source", *(rank.value for rank in RANKS), "common_name")


def _spread(values: list[Any], place_Q: NDArray[np.int64]) -> list[Any]:
    """Values of the answered images in the rows of all, empty in the others."""
    return [values[place] if place >= 0 else None for place in place_Q.tolist()]


def _type(name: str) -> Any:
    import pyarrow as pa

    if name in ("frame", "truth_place"):
        return pa.int64()
    if name.startswith("hit_") or name == "consensus_right":
        return pa.bool_()
    return pa.float32() if name.endswith("_probability") else pa.string()


def _catalog_columns(catalog: Catalog, rows_Q: NDArray[np.int64]) -> dict[str, list[Any]]:
    rows = rows_Q.tolist()
    columns: dict[str, list[Any]] = {
        name: [catalog.column(name)[row] or "" for row in rows] for name in _CATALOG if name not in ("frame", "region")
    }
    columns["frame"] = [catalog.frame(row) for row in rows]
    columns["region"] = [region_text(catalog, row) for row in rows]
    return {name: columns[name] for name in _CATALOG}


def region_text(catalog: Catalog, row: int) -> str:
    """A row's box as text, so that it can be compared; empty for the whole image."""
    box = catalog.box(row)
    return " ".join(f"{value:.6g}" for value in box) if box else ""


def _answer_columns(answers: Answers) -> dict[str, list[Any]]:
    exact = answers.scores[EXACT]
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    distinct = np.unique(exact.top_NK)
    names = {span: answer_name(answers.labels, int(starts_S[span]), exact.truth.level) for span in distinct.tolist()}
    columns: dict[str, list[Any]] = {}
    for column in range(exact.top_NK.shape[1]):
        columns[f"top{column + 1}"] = [names[span] for span in exact.top_NK[:, column].tolist()]
        columns[f"top{column + 1}_probability"] = exact.probability_NK[:, column].tolist()
    for level, scores in answers.scores.items():
        counted_N, hits_N = scores.counted(answers.truth_N), rank_hits(scores.place_N, 1)
        if counted_N.any():
            columns[f"hit_{level}"] = [
                bool(hit) if counted else None for hit, counted in zip(hits_N, counted_N, strict=True)
            ]
    possible = (exact.place_N >= 0).tolist()
    columns["truth_probability"] = [
        own if can else None for own, can in zip(exact.own_N.tolist(), possible, strict=True)
    ]
    columns["truth_place"] = [
        place + 1 if can else None for place, can in zip(exact.place_N.tolist(), possible, strict=True)
    ]
    return columns


def _consensus_columns(answers: Answers, consensus: Consensus) -> dict[str, list[Any]]:
    levels = [consensus.levels[level] if level >= 0 else None for level in consensus.level_N.tolist()]
    named = zip(consensus.row_N.tolist(), levels, strict=True)
    given = consensus.given.tolist()
    return {
        "consensus": [answer_name(answers.labels, row, level) if level else None for row, level in named],
        "consensus_rank": levels,
        "consensus_probability": [
            p if have else None for p, have in zip(consensus.probability_N.tolist(), given, strict=True)
        ],
        "consensus_right": [
            right if have else None for right, have in zip(consensus.right_N.tolist(), given, strict=True)
        ],
    }
