"""Parts of a report about probabilities, similarity, unusable images, and what was evaluated."""

from __future__ import annotations

from html import escape

from bioclip_core.nouns import number_of
from bioclip_training.evaluation import plots
from bioclip_training.evaluation.consensus import JUDGED
from bioclip_training.evaluation.markup import image, number, percent, remark, section, table
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.scores import BINS, rank_hits, reliability
from bioclip_training.evaluation.truth import EXACT
from bioclip_training.evaluation.zero_shot import level_name

_MOST_FAILURES = 200


def calibration(outcome: Outcome) -> str:
    """Show how far probabilities can be believed."""
    found, exact = outcome.metrics["calibration"], outcome.answers.scores[EXACT]
    bins = reliability(exact.probability_NK[:, 0], rank_hits(exact.place_N, 1))
    fitted = found["temperature"]
    temperature = (
        f"with the temperature {fitted:.3g} that calibrate fitted (all scores are divided by it)"
        if fitted
        else "without a fitted temperature (the command calibrate fits one)"
    )
    rows = [[level_name(level, found["by_rank"]), percent(ece)] for level, ece in found["by_rank"].items()]
    return section(
        "Are the probabilities right?",
        f"<p>Of the answers given with 80% probability, 80% should be right. They are off by {percent(found['ece'])} on average (expected "
        f"calibration error, exact taxon, {min(BINS, len(bins.count_B))} parts of equally many images), {temperature}. The negative "
        f"log-likelihood, a penalty for sure answers that are wrong, is {number(found['nll'])}.</p>",
        image(plots.reliability_diagram(bins), "Share of right answers by their probability"),
        table(["rank", "off by"], rows, "Calibration error by rank"),
        anchor="calibration",
    )


def consensus(outcome: Outcome) -> str:
    """Show the answers that are given at a threshold."""
    found, threshold = outcome.metrics["consensus"], outcome.config.threshold
    finest = outcome.answers.labels.levels[-1]
    names = ["coverage", "accuracy", f"coverage_{finest}", f"accuracy_{finest}"]
    rows = [[f"{point['threshold']:g}", *(percent(point[name]) for name in names)] for point in found["curve"]]
    at = [[level, row["images"], percent(row["accuracy"])] for level, row in found["by_rank"].items() if row["images"]]
    return section(
        "Sure answers only: the consensus",
        remark(
            "The consensus is the finest rank at which one name has enough probability: a species if the model is sure, else a genus or a "
            "family, else nothing. Coverage is the share of images that get one. "
        ),
        image(
            plots.coverage_curve(found["curve"], finest, threshold),
            "Share of images with a consensus, and of right ones among them",
        ),
        remark(JUDGED),
        table([f"rank at threshold {threshold:g}", "images", "right"], at, "Consensus by rank"),
        table(
            ["threshold", "coverage", "right", f"coverage at {finest}", f"right at {finest}"],
            rows,
            "Consensus by threshold",
        ),
    )


def retrieval(outcome: Outcome) -> str:
    """Show how well similar images are found."""
    named = {"image_to_image": "image to images of its taxon", "text_to_image": "label to its images"}
    rows = [
        [named[name], percent(row["r_at_1"]), percent(row["map_at_r"]), row["queries"]]
        for name, row in outcome.metrics["retrieval"].items()
    ]
    return section(
        "Searching similar images",
        table(["from, to", "nearest is right", "mAP@R", "searches"], rows, "Retrieval"),
        remark(
            "Other images of the searched image's own group are ignored. mAP@R is the mean share of right images among the first R found, "
            "where R is the number of right ones; 100% means that all of them come first."
        ),
    )


def failures(outcome: Outcome) -> str:
    """List the images that could not be used."""
    if not outcome.failures:
        return ""
    listed, uris = list(outcome.failures.items()), outcome.catalog.column("uri")
    rows = [[uris[row], reason] for row, reason in listed[:_MOST_FAILURES]]
    more = len(listed) - len(rows)
    return section(
        f"{number_of(len(outcome.failures), 'image')} could not be used",
        table(["image", "reason"], rows, "Unusable images"),
        remark(f"{more} more; examples.parquet has all images of the evaluation.") if more > 0 else "",
    )


def provenance(outcome: Outcome) -> str:
    """Say exactly what was evaluated."""
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
        "catalog": f"{catalog['file']}, {number_of(catalog['rows'], 'row')}",
        "catalog sha256": catalog["sha256"],
        "options": options,
        "versions": ", ".join(f"{name} {value}" for name, value in found["versions"].items()),
        "made": f"{found['made_at']}, in {outcome.metrics['seconds']['all']} s",
    }
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items())
    return section("What was evaluated", f"<dl>{listed}</dl>", anchor="evaluated")
