"""Detectors through the real hook: one that finds what is not white, and pictures for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bioclip_plugin import hookimpl
from bioclip_plugin.plugin_api import Detection, Detector

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
FISH = ("a red fish", "a blue fish")


class Spotter:
    """A detector, and the plugin that registers it: a box around the red, one around the blue, green is a person.

    A yellow image makes it fail. It counts its calls and the images in them.
    """

    version, side = "7", 64

    def __init__(self, name: str = "spotter", *, confidence: float = 0.9, weights: str = "w1") -> None:
        self.name, self.confidence, self.weights = name, confidence, weights
        self.calls: list[int] = []
        self.sizes: list[tuple[int, ...]] = []
        self.devices: set[str] = set()

    @property
    def images(self) -> int:
        """Number of images that it was given."""
        return sum(self.calls)

    def identity(self) -> Mapping[str, Any]:
        return {"weights_sha256": self.weights}

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> list[list[Detection]]:
        self.calls.append(len(images))
        self.sizes += [image.shape for image in images]
        self.devices.add(device)
        return [self.boxes(image) for image in images]

    def boxes(self, image: NDArray[np.uint8]) -> list[Detection]:
        if (image[0, 0] == (255, 255, 0)).all():
            raise RuntimeError("yellow hurts")
        found = []
        for channel, category in ((0, "animal"), (2, "animal"), (1, "person")):
            others = [one for one in range(3) if one != channel]
            seen = (image[..., channel] > 200) & (image[..., others] < 60).all(axis=-1)
            if seen.any():
                (ys, xs), (height, width) = np.nonzero(seen), image.shape[:2]
                left, top, right, bottom = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
                found.append(
                    Detection(
                        left / width,
                        top / height,
                        (right - left) / width,
                        (bottom - top) / height,
                        category,
                        self.confidence,
                    )
                )
        return found

    @hookimpl
    def register_detectors(self, register: Callable[[Detector], None]) -> None:
        register(self)


def scene(
    path: Path,
    *spots: tuple[tuple[int, int, int], tuple[int, int, int, int]],
    size: tuple[int, int] = (160, 120),
    **save: Any,
) -> str:
    """Draw coloured boxes (x0, y0, x1, y1) on white, and return the path."""
    image = Image.new("RGB", size, WHITE)
    for colour, (x0, y0, x1, y1) in spots:
        ImageDraw.Draw(image).rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
    image.save(path, **save)
    return str(path)
