"""Figures of an evaluation as the nested numbers of ``metrics.json``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.evaluation.outcome import Answers
from bioclip_training.evaluation.scores import BINS, macro_mean, mean_nll, numbered, rank_hits, reliability
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evidence.intervals import macro_interval, share_interval

TOPS = (1, 3, 5)
_ALL = "all"
_FEWEST = 2  # one image does not give an interval
_MOST_PARTS = 50  # figures for each of thousands of tables would fill the report


def zero_shot(answers: Answers) -> dict[str, Any]:
    """Return the figures of each level with images: ``label`` (the exact taxon) and the ranks, or labels and groups."""
    parts = _parts(answers)
    columns: dict[tuple[str, str, int], NDArray[np.float64]] = {}
    for level, scores in answers.scores.items():
        counted_N = scores.counted(answers.truth_N)
        for part, inside_N in {**parts, "answerable": scores.place_N >= 0}.items() if counted_N.any() else ():
            for top in TOPS if part == _ALL else TOPS[:1]:
                columns[level, part, top] = np.where(counted_N & inside_N, rank_hits(scores.place_N, top), np.nan)
    shares: dict[tuple[str, str, int], dict[str, Any]] = {}
    for key, values_N in columns.items():
        counted_N = np.isfinite(values_N)
        count, groups = int(counted_N.sum()), len(np.unique(answers.group_N[counted_N]))
        top1, ci95 = (
            (float(np.nanmean(values_N)), list(share_interval(values_N, answers.group_N))) if count else (None, None)
        )
        shares[key] = {"n": count, "groups": groups, "top1": top1, "top1_ci95": ci95}
    levels = dict.fromkeys(level for level, _, _ in columns)
    return {level: _level(level, answers, shares, parts) for level in levels}


def _parts(answers: Answers) -> dict[str, NDArray[np.bool_]]:
    """Return masks of the images of each part with figures of its own; a source of one image has none."""
    parts = {_ALL: np.ones(len(answers.rows_N), dtype=bool), "seen": answers.seen_N, "unseen": ~answers.seen_N}
    for kind, names in (("by_split", answers.splits), ("by_source", answers.sources)):
        column = np.array(names, dtype=object)
        for name, count in Counter(names).most_common(_MOST_PARTS):
            if count >= _FEWEST:
                parts[f"{kind} {name or '(none)'}"] = column == name
    return parts


def _level(
    level: str,
    answers: Answers,
    shares: Mapping[tuple[str, str, int], dict[str, Any]],
    parts: Mapping[str, Any],
) -> dict[str, Any]:
    scores = answers.scores[level]
    counted_N = scores.counted(answers.truth_N)
    place_N, group_N = scores.place_N[counted_N], answers.group_N[counted_N]
    # A macro mean is taken over the true taxa of the level: their spans, or what labels lack by itself.
    own_N = answers.truth_N[counted_N]
    pairs = zip(scores.truth.spans_CK[own_N, 0].tolist(), own_N.tolist(), strict=True)
    truth_N = numbered([("span", span) if span >= 0 else ("own", own) for span, own in pairs])
    interval = macro_interval(rank_hits(place_N, 1), truth_N, group_N)
    return {
        "n": len(place_N),
        "groups": len(np.unique(group_N)),
        **{f"top{top}{end}": shares[level, _ALL, top][f"top1{end}"] for top in TOPS for end in ("", "_ci95")},
        "macro": {
            **{f"top{top}": macro_mean(rank_hits(place_N, top), truth_N) for top in TOPS},
            "top1_ci95": list(interval),
            "taxa": len(np.unique(truth_N)),
        },
        "nll": mean_nll(scores.own_N[counted_N][place_N >= 0]),
        "unanswerable": int((place_N < 0).sum()),
        **{part: shares[level, part, 1] for part in ("answerable", "seen", "unseen")},
        **{
            kind: {
                part.removeprefix(f"{kind} "): shares[level, part, 1] for part in parts if part.startswith(f"{kind} ")
            }
            for kind in ("by_split", "by_source")
        },
    }


def calibration(answers: Answers, temperature: float | None) -> dict[str, Any]:
    """Return expected calibration error and likelihood of the exact taxon, and the error at each level."""
    exact = answers.scores[EXACT]
    by_level = {}
    for level, scores in answers.scores.items():
        if (counted_N := scores.counted(answers.truth_N)).any():
            by_level[level] = reliability(
                scores.probability_NK[counted_N, 0], rank_hits(scores.place_N[counted_N], 1)
            ).ece
    return {
        "ece": by_level[EXACT],
        "nll": mean_nll(exact.own_N[exact.place_N >= 0]),
        "level": EXACT,
        "bins": f"{BINS} of equal mass",
        "temperature": temperature,
        "by_rank": by_level,
    }


def confusions(answers: Answers, most: int = 100) -> list[dict[str, Any]]:
    """Return the most frequent wrong pairs: true taxon, best answer, number of images, and all images of the taxon."""
    exact = answers.scores[EXACT]
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    wrong_N = exact.place_N != 0
    pairs = Counter(zip(answers.truth_N[wrong_N].tolist(), exact.top_NK[wrong_N, 0].tolist(), strict=True))
    images_of = Counter(answers.truth_N.tolist())
    return [
        {
            "truth": answers.question.names[truth],
            "answer": answers.name(int(starts_S[span]), exact.truth.level),
            "images": count,
            "of": images_of[truth],
        }
        for (truth, span), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    ]


def plain(value: Any) -> Any:
    """Return a value for JSON: NaN, which JSON lacks, becomes null; numbers of numpy become Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
