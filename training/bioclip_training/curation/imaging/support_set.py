"""Filter ``support-set``: the nearest of the user's example images, such as labels, drawers, maps and covers, by features of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.device import checked_precision, choose_compute
from bioclip_core.encoder import USUAL_BATCH, Encoder
from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_core.images.memory import image_memory
from bioclip_core.images.unexpected import contained
from bioclip_core.models import FoundModel, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.curation.content_filters import FilterOptions, FilterRecord, known_names

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_DIGITS = 4
_DEVICES = r"auto|cpu|mps|cuda(?::\d+)?"
WANTED = "wanted"
"""Class of examples that are to stay, if the user does not name others."""


class SupportSetFilter:
    """Compares each image with example images, a folder per class.

    The score is the cosine of the nearest example of an unwanted class, less that of the nearest wanted one if there are any: above
    0, the nearest example is an unwanted one.
    """

    name = "support-set"
    description = "nearest example image by model features: labels, drawers, maps, covers"

    def identity(self, options: FilterOptions) -> Mapping[str, Any]:
        known_names(options.files, ("examples",), f"files of the filter {self.name}")
        known_names(options.values, ("model", "wanted", "device", "precision"), f"options of the filter {self.name}")
        if (precision := options.values.get("precision", "auto")) != "auto":
            checked_precision(precision, f"precision of the filter {self.name}")
        if not re.fullmatch(_DEVICES, str(device := options.values.get("device", "auto"))):
            raise UsageError(
                f"device of the filter {self.name} {device!r}: allowed are auto, cpu, cuda, cuda:N and mps"
            )
        if "examples" not in options.files:
            raise UsageError(
                f"the filter {self.name} needs example images: files: {{examples: FOLDER}}, with a folder per class"
            )
        if options.files["examples"].exists():  # the stage says that it does not
            _classes(options.files["examples"], _wanted(options))
        return {**_found(options).identity(), "wanted": sorted(_wanted(options)), "version": 1}

    def open(self, options: FilterOptions) -> OpenedSupportSet:
        found = _found(options)
        compute = choose_compute(options.values.get("device", "auto"), options.values.get("precision", "auto"))
        encoder = open_encoder(found, compute)
        classes = _classes(options.files["examples"], _wanted(options))
        features_SD = np.concatenate([_features(files, encoder) for files in classes.values()])
        is_wanted_S = np.repeat(
            [name in _wanted(options) for name in classes], [len(files) for files in classes.values()]
        )
        return OpenedSupportSet(encoder, features_SD, is_wanted_S)


def _found(options: FilterOptions) -> FoundModel:
    model = options.values.get("model")
    if not isinstance(model, str) or not model:
        raise UsageError("the filter support-set needs a model: options: {model: NAME}")
    return find_model(model, options.models)


def _wanted(options: FilterOptions) -> tuple[str, ...]:
    given = options.values.get("wanted", [WANTED])
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise UsageError(f"the filter support-set: wanted is {given!r}: write a list of names of folders")
    return tuple(listed)


def _classes(folder: Path, wanted: Sequence[str]) -> dict[str, list[Path]]:
    """Return the example images of each class.

    Raises:
        SourceError: without a folder of unwanted examples.
    """
    if not folder.is_dir():
        raise SourceError(f"the example images {folder} are not a folder; give one with a folder per class")
    found = {
        entry.name: sorted(file for file in entry.rglob("*") if file.suffix.lower() in _IMAGES)
        for entry in sorted(folder.iterdir())
        if entry.is_dir()
    }
    found = {name: files for name, files in found.items() if files}
    if not set(found) - set(wanted):
        raise SourceError(
            f"{folder} has no folder with images of an unwanted class (such as labels/ or maps/): make one folder per class"
        )
    return found


def _features(files: Sequence[Path], encoder: Encoder) -> NDArray[np.float32]:
    """Return the features of example images.

    Raises:
        SourceError: if one cannot be read: without it, the scores would be others.
    """
    pixels = [_decoded(file, encoder.preprocessing) for file in files]
    starts = range(0, len(pixels), USUAL_BATCH)
    return np.concatenate(
        [encoder.encode_images(np.stack(pixels[at : at + USUAL_BATCH])).astype(np.float32) for at in starts]
    )


def _decoded(file: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    try:
        with contained(str(file)), image_memory():
            return decode_regions(read_bytes(file), [None], preprocessing)[0]
    except ImageError as error:
        raise SourceError(f"the example image {file} cannot be used: {error}; repair or remove it") from error


@dataclass(frozen=True)
class OpenedSupportSet:
    """The filter with its model and the features of the examples."""

    encoder: Encoder
    features_SD: NDArray[np.float32]
    is_wanted_S: NDArray[np.bool_]

    @property
    def preprocessing(self) -> Preprocessing:
        return self.encoder.preprocessing

    @property
    def batch_size(self) -> int:
        return USUAL_BATCH  # the same everywhere: features depend on it in their last digits

    def score(self, records: Sequence[FilterRecord]) -> list[float | None]:
        pixels = [record.pixels for record in records]
        features_BD = self.encoder.encode_images(np.stack([one for one in pixels if one is not None]))
        cosines_BS = features_BD.astype(np.float32) @ self.features_SD.T
        unwanted_B = cosines_BS[:, ~self.is_wanted_S].max(1)
        wanted_B = cosines_BS[:, self.is_wanted_S].max(1) if self.is_wanted_S.any() else np.zeros(len(unwanted_B))
        return [round(float(score), _DIGITS) for score in unwanted_B - wanted_B]
