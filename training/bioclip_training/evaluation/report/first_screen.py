"""First screen of a report: what was measured, the verdict of a comparison, the main figures, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bioclip_core.model_names import described
from bioclip_core.nouns import number_of
from bioclip_training.evaluation.comparing.by_taxon import UNKNOWN_LABELLED
from bioclip_training.evaluation.comparing.verdict import KEEP_OLD, LABEL_MORE, NONE, SAME, USE_NEW
from bioclip_training.evaluation.markup import interval, percent, points
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.remarks import meaningless, trained_images
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evaluation.zero_shot import level_name
from bioclip_training.evidence.minima import counted

_FEW_TAXA = 5
_MANY_LABELLED = 50
"""Labelled images from which wrong labels and look-alikes are likelier reasons of mistakes than too few of them."""
_LOOKS = {
    USE_NEW: ("good", "Use the new model"),
    KEEP_OLD: ("bad", "Keep the old model"),
    LABEL_MORE: ("open", "Label more test images"),
    NONE: ("open", "No verdict"),
    SAME: ("open", "Equal answers"),
}
_SECTIONS = (
    ("species", "Every species"), ("label-more", "Label more of these"), ("pairs", "Confused pairs"), ("curve", "More labels?"),
    ("ranks", "Accuracy by rank"), ("ladder", "Ways to retrain"), ("calibration", "Are probabilities right?"),
    ("evaluated", "What was evaluated"),
)  # fmt: skip


def title_of(outcome: Outcome) -> str:
    """Return what the page is about: the model, what it is, and what it is compared with."""
    model = outcome.metrics["provenance"]["model"]
    name = described(model["name"], model.get("trained"))
    compared = outcome.metrics.get("comparison")
    if not compared:
        return f"Accuracy of {name}"
    return f"Accuracy of {name}, compared with {described(compared['other_model'], compared['other_trained'])}"


def first_screen(outcome: Outcome, body: str) -> str:
    """Return heading, verdict, figures and links; ``body`` are the sections below, of which some may be missing."""
    config, images = outcome.config, outcome.metrics["images"]
    taxa = number_of(images["taxa"], "taxon", "taxa")
    on = f"On {', '.join(config.splits)} of {outcome.catalog.file.name}: {counted(images['n'], images['groups'])}, {taxa}."
    links = [f'<li><a href="#{anchor}">{text}</a></li>' for anchor, text in _SECTIONS if f'id="{anchor}"' in body]
    return "".join(
        [
            f"<h1>{escape(title_of(outcome))}</h1>",
            f'<p class="note">{escape(on)} A group is one track, specimen or camera: its images are not independent of each other.</p>',
            _verdict(outcome), _warnings(outcome), _tiles(outcome), _next(outcome), _exceptions(outcome),
            f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>',
        ]
    )  # fmt: skip


def _verdict(outcome: Outcome) -> str:
    found = outcome.metrics.get("comparison", {}).get("verdict")
    if not found:
        return ""
    look, text = _LOOKS[found["verdict"]]
    cautions = "".join(f"<li>{escape(line)}</li>" for line in found["cautions"])
    return (
        f'<div class="verdict {look}"><strong>{text}</strong><p>{escape(found["sentence"])} {escape(found["reason"])}</p>'
        f"{f'<ul>{cautions}</ul>' if cautions else ''}</div>"
    )


def _warnings(outcome: Outcome) -> str:
    """Return remarks that make the figures below mean less than they seem to."""
    metrics = outcome.metrics
    exact = metrics["zero_shot"][EXACT]
    lines = [
        trained_images(metrics["trained_images"]),
        meaningless(metrics["provenance"]["labels"]["count"], exact["n"], exact["unanswerable"]),
    ]
    said = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return f'<div class="verdict bad"><strong>Not a figure for new images</strong>{said}</div>' if said else ""


def _tiles(outcome: Outcome) -> str:
    exact, compared = outcome.metrics["zero_shot"][EXACT], outcome.metrics.get("comparison")
    row = compared["by_rank"].get(EXACT) if compared else None
    if row:
        low, high = row["difference_ci95"]
        between = f"95% interval {points(low)} to {points(high)}" if low is not None else "no interval: one group"
        tiles = [
            ("old model", percent(row["other_top1"]), counted(row["n"], row["groups"])),
            ("new model", percent(row["top1"]), counted(row["n"], row["groups"])),
            ("difference in points", points(row["difference"]), between),
            ("better / worse", f"{row['gained']} / {row['lost']}", f"of {number_of(row['n'], 'image')}"),
        ]
    else:
        tiles = [
            (
                f"right, {level_name(EXACT, outcome.metrics['zero_shot'])}",
                percent(exact["top1"]),
                f"{_interval(exact)}; {counted(exact['n'], exact['groups'])}",
            ),
            ("among the best five", percent(exact["top5"]), counted(exact["n"], exact["groups"])),
            ("mean over species", percent(exact["macro"]["top1"]), "each species counts once"),
        ]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{text}</small></dd></div>" for name, value, text in tiles)
    return (
        f'<dl class="tiles">{cells}</dl><p class="note">An answer is right if the most probable name is exactly the label. The 95% '
        "interval holds the accuracies on all images of this kind that these images are compatible with: of 100 such intervals, about 95 "
        "contain the true one. "
        f"{escape(outcome.metrics['evidence']['shows'])}.</p>"
    )


def _interval(figures: Mapping[str, Any]) -> str:
    low, _ = figures["top1_ci95"]
    return "no interval: one group" if low is None else f"95% interval {interval(figures['top1_ci95'])}"


def _next(outcome: Outcome) -> str:
    lines = []
    if advice := (outcome.metrics.get("ladder") or {}).get("recommendation"):
        lines.append(f"When it was trained: {advice['sentence']}")
    if curve := outcome.metrics.get("learning_curve"):
        lines.append(curve["sentence"])
    listed = outcome.metrics["worth_labels"]
    known = [row for row in listed if (row["labelled"] or 0) >= _MANY_LABELLED]
    if worth := [row for row in listed if row not in known][:_FEW_TAXA]:
        named = "; ".join(
            f"{row['taxon']} ({'' if row['labelled'] is None else str(row['labelled']) + ' labelled; '}"
            f"{round(row['top1'] * row['images'])} of {row['images']} right)"
            for row in worth
        )
        unknown = f" {UNKNOWN_LABELLED}" if worth[0]["labelled"] is None else ""
        lines.append(f"Label more training images of: {named}.{unknown}")
    if known:
        named = "; ".join(row["taxon"] for row in known[:_FEW_TAXA])
        lines.append(
            f"Check the labels and the confused pairs of: {named}. They have {_MANY_LABELLED} labelled images or more, and are wrong often."
        )
    return f"<h2>What to do next</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _exceptions(outcome: Outcome) -> str:
    images, exact = outcome.metrics["images"], outcome.metrics["zero_shot"][EXACT]
    lines = [f"The best answer is chosen among {outcome.answers.question.described}."]
    if exact["unanswerable"]:
        lines.append(
            f"{number_of(exact['unanswerable'], 'image shows a taxon that is', 'images show taxa that are')} not in the label "
            f"set, so no answer can be right; of the other {exact['answerable']['n']}, {percent(exact['answerable']['top1'])} are right."
        )
    if images["failed"]:
        lines.append(
            f"{number_of(images['failed'], 'image')} could not be used: listed below, and not part of any figure."
        )
    if images["without_name"]:
        lines.append(
            f"{number_of(images['without_name'], 'row')} without a name to compare with: not part of any figure."
        )
    return f"<p>{escape(' '.join(lines))}</p>"
