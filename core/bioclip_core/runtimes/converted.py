"""Converted image towers in the user's cache: OpenVINO's files of a checkpoint, and the features that torch gives with it.

OpenVINO's own cache (``CACHE_DIR``) is not used: it holds compiled models of one processor, is neither checked nor bounded, and a
full disk or a damaged file ends the program.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ModelError, first_line, raise_if_of_host
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove_tree
from bioclip_core.files.whole import replacing_folder
from bioclip_core.identity import file_sha256, settings_id, user_cache
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of, size_of
from bioclip_core.runtimes.library import version_of
from bioclip_core.runtimes.openvino_tower import (
    OpenVinoTower,
    OpenVinoUnusable,
    check_features,
    check_readable,
    converted_tower,
    read_tower,
    save_model,
)

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bioclip_plugin.runtimes")

FORMAT_VERSION = 1
"""Raise it when the same checkpoint would be converted otherwise."""
MOST_BYTES = 8_000_000_000
"""Bytes of all converted models; those that were not used for longest go first."""
RECORD, MODEL, WEIGHTS = "converted.json", "model.xml", "model.bin"
_CONVERTERS = ("openvino", "torch", "open_clip_torch", "timm")
_one_writer = threading.Lock()


@dataclass(frozen=True, slots=True)
class Converted:
    """The record beside a converted model."""

    made_from: Mapping[str, Any]
    sha256: str
    """Of the model's two files."""
    features: Sequence[Sequence[float]]
    """Features of made-up images by torch in fp32, with which the model is compared at each opening."""


def kept_tower(found: FoundModel, model: torch.nn.Module, precision: str) -> OpenVinoTower:
    """Return the image tower of a model in OpenVINO: from the cache, else converted and put there.

    Args:
        found: the model.
        model: its open_clip module in fp32.
        precision: ``fp32`` or ``bf16``.

    Raises:
        OpenVinoUnusable: if it cannot be converted, or gives other features.
    """
    kept, reason = find_converted(found)
    if kept is not None:
        try:
            tower = read_tower(converted_folder(found) / MODEL, precision)
            check_features(tower, np.array(kept.features, np.float32), precision, found.preprocessing.size)
        except (OpenVinoUnusable, ValueError) as error:
            reason = first_line(error)
        else:
            with suppress(OSError):
                os.utime(converted_folder(found) / RECORD)  # used now, which decides what goes first
            return tower
    if reason:
        log.warning("The converted model of %s in the cache is not used: %s; it is converted again", found.name, reason)
    return converted_tower(
        model,
        found.preprocessing,
        precision,
        lambda converted, features_BD: _keep(found, converted, features_BD),
    )


def converted_folder(found: FoundModel) -> Path:
    """Return the folder of a model's converted tower in the user's cache, made or not."""
    return _room() / f"{found.weights_sha256[:16]}-{settings_id(_made_from(found))[:16]}"


def find_converted(found: FoundModel) -> tuple[Converted | None, str]:
    """Return the record of a converted model, or None and the reason why it cannot be used; empty if none was made.

    Neither OpenVINO nor torch is imported.
    """
    folder = converted_folder(found)
    try:
        if not (folder / RECORD).exists():
            return None, ""
        kept = read_document(folder / RECORD, Converted, name=RECORD, error=ModelError)
        if dict(kept.made_from) != _made_from(found):
            return None, "it was made from something else"
        is_whole = _sha256_of(folder) == kept.sha256
    except ModelError as error:
        return None, f"its record is damaged ({error})"
    except OSError as error:
        return None, f"its files cannot be read ({error.strerror or error})"
    return (kept, "") if is_whole else (None, "its files are not those that were made")


def forget_converted(found: FoundModel) -> None:
    """Remove a converted model that is of no use: torch was measured to be faster."""
    remove_tree(converted_folder(found))


def _keep(found: FoundModel, converted: Any, features_BD: NDArray[np.float32]) -> None:
    """Put a converted model into the cache. A cache that cannot be written costs time, never the run."""
    folder = converted_folder(found)
    try:
        with _one_writer:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with replacing_folder(folder, flush=False) as draft:  # a power cut leaves other bytes, which are found
                save_model(converted, draft / MODEL)
                check_readable(draft / MODEL)
                record = Converted(_made_from(found), _sha256_of(draft), features_BD.astype(float).tolist())
                (draft / RECORD).write_text(json.dumps(asdict(record)), "utf-8")
            _prune(folder)
    except Exception as error:  # of the system, or of OpenVINO, which raises RuntimeError for a full disk
        raise_if_of_host(error)
        log.info(
            "The converted model of %s cannot be kept in %s (%s), so it is converted at each opening",
            found.name, _room(), _reason(error),
        )  # fmt: skip


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or first_line(error)
    return f"OpenVINO could not write it whole, perhaps since the disk is full: {first_line(error)}"


def _prune(newest: Path) -> None:
    """Remove the models that were not used for longest, if all of them take more than :data:`MOST_BYTES`."""
    folders = sorted(_used_at(_room()), reverse=True)
    left, gone = MOST_BYTES, list[int]()
    for _, folder in [(0.0, newest), *((used_at, one) for used_at, one in folders if one != newest)]:
        size = sum(file.stat().st_size for file in folder.iterdir())
        left -= size
        if left < 0 and folder != newest:
            remove_tree(folder)
            gone.append(size)
    if gone:
        log.info(
            "Removed %s from %s that were not used for longest (%s), since all may take %s; they are made again when needed",
            number_of(len(gone), "converted model"), _room(), size_of(sum(gone)), size_of(MOST_BYTES),
        )  # fmt: skip


def _used_at(room: Path) -> Iterator[tuple[float, Path]]:
    for folder in room.iterdir():
        if not folder.name.startswith(".") and folder.is_dir():  # drafts are of other programs
            record = folder / RECORD
            yield record.stat().st_mtime if record.exists() else 0.0, folder


def _made_from(found: FoundModel) -> dict[str, Any]:
    """Return what decides the converted model; precision and processor do not."""
    preprocessing = found.preprocessing
    return {
        "format_version": FORMAT_VERSION,
        "weights_sha256": found.weights_sha256,
        "config": found.config_id(),
        "size": preprocessing.size,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "versions": {package: version_of(package) for package in _CONVERTERS},
    }


def _room() -> Path:
    return user_cache() / "converted"


def _sha256_of(folder: Path) -> str:
    return settings_id({name: file_sha256(folder / name) for name in (MODEL, WEIGHTS)})
