"""Settings of an evaluation on published sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bioclip_core.device import PRECISIONS
from bioclip_core.encoder import USUAL_BATCH
from bioclip_core.errors import UsageError
from bioclip_core.options import check_options
from bioclip_training.suites.names import SUITE_NAMES

TextType = Literal["published", "class", "common", "scientific", "taxonomic", "scientific_common", "taxonomic_common"]
Prompts = Literal["templates", "caption"]
Resize = Literal["published", "crop", "squash", "model"]


@dataclass(frozen=True, slots=True)
class SuiteConfig:
    """An evaluation on published sets. The same settings, files and weights give the same figures."""

    suites: tuple[str, ...] = field(
        default=(),
        metadata={
            "flag": "--suite",
            "metavar": "NAME",
            "choices": SUITE_NAMES,
            "automatic": "none: a catalog is evaluated",
        },
    )
    """Published evaluation set, such as rare-species, or bioclip or bioclip-2 for all of a paper's table."""
    root: str | None = field(default=None, metadata={"metavar": "FOLDER"})
    """Folder that holds the folders of the sets, or the one set that is asked for."""
    model: str = ""
    """As for catalogs; also timm:NAME for image encoders of timm."""
    output: str = ""
    """Folder of the report, with features and results of finished sets, which another run continues."""
    text_type: TextType = "published"
    """Words for classes in prompts: as the paper has them for the set, the set's own, or made of its taxa."""
    prompts: Prompts = "templates"
    """Prompts. templates: the mean over 81 prompts, as published; caption: "a photo of WORDS." alone."""
    resize: Resize = "published"
    """Resizing. published: as open_clip does for the checkpoint, mostly crop; crop: resize the shorter side and crop the centre; squash:
    resize both sides; model: as classify does."""
    exact: bool = False
    """Decode images in full instead of at a fraction of at least twice the model's size."""
    folds: int = field(default=5, metadata={"low": 1})
    """Number of draws of few-shot examples."""
    runs: int = field(default=3, metadata={"low": 1})
    """Number of fits of a probe or clustering, with other seeds."""
    search_draws: int = field(default=100, metadata={"low": 1})
    """Settings that are tried for each SVM of NeWT."""
    seed: int = field(default=0, metadata={"low": 0})
    """Random seed of fits; the few-shot folds are the published ones."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    precision: str = field(default="auto", metadata={"choices": ("auto", *PRECISIONS)})
    """Precision of the image tower."""
    batch_size: int | None = field(default=None, metadata={"low": 1, "automatic": str(USUAL_BATCH)})
    """Images encoded at once."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 16"})
    """Number of decoding threads."""
    force: bool = False
    """Replace the report of another model, of other settings or of more sets; features stay."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.suites:
            raise UsageError(f"suite: give at least one of {', '.join(SUITE_NAMES)}")
        if not self.root:
            raise UsageError("root: give the folder that holds the evaluation sets: --root FOLDER")
        if not self.model or not self.output:
            raise UsageError("model and output are needed")
