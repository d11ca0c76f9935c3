"""The outcome of an evaluation: figures, rows and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioclip_training.catalog.rows import Catalog
from bioclip_training.evaluation import figures
from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.consensus import Consensus

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the report is made of."""

    config: EvaluationConfig
    catalog: Catalog
    answers: figures.Answers
    consensus: Consensus
    failures: Mapping[int, str]
    """By row of the catalog, why its image could not be used."""
    metrics: dict[str, Any]
