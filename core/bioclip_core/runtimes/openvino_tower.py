"""An image tower in OpenVINO: converted from the torch module and compared with it, or read from the kept int8 model."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import ModelError, first_line, raise_if_of_host
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.process.quiet import quiet
from bioclip_core.runtimes.library import openvino

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Keep = Callable[[Any, NDArray[np.float32]], None]
"""Saves an OpenVINO model that was converted, and torch's features with which it was compared."""

_HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of precisions."""
_LEAST_COSINE = {"fp32": 0.99999, "bf16": 0.99}
"""Smallest cosine to torch's fp32 features that rounding explains, on noise, where bf16 is at its worst."""
_TRACED, _COMPARED = 2, 3
"""Images of the traced batch and of the compared one: another number, so that a fixed batch size would be found."""


class OpenVinoUnusable(ModelError):
    """OpenVINO cannot run a model here; the text has the reason."""


class OpenVinoTower:
    """Features of images, computed by OpenVINO on the CPU. Several threads may call it, one works."""

    def __init__(self, model: Any, precision: str) -> None:
        """Compile an OpenVINO model.

        Args:
            model: from preprocessed RGB images (B×H×W×3, uint8) to L2-normalised features (B×D).
            precision: ``fp32`` or ``bf16``; for an int8 model, of the layers that are not quantised.
        """
        import torch

        self._lock = threading.Lock()
        hints = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),  # as the host limits torch
            "ENABLE_CPU_PINNING": "NO",  # the cores are shared with decoding threads
        }
        with quiet():
            self._request = openvino().Core().compile_model(model, "CPU", hints).create_infer_request()

    def __call__(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return B×D features, L2-normalised.

        Raises:
            OpenVinoUnusable: if OpenVINO fails.
        """
        with self._lock, quiet():
            try:
                found = self._request.infer({0: np.ascontiguousarray(images_BHWC)}, share_inputs=True)
            except Exception as error:
                raise_if_of_host(error)
                raise OpenVinoUnusable(f"OpenVINO cannot encode: {first_line(error)}; use --runtime torch") from error
            features_BD: NDArray[np.float32] = np.array(found[0], dtype=np.float32)
        features_BD /= np.linalg.norm(features_BD, axis=1, keepdims=True)  # of bf16, one is not exact
        return features_BD


def converted_tower(
    model: torch.nn.Module, preprocessing: Preprocessing, precision: str, keep: Keep | None = None
) -> OpenVinoTower:
    """Return a tower that is converted from an open_clip model in fp32, after a comparison with it.

    Args:
        model: the open_clip model.
        preprocessing: of its images.
        precision: ``fp32`` or ``bf16``.
        keep: called with OpenVINO's model and the features of :func:`check_features` by torch, to save them.

    Raises:
        OpenVinoUnusable: if it cannot be converted, or gives other features.
    """
    return _contained(lambda: _compared(model, preprocessing, precision, keep))


def read_tower(file: Path, precision: str) -> OpenVinoTower:
    """Return the tower that :func:`converted_tower` or NNCF wrote to a file.

    Raises:
        OpenVinoUnusable: if it cannot be read.
    """
    return _contained(lambda: OpenVinoTower(_read_model(file), precision))


def save_model(model: Any, file: Path) -> None:
    """Write an OpenVINO model in fp32 to a file (.xml, with its .bin beside it)."""
    with quiet():
        openvino().save_model(model, str(file), compress_to_fp16=False)


def check_readable(file: Path) -> None:
    """Read a model's file, which OpenVINO cuts off without an error when a disk is full.

    Raises:
        OpenVinoUnusable: if it is not whole.
    """
    _contained(lambda: _read_model(file))


def check_features(tower: OpenVinoTower, expected_BD: NDArray[np.float32], precision: str, size: int) -> None:
    """Compare a tower's features of made-up images with those of torch in fp32.

    Args:
        tower: the tower.
        expected_BD: torch's features of the same images.
        precision: that of the tower.
        size: H and W of its images.

    Raises:
        OpenVinoUnusable: if they differ by more than rounding explains.
    """
    least = float((tower(_noise(_COMPARED, size)) * expected_BD).sum(axis=1).min())
    if not least >= _LEAST_COSINE[precision]:
        raise OpenVinoUnusable(
            f"OpenVINO gives other features than torch in {precision}: their cosine is {least:.5f} on made-up images, "
            f"{_LEAST_COSINE[precision]} is needed"
        )


def _read_model(file: Path) -> Any:
    with quiet():
        core = openvino().Core()
        core.set_property({"ENABLE_MMAP": False})  # a mapped file of a shared cache may be removed by another machine
        return core.read_model(str(file))


def _contained(work: Callable[[], T]) -> T:
    try:
        return work()
    except ModelError:
        raise
    except Exception as error:  # OpenVINO raises RuntimeError, torch what its operators raise
        raise_if_of_host(error)
        raise OpenVinoUnusable(f"OpenVINO cannot run this model: {first_line(error)}") from error


def _compared(model: torch.nn.Module, preprocessing: Preprocessing, precision: str, keep: Keep | None) -> OpenVinoTower:
    import torch

    whole = _Tower(model, preprocessing)
    converted = _converted(whole)
    tower = OpenVinoTower(converted, precision)
    with torch.inference_mode():
        expected_BD = whole.module(torch.from_numpy(_noise(_COMPARED, preprocessing.size))).numpy()
    check_features(tower, expected_BD, precision, preprocessing.size)
    if keep is not None:
        keep(converted, expected_BD)
    return tower


def _noise(count: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size=(count, size, size, 3), dtype=np.uint8)


class _Tower:
    """The image tower as one torch module, from preprocessed images (uint8) to normalised features."""

    def __init__(self, model: torch.nn.Module, preprocessing: Preprocessing) -> None:
        import torch

        class Module(torch.nn.Module):
            mean: torch.Tensor
            std: torch.Tensor

            def __init__(self) -> None:
                super().__init__()
                self.model = model
                mean, std = (
                    # Whatever type and device are the host's defaults.
                    torch.tensor(one, dtype=torch.float32, device="cpu").view(1, 3, 1, 1) * 255
                    for one in (preprocessing.mean, preprocessing.std)
                )
                self.register_buffer("mean", mean, persistent=False)
                self.register_buffer("std", std, persistent=False)

            def forward(self, images_BHWC: torch.Tensor) -> torch.Tensor:
                images_BCHW = images_BHWC.permute(0, 3, 1, 2).float().sub(self.mean).div(self.std)
                features_BD: torch.Tensor = self.model.encode_image(images_BCHW)  # type: ignore[operator]
                return torch.nn.functional.normalize(features_BD.float(), dim=-1)

        self.size = preprocessing.size
        self.module = Module().eval()


@contextmanager
def _no_tracer_warnings() -> Iterator[None]:
    """Drop warnings of torch's tracer about torch's own code, as torch does unless the host has reset the filters.

    They come from C, where nothing can stand between. Only this kind of warning is concerned, for a moment.
    """
    from torch.jit._trace import TracerWarning

    if any(entry[2] is TracerWarning for entry in warnings.filters):
        yield
        return
    before = list(warnings.filters)
    TracerWarning.ignore_lib_warnings()  # type: ignore[no-untyped-call]
    added = [entry for entry in warnings.filters if entry not in before]
    try:
        yield
    finally:
        for entry in added:
            with suppress(ValueError):  # another thread has put back its own filters
                warnings.filters.remove(entry)  # type: ignore[attr-defined]


def _converted(tower: _Tower) -> Any:
    """Return the tower as an OpenVINO model for batches of any size.

    OpenVINO's own ``convert_model`` is not used: it reports each call to its makers.
    """
    import torch

    package = openvino()
    with quiet(), _no_tracer_warnings(), torch.no_grad():
        example = torch.from_numpy(_noise(_TRACED, tower.size))
        traced = torch.jit.trace(tower.module, example, check_trace=False)  # type: ignore[no-untyped-call]
        decoder = package.frontend.pytorch.ts_decoder.TorchScriptPythonDecoder(traced)
        frontend = package.frontend.FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
        node = model.inputs[0].get_node()
        node.set_element_type(package.Type.u8)
        node.set_partial_shape(package.PartialShape([-1, tower.size, tower.size, 3]))
        model.validate_nodes_and_infer_types()
    return model
