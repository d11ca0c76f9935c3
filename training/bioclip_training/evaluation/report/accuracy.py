"""Parts of a report about accuracy: by rank, by part, beside another model, on the ladder of retraining, with few examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bioclip_training.evaluation import plots
from bioclip_training.evaluation.config import SHOTS
from bioclip_training.evaluation.markup import (
    commands,
    image,
    interval,
    percent,
    points,
    points_interval,
    remark,
    section,
    table,
)
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.remarks import trained_images
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evaluation.zero_shot import level_name
from bioclip_training.evidence.minima import counted


def by_level(outcome: Outcome) -> str:
    """Show the accuracy at every rank."""
    levels = outcome.metrics["zero_shot"]
    named = {level_name(level, levels): figures for level, figures in levels.items()}
    rows = [
        [
            name, figures["n"], figures["groups"], percent(figures["top1"]), interval(figures["top1_ci95"]), percent(figures["top3"]),
            percent(figures["top5"]), percent(figures["macro"]["top1"]), interval(figures["macro"]["top1_ci95"]), figures["unanswerable"],
            percent(figures["answerable"]["top1"]),
        ]
        for name, figures in named.items()
    ]  # fmt: skip
    header = (
        "rank", "images", "groups", "right", "95%", "in best 3", "in best 5", "mean over taxa", "95%", "not in label set",
        "right of the others",
    )  # fmt: skip
    return section(
        "Accuracy by rank",
        image(plots.accuracy_by_level(named), "Share of right answers by rank"),
        table(header, rows, "Accuracy by rank"),
        remark(
            "Right is the share of images whose most probable name is the label's; in best 3 and 5, the share with the right name among "
            "the most probable ones. An image counts at a rank at which its label has a name; the probability of a genus is the sum over "
            "its species. Exact taxon is the whole label, whatever its rank. Mean over taxa: every taxon counts once, however many images "
            "it has. The 95% intervals count whole groups, since images of one group are not independent; one group has none."
        ),
        anchor="ranks",
    )


def parts_table(outcome: Outcome) -> str:
    """Show the accuracy of taxa seen in train and of others, and of each split and source."""
    zero_shot = outcome.metrics["zero_shot"]
    shares: list[tuple[str, str, Mapping[str, Any]]] = []
    for level in [level for level in (EXACT, "genus", "family") if level in zero_shot]:
        figures, name = zero_shot[level], level_name(level, zero_shot)
        shares += [(name, f"{part} in train", figures[part]) for part in ("seen", "unseen")]
        for kind in ("split", "source"):
            parts = figures[f"by_{kind}"]
            shares += [(name, f"{kind} {key}", share) for key, share in parts.items() if len(parts) > 1]
    rows = [
        [name, part, share["n"], share["groups"], percent(share["top1"]), interval(share["top1_ci95"])]
        for name, part, share in shares
        if share["n"]
    ]
    return section(
        "Accuracy by part of the collection",
        table(["rank", "part", "images", "groups", "right", "95%"], rows, "Accuracy by part"),
        remark(
            "Seen in train are taxa with images in the catalog's train. "
            + (
                trained_images(outcome.metrics["trained_images"])
                or "The catalog does not say whether this model was trained on it."
            )
        ),
    )


def comparison(outcome: Outcome) -> str:
    """Show the accuracy of both models at every rank."""
    compared = outcome.metrics.get("comparison")
    if not compared:
        return ""
    rows = [
        [
            level_name(level, compared["by_rank"]), row["n"], row["groups"], percent(row["other_top1"]), percent(row["top1"]),
            points(row["difference"]), points_interval(row["difference_ci95"]), row["gained"], row["lost"],
        ]
        for level, row in compared["by_rank"].items()
    ]  # fmt: skip
    return section(
        "Both models at every rank",
        table(
            ["rank", "images", "groups", "old", "new", "points", "95%", "only new right", "only old right"],
            rows,
            "Both models at every rank",
        ),
        remark(
            f"New is {outcome.config.model}, old is {compared['other_model']} ({compared['other']}; asked with "
            f"{compared['other_labels'] or 'labels that its record does not name'}). "
            f"Over the images that both have; {compared['only_here']} are only in the new evaluation and {compared['only_there']} only "
            "in the old one. Points are percentage points. If the interval of a difference does not contain 0, it is more than chance."
        ),
    )


def ladder(outcome: Outcome) -> str:
    """Show the results of cheaper ways than training this model, on its ``dev``."""
    ladder = outcome.metrics.get("ladder")
    if not ladder or not ladder["rungs"]:
        return ""
    rows = [
        [
            rung["name"], percent(rung["top1"]), interval(rung["top1_ci95"]), percent(rung["old_top1"]), rung["images"],
            rung.get("groups", "–"),
        ]
        for rung in ladder["rungs"]
    ]  # fmt: skip
    # A ladder of an earlier version has no rule, and its weights were always chosen on dev.
    is_chosen = ladder.get("evidence", {}).get("can_choose", True)
    chosen = (
        ", on which steps and mixtures of old and new weights were chosen: good for comparing the ways, too good as a figure of the model"
        if is_chosen
        else f". How its weights were decided: {ladder['rule']}"
    )
    advice, old = ladder.get("recommendation"), ladder.get("old_evidence")
    return section(
        "Ways to retrain, from the cheapest to the dearest",
        remark(advice["sentence"]) + commands(advice["commands"]) if advice else "",
        table(["way", "right", "95%", "old taxa", "images", "groups"], rows, "Ways to retrain"),
        remark(
            f"Kept: {ladder['kept']}. Measured when this model was trained, on the dev part of its own data (a tenth of train that is not "
            f"learnt from){chosen}. Old taxa are those of the replayed collection (images of what the model knew before), among their own "
            f"labels{': ' + counted(old['images'], old['groups']) if old else ''}."
        ),
        anchor="ladder",
    )


def few_shot(outcome: Outcome) -> str:
    """Show the accuracy with a few example images of each taxon."""
    found = outcome.metrics["few_shot"]
    if not found:
        return ""
    rows = [
        [
            shots, percent(found[f"k{shots}"]), points(found[f"k{shots}_spread"], sign=False), percent(found[f"k{shots}_macro"]),
            found[f"k{shots}_taxa"], f"{found[f'k{shots}_queries']:.0f}", found[f"k{shots}_short"],
        ]
        for shots in SHOTS
    ]  # fmt: skip
    return section(
        "With one and with five example images",
        table(
            ["examples per taxon", "right", "spread", "mean over taxa", "taxa", "images", "taxa with fewer examples"], rows,
            "Accuracy with few examples",
        ),
        remark(
            "No names are used (few-shot): an image gets the taxon whose examples are nearest on average (SimpleShot), over "
            f"{found['draws']} draws of examples from train. A taxon that is not in train gives some of the images themselves as examples; "
            "they are then not asked, and neither are other images of their groups. Spread is the standard deviation over draws, in "
            "points. Only taxa with images here can be answered, so these figures do not compare with those above."
        ),
    )  # fmt: skip
