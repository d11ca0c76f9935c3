"""Parts of a report about single taxa: before and after, and which are worth more labels."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bioclip_core.model_names import short_name
from bioclip_training.evaluation import plots
from bioclip_training.evaluation.comparing.by_taxon import GOOD, UNKNOWN_LABELLED
from bioclip_training.evaluation.markup import image, interval, percent, points, remark, section, table
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evidence.minima import FEWEST_TO_DIFFER

_MOST_TAXA = 300


def species(outcome: Outcome) -> str:
    """Show every taxon: with a comparison before and after, sorted by change, else by accuracy."""
    rows = outcome.taxa
    compared = bool(rows) and "change" in rows[0]
    shown = [_compared_row(row) if compared else _row(row) for row in _both_ends(rows)]
    head = (
        ["species", "images", "groups", "before", "95%", "after", "95%", "change", "95%", "labelled"]
        if compared
        else ["species", "images", "groups", "right", "95%", "labelled"]
    )
    title = (
        "Every species before and after, the greatest loss first"
        if compared
        else "Every species, the least accurate first"
    )
    small = (
        f"{'Change is in percentage points. ' if compared else ''}Labelled are its images in train; a dash there: the catalog has no "
        f"train. * marks species with test images of fewer than {FEWEST_TO_DIFFER} groups: no change of theirs can be told from chance. "
        "A dash stands for an interval from one group, which has none."
    )
    several = " Of 100 species about five have an interval without 0 by chance alone." if compared else ""
    more = (
        f" {len(rows) - len(shown)} species in the middle are left out here; by_taxon.csv has all."
        if len(rows) > len(shown)
        else ""
    )
    return section(
        title,
        table(head, shown, "Accuracy of every species", tall=True, wide_only=("images", "groups", "95%")),
        remark(small + several + more),
        anchor="species",
    )


def _both_ends(rows: Any) -> list[Mapping[str, Any]]:
    """Return the first and the last taxa of a long list: the greatest losses and gains."""
    listed = list(rows)
    return listed if len(listed) <= _MOST_TAXA else listed[: _MOST_TAXA // 2] + listed[-_MOST_TAXA // 2 :]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['taxon']}\u00a0*" if row["few"] else str(row["taxon"])


def _labelled(row: Mapping[str, Any]) -> int | str:
    return "–" if row["labelled"] is None else int(row["labelled"])


def _row(row: Mapping[str, Any]) -> list[Any]:
    return [_name(row), row["images"], row["groups"], percent(row["top1"]), interval(row["top1_ci95"]), _labelled(row)]


def _compared_row(row: Mapping[str, Any]) -> list[Any]:
    low, high = row["change_ci95"]
    between = "–" if low is None else f"{points(low)} to {points(high)}"
    return [
        _name(row), row["images"], row["groups"], percent(row["before"]), interval(row["before_ci95"]), percent(row["top1"]),
        interval(row["top1_ci95"]), points(row["change"]), between, _labelled(row),
    ]  # fmt: skip


def label_more(outcome: Outcome) -> str:
    """Show the taxa that are worth more labels."""
    listed = outcome.metrics["worth_labels"]
    if not listed:
        return ""
    rows = [
        [_name(row), _labelled(row), percent(row["top1"]), interval(row["top1_ci95"]), row["images"], row["groups"]]
        for row in listed
    ]
    unknown = listed[0]["labelled"] is None
    first = "" if unknown else " and few labelled images"
    return section(
        "Label more of these",
        remark(
            f"Species of which fewer than {GOOD:.0%} of the test images are right, those with many wrong answers{first} "
            "first. If a species has many labelled images and is still wrong, look at its confused pairs and at its labels first."
            f"{f' {UNKNOWN_LABELLED}' if unknown else ''}"
        ),
        table(
            ["species", "labelled images", "right", "95%", "test images", "groups"], rows, "Species worth more labels"
        ),
        anchor="label-more",
    )


def curve(outcome: Outcome) -> str:
    """Show the learning curve."""
    found = outcome.metrics.get("learning_curve")
    if not found:
        return ""
    parts = [f"<p>{escape(found['sentence'])}</p>"]
    steps = [*found["by_share"], *found["by_images"]]
    if steps:
        rows = [
            [
                _amounts(step), percent(step["fewer_top1"]), percent(step["more_top1"]), points(step["growth"]), _between(step),
                f"{step['more_images']:.0f}", f"{step['more_groups']:.1f}", step["taxa"], step["images"],
            ]
            for step in steps
        ]  # fmt: skip
        head = [
            "labels",
            "right before",
            "right after",
            "growth in points",
            "95%",
            "images each",
            "groups each",
            "species",
            "test images",
        ]
        parts += [
            image(plots.learning_curve(found), "Accuracy by the number of labelled images per species"),
            table(head, rows, "Steps of the learning curve"),
        ]
    parts.append(remark(_how(found)))
    return section("Would more labels help?", *parts, anchor="curve")


def _how(found: Mapping[str, Any]) -> str:
    text = (
        f"Measured on the features of {short_name(found['model'])}, which stay as they are: a simple classifier (nearest mean of labelled "
        f"images, {found['draws']} draws of whole groups) learns from a part of the labels and answers the same test images each time. "
        "Each row counts the species that have enough labelled images for it, so that rows need not continue each other."
    )
    if found["learnt_labels"]:
        text += (
            " This model was trained on labels of this kind, so its features know the species already and the curve is flatter than for a "
            "model that does not; measure it on the start model: evaluate --model START."
        )
    if found["left_out"]:
        text += (
            f" {found['left_out']} labelled images of frequent species were not used, since encoding all takes long."
        )
    return text


def _amounts(step: Mapping[str, Any]) -> str:
    if isinstance(step["more"], float):
        return f"{step['fewer']:.0%} to {step['more']:.0%} of all"
    return f"{step['fewer']} to {step['more']} images"


def _between(step: Mapping[str, Any]) -> str:
    low, high = step["growth_ci95"]
    return "–" if low is None else f"{points(low)} to {points(high)}"
