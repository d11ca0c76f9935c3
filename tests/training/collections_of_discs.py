"""Small invented collections of coloured discs, whose colour is the genus and whose size is the species, and tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import CatalogRow, table_from

_GENERA = {"Rubra": (200, 40, 40), "Viridia": (40, 180, 60), "Caerula": (50, 60, 210)}
_SPECIES = {"parva": 7, "magna": 14}

TAXA = tuple(
    Taxon.of(
        ["Fictalia", "Fictozoa", "Fictia", "Fictales", "Fictidae", genus, species], f"{species} {genus.lower()} disc"
    )
    for genus in _GENERA
    for species in _SPECIES
)

TINY = {
    "model_cfg": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
}


def disc(taxon: Taxon, number: int) -> Image.Image:
    """Draw a disc of the taxon's colour and size, slightly different for each number."""
    rng = np.random.default_rng([number, len(taxon.species), len(taxon.genus)])
    image = Image.fromarray(rng.integers(90, 130, (40, 40, 3), dtype=np.uint8))
    x, y = rng.integers(16, 24, 2)
    radius = _SPECIES[taxon.species] + int(rng.integers(-1, 2))
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill=_GENERA[taxon.genus])
    return image


def make_catalog(folder: Path, *, each: int = 10, val: int = 3, taxa: tuple[Taxon, ...] = TAXA, first: int = 0) -> Path:
    """Write a catalog of ``each`` discs per taxon, ``val`` of them held out, with the images beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for taxon in taxa:
        for number in range(first, first + each):
            name = f"{taxon.genus}-{taxon.species}-{number}.png"
            disc(taxon, number).save(folder / name)
            split = "val" if number - first < val else "train"
            rows.append(CatalogRow(uri=name, taxon=taxon, group=name, split=split, source="discs"))
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    return folder / "catalog.parquet"


def tiny_config(folder: Path) -> str:
    """Return the value of ``--start`` for a tiny model with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.json").write_text(json.dumps(TINY), "utf-8")
    return f"new:{folder / 'tiny.json'}"
