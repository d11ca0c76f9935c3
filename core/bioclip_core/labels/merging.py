"""Prototype rows put among the rows of a text label set: taxonomic order, embeddings a chunk at a time, one manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.building import finish_label_set, finished_label_set
from bioclip_core.labels.label_set import EMBEDDINGS, JOINED_VERSION, Block, LabelSet, encoded, table_of
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon

_ROWS_A_CHUNK = 8192


def row_of(labels: LabelSet, taxon: Taxon) -> int | None:
    """The row that has just this lineage, found by halving, since rows are in taxonomic order."""
    row = _first_not_before(labels, ("", *taxon.lineage))
    return row if row < len(labels) and labels.taxon(row).lineage == taxon.lineage else None


def write_merged(
    folder: Path,
    text: LabelSet,
    taxa: Sequence[Taxon],
    rows_CD: NDArray[np.float32],
    scales: Block,
    notes: dict[str, Any],
    *,
    progress: Progress | None = None,
) -> LabelSet:
    """Write the text label set with C more rows; a row of a taxon that stands there already takes its place.

    A million rows of text are copied in chunks of a few megabytes. The folder may hold just this label set already.

    Args:
        folder: what is written.
        text: a label set of text alone.
        taxa: C distinct lineages, in any order.
        rows_CD: their prototypes, L2-normalised.
        scales: the scale, bias and feature mean of the prototypes; its rows are not looked at.
        notes: what the manifest says beside.
        progress: called with rows done and rows in all.

    Raises:
        LabelSetError: if the folder holds another label set or cannot be written.
    """
    sources = _sources(text, taxa)
    blocks = _blocks_of(sources, text.blocks[0], scales)
    prototypes_CD = np.ascontiguousarray(rows_CD, dtype=np.float16)
    recipe = {
        "encoder": text.manifest["encoder"], "joined": text.manifest["id"], "rows": hashlib.sha256(sources.data).hexdigest(),
        "embeddings": hashlib.sha256(prototypes_CD.data).hexdigest(), "kind": repr(scales), "notes": notes,
        "format_version": JOINED_VERSION,
    }  # fmt: skip
    if (there := finished_label_set(folder, recipe)) is not None:
        return there
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{EMBEDDINGS}.part").open("wb") as file:
            _write_rows(file, sources, text, prototypes_CD, progress)
    except OSError as error:
        raise LabelSetError(f"label set {folder} cannot be written: {error.strerror or error}") from None
    finish_label_set(folder, _merged_table(text, taxa, sources), recipe, blocks, notes)
    return LabelSet.open(folder)


def _first_not_before(labels: LabelSet, key: tuple[str, ...]) -> int:
    """The first row whose group and lineage do not sort before the key: as UTF-8, which is the order of code points."""
    low, high = 0, len(labels)
    while low < high:
        middle = (low + high) // 2
        if (labels.group(middle), *labels.taxon(middle).lineage) < key:
            low = middle + 1
        else:
            high = middle
    return low


def _sources(text: LabelSet, taxa: Sequence[Taxon]) -> NDArray[np.int64]:
    """For each row of the merged set where it comes from: a row of the text set, or -1 - c for the prototype c."""
    rows = np.arange(len(text))
    added: list[tuple[int, tuple[str, ...], int]] = []
    for number, taxon in enumerate(taxa):
        row = row_of(text, taxon)
        if row is not None:
            rows[row] = -1 - number
        else:
            added.append((_first_not_before(text, ("", *taxon.lineage)), taxon.lineage, number))
    added.sort()
    sources: NDArray[np.int64] = np.insert(
        rows, [place for place, _, _ in added], [-1 - number for _, _, number in added]
    )
    return sources


def _blocks_of(sources: NDArray[np.int64], text: Block, scales: Block) -> list[Block]:
    """Runs of rows of one kind, in row order."""
    is_text = sources >= 0
    starts = np.concatenate([[0], np.flatnonzero(is_text[1:] != is_text[:-1]) + 1])
    stops = np.concatenate([starts[1:], [len(sources)]])
    return [
        replace(text if is_text[start] else scales, start=int(start), stop=int(stop))
        for start, stop in zip(starts, stops, strict=True)
    ]


def _write_rows(
    file: IO[bytes],
    sources: NDArray[np.int64],
    text: LabelSet,
    prototypes_CD: NDArray[np.float16],
    progress: Progress | None,
) -> None:
    header = {"descr": "<f2", "fortran_order": False, "shape": (len(sources), text.dimension)}
    np.lib.format.write_array_header_1_0(file, header)
    for start, rows_RD in _merged_rows(sources, text, prototypes_CD):
        file.write(np.ascontiguousarray(rows_RD, dtype="<f2").data)
        if progress:
            progress(start + len(rows_RD), len(sources))


def _merged_rows(
    sources: NDArray[np.int64], text: LabelSet, prototypes_CD: NDArray[np.float16]
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    for start in range(0, len(sources), _ROWS_A_CHUNK):
        chunk = sources[start : start + _ROWS_A_CHUNK]
        is_text = chunk >= 0
        rows_RD = np.empty((len(chunk), text.dimension), dtype=np.float16)
        rows_RD[is_text] = mapped_rows(text)[chunk[is_text]]
        rows_RD[~is_text] = prototypes_CD[-1 - chunk[~is_text]]
        yield start, rows_RD


def mapped_rows(labels: LabelSet) -> NDArray[np.float16]:
    """The embeddings, mapped anew where they are a file: what was read of them is ours no longer once it is let go."""
    if labels.folder is None:
        return labels.embeddings_ND
    rows_ND: NDArray[np.float16] = np.load(labels.folder / EMBEDDINGS, mmap_mode="r")
    return rows_ND


def _merged_table(text: LabelSet, taxa: Sequence[Taxon], sources: NDArray[np.int64]) -> Any:
    """The names in the order of the merged rows; a taxon that stood in the text set keeps its names from there."""
    import pyarrow as pa

    named = [_known(text, taxon) for taxon in taxa]
    both = pa.concat_tables([text.table, encoded(table_of(named))]).unify_dictionaries()
    return both.take(pa.array(np.where(sources >= 0, sources, len(text) - 1 - sources)))


def _known(text: LabelSet, taxon: Taxon) -> Taxon:
    row = row_of(text, taxon)
    if row is None:
        return taxon
    there = text.taxon(row)
    return replace(there, common_name=there.common_name or taxon.common_name)
