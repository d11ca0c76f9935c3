"""Writing label sets: a draft that a later call may resume, a check of the vectors, and the manifest last."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, LabelSetError
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove, rename
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import settings_id, sha256_of
from bioclip_core.labels.label_set import LabelSet, encoded, ordered, table_of, taxonomic_order
from bioclip_core.labels.manifest import (
    EMBEDDINGS,
    FORMAT_VERSION,
    JOINED_VERSION,
    MANIFEST,
    PROBE_VERSION,
    TAXA,
    Block,
    RowScales,
    checked_manifest,
    id_of,
    sealed,
)
from bioclip_core.labels.verifying import ROWS_PER_CHUNK
from bioclip_core.taxonomy import Taxon

_STATE = "build.json"


@dataclass(frozen=True, slots=True)
class _State:
    """The progress of a draft, as ``build.json`` keeps it."""

    recipe: str
    rows: int


@dataclass(slots=True)
class Draft:
    """The embeddings of a label set that is being written."""

    folder: Path
    recipe_id: str
    rows_ND: NDArray[np.float16]
    """Rows to fill, mapped from the file."""
    done: int = 0
    """Rows that an interrupted call has filled already."""

    def save(self, done: int) -> None:
        """Record the number of filled rows, so that a later call resumes there."""
        if isinstance(self.rows_ND, np.memmap):
            self.rows_ND.flush()
        write_whole(self.folder / _STATE, json.dumps(asdict(_State(self.recipe_id, done))))


def make_label_set(
    folder: Path,
    table: Any,
    dimension: int,
    recipe: dict[str, Any],
    block: Block,
    notes: dict[str, Any],
    fill: Callable[[Draft], None],
    *,
    row_scales: RowScales | None = None,
    resume: bool = False,
) -> tuple[LabelSet, int]:
    """Write a label set, or open the folder if it holds this label set already.

    Args:
        folder: folder to write.
        table: N taxa in the order of the rows.
        dimension: D, the length of an embedding.
        recipe: everything that the label set is made from, with the encoder's identity as ``encoder``.
        block: scale of the rows.
        notes: further entries of the manifest.
        fill: fills the rows of the draft, from its ``done`` on.
        row_scales: factor and bias of each row of a probe, in the order of the rows.
        resume: use the rows of an interrupted call.

    Returns:
        The label set, and the number of rows that earlier calls had filled.

    Raises:
        LabelSetError: if the folder holds another label set or cannot be written.
    """
    if (finished := finished_label_set(folder, recipe)) is not None:
        return finished, len(finished)
    draft = _open_draft(folder, recipe, (table.num_rows, dimension), resume=resume)
    done = draft.done
    fill(draft)
    del draft  # Windows cannot rename a file that is mapped
    finish_label_set(folder, table, recipe, block, notes, row_scales)
    return LabelSet.open(folder), done


def write_label_set(
    folder: Path,
    taxa: Sequence[Taxon],
    embeddings_ND: NDArray[Any],
    encoder: dict[str, str],
    block: Block,
    notes: dict[str, Any],
    *,
    row_scales: RowScales | None = None,
) -> LabelSet:
    """Write N labels that are in memory, for example prototypes; a folder that holds these already stays as it is.

    Raises:
        LabelSetError: if the folder holds another label set or cannot be written.
    """
    table = table_of(taxa)
    order = np.asarray(taxonomic_order(table))
    rows_ND = np.asarray(embeddings_ND, dtype=np.float16)[order]
    recipe = {
        "encoder": encoder, "taxa": taxa_digest(taxa), "embeddings": hashlib.sha256(np.ascontiguousarray(rows_ND).data).hexdigest(),
        "block": asdict(block), "notes": notes, "format_version": FORMAT_VERSION,
    }  # fmt: skip
    scales = None if row_scales is None else ordered(row_scales, order)
    if scales is not None:
        recipe |= {"rows": asdict(scales), "format_version": PROBE_VERSION}

    def fill(draft: Draft) -> None:
        draft.rows_ND[:] = rows_ND

    return make_label_set(folder, table.take(order), rows_ND.shape[1], recipe, block, notes, fill, row_scales=scales)[0]


def taxa_digest(taxa: Sequence[Taxon]) -> str:
    """Return the sha256 (hex) of taxa in their order."""
    return hashlib.sha256(
        "\n".join("\t".join((*t.lineage, t.common_name, t.source_id)) for t in taxa).encode()
    ).hexdigest()


def finished_label_set(folder: Path, recipe: dict[str, Any]) -> LabelSet | None:
    """Return the label set in a folder if it is whole and made from this recipe. The manifest of a damaged one is removed.

    Raises:
        LabelSetError: if the folder holds another label set.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        made_from = read_document(folder / MANIFEST, dict[str, Any], name="label set").get("recipe")
    except DataError:
        made_from = None
    if made_from != settings_id(recipe):
        raise LabelSetError(
            f"{folder} holds a label set made from other names or captions, by another model or in another precision; choose "
            "another --output"
        )
    try:
        return LabelSet.open(folder)
    except LabelSetError:
        (folder / MANIFEST).unlink()
        return None


def finish_label_set(
    folder: Path,
    table: Any,
    recipe: dict[str, Any],
    blocks: Block | Sequence[Block],
    notes: dict[str, Any],
    row_scales: RowScales | None = None,
) -> None:
    """Check the vectors of the draft, then write the names and, last, the manifest: a folder with a manifest is whole."""
    import pyarrow.parquet as pq

    draft = folder / f"{EMBEDDINGS}.part"
    count, dimension = np.load(draft, mmap_mode="r").shape
    masked_by = _unusable_rows(draft)
    if row_scales is not None:  # rows of a probe may point the same way and differ in their factors and biases
        masked_by["duplicate"] = []
    with replacing_file(folder / TAXA) as names:
        pq.write_table(encoded(table), names)
    digests = {TAXA: sha256_of(folder / TAXA), EMBEDDINGS: sha256_of(draft)}
    manifest = {
        **_scales(blocks, row_scales), "count": count, "dimension": dimension, "encoder": recipe["encoder"], **notes,
        "masked": sorted({row for rows in masked_by.values() for row in rows}),
        "masked_by": {reason: len(rows) for reason, rows in masked_by.items()}, "sha256": digests,
        "recipe": settings_id(recipe),
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    manifest["id"] = id_of(manifest)
    checked_manifest(manifest, folder)
    rename(draft, folder / EMBEDDINGS)  # late, so that an interrupt before it repeats none of the encoding
    write_whole(folder / MANIFEST, json.dumps(sealed(manifest), indent=1))
    remove(folder / _STATE)


def _open_draft(folder: Path, recipe: dict[str, Any], shape: tuple[int, int], *, resume: bool) -> Draft:
    path, recipe_id = folder / f"{EMBEDDINGS}.part", settings_id(recipe)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if resume and (folder / _STATE).is_file():
            state = read_document(folder / _STATE, _State, name="draft")
            rows_ND = np.lib.format.open_memmap(path, mode="r+")
            is_ours = state.recipe == recipe_id and 0 <= state.rows <= shape[0]
            if is_ours and rows_ND.shape == shape and rows_ND.dtype == np.dtype("<f2") and rows_ND.flags.c_contiguous:
                return Draft(folder, recipe_id, rows_ND, state.rows)
    except (OSError, ValueError, OverflowError, DataError):  # a draft that cannot be read is replaced
        pass
    try:
        return Draft(folder, recipe_id, np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape))
    except OSError as error:
        raise LabelSetError(f"label set {folder} cannot be written: {error}") from None


def _scales(blocks: Block | Sequence[Block], row_scales: RowScales | None) -> dict[str, Any]:
    """Return the manifest's entries about scales: a single block in full, many as place and number of their kind."""
    if isinstance(blocks, Block):
        if row_scales is not None:
            return {"format_version": PROBE_VERSION, "blocks": [asdict(blocks)], "rows": asdict(row_scales)}
        return {"format_version": FORMAT_VERSION, "blocks": [asdict(blocks)]}
    kinds: list[dict[str, Any]] = []
    places = []
    for block in blocks:
        kind = {name: value for name, value in asdict(block).items() if name not in ("start", "stop")}
        if kind not in kinds:
            kinds.append(kind)
        places.append([block.start, block.stop, kinds.index(kind)])
    return {"format_version": JOINED_VERSION, "kinds": kinds, "blocks": places}


def _unusable_rows(draft: Path) -> dict[str, list[int]]:
    """Return the rows that cannot be an answer: zero, not a number, or the same vector as an earlier row."""
    vectors_ND = np.load(draft, mmap_mode="r")
    count, dimension = vectors_ND.shape
    odd = np.random.default_rng(0).integers(0, 2**63, dimension, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashes_N = np.empty(count, dtype=np.uint64)
    zero: list[int] = []
    broken: list[int] = []
    for start in range(0, count, ROWS_PER_CHUNK):
        vectors_ND = np.load(draft, mmap_mode="r")  # mapped anew, which releases the pages that were read
        chunk = np.ascontiguousarray(vectors_ND[start : start + ROWS_PER_CHUNK])
        hashes_N[start : start + len(chunk)] = (chunk.view(np.uint16).astype(np.uint64) * odd).sum(
            axis=1, dtype=np.uint64
        )
        broken += (start + np.flatnonzero(~np.isfinite(chunk).all(axis=1))).tolist()
        zero += (start + np.flatnonzero(~chunk.any(axis=1))).tolist()
    return {
        "zero": zero,
        "not a number": broken,
        "duplicate": _duplicates(vectors_ND, hashes_N, set(zero) | set(broken)),
    }


def _duplicates(vectors_ND: NDArray[np.float16], hashes_N: NDArray[np.uint64], known: set[int]) -> list[int]:
    """Return the rows that repeat an earlier row bit for bit. Equal hashes may be a collision, so the rows are compared."""
    order = np.argsort(hashes_N, kind="stable")
    same_as_before = np.flatnonzero(hashes_N[order][1:] == hashes_N[order][:-1]) + 1
    pairs = ((int(order[position]), int(order[position - 1])) for position in same_as_before)
    return sorted(
        row for row, before in pairs if row not in known and np.array_equal(vectors_ND[row], vectors_ND[before])
    )
