"""Settings of an evaluation and of a calibration, as frozen records that are stored with their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bioclip_core.captions import Caption
from bioclip_core.device import PRECISIONS
from bioclip_core.encoder import USUAL_BATCH
from bioclip_core.errors import UsageError
from bioclip_core.options import check_options
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.naming.names import TEXT_COLUMNS

_BATCH = f"{USUAL_BATCH}, on a GPU what its memory suffices for"
SHOTS = (1, 5)
"""Support images per taxon in few-shot classification, as in the BioCLIP papers."""
TRUTH_COLUMNS = (*(rank.value for rank in RANKS), *TEXT_COLUMNS[8:])
"""Columns of a catalog that may say which custom label is right."""
_KEPT_OUT = {
    "val": "val is what evaluate measures on, and a temperature that has seen it makes its figures too good",
    "unseen": "unseen is what evaluate measures on, and a temperature that has seen it makes its figures too good",
    "test": "test is kept for measuring, and a temperature that has seen it makes its figures too good",
    "train": "the model was trained on train and is more sure of it than of new images",
    "all": "all holds the images that the model was trained on and those that evaluate measures on",
}

TrainedImages = Literal["refuse", "leave-out", "keep"]


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """An evaluation. The same settings, catalog and weights give the same figures."""

    data: str = field(metadata={"metavar": "CATALOG|SHARDS"})
    """Catalog (.parquet) or folder of shards."""
    model: str
    """A name that `models list` shows, hf-hub:ORG/NAME, local-dir:FOLDER, or a weight file."""
    output: str = field(metadata={"metavar": "FOLDER"})
    """Folder of the report; written whole or not at all."""
    splits: tuple[str, ...] = field(default=("val",), metadata={"flag": "--split"})
    """Part of the catalog: train, dev, val, unseen, all, or another word of its split column."""
    labels: str | None = field(default=None, metadata={"automatic": "every taxon of the catalog, all splits"})
    """Folder of a label set, or a file of custom labels (.txt, .csv).

    From Python a folder only; custom labels are ``words``.
    """
    words: tuple[str, ...] = field(default=(), metadata={"flag": "--label", "metavar": "WORDS"})
    """Custom label instead of taxa."""
    groups: tuple[str, ...] = ()
    """Group of each custom label; empty: without groups."""
    truth_column: str = field(default="common_name", metadata={"choices": TRUTH_COLUMNS, "metavar": "COLUMN"})
    """Column of the catalog that says which custom label is right."""
    caption: str = field(default=Caption.TAXONOMIC.value, metadata={"choices": tuple(kind.value for kind in Caption)})
    """Text that the text tower reads where labels are made of the catalog."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    precision: str = field(default="auto", metadata={"choices": ("auto", *PRECISIONS)})
    """Precision of the image tower; auto is BIOCLIP_PRECISION, else bf16 where the device multiplies it natively, else fp32."""
    batch_size: int | None = field(default=None, metadata={"low": 1, "automatic": _BATCH})
    """Regions encoded at once."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 16"})
    """Number of decoding threads."""
    replace_prefix: tuple[str, ...] = field(default=(), metadata={"metavar": "OLD=NEW"})
    r"""Replace the beginning of the images' file names, for moved folders: 'D:\survey=photos'."""
    few_shot: bool = True
    """Also classify by 1 and by 5 example images of each taxon."""
    draws: int = field(default=5, metadata={"low": 1})
    """Number of times that the example images are drawn."""
    threshold: float = field(default=0.65, metadata={"above": 0, "high": 1})
    """Summed probability that a consensus needs."""
    seed: int = field(default=0, metadata={"low": 0})
    """Random seed of the draws."""
    learning_curve: bool = True
    """Also measure how accuracy grows with the number of images per species in train."""
    compare: str | None = field(default=None, metadata={"metavar": "MODEL|FOLDER"})
    """Model to compare with, evaluated on the same images, or the folder of an earlier evaluation of them."""
    compare_labels: str | None = field(
        default=None, metadata={"metavar": "FOLDER", "automatic": "made for the taxa that the model is asked about"}
    )
    """Label set of the model to compare with."""
    trained_images: TrainedImages = "refuse"
    """Images that the model was trained on, though the catalog holds them out: leave-out does not measure them, keep does."""
    force: bool = False
    """Replace the output if it exists."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.splits:
            raise UsageError("split: give at least one part of the catalog, for example val")
        if self.labels and self.words:
            raise UsageError("labels and custom labels were both given; an evaluation has one kind of label")
        if self.compare_labels and not self.compare:
            raise UsageError(
                "compare-labels: it is the label set of the model to compare with; give --compare MODEL too"
            )
        if self.compare_labels and self.words:
            raise UsageError(
                "compare-labels and custom labels were both given; both models are asked with the custom labels"
            )


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """Model, label set and images of a temperature."""

    data: str = field(metadata={"metavar": "CATALOG|SHARDS"})
    """Catalog (.parquet) or folder of shards."""
    model: str
    """A name that `models list` shows, hf-hub:ORG/NAME, local-dir:FOLDER, or a weight file."""
    labels: str = field(metadata={"automatic": "the model's own"})
    """Folder of a label set."""
    output: str | None = field(
        default=None,
        metadata={
            "metavar": "FILE",
            "automatic": "calibration.json in the model's folder if it is yours alone, else your cache",
        },
    )
    """File to keep the temperature in; it may hold temperatures for other label sets."""
    split: str = "dev"
    """Part of the catalog, never one that is trained on or measured on."""
    replace_prefix: tuple[str, ...] = field(default=(), metadata={"metavar": "OLD=NEW"})
    r"""Replace the beginning of the images' file names, for moved folders: 'D:\survey=photos'."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    precision: str = field(default="auto", metadata={"choices": ("auto", *PRECISIONS)})
    """Precision of the image tower; auto is BIOCLIP_PRECISION, else bf16 where the device multiplies it natively, else fp32."""
    batch_size: int | None = field(default=None, metadata={"low": 1, "automatic": _BATCH})
    """Regions encoded at once."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 16"})
    """Number of decoding threads."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.split in _KEPT_OUT:
            raise UsageError(
                f"split {self.split!r}: {_KEPT_OUT[self.split]}; use dev, or a part of your own that nothing else uses"
            )
