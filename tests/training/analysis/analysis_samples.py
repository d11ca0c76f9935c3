"""A catalog of colours for the fake model that sees colours: families by hue, life stages by brightness of one colour."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet
from space_samples import tree

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import CatalogRow, table_from

TAXA: tuple[Taxon, ...] = tuple(tree(4, 2, 1))
"""Eight species of four families: each family has a hue."""
_HUES = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220], [200, 200, 40]])


def analysed_catalog(folder: Path, images: int = 8) -> Path:
    """Write images of each species, their catalog, and ``images.csv`` with the life stage and habitat of each image."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows, table = [], []
    for number, taxon in enumerate(TAXA):
        for image in range(images):
            colour = (
                _HUES[number // 2] + 12 * (number % 2) + 14 * (image % 2) * np.array([0, 0, 1]) + rng.integers(-9, 9, 3)
            )
            name = f"s{number}-{image}.png"
            Image.new("RGB", (8, 8), tuple(int(value) for value in np.clip(colour, 0, 255))).save(folder / name)
            rows.append(CatalogRow(name, taxon, split="val", group=f"g{number}-{image}"))
            table.append([name, ["adult", "young"][image % 2], ["reef", "sand"][int(rng.integers(2))]])
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "lifeStage", "habitat"], *table])
    return folder / "catalog.parquet"
