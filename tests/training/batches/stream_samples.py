"""Small catalogs with images of one colour each, for tests of everything that reads catalogs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from

TAXA = (
    Taxon.of(["Animalia", "Chordata", "Aves", "Fictiformes", "Fictidae", "Fictus", "rufus"], "red fictus"),
    Taxon.of(["Animalia", "Chordata", "Aves", "Fictiformes", "Fictidae", "Fictus", "viridis"]),
    Taxon.of(["Plantae", "Tracheophyta", "Magnoliopsida", "Inventales", "Inventaceae", "Inventia", ""], "inventia"),
)


def colour_of(number: int) -> tuple[int, int, int]:
    """Return a different colour for each of the first 256 images."""
    return number, 255 - number, (7 * number) % 256


def rows_with_images(
    folder: Path, count: int, *, splits: Sequence[str] = ("train",), size: tuple[int, int] = (20, 16)
) -> list[CatalogRow]:
    """Return rows of ``count`` PNG images of one colour each. Taxa and splits take turns; each row is its own group."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        Image.new("RGB", size, colour_of(number)).save(folder / f"{number:03d}.png")
        rows.append(CatalogRow(
            uri=f"{number:03d}.png", taxon=TAXA[number % len(TAXA)], group=f"g{number}", split=splits[number % len(splits)],
            licence="CC0", source_id=f"id{number}",
        ))  # fmt: skip
    return rows


def write_catalog(folder: Path, rows: Sequence[CatalogRow]) -> Path:
    """Write the rows as ``catalog.parquet`` in the folder."""
    file = folder / "catalog.parquet"
    parquet.write_table(table_from(rows), file)
    return file


def open_catalog(folder: Path, rows: Sequence[CatalogRow]) -> Catalog:
    return Catalog.open(write_catalog(folder, rows))
