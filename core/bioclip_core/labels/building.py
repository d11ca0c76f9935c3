"""Building label sets from taxa, with an encoder's text tower."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.captions import Caption, captions_for_labels
from bioclip_core.encoder import Encoder
from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import FORMAT_VERSION, Block, LabelSet, table_of, taxonomic_order
from bioclip_core.labels.writing import Draft, make_label_set, taxa_digest
from bioclip_core.progress import Progress
from bioclip_core.taxonomy import Taxon

_CAPTIONS_PER_BATCH = 256
_SAVE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Built:
    """A new label set, with observations about its table."""

    labels: LabelSet
    merged: int
    """Rows with the lineage of an earlier row."""
    empty: int
    """Rows without a name at any rank."""
    resumed_at: int
    """Labels that an earlier, interrupted call had embedded."""


def build_label_set(
    taxa: Iterable[Taxon],
    encoder: Encoder,
    folder: Path,
    *,
    caption: Caption = Caption.TAXONOMIC,
    progress: Progress | None = None,
) -> Built:
    """Embed every distinct lineage with the encoder's text tower and write a label set.

    An interrupted call is resumed; a finished one is not repeated.

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
        "taxa": taxa_digest(ordered),
        "format_version": FORMAT_VERSION,
    }

    def fill(draft: Draft) -> None:
        _embed_into(draft, ordered, encoder, caption, progress)

    block = Block(0, len(ordered), "text", encoder.logit_scale, encoder.logit_bias)
    labels, resumed_at = make_label_set(
        folder, table.take(order), encoder.dimension, recipe, block, {"captions": caption.value}, fill, resume=True
    )
    return Built(labels, merged, empty, resumed_at)


def _distinct(taxa: Iterable[Taxon]) -> tuple[list[Taxon], int, int]:
    """Return one taxon per lineage, with the first common name of its rows, and the numbers of merged and empty rows."""
    found: dict[tuple[str, ...], Taxon] = {}
    merged = empty = 0
    for taxon in taxa:
        if taxon.rank is None:
            empty += 1
        elif (known := found.get(taxon.lineage)) is None:
            found[taxon.lineage] = taxon
        else:
            merged += 1
            if taxon.common_name and not known.common_name:
                found[taxon.lineage] = replace(known, common_name=taxon.common_name)
    return list(found.values()), merged, empty


def _embed_into(
    draft: Draft, taxa: Sequence[Taxon], encoder: Encoder, caption: Caption, progress: Progress | None
) -> None:
    """Fill the draft's remaining rows, and save the progress every few seconds and on an interrupt."""
    step = max(1, _CAPTIONS_PER_BATCH // len(captions_for_labels(taxa[0], caption)))
    saved_at = time.monotonic()
    row = draft.done
    try:
        for row in range(draft.done, len(taxa), step):
            batch = taxa[row : row + step]
            draft.rows_ND[row : row + len(batch)] = _mean_features(batch, encoder, caption)
            if progress:
                progress(row + len(batch), len(taxa))
            if time.monotonic() - saved_at > _SAVE_EVERY_S:
                draft.save(row + len(batch))
                saved_at = time.monotonic()
    except BaseException:  # an interrupt too
        draft.save(row)
        raise


def _mean_features(taxa: Sequence[Taxon], encoder: Encoder, caption: Caption) -> NDArray[np.float32]:
    """Return the mean of each taxon's L2-normalised caption features, L2-normalised again."""
    captions = [captions_for_labels(taxon, caption) for taxon in taxa]
    features = encoder.encode_texts([text for texts in captions for text in texts])
    return normalised(features.reshape(len(taxa), len(captions[0]), -1).mean(axis=1))


def normalised(rows_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return L2-normalised rows. Unusable rows stay visible: zeros stay zeros, NaN and infinity become NaN."""
    out: NDArray[np.float32] = np.zeros_like(rows_ND)
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(rows_ND, axis=1, keepdims=True)
        np.divide(rows_ND, norms, out=out, where=norms != 0)
    return out
