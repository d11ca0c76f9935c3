"""Everything that decides a training run, as one frozen record that is stored with what it made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from bioclip_core.captions import Caption
from bioclip_core.errors import BioclipError, UsageError
from bioclip_training.catalog.rows import DEV_FRACTION

Method = Literal["full", "lora"]
Loss = Literal["clip", "taxon", "siglip"]
Augmentation = Literal["none", "recipe", "camera", "specimen"]
Balance = Literal["none", "sampling", "logits"]
ReplayProjection = Literal["second", "shared"]

CAPTION_MIX: Mapping[str, float] = MappingProxyType(
    {
        Caption.TAXONOMIC.value: 0.5,
        Caption.SCIENTIFIC.value: 0.15,
        Caption.COMMON.value: 0.15,
        Caption.SCIENTIFIC_COMMON.value: 0.1,
        Caption.TAXONOMIC_COMMON.value: 0.1,
    }
)
"""How often each caption is drawn for a sample; taxonomic most, since label sets are made of it."""


class TrainingStopped(BioclipError):
    """The run was asked to stop; its state is saved and the same command goes on."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is heard of a run after each step, and when there is something to say."""

    step: int
    total: int
    loss: float | None = None
    learning_rate: float | None = None
    samples_per_s: float | None = None
    dev_top1: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run. Everything random in it is a function of ``seed`` and the step, so a resumed run is the same run."""

    data: str
    """A catalog (``.parquet``) or a folder of shards."""
    start: str
    """A model that the main job opens, or ``new:`` and a config: ``new:small``, ``new:ViT-B-32``, ``new:FILE.json``."""
    output: str
    """The checkpoint's folder: new, or one that this run left unfinished."""
    replay: str | None = None
    """A second catalog or folder of shards, of which every batch holds a share (experience replay, Gu et al. 2025)."""
    replay_ratio: float = 0.5
    """Replay images for each image of ``data``."""
    replay_weight: float = 1.0
    """Of the replay batch's loss, beside 1 for the loss of ``data``."""
    replay_projection: ReplayProjection = "shared"
    """``second``: replay images go through a copy of the visual projection (BioCLIP 2); ``shared``: through the model's own."""
    method: Method = "full"
    """``lora`` trains low-rank additions to the vision tower and merges them at the end."""
    lora_rank: int = 8
    lora_alpha: float = 16.0
    loss: Loss = "taxon"
    """``clip`` counts equal taxa as negatives of each other, as CLIP does; ``taxon`` never; ``siglip`` is pairwise."""
    captions: Mapping[str, float] = field(default_factory=lambda: CAPTION_MIX)
    """The probability of each caption; a taxon that lacks one is captioned by another."""
    steps: int | None = None
    """Optimiser steps; None is ``epochs``."""
    epochs: float | None = None
    """Passes over ``data``; None is 20, from random weights 80, and at least 150 steps."""
    batch_size: int = 64
    """Images of ``data`` a step, over all processes."""
    accumulate: int = 1
    """Parts that a batch is computed in; the negatives are still those of the whole batch."""
    learning_rate: float | None = None
    """At its highest; None is 0.2 divided by the text tower's width."""
    trunk_rate: float | None = None
    """The vision tower's learning rate, but for its projection, as a share of the others'; None is 0.1, and 1 for random weights."""
    weight_decay: float = 0.2
    """Of matrices; never of embeddings, biases, norms or the logit scale."""
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises, if below 1; else steps. A cosine to zero follows."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 does not clip."""
    lock_image: bool = False
    """Leave the vision tower as it is, but for its projection."""
    lock_text: bool = False
    """Leave the text tower as it is."""
    augmentation: Augmentation = "recipe"
    """``recipe`` crops 90-100% as BioCLIP; ``camera`` adds night infrared, blur, mirror and stronger crops; ``specimen`` rotation."""
    balance: Balance = "none"
    """For long tails: ``sampling`` draws every taxon equally often, ``logits`` adjusts the loss by each taxon's frequency."""
    drop_path: float = 0.0
    """Stochastic depth of the vision tower: the share of residual branches left out, rising to this at the last block."""
    average: float = 0.0
    """Decay a step of the running average of the weights that is validated and kept; 0 keeps the weights themselves."""
    wise_ft: bool = True
    """At the end, interpolate between the starting weights and the best ones, and keep what is best on ``dev``."""
    dev_fraction: float = DEV_FRACTION
    """Share of the groups of ``train`` that the steps are chosen on and that is not trained on."""
    validate_every: int = 0
    """Steps between validations on ``dev``; 0 is 20 times a run."""
    save_every: int = 0
    """Steps between saved states; 0 is with each validation."""
    spike: float = 3.0
    """A loss this many times the recent median goes back to the last good step; 0 never."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""
    compile: bool = False
    """Compile the vision tower with torch.compile."""
    device: str = "auto"
    precision: str = "auto"
    """Of the computing, over fp32 weights: bf16 where the device multiplies it natively, else fp32."""
    workers: int = 0
    """Decoding threads; 0 is one a core."""
    cache_mb: int = 2048
    """Decoded images kept in memory."""
    seed: int = 0
    tell: Callable[[Progress], None] | None = field(default=None, compare=False, repr=False)
    """Hears of each step; not stored."""
    should_stop: Callable[[], bool] | None = field(default=None, compare=False, repr=False)
    """Asked before each step; True saves the state and raises :class:`TrainingStopped`. Not stored."""

    def __post_init__(self) -> None:
        for name in ("data", "start", "output", "replay"):
            if isinstance(value := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(value))
        for name, kind in _WORDS:
            if getattr(self, name) not in get_args(kind):
                raise UsageError(f"{name} {getattr(self, name)!r}: allowed are {', '.join(get_args(kind))}")
        self._check_numbers()
        self._check_captions()

    def _check_numbers(self) -> None:
        for name, low, high in _LIMITS:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name} {value}: allowed is {low:g} to {high:g}")
        if self.batch_size % self.accumulate:
            raise UsageError(
                f"batch_size {self.batch_size} in {self.accumulate} parts: the parts must be equal; "
                f"try --batch-size {-(-self.batch_size // self.accumulate) * self.accumulate}"
            )
        if self.lock_image and self.method == "lora":
            raise UsageError("lock_image with method lora: LoRA trains the vision tower; leave one of them out")

    def _check_captions(self) -> None:
        allowed = [kind.value for kind in Caption if kind is not Caption.TEMPLATES]
        unknown = [name for name in self.captions if name not in allowed]
        if unknown or not self.captions or min(self.captions.values()) < 0 or sum(self.captions.values()) <= 0:
            raise UsageError(
                f"captions {dict(self.captions)}: allowed are {', '.join(allowed)}, each with a share of 0 or more, one above 0"
            )

    def settled(self, *, images: int, text_width: int, random_weights: bool) -> TrainConfig:
        """The same run with a number wherever None leaves the choice to us.

        Narrow towers bear larger steps; 0.2 over the width is 2.6e-4 for a ViT-L and 1e-3 for a tower of 192, for which it
        was measured.
        """
        rate = 0.2 / text_width
        trunk = self.trunk_rate if self.trunk_rate is not None else (1.0 if random_weights else 0.1)
        steps = self.steps or max(
            1, round((self.epochs or (80.0 if random_weights else 20.0)) * images / self.batch_size)
        )
        if self.steps is None and self.epochs is None:
            steps = max(steps, 150)
        return replace(
            self,
            learning_rate=rate if self.learning_rate is None else self.learning_rate,
            trunk_rate=trunk,
            steps=steps,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, as they are stored."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NOT_STORED}
        return {**values, "captions": dict(self.captions), "betas": list(self.betas)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """What :meth:`as_dict` gave; names that this version does not know are refused."""
        known = {item.name for item in fields(cls)} - _NOT_STORED
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(
                f"training options {', '.join(unknown)} are not known; known are {', '.join(sorted(known))}"
            )
        return cls(**{**values, "betas": tuple(values.get("betas", (0.9, 0.98)))})


_WORDS: tuple[tuple[str, Any], ...] = (
    ("method", Method), ("loss", Loss), ("augmentation", Augmentation), ("balance", Balance), ("replay_projection", ReplayProjection),
)  # fmt: skip
_NOT_STORED = frozenset({"tell", "should_stop"})
_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("replay_ratio", 0.01, 100), ("replay_weight", 0, 1000), ("lora_rank", 1, 1024), ("lora_alpha", 0.01, 10_000), ("steps", 1, 1e9),
    ("epochs", 0.001, 1e6), ("batch_size", 2, 1e7), ("accumulate", 1, 1e6), ("learning_rate", 0, 10), ("trunk_rate", 0, 100),
    ("weight_decay", 0, 10), ("eps", 1e-12, 1), ("warmup", 0, 1e9), ("clip_norm", 0, 1e6), ("drop_path", 0, 0.9), ("average", 0, 0.99999),
    ("dev_fraction", 0, 0.9), ("validate_every", 0, 1e9), ("save_every", 0, 1e9), ("spike", 0, 1e6), ("workers", 0, 1024),
    ("cache_mb", 0, 1e7), ("seed", 0, 2**31),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a finished training run made."""

    output: Path
    """The checkpoint: ``Session(model="local-dir:OUTPUT")`` opens it."""
    steps: int
    best_step: int
    dev_top1: float | None
    """Of the kept weights on ``dev``; None where there is no ``dev``."""
    start_dev_top1: float | None
    """Of the starting weights on the same images: the zero-shot baseline."""
    quarantined: int
    """Samples that could not be read; they are listed in ``quarantine.csv``."""

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "output": str(self.output)})
