"""Answers of a model to the images of an evaluation, and the outcome that the report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.consensus import Consensus
from bioclip_training.evaluation.questions import Question
from bioclip_training.evaluation.zero_shot import LevelScores


@dataclass(frozen=True, slots=True)
class Answers:
    """N readable images with a true name, and the model's answers to them."""

    rows_N: NDArray[np.int64]
    """Rows of the catalog."""
    truth_N: NDArray[np.int64]
    """Numbers of the true names in ``question.names``."""
    group_N: NDArray[np.int64]
    seen_N: NDArray[np.bool_]
    """True for a taxon with rows in ``train``."""
    sources: tuple[str, ...]
    splits: tuple[str, ...]
    question: Question
    scores: Mapping[str, LevelScores]

    @property
    def labels(self) -> LabelSet:
        return self.question.labels

    def name(self, row: int, level: str) -> str:
        """Return the name of an answer: the scientific name, or the words of a custom label."""
        taxon, _ = self.labels.taxon_at(row, level)
        return taxon.scientific_name or taxon.common_name


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures, answers and failures of an evaluation."""

    config: EvaluationConfig
    catalog: Catalog
    answers: Answers
    consensus: Consensus
    failures: Mapping[int, str]
    """Reason why the image of a row could not be used, by row of the catalog."""
    metrics: dict[str, Any]
    taxa: Sequence[Mapping[str, Any]] = ()
    """Figures of each true taxon, as ``by_taxon`` gives them."""
