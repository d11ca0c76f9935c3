"""Checkpoints in the format of MegaDetector 5: a tiny network of YOLOv5's own classes with random weights."""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from bioclip_core.process.quiet import quiet
from bioclip_plugin.contracts.detector import Detection
from bioclip_plugin.detectors.importing import import_yolov5

WORDS = {"animal": "animal", "human": "person", "vehicle": "vehicle"}
"""Our words for the package's categories."""

NETWORK = {
    "depth_multiple": 1.0,
    "width_multiple": 1.0,
    "anchors": [[19, 27, 44, 40, 38, 94], [436, 615, 739, 380, 925, 792]],
    "backbone": [
        [-1, 1, "Conv", [8, 6, 4, 2]],
        [-1, 1, "Conv", [8, 3, 4]],
        [-1, 1, "C3", [8]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "SPPF", [16, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 3], 1, "Concat", [1]],
        [-1, 1, "C3", [16, False]],
        [[8, 5], 1, "Detect", ["nc", "anchors"]],
    ],
}
"""The kinds of layers of YOLOv5x6, few of each, with strides of 32 and 64."""


@cache
def checkpoint_bytes(seed: int = 1, categories: int = 3) -> bytes:
    """Return a checkpoint whose network finds some boxes in a picture, and others in another picture."""
    import torch

    import_yolov5()
    from yolov5.models.yolo import DetectionModel

    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        model = DetectionModel({**NETWORK, "nc": categories})
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():  # otherwise random layers hardly react to the picture
            model.train()(
                torch.stack([torch.from_numpy(picture(256, 320, n) / 255).permute(2, 0, 1).float() for n in range(4)])
            )
        head = model.eval().model[-1]
        for output in head.m:
            numbers = output.bias.detach().view(head.na, -1)
            output.weight.data = torch.randn_like(output.weight) * 0.3
            numbers[:, 4] = -4.0
            numbers[:, 5:] = torch.randn(head.na, categories)
            output.bias.data = numbers.reshape(-1)
    return saved({"epoch": -1, "best_fitness": None, "model": model.half(), "ema": None, "optimizer": None})


def saved(checkpoint: Any) -> bytes:
    """Return a checkpoint as ``torch.save`` writes it."""
    import torch

    file = io.BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Touches:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


def code_bytes(marker: Path, *, in_archive: bool = True) -> bytes:
    """Return a checkpoint that makes a file when it is read."""
    return saved({"model": Touches(marker)}) if in_archive else pickle.dumps(Touches(marker))


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return an image with soft shapes and noise."""
    random = np.random.default_rng(seed + 7 * height + width)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(rows / random.uniform(3, 90) + columns / random.uniform(3, 90)) for _ in range(3)]
    noise = random.normal(0, 25, (height, width, 3))
    return np.clip(np.stack(waves, axis=-1) * 90 + 128 + noise, 0, 255).astype(np.uint8)


def of_package(detector: Any, image: NDArray[np.uint8]) -> list[Detection]:
    """Return the boxes of the package's own detector."""
    answer = detector.predict("x.jpg", detector.preprocess(PIL.Image.fromarray(image)))
    boxes = [Detection(*one["bbox"], WORDS[one["label"]], one["conf"]) for one in answer["detections"]]
    return [box for box in boxes if box.w > 0 and box.h > 0]  # others have no pixel of the image
