"""The model: images and captions to L2-normalised features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bioclip_core.preprocessing import Preprocessing

if TYPE_CHECKING:
    pass


ENCODE_VERSION = 1
"""Part of every feature's identity: raise it when the same weights and pixels give other features."""


class Encoder(Protocol):
    """What turns images, and perhaps captions, into features. May be called from several threads at once."""

    @property
    def identity(self) -> dict[str, str]:
        """``weights_sha256``, ``source`` and ``revision``."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What images must have gone through."""
        ...

    @property
    def dimension(self) -> int:
        """D, the length of a feature."""
        ...

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by (not its logarithm)."""
        ...

    @property
    def logit_bias(self) -> float:
        """What is added to the product; 0 where the model has none."""
        ...

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        """B RGB images of the contract's size to B×D features, L2-normalised in fp32 and then rounded to float16."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """N captions to N×D features, L2-normalised.

        Raises:
            NoTextTower: if the encoder is image-only.
        """
        ...
