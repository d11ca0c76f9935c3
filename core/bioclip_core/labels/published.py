"""Importing the label files that TreeOfLife publishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import Encoder
from bioclip_core.errors import LabelSetError
from bioclip_core.labels.building import normalised
from bioclip_core.labels.label_set import FORMAT_VERSION, Block, LabelSet, table_of, taxonomic_order
from bioclip_core.labels.writing import Draft, make_label_set
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon

_ROWS_PER_CHUNK = 8192


def import_label_set(
    embeddings: Path, names: Path, encoder: Encoder, folder: Path, *, progress: Progress | None = None
) -> LabelSet:
    """Convert TreeOfLife's label files: float32 columns (D×N), and ``[[seven ranks], common name]`` for each column.

    Raises:
        LabelSetError: if the files cannot be read, or do not fit each other or the encoder.
    """
    taxa = _read_names(names)
    vectors_DN = _read_vectors(embeddings, len(taxa), encoder.dimension)
    files = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in (embeddings, names)]
    recipe = {"encoder": encoder.identity, "imported": files, "format_version": FORMAT_VERSION}
    table = table_of(taxa)
    order = np.asarray(taxonomic_order(table))
    place_N = np.empty(len(taxa), dtype=np.int64)
    place_N[order] = np.arange(len(taxa))

    def fill(draft: Draft) -> None:
        for start in range(0, len(taxa), _ROWS_PER_CHUNK):
            columns = slice(start, min(start + _ROWS_PER_CHUNK, len(taxa)))
            draft.rows_ND[place_N[columns]] = normalised(np.asarray(vectors_DN[:, columns], dtype=np.float32).T)
            if progress:
                progress(columns.stop, len(taxa))

    block = Block(0, len(taxa), "text", encoder.logit_scale, encoder.logit_bias)
    notes = {"captions": "as published"}
    return make_label_set(folder, table.take(order), encoder.dimension, recipe, block, notes, fill)[0]


def _read_names(path: Path) -> list[Taxon]:
    try:
        taxa = []
        for lineage, common_name in json.loads(path.read_text("utf-8")):
            if not isinstance(lineage, list) or len(lineage) != 7:
                raise ValueError(f"{str(lineage)[:80]!r} is not a list of seven ranks")
            taxa.append(Taxon.of([str(name or "").strip() for name in lineage], str(common_name or "").strip()))
        if not taxa:
            raise ValueError("it is empty")
        return taxa
    except (OSError, ValueError, TypeError) as error:
        raise LabelSetError(
            f"{path} cannot be read as label names ({error}); expected a JSON list of [[seven ranks], common name]"
        ) from None


def _read_vectors(path: Path, count: int, dimension: int) -> NDArray[Any]:
    try:
        vectors = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise LabelSetError(
            f"{path} cannot be read as label embeddings ({error}); expected a .npy array of D x N"
        ) from None
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        held = f"numbers of type {vectors.dtype}" if isinstance(vectors, np.ndarray) else "several arrays"
        raise LabelSetError(f"{path} holds {held}; expected a .npy array of D x N floating-point numbers")
    if vectors.shape != (dimension, count):
        raise LabelSetError(
            f"{path} has shape {'x'.join(map(str, vectors.shape))}; expected {dimension}x{count}: "
            f"{dimension} numbers for the model's features, and {count} columns, one per entry of the names file"
        )
    return vectors
