"""Making label sets: from taxa with a text tower, or from TreeOfLife's files; checked when made, resumable, atomic."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption, captions_for_labels
from bioclip_core.encoder import Encoder
from bioclip_core.errors import LabelSetError
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import settings_id
from bioclip_core.labels.label_set import (
    EMBEDDINGS,
    FORMAT_VERSION,
    JOINED_VERSION,
    MANIFEST,
    TAXA,
    Block,
    LabelSet,
    encoded,
    table_of,
    taxonomic_order,
)
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon

_CAPTIONS_A_BATCH = 256
_ROWS_A_CHUNK = 8192
_SAVE_EVERY_S = 5.0
_STATE = "build.json"


@dataclass(frozen=True, slots=True)
class Built:
    """What was made, and what was noticed on the way."""

    labels: LabelSet
    merged: int
    """Rows whose lineage stood in the table already."""
    empty: int
    """Rows without a name at any rank."""
    resumed_at: int
    """Labels that an earlier, interrupted call had done."""


def build_label_set(
    taxa: Iterable[Taxon],
    encoder: Encoder,
    folder: Path,
    *,
    caption: Caption = Caption.TAXONOMIC,
    progress: Progress | None = None,
) -> Built:
    """Embed every distinct lineage with the encoder's text tower and write a label set.

    A call that was interrupted goes on where it was; one that had finished does nothing.

    Raises:
        LabelSetError: if there are no taxa, or the folder holds something else.
        NoTextTower: if the encoder is image-only.
    """
    distinct, merged, empty = _distinct(taxa)
    if not distinct:
        raise LabelSetError("no taxa: the table has no row with a name at any rank")
    table = table_of(distinct)
    order = taxonomic_order(table).to_pylist()
    ordered = [distinct[index] for index in order]
    recipe = {
        "encoder": encoder.identity,
        "caption": caption.value,
        "taxa": _digest(ordered),
        "format_version": FORMAT_VERSION,
    }
    if (finished := finished_label_set(folder, recipe)) is not None:
        return Built(finished, merged, empty, len(ordered))
    draft, resumed_at = _open_draft(folder, recipe, (len(ordered), encoder.dimension))
    _embed_into(draft, folder, recipe, ordered, encoder, caption, resumed_at, progress)
    del draft  # Windows renames no file that is mapped
    block = Block(0, len(ordered), "text", encoder.logit_scale, encoder.logit_bias)
    finish_label_set(folder, table.take(order), recipe, block, {"captions": caption.value})
    return Built(LabelSet.open(folder), merged, empty, resumed_at)


def import_label_set(
    embeddings: Path, names: Path, encoder: Encoder, folder: Path, *, progress: Progress | None = None
) -> LabelSet:
    """Convert TreeOfLife's label files: float32 D×N columns, and ``[[seven ranks], common name]`` for each.

    Raises:
        LabelSetError: if the files cannot be read or do not fit each other or the encoder.
    """
    taxa = _read_published_names(names)
    vectors_DN = _read_published_vectors(embeddings, len(taxa), encoder.dimension)
    recipe = {
        "encoder": encoder.identity, "imported": [_file_key(embeddings), _file_key(names)], "format_version": FORMAT_VERSION,
    }  # fmt: skip
    if (finished := finished_label_set(folder, recipe)) is not None:
        return finished
    table = table_of(taxa)
    order = np.asarray(taxonomic_order(table))
    place_N = np.empty(len(taxa), dtype=np.int64)
    place_N[order] = np.arange(len(taxa))
    draft, _ = _open_draft(folder, recipe, (len(taxa), encoder.dimension), resume=False)
    for start in range(0, len(taxa), _ROWS_A_CHUNK):
        columns = slice(start, min(start + _ROWS_A_CHUNK, len(taxa)))
        draft[place_N[columns]] = _normalised(np.asarray(vectors_DN[:, columns], dtype=np.float32).T)
        if progress:
            progress(columns.stop, len(taxa))
    del draft
    block = Block(0, len(taxa), "text", encoder.logit_scale, encoder.logit_bias)
    finish_label_set(folder, table.take(order), recipe, block, {"captions": "as published"})
    return LabelSet.open(folder)


def write_label_set(
    folder: Path,
    taxa: Sequence[Taxon],
    embeddings_ND: NDArray[Any],
    encoder: dict[str, str],
    block: Block,
    notes: dict[str, Any],
) -> LabelSet:
    """Write N labels that are in memory already, for example prototypes; a folder that holds just these is left as it is.

    Raises:
        LabelSetError: if the folder holds another label set or cannot be written.
    """
    table = table_of(taxa)
    order = np.asarray(taxonomic_order(table))
    rows_ND = np.asarray(embeddings_ND, dtype=np.float16)[order]
    recipe = {
        "encoder": encoder, "taxa": _digest(taxa), "embeddings": hashlib.sha256(np.ascontiguousarray(rows_ND).data).hexdigest(),
        "block": asdict(block), "notes": notes, "format_version": FORMAT_VERSION,
    }  # fmt: skip
    if (finished := finished_label_set(folder, recipe)) is not None:
        return finished
    draft, _ = _open_draft(folder, recipe, rows_ND.shape, resume=False)
    draft[:] = rows_ND
    del draft
    finish_label_set(folder, table.take(order), recipe, block, notes)
    return LabelSet.open(folder)


def _distinct(taxa: Iterable[Taxon]) -> tuple[list[Taxon], int, int]:
    """One taxon a lineage, with the first common name that any of its rows has."""
    found: dict[tuple[str, ...], Taxon] = {}
    merged = empty = 0
    for taxon in taxa:
        if taxon.rank is None:
            empty += 1
        elif taxon.lineage in found:
            merged += 1
            known = found[taxon.lineage]
            if taxon.common_name and not known.common_name:
                found[taxon.lineage] = replace(known, common_name=taxon.common_name)
        else:
            found[taxon.lineage] = taxon
    return list(found.values()), merged, empty


def _embed_into(
    draft: NDArray[np.float16],
    folder: Path,
    recipe: dict[str, Any],
    taxa: Sequence[Taxon],
    encoder: Encoder,
    caption: Caption,
    start: int,
    progress: Progress | None,
) -> None:
    """Fill the draft's rows from ``start`` on, saving how far it is every few seconds and when it is interrupted."""
    step = max(1, _CAPTIONS_A_BATCH // len(captions_for_labels(taxa[0], caption)))
    saved_at = time.monotonic()
    row = start
    try:
        for row in range(start, len(taxa), step):
            batch = taxa[row : row + step]
            draft[row : row + len(batch)] = _mean_features(batch, encoder, caption)
            if progress:
                progress(row + len(batch), len(taxa))
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                _save_state(folder, draft, recipe, row + len(batch))
                saved_at = time.monotonic()
    except BaseException:  # an interrupt too
        _save_state(folder, draft, recipe, row)
        raise


def _mean_features(taxa: Sequence[Taxon], encoder: Encoder, caption: Caption) -> NDArray[np.float32]:
    """L2, mean over a taxon's captions, L2."""
    captions = [captions_for_labels(taxon, caption) for taxon in taxa]
    features = encoder.encode_texts([text for texts in captions for text in texts])
    each = len(captions[0])
    return _normalised(features.reshape(len(taxa), each, -1).mean(axis=1))


def _normalised(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """L2-normalised rows; a row of zeros stays zeros, one with a NaN or an infinity becomes NaN, so that each is found."""
    out: NDArray[np.float32] = np.zeros_like(rows_ND)
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(rows_ND, axis=1, keepdims=True)
        np.divide(rows_ND, norms, out=out, where=norms != 0)
    return out


def _open_draft(
    folder: Path, recipe: dict[str, Any], shape: tuple[int, int], *, resume: bool = True
) -> tuple[NDArray[np.float16], int]:
    """The embeddings file to fill, and how many of its rows are done."""
    path = folder / f"{EMBEDDINGS}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if resume and (rows := _rows_done(folder, recipe)):
            draft = np.lib.format.open_memmap(path, mode="r+")
            if draft.shape == shape and draft.dtype == np.float16:
                return draft, rows
    except (OSError, ValueError):  # a draft that cannot be read is made anew
        pass
    try:
        return np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape), 0
    except OSError as error:
        raise LabelSetError(f"label set {folder} cannot be written: {error}") from None


def _rows_done(folder: Path, recipe: dict[str, Any]) -> int:
    """How many rows of the draft an interrupted build of just this label set had done."""
    state = json.loads((folder / _STATE).read_text("utf-8")) if (folder / _STATE).is_file() else {}
    return int(state["rows"]) if state.get("recipe") == settings_id(recipe) else 0


def _save_state(folder: Path, draft: NDArray[np.float16], recipe: dict[str, Any], rows: int) -> None:
    if isinstance(draft, np.memmap):
        draft.flush()
    write_whole(folder / _STATE, json.dumps({"recipe": settings_id(recipe), "rows": rows}))


def finished_label_set(folder: Path, recipe: dict[str, Any]) -> LabelSet | None:
    """The label set that the folder holds, if it is just this one and whole; a damaged one is cleared for another build.

    Raises:
        LabelSetError: if the folder holds another label set.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        made_from = json.loads((folder / MANIFEST).read_text("utf-8")).get("recipe")
    except (OSError, ValueError, AttributeError):
        made_from = None
    if made_from != settings_id(recipe):
        raise LabelSetError(
            f"{folder} holds a label set made from other names, captions or another model; choose another --output"
        )
    try:
        return LabelSet.open(folder)
    except LabelSetError:
        (folder / MANIFEST).unlink()
        return None


def finish_label_set(
    folder: Path, table: Any, recipe: dict[str, Any], blocks: Block | Sequence[Block], notes: dict[str, Any]
) -> None:
    """Check the vectors, write the names and last the manifest: a folder with a manifest is whole."""
    import pyarrow.parquet as pq

    draft = folder / f"{EMBEDDINGS}.part"
    (count, dimension), masked_by = _examined(draft)
    with replacing_file(folder / TAXA) as taxa_draft:
        pq.write_table(encoded(table), taxa_draft)
    digests = {TAXA: _sha256(folder / TAXA), EMBEDDINGS: _sha256(draft)}
    about = _about_blocks(blocks)
    # The id of a set of one kind is of the files alone, as it always was.
    scales = {"kinds": about["kinds"]} if "kinds" in about else {}
    manifest = {
        **about, "count": count, "dimension": dimension, "encoder": recipe["encoder"], **notes,
        "masked": sorted({row for rows in masked_by.values() for row in rows}),
        "masked_by": {reason: len(rows) for reason, rows in masked_by.items()}, "sha256": digests,
        "recipe": settings_id(recipe),
        "id": settings_id({"sha256": digests, "encoder": recipe["encoder"]["weights_sha256"], **scales}),
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    draft.replace(folder / EMBEDDINGS)  # late, so that an interrupt before it repeats none of the encoding
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1))
    (folder / _STATE).unlink(missing_ok=True)


def _about_blocks(blocks: Block | Sequence[Block]) -> dict[str, Any]:
    """What the manifest says of scales: a single block whole, many of them by their place and the number of their kind."""
    if isinstance(blocks, Block):
        return {"format_version": FORMAT_VERSION, "blocks": [asdict(blocks)]}
    kinds: list[dict[str, Any]] = []
    places = []
    for block in blocks:
        kind = {name: value for name, value in asdict(block).items() if name not in ("start", "stop")}
        if kind not in kinds:
            kinds.append(kind)
        places.append([block.start, block.stop, kinds.index(kind)])
    return {"format_version": JOINED_VERSION, "kinds": kinds, "blocks": places}


def _examined(draft: Path) -> tuple[tuple[int, int], dict[str, list[int]]]:
    """N and D of a filled draft, and its unusable rows; the file is let go of."""
    return np.load(draft, mmap_mode="r").shape, _unusable_rows(draft)


def _unusable_rows(draft: Path) -> dict[str, list[int]]:
    """Rows that cannot be an answer: zero, not a number, or the same vector as an earlier row."""
    vectors_ND = np.load(draft, mmap_mode="r")
    count, dimension = vectors_ND.shape
    odd = np.random.default_rng(0).integers(0, 2**63, dimension, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashes_N = np.empty(count, dtype=np.uint64)
    zero: list[int] = []
    broken: list[int] = []
    for start in range(0, count, _ROWS_A_CHUNK):
        vectors_ND = np.load(draft, mmap_mode="r")  # mapped anew, so that what was read counts as our memory no longer
        chunk = np.ascontiguousarray(vectors_ND[start : start + _ROWS_A_CHUNK])
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
    """Rows that repeat an earlier row bit for bit; equal hashes are looked at, since hashes may collide."""
    order = np.argsort(hashes_N, kind="stable")
    same_as_before = np.flatnonzero(hashes_N[order][1:] == hashes_N[order][:-1]) + 1
    repeats = []
    for position in same_as_before:
        row, before = int(order[position]), int(order[position - 1])
        if row not in known and np.array_equal(vectors_ND[row], vectors_ND[before]):
            repeats.append(row)
    return sorted(repeats)


def _read_published_names(path: Path) -> list[Taxon]:
    try:
        entries = json.loads(path.read_text("utf-8"))
        taxa = [_published_taxon(lineage, common) for lineage, common in entries]
        if not taxa:
            raise ValueError("it is empty")
        return taxa
    except (OSError, ValueError, TypeError) as error:
        raise LabelSetError(
            f"{path} cannot be read as label names ({error}); expected a JSON list of [[seven ranks], common name]"
        ) from None


def _published_taxon(lineage: Any, common_name: Any) -> Taxon:
    if not isinstance(lineage, list) or len(lineage) != 7:
        raise ValueError(f"{str(lineage)[:80]!r} is not a list of seven ranks")
    return Taxon.of([str(name or "").strip() for name in lineage], str(common_name or "").strip())


def _read_published_vectors(path: Path, count: int, dimension: int) -> NDArray[Any]:
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
            f"{dimension} numbers for the model's features, and {count} columns as the names file has entries"
        )
    return vectors


def _file_key(path: Path) -> list[Any]:
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns]


def _digest(taxa: Sequence[Taxon]) -> str:
    return hashlib.sha256(
        "\n".join("\t".join((*t.lineage, t.common_name, t.source_id)) for t in taxa).encode()
    ).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
