"""The config of a model's folder, ``open_clip_config.json``: read, checked, and kept as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import ModelError
from bioclip_core.files.documents import convert_document, read_document

CONFIG = "open_clip_config.json"

LARGEST_IMAGE = 2048
"""Pixels of a side of the model's input; the largest towers have 1024."""
_MOST_PATCHES = 65_536
_MOST_LAYERS = 512
"""Building more takes minutes; the deepest towers have 64."""
_LARGEST_NUMBER = 10_000_000
"""Of any width, length or vocabulary."""


def _check(name: str, value: float | None, most: float = _LARGEST_NUMBER) -> None:
    if value is not None and not 0 < value <= most:
        raise ValueError(f"{name} {value!r}: a number above 0 and up to {most:,} is needed")


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The members of ``vision_cfg`` that are checked; open_clip knows more."""

    image_size: int | tuple[int, int] = 224
    layers: int | list[int] | None = None
    width: int | None = None
    head_width: int | None = None
    patch_size: int | tuple[int, int] | None = None
    mlp_ratio: float | None = None
    timm_model_name: str | None = None

    def __post_init__(self) -> None:
        for size in self.image_sides:
            _check("image_size", size, LARGEST_IMAGE)
        for layers in self.layers if isinstance(self.layers, list) else [self.layers]:
            _check("layers", layers, _MOST_LAYERS)
        patch = self.patch_size if isinstance(self.patch_size, tuple) else (self.patch_size,)
        for name, value in (("width", self.width), ("head_width", self.head_width), ("mlp_ratio", self.mlp_ratio)):
            _check(name, value)
        for side in patch:
            _check("patch_size", side, LARGEST_IMAGE)
            if side is not None and (max(self.image_sides) / side) ** 2 > _MOST_PATCHES:
                raise ValueError(
                    f"image_size {self.image_size} has more than {_MOST_PATCHES:,} patches of {side} pixels"
                )

    @property
    def image_sides(self) -> tuple[int, ...]:
        """Height and width of the input, or the one side of a square."""
        return self.image_size if isinstance(self.image_size, tuple) else (self.image_size,)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The members of ``text_cfg`` that are checked; open_clip knows more."""

    context_length: int | None = None
    vocab_size: int | None = None
    width: int | None = None
    heads: int | None = None
    layers: int | None = None
    mlp_ratio: float | None = None
    hf_model_name: str | None = None
    hf_tokenizer_name: str | None = None
    tokenizer_mode: str | None = None
    tokenizer_kwargs: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check("layers", self.layers, _MOST_LAYERS)
        _check("context_length", self.context_length, _MOST_PATCHES)
        for name in ("vocab_size", "width", "heads", "mlp_ratio"):
            _check(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The members of ``model_cfg`` that are checked."""

    vision_cfg: VisionConfig
    embed_dim: int | None = None
    text_cfg: TextConfig = field(default_factory=TextConfig)
    custom_text: bool = False
    quick_gelu: bool = False
    init_logit_scale: float | None = None
    init_logit_bias: float | None = None

    def __post_init__(self) -> None:
        _check("embed_dim", self.embed_dim)


@dataclass(frozen=True, slots=True)
class _Document:
    model_cfg: dict[str, Any]
    preprocess_cfg: dict[str, Any] | None = None


def read_config(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return ``model_cfg`` and ``preprocess_cfg`` of a config as they are written, after a check.

    Args:
        path: the file.
        name: what it is, as a message begins.

    Raises:
        ModelError: if it cannot be read, or describes a model that cannot be built.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
        raise ModelError(f"{name} {path} is not a file")
    document = read_document(path, dict[str, Any], name=name, error=ModelError)
    if "model_cfg" not in document:
        raise ModelError(f"{name} {path} has no model_cfg, so it is not a folder that open_clip saved")
    parts = convert_document(document, _Document, name=f"{name} {path}", error=ModelError)
    checked_model(parts.model_cfg, f"{name} {path}")
    return parts.model_cfg, parts.preprocess_cfg or {}


def checked_model(model_cfg: Mapping[str, Any], name: str) -> ModelConfig:
    """Return the checked members of a ``model_cfg``.

    Raises:
        ModelError: if one has another type, or a size that no model has.
    """
    given = {"model_cfg": dict(model_cfg)}  # so that a message has the whole path of a member
    return convert_document(given, _Wrapped, name=name, error=ModelError).model_cfg


@dataclass(frozen=True, slots=True)
class _Wrapped:
    model_cfg: ModelConfig
