"""Run of an evaluation from its settings to its folder: encode, score, measure, write."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.device import Compute, choose_compute
from bioclip_core.errors import BioclipError, DataError, NoTextTower
from bioclip_core.files.homes import with_home
from bioclip_core.files.whole import whole_folder
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.next_commands import command, free_name
from bioclip_core.process.quiet import importing, quiet
from bioclip_core.progress import silent
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_models import dev_fraction_of, ladder_of, origin_of
from bioclip_training.evaluation import figures, retrieval
from bioclip_training.evaluation.already_seen import AlreadySeen, rows_to_measure
from bioclip_training.evaluation.answering import Answered, answer
from bioclip_training.evaluation.comparing.by_taxon import by_taxon, worth_labels, write_taxa
from bioclip_training.evaluation.comparing.comparison import (
    AnsweredBy,
    Other,
    compare_with,
    compared_groups,
    evaluated_here,
    read_other,
)
from bioclip_training.evaluation.comparing.second_model import second_model
from bioclip_training.evaluation.comparing.verdict import verdict_of
from bioclip_training.evaluation.config import SHOTS, EvaluationConfig
from bioclip_training.evaluation.consensus import Consensus, by_rank, consensus_at, curve
from bioclip_training.evaluation.curve_rows import curve_of
from bioclip_training.evaluation.examples import write_examples
from bioclip_training.evaluation.features import FeatureBook, StageProgress, say_first
from bioclip_training.evaluation.few_shot import few_shot, support_pools
from bioclip_training.evaluation.outcome import Answers, Outcome
from bioclip_training.evaluation.pairs import confused_pairs
from bioclip_training.evaluation.provenance import library_versions
from bioclip_training.evaluation.questions import groups_of, query_rows
from bioclip_training.evaluation.remarks import meaningless
from bioclip_training.evaluation.report.page import report_html
from bioclip_training.evaluation.truth import EXACT, RULE
from bioclip_training.evidence.minima import Evidence
from bioclip_training.shards.collection import open_collection

log = logging.getLogger("bioclip_plugin.training")

METRICS, REPORT, EXAMPLES, LABEL_SET = "metrics.json", "report.html", "examples.parquet", "label_set"
COMPARED_LABEL_SET, TAXA = "compared_label_set", "by_taxon.csv"
FORMAT_VERSION = 1


def evaluate(
    config: EvaluationConfig, entries: Mapping[str, ModelEntry] | None = None, progress: StageProgress = silent
) -> dict[str, Any]:
    """Measure a model on parts of a catalog and write ``report.html``, ``metrics.json`` and ``examples.parquet``.

    Features are made as by the main job and rounded to float16, so that an answer here is the answer of ``classify`` with the
    same labels, and the temperature of model and labels is used if one was fitted.

    Args:
        entries: the registry of models, by name.
        progress: called with the stage, the number done so far and the total.

    Returns:
        The content of ``metrics.json``.

    Raises:
        UsageError: for an empty part, an output that exists, or settings that do not fit the catalog.
        SourceError: if the catalog or all of its images cannot be read.
        LabelSetError: if the label set is another model's.
        NoTextTower: if labels must be made and the model is image-only.
    """
    if find_spec("matplotlib") is None:
        raise BioclipError(
            "evaluate draws its report with matplotlib, which is not installed; install it with: pip install 'bioclip-plugin[train]'"
        )
    output = with_home(config.output)
    _check_output(output, force=config.force)  # before the model is opened
    found = find_model(config.model, entries or {})
    catalog = open_collection(
        config.data,
        dev_fraction=dev_fraction_of(found.folder),
        replace_prefix=config.replace_prefix,
        by_taxa=not config.words,
    )
    rows = query_rows(catalog, config.splits)
    other = second_model(config, found, entries or {})  # what is not a model is found before an hour of encoding
    rows, seen = rows_to_measure(config, catalog, rows, [found, *([other] if other else [])])
    for said in seen.lines:
        log.warning(said)
    say_first(catalog, rows, config.replace_prefix)
    with whole_folder(output, partial(_check_output, output, force=config.force)) as draft:
        return _measured_and_written(config, catalog, rows, found, other, seen, draft, progress)


def _measured_and_written(
    config: EvaluationConfig,
    catalog: Catalog,
    rows: NDArray[np.int64],
    found: FoundModel,
    other: FoundModel | None,
    seen: AlreadySeen,
    draft: Path,
    progress: StageProgress,
) -> dict[str, Any]:
    """Fill the draft and return its figures.

    No label set in the draft is open afterwards: its vectors are mapped, and Windows does not rename a folder with a mapped file.
    """
    outcome = _measured(config, catalog, rows, found, other, seen, draft, progress)
    progress("Writing", 0, 1)
    write_examples(outcome, draft / EXAMPLES, rows)
    write_taxa(outcome.taxa, draft / TAXA)
    (draft / METRICS).write_text(json.dumps(outcome.metrics, indent=1, allow_nan=False) + "\n", "utf-8")
    with importing():
        import matplotlib.figure  # noqa: F401
    with quiet():  # matplotlib warns about letters that its font lacks
        report = report_html(outcome)
    (draft / REPORT).write_text(report, "utf-8")
    progress("Writing", 1, 1)
    return outcome.metrics


def _measured(
    config: EvaluationConfig,
    catalog: Catalog,
    rows: NDArray[np.int64],
    found: FoundModel,
    other: FoundModel | None,
    seen: AlreadySeen,
    draft: Path,
    progress: StageProgress,
) -> Outcome:
    started = time.monotonic()
    compute = choose_compute(config.device, config.precision)
    answered = answer(config, catalog, rows, found, compute, draft / LABEL_SET, progress)
    answers, book = answered.answers, answered.book
    encoded_s = answered.encoding_s
    consensus = consensus_at(config.threshold, answers.scores, answers.truth_N, answers.labels)
    images = {"n": len(answers.rows_N), "failed": 0, "without_name": len(rows) - len(answered.named)}
    metrics: dict[str, Any] = {
        "images": {**images, "groups": len(np.unique(answers.group_N)), "taxa": len(np.unique(answers.truth_N))},
        **_figures(config, answers, consensus, book, answered.temperature, progress),
        "few_shot": _few_shot(config, catalog, answered.named, book, progress),
    }
    metrics["trained_images"] = seen.as_dict()
    metrics["evidence"] = Evidence.of(", ".join(config.splits), answers.group_N.tolist()).as_dict()
    second = _answered_too(config, catalog, rows, other, answered, compute, draft, progress) if other else None
    compared = None
    if config.compare:
        compared = evaluated_here(second, catalog) if second else read_other(with_home(config.compare))
        metrics["comparison"] = _comparison(config, catalog, answered, compared, seen)
    taxa = by_taxon(answers, catalog, compared)
    metrics["worth_labels"] = worth_labels(taxa)
    metrics["confused_pairs"] = confused_pairs(answers)
    if config.learning_curve:
        metrics["learning_curve"] = curve_of(config, catalog, [answered, *([second] if second else [])], progress)
    if second:
        book.add_failures(second.book)
    metrics["images"]["failed"] = len(book.failures)  # with the examples of few-shot and of the learning curve
    metrics["failures"] = book.counted_failures()
    metrics |= ladder_of(found.folder)
    metrics["seconds"] = {"encoding": round(encoded_s, 1), "all": round(time.monotonic() - started, 1)}
    metrics["provenance"] = _provenance(config, catalog, compute, answered)
    return Outcome(
        config, catalog, answers, consensus, dict(book.failures), figures.plain(metrics), figures.plain(taxa)
    )


def _answered_too(
    config: EvaluationConfig,
    catalog: Catalog,
    rows: NDArray[np.int64],
    other: FoundModel,
    first: Answered,
    compute: Compute,
    draft: Path,
    progress: StageProgress,
) -> Answered:
    """Return the other model's answers to the same images, among its own labels for the same taxa."""
    taxa = None
    if config.labels and not config.compare_labels:
        labels = first.answers.labels
        taxa = list(dict.fromkeys(labels.taxon(row) for row in range(len(labels))))
    own = replace(config, model=config.compare or "", labels=config.compare_labels)
    try:
        return answer(own, catalog, rows, other, compute, draft / COMPARED_LABEL_SET, progress, taxa)
    except NoTextTower as error:
        output, moved = free_name("prototypes"), config.replace_prefix
        raise NoTextTower(
            f"compare {config.compare}: it cannot make labels of names; give --compare-labels with a label set of example images: "
            f"{command('prototypes build', data=config.data, model=config.compare, output=output, replace_prefix=moved)}"
        ) from error


def _figures(
    config: EvaluationConfig,
    answers: Answers,
    consensus: Consensus,
    book: FeatureBook,
    temperature: float | None,
    progress: StageProgress,
) -> dict[str, Any]:
    progress("Measuring", 0, 3)
    zero_shot = figures.zero_shot(answers)
    progress("Measuring", 1, 3)
    every = max(1, -(-len(answers.rows_N) // retrieval.MOST))
    features_ND, truth_N = book.of(answers.rows_N[::every]), answers.truth_N[::every]
    found = {
        "image_to_image": retrieval.image_to_image(features_ND, truth_N, answers.group_N[::every]),
        "text_to_image": retrieval.text_to_image(features_ND, truth_N, answers.scores[EXACT].truth, answers.labels),
    }
    progress("Measuring", 2, 3)
    points = curve(answers.scores, answers.truth_N, answers.labels, config.threshold)
    (asked,) = [point for point in points if point["threshold"] == config.threshold]
    progress("Measuring", 3, 3)
    return {
        "zero_shot": zero_shot, "retrieval": found, "calibration": figures.calibration(answers, temperature),
        "consensus": {**asked, "images": int(consensus.given.sum()), "by_rank": by_rank(consensus), "curve": points},
        "confusions": figures.confusions(answers),
    }  # fmt: skip


def _few_shot(
    config: EvaluationConfig, catalog: Catalog, rows: NDArray[np.int64], book: FeatureBook, progress: StageProgress
) -> dict[str, Any]:
    """Return ``k1`` and ``k5``, the means over draws, with the other figures of each; empty if not asked for."""
    if not config.few_shot:
        return {}
    pools = support_pools(rows, catalog.rows_of("train"), catalog.taxon_of_N)
    drawn = [pool.drawn(max(SHOTS), draw, config.seed) for pool in pools for draw in range(config.draws)]
    support = np.unique(np.concatenate(drawn))
    if len(support):
        book.encode(support, "Examples", progress)
    found: dict[str, Any] = {"draws": config.draws}
    for shots in SHOTS:
        measured = few_shot(
            shots, pools, rows, catalog.taxon_of_N, groups_of(catalog), book, draws=config.draws, seed=config.seed
        ).as_dict()
        found |= {f"k{shots}" if name == "top1" else f"k{shots}_{name}": value for name, value in measured.items()}
    return found


def _comparison(
    config: EvaluationConfig, catalog: Catalog, answered: Answered, other: Other, seen: AlreadySeen
) -> dict[str, Any]:
    found = compare_with(other, catalog, answered.answers)
    found["labels"] = answered.answers.question.described
    exact = answered.answers.scores[EXACT]
    own = meaningless(len(answered.answers.labels), len(exact.place_N), int((exact.place_N < 0).sum()))
    found["meaningless"] = own or other.meaningless
    found["is_same"] = other.by == AnsweredBy.of(answered)
    if EXACT in found["by_rank"]:
        new = {"name": answered.found.name, **origin_of(answered.found.folder)}
        groups = compared_groups(other, catalog, answered.answers)
        found["verdict"] = verdict_of(
            found, new, config.splits, catalog.identity, groups, seen.lines, measures_seen=seen.is_measured
        )
    return found


def _provenance(config: EvaluationConfig, catalog: Catalog, compute: Compute, answered: Answered) -> dict[str, Any]:
    found, question = answered.found, answered.answers.question
    return {
        "format_version": FORMAT_VERSION,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": asdict(config),
        "model": {"name": found.name, **found.identity(), **origin_of(found.folder)},
        "preprocessing": found.preprocessing.identity(),
        "device": compute.described(),
        "precision": compute.precision,
        "labels": {
            "described": question.described,
            "id": question.labels.manifest["id"],
            "count": len(question.labels),
        },
        "truths": "the words as written, without case" if config.words else RULE,
        "temperature": answered.temperature,
        "catalog": {"file": str(catalog.file), "sha256": catalog.identity, "rows": len(catalog)},
        "versions": library_versions(),
    }


def _check_output(output: Path, *, force: bool) -> None:
    """Refuse to replace anything without ``force``, and anything but an evaluation at all."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not force:
        raise DataError(f"--output {output} exists; give another folder, or --force to replace it")
    if not (output / METRICS).is_file() or not (output / EXAMPLES).is_file():
        raise DataError(
            f"--output {output} exists and is not an evaluation, so --force does not replace it; give another folder"
        )
