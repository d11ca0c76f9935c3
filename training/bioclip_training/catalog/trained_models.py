"""The records in a trained model's folder that an evaluation reads: its dev part, its ladder, and what it was trained from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_document
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.trained_on import trained_on

LADDER = "ladder.json"


def settings_of(model: Path) -> Path:
    """Return the file with the settings of a training run, in the model's folder."""
    return model / "training" / "settings.json"


def dev_fraction_of(model: Path | None) -> float:
    """Return the share of ``train`` that a trained model's folder records as its ``dev``; the default for other models.

    Raises:
        DataError: if the record is damaged.
    """
    if model is None or not settings_of(model).is_file():
        return DEV_FRACTION
    recorded = read_document(settings_of(model), _Recorded, name="the settings of the training run")
    if not 0 <= recorded.config.dev_fraction < 1:
        raise DataError(
            f"{settings_of(model)} is damaged: dev_fraction is {recorded.config.dev_fraction}, a share is needed"
        )
    return recorded.config.dev_fraction


@dataclass(frozen=True, slots=True)
class _RecordedConfig:
    dev_fraction: float = DEV_FRACTION


@dataclass(frozen=True, slots=True)
class _Recorded:
    """Part of the settings that an evaluation needs."""

    config: _RecordedConfig = _RecordedConfig()


def ladder_of(model: Path | None) -> dict[str, Any]:
    """Return ``{"ladder": ...}`` with the rungs in a trained model's folder; empty for other models.

    Raises:
        DataError: if the rungs cannot be read.
    """
    if model is None or not (model / LADDER).is_file():
        return {}
    return {"ladder": read_document(model / LADDER, dict[str, Any], name="the ladder of the training run")}


@dataclass(frozen=True, slots=True)
class _StartOf:
    start: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Part of the settings that says what a trained model is."""

    config: _StartOf = _StartOf()
    data_sha256: str = ""


def origin_of(model: Path | None) -> dict[str, Any]:
    """Return ``{"trained": ...}`` with start, method and data of a model that ``train`` made; empty for other models.

    ``lists_images`` is True if the model lists its training images, so that an evaluation finds them.

    Raises:
        DataError: if the record is damaged.
    """
    if model is None or not settings_of(model).is_file():
        return {}
    recorded = read_document(settings_of(model), _Origin, name="the settings of the training run")
    start = recorded.config.start
    found = {"start": start, "method": recorded.config.method, "data_sha256": recorded.data_sha256}
    return {"trained": {**found, "lists_images": trained_on(model) is not None}}
