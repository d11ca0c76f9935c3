"""For authors of plugins and hosts: a fake model whose features can be worked out by hand, through the real hook."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import NoTextTower
from bioclip_core.identity import settings_id
from bioclip_core.models import ModelEntry
from bioclip_core.preprocessing import Preprocessing, preprocessing_of
from bioclip_plugin.hookspecs import hookimpl

COLOURS = ("red", "green", "blue")


class FakeEncoder:
    """An encoder of colours: the features of an image are its mean red, green and blue, those of a caption the colours that it names.

    A wholly red image against the captions "a red fish" and "a blue fish" has the cosines 1 and 0, so with
    ``logit_scale`` s the probabilities are e^s / (e^s + 1) and 1 / (e^s + 1). A black image, and a caption that names
    no colour, point to all three equally. Images are 8 pixels square.
    """

    dimension = 3
    logit_bias = 0.0

    def __init__(self, name: str = "fake", *, logit_scale: float = 1.0, text_tower: bool = True) -> None:
        self.identity = {"weights_sha256": settings_id({"source": name}), "source": name, "revision": ""}
        self.logit_scale = logit_scale
        self.preprocessing: Preprocessing = preprocessing_of(8, registry={"size": 8, "resize_mode": "squash"})
        self._text_tower = text_tower
        self.images_encoded = 0
        """Number of encoded images, for tests of resuming."""

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.images_encoded += len(images_BHWC)
        return _unit(images_BHWC.reshape(len(images_BHWC), -1, 3).mean(axis=1)).astype(np.float16)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not self._text_tower:
            raise NoTextTower("this fake encoder has no text tower; use prototypes instead of captions")
        words = [set(re.findall(r"[a-z]+", text.lower())) for text in texts]
        return _unit(np.array([[colour in named for colour in COLOURS] for named in words], dtype=np.float32))


class FakeModel:
    """A plugin that registers a :class:`FakeEncoder` under a name. Register an instance with your plugin manager."""

    def __init__(self, name: str = "fake", *, logit_scale: float = 1.0, text_tower: bool = True) -> None:
        self.name = name
        self.encoder = FakeEncoder(name, logit_scale=logit_scale, text_tower=text_tower)

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        pinned = {"size": 8, "resize_mode": "squash"}
        register(
            ModelEntry(
                self.name, self.name, "colours", preprocessing=pinned, open_encoder=lambda _compute: self.encoder, dimension=3
            )
        )  # fmt: skip


def _unit(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return L2-normalised rows; a row of zeros becomes the same number in every place."""
    rows = np.where(np.any(rows_ND > 0, axis=1, keepdims=True), rows_ND, 1.0).astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
