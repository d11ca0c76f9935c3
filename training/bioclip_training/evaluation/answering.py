"""Answers of one model to the images of an evaluation: opened, encoded and scored. A comparison does it for two models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.calibration import find_calibration
from bioclip_core.classify import Classifier
from bioclip_core.device import Compute
from bioclip_core.errors import DataError
from bioclip_core.models import FoundModel
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.features import FeatureBook, StageProgress
from bioclip_training.evaluation.outcome import Answers
from bioclip_training.evaluation.questions import ask, groups_of, seen_taxa
from bioclip_training.evaluation.zero_shot import score


@dataclass(frozen=True, slots=True)
class Answered:
    """A model with its answers, and the features behind them."""

    found: FoundModel
    answers: Answers
    book: FeatureBook
    named: NDArray[np.int64]
    """Rows with a name to compare with; some may be unreadable."""
    temperature: float | None
    encoding_s: float


def answer(
    config: EvaluationConfig,
    catalog: Catalog,
    rows: NDArray[np.int64],
    found: FoundModel,
    compute: Compute,
    labels_folder: Path,
    progress: StageProgress,
    taxa: Sequence[Taxon] | None = None,
) -> Answered:
    """Encode and classify rows of a catalog.

    Args:
        config: settings; ``config.labels`` are those of this model.
        catalog: the catalog.
        rows: the rows to classify.
        found: the model.
        compute: device and precision.
        labels_folder: folder of a label set that has to be made.
        progress: called with the stage, the number done so far and the total.
        taxa: the taxa of a label set that has to be made; None: those of the catalog.

    Raises:
        DataError: if none of the rows has a name.
    """
    started = time.monotonic()
    encoder = open_encoder(found, compute)
    question = ask(config, catalog, found, encoder, labels_folder, progress, taxa)
    asked = question.truth_of_row
    named = rows[asked[rows] >= 0]
    if not len(named):
        missing = f"a word in {config.truth_column}" if config.words else "a name at any rank"
        raise DataError(f"split {', '.join(config.splits)}: none of its rows in {config.data} has {missing}")
    book = FeatureBook(catalog, encoder, batch_size=config.batch_size, workers=config.workers)
    book.encode(named, "Encoding", progress)
    encoding_s = time.monotonic() - started
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
    return Answered(found, answers, book, named, temperature, encoding_s)
