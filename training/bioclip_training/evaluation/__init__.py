"""How good a model is on held-out images of a catalog: figures with intervals, a report, a row an example."""

from bioclip_training.evaluation.config import EvaluationConfig
from bioclip_training.evaluation.run import evaluate

__all__ = ["EvaluationConfig", "evaluate"]
