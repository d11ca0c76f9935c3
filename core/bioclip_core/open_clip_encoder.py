"""The encoder for models that open_clip loads."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bioclip_core.caption_tower import TextTower
from bioclip_core.classifying.crew import on_each, threads_on
from bioclip_core.device import Compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import ModelError, UnsafeWeights, first_line, raise_if_of_host
from bioclip_core.gpu.double_buffers import PAIRS
from bioclip_core.gpu.streams import streams_on
from bioclip_core.gpu.tower import GpuTower, device_errors
from bioclip_core.identity import file_sha256
from bioclip_core.labels.manifest import check_scale
from bioclip_core.models import FoundModel
from bioclip_core.process.imports import importing_torch
from bioclip_core.process.quiet import quiet
from bioclip_core.runtimes.quantised import quantised_file
from bioclip_core.weights import check_numbers, check_sizes, check_tokens

if TYPE_CHECKING:
    import torch

    from bioclip_core.runtimes.openvino_tower import OpenVinoTower

log = logging.getLogger("bioclip_plugin.encoder")
T = TypeVar("T")

_TEXTS_PER_GROUP = 1024
"""Captions that are encoded together; images would wait for more."""
_LEAST_PER_CORE = 4
"""Images from which a core works on a part of the batch of its own: with fewer it would read all weights for too little."""


def open_encoder(found: FoundModel, compute: Compute) -> Encoder:
    """Return the encoder of a found model on a device: a plugin's own, or open_clip's.

    Raises:
        UnsafeWeights: if reading the weight file would run code.
        ModelError: if weights and config do not fit.
    """
    if found.entry and found.entry.open_encoder:
        return found.entry.open_encoder(compute)
    return OpenClipEncoder(found, compute)


class OpenClipEncoder:
    """An open_clip model: the image tower in the chosen precision and runtime, the text tower in fp32 with torch."""

    def __init__(self, found: FoundModel, compute: Compute) -> None:
        import torch

        self.identity = found.identity()
        self.preprocessing = found.preprocessing
        self._found = found
        self._compute = compute
        self._lock = threading.Lock()
        dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
        self._dtype = dtypes[compute.precision]
        self.model = load_model(found).eval().requires_grad_(False)
        """The open_clip module, for training and export."""
        with device_errors(found.name, compute.device, opening=True):
            self.model.to(compute.device)
        self._openvino = self._openvino_tower() if compute.runtime == "openvino" else None
        if self._openvino is None:
            self.model.visual.to(self._dtype)
        self.text_precision = compute.text_precision
        """Precision in which captions are embedded."""
        self._text_tower = TextTower(self.model, dtypes[compute.text_precision])
        self._tokenizer: Any = None
        self.dimension = int(found.config.get("embed_dim") or self.model.visual.output_dim)
        self.logit_scale = float(self.model.logit_scale.exp())
        self.logit_bias = float(self.model.logit_bias) if getattr(self.model, "logit_bias", None) is not None else 0.0
        try:
            check_scale(self.logit_scale, self.logit_bias)
        except ValueError as error:
            raise ModelError(f"model {found.name!r}: {found.weights}: logit {error}; the weights are damaged") from None
        # On the scale of 0 to 255, shaped to broadcast over B×C×H×W.
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=compute.device).view(1, 3, 1, 1) * 255
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )
        self._gpu = self._gpu_tower()

    @property
    def best_batch(self) -> int | None:
        """Number of images at once that the memory of a GPU suffices for; None on a CPU."""
        return None if self._gpu is None else self._gpu.best_batch

    @property
    def calls_at_once(self) -> int:
        """Threads that keep the encoder at work: with a GPU, one copies images while the other one waits for features."""
        return 1 if self._gpu is None else PAIRS

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        if not len(images_BHWC):
            return np.empty((0, self.dimension), dtype=np.float16)
        if self._openvino is not None:
            return self._openvino(images_BHWC).astype(np.float16)
        if self._gpu is not None:
            return self._gpu(images_BHWC)
        with self._lock:
            return np.concatenate(self._by_core(images_BHWC, self._features))

    def _by_core(self, images_BHWC: NDArray[np.uint8], work: Callable[[NDArray[np.uint8]], T]) -> list[T]:
        """Return the results of parts of a batch, one part per core: otherwise every operation waits for the slowest core."""
        import torch

        threads = threads_on(self._compute.device) if self._compute.device == "cpu" else 1
        count = threads if len(images_BHWC) >= _LEAST_PER_CORE * threads else 1
        if count == 1:
            with torch.inference_mode():
                return [work(images_BHWC)]
        parts = np.array_split(images_BHWC, count)
        return on_each(lambda number: work(parts[number]), count, self._compute.device)

    def encode_images_with_lengths(
        self, images_BHWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        """Return the features of B images, and their B lengths before normalisation, which probes of raw features need.

        Torch computes them in any runtime, so with OpenVINO and graphs of a GPU they may differ from those of :meth:`encode_images` by
        rounding.
        """
        with self._lock:
            units, lengths = zip(*self._by_core(images_BHWC, self._with_lengths), strict=True)
        return np.concatenate(units), np.concatenate(lengths)

    def _with_lengths(self, images_BHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
        import torch

        pixels_BHWC = torch.from_numpy(np.ascontiguousarray(images_BHWC)).to(self._compute.device)
        raw_BD = self._raw(pixels_BHWC, next(self.model.visual.parameters()).dtype)
        unit_BD = torch.nn.functional.normalize(raw_BD, dim=-1).to(torch.float16)
        return unit_BD.cpu().numpy(), raw_BD.norm(dim=-1).cpu().numpy()

    def _features(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        import torch

        pixels_BHWC = torch.from_numpy(np.ascontiguousarray(images_BHWC)).to(self._compute.device)
        features_BD: NDArray[np.float16] = self._encoded(pixels_BHWC).cpu().numpy()
        return features_BD

    def _encoded(self, pixels_BHWC: torch.Tensor) -> torch.Tensor:
        """Return the features of pixels, both on the device."""
        import torch

        return torch.nn.functional.normalize(self._raw(pixels_BHWC, self._dtype), dim=-1).to(torch.float16)

    def _raw(self, pixels_BHWC: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return features before their normalisation, in fp32."""
        images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std).to(dtype)
        features_BD: torch.Tensor = self.model.encode_image(images_BCHW).float()
        return features_BD

    def _gpu_tower(self) -> GpuTower | None:
        """Return the way through the queues of a GPU; None on other devices."""
        with device_errors(self._found.name, self._compute.device, opening=True):
            streams = streams_on(self._compute.device)
        if streams is None:
            return None
        return GpuTower(
            self._found, self._compute.device, self._compute.precision, self.dimension, streams, self._encoded
        )

    def _openvino_tower(self) -> OpenVinoTower:
        """Return the image tower in OpenVINO; the module in torch stays in fp32, for captions and for comparison."""
        from bioclip_core.runtimes.converted import kept_tower
        from bioclip_core.runtimes.openvino_tower import read_tower

        precision = self._compute.precision
        if self._compute.quantised:
            return read_tower(quantised_file(self._found, self._compute.quantised), precision)
        return kept_tower(self._found, self.model, precision)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        unique = list(dict.fromkeys(texts))
        features_UD = np.empty((len(unique), self.dimension), dtype=np.float32)
        for start in range(0, len(unique), _TEXTS_PER_GROUP):
            group = unique[start : start + _TEXTS_PER_GROUP]
            with self._lock, torch.inference_mode():
                if self._tokenizer is None:
                    self._tokenizer = tokenizer_of(self._found)
                tokens_BT = self._tokenizer(group)
                check_tokens(self._found.name, tokens_BT, self._found.config.get("text_cfg") or {})
                features_BD = self._text_tower(tokens_BT.to(self._compute.device))
                features_UD[start : start + len(group)] = (
                    torch.nn.functional.normalize(features_BD, dim=-1).cpu().numpy()
                )
        row = {text: index for index, text in enumerate(unique)}
        return features_UD.take([row[text] for text in texts], axis=0)


def load_model(found: FoundModel) -> Any:
    """Return the open_clip module of a found model in fp32 on the CPU.

    The logging set-up and the random numbers of the host program stay as they were.

    Raises:
        UnsafeWeights: if reading the weight file would run code.
        ModelError: if weights and config do not fit.
    """
    with importing_torch():
        import open_clip
        import torch

    if found.weights is None:
        raise ModelError(f"model {found.name!r} has no weights on this machine")
    try:
        # open_clip draws random weights before it reads the real ones.
        with quiet(), torch.random.fork_rng(devices=[]):
            check_sizes(found)
            with torch.device("cpu"):  # and in fp32, whatever the host's defaults
                model = open_clip.create_model(
                    found.architecture or f"local-dir:{found.folder}",
                    load_weights=False, pretrained_image=False, pretrained_text=False,
                ).float()  # fmt: skip
            open_clip.load_checkpoint(model, str(found.weights), weights_only=True)
        check_numbers(model, found.weights)
    except ModelError:
        raise
    except pickle.UnpicklingError:
        raise UnsafeWeights(
            f"model {found.name!r}: {found.weights} holds more than weights and would run code when read; it was not opened. "
            "Ask its author for a safetensors file"
        ) from None
    except Exception as error:  # for a damaged file open_clip, torch and safetensors each raise their own
        raise_if_of_host(error)
        raise ModelError(f"model {found.name!r}: {found.weights} cannot be loaded: {_in_a_line(error)}") from error
    if file_sha256(found.weights) != found.weights_sha256:
        raise ModelError(f"model {found.name!r}: {found.weights} was replaced while it was opened; start again")
    return model


def _in_a_line(error: Exception) -> str:
    """Return an error of several lines as one: the second line of torch has the names of the tensors."""
    return " ".join(str(error).split())[:400] or type(error).__name__


def tokenizer_of(found: FoundModel) -> Any:
    """Return the tokenizer that the model's config names, which turns texts into B×T token ids.

    Raises:
        ModelError: if it is not available, for example because a hub cannot be reached.
    """
    with importing_torch():
        import open_clip

        if found.config.get("text_cfg", {}).get("hf_tokenizer_name"):
            with suppress(ImportError):  # open_clip says what is missing; what it logs first would reach the host below
                from transformers import AutoTokenizer  # noqa: F401

    try:
        with quiet():
            return open_clip.get_tokenizer(found.architecture or f"local-dir:{found.folder}")
    except Exception as error:  # for a hub out of reach it raises whatever the hub client raises
        raise_if_of_host(error)
        raise ModelError(f"model {found.name!r}: its tokenizer cannot be loaded: {first_line(error)}") from error
