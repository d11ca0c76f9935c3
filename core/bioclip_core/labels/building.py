"""Making label sets: from taxa with an encoder's text tower, or from the label files that TreeOfLife publishes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption, captions_for_labels
from bioclip_core.encoder import Encoder
from bioclip_core.errors import LabelSetError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.findings import Findings
from bioclip_core.labels.label_set import LabelSet, one_label_each, table_of, taxonomic_order
from bioclip_core.labels.manifest import FORMAT_VERSION, Block
from bioclip_core.labels.verifying import ROWS_PER_CHUNK
from bioclip_core.labels.writing import Draft, make_label_set, taxa_digest
from bioclip_core.lineages import JoinedLineages
from bioclip_core.names import PLACEHOLDER, clean_name, parse_name
from bioclip_core.naming.words import UNNAMED_SPECIES
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Rank, Taxon

_CAPTIONS_PER_BATCH = 1024
_SAVE_EVERY_S = 5.0
_LARGEST_NAMES_FILE = 1 << 30
"""Bytes: TreeOfLife's file of a million names has a tenth of it."""


@dataclass(frozen=True, slots=True)
class Built:
    """A new label set, with observations about its table."""

    labels: LabelSet
    merged: int
    """Rows with the taxon of an earlier row."""
    empty: int
    """Rows without a name at any rank."""
    resumed_at: int
    """Labels that an earlier, interrupted call had embedded."""
    joined: JoinedLineages
    """Lineages that were joined to one label, and names that stay several."""


def build_label_set(
    taxa: Iterable[Taxon],
    encoder: Encoder,
    folder: Path,
    *,
    caption: Caption = Caption.TAXONOMIC,
    progress: Progress | None = None,
) -> Built:
    """Embed every taxon with the encoder's text tower and write a label set.

    Lineages of one taxon that differ only in missing ranks are one label. An interrupted call is resumed; a finished one is not repeated.

    Raises:
        LabelSetError: without taxa, or if the folder holds something else.
        NoTextTower: if the encoder is image-only.
    """
    found, label_of_N, joined = one_label_each(taxa)
    distinct = [taxon for taxon in found if taxon.rank is not None]
    if not distinct:
        raise LabelSetError("no taxa: the table has no row with a name at any rank")
    table = table_of(distinct)
    order = taxonomic_order(table).to_pylist()
    ordered = [distinct[index] for index in order]
    recipe = {
        "encoder": encoder.identity,
        "caption": caption.value,
        "taxa": taxa_digest(ordered),
        "format_version": FORMAT_VERSION,
    }
    lower = {} if (precision := getattr(encoder, "text_precision", "fp32")) == "fp32" else {"precision": precision}
    block = Block(0, len(ordered), "text", encoder.logit_scale, encoder.logit_bias)
    labels, resumed_at = make_label_set(
        folder, table.take(order), encoder.dimension, recipe | lower, block, {"captions": caption.value, **lower},
        partial(_embed_into, taxa=ordered, encoder=encoder, caption=caption, progress=progress), resume=True,
    )  # fmt: skip
    empty = sum(int((label_of_N == place).sum()) for place, taxon in enumerate(found) if taxon.rank is None)
    return Built(labels, len(label_of_N) - empty - len(distinct), empty, resumed_at, joined)


def _embed_into(
    draft: Draft, taxa: Sequence[Taxon], encoder: Encoder, caption: Caption, progress: Progress | None
) -> None:
    """Fill the draft's remaining rows, and save the progress every few seconds and on an interrupt.

    An embedding is the mean of the taxon's L2-normalised caption features, L2-normalised again.
    """
    step = max(1, _CAPTIONS_PER_BATCH // len(captions_for_labels(taxa[0], caption)))
    saved_at = time.monotonic()
    row = draft.done
    try:
        for row in range(draft.done, len(taxa), step):
            batch = taxa[row : row + step]
            captions = [captions_for_labels(taxon, caption) for taxon in batch]
            features = encoder.encode_texts([text for texts in captions for text in texts])
            means_ND = features.reshape(len(batch), len(captions[0]), -1).mean(axis=1)
            draft.rows_ND[row : row + len(batch)] = normalised(means_ND)
            if progress:
                progress(row + len(batch), len(taxa))
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                draft.save(row + len(batch))
                saved_at = time.monotonic()
    except BaseException:  # an interrupt too
        draft.save(row)
        raise


def import_label_set(
    embeddings: Path,
    names: Path,
    encoder: Encoder,
    folder: Path,
    *,
    progress: Progress | None = None,
    findings: Findings | None = None,
) -> LabelSet:
    """Convert TreeOfLife's label files: float32 columns (D×N), and ``[[seven ranks], common name]`` for each column.

    Placeholders ("Incertae sedis") do not name a rank, and a label whose own name is one is masked: it is never an answer.

    Args:
        findings: counts both.

    Raises:
        LabelSetError: if the files cannot be read, or do not fit each other or the encoder.
    """
    taxa, masked = _without_placeholders(_read_names(names), Findings() if findings is None else findings)
    vectors_DN = _read_vectors(embeddings, len(taxa), encoder.dimension)
    files = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in (embeddings, names)]
    recipe = {"encoder": encoder.identity, "imported": files, "format_version": FORMAT_VERSION}
    table = table_of(taxa)
    order = np.asarray(taxonomic_order(table))
    place_N = np.argsort(order)

    def fill(draft: Draft) -> None:
        for start in range(0, len(taxa), ROWS_PER_CHUNK):
            columns = slice(start, min(start + ROWS_PER_CHUNK, len(taxa)))
            rows = normalised(np.asarray(vectors_DN[:, columns], dtype=np.float32).T)
            rows[[place - start for place in masked if start <= place < columns.stop]] = 0
            draft.rows_ND[place_N[columns]] = rows
            if progress:
                progress(columns.stop, len(taxa))

    block = Block(0, len(taxa), "text", encoder.logit_scale, encoder.logit_bias)
    return make_label_set(
        folder, table.take(order), encoder.dimension, recipe, block, {"captions": "as published"}, fill
    )[0]


def _read_names(path: Path) -> list[Taxon]:
    try:
        taxa = []
        for entry in read_document(path, list[Any], name="label names", max_bytes=_LARGEST_NAMES_FILE):
            lineage, common_name = entry
            if not isinstance(lineage, list) or len(lineage) != 7:
                raise ValueError(f"{str(lineage)[:80]!r} is not a list of seven ranks")
            taxa.append(Taxon.of([str(name or "").strip() for name in lineage], str(common_name or "").strip()))
        if not taxa:
            raise ValueError("it is empty")
        return taxa
    except (ValueError, TypeError) as error:  # DataError is a ValueError
        raise LabelSetError(
            f"{path} cannot be read as label names ({error}); expected a JSON list of [[seven ranks], common name]"
        ) from None


def _without_placeholders(taxa: list[Taxon], findings: Findings) -> tuple[list[Taxon], frozenset[int]]:
    """Return the taxa without placeholders, and the places of those whose own name was one."""
    found, masked = list[Taxon](), set[int]()
    for place, taxon in enumerate(taxa):
        *above, epithet = taxon.lineage
        is_unnamed = bool(epithet) and _is_unnamed_species(epithet)
        if not is_unnamed and not any(name and _is_placeholder(name) for name in above):
            found.append(taxon)
            continue
        own = taxon.rank
        cleaned = [*("" if _is_placeholder(name) else name for name in above), "" if is_unnamed else epithet]
        found.append(Taxon.of(cleaned, taxon.common_name, taxon.source_id))
        if own is not None and (not cleaned[own.depth] or (own is Rank.SPECIES and not cleaned[Rank.GENUS.depth])):
            masked.add(place)
            findings.add("labels are placeholders and never an answer", repr(taxon.taxonomic_name))
        else:
            findings.add("labels have a placeholder at a rank above, which is left empty", repr(taxon.taxonomic_name))
    return found, frozenset(masked)


@lru_cache(maxsize=1 << 16)
def _is_placeholder(name: str) -> bool:
    return parse_name(name).unread == PLACEHOLDER


def _is_unnamed_species(epithet: str) -> bool:
    """Return True for "sp." and the like; a species "bat" is one, although the word is not a genus."""
    return clean_name(epithet) == "" or epithet.lower().strip(". ") in UNNAMED_SPECIES


def _read_vectors(path: Path, count: int, dimension: int) -> NDArray[Any]:
    try:
        vectors = np.load(path, mmap_mode="r")
    except Exception as error:  # numpy evaluates the header, and for a damaged one raises what Python does
        raise LabelSetError(
            f"{path} cannot be read as label embeddings ({first_line(error)}); expected a .npy array of D x N"
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


def normalised(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return L2-normalised rows. Unusable rows stay visible: zeros stay zeros, NaN and infinity become NaN."""
    out: NDArray[np.float32] = np.zeros_like(rows_ND)
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(rows_ND, axis=1, keepdims=True)
        np.divide(rows_ND, norms, out=out, where=norms != 0)
    return out
