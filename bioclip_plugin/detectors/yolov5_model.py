"""A checked YOLOv5 checkpoint in memory: opened from its bytes, run on batches of images, and its boxes.

The steps are those of ``speciesnet.SpeciesNetDetector``, so that the boxes are equal bit by bit. Importing that class would make
Pillow read truncated images in the whole process, among other things, so its few lines around ``yolov5`` stand here.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from itertools import groupby
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_core.errors import ModelError, first_line, raise_if_of_host
from bioclip_core.process.quiet import quiet
from bioclip_plugin.contracts.detector import Detection
from bioclip_plugin.detectors.importing import import_yolov5
from bioclip_plugin.detectors.package import SIDE, STRIDE, THRESHOLD

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

CATEGORIES = ("animal", "person", "vehicle")
_MOST_AT_ONCE = 8
"""Images per batch on a GPU. On a CPU a batch is not faster, and its last bits may differ from those of single images."""
_LEVELS = (np.arange(256) / 255).astype(np.float32)
"""The network's input for each value of a pixel. A GPU's own division differs in the last bit."""


class YoloModel:
    """A detector's network on a device."""

    def __init__(self, weights: bytes, name: str) -> None:
        """Open a checkpoint.

        Args:
            weights: the content of its file, whose sha256 has been checked.
            name: the file's name, for messages.

        Raises:
            ModelError: if it is not a YOLOv5 checkpoint, or has other categories.
        """
        import_yolov5()
        with quiet():
            self._model = _opened(weights, name)
        self._device = "cpu"

    def detect(self, images: Sequence[NDArray[np.uint8]], device: str) -> list[list[Detection]]:
        """Return the boxes of each image, those of higher confidence first."""
        import torch

        found: list[list[Detection]] = [[] for _ in images]
        at_once = 1 if device == "cpu" else _MOST_AT_ONCE
        with quiet(), torch.no_grad():
            if device != self._device:
                self._model, self._device = self._model.to(device), device
            inputs = [_letterboxed(image) for image in images]
            for numbers in _of_one_shape(inputs, at_once):
                raw = self._run(np.stack([inputs[number] for number in numbers]))
                for position, number in enumerate(numbers):
                    one = raw[position : position + 1]
                    found[number] = _boxes(one, inputs[number].shape[:2], images[number].shape[:2])
        return found

    def _run(self, batch_BHWC: NDArray[np.uint8]) -> torch.Tensor:
        import torch

        # The package's input of one image counts as contiguous; kernels for channels last would round differently.
        input_BCHW = torch.from_numpy(_LEVELS[batch_BHWC]).permute(0, 3, 1, 2).contiguous().to(self._device)
        raw: torch.Tensor = self._model(input_BCHW, augment=False)[0]
        return raw.cpu() if self._device == "mps" else raw


def _of_one_shape(inputs: Sequence[NDArray[np.uint8]], at_once: int) -> Iterator[list[int]]:
    """Yield the numbers of inputs that can be run as one batch."""
    shapes = [image.shape[:2] for image in inputs]
    for _, numbers in groupby(sorted(range(len(inputs)), key=shapes.__getitem__), key=shapes.__getitem__):
        alike = list(numbers)
        yield from (alike[start : start + at_once] for start in range(0, len(alike), at_once))


def _letterboxed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image scaled to the network's side, on grey whose sides are multiples of the stride."""
    from yolov5.utils.augmentations import letterbox

    longer, shorter = max(image.shape[:2]), min(image.shape[:2])
    if (
        round(shorter * SIDE / longer) == 0
    ):  # a strip that would have no pixel left; its boxes are fractions all the same
        image = np.repeat(image, -(-longer // SIDE), axis=int(np.argmin(image.shape[:2])))
    made: NDArray[np.uint8] = letterbox(np.ascontiguousarray(image), new_shape=SIDE, stride=STRIDE, auto=True)[0]
    return made


def _boxes(raw: torch.Tensor, made: Sequence[int], size: tuple[int, ...]) -> list[Detection]:
    """Return the boxes in the network's output for one image, without those that are rounded to no pixel of it.

    Several images at a time would share ``non_max_suppression``'s limit of time, behind which it returns no boxes.
    """
    from yolov5.utils.general import non_max_suppression, scale_boxes, xyxy2xywhn

    height, width = size
    rows = non_max_suppression(raw, conf_thres=THRESHOLD)[0]
    rows[:, :4] = scale_boxes(made, rows[:, :4], (height, width)).round()
    places = xyxy2xywhn(rows[:, :4], w=width, h=height).tolist()
    found = [
        Detection(x - w / 2.0, y - h / 2.0, w, h, CATEGORIES[int(category)], confidence)
        for (x, y, w, h), (confidence, category) in zip(places, rows[:, 4:].tolist(), strict=True)
        if w > 0 and h > 0
    ]
    return sorted(found, key=lambda box: box.confidence, reverse=True)


# -- opening -----------------------------------------------------------------------------------------------------------


def _opened(weights: bytes, name: str) -> Any:
    import torch

    names = _Names()
    try:
        checkpoint = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=False, pickle_module=names)
        model = checkpoint["model"].float().eval()
        categories = int(model.model[-1].nc)
        modules = list(model.modules())
    except Exception as error:  # whatever a damaged or foreign file leads to
        raise_if_of_host(error)
        foreign = f"; it needs {', '.join(sorted(names.foreign)[:3])}" if names.foreign else f": {first_line(error)}"
        raise ModelError(f"detector speciesnet: {name} is not a YOLOv5 checkpoint{foreign}") from error
    if categories > len(CATEGORIES):
        raise ModelError(
            f"detector speciesnet: {name} has {categories} categories; a detector of speciesnet has 3: animal, human and vehicle"
        )
    for parameter in model.parameters():
        parameter.requires_grad = False
    for module in modules:
        if isinstance(module, torch.nn.Upsample) and not hasattr(module, "recompute_scale_factor"):
            module.recompute_scale_factor = None  # of checkpoints that are older than torch 1.11
    return model


class _Foreign:
    """Stands for an object of a class that no network consists of, such as a path in the record of its training."""

    def __init__(self, *_given: object, **_named: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


class _Names(ModuleType):
    """Takes the place of the module ``pickle`` for ``torch.load``: only names that networks consist of are looked up.

    Checkpoints of YOLOv5's own repository name its modules ``models`` and ``utils``, of which a host, or the working directory,
    may have others.
    """

    def __init__(self) -> None:
        super().__init__("pickle")  # torch asks for its name
        self.foreign: set[str] = set()
        foreign = self.foreign

        class Unpickler(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                if module.partition(".")[0] in ("models", "utils"):
                    module = f"yolov5.{module}"
                if _is_plain(module, name):
                    return super().find_class(module, name)
                if module.startswith("torch.nn.") or module in _YOLOV5:
                    found = super().find_class(module, name)
                    if _is_layer(found):
                        return found
                foreign.add(f"{_ALIASES.get(module, module)}.{name}")
                return _Foreign

        self.Unpickler = Unpickler

    def load(self, file: Any, **options: Any) -> Any:
        """Read one pickle, as the oldest format of checkpoints has several."""
        return self.Unpickler(file, **options).load()


_PLAIN = {
    "builtins": "bool bytearray complex dict float frozenset int list object set slice str tuple",
    "collections": "OrderedDict defaultdict",
    "torch": "Size device Tensor bfloat16 bool float16 float32 float64 int16 int32 int64 int8 uint8 strided contiguous_format",
    "torch.nn.parameter": "Parameter Buffer",
    "torch.serialization": "_get_layout",
    "torch.storage": "UntypedStorage",
    "_codecs": "encode",
}
_YOLOV5 = frozenset({"yolov5.models.common", "yolov5.models.experimental", "yolov5.models.yolo"})
_ALIASES = {"__builtin__": "builtins"}
_RUN_MORE = frozenset({"AutoShape", "DetectMultiBackend", "Ensemble"})
"""Classes of ``yolov5.models`` that read or fetch files when they are made."""


def _is_plain(module: str, name: str) -> bool:
    """True for a value, a container or a part of a tensor."""
    if module == "torch._utils":
        return name.startswith("_rebuild_")
    return name in _PLAIN.get(_ALIASES.get(module, module), "").split()


def _is_layer(found: Any) -> bool:
    import torch

    return isinstance(found, type) and issubclass(found, torch.nn.Module) and found.__name__ not in _RUN_MORE
