"""A catalog of colours for a fake model that sees colours, so that every figure can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet

from bioclip_core.models import ModelEntry
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.testing import FakeModel
from bioclip_training.catalog.rows import CatalogRow, table_from

RED = Taxon.of(["Fictia", "", "", "", "Warmidae", "Red", "fictus"], "scarlet invention")
GREEN = Taxon.of(["Fictia", "", "", "", "Coldidae", "Green", "fictus"], "leafy invention")
BLUE = Taxon.of(["Fictia", "", "", "", "Coldidae", "Blue", "pictus"])

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 100, 0),
    "teal": (0, 200, 255),
}

Listed = tuple[str, Taxon, str, str]
"""Colour of the image, taxon, split, group."""

VAL: tuple[Listed, ...] = (
    ("red", RED, "val", "a"),
    ("orange", GREEN, "val", "b"),  # looks red: wrong, with green second
    ("green", GREEN, "val", "b"),
    ("teal", BLUE, "val", "c"),
)
TRAIN: tuple[Listed, ...] = tuple(
    (colour, taxon, "train", f"{colour}{number}")
    for colour, taxon in (("red", RED), ("green", GREEN), ("blue", BLUE))
    for number in range(6)
)


def entries(scale: float = 10.0, *, text_tower: bool = True) -> dict[str, ModelEntry]:
    """Return a registry with one model, ``fake``."""
    found: list[ModelEntry] = []
    FakeModel(logit_scale=scale, text_tower=text_tower).register_models(found.append)
    return {entry.name: entry for entry in found}


def second_model() -> dict[str, ModelEntry]:
    """Return a registry with ``fake`` and ``blind``, which sees nothing but red."""
    found: list[ModelEntry] = []
    blind = FakeModel("blind", logit_scale=10.0)
    see = blind.encoder.encode_images
    blind.encoder.encode_images = lambda images: see(images * np.array([1, 0, 0], np.uint8))  # type: ignore[method-assign]
    blind.register_models(found.append)
    return {**entries(), "blind": found[0]}


def colour_catalog(folder: Path, listed: Sequence[Listed] = (*TRAIN, *VAL), *, source: str = "invented") -> Path:
    """Write images and their catalog. Equal pictures share a file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (colour, taxon, split, group) in enumerate(listed):
        name = f"{colour}-{number}.png"
        if colour in COLOURS:
            Image.new("RGB", (12, 10), COLOURS[colour]).save(folder / name)
        rows.append(CatalogRow(name, taxon, source=source, group=group, split=split))
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    return folder / "catalog.parquet"
