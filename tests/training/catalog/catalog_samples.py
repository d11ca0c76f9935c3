"""Small labelled collections with invented names and drawn images, for the tests of catalogs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from bioclip_training.catalog.build import Built, build_catalog
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.rows import Catalog, LabelledItem
from bioclip_training.catalog.sources import LabelledSource

LYNX = {"kingdom": "Animalia", "family": "Fictidae", "genus": "Lynx", "specificEpithet": "fictus"}
MOTH = {"kingdom": "Animalia", "family": "Invenidae", "genus": "Invenia", "specificEpithet": "alba"}


def picture(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Draw blotches of colour with edges. Each seed looks different, and the colours can still become brighter."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(rng.integers(60, 160, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, r = rng.integers(0, size[0]), rng.integers(0, size[1]), rng.integers(4, 24)
        draw.ellipse((int(x - r), int(y - r), int(x + r), int(y + r)), fill=tuple(rng.integers(20, 220, 3).tolist()))
    return image


def save(folder: Path, *seeds: int) -> None:
    """Write one PNG per seed, named after the seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        picture(seed).save(folder / f"{seed}.png")


def write_table(file: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a CSV file with every column that occurs in a row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, columns)
        table.writeheader()
        table.writerows(rows)
    return file


def source_of(
    folder: Path, rows: Sequence[Mapping[str, Any]], name: str = "table.csv", kind: Any = "table"
) -> LabelledSource:
    """Return the rows as a source. ``image`` is a file of the folder, ``box`` its region."""

    def items() -> Iterator[LabelledItem]:
        for row in rows:
            cells = {key: value for key, value in row.items() if key not in ("image", "box")}
            yield LabelledItem(str(row["image"]), folder / str(row["image"]), cells, name, 0, row.get("box"))

    return LabelledSource(name, kind, items, folder)


def build(folder: Path, *sources: LabelledSource, resolver: Any = None, **options: Any) -> tuple[Catalog, Built]:
    """Build a catalog of some sources in ``folder``. By default every row is its own group."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    asked = BuildOptions(**{"group_by": "image", "workers": 2, **options})
    built = build_catalog(list(sources), folder, work, asked, resolver=resolver)
    catalog = Catalog.open(built.catalog)
    catalog.file = folder / "catalog.parquet"
    return catalog, built


def listed(file: Path | None) -> list[dict[str, str]]:
    """Return the rows of a list beside a catalog; empty without a list."""
    if file is None:
        return []
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))
