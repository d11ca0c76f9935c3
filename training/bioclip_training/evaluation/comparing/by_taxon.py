"""Accuracy of each taxon, before and after with a comparison, and the taxa that are worth more labels."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.comparing.comparison import Other, keys_of
from bioclip_training.evaluation.outcome import Answers
from bioclip_training.evaluation.scores import rank_hits
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evidence.intervals import difference_interval, share_interval
from bioclip_training.evidence.minima import FEWEST_TO_DIFFER

GOOD = 0.8
"""Accuracy from which a taxon is not listed as worth more labels."""
MOST_LISTED = 20
UNKNOWN_LABELLED = "This catalog has no training images, so how many are labelled is unknown."
_HALVED_AT = 20
"""Labelled images that halve a taxon's place among those worth more labels."""


def by_taxon(answers: Answers, catalog: Catalog, other: Other | None) -> list[dict[str, Any]]:
    """Return the figures of each true taxon: images, groups, labelled images in ``train``, accuracy with its interval.

    ``labelled`` is None in a catalog without training images, which does not tell how many the model learnt from.

    With another evaluation, over the images that both have, also ``before``, ``change`` and their intervals, and the rows are in
    the order of the change, the greatest loss first; else in that of the accuracy. ``few`` marks a taxon of too few groups to
    show any difference.
    """
    hits_N = rank_hits(answers.scores[EXACT].place_N, 1).astype(np.float64)
    before_N = np.full(len(hits_N), np.nan)
    if other is not None:
        found = (other.hits.get(key, {}).get(EXACT) for key in keys_of(catalog, answers))
        before_N = np.array([np.nan if hit is None else float(hit) for hit in found], dtype=np.float64)
    is_train = np.array([split in ("train", "dev") for split in catalog.column("split")], dtype=bool)
    truth_of_row = answers.question.truth_of_row
    labelled_T = np.bincount(truth_of_row[is_train & (truth_of_row >= 0)], minlength=len(answers.question.names))
    order = np.argsort(answers.truth_N, kind="stable")
    truths, starts = np.unique(answers.truth_N[order], return_index=True)
    rows = []
    for truth, places in zip(truths.tolist(), np.split(order, starts[1:]), strict=True):
        if other is not None:
            places = places[np.isfinite(before_N[places])]
        if not len(places):
            continue
        own, group_N = hits_N[places], answers.group_N[places]
        groups, labelled = len(np.unique(group_N)), int(labelled_T[truth]) if is_train.any() else None
        row = {
            "taxon": answers.question.names[truth], "images": len(places), "groups": groups, "few": groups < FEWEST_TO_DIFFER,
            "labelled": labelled, "top1": float(own.mean()), "top1_ci95": list(share_interval(own, group_N)),
        }  # fmt: skip
        if other is not None:
            before = before_N[places]
            row |= {
                "before": float(before.mean()), "before_ci95": list(share_interval(before, group_N)),
                "change": float((own - before).mean()), "change_ci95": list(difference_interval(own - before, group_N)),
            }  # fmt: skip
        rows.append(row)
    return sorted(rows, key=lambda row: (row.get("change", row["top1"]), row["top1"], row["taxon"]))


def worth_labels(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the taxa with low accuracy and few labelled images, the most worthwhile first.

    A taxon's weight is its share of wrong answers, with one right and one wrong answer added since images are few, divided by
    ``1 + labelled / 20``: the first labels change most. If the number of labelled images is unknown, it does not count.
    """

    def weight(row: dict[str, Any]) -> float:
        right = row["top1"] * row["images"]
        return float((1 - (right + 1) / (row["images"] + 2)) / (1 + (row["labelled"] or 0) / _HALVED_AT))

    low = [row for row in rows if row["top1"] < GOOD]
    listed = sorted(low, key=lambda row: (-weight(row), row["taxon"]))[:MOST_LISTED]
    names = ("taxon", "labelled", "images", "groups", "few", "top1", "top1_ci95")
    return [{name: row[name] for name in names} for row in listed]


def write_taxa(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the figures of every taxon as a table; intervals have a column for each end."""
    flat: list[dict[str, Any]] = []
    for row in rows:
        flat.append({})
        for name, value in row.items():
            if isinstance(value, list):
                flat[-1] |= {f"{name}_low": value[0], f"{name}_high": value[1]}
            else:
                flat[-1][name] = value
    with file.open("w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, list(flat[0]) if flat else ["taxon"])
        table.writeheader()
        table.writerows(flat)
