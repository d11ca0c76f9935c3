"""The preprocessing that a checkpoint's images need, with the origin of each part, and its identity."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Literal, get_args

from bioclip_core.errors import ModelError
from bioclip_core.model_config import LARGEST_IMAGE

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

_LARGEST_MEAN, _LARGEST_STD = 100.0, 1000.0
"""Far beyond any model; pixels are on a scale of 0 to 1."""

Interpolation = Literal["nearest", "bilinear", "bicubic"]
ResizeMode = Literal["squash", "shortest", "longest"]
Decode = Literal["reduced", "full"]

_WORDS = {"interpolation": get_args(Interpolation), "resize_mode": get_args(ResizeMode), "decode": get_args(Decode)}


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The way from a decoded region to the model's input. It is stored with every answer, since it changes the features."""

    size: int = 224
    """Height and width of the model's input, in pixels."""
    mean: tuple[float, float, float] = OPENAI_MEAN
    """Of the RGB channels, on a scale of 0 to 1."""
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: Interpolation = "bicubic"
    """Always antialiased."""
    resize_mode: ResizeMode = "shortest"
    """``squash`` ignores the aspect ratio, ``shortest`` crops the centre, ``longest`` pads with ``fill``."""
    fill: int = 0
    """Grey value of the padding of ``longest``, 0 to 255."""
    decode: Decode = "reduced"
    """``reduced`` decodes large JPEG and JPEG 2000 files at a fraction, and pyramid TIFFs at a level, that keeps at least twice ``size``;
    ``full`` never does."""
    said_by: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """Origin of each field: ``option``, ``registry``, ``folder`` or ``assumed``."""

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                raise ModelError(f"preprocessing {name} {shown(getattr(self, name))}: allowed are {', '.join(words)}")
        for name, wrong, allowed in (
            ("size", not (_is_whole(self.size) and self.size >= 1), "a whole number above 0 is needed"),
            ("fill", not (_is_whole(self.fill) and 0 <= self.fill <= 255), "allowed are 0 to 255"),
            (
                "mean",
                not all(abs(value) <= _LARGEST_MEAN for value in self.mean),
                "numbers on a scale of 0 to 1 are needed",
            ),
            ("std", not all(0 < value <= _LARGEST_STD for value in self.std), "numbers above 0 are needed"),
        ):
            if wrong:
                raise ModelError(f"preprocessing {name} {getattr(self, name)!r}: {allowed}")

    def identity(self) -> dict[str, Any]:
        """Return what makes features comparable, as plain JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.compare}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def described(self) -> str:
        """Return one line for users, which lists the assumed parts."""
        assumed = [name for name, origin in self.said_by.items() if origin == "assumed"]
        mean, std = ("/".join(f"{value:.3f}" for value in values) for values in (self.mean, self.std))
        line = f"{self.resize_mode} to {self.size} px, {self.interpolation}, mean {mean}, std {std}"
        return f"{line}; {self.decode} decode" + (f" (assumed: {', '.join(assumed)})" if assumed else "")


def preprocessing_of(
    image_size: Any,
    *,
    folder: Mapping[str, Any] | None = None,
    registry: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Preprocessing:
    """Return a checkpoint's preprocessing. Option, registry entry, folder and open_clip's default count in this order.

    Args:
        image_size: the vision tower's input size in pixels, the default size; a list of two equal ones is one.
        folder: ``preprocess_cfg`` of the checkpoint's ``open_clip_config.json``.
        registry: the pinned values of a published name.
        options: values that the caller asked for.

    Raises:
        ModelError: if a value is not allowed.
    """
    values: dict[str, Any] = {"size": image_size}
    said_by = dict.fromkeys(("mean", "std", "interpolation", "resize_mode"), "assumed")
    ours = {"size", "mean", "std", "interpolation", "resize_mode", "fill"}
    translated = {("fill" if key == "fill_color" else key): value for key, value in (folder or {}).items()}
    stated = {key: value for key, value in translated.items() if key in ours and value is not None}
    for origin, parts in (("folder", stated), ("registry", registry or {}), ("option", options or {})):
        values.update(parts)
        said_by.update(dict.fromkeys(parts, origin))
    values["size"] = _one_size(values["size"])
    for key in {"mean", "std"} & values.keys():
        values[key] = _three_floats(key, values[key])
    return Preprocessing(**values, said_by=MappingProxyType(said_by))


def _one_size(size: Any) -> int:
    sides = list(size) if isinstance(size, (list, tuple)) else [size]
    if not sides or not all(map(_is_whole, sides)):
        raise ModelError(f"preprocessing size {shown(size)}: a whole number of pixels is needed")
    if len(set(sides)) != 1:
        raise ModelError(
            f"preprocessing size {shown(sides)}: only square inputs are supported; export the model with one size"
        )
    if not 1 <= sides[0] <= LARGEST_IMAGE:  # of a model; a region of an image may be larger
        raise ModelError(f"preprocessing size {shown(sides[0])}: allowed are 1 to {LARGEST_IMAGE}")
    return int(sides[0])


def _three_floats(name: str, values: Any) -> tuple[float, float, float]:
    given = list(values) if isinstance(values, (list, tuple)) else [values] * 3
    if len(given) != 3 or not all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in given):
        raise ModelError(
            f"preprocessing {name} {shown(values)}: three numbers are needed, one for each of red, green and blue"
        )
    red, green, blue = map(float, given)
    return red, green, blue


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut to a part of a line."""
    return repr(value)[:80]
