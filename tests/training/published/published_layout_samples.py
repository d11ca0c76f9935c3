"""Tiny published collections, written by hand, and a reader of all their records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bioclip_training.published.known import recognise
from bioclip_training.published.layout import ReadOptions

FOLDER = "00000_Animalia_Annelida_Clitellata_Haplotaxida_Lumbricidae_Lumbricus_terrestris"
OTHER = "00001_Animalia_Chordata_Aves_Accipitriformes_Accipitridae_Accipiter_badius"


def read(path: Path, layout: str = "", **settings: Any) -> tuple[list[dict[str, Any]], ReadOptions]:
    """Return the records of a collection without empty values, sorted by id, and the options with what was reported."""
    found, _ = recognise(path, layout)
    options = ReadOptions(settings=settings)
    rows = [row for batch in found.read(path, options) for row in batch.to_pylist()]
    stated = [{name: value for name, value in row.items() if value not in ("", None)} for row in rows]
    return sorted(stated, key=lambda row: row["record_id"]), options


def images(root: Path, *names: str) -> None:
    """Make files that are named like images; readers of layouts open none."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"image")


def table(path: Path, rows: Sequence[Mapping[str, object]], separator: str = ",") -> Path:
    """Write rows as a text table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(rows[0]), *(separator.join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def document(path: Path, **members: object) -> Path:
    """Write a JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(members), encoding="utf-8")
    return path


def category(number: int, name: str, common: str, folder: str) -> dict[str, object]:
    """Return a category of iNat21."""
    kingdom, phylum, class_, order, family, genus, epithet = folder.split("_")[1:]
    return {
        "id": number, "name": name, "common_name": common, "kingdom": kingdom, "phylum": phylum, "class": class_, "order": order,
        "family": family, "genus": genus, "specific_epithet": epithet, "image_dir_name": folder,
    }  # fmt: skip
