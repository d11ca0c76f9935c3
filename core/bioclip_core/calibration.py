"""The temperature of a model with a label set, kept beside the checkpoint or in the user's cache."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_IWOTH
from typing import Any

from bioclip_core.errors import BioclipError, ModelError, raise_if_of_host
from bioclip_core.files.documents import MAX_DOCUMENT_BYTES, parse_document
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import CACHE_VARIABLE, user_cache
from bioclip_core.model_config import CONFIG
from bioclip_core.models import FoundModel
from bioclip_core.process import system

CALIBRATION = "calibration.json"
FORMAT_VERSION = 1
TEMPERATURES_ALLOWED = (0.001, 1000.0)
"""Far beyond those that are fitted; outside it probabilities are equal, or 0 and 1."""


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
        low, high = TEMPERATURES_ALLOWED
        if isinstance(self.temperature, bool) or not isinstance(self.temperature, (int, float)):
            raise ModelError(f"temperature {self.temperature!r}: a number above 0 is needed")
        if not low <= self.temperature <= high:
            raise ModelError(
                f"temperature {self.temperature!r}: a number above 0, from {low:g} to {high:g}, is needed; run `calibrate` "
                "again"
            )


@dataclass(frozen=True, slots=True)
class _File:
    """A file of temperatures, by the id of the label set."""

    format_version: int
    label_sets: dict[str, Calibration]

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(f"format {self.format_version}, this version reads {FORMAT_VERSION}")


def find_calibration(model: FoundModel, label_set: str) -> Calibration | None:
    """Return the calibration of a pair, from the model's folder or else the user's cache; None if it was never fitted.

    Raises:
        ModelError: if a file of temperatures is damaged.
    """
    for file in _files(model):
        found = _read(file).get(label_set)
        # The folder may hold other weights by now, whose features differ.
        if found is not None and found.weights_sha256 == model.weights_sha256:
            return found
    return None


def keep_calibration(model: FoundModel, calibration: Calibration, output: Path | None = None) -> Path:
    """Store a calibration for its pair and return the file.

    A temperature changes the answers of everybody who uses the folder, so it is stored there only if the folder is the
    user's own; otherwise it is stored in the user's cache.

    Args:
        model: the model.
        calibration: its temperature with a label set.
        output: another file to store it in, which may hold temperatures already.

    Raises:
        BioclipError: if nothing can be written, or an older temperature cannot be replaced.
    """
    if output is not None:
        check_calibration_output(model, output)
        return _written(output, calibration, "give --output another name")
    *own, cache = _files(model)
    reason = why_not_beside(model)
    if own and not reason:
        with suppress(OSError):
            return _write(own[0], calibration)
    if own and calibration.label_set in _read(own[0]):
        raise BioclipError(
            f"{own[0]} holds a temperature for this label set and is left alone ({reason or 'it cannot be written'}); copy the "
            "model's folder, or give --output FILE"
        )
    return _written(cache, calibration, "set BIOCLIP_CACHE to a writable folder")


def check_calibration_output(model: FoundModel, output: Path) -> None:
    """Refuse a file for a temperature, before the work is done.

    Raises:
        BioclipError: if it is in the folder of a model that is not the user's own, or holds something else.
    """
    if not output.parent.is_dir():
        raise BioclipError(f"the folder {output.parent} of the output {output.name} does not exist: make it first")
    if (output.parent / CONFIG).exists() and (reason := why_not_own(output.parent, output.name)):
        raise BioclipError(
            f"the output {output} is in the folder of a model, and {reason}: a temperature there would change the answers of "
            "others; give a name in a folder of your own"
        )
    if (
        model.folder
        and output.resolve() == (model.folder / CALIBRATION).resolve()
        and (reason := why_not_beside(model))
    ):
        raise BioclipError(
            f"the output {output} is beside the model, and {reason}; give a name in a folder of your own"
        )
    _read(output)  # refuses to replace what is not a file of temperatures


def why_not_beside(model: FoundModel) -> str:
    """Return the reason why a temperature is not stored in a model's folder; empty if it is."""
    if model.folder is None:
        return "the model has no folder"
    if model.source.startswith("hf-hub:"):
        return f"{model.folder} belongs to the hub's cache"
    if model.entry is not None:
        return f"{model.folder} belongs to the registered model {model.name}"
    return why_not_own(model.folder)


def why_not_own(folder: Path, name: str = CALIBRATION) -> str:
    """Return the reason why a folder is not the user's own alone; empty if it is.

    Args:
        folder: an existing folder.
        name: the file to write in it.
    """
    if folder.is_symlink():
        return f"{folder} is a link to a folder elsewhere"
    if (folder / name).is_symlink():
        return f"{folder / name} is a link to a file elsewhere"
    parts = folder.resolve().parts
    if any(part.startswith("models--") for part in parts) and "snapshots" in parts:
        return f"{folder} belongs to the hub's cache"
    parents = [folder.resolve(), *folder.resolve().parents]
    if {"site-packages", "dist-packages"} & set(parts) or any((parent / "__init__.py").exists() for parent in parents):
        return f"{folder} belongs to an installed package"
    try:
        stat = folder.stat()
    except OSError:
        return f"{folder} does not exist"
    if hasattr(os, "geteuid") and stat.st_uid != os.geteuid():
        return f"{folder} belongs to another user"
    if not system.is_windows() and stat.st_mode & S_IWOTH:
        return f"{folder} can be written by every user"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


def _files(model: FoundModel) -> list[Path]:
    """Return the files that may hold a model's temperatures, the first one first; the last is in the user's cache."""
    cache = user_cache() / "calibrations" / f"{model.weights_sha256}.json"
    return [model.folder / CALIBRATION, cache] if model.folder else [cache]


def _read(file: Path) -> dict[str, Calibration]:
    try:
        if file.exists() and not file.is_file():  # opening a pipe would wait for its writer
            raise ModelError("it is not a file")
        with file.open("rb") as opened:
            data = opened.read(MAX_DOCUMENT_BYTES + 1)
        return parse_document(data, _File, name="it", error=ModelError).label_sets
    except FileNotFoundError:
        return {}
    except (OSError, ModelError) as error:
        raise_if_of_host(error)
        # Going on without the temperature would silently change the answers.
        raise ModelError(f"{file} cannot be read ({error}); {_remedy(file, error)}") from None


def _remedy(file: Path, error: Exception) -> str:
    """Return what to do about a file of temperatures that cannot be read."""
    if isinstance(error, NotADirectoryError) and os.environ.get(CACHE_VARIABLE) and user_cache() in file.parents:
        return f"{CACHE_VARIABLE} names a file: set it to a folder"
    if isinstance(error, PermissionError | NotADirectoryError):
        return f"set {CACHE_VARIABLE} to a folder of your own"
    return "remove it, and run `calibrate` again"


def _written(file: Path, calibration: Calibration, remedy: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _write(file, calibration)
    except OSError as error:
        raise BioclipError(f"the temperature cannot be kept: {file}: {error.strerror or error}; {remedy}") from error


def _write(file: Path, calibration: Calibration) -> Path:
    kept = _File(FORMAT_VERSION, {**_read(file), calibration.label_set: calibration})
    write_whole(file, json.dumps(asdict(kept), indent=1) + "\n")
    return file
