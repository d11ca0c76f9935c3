"""The model to compare with, found and checked before anything is encoded."""

from __future__ import annotations

from collections.abc import Mapping

from bioclip_core.calibration import find_calibration
from bioclip_core.errors import BioclipError, DataError, SourceError
from bioclip_core.files.homes import with_home
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_training.evaluation.comparing.comparison import is_evaluation, read_other
from bioclip_training.evaluation.config import EvaluationConfig


def second_model(config: EvaluationConfig, found: FoundModel, entries: Mapping[str, ModelEntry]) -> FoundModel | None:
    """Return the model to compare with; None for an earlier evaluation, or without a comparison.

    Raises:
        SourceError: if there is neither an evaluation nor a model of that name.
        DataError: if it is the evaluated model itself.
    """
    if not config.compare:
        return None
    folder = with_home(config.compare)
    if is_evaluation(folder):
        if config.compare_labels:
            raise DataError(
                f"compare-labels: {config.compare} is an earlier evaluation, whose answers are stored; leave --compare-labels out, or "
                "give --compare a model"
            )
        read_other(folder)
        return None
    try:
        other = find_model(config.compare, entries)
    except BioclipError as error:
        raise SourceError(
            f"compare {config.compare}: it is not an evaluation (the --output folder of an earlier evaluate), and not a model: {error}"
        ) from error
    if config.compare_labels:
        LabelSet.open(config.compare_labels).check_encoder(other.identity())
    if _is_same(config, found, other):
        raise DataError(
            f"compare {config.compare}: these are the weights of {config.model} itself with the same labels, so all answers would be "
            "equal; give another model, or other labels of this one with --compare-labels"
        )
    return other


def _is_same(config: EvaluationConfig, found: FoundModel, other: FoundModel) -> bool:
    """True if it is known before labels are made that both models give the same answers: weights, labels and temperature are equal."""
    if other.weights_sha256 != found.weights_sha256 or other.preprocessing != found.preprocessing:
        return False
    if config.labels and config.compare_labels:
        ids = [LabelSet.open(labels).manifest["id"] for labels in (config.labels, config.compare_labels)]
        fitted = [find_calibration(model, ids[0]) for model in (found, other)]
        temperatures = [one.temperature if one else None for one in fitted]
        return ids[0] == ids[1] and temperatures[0] == temperatures[1]
    if config.labels or config.compare_labels:
        return False
    # Made labels are the same; a temperature for them may lie in each model's folder, and custom labels have none.
    return bool(config.words) or found.folder == other.folder
