"""Settings of an analysis, as a frozen record that is stored with its results."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioclip_core.device import PRECISIONS
from bioclip_core.encoder import USUAL_BATCH
from bioclip_core.errors import UsageError
from bioclip_core.options import check_options
from bioclip_core.taxonomy import RANKS
from bioclip_training.evaluation.config import TrainedImages

_RANK_NAMES = tuple(rank.value for rank in RANKS)
_COLUMN = {"metavar": "COLUMN"}
LARGEST_ANALYSIS = 10_000


@dataclass(frozen=True, slots=True)
class AnalysisConfig:
    """An analysis. The same settings, catalog and weights give the same numbers."""

    data: str = field(metadata={"metavar": "CATALOG"})
    """Catalog: a .parquet file that `catalog build` made, or a folder of shards."""
    model: str
    """A name that `models list` shows, hf-hub:ORG/NAME, local-dir:FOLDER, or a weight file."""
    output: str = field(metadata={"metavar": "FOLDER"})
    """Folder of the numbers, pictures and report; written whole or not at all."""
    splits: tuple[str, ...] = field(default=("val",), metadata={"flag": "--split"})
    """Part of the catalog: train, dev, val, unseen, all, or another word of its split column."""
    traits: str | None = field(default=None, metadata={"metavar": "TABLE"})
    """Table of traits: a row per species with its scientific name, such as beak size and habitat."""
    trait: tuple[str, ...] = field(default=(), metadata={**_COLUMN, "automatic": "all that are not names"})
    """Column of the trait table to analyse."""
    image_table: str | None = field(default=None, metadata={"metavar": "TABLE"})
    """Table of image properties: a row per image with its file name, such as life stage, sex and habitat; or the folder catalog of a
    curation, for its shards."""
    classes: tuple[str, ...] = field(
        default=(), metadata={**_COLUMN, "flag": "--class", "automatic": "life stage and sex, if it has them"}
    )
    """Column of the image table whose words are compared within species."""
    image_traits: tuple[str, ...] = field(
        default=(), metadata={**_COLUMN, "flag": "--image-trait", "automatic": "habitat, if it has it"}
    )
    """Column of the image table that is predicted for species left out."""
    ranks: tuple[str, ...] = field(
        default=(), metadata={"flag": "--rank", "metavar": "RANK", "automatic": "each that tells species apart"}
    )
    """Rank of the maps and of the purity of neighbours."""
    unit: str = field(default="auto", metadata={"choices": ("auto", *_RANK_NAMES)})
    """Rank of the clades that count as independent for intervals; auto is the highest one with 20 clades, else species."""
    compare: str | None = field(default=None, metadata={"metavar": "MODEL"})
    """Second model, whose numbers for the same images are put beside those of the first."""
    most_images: int = field(default=LARGEST_ANALYSIS, metadata={"low": 2})
    """Images to analyse; of more, each species gives one in turn."""
    features: str | None = field(default=None, metadata={"metavar": "FOLDER", "automatic": "OUTPUT.features"})
    """Folder that features are kept in, so that an interrupted or repeated analysis does not encode an image again."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:N or mps."""
    precision: str = field(default="auto", metadata={"choices": ("auto", *PRECISIONS)})
    """Precision of the image tower; auto is BIOCLIP_PRECISION, else bf16 where the device multiplies it natively, else fp32."""
    batch_size: int | None = field(
        default=None, metadata={"low": 1, "automatic": f"{USUAL_BATCH}, on a GPU what its memory suffices for"}
    )
    """Regions encoded at once."""
    workers: int | None = field(default=None, metadata={"low": 1, "automatic": "one per core, at most 16"})
    """Number of decoding threads."""
    replace_prefix: tuple[str, ...] = field(default=(), metadata={"metavar": "OLD=NEW"})
    r"""Replace the beginning of the images' file names, for moved folders: 'D:\survey=photos'."""
    seed: int = field(default=0, metadata={"low": 0})
    """Random seed of halves, folds, permutations and maps."""
    permutations: int = field(default=999, metadata={"low": 99, "high": 99_999})
    """Permutations of each test; one p is at least 1 divided by one more."""
    trained_images: TrainedImages = "refuse"
    """Images that the model was trained on, though the catalog holds them out: leave-out does not analyse them, keep does."""
    force: bool = False
    """Replace the output if it exists."""

    def __post_init__(self) -> None:
        check_options(self)
        if not self.splits:
            raise UsageError("split: give at least one part of the catalog, for example val")
        for rank in self.ranks:
            if rank not in _RANK_NAMES:
                raise UsageError(f"rank {rank!r}: allowed are {', '.join(_RANK_NAMES)}")
        if self.trait and not self.traits:
            raise UsageError("trait: it is a column of the trait table; give --traits TABLE too")
        if (self.classes or self.image_traits) and not self.image_table:
            raise UsageError("class and image-trait are columns of the image table; give --image-table TABLE too")
