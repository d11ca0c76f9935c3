"""Two evaluations of the same images, compared image by image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import SourceError, UsageError
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.examples import region_text
from bioclip_training.evaluation.figures import Answers
from bioclip_training.evaluation.scores import Interval, bootstrap_interval, numbered, rank_hits


@dataclass(frozen=True, slots=True)
class Difference:
    """At one level, over the images that both answered."""

    level: str
    images: int
    here: float
    """Share of right best answers of this evaluation."""
    there: float
    ci95: Interval
    """Of ``here - there``, resampled by group."""
    gained: int
    """Images that only this evaluation has right."""
    lost: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "n": self.images, "top1": self.here, "other_top1": self.there, "difference": self.here - self.there,
            "difference_ci95": list(self.ci95), "gained": self.gained, "lost": self.lost,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """This evaluation beside another one."""

    other: str
    """Its folder."""
    other_model: str
    differences: tuple[Difference, ...]
    only_here: int
    """Images that the other evaluation has no answer for."""
    only_there: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "other": self.other, "other_model": self.other_model, "only_here": self.only_here, "only_there": self.only_there,
            "by_rank": {difference.level: difference.as_dict() for difference in self.differences},
        }  # fmt: skip


def compare_with(folder: Path, catalog: Catalog, answers: Answers, config: EvaluationConfig) -> Comparison:
    """Compare answers with an evaluation's folder, over the images (uri, frame and region) that both have.

    Raises:
        SourceError: if the folder is no evaluation.
        UsageError: if the two have no image in common.
    """
    model, there = read_hits(folder)
    uris = catalog.column("uri")
    keys = [(uris[row], catalog.frame(row), region_text(catalog, row)) for row in answers.rows_N.tolist()]
    common = [place for place, key in enumerate(keys) if key in there]
    if not common:
        raise UsageError(
            f"compare {folder}: it has none of these {len(keys)} images; two evaluations compare when they are of the same part of "
            "one catalog"
        )
    differences = []
    for level, scores in answers.scores.items():
        hits_N, counted_N = rank_hits(scores.place_N, 1), scores.counted(answers.truth_N)
        both = [place for place in common if counted_N[place] and there[keys[place]].get(level) is not None]
        if both:
            other = np.array([there[keys[place]][level] for place in both], dtype=bool)
            differences.append(_difference(level, hits_N[both], other, answers.group_N[both], config))
    return Comparison(
        str(folder),
        model,
        tuple(differences),
        len(keys) - len(common),
        len(there) - len({keys[place] for place in common}),
    )


def read_hits(folder: Path) -> tuple[str, dict[tuple[str, int, str], dict[str, bool | None]]]:
    """The model of an evaluation, and for each of its answered images its hits by level.

    Raises:
        SourceError: if the folder is no evaluation.
    """
    from pyarrow import ArrowException, parquet

    try:
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        table = parquet.read_table(folder / "examples.parquet")
        levels = [name.removeprefix("hit_") for name in table.column_names if name.startswith("hit_")]
        rows = table.select(["uri", "frame", "region", "failure", *(f"hit_{level}" for level in levels)]).to_pylist()
        model = str(metrics["provenance"]["model"]["name"])
    except (OSError, ValueError, KeyError, TypeError, ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"compare {folder}: it is no evaluation ({reason}); give the --output folder of an earlier evaluate"
        ) from error
    return model, {
        (row["uri"], row["frame"], row["region"]): {level: row[f"hit_{level}"] for level in levels}
        for row in rows
        if row["failure"] is None
    }


def _difference(
    level: str,
    here_N: NDArray[np.bool_],
    there_N: NDArray[np.bool_],
    group_N: NDArray[np.int64],
    config: EvaluationConfig,
) -> Difference:
    change_N = here_N.astype(np.float64) - there_N
    interval = bootstrap_interval(change_N, numbered(group_N.tolist()), seed=config.seed, resamples=config.resamples)
    return Difference(
        level, len(here_N), float(here_N.mean()), float(there_N.mean()), interval, int((change_N > 0).sum()), int((change_N < 0).sum())
    )  # fmt: skip
