"""The temperature of a model with a label set, kept beside the checkpoint or in the user's cache."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError, ModelError
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import user_cache
from bioclip_core.models import FoundModel

CALIBRATION = "calibration.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted temperature and how it was fitted."""

    temperature: float
    """Divisor of every logit; above 1 for a model that is too sure of itself."""
    weights_sha256: str
    label_set: str
    """Id of the label set."""
    fitted_on: Mapping[str, Any]
    """Data, part, rows, and the effect on the figures."""

    def __post_init__(self) -> None:
        if not (
            isinstance(self.temperature, (int, float)) and math.isfinite(self.temperature) and self.temperature > 0
        ):
            raise ModelError(
                f"temperature {self.temperature!r}: a number above 0 is needed; run bioclip-plugin calibrate again"
            )


def find_calibration(model: FoundModel, label_set: str) -> Calibration | None:
    """Return the calibration of a pair, from the model's folder or else the user's cache; None if it was never fitted.

    Raises:
        ModelError: if a file of temperatures is damaged.
    """
    for file in _files(model):
        entry = _read(file).get(label_set)
        # The folder may hold other weights by now, whose features differ.
        if entry is not None and entry.get("weights_sha256") == model.weights_sha256:
            try:
                return Calibration(**entry)
            except TypeError as error:
                raise ModelError(
                    f"{file} is damaged ({error}); remove it, or run bioclip-plugin calibrate again"
                ) from None
    return None


def keep_calibration(model: FoundModel, calibration: Calibration) -> Path:
    """Store a calibration for its pair and return the file.

    The folder of a model that came from the hub or with a plugin does not belong to the user: its temperature is stored in
    the user's cache, as is that of a folder that cannot be written.

    Raises:
        BioclipError: if nothing can be written, or an older temperature cannot be replaced.
    """
    *own, cache = _files(model)
    if own and model.entry is None and not model.source.startswith("hf-hub:"):
        with suppress(OSError):
            return _write(own[0], calibration)
    if own and calibration.label_set in _read(own[0]):
        raise BioclipError(
            f"{own[0]} holds a temperature for this label set and cannot be written; make it writable, or copy the model's folder"
        )
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        return _write(cache, calibration)
    except OSError as error:
        raise BioclipError(
            f"the temperature cannot be kept: {cache}: {error.strerror or error}; set BIOCLIP_CACHE to a writable folder"
        ) from error


def _files(model: FoundModel) -> list[Path]:
    """Return the files that may hold a model's temperatures, the first one first; the last is in the user's cache."""
    cache = user_cache() / "calibrations" / f"{model.weights_sha256}.json"
    return [model.folder / CALIBRATION, cache] if model.folder else [cache]


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        written = json.loads(file.read_text("utf-8"))
        if written["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {written['format_version']!r}, this version reads {FORMAT_VERSION}")
        return {key: dict(value) for key, value in written["label_sets"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Going on without the temperature would silently change the answers.
        is_denied = isinstance(error, PermissionError)
        remedy = (
            "set BIOCLIP_CACHE to a folder of your own"
            if is_denied
            else "remove it, and run bioclip-plugin calibrate again"
        )
        raise ModelError(f"{file} cannot be read ({error}); {remedy}") from None


def _write(file: Path, calibration: Calibration) -> Path:
    written = {
        "format_version": FORMAT_VERSION,
        "label_sets": {**_read(file), calibration.label_set: asdict(calibration)},
    }
    write_whole(file, json.dumps(written, indent=1) + "\n")
    return file
