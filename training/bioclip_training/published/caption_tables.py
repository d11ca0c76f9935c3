"""Tables of images with captions and without a taxon: one row per image file, as LAION-like collections and hubs have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError, SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.reading import open_table
from bioclip_training.catalog.uris import file_of
from bioclip_training.published.held import HeldSample, Holder
from bioclip_training.published.reading.folders import folders_below
from bioclip_training.published.sample_texts import FREE_CELLS, RANK_NAMES, described_cells

_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet")
_IMAGE_COLUMNS = ("image", "path", "file", "filepath", "filename", "file_name", "image_path", "uri")
_ADDRESS_COLUMNS = ("url", "image_url")
_NAMES = ("scientificname", "verbatimname", "species", "taxonid", *(rank for rank in RANK_NAMES))
NO_FILE = "rows without an image file"


def is_caption_table(path: Path) -> bool:
    """True for a table with a column of image files, one of captions, and none of taxa.

    Raises:
        SourceError: for one that has addresses in place of files.
    """
    header = _header(path)
    if not any(name in header for name in FREE_CELLS) or any(name in header for name in _NAMES):
        return False
    if any(name in header for name in _plain(_IMAGE_COLUMNS)):
        return True
    if any(name in header for name in _plain(_ADDRESS_COLUMNS)):
        raise SourceError(
            f"{path} lists addresses of images, and no images: fetch them with img2dataset, and give the folder of its output"
        )
    return False


def of_caption_table(folder: Path, holder: Holder, findings: Findings, skipped: Findings) -> Iterator[HeldSample]:
    """Yield the rows of a table whose image file exists; names are relative to the folder.

    Raises:
        SourceError: if it cannot be read.
    """
    table = open_table(folder / holder.name, findings=findings)
    image = next(name for name in table.header if column_name(name) in _plain(_IMAGE_COLUMNS))
    for row in table:
        where = f"{holder.name}, row {row.number}"
        if row.fault:
            skipped.add("rows that cannot be read", f"{where}: {row.fault}")
            continue
        name = str(row.cells.get(image) or "")
        path = file_of(name, folder) if name else None
        if path is None or not path.is_file() or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            skipped.add(NO_FILE, f"{where}: {name!r}")
            continue
        cells: Mapping[str, Any] = {key: value for key, value in row.cells.items() if key != image}
        about = described_cells(cells, where, findings)
        yield HeldSample(str(cells.get("id") or name.rpartition(".")[0]), name, "", 0, path.stat().st_size, about)


def caption_files(folder: Path) -> list[Path]:
    """Return the Parquet files near the top of a folder that have captions by the ids of images, as BioCAP publishes them."""
    from pyarrow import ArrowException, parquet

    found = []
    for place in folders_below(folder, 1):
        for file in sorted(place.glob("*.parquet")):
            try:
                names = set(parquet.read_schema(file).names)
            except (OSError, ArrowException):
                continue
            if names >= {"uuid", "caption"} and not names & {"image", "kingdom", "identifier"}:
                found.append(file)
    return found


def captions_by_id(files: Sequence[Path], ids: Any) -> Any:
    """Return the captions of images by their ids as an Arrow array, empty for ids without one.

    Args:
        files: as of :func:`caption_files`.
        ids: of the images.
    """
    import pyarrow as pa
    from pyarrow import compute, parquet

    known = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    kept = []
    for file in files:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(65_536, columns=["uuid", "caption"]):
                kept.append(batch.filter(compute.is_in(batch.column("uuid").cast(pa.string()), known)))
    if not kept:
        return pa.repeat("", len(known))
    table = pa.Table.from_batches(kept)
    place = compute.index_in(known, table.column("uuid").cast(pa.string()).combine_chunks())
    return table.column("caption").cast(pa.string()).combine_chunks().take(place).fill_null("")


def _header(path: Path) -> set[str]:
    if path.suffix.lower() not in _SUFFIXES:
        return set()
    try:
        return {column_name(name) for name in open_table(path).header}
    except (SourceError, DataError, OSError):
        return set()


def _plain(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(column_name(name) for name in names)
