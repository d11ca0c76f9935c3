"""An evaluation's figures as the nested numbers of ``metrics.json``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels import LabelSet
from bioclip_training.evaluation.questions import Question
from bioclip_training.evaluation.scores import (
    BINS,
    bootstrap_interval,
    bootstrap_intervals,
    macro_interval,
    macro_mean,
    mean_nll,
    numbered,
    rank_hits,
    reliability,
)
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evaluation.zero_shot import LevelScores

TOPS = (1, 3, 5)
_FEWEST = 2  # a source of one image has no interval


@dataclass(frozen=True, slots=True)
class Answers:
    """N images that were read and have a true name, and what they were answered."""

    rows_N: NDArray[np.int64]
    """Of the catalog."""
    truth_N: NDArray[np.int64]
    taxon_N: NDArray[np.int64]
    """Of the catalog."""
    group_N: NDArray[np.int64]
    seen_N: NDArray[np.bool_]
    sources: tuple[str, ...]
    splits: tuple[str, ...]
    question: Question
    scores: Mapping[str, LevelScores]

    @property
    def labels(self) -> LabelSet:
        return self.question.labels


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made."""

    seed: int
    resamples: int


def zero_shot(answers: Answers, bootstrap: Bootstrap) -> dict[str, Any]:
    """The figures of each level that has images: ``label`` (the exact taxon) and the ranks, or labels and groups."""
    return {
        level: _level(scores, answers, bootstrap)
        for level, scores in answers.scores.items()
        if scores.counted(answers.truth_N).any()
    }


def _level(scores: LevelScores, answers: Answers, bootstrap: Bootstrap) -> dict[str, Any]:
    counted_N = scores.counted(answers.truth_N)
    place_N, truth_N, group_N = (
        scores.place_N[counted_N],
        _truths_at(scores, answers, counted_N),
        answers.group_N[counted_N],
    )
    hits_NT = np.stack([rank_hits(place_N, top) for top in TOPS], axis=1)
    intervals = bootstrap_intervals(
        hits_NT.astype(float), numbered(group_N.tolist()), seed=bootstrap.seed, resamples=bootstrap.resamples
    )
    figures: dict[str, Any] = {"n": int(counted_N.sum())}
    for column, (top, interval) in enumerate(zip(TOPS, intervals, strict=True)):
        figures[f"top{top}"] = float(hits_NT[:, column].mean())
        figures[f"top{top}_ci95"] = list(interval)
    macro = {f"top{top}": macro_mean(hits_NT[:, column], truth_N) for column, top in enumerate(TOPS)}
    interval = macro_interval(hits_NT[:, 0], truth_N, group_N, seed=bootstrap.seed, resamples=bootstrap.resamples)
    figures["macro"] = {**macro, "top1_ci95": list(interval), "taxa": len(np.unique(truth_N))}
    figures["nll"] = mean_nll(scores.own_N[counted_N][place_N >= 0])
    figures["unanswerable"] = int((place_N < 0).sum())
    possible_N = counted_N & (scores.place_N >= 0)
    figures["answerable"] = _share(scores, answers, possible_N, bootstrap)
    figures["seen"] = _share(scores, answers, counted_N & answers.seen_N, bootstrap)
    figures["unseen"] = _share(scores, answers, counted_N & ~answers.seen_N, bootstrap)
    figures["by_split"] = _by(answers.splits, scores, answers, counted_N, bootstrap)
    figures["by_source"] = _by(answers.sources, scores, answers, counted_N, bootstrap)
    return figures


def _truths_at(scores: LevelScores, answers: Answers, counted_N: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The number of each image's true taxon of this level: what a macro mean is over."""
    truth_N = answers.truth_N[counted_N]
    spans_N = scores.truth.spans_CK[truth_N, 0]
    return numbered(
        [
            ("span", span) if span >= 0 else ("own", own)
            for span, own in zip(spans_N.tolist(), truth_N.tolist(), strict=True)
        ]
    )


def _share(scores: LevelScores, answers: Answers, part_N: NDArray[np.bool_], bootstrap: Bootstrap) -> dict[str, Any]:
    hits = rank_hits(scores.place_N[part_N], 1)
    if not len(hits):
        return {"n": 0, "top1": None, "top1_ci95": None}
    groups = numbered(answers.group_N[part_N].tolist())
    interval = bootstrap_interval(hits, groups, seed=bootstrap.seed, resamples=bootstrap.resamples)
    return {"n": len(hits), "top1": float(hits.mean()), "top1_ci95": list(interval)}


def _by(
    names: tuple[str, ...], scores: LevelScores, answers: Answers, counted_N: NDArray[np.bool_], bootstrap: Bootstrap
) -> dict[str, Any]:
    column = np.array(names, dtype=object)
    common = [name for name, count in Counter(names).most_common(50) if count >= _FEWEST]
    return {name or "(none)": _share(scores, answers, counted_N & (column == name), bootstrap) for name in common}


def calibration(answers: Answers, temperature: float | None) -> dict[str, Any]:
    """Expected calibration error and likelihood of the exact taxon, and the error at each level."""
    exact = answers.scores[EXACT]
    possible_N = exact.place_N >= 0
    by_level = {}
    for level, scores in answers.scores.items():
        counted_N = scores.counted(answers.truth_N)
        if counted_N.any():
            by_level[level] = reliability(
                scores.probability_NK[counted_N, 0], rank_hits(scores.place_N[counted_N], 1)
            ).ece
    return {
        "ece": by_level[EXACT],
        "nll": mean_nll(exact.own_N[possible_N]),
        "level": EXACT,
        "bins": f"{BINS} of equal mass",
        "temperature": temperature,
        "by_rank": by_level,
    }


def confusions(answers: Answers, most: int = 100) -> list[dict[str, Any]]:
    """The most frequent wrong pairs: the true taxon, the best answer, how often, and of how many images of the taxon."""
    exact = answers.scores[EXACT]
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    wrong_N = exact.place_N != 0
    pairs = Counter(zip(answers.truth_N[wrong_N].tolist(), exact.top_NK[wrong_N, 0].tolist(), strict=True))
    of = Counter(answers.truth_N.tolist())
    return [
        {
            "truth": answers.question.names[truth],
            "answer": answer_name(answers.labels, int(starts_S[span]), exact.truth.level),
            "images": count,
            "of": of[truth],
        }
        for (truth, span), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    ]


def taxa_table(answers: Answers) -> list[dict[str, Any]]:
    """Each true taxon's images and accuracy, the worst first."""
    place_N = answers.scores[EXACT].place_N
    rows = []
    for truth in np.unique(answers.truth_N).tolist():
        own_N = answers.truth_N == truth
        rows.append(
            {
                "taxon": answers.question.names[truth],
                "images": int(own_N.sum()),
                "top1": float(rank_hits(place_N[own_N], 1).mean()),
                "top5": float(rank_hits(place_N[own_N], 5).mean()),
                "seen": bool(answers.seen_N[own_N].all()),
                "in_label_set": bool((place_N[own_N] >= 0).all()),
            }
        )
    return sorted(rows, key=lambda row: (row["top1"], row["top5"], row["taxon"]))


def answer_name(labels: LabelSet, row: int, level: str) -> str:
    """What an answer is called: the scientific name, or a custom label's own words."""
    taxon, _ = labels.taxon_at(row, level)
    return taxon.scientific_name or taxon.common_name


def plain(value: Any) -> Any:
    """The same for JSON: NaN, which JSON has not, becomes null; numbers of numpy become Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
