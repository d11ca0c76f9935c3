"""Verdict of a comparison: use the new model, keep the old one, or label more, with the figures and the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_core.model_names import short_name
from bioclip_training.evaluation.markup import percent, points
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evidence.minima import Evidence, counted

USE_NEW, KEEP_OLD, LABEL_MORE, NONE = "use the new model", "keep the old model", "label more test images", "no verdict"
SAME = "equal answers"
EQUAL = 0.02
"""Difference within which two models are as good as each other."""
LEARNT_PARTS = ("train", "dev", "all")
"""Parts of a catalog with images that training saw or chose on."""


def verdict_of(
    comparison: Mapping[str, Any],
    new: Mapping[str, Any],
    splits: Sequence[str],
    catalog_sha256: str,
    groups: Sequence[int],
    seen: Sequence[str] = (),
    *,
    measures_seen: bool = False,
) -> dict[str, Any]:
    """Judge a comparison at the exact taxon.

    Args:
        comparison: the figures of ``compare_with``, with the ``labels`` of the evaluated model, and ``is_same``: True if the answers
            of both depend on the same weights, preprocessing, labels and temperature.
        new: ``name`` and ``trained`` of the evaluated model.
        splits: the evaluated parts of the catalog.
        catalog_sha256: identity of the catalog.
        groups: the group of each compared image.
        seen: remarks on images that a model was trained on.
        measures_seen: True if such images are measured all the same.

    Returns:
        ``verdict``, one of the five words; ``sentence``, the figures; ``reason``; and ``cautions``.
    """
    row = comparison["by_rank"][EXACT]
    name, old = _names(comparison, new)
    low, high = row["difference_ci95"]
    sure = low is not None and low == low
    sentence = (
        f"{name} is right for {percent(row['top1'])} of the images and {old} for {percent(row['other_top1'])}: "
        f"{points(row['difference'])} points ("
        + (f"95% interval {points(low)} to {points(high)}; " if sure else "")
        + f"{counted(row['n'], len(set(groups)))})."
    )
    cautions = [{"prevents": measures_seen, "text": f"{text}."} for text in seen]
    cautions += _cautions(comparison, new, splits, catalog_sha256)
    verdict, reason = _judged(row, sure, Evidence.of(" and ".join(splits), groups))
    if any(caution["prevents"] for caution in cautions):
        verdict, reason = NONE, "Compare on images that neither model has seen: evaluate --split val."
    if comparison.get("meaningless"):
        verdict, reason = NONE, comparison["meaningless"]
    if comparison.get("is_same"):
        verdict, sentence, reason = SAME, *_same(row, counted(row["n"], len(set(groups))))
    return {
        "verdict": verdict, "sentence": sentence, "reason": reason, "cautions": [caution["text"] for caution in cautions],
        "new": name, "old": old,
    }  # fmt: skip


def _names(comparison: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str]:
    """Return names of the two that differ: of the models, else with their labels, else by when they were evaluated."""
    long = new["name"], comparison["other_model"]
    short = short_name(long[0]), short_name(long[1])
    if short[0] != short[1]:
        return short
    if long[0] != long[1]:
        return long
    labels = [re.sub(r"[,:] \d+ labels?\b.*", "", said) for said in (comparison["labels"], comparison["other_labels"])]
    if all(labels) and labels[0] != labels[1]:
        return f"{short[0]} with {labels[0]}", f"{short[0]} with {labels[1]}"
    return f"{short[0]} now", f"{short[0]} before"


def _same(row: Mapping[str, Any], images: str) -> tuple[str, str]:
    sentence = f"The same model and labels: equal answers, right for {percent(row['top1'])} of {images}."
    changed = row["gained"] + row["lost"]
    if not changed:
        return sentence, "There is nothing to choose between."
    return sentence, (
        f"{changed} of the images count otherwise than before: since then the labels of the catalog, the device or the precision changed."
    )


def _judged(row: Mapping[str, Any], sure: bool, evidence: Evidence) -> tuple[str, str]:
    low, high = row["difference_ci95"]
    if not sure:
        return LABEL_MORE, f"Keep the old model until then. {evidence.shows}."
    if low > 0:
        return USE_NEW, "The whole interval is above 0, so the gain is more than chance."
    if high < 0:
        return KEEP_OLD, "The whole interval is below 0, so the loss is more than chance."
    if low > -EQUAL and high < EQUAL:
        return (
            KEEP_OLD,
            f"The two are as good as each other: the difference is under {100 * EQUAL:.0f} points either way.",
        )
    equal = "both are right for the same images" if not row["gained"] and not row["lost"] else ""
    return (
        LABEL_MORE,
        f"Keep the old model until then: {equal or 'the interval contains 0, so the difference may be chance'}. More test images of "
        f"other groups would decide it. {evidence.shows}.",
    )


def _cautions(
    comparison: Mapping[str, Any], new: Mapping[str, Any], splits: Sequence[str], catalog_sha256: str
) -> list[dict[str, Any]]:
    found = []
    for name, trained in ((new["name"], new.get("trained")), (comparison["other_model"], comparison["other_trained"])):
        if not trained:
            continue
        learnt = [split for split in splits if split in LEARNT_PARTS]
        is_same = trained.get("data_sha256") == catalog_sha256
        if learnt and is_same:
            text = f"{short_name(name)} was trained or chosen on images of {', '.join(learnt)}, so its figures here are too good."
            found.append({"prevents": True, "text": text})
        elif not is_same and not trained.get("lists_images"):
            text = (
                f"{short_name(name)} was trained on another catalog than this one; make sure that none of these images, and no other "
                "image of their groups, was in it."
            )
            found.append({"prevents": False, "text": text})
    if comparison["only_here"] or comparison["only_there"]:
        text = (
            f"Only images that both evaluations have are compared: {comparison['only_here']} are only in this one, "
            f"{comparison['only_there']} only in the other."
        )
        found.append({"prevents": False, "text": text})
    return found
