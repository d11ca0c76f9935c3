"""The detector of the ``speciesnet`` package: a YOLOv5 network, MegaDetector 5, that finds animals, people and vehicles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError, ModelError, ModelUnavailable, UnknownModel, UnsafeWeights, UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.files.near_names import near_hint
from bioclip_core.next_commands import command
from bioclip_plugin.detectors.hub import INFO, fetch_from, fetched_from, file_in_folder, folder_of, is_published
from bioclip_plugin.detectors.package import SIDE, STRIDE, THRESHOLD, installed_package, missing
from bioclip_plugin.detectors.trust import PICKLE_WARNING, check_confirmed, read_confirmed, sha256_of_checkpoint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.contracts.detector import Detection
    from bioclip_plugin.detectors.yolov5_model import YoloModel


class SpeciesNetDetector:
    """Finds animals, people and vehicles with the checkpoint that was fetched, or with one that the user confirmed."""

    name = "speciesnet"
    side = SIDE
    description = "MegaDetector 5, as the speciesnet package uses it: animals, people and vehicles"
    licence = "weights: trained with YOLOv5, no restriction of their own; package speciesnet Apache-2.0; package yolov5 GPL-3.0"

    def __init__(self, place: str = "") -> None:
        """Choose the weights; nothing is opened.

        Args:
            place: ``kaggle:`` or ``hf:`` and the name of a published model, a checkpoint, or a folder in the format of published
                models; empty for the model that the package itself uses.
        """
        self._place = place
        self._model: YoloModel | None = None
        self._stated = ""
        self._opened = ""
        self._failure: tuple[str, ModelError] | None = None

    def with_weights(self, weights: str) -> SpeciesNetDetector:
        """Return the detector with the weights of a published model, of a file or of a folder."""
        return SpeciesNetDetector(weights)

    @property
    def version(self) -> str:
        """Name of the checkpoint without its suffix, such as md_v5a.0.0; "not fetched" without one."""
        try:
            return self._checkpoint()[0].stem
        except BioclipError:
            return "not fetched"

    def missing(self) -> str:
        """Return the command that installs the packages, if one is missing."""
        return missing()

    def identity(self) -> Mapping[str, Any]:
        """Return the sha256 of the weights, the versions of the packages, and the constants of their input and output.

        Raises:
            BioclipError: if a package is missing, or the weights are missing, replaced or not confirmed.
        """
        package = installed_package()
        self._stated = self._checked(*self._checkpoint())
        return {
            "weights_sha256": self._stated,
            "speciesnet": package.version,
            "yolov5": package.yolov5_version,
            "side": SIDE,
            "stride": STRIDE,
            "lowest_confidence": THRESHOLD,
        }

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> Sequence[Sequence[Detection]]:
        """Return the boxes of each image, with the weights that :meth:`identity` stated last.

        Raises:
            BioclipError: if the weights were replaced since, or are not those of such a detector.
        """
        if self._model is None or self._opened != self._stated:
            self._model = self._open()
        return self._model.detect(images, device)

    def _open(self) -> YoloModel:
        from bioclip_plugin.detectors.yolov5_model import YoloModel

        sha256 = self._stated or str(self.identity()["weights_sha256"])
        if self._failure is not None and self._failure[0] == sha256:  # not read again for each image
            raise self._failure[1]
        path, _ = self._checkpoint()
        try:
            model = YoloModel(read_confirmed(path, sha256), path.name)
        except ModelError as error:
            self._failure = sha256, error
            raise
        self._opened = sha256
        return model

    def fetch(self) -> str:
        """Fetch the weights; return a line with their place, size, sha256 and what to know about them."""
        package = installed_package()  # its clients of hubs are needed too
        source = self._place or package.default_model
        if not is_published(source):
            raise UsageError(
                f"detector speciesnet: {source} is not on a hub; confirm a file with: {command('models trust', source, sha256='HASH')}"
            )
        made = fetch_from(source)
        return (
            f"{made.path}, {made.bytes:,} bytes, sha256 {made.sha256}, from {source}; {PICKLE_WARNING}: only a file with this sha256 "
            f"is opened. Licence: {self.licence}"
        )

    def _checkpoint(self) -> tuple[Path, str]:
        """Return the checkpoint and its recorded sha256, empty for a local one."""
        source = self._place or installed_package().default_model
        if is_published(source):
            if (made := fetched_from(source)) is None:
                wanted = f"{self.name}:{self._place}" if self._place else self.name
                raise ModelUnavailable(
                    f"detector speciesnet: the checkpoint of {source} is not on this machine; fetch it once where there is network: "
                    f"{command('models fetch', wanted)}"
                )
            return made.path, made.sha256
        path = with_home(source, ModelError)
        if path.is_dir():
            return file_in_folder(path), ""
        if not path.exists():
            raise UnknownModel(
                f"detector speciesnet: {path} does not exist{near_hint(path)}; give a checkpoint, a folder with {INFO}, or "
                "kaggle: or hf: with the name of a published model"
            )
        return path, ""

    def _checked(self, path: Path, recorded: str) -> str:
        """Return the sha256 of a checkpoint that may be opened."""
        sha256 = sha256_of_checkpoint(path)
        if recorded and sha256 != recorded:
            raise UnsafeWeights(
                f"the checkpoint {path} has the sha256 {sha256}, but {recorded} was recorded when it was fetched: it was replaced or "
                f"damaged. Remove the folder {folder_of(self._place or installed_package().default_model)} and fetch it again"
            )
        check_confirmed(path, sha256)
        return sha256
