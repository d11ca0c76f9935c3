"""Encoders of an evaluation: what open_clip loads by its names, and image encoders of timm (``timm:NAME``) through the same calls."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.device import Compute
from bioclip_core.encoder import Encoder
from bioclip_core.errors import ModelError, NoTextTower, first_line, raise_if_of_host
from bioclip_core.identity import settings_id
from bioclip_core.model_config import CONFIG, read_config
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.preprocessing import Preprocessing, preprocessing_of
from bioclip_core.process.imports import importing_torch
from bioclip_core.process.quiet import quiet

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bioclip_plugin.training")

TIMM = "timm:"
"""Beginning of the name of a timm model: ``timm:vit_small_patch14_dinov2.lvd142m``, ``timm:hf-hub:ORG/NAME``, ``timm:local-dir:FOLDER``."""
Lengths = NDArray[np.float32]


def find_encoder(name: str, entries: Mapping[str, ModelEntry]) -> FoundModel:
    """Return a model by its name; see :func:`~bioclip_core.models.find_model`.

    Raises:
        UnknownModel, ModelUnavailable, ModelError: as ``find_model`` does.
    """
    if not name.startswith(TIMM):
        return find_model(name, entries)
    entry = ModelEntry(name, name, open_encoder=lambda compute: TimmEncoder(name.removeprefix(TIMM), compute))
    return find_model(name, {**entries, name: entry})


def opened(found: FoundModel, compute: Compute) -> Encoder:
    """Return the encoder of a found model."""
    return open_encoder(found, compute)


def encoding(encoder: Encoder, *, lengths: bool) -> Callable[[NDArray[np.uint8]], tuple[NDArray[np.float16], Lengths]]:
    """Return a function for unit features of images and their lengths before normalisation.

    Args:
        encoder: the model.
        lengths: True for lengths, which the quickest way of an encoder need not know; they are NaN if they are not wanted, and if the
            encoder does not tell them.
    """
    own = getattr(encoder, "encode_images_with_lengths", None)
    if lengths and own is not None:
        return own  # type: ignore[no-any-return]

    def alone(images_BHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float16], Lengths]:
        return encoder.encode_images(images_BHWC), np.full(len(images_BHWC), np.nan, np.float32)

    return alone


class TimmEncoder:
    """A model of timm without its classifier: image features alone, so tasks that need prompts are left out."""

    logit_scale, logit_bias = 1.0, 0.0

    def __init__(self, name: str, compute: Compute) -> None:
        """Open a model; one on the hub is fetched once.

        Raises:
            ModelError: if timm does not know it or cannot load it.
        """
        with importing_torch():
            import timm
            import torch
            from timm.data.config import resolve_model_data_config

        try:
            with quiet(), torch.random.fork_rng(devices=[]):
                model: Any = timm.create_model(name, pretrained=True, num_classes=0)
            config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
        except Exception as error:  # timm, the hub client and safetensors each raise their own
            raise_if_of_host(error)
            raise ModelError(
                f"model 'timm:{name}': {first_line(error).rstrip('.')}; give a name that timm has weights for, timm:hf-hub:ORG/NAME, or "
                "timm:local-dir:FOLDER"
            ) from error
        self._device = compute.device
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[compute.precision]
        self.identity = {"weights_sha256": _weights_sha256(model), "source": f"{TIMM}{name}", "revision": ""}
        self.preprocessing = _preprocessing(name, config)
        self.model = model.eval().requires_grad_(False).to(compute.device, self._dtype)
        self.dimension = int(model.num_features)
        self._lock = threading.Lock()
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=compute.device).view(1, 3, 1, 1) * 255
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        return self.encode_images_with_lengths(images_BHWC)[0]

    def encode_images_with_lengths(self, images_BHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float16], Lengths]:
        """Return the features of B images, and their B lengths before normalisation."""
        import torch

        if not len(images_BHWC):
            return np.empty((0, self.dimension), np.float16), np.empty(0, np.float32)
        with self._lock, torch.inference_mode():
            pixels_BHWC = torch.from_numpy(np.ascontiguousarray(images_BHWC)).to(self._device)
            images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float().sub_(self._mean).div_(self._std).to(self._dtype)
            raw_BD = _pooled(self.model(images_BCHW)).float()
            unit_BD = torch.nn.functional.normalize(raw_BD, dim=-1).to(torch.float16)
            return unit_BD.cpu().numpy(), raw_BD.norm(dim=-1).cpu().numpy()

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NoTextTower(f"{self.identity['source']} has image features alone: {len(texts)} prompts cannot be encoded")


def _pooled(features: torch.Tensor) -> torch.Tensor:
    return features if features.ndim == 2 else features.flatten(2).mean(dim=2)


def _weights_sha256(model: Any) -> str:
    """Return the sha256 of a model's tensors with their names, which timm does not keep the file of."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().cpu().reshape(-1).view(dtype=_bytes()).numpy())
    return digest.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8


def _preprocessing(name: str, config: Mapping[str, Any]) -> Preprocessing:
    """Return the preprocessing of timm's own configuration; what cannot be kept is logged."""
    crop, mode = config.get("crop_pct") or 1.0, config.get("crop_mode") or "center"
    if crop != 1.0 and mode == "center":
        log.warning(
            "timm:%s: its configuration crops the centre at %.3g of the resized image; the whole shorter side is used instead",
            name,
            crop,
        )
    return preprocessing_of(
        list(config["input_size"][1:]),
        registry={
            "mean": list(config["mean"]), "std": list(config["std"]),
            "interpolation": config["interpolation"] if config["interpolation"] != "random" else "bilinear",
            "resize_mode": "squash" if mode == "squash" else "shortest",
        },
    )  # fmt: skip


def encoder_id(encoder: Encoder, preprocessing: Preprocessing, compute: Compute) -> str:
    """Return an id of what decides the features of an image."""
    return settings_id(
        {
            "encoder": encoder.identity,
            "preprocessing": preprocessing.identity(),
            "precision": compute.precision,
            "runtime": compute.runtime,
        }
    )


def preprocessing_for(found: FoundModel, encoder: Encoder, resize: str, *, exact: bool) -> Preprocessing:
    """Return the preprocessing of an evaluation.

    Args:
        found: the model.
        encoder: its encoder.
        resize: ``published`` is that of open_clip for the checkpoint, without the values that a registered name pins; ``crop`` and
            ``squash`` change the model's own, which ``model`` keeps.
        exact: decode images in full.
    """
    own = encoder.preprocessing
    if resize == "published" and found.folder is not None and found.entry is not None and found.entry.preprocessing:
        model_cfg, preprocess_cfg = read_config(found.folder / CONFIG, f"model {found.name!r}:")
        own = preprocessing_of(model_cfg["vision_cfg"].get("image_size", 224), folder=preprocess_cfg)
    changed: dict[str, Any] = {"decode": "full" if exact else own.decode}
    if resize == "crop":
        changed |= {"resize_mode": "shortest", "interpolation": "bicubic"}
    elif resize == "squash":
        changed["resize_mode"] = "squash"
    return replace(own, **changed)
