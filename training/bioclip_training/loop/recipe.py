"""The recipe of a training run: one frozen record of every setting, stored with the checkpoint that it made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from bioclip_core.captions import Caption
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.options import check_options
from bioclip_core.progress import Progress
from bioclip_training.batches.caption_drawing import CaptionSource, shares_of
from bioclip_training.catalog.ahead import threads_for
from bioclip_training.catalog.options import DEV_FRACTION, ClashingSplits

Method = Literal["full", "lora"]
Loss = Literal["taxon", "clip", "siglip"]
Augmentation = Literal["recipe", "camera", "specimen", "none"]
Balance = Literal["none", "sampling", "logits"]
ReplayProjection = Literal["shared", "second"]
Precision = Literal["auto", "fp32", "bf16"]

CAPTION_MIX: Mapping[str, float] = MappingProxyType(
    {
        Caption.TAXONOMIC.value: 0.5,
        Caption.SCIENTIFIC.value: 0.15,
        Caption.COMMON.value: 0.15,
        Caption.SCIENTIFIC_COMMON.value: 0.1,
        Caption.TAXONOMIC_COMMON.value: 0.1,
    }
)
"""Probability of each caption of a sample; the taxonomic one is the most frequent, since label sets consist of it."""


class TrainingStopped(BioclipError):
    """The run stopped because it was asked to; its state is saved, and the same command continues it."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a training run: reported after each step and each validation, with each message, and within long stages."""

    step: int
    total: int
    loss: float | None = None
    learning_rate: float | None = None
    samples_per_s: float | None = None
    dev_top1: float | None = None
    message: str = ""
    dev_images: int | None = None
    """Number of images that ``dev_top1`` is measured on."""
    stage: str = ""
    """Name of long work before the first step, in a validation, or after the last step."""
    stage_done: int = 0
    stage_total: int = 0
    """Size of the stage; 0 if it cannot be counted."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The settings of a training run.

    Everything random in a run is a function of ``seed`` and the step, so that a resumed run equals an uninterrupted one.
    """

    data: str = field(metadata={"metavar": "CATALOG|SHARDS"})
    """Catalog (.parquet) or folder of shards; the model learns its part train."""
    start: str = field(metadata={"metavar": "MODEL"})
    """Model as --model takes it, or random weights: new:small, new:ViT-B-32, new:FILE.json."""
    output: str = field(metadata={"metavar": "FOLDER"})
    """Folder of the checkpoint; after an interruption the same command continues the run."""
    replay: str | None = field(default=None, metadata={"metavar": "CATALOG|SHARDS"})
    """Second collection, of images that the model knows already: part of each batch, so that they are not forgotten.

    The method is experience replay (Gu et al. 2025).
    """
    replay_ratio: float = field(default=0.5, metadata={"low": 0.01, "high": 100})
    """Replay images per image of --data."""
    replay_weight: float = field(default=1.0, metadata={"low": 0, "high": 1000})
    """Weight of the replay batch's loss; the loss of --data has 1."""
    clashing_splits: ClashingSplits = "refuse"
    """Images of train that the other collection holds out, by content or group: held-out does not train on them, keep does."""
    replay_projection: ReplayProjection = "shared"
    """Visual projection of replay images. shared: the model's own; second: a copy that is dropped at the end, as in BioCLIP 2."""
    method: Method = "full"
    """Weights to train: full trains all weights; lora trains low-rank additions to the vision tower and merges them (extra lora)."""
    lora_rank: int = field(default=8, metadata={"low": 1, "high": 1024})
    """Rank of LoRA's matrices."""
    lora_alpha: float = field(default=16.0, metadata={"low": 0.01, "high": 10000})
    """Scale of LoRA's additions, divided by the rank."""
    loss: Loss = "taxon"
    """Loss. taxon: images and captions of one taxon belong together; clip: CLIP's loss, for which they are negatives; siglip: pairwise."""
    captions: Mapping[str, float] = field(default_factory=lambda: CAPTION_MIX, metadata={"metavar": "NAME=SHARE,..."})
    """Probability of each caption: taxonomic, scientific, common, scientific_common, taxonomic_common.

    A taxon without one of these captions gets another.
    """
    caption_source: CaptionSource = "taxonomy"
    """Captions of published shards. taxonomy: made from the names, as for a catalog; published: those in the shards."""
    steps: int | None = field(
        default=None, metadata={"low": 1, "high": 10**9, "automatic": "as many as --epochs takes"}
    )
    """Optimiser steps; takes precedence over --epochs."""
    epochs: float | None = field(
        default=None,
        metadata={"low": 0.001, "high": 1e6, "automatic": "20, from random weights 80; at least 150 steps"},
    )
    """Passes over the data."""
    batch_size: int = field(default=64, metadata={"low": 2, "high": 10**7})
    """Images of --data per step, over all processes."""
    accumulate: int = field(default=1, metadata={"low": 1, "high": 10**6})
    """Number of parts that a batch is computed in, with the negatives of the whole batch."""
    learning_rate: float | None = field(
        default=None, metadata={"low": 0, "high": 10, "automatic": "0.2 / width of the text tower"}
    )
    """Highest learning rate."""
    trunk_rate: float | None = field(
        default=None, metadata={"low": 0, "high": 100, "automatic": "0.1, from random weights 1"}
    )
    """Learning rate of the vision tower, its projection excepted, as a share of the others'."""
    weight_decay: float = field(default=0.2, metadata={"low": 0, "high": 10})
    """Weight decay of matrices.

    Embeddings, biases, norms and the logit scale never decay.
    """
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW's betas."""
    eps: float = field(default=1e-6, metadata={"low": 1e-12, "high": 1})
    """AdamW's epsilon."""
    warmup: float = field(default=0.1, metadata={"low": 0, "high": 1e9})
    """Share of the steps in which the learning rate rises, if below 1; otherwise a number of steps.

    A cosine to zero follows.
    """
    clip_norm: float = field(default=1.0, metadata={"low": 0, "high": 1e6})
    """Largest norm of all gradients together; 0 does not clip."""
    lock_image: bool = False
    """Keep the vision tower as it is, its projection excepted."""
    lock_text: bool = False
    """Keep the text tower as it is."""
    augmentation: Augmentation = "recipe"
    """Augmentation. recipe: crops of 90 to 100%, as BioCLIP; camera: night, blur, mirror, stronger crops; specimen: rotation, mirror."""
    balance: Balance = "none"
    """For long tails: sampling draws all taxa equally often, logits adjusts the loss by their frequency."""
    drop_path: float = field(default=0.0, metadata={"low": 0, "high": 0.9})
    """Stochastic depth of the vision tower, at its last block.

    The share of dropped branches rises from 0 at the first block (Huang et al. 2016).
    """
    average: float = field(default=0.0, metadata={"low": 0, "high": 0.99999})
    """Decay per step of a running average of the weights, which is then validated and kept; 0 keeps the weights themselves."""
    wise_ft: bool = True
    """At the end, interpolate between the starting and the best weights, and keep the best mix on dev."""
    dev_fraction: float = field(default=DEV_FRACTION, metadata={"low": 0, "high": 0.9})
    """Share of the groups of train that is not trained on: its images (dev) choose the step and the interpolation."""
    validate_every: int = field(default=0, metadata={"low": 0, "high": 10**9})
    """Steps between validations; 0 is 20 times per run."""
    save_every: int = field(default=0, metadata={"low": 0, "high": 10**9})
    """Steps between saved states; 0 is with each validation."""
    spike: float = field(default=3.0, metadata={"low": 0, "high": 1e6})
    """A loss this many times the recent median returns the run to its last saved state; 0 never."""
    gradient_checkpointing: bool = False
    """Less memory, more time: compute activations twice."""
    compile: bool = False
    """Compile the vision tower with torch.compile."""
    device: str = "auto"
    """Device: auto, cpu, cuda, or cuda:N."""
    precision: Precision = "auto"
    """Precision of the computing, over fp32 weights; auto is the precision of the run that is continued,
    else BIOCLIP_PRECISION, else bf16 where the device multiplies it natively."""
    workers: int = field(default=0, metadata={"low": 0, "high": 1024})
    """Number of decoding threads; 0 is one per core."""
    cache_mb: int = field(default=2048, metadata={"low": 0, "high": 10**7})
    """Megabytes of decoded images kept in memory."""
    replace_prefix: tuple[str, ...] = field(default=(), metadata={"metavar": "OLD=NEW"})
    r"""Replace the beginning of the images' file names, for moved folders: 'D:\survey=photos'."""
    measure: bool = True
    """Measure a few steps before the first one, for the time to the end and the memory; they change nothing."""
    seed: int = field(default=0, metadata={"low": 0, "high": 2**31})
    """Random seed."""
    tell: Callable[[TrainingProgress], None] | None = field(default=None, compare=False, repr=False)
    """Called with the progress of the run. Not stored."""
    should_stop: Callable[[], bool] | None = field(default=None, compare=False, repr=False)
    """Called before each step; True saves the state and raises :class:`TrainingStopped`. Not stored."""

    def __post_init__(self) -> None:
        for name in ("data", "start", "output", "replay"):
            if isinstance(value := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(value))
        check_options(self)
        if self.batch_size % self.accumulate:
            raise UsageError(
                f"batch_size {self.batch_size} in {self.accumulate} parts: the parts must be equal; "
                f"try --batch-size {-(-self.batch_size // self.accumulate) * self.accumulate}"
            )
        if self.lock_image and self.method == "lora":
            raise UsageError("lock_image with method lora: LoRA trains the vision tower; leave out one of the two")
        shares_of(self.captions)

    @property
    def replay_batch_size(self) -> int:
        """Replay images per step, over all processes."""
        return max(1, round(self.batch_size * self.replay_ratio))

    @property
    def threads(self) -> int:
        """Number of decoding threads: ``workers``, or one per core and at most 16."""
        return threads_for(self.workers)

    def validates_every(self, steps: int) -> int:
        """Return the number of steps between validations of a run with this number of steps."""
        return self.validate_every or max(1, steps // 20)

    def saves_every(self, steps: int) -> int:
        """Return the number of steps between saved states."""
        return self.save_every or self.validates_every(steps)

    def settled(self, *, images: int, text_width: int, random_weights: bool) -> TrainConfig:
        """Return the same run with a number in place of each None that leaves the choice to the software.

        Narrow towers bear larger steps; 0.2 over the width is 2.6e-4 for a ViT-L and 1e-3 for a tower of 192, for which it
        was measured.
        """
        passes = self.epochs or (80.0 if random_weights else 20.0)
        steps = self.steps or max(1, round(passes * images / self.batch_size))
        if self.steps is None and self.epochs is None:
            steps = max(steps, 150)
        trunk = 1.0 if random_weights else 0.1
        return replace(
            self,
            learning_rate=0.2 / text_width if self.learning_rate is None else self.learning_rate,
            trunk_rate=trunk if self.trunk_rate is None else self.trunk_rate,
            steps=steps,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the stored settings as plain JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.compare}
        return {**values, "captions": dict(self.captions), "betas": list(self.betas)}


def stage_of(config: TrainConfig, name: str, step: int, total: int) -> Progress:
    """Return a function that reports the progress of a stage of long work to the caller of a run."""

    def report(done: int, of: int) -> None:
        if config.tell is not None:
            config.tell(TrainingProgress(step, total, stage=name, stage_done=done, stage_total=of))

    return report


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The outcome of a finished training run."""

    output: Path
    """Folder of the checkpoint: ``Session(model="local-dir:OUTPUT")`` opens it."""
    steps: int
    best_step: int
    """Step of the trained weights; 0 if the starting weights are kept, since no step was better on ``dev``."""
    dev_top1: float | None
    """Accuracy of the kept weights on ``dev``; None without a ``dev``."""
    start_dev_top1: float | None
    """Accuracy of the starting weights on the same images: the zero-shot baseline."""
    quarantined: int
    """Number of samples that could not be read; ``quarantine.csv`` lists them."""
    dev_images: int = 0
    """Number of images behind the figures of ``dev``."""
    dev_groups: int = 0
    """Number of independent groups that these images are of."""
    rule: str = ""
    """The way in which the kept weights were decided, in one sentence."""
    recommendation: str = ""
    """The cheapest way that ``dev`` cannot tell from the best, in plain sentences."""
    commands: tuple[str, ...] = ()
    """Commands that lead there; the last one classifies."""

    def as_json(self) -> str:
        """Return the result as one line of JSON."""
        return json.dumps({**asdict(self), "output": str(self.output)})
