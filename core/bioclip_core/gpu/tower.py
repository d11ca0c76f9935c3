"""The image tower on a GPU: batches through double buffers, as CUDA graphs where they pay, and errors of the device in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ModelError, one_line
from bioclip_core.gpu.batch_room import images_that_fit
from bioclip_core.gpu.double_buffers import DoubleBuffers, Encode
from bioclip_core.gpu.graphs import GraphChoice
from bioclip_core.gpu.streams import Streams
from bioclip_core.models import FoundModel
from bioclip_core.process.memory_errors import is_out_of_memory


class GpuTower:
    """Turns images into features on a GPU. Any thread may call it, two keep the GPU at work."""

    def __init__(
        self, found: FoundModel, device: str, precision: str, dimension: int, streams: Streams, encode: Encode
    ) -> None:
        """Set up.

        Args:
            found: the model, for its name and its identity.
            device: as torch spells it, for messages.
            precision: that of the image tower.
            dimension: D.
            streams: the device.
            encode: queues the computation.
        """
        self._model, self._device, self._streams, self._size = found.name, device, streams, found.preprocessing.size
        self._graphs = GraphChoice(
            streams, encode, {"weights_sha256": found.weights_sha256, "precision": precision, "size": self._size}
        )
        self._buffers = DoubleBuffers(streams, encode, dimension, self._graphs)
        self._encode, self._dimension = encode, dimension

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return B×D features; more images than memory was found to suffice for are several batches.

        Raises:
            ModelError: if the device or its driver fails.
        """
        with device_errors(self._model, self._device):
            try:
                return self._buffers(images_BHWC, vars(self).get("best_batch", 0))
            except RuntimeError as error:
                if is_out_of_memory(error):
                    self._graphs.forget()
                raise

    @cached_property
    def best_batch(self) -> int:
        """Number of images that the free memory suffices for, measured by the first call."""
        image_HWC = np.zeros((1, self._size, self._size, 3), np.uint8)
        probing = DoubleBuffers(self._streams, self._encode, self._dimension)
        with device_errors(self._model, self._device):
            return images_that_fit(
                self._streams, lambda count: probing(np.repeat(image_HWC, count, axis=0)), image_HWC.nbytes
            )


@contextmanager
def device_errors(model: str, device: str, *, opening: bool = False) -> Iterator[None]:
    """Raise the error of a GPU or its driver as one line. One of memory stays as it is, since fewer images may fit.

    Args:
        model: name of the model.
        device: the device; errors on a CPU stay as they are.
        opening: True while the weights are copied, for which no fewer images help.

    Raises:
        ModelError: if the device fails.
    """
    try:
        yield
    except RuntimeError as error:
        if device == "cpu" or (is_out_of_memory(error) and not opening):
            raise
        what = "its memory does not suffice for the weights" if is_out_of_memory(error) else "it failed"
        raise ModelError(
            f"{model} on {device}: {what} ({one_line(str(error))[:200]}); close other programs that use it, restart it, or take "
            "--device cpu"
        ) from error
