"""TreeOfLife-200M: the Parquet files of distributed-downloader with pixels in rows, and the catalog."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from bioclip_training.biosphere.publishing.formats.target import Target, rows_of
from bioclip_training.biosphere.publishing.plan import Record

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
_PER_FILE = 1000
_SERVERS = ("images.example.org", "media.example.org")


def write(target: Target) -> None:
    """Write ``source=gbif/server=HOST/data_N.parquet`` and ``dataset/catalog.parquet``."""
    records = target.plan.of("treeoflife-200m")
    stored = [record for record in records if record.state != "missing"]
    for at in range(0, len(stored), _PER_FILE):
        part = at // _PER_FILE
        name = f"source=gbif/server={_SERVERS[part % 2]}/data_{part}.parquet"
        rows = [_stored(target, record, f"{name}#{place}") for place, record in enumerate(stored[at : at + _PER_FILE])]
        _table(target, name, rows)
    for record in records:
        record.identifier = target.plan.uuid("treeoflife-200m", record.number)
    _table(target, "dataset/catalog.parquet", [_listed(target, record) for record in rows_of(records)])


def _table(target: Target, name: str, rows: list[dict[str, object]]) -> None:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), buffer, compression="snappy")
    target.write(name, buffer.getvalue())


def _stored(target: Target, record: Record, uri: str) -> dict[str, object]:
    """Return one row of an image: its pixels, height × width × 3 bytes in the order blue, green, red."""
    record.uri = uri
    whole = target.picture(record.picture)
    pixels_HWC = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))[..., ::-1]
    data = pixels_HWC.tobytes()
    if record.state != "whole":
        data = data[: len(data) // 3] if record.state == "short" else b""
    record.sha256 = hashlib.sha256(data).hexdigest()
    size = list(pixels_HWC.shape[:2])
    return {
        "uuid": target.plan.uuid("treeoflife-200m", record.number), "source_id": str(5_000_000_000 + record.number),
        "identifier": f"https://images.example.org/{record.number}.jpg", "is_license_full": True, "license": "CC BY 4.0",
        "source": "invented", "title": "", "hashsum_original": hashlib.md5(whole, usedforsecurity=False).hexdigest(),
        "hashsum_resized": hashlib.md5(data, usedforsecurity=False).hexdigest(), "original_size": size, "resized_size": size, "image": data,
    }  # fmt: skip


def _listed(target: Target, record: Record) -> dict[str, object]:
    said = record.unit.statement if record.unit is not None else None
    plate = target.plan.pictures[record.picture].style == "plate"
    ranks = (
        dict.fromkeys(_RANKS)
        if said is None
        else {rank: cell or None for rank, cell in zip(_RANKS, said.ranks, strict=True)}
    )
    return {
        "uuid": record.identifier, "data_source": "gbif", "source_id": str(5_000_000_000 + record.number), **ranks,
        "species": (said.binomial if said else "") or None, "scientific_name": (said.name if said else "") or None,
        "common": (said.common if said else "") or None, "resolution_status": "EXACT_MATCH", "publisher": "invented",
        "basisOfRecord": "PRESERVED_SPECIMEN" if plate else "HUMAN_OBSERVATION",
        "img_type": "Museum Specimen: Unspecified" if plate else "Citizen Science", "shard_filename": "", "shard_file_path": "",
        "base_dataset_file_path": record.uri.partition("#")[0],
    }  # fmt: skip
