"""Report of an evaluation (``report.html``): one file with its pictures inside, readable on a phone and on paper, without scripts or
network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from bioclip_training.evaluation import plots
from bioclip_training.evaluation.config import SHOTS
from bioclip_training.evaluation.consensus import JUDGED
from bioclip_training.evaluation.figures import taxa_table
from bioclip_training.evaluation.markup import image, interval, number, percent, points, remark, section, table, yes
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.scores import BINS, rank_hits, reliability
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evaluation.zero_shot import level_name

_MOST_TAXA, _MOST_FAILURES, _MOST_PAIRS, _MAP = 300, 200, 25, 25

_STYLE = """
:root { color-scheme: light; }
body { background: #fff; color: #1b1b1b; font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #c9cdd1; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #e2e5e8; vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; } img { max-width: 100%; height: auto; }
p.note { color: #4a4f54; } td, dd { overflow-wrap: anywhere; } td.n { overflow-wrap: normal; }
dl { display: grid; grid-template-columns: minmax(7rem, auto) 1fr; gap: .2rem 1rem; } dt { color: #4a4f54; } dd { margin: 0; }
"""


def report_html(outcome: Outcome) -> str:
    """Return the whole report as HTML."""
    config = outcome.config
    title = f"{config.model} on {', '.join(config.splits)} of {outcome.catalog.file.name}"
    parts = [
        f"<h1>{escape(title)}</h1>", _summary(outcome), _by_level(outcome), _parts_table(outcome), _comparison(outcome),
        _ladder(outcome), _learning_curve(outcome),
        _few_shot(outcome), _confusions(outcome), _calibration(outcome), _consensus(outcome), _retrieval(outcome),
        _taxa(outcome), _failures(outcome), _provenance(outcome),
    ]  # fmt: skip
    body = "\n".join(filter(None, parts))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _summary(outcome: Outcome) -> str:
    images, exact = outcome.metrics["images"], outcome.metrics["zero_shot"][EXACT]
    lines = [
        f"{images['n']} images of {images['taxa']} taxa in {images['groups']} groups, classified among "
        f"{escape(outcome.answers.question.described)}. The best answer is the exact taxon for <strong>{percent(exact['top1'])}</strong> "
        f"of them (95% interval {interval(exact['top1_ci95'])})."
    ]
    if exact["unanswerable"]:
        lines.append(
            f"{exact['unanswerable']} of them are of taxa that are not in the label set, so no answer can be right; of "
            f"the other {exact['answerable']['n']}, {percent(exact['answerable']['top1'])} are right."
        )
    if images["failed"]:
        lines.append(f"{images['failed']} images could not be used; they are listed below and not part of any figure.")
    if images["without_name"]:
        lines.append(f"{images['without_name']} rows lack a name to compare with and are not part of any figure.")
    return "".join(f"<p>{line}</p>" for line in lines)


def _by_level(outcome: Outcome) -> str:
    custom = outcome.answers.labels.is_custom
    named = {level_name(level, custom=custom): figures for level, figures in outcome.metrics["zero_shot"].items()}
    rows = [
        [
            name, figures["n"], percent(figures["top1"]), interval(figures["top1_ci95"]), percent(figures["top3"]),
            percent(figures["top5"]), percent(figures["macro"]["top1"]), interval(figures["macro"]["top1_ci95"]), figures["unanswerable"],
            percent(figures["answerable"]["top1"]),
        ]
        for name, figures in named.items()
    ]  # fmt: skip
    header = (
        "rank", "images", "top-1", "95%", "top-3", "top-5", "macro top-1", "95%", "not in label set", "top-1 of the others",
    )  # fmt: skip
    return section(
        "Zero-shot accuracy",
        image(plots.accuracy_by_level(named), "accuracy by rank"),
        table(header, rows),
        remark(
            "An image counts at a rank at which its label has a name; the probability of a taxon is the sum over its labels. "
            "Macro is the mean over taxa. Intervals are exact ones over independent groups, "
            "since images of one group are not independent; one group has none. Exact taxon is the whole label, whatever its rank."
        ),
    )


def _parts_table(outcome: Outcome) -> str:
    zero_shot = outcome.metrics["zero_shot"]
    shares: list[tuple[str, str, Mapping[str, Any]]] = []
    for level in [level for level in (EXACT, "genus", "family") if level in zero_shot]:
        figures, name = zero_shot[level], level_name(level, custom=outcome.answers.labels.is_custom)
        shares += [(name, f"{part} in train", figures[part]) for part in ("seen", "unseen")]
        for kind in ("split", "source"):
            parts = figures[f"by_{kind}"]
            shares += [(name, f"{kind} {key}", share) for key, share in parts.items() if len(parts) > 1]
    rows = [
        [name, part, share["n"], percent(share["top1"]), interval(share["top1_ci95"])]
        for name, part, share in shares
        if share["n"]
    ]
    return section(
        "By part",
        table(["rank", "part", "images", "top-1", "95%"], rows),
        remark(
            "Seen are taxa with rows in the catalog's train; the catalog does not say whether this model was trained on it."
        ),
    )


def _comparison(outcome: Outcome) -> str:
    compared = outcome.metrics.get("comparison")
    if not compared:
        return ""
    rows = [
        [
            level, row["n"], percent(row["top1"]), percent(row["other_top1"]), points(row["difference"]),
            f"{points(row['difference_ci95'][0])} to {points(row['difference_ci95'][1])}", row["gained"], row["lost"],
        ]
        for level, row in compared["by_rank"].items()
    ]  # fmt: skip
    return section(
        f"Beside {compared['other_model']} ({compared['other']})",
        table(["rank", "images", "here", "there", "points", "95%", "only right here", "only right there"], rows),
        remark(
            f"Over the images that both have; {compared['only_here']} are only here and {compared['only_there']} only there. "
            "The interval is that of the difference, image by image, over independent groups: "
            "if it does not contain 0, the difference is more than chance."
        ),
    )


def _ladder(outcome: Outcome) -> str:
    """Show the results of cheaper ways than training this model, on its ``dev``."""
    ladder = outcome.metrics.get("ladder")
    if not ladder or not ladder["rungs"]:
        return ""
    rows = [
        [rung["name"], percent(rung["top1"]), interval(rung["top1_ci95"]), percent(rung["old_top1"]), rung["images"]]
        for rung in ladder["rungs"]
    ]
    return section(
        "The ladder of retraining",
        table(["rung", "exact taxon", "95%", "old taxa", "images"], rows),
        remark(
            f"Kept: {ladder['kept']}. Measured when this model was trained, on the dev part of its own data, on which steps and "
            "interpolation were chosen: good for comparing the rungs, too good as a figure of the model. Old taxa are those of "
            "the replayed collection, among their own labels."
        ),
    )


def _learning_curve(outcome: Outcome) -> str:
    found = outcome.metrics.get("learning_curve")
    return section("Would more labels help?", f"<p>{escape(found['sentence'])}</p>") if found else ""


def _few_shot(outcome: Outcome) -> str:
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
        "Few-shot accuracy",
        table(["examples per taxon", "top-1", "spread", "macro", "taxa", "queries", "taxa with fewer examples"], rows),
        remark(
            f"SimpleShot (centred, L2, nearest mean) over {found['draws']} draws of examples from train; a taxon that is not in train "
            "gives some of the images themselves as examples, which are then not queries, and neither are other images of their "
            "groups. Spread is the standard deviation over draws. The taxa are those of the part alone, "
            "so these figures do not compare with zero-shot among all labels."
        ),
    )


def _confusions(outcome: Outcome) -> str:
    pairs = outcome.metrics["confusions"][:_MOST_PAIRS]
    if not pairs:
        return ""
    return section(
        "What is confused",
        image(_confusion_map(outcome), "confusions of the most confused taxa"),
        table(["truth", "best answer", "images", "of"], [list(pair.values()) for pair in pairs]),
    )


def _confusion_map(outcome: Outcome) -> bytes:
    """Draw the taxa with the most wrong images against their most frequent answers."""
    answers = outcome.answers
    exact = answers.scores[EXACT]
    starts_S = answers.labels.spans(exact.truth.level).starts_S
    wrong = Counter(answers.truth_N[exact.place_N != 0].tolist())
    truths = sorted(truth for truth, _ in wrong.most_common(_MAP))
    inside_N = np.isin(answers.truth_N, truths)
    truth_N, answer_N = answers.truth_N[inside_N], exact.top_NK[inside_N, 0]
    spans = sorted(span for span, _ in Counter(answer_N.tolist()).most_common(_MAP + 5))
    counts_TA = np.array([[((truth_N == truth) & (answer_N == span)).sum() for span in spans] for truth in truths])
    totals_T = np.array([(truth_N == truth).sum() for truth in truths])
    return plots.confusion_map(
        counts_TA / totals_T[:, None],
        [answers.question.names[truth] for truth in truths],
        [answers.name(int(starts_S[span]), exact.truth.level) for span in spans],
    )


def _calibration(outcome: Outcome) -> str:
    found, exact = outcome.metrics["calibration"], outcome.answers.scores[EXACT]
    bins = reliability(exact.probability_NK[:, 0], rank_hits(exact.place_N, 1))
    fitted = found["temperature"]
    temperature = (
        f"with the temperature {fitted:.3g} of calibrate" if fitted else "without a temperature (calibrate fits one)"
    )
    custom = outcome.answers.labels.is_custom
    rows = [[level_name(level, custom=custom), percent(ece)] for level, ece in found["by_rank"].items()]
    return section(
        "Calibration",
        f"<p>Expected calibration error {percent(found['ece'])} over {min(BINS, len(bins.count_B))} bins of equal mass, exact taxon, "
        f"{temperature}. Negative log-likelihood of the truth: {number(found['nll'])} nats.</p>",
        image(plots.reliability_diagram(bins), "reliability diagram"),
        table(["rank", "calibration error"], rows),
    )


def _consensus(outcome: Outcome) -> str:
    found, threshold = outcome.metrics["consensus"], outcome.config.threshold
    finest = outcome.answers.labels.levels[-1]
    names = ["coverage", "accuracy", f"coverage_{finest}", f"accuracy_{finest}"]
    rows = [[f"{point['threshold']:g}", *(percent(point[name]) for name in names)] for point in found["curve"]]
    at = [[level, row["images"], percent(row["accuracy"])] for level, row in found["by_rank"].items() if row["images"]]
    return section(
        "Consensus",
        image(plots.coverage_curve(found["curve"], finest, threshold), "coverage against accuracy"),
        remark(JUDGED),
        table([f"rank at {threshold:g}", "images", "accuracy"], at),
        table(["threshold", "coverage", "accuracy", f"coverage at {finest}", f"accuracy at {finest}"], rows),
    )


def _retrieval(outcome: Outcome) -> str:
    named = {"image_to_image": "image to images of its taxon", "text_to_image": "label to its images"}
    rows = [
        [named[name], percent(row["r_at_1"]), percent(row["map_at_r"]), row["queries"]]
        for name, row in outcome.metrics["retrieval"].items()
    ]
    return section(
        "Retrieval",
        table(["from, to", "R@1", "mAP@R", "queries"], rows),
        remark(
            "Other images of the query's own group are ignored. mAP@R is the mean precision over the first R places, where R is "
            "the number of right ones."
        ),
    )


def _taxa(outcome: Outcome) -> str:
    listed = taxa_table(outcome.answers)
    rows = [
        [
            row["taxon"], row["images"], percent(row["top1"]), percent(row["top5"]), yes(row["seen"]), yes(row["in_label_set"]),
        ]
        for row in listed[:_MOST_TAXA]
    ]  # fmt: skip
    return section(
        "Every taxon, the worst first",
        table(["taxon", "images", "top-1", "top-5", "in train", "in label set"], rows),
        _more(len(listed) - len(rows), "more taxa are better than these; examples.parquet has all."),
    )


def _failures(outcome: Outcome) -> str:
    if not outcome.failures:
        return ""
    listed, uris = list(outcome.failures.items()), outcome.catalog.column("uri")
    rows = [[uris[row], reason] for row, reason in listed[:_MOST_FAILURES]]
    return section(
        f"{len(outcome.failures)} images could not be used",
        table(["image", "reason"], rows),
        _more(len(outcome.failures) - len(rows), "more; examples.parquet has all images of the evaluation."),
    )


def _more(count: int, text: str) -> str:
    return remark(f"{count} {text}") if count > 0 else ""


def _provenance(outcome: Outcome) -> str:
    found = outcome.metrics["provenance"]
    model, labels, catalog = found["model"], found["labels"], found["catalog"]
    revision = f", revision {model['revision']}" if model["revision"] else ""
    options = ", ".join(f"{name} {value}" for name, value in found["options"].items() if value not in (None, [], ()))
    rows = {
        "model": f"{model['source']}{revision}",
        "weights": model["weights_sha256"],
        "preprocessing": ", ".join(f"{name} {value}" for name, value in found["preprocessing"].items()),
        "computed on": found["device"],
        "labels": labels["described"],
        "label set": labels["id"],
        "truth": found["truths"],
        "catalog": f"{catalog['file']}, {catalog['rows']} rows",
        "catalog sha256": catalog["sha256"],
        "options": options,
        "versions": ", ".join(f"{name} {value}" for name, value in found["versions"].items()),
        "made": f"{found['made_at']}, in {outcome.metrics['seconds']['all']} s",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
    return section("What was evaluated", f"<dl>{listed}</dl>")
