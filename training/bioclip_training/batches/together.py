"""Collections that are trained on together: one label per taxon, however completely each of them writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bioclip_core.lineages import Lineage, join_lineages
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.data import LabelledImages


def one_label_each(parts: Sequence[LabelledImages]) -> list[str]:
    """Give the taxa of collections one lineage and one common name each, in place; return what is to be said of it.

    The rule is that of :func:`bioclip_core.lineages.join_lineages`; of several common names the one with most images counts.
    """
    parts = [part for part in parts if part.taxa]  # images without taxa have no labels to join
    joined = join_lineages(taxon.lineage for part in parts for taxon in part.taxa)
    common = _common_names(parts, joined.of)
    for part in parts:
        _relabel(
            part, [Taxon.of(joined.of[taxon.lineage], common.get(joined.of[taxon.lineage], "")) for taxon in part.taxa]
        )
    return joined.lines("to make them one, build the catalogs with --taxonomy FILE")


def same_labels(part: LabelledImages, known: LabelledImages) -> None:
    """Give another part of a collection the labels of one that :func:`one_label_each` has seen, in place."""
    if known.numbers_T is not None:
        part.taxon_of_N = known.numbers_T[part.taxon_of_N]
    part.taxa, part.numbers_T = known.taxa, known.numbers_T


def _relabel(part: LabelledImages, taxa: Sequence[Taxon]) -> None:
    """Set the taxa of a part, of which some may be equal now."""
    distinct = {taxon.lineage: taxon for taxon in taxa}
    order = sorted(distinct)
    place = {lineage: number for number, lineage in enumerate(order)}
    numbers_T: NDArray[np.int64] = np.array([place[taxon.lineage] for taxon in taxa], dtype=np.int64)
    part.taxon_of_N = numbers_T[part.taxon_of_N]
    part.taxa, part.numbers_T = tuple(distinct[lineage] for lineage in order), numbers_T


def _common_names(parts: Sequence[LabelledImages], of: dict[Lineage, Lineage]) -> dict[Lineage, str]:
    """Return the common name of each joined lineage that has one."""
    found: dict[Lineage, Counter[str]] = {}
    for part in parts:
        counts = np.bincount(part.taxon_of_N, minlength=len(part.taxa)).tolist()
        for taxon, images in zip(part.taxa, counts, strict=True):
            if taxon.common_name:
                found.setdefault(of[taxon.lineage], Counter())[taxon.common_name] += images
    return {lineage: names.most_common(1)[0][0] for lineage, names in found.items()}
