"""The preprocessing contract: what a checkpoint's images must go through, where each part was said, and its identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from bioclip_core.errors import ModelError

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

Interpolation = Literal["nearest", "bilinear", "bicubic"]
ResizeMode = Literal["squash", "shortest", "longest"]
Decode = Literal["reduced", "full"]

INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic")
RESIZE_MODES: tuple[ResizeMode, ...] = ("squash", "shortest", "longest")
DECODES: tuple[Decode, ...] = ("reduced", "full")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a decoded region to the model's input. Stored with every answer, since another value is another feature."""

    size: int = 224
    """Height and width of the model's input, in pixels."""
    mean: tuple[float, float, float] = OPENAI_MEAN
    """Of the RGB channels, on a scale of 0 to 1."""
    std: tuple[float, float, float] = OPENAI_STD
    interpolation: Interpolation = "bicubic"
    """Always antialiased."""
    resize_mode: ResizeMode = "shortest"
    """``squash`` ignores the aspect, ``shortest`` cuts the centre out, ``longest`` pads with ``fill``."""
    fill: int = 0
    """Grey value of the padding of ``longest``, 0 to 255."""
    decode: Decode = "reduced"
    """``reduced`` decodes large JPEG and JPEG 2000 files at a fraction that keeps at least twice ``size``; ``full`` never does."""
    said_by: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), compare=False)
    """For each field, who said so: ``option``, ``registry``, ``folder`` or ``assumed``."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.interpolation not in INTERPOLATIONS or self.resize_mode not in RESIZE_MODES:
            raise ModelError(
                f"preprocessing with size {self.size}, interpolation {self.interpolation!r}, resize mode {self.resize_mode!r}: "
                f"allowed are a size above 0, {', '.join(INTERPOLATIONS)}, and {', '.join(RESIZE_MODES)}"
            )
        if (
            self.decode not in DECODES
            or not isinstance(self.fill, int)
            or not 0 <= self.fill <= 255
            or min(self.std) <= 0
        ):
            raise ModelError(
                f"preprocessing with decode {self.decode!r}, fill {self.fill!r}, std {self.std}: "
                f"allowed are {', '.join(DECODES)}, a fill of 0 to 255, and numbers above 0"
            )

    def identity(self) -> dict[str, Any]:
        """What makes features comparable, as plain JSON values."""
        values = asdict(replace(self, said_by={}))
        del values["said_by"]
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def described(self) -> str:
        """One line for people; what nobody said is marked "assumed"."""
        assumed = [name for name, origin in self.said_by.items() if origin == "assumed"]
        line = f"{self.resize_mode} to {self.size} px, {self.interpolation}, mean {_short(self.mean)}, std {_short(self.std)}"
        return f"{line}; {self.decode} decode" + (f" (assumed: {', '.join(assumed)})" if assumed else "")


# open_clip's own words for the parts of a contract, and ours.
_FOLDER_KEYS = {
    "size": "size",
    "mean": "mean",
    "std": "std",
    "interpolation": "interpolation",
    "resize_mode": "resize_mode",
    "fill_color": "fill",
}


def preprocessing_of(
    image_size: int,
    *,
    folder: Mapping[str, Any] | None = None,
    registry: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Preprocessing:
    """The contract of a checkpoint, each part from the first that says it: option, registry entry, folder, open_clip's default.

    Args:
        image_size: the vision tower's input size in pixels, which stands where nobody states a size.
        folder: ``preprocess_cfg`` of the checkpoint's ``open_clip_config.json``.
        registry: the pinned values of a published name.
        options: what the caller asked for.
    """
    values: dict[str, Any] = {
        "size": image_size, "mean": OPENAI_MEAN, "std": OPENAI_STD, "interpolation": "bicubic", "resize_mode": "shortest", "fill": 0,
        "decode": "reduced",
    }  # fmt: skip
    said_by = dict.fromkeys(("mean", "std", "interpolation", "resize_mode"), "assumed")
    translated = {
        _FOLDER_KEYS[key]: value for key, value in (folder or {}).items() if key in _FOLDER_KEYS and value is not None
    }
    for origin, said in (("folder", translated), ("registry", registry or {}), ("option", options or {})):
        for key, value in said.items():
            values[key] = value
            said_by[key] = origin
    values["size"] = _one_size(values["size"])
    for key in ("mean", "std"):
        values[key] = _three_floats(key, values[key])
    return Preprocessing(**values, said_by=MappingProxyType(said_by))


def _one_size(size: Any) -> int:
    if isinstance(size, (list, tuple)):
        if len({int(side) for side in size}) != 1:
            raise ModelError(
                f"preprocessing size {list(size)}: only square inputs are supported; export the model with one size"
            )
        size = size[0]
    return int(size)


def _three_floats(name: str, values: Any) -> tuple[float, float, float]:
    try:
        numbers = [float(value) for value in values] if isinstance(values, (list, tuple)) else [float(values)] * 3
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3:
        raise ModelError(
            f"preprocessing {name} {values!r}: three numbers are needed, one for each of red, green and blue"
        )
    return numbers[0], numbers[1], numbers[2]


def _short(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:.3f}" for value in values)
