"""File ``examples.parquet``: one row per image of an evaluation, with its answers and hits, or the reason why it has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.outcome import Answers, Outcome
from bioclip_training.evaluation.scores import rank_hits
from bioclip_training.evaluation.truth import EXACT


def write_examples(outcome: Outcome, file: Path, rows_Q: NDArray[np.int64]) -> None:
    """Write Q rows in the order of the catalog.

    Columns: ``uri``, ``frame``, ``region`` (x, y, width, height; empty for the whole image), ``split``, ``group``,
    ``source``, the seven ranks and ``common_name`` of the truth; ``top1`` to ``top5`` with ``top1_probability`` to
    ``top5_probability``, the best labels; ``hit_LEVEL``, true if the best answer of a level was right (empty if the truth
    lacks a name there); ``truth_probability`` and ``truth_place`` (1 is best) of the exact taxon, empty if it is not in the
    label set; ``consensus``, ``consensus_rank``, ``consensus_probability``, ``consensus_right``; ``failure``, the reason of an
    image that could not be used or lacks a name.
    """
    import pyarrow as pa
    from pyarrow import parquet

    answers, catalog, rows = outcome.answers, outcome.catalog, rows_Q.tolist()
    place_of = {row: place for place, row in enumerate(answers.rows_N.tolist())}

    def texts(*names: str) -> dict[str, list[Any]]:
        return {name: [catalog.column(name)[row] or "" for row in rows] for name in names}

    columns: dict[str, list[Any]] = {
        **texts("uri"),
        "frame": [catalog.frame(row) for row in rows],
        "region": [region_text(catalog, row) for row in rows],
        **texts("split", "group", "source", *(rank.value for rank in RANKS), "common_name"),
    }
    for name, values in {**_answer_columns(answers), **_consensus_columns(outcome)}.items():
        columns[name] = [values[place_of[row]] if row in place_of else None for row in rows]
    no_name = "it has no name in the catalog that labels can be compared with"
    columns["failure"] = [None if row in place_of else outcome.failures.get(row, no_name) for row in rows]
    parquet.write_table(pa.table({name: pa.array(values, _type(name)) for name, values in columns.items()}), file)


def _type(name: str) -> str:
    """Return pyarrow's name of a column's type."""
    if name in ("frame", "truth_place"):
        return "int64"
    if name.startswith("hit_") or name == "consensus_right":
        return "bool"
    return "float32" if name.endswith("_probability") else "string"


def region_text(catalog: Catalog, row: int) -> str:
    """Return a row's box as text, so that it can be compared; empty for the whole image."""
    box = catalog.box(row)
    return " ".join(f"{value:.6g}" for value in box) if box else ""


def _answer_columns(answers: Answers) -> dict[str, list[Any]]:
    exact = answers.scores[EXACT]
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    names = {span: answers.name(int(starts_S[span]), exact.truth.level) for span in np.unique(exact.top_NK).tolist()}
    columns: dict[str, list[Any]] = {}
    for column in range(exact.top_NK.shape[1]):
        columns[f"top{column + 1}"] = [names[span] for span in exact.top_NK[:, column].tolist()]
        columns[f"top{column + 1}_probability"] = exact.probability_NK[:, column].tolist()
    for level, scores in answers.scores.items():
        if (counted_N := scores.counted(answers.truth_N)).any():
            columns[f"hit_{level}"] = _where(counted_N, rank_hits(scores.place_N, 1))
    possible_N = exact.place_N >= 0
    columns["truth_probability"] = _where(possible_N, exact.own_N)
    columns["truth_place"] = _where(possible_N, exact.place_N + 1)
    return columns


def _consensus_columns(outcome: Outcome) -> dict[str, list[Any]]:
    consensus = outcome.consensus
    levels = [consensus.levels[level] if level >= 0 else None for level in consensus.level_N.tolist()]
    return {
        "consensus": [
            outcome.answers.name(row, level) if level else None
            for row, level in zip(consensus.row_N.tolist(), levels, strict=True)
        ],
        "consensus_rank": levels,
        "consensus_probability": _where(consensus.given, consensus.probability_N),
        "consensus_right": _where(consensus.given, consensus.right_N),
    }


def _where(given_N: NDArray[np.bool_], values_N: NDArray[Any]) -> list[Any]:
    return [value if given else None for given, value in zip(given_N.tolist(), values_N.tolist(), strict=True)]
