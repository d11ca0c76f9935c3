"""Adding prototype rows to a text label set: in taxonomic order, a chunk of embeddings at a time."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LabelSet, encoded, table_of
from bioclip_core.labels.manifest import EMBEDDINGS, JOINED_VERSION, Block
from bioclip_core.labels.verifying import ROWS_PER_CHUNK, mapped_anew
from bioclip_core.labels.writing import finish_label_set, finished_label_set
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon


def row_of(labels: LabelSet, taxon: Taxon) -> int | None:
    """Return the row with exactly this lineage, found by bisection since rows are in taxonomic order."""
    row = _place_of(labels, taxon)
    return row if row < len(labels) and labels.taxon(row).lineage == taxon.lineage else None


def mapped_rows(labels: LabelSet) -> NDArray[np.float16]:
    """Return the embeddings; those of a file are mapped anew, so that the pages are released with the array."""
    if labels.folder is None:
        return labels.embeddings_ND
    return mapped_anew(labels.folder, (len(labels), labels.dimension))


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
    """Write the text label set with C more rows; a row for a taxon of the text set replaces the text row.

    A million rows of text are copied in chunks of a few megabytes. The folder may hold this label set already.

    Args:
        folder: folder to write.
        text: a label set of text alone.
        taxa: C distinct lineages, in any order.
        rows_CD: their prototypes, L2-normalised.
        scales: scale, bias and feature mean of the prototypes; its row numbers are ignored.
        notes: further entries of the manifest.
        progress: called with rows done and rows in total.

    Raises:
        LabelSetError: if the folder holds another label set or cannot be written.
    """
    sources = _sources(text, taxa)
    prototypes_CD = np.ascontiguousarray(rows_CD, dtype=np.float16)
    recipe = {
        "encoder": text.manifest["encoder"], "joined": text.manifest["id"], "rows": hashlib.sha256(sources.data).hexdigest(),
        "embeddings": hashlib.sha256(prototypes_CD.data).hexdigest(), "kind": repr(scales), "notes": notes,
        "format_version": JOINED_VERSION,
    }  # fmt: skip
    if (finished := finished_label_set(folder, recipe)) is not None:
        return finished
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_rows(folder / f"{EMBEDDINGS}.part", sources, text, prototypes_CD, progress)
    except OSError as error:
        raise LabelSetError(f"label set {folder} cannot be written: {error.strerror or error}") from None
    table = _merged_table(text, taxa, sources)
    finish_label_set(folder, table, recipe, _blocks_of(sources, text.blocks[0], scales), notes)
    return LabelSet.open(folder)


def _place_of(labels: LabelSet, taxon: Taxon) -> int:
    """Return the first row that does not sort before a lineage: as UTF-8, which is the order of code points."""
    return bisect_left(
        range(len(labels)), ("", *taxon.lineage), key=lambda row: (labels.group(row), *labels.taxon(row).lineage)
    )


def _sources(text: LabelSet, taxa: Sequence[Taxon]) -> NDArray[np.int64]:
    """Return the source of each row of the merged set: a row of the text set, or -1 - c for the prototype c."""
    rows = np.arange(len(text))
    added: list[tuple[int, tuple[str, ...], int]] = []
    for number, taxon in enumerate(taxa):
        row = row_of(text, taxon)
        if row is not None:
            rows[row] = -1 - number
        else:
            added.append((_place_of(text, taxon), taxon.lineage, number))
    added.sort()
    return np.insert(rows, [place for place, _, _ in added], [-1 - number for _, _, number in added])


def _blocks_of(sources: NDArray[np.int64], text: Block, scales: Block) -> list[Block]:
    """Return the runs of rows of one kind, in row order."""
    is_text = sources >= 0
    starts = np.concatenate([[0], np.flatnonzero(is_text[1:] != is_text[:-1]) + 1])
    return [
        replace(text if is_text[start] else scales, start=start, stop=stop)
        for start, stop in pairwise([*starts.tolist(), len(sources)])
    ]


def _write_rows(
    path: Path,
    sources: NDArray[np.int64],
    text: LabelSet,
    prototypes_CD: NDArray[np.float16],
    progress: Progress | None,
) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f2", "fortran_order": False, "shape": (len(sources), text.dimension)}
        )
        for start in range(0, len(sources), ROWS_PER_CHUNK):
            chunk = sources[start : start + ROWS_PER_CHUNK]
            is_text = chunk >= 0
            rows_RD = np.empty((len(chunk), text.dimension), dtype="<f2")
            rows_RD[is_text] = mapped_rows(text)[chunk[is_text]]
            rows_RD[~is_text] = prototypes_CD[-1 - chunk[~is_text]]
            file.write(rows_RD.data)
            if progress:
                progress(start + len(chunk), len(sources))


def _merged_table(text: LabelSet, taxa: Sequence[Taxon], sources: NDArray[np.int64]) -> Any:
    """Return the names in the order of the merged rows; a taxon of the text set keeps its names there."""
    import pyarrow as pa

    named = []
    for taxon in taxa:
        row = row_of(text, taxon)
        known = taxon if row is None else text.taxon(row)
        named.append(replace(known, common_name=known.common_name or taxon.common_name))
    both = pa.concat_tables([text.table, encoded(table_of(named))]).unify_dictionaries()
    return both.take(pa.array(np.where(sources >= 0, sources, len(text) - 1 - sources)))
