"""Run of an evaluation from its settings to its folder: encode, score, measure, write."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.calibration import find_calibration
from bioclip_core.classify import Classifier
from bioclip_core.device import Compute, choose_compute
from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.whole import whole_folder
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.progress import silent
from bioclip_core.quiet import importing, quiet
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation import figures, retrieval
from bioclip_training.evaluation.comparison import compare_with, read_hits
from bioclip_training.evaluation.config import SHOTS, EvaluationConfig
from bioclip_training.evaluation.consensus import Consensus, by_rank, consensus_at, curve
from bioclip_training.evaluation.examples import write_examples
from bioclip_training.evaluation.features import FeatureBook, StageProgress, say_first
from bioclip_training.evaluation.few_shot import few_shot, support_pools
from bioclip_training.evaluation.outcome import Answers, Outcome
from bioclip_training.evaluation.questions import Question, ask, groups_of, query_rows, seen_taxa
from bioclip_training.evaluation.report import report_html
from bioclip_training.evaluation.truth import EXACT, RULE
from bioclip_training.evaluation.zero_shot import score
from bioclip_training.loop.checkpoint import dev_fraction_of, ladder_of

METRICS, REPORT, EXAMPLES, LABEL_SET = "metrics.json", "report.html", "examples.parquet", "label_set"
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
    output = Path(config.output).expanduser()
    _check_output(output, force=config.force)  # before the model is opened
    found = find_model(config.model, entries or {})
    catalog = Catalog.open(
        config.data, dev_fraction=dev_fraction_of(found.folder), replace_prefix=config.replace_prefix
    )
    rows = query_rows(catalog, config.splits)
    say_first(catalog, rows)
    if config.compare:
        read_hits(
            Path(config.compare).expanduser()
        )  # a folder that is not an evaluation is found before an hour of encoding
    with whole_folder(output, partial(_check_output, output, force=config.force)) as draft:
        outcome = _measured(config, catalog, rows, found, draft, progress)
        progress("Writing", 0, 1)
        write_examples(outcome, draft / EXAMPLES, rows)
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
    draft: Path,
    progress: StageProgress,
) -> Outcome:
    started = time.monotonic()
    compute = choose_compute(config.device, config.precision)
    encoder = open_encoder(found, compute)
    question = ask(config, catalog, found, encoder, draft / LABEL_SET, progress)
    asked = question.truth_of_row
    named = rows[asked[rows] >= 0]
    if not len(named):
        missing = f"a word in {config.truth_column}" if config.words else "a name at any rank"
        raise DataError(f"split {', '.join(config.splits)}: none of its rows in {config.data} has {missing}")
    book = FeatureBook(catalog, encoder, compute, batch_size=config.batch_size, workers=config.workers)
    book.encode(named, "Encoding", progress)
    encoded_s = time.monotonic() - started
    kept = named[book.usable(named)]
    calibrated = None if config.words else find_calibration(found, question.labels.manifest["id"])
    temperature = calibrated.temperature if calibrated else None
    classifier = Classifier(question.labels, compute.device, temperature=temperature or 1.0)
    sources, splits = ([catalog.column(name)[row] or "" for row in kept.tolist()] for name in ("source", "split"))
    answers = Answers(
        rows_N=kept, truth_N=asked[kept], group_N=groups_of(catalog)[kept],
        seen_N=seen_taxa(catalog)[catalog.taxon_of_N[kept]], sources=tuple(sources), splits=tuple(splits), question=question,
        scores=score(classifier, book.of(kept), asked[kept], question.truths, progress),
    )  # fmt: skip
    consensus = consensus_at(config.threshold, answers.scores, answers.truth_N, answers.labels)
    images = {"n": len(kept), "failed": 0, "without_name": len(rows) - len(named)}
    metrics: dict[str, Any] = {
        "images": {**images, "groups": len(np.unique(answers.group_N)), "taxa": len(np.unique(answers.truth_N))},
        **_figures(config, answers, consensus, book, temperature, progress),
        "few_shot": _few_shot(config, catalog, named, book, progress),
    }
    if config.compare:
        metrics["comparison"] = compare_with(Path(config.compare).expanduser(), catalog, answers)
    metrics["images"]["failed"] = len(book.failures)  # with the examples of few-shot
    metrics["failures"] = book.counted_failures()
    metrics |= ladder_of(found.folder)
    metrics["seconds"] = {"encoding": round(encoded_s, 1), "all": round(time.monotonic() - started, 1)}
    metrics["provenance"] = _provenance(config, catalog, found, compute, question, temperature)
    return Outcome(config, catalog, answers, consensus, dict(book.failures), figures.plain(metrics))


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
        "consensus": {**asked, "by_rank": by_rank(consensus), "curve": points}, "confusions": figures.confusions(answers),
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


def _provenance(
    config: EvaluationConfig,
    catalog: Catalog,
    found: FoundModel,
    compute: Compute,
    question: Question,
    temperature: float | None,
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "options": asdict(config),
        "model": {"name": found.name, **found.identity()},
        "preprocessing": found.preprocessing.identity(),
        "device": compute.described(),
        "precision": compute.precision,
        "labels": {
            "described": question.described,
            "id": question.labels.manifest["id"],
            "count": len(question.labels),
        },
        "truths": "the words as written, without case" if config.words else RULE,
        "temperature": temperature,
        "catalog": {"file": str(catalog.file), "sha256": catalog.identity, "rows": len(catalog)},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    known = {}
    for name in ("bioclip-plugin", "torch", "open_clip_torch", "pillow", "numpy"):
        try:
            known[name] = version(name)
        except PackageNotFoundError:  # run from a source tree
            known[name] = "not installed"
    return known


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
