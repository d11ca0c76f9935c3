"""The interface of a detector: boxes around what is in an image, found before the model names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Detection(NamedTuple):
    """One box of a detector. It is checked where it is taken, not when it is made."""

    x: float
    """Left side as a fraction of the upright image's width; the origin is at the top left."""
    y: float
    """Upper side as a fraction of the height."""
    w: float
    """Width, above 0."""
    h: float
    """Height, above 0."""
    category: str
    """``animal``, ``person`` or ``vehicle``, or a word of the detector's own, which is named as an animal is."""
    confidence: float
    """0 to 1."""


class Detector(Protocol):
    """Finds animals, people and vehicles in images, so that the model names animals and not whole scenes."""

    name: str
    """The name that ``--detector`` takes."""
    side: int
    """The longer side in pixels that it wants its images to have."""

    @property
    def version(self) -> str:
        """Version of the weights, as people know it; shown and exported with each box. A plain attribute will do."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return everything that determines its boxes, such as the sha256 of its weights, as plain JSON.

        It is asked before any work and often, so that it must be cheap: no import of torch, no weights opened. Boxes that
        are stored under an equal identity are used again.

        Raises:
            BioclipError: if the detector cannot be used as it is installed, with what to do.
        """
        ...

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> Sequence[Sequence[Detection]]:
        """Return the boxes of each image, in the order of the images; none where it finds nothing.

        Weights are opened at the first call. Calls come from one thread at a time.

        Args:
            images: upright RGB images, height x width x 3, read-only and of different sizes. The longer side is at least
                ``side`` unless the photograph is smaller; it is usually larger.
            device: the device of the model, such as ``cpu`` or ``cuda:0``.
        """
        ...


@runtime_checkable
class DescribedDetector(Protocol):
    """A detector that says more about itself, for ``plugins`` and for the record of a run; all of it is optional."""

    description: str
    """One line on the detector."""
    licence: str
    """Licence of its weights and code."""


@runtime_checkable
class FetchingDetector(Protocol):
    """A detector whose weights can be fetched ahead of their use."""

    def fetch(self) -> str:
        """Fetch the weights, and return one line that says where they are.

        Raises:
            BioclipError: if that is not possible, with what to do.
        """
        ...


@runtime_checkable
class ChoosableDetector(Protocol):
    """A detector that runs with different weights, as ``--detector NAME:WEIGHTS`` chooses them."""

    def with_weights(self, weights: str) -> Detector:
        """Return the detector with other weights: a file, a folder, or a name that it knows. Nothing is opened yet."""
        ...


@runtime_checkable
class OptionalDetector(Protocol):
    """A detector that needs packages which may be missing."""

    def missing(self) -> str:
        """Return how to install what is missing, such as ``pip install "bioclip-plugin[detector]"``; empty if nothing is.

        It must be cheap: look for packages without importing them.
        """
        ...
