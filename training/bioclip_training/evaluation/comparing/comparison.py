"""Comparison of two evaluations of the same images, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, SourceError, first_line
from bioclip_core.files.documents import as_recorded, read_document
from bioclip_core.nouns import number_of
from bioclip_core.tables.parquet_limits import check_whole
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_models import origin_of
from bioclip_training.evaluation.answering import Answered
from bioclip_training.evaluation.examples import region_text
from bioclip_training.evaluation.outcome import Answers
from bioclip_training.evaluation.remarks import meaningless_before
from bioclip_training.evaluation.scores import rank_hits
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evidence.intervals import difference_interval

Key = tuple[str, int, str]
"""Uri, frame and region of an image."""


@dataclass(frozen=True, slots=True)
class AnsweredBy:
    """All that the answers to an image depend on: two that are equal give equal answers."""

    weights_sha256: str
    preprocessing: Mapping[str, Any]
    label_set: str
    """Id of the label set."""
    temperature: float | None

    @classmethod
    def of(cls, answered: Answered) -> AnsweredBy:
        found = answered.found
        preprocessing = as_recorded(found.preprocessing.identity())  # as an earlier evaluation has it
        label_set = answered.answers.question.labels.manifest["id"]
        return cls(found.weights_sha256, preprocessing, label_set, answered.temperature)


@dataclass(frozen=True, slots=True)
class Other:
    """The evaluation to compare with."""

    source: str
    """Its folder; empty for a model of the same run."""
    model: str
    trained: Mapping[str, Any]
    """Start, method and data of a model that ``train`` made; empty for others."""
    labels: str
    """Description of its labels."""
    hits: Mapping[Key, Mapping[str, bool | None]]
    """Hit of the best answer of each image, by level; None without a name at the level."""
    meaningless: str = ""
    """Remark on figures that mean nothing, since no answer can be right or only one is possible; else empty."""
    by: AnsweredBy | None = None
    """None for an evaluation of an earlier version, whose record lacks a part."""


def compare_with(other: Other, catalog: Catalog, answers: Answers) -> dict[str, Any]:
    """Compare answers with those of another evaluation, over the images (uri, frame and region) that both have.

    Returns:
        The other evaluation's folder and model, the number of images that only one of the two has, and per level the shares of
        right best answers, their difference with its interval, and the images that only one of the two has right.

    Raises:
        DataError: if the two have no image in common.
    """
    keys, there = keys_of(catalog, answers), other.hits
    common = [place for place, key in enumerate(keys) if key in there]
    if not common:
        raise DataError(
            f"compare {other.source}: it has none of these {number_of(len(keys), 'image')}; two evaluations compare when they are of the "
            "same part of one catalog"
        )
    by_rank = {}
    for level, scores in answers.scores.items():
        hits_N, counted_N = rank_hits(scores.place_N, 1), scores.counted(answers.truth_N)
        both = [place for place in common if counted_N[place] and there[keys[place]].get(level) is not None]
        if both:
            other_N = np.array([there[keys[place]][level] for place in both], dtype=bool)
            by_rank[level] = _difference(hits_N[both], other_N, answers.group_N[both])
    return {
        "other": other.source or "evaluated in the same run",
        "other_model": other.model,
        "other_trained": dict(other.trained) or None,
        "other_labels": other.labels,
        "only_here": len(keys) - len(common),
        "only_there": len(there) - len({keys[place] for place in common}),
        "by_rank": by_rank,
    }


def compared_groups(other: Other, catalog: Catalog, answers: Answers) -> list[int]:
    """Return the group of each image that both have an answer for."""
    keys, groups = keys_of(catalog, answers), answers.group_N.tolist()
    return [
        group
        for key, group in zip(keys, groups, strict=True)
        if key in other.hits and other.hits[key].get(EXACT) is not None
    ]


def keys_of(catalog: Catalog, answers: Answers) -> list[Key]:
    """Return the key of each answered image."""
    uris = catalog.column("uri")
    return [(uris[row], catalog.frame(row), region_text(catalog, row)) for row in answers.rows_N.tolist()]


def evaluated_here(answered: Answered, catalog: Catalog) -> Other:
    """Return the answers of a second model of the same run."""
    answers = answered.answers
    columns = {
        level: (scores.counted(answers.truth_N), rank_hits(scores.place_N, 1))
        for level, scores in answers.scores.items()
    }
    hits: dict[Key, dict[str, bool | None]] = {
        key: {
            level: bool(hits_N[place]) if counted_N[place] else None for level, (counted_N, hits_N) in columns.items()
        }
        for place, key in enumerate(keys_of(catalog, answers))
    }
    trained = origin_of(answered.found.folder).get("trained", {})
    exact, model = answers.scores[EXACT], answered.found.name
    remark = meaningless_before(model, len(answers.labels), len(exact.place_N), int((exact.place_N < 0).sum()))
    return Other("", model, trained, answers.question.described, hits, remark, AnsweredBy.of(answered))


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    trained: dict[str, Any] | None = None
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True)
class _Labels:
    described: str = ""
    id: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Provenance:
    model: _Model
    labels: _Labels = _Labels()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    temperature: float | None = None

    @property
    def answered_by(self) -> AnsweredBy | None:
        parts = self.model.weights_sha256, self.preprocessing, self.labels.id
        return AnsweredBy(*parts, self.temperature) if all(parts) else None


@dataclass(frozen=True, slots=True)
class _Figures:
    n: int = 0
    unanswerable: int = 0


@dataclass(frozen=True, slots=True)
class _Metrics:
    """Part of an evaluation's ``metrics.json`` that a comparison needs."""

    provenance: _Provenance
    zero_shot: dict[str, _Figures] = field(default_factory=dict)


def is_evaluation(folder: Path) -> bool:
    """True if a folder holds, or should hold, an evaluation."""
    return (folder / "metrics.json").is_file() or (folder / "examples.parquet").is_file()


def read_other(folder: Path) -> Other:
    """Read an earlier evaluation.

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
    hits = {
        (row["uri"], row["frame"], row["region"]): {level: row[f"hit_{level}"] for level in levels}
        for row in rows
        if row["failure"] is None
    }
    provenance, exact = metrics.provenance, metrics.zero_shot.get(EXACT, _Figures())
    model, labels = provenance.model, provenance.labels
    remark = meaningless_before(model.name, labels.count, exact.n, exact.unanswerable)
    return Other(str(folder), model.name, model.trained or {}, labels.described, hits, remark, provenance.answered_by)


def _difference(here_N: NDArray[np.bool_], there_N: NDArray[np.bool_], group_N: NDArray[np.int64]) -> dict[str, Any]:
    change_N = here_N.astype(np.float64) - there_N
    interval = difference_interval(change_N, group_N)
    here, there = float(here_N.mean()), float(there_N.mean())
    return {
        "n": len(here_N), "groups": len(np.unique(group_N)), "top1": here, "other_top1": there, "difference": here - there,
        "difference_ci95": list(interval),
        "gained": int((change_N > 0).sum()), "lost": int((change_N < 0).sum()),
    }  # fmt: skip
