"""An evaluation from its settings to its folder: encode, score, measure, write."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import UsageError
from bioclip_core.files.whole import whole_folder
from bioclip_core.models import ModelEntry, find_model
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation import figures
from bioclip_training.evaluation.comparison import compare_with, read_hits
from bioclip_training.evaluation.config import SHOTS, EvaluationConfig
from bioclip_training.evaluation.consensus import by_rank, consensus_at, curve
from bioclip_training.evaluation.features import FeatureBook, StageProgress, silent
from bioclip_training.evaluation.few_shot import few_shot, support_pools
from bioclip_training.evaluation.outcome import Outcome
from bioclip_training.evaluation.questions import ask, groups_of, query_rows, seen_taxa
from bioclip_training.evaluation.truth import EXACT, RULE
from bioclip_training.loop.checkpoint import dev_fraction_of, ladder_of

if TYPE_CHECKING:
    from bioclip_core.device import Compute
    from bioclip_core.models import FoundModel
    from bioclip_training.evaluation.questions import Question
    from bioclip_training.evaluation.zero_shot import LevelScores

METRICS, REPORT, EXAMPLES, LABEL_SET = "metrics.json", "report.html", "examples.parquet", "label_set"
FORMAT_VERSION = 1


def evaluate(
    config: EvaluationConfig, entries: Mapping[str, ModelEntry] | None = None, progress: StageProgress = silent
) -> dict[str, Any]:
    """Measure a model on parts of a catalog and write ``report.html``, ``metrics.json`` and ``examples.parquet``.

    Features are made as the main job makes them and rounded to float16, so that an answer here is the answer of
    ``classify`` with the same labels, and the pair's temperature is used where one was fitted.

    Args:
        entries: the registry of models, by name.
        progress: told what is done, how much of it, and of how much.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        UsageError: for an empty part, an output that exists, or settings that do not fit the catalog.
        SourceError: if the catalog or all of its images cannot be read.
        LabelSetError: if the label set is another model's.
        NoTextTower: if labels must be made and the model is image-only.
    """
    _check_plots()
    output = Path(config.output).expanduser()
    _check_output(output, force=config.force)  # before the model is opened
    found = find_model(config.model, entries or {})
    catalog = Catalog.open(config.data, dev_fraction=dev_fraction_of(found.folder))
    query_rows(catalog, config.splits)
    if config.compare:
        read_hits(Path(config.compare).expanduser())  # that it is an evaluation is known before an hour of encoding
    with whole_folder(output, partial(_check_output, output, force=config.force)) as draft:
        outcome = _measured(config, catalog, found, draft, progress)
        progress("Writing", 0, 1)
        _write(outcome, draft)
        progress("Writing", 1, 1)
    return outcome.metrics


def _measured(
    config: EvaluationConfig, catalog: Catalog, found: FoundModel, draft: Path, progress: StageProgress
) -> Outcome:
    from bioclip_core.calibration import find_calibration
    from bioclip_core.classify import Classifier
    from bioclip_core.device import choose_compute
    from bioclip_core.open_clip_encoder import open_encoder
    from bioclip_training.evaluation.zero_shot import score

    started = time.monotonic()
    compute = choose_compute(config.device, config.precision)
    encoder = open_encoder(found, compute)
    question = ask(config, catalog, found, encoder, draft / LABEL_SET, progress)
    rows, asked = query_rows(catalog, config.splits), question.truth_of_row
    nameless = int((asked[rows] < 0).sum())
    rows = _named(rows[asked[rows] >= 0], config)
    book = FeatureBook(catalog, encoder, compute, batch_size=config.batch_size, workers=config.workers)
    book.encode(rows, "Encoding", progress)
    encoded_s = time.monotonic() - started
    kept = rows[book.usable(rows)]
    calibrated = None if config.words else find_calibration(found, question.labels.manifest["id"])
    temperature = calibrated.temperature if calibrated else None
    classifier = Classifier(question.labels, compute.device, temperature=temperature or 1.0)
    answers = _answers(
        catalog, question, kept, score(classifier, book.of(kept), asked[kept], question.truths, progress)
    )
    images = {"n": len(kept), "failed": len(book.failures), "without_name": nameless}
    measured = _figures(config, answers, book, temperature, progress)
    measured["few_shot"] = _few_shot(config, catalog, rows, book, progress)
    comparison = compare_with(Path(config.compare).expanduser(), catalog, answers, config) if config.compare else None
    metrics: dict[str, Any] = {
        "images": {**images, "groups": len(np.unique(answers.group_N)), "taxa": len(np.unique(answers.truth_N))},
        **measured,
        **({"comparison": comparison.as_dict()} if comparison else {}),
        **ladder_of(found.folder),
        "seconds": {"encoding": round(encoded_s, 1), "all": round(time.monotonic() - started, 1)},
        "provenance": _provenance(config, catalog, found, compute, question, temperature),
    }
    consensus = consensus_at(config.threshold, answers.scores, answers.truth_N, question.labels)
    return Outcome(config, catalog, answers, consensus, dict(book.failures), figures.plain(metrics))


def _named(rows: NDArray[np.int64], config: EvaluationConfig) -> NDArray[np.int64]:
    if not len(rows):
        what = f"a word in {config.truth_column}" if config.words else "a name at any rank"
        raise UsageError(f"split {', '.join(config.splits)}: none of its rows in {config.data} has {what}")
    return rows


def _answers(
    catalog: Catalog, question: Question, kept: NDArray[np.int64], scores: Mapping[str, LevelScores]
) -> figures.Answers:
    sources, splits = catalog.column("source"), catalog.column("split")
    return figures.Answers(
        rows_N=kept, truth_N=question.truth_of_row[kept], taxon_N=catalog.taxon_of_N[kept], group_N=groups_of(catalog)[kept],
        seen_N=seen_taxa(catalog)[catalog.taxon_of_N[kept]], sources=tuple(sources[row] or "" for row in kept.tolist()),
        splits=tuple(splits[row] or "" for row in kept.tolist()), question=question, scores=scores,
    )  # fmt: skip


def _figures(
    config: EvaluationConfig,
    answers: figures.Answers,
    book: FeatureBook,
    temperature: float | None,
    progress: StageProgress,
) -> dict[str, Any]:
    """What is measured of the images' answers."""
    from bioclip_training.evaluation import retrieval

    progress("Measuring", 0, 3)
    zero_shot = figures.zero_shot(answers, figures.Bootstrap(config.seed, config.resamples))
    progress("Measuring", 1, 3)
    every = max(1, -(-len(answers.rows_N) // retrieval.MOST))
    features_ND, truth_N = book.of(answers.rows_N[::every]), answers.truth_N[::every]
    found = {
        "image_to_image": retrieval.image_to_image(features_ND, truth_N, answers.group_N[::every]),
        "text_to_image": retrieval.text_to_image(features_ND, truth_N, answers.scores[EXACT].truth, answers.labels),
    }
    progress("Measuring", 2, 3)
    at = consensus_at(config.threshold, answers.scores, answers.truth_N, answers.labels)
    points = curve(answers.scores, answers.truth_N, answers.labels, config.threshold)
    (asked,) = [point for point in points if point["threshold"] == config.threshold]
    progress("Measuring", 3, 3)
    return {
        "zero_shot": zero_shot, "retrieval": found, "calibration": figures.calibration(answers, temperature),
        "consensus": {**asked, "by_rank": by_rank(at), "curve": points}, "confusions": figures.confusions(answers),
    }  # fmt: skip


def _few_shot(
    config: EvaluationConfig, catalog: Catalog, rows: NDArray[np.int64], book: FeatureBook, progress: StageProgress
) -> dict[str, Any]:
    """``k1`` and ``k5``, the mean over draws, each with its spread and what it is over; empty where it was not asked for."""
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
        )  # fmt: skip
        for name, value in measured.as_dict().items():
            found[f"k{shots}" if name == "top1" else f"k{shots}_{name}"] = value
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
        "options": config.as_dict(),
        "model": {"name": found.name, **found.identity()},
        "preprocessing": found.preprocessing.identity(),
        "device": compute.described(),
        "precision": compute.precision,
        "labels": {
            "described": question.described,
            "id": question.labels.manifest["id"],
            "count": len(question.labels),
        },
        "truths": "the words as they stand, without case" if config.words else RULE,
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


def _write(outcome: Outcome, folder: Path) -> None:
    from bioclip_training.evaluation.examples import write_examples
    from bioclip_training.evaluation.report import report_html

    write_examples(
        outcome.catalog, outcome.answers, outcome.consensus, outcome.failures, folder / EXAMPLES, _query(outcome)
    )
    (folder / METRICS).write_text(json.dumps(outcome.metrics, indent=1, allow_nan=False) + "\n", "utf-8")
    (folder / REPORT).write_text(report_html(outcome), "utf-8")


def _query(outcome: Outcome) -> Any:
    return query_rows(outcome.catalog, outcome.config.splits)


def _check_plots() -> None:
    if find_spec("matplotlib") is None:
        raise UsageError(
            "evaluate draws its report with matplotlib, which is not installed; install it with: pip install 'bioclip-plugin[train]'"
        )


def _check_output(output: Path, *, force: bool) -> None:
    """Refuse to replace anything unasked, and anything but an evaluation at all."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not force:
        raise UsageError(f"--output {output} exists; give another folder, or --force to replace it")
    if not (output / METRICS).is_file() or not (output / EXAMPLES).is_file():
        raise UsageError(
            f"--output {output} exists and is no evaluation, so --force does not replace it; give another folder"
        )
