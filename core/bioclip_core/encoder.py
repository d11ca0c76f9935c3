"""The contract of a model: images and captions to L2-normalised features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bioclip_core.preprocessing import Preprocessing

if TYPE_CHECKING:
    import numpy as np  # not needed for --help
    from numpy.typing import NDArray

USUAL_BATCH = 16
"""Images that are encoded at once until a better number is known."""
ENCODE_VERSION = 1
"""Part of every feature's identity: raise it when the same weights and pixels give other features."""


class Encoder(Protocol):
    """A model that turns images, and perhaps captions, into features. Several threads may call it at once.

    Two members are optional: ``best_batch``, the number of images at once that suits it (None if it does not know), and
    ``calls_at_once``, the number of threads that it needs to be at work all the time (1).
    """

    @property
    def identity(self) -> dict[str, str]:
        """``weights_sha256``, ``source`` and ``revision``."""

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing that the model's images need."""

    @property
    def dimension(self) -> int:
        """D, the length of a feature."""

    @property
    def logit_scale(self) -> float:
        """Factor of the cosines (not its logarithm)."""

    @property
    def logit_bias(self) -> float:
        """Number added to the scaled cosines; 0 for a model without a bias."""

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return B×D features of B preprocessed RGB images, L2-normalised in fp32 and then rounded to float16."""

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return N×D L2-normalised features of N captions.

        Raises:
            NoTextTower: if the encoder is image-only.
        """


def best_batch_of(encoder: Encoder) -> int | None:
    """Return the number of images at once that suits an encoder; None if it does not know."""
    size: int | None = getattr(encoder, "best_batch", None)
    return size


def calls_at_once_of(encoder: Encoder) -> int:
    """Return the number of threads that an encoder needs to be at work all the time."""
    return int(getattr(encoder, "calls_at_once", 1))


def faults_of_features(features_BD: NDArray[Any]) -> dict[int, str]:
    """Return the faults of features that no label can be compared with, by their rows."""
    import numpy as np

    faults = {int(row): "its features are zero" for row in np.flatnonzero(~features_BD.any(axis=1))}
    not_finite = np.flatnonzero(~np.isfinite(features_BD).all(axis=1))
    return faults | {int(row): "its features are not finite numbers" for row in not_finite}
