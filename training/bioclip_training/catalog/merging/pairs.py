"""Pairs of equal and near regions, and their list beside the catalog."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.catalog.duplicates import near_pairs
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.merging.merge import Merged
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.writing import DraftReader

_TOGETHER = 50_000
DUPLICATE_COLUMNS = ("kind", "bits", "uri", "other_uri", "name", "other_name", "split", "other_split", "fate")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of duplicate rows, i before j; ``bits`` is -1 for equal ones."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    bits: NDArray[np.int64]
    equal_groups: int
    """Distinct regions that occur more than once."""

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.i.tolist(), self.j.tolist(), self.bits.tolist(), strict=True)


def duplicate_pairs(ledger: Ledger, merged: Merged, options: BuildOptions) -> Pairs:
    """Find equal regions as pairs with the first of them, and near ones among the kept rows as all pairs.

    Reviews that are not a taxon are no rows of the collection. A near pair of equal regions is listed for the first of them
    only.
    """
    rows = np.flatnonzero(ledger.said["verdict"] == 0)
    equal_of_N = ledger.equal_numbers()
    _, first, place, counts = np.unique(equal_of_N[rows], return_index=True, return_inverse=True, return_counts=True)
    first_of_rows = rows[first[place.reshape(-1)]]
    again = first_of_rows != rows
    found = [(first_of_rows[again], rows[again], np.full(int(again.sum()), -1))]
    if options.near_distance:
        looked, hashes_NB, colours_NC = ledger.looks()
        kept = merged.kept_N[looked]
        looked = looked[kept]
        for i, j, bits in near_pairs(hashes_NB[kept], colours_NC[kept], options.near_distance):
            other = equal_of_N[looked[i]] != equal_of_N[looked[j]]
            found.append((looked[i][other], looked[j][other], bits[other]))
    i, j, bits = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    order = np.lexsort((j, i, bits >= 0))
    return Pairs(i[order], j[order], bits[order], int((counts > 1).sum()))


def list_pairs(
    work: Path,
    draft: DraftReader,
    ledger: Ledger,
    pairs: Pairs,
    words: NDArray[Any],
    gone_N: NDArray[np.bool_],
    across: NDArray[np.bool_],
    removed_kind: str,
) -> Path | None:
    """List all pairs, and add the near ones of them that were removed to the skipped rows, with the first row that they repeat.

    Args:
        gone_N: rows that are not in the catalog.
        across: the pairs of which one row was removed, since the other is held out.
        removed_kind: the reason in two words.
    """
    if not len(pairs.i):
        return None
    name_of_N = np.array([taxon.scientific_name for taxon in ledger.taxa], dtype=object)[ledger.taxon_numbers]
    listed: set[int] = set()
    file = work / "duplicates.csv"
    with (
        file.open("w", encoding="utf-8", newline="") as out,
        (work / "removed.csv").open("a", encoding="utf-8", newline="") as more,
    ):
        table, removed = csv.writer(out), csv.writer(more)
        table.writerow(DUPLICATE_COLUMNS)
        for (i, j, bits), is_across, texts in zip(pairs, across.tolist(), _texts(draft, pairs), strict=True):
            fate = {(0, 0): "kept", (1, 0): "first removed", (0, 1): "other removed", (1, 1): "both removed"}[
                int(gone_N[i]), int(gone_N[j])
            ]
            kind, shown, likeness = ("equal", "", "equal to") if bits < 0 else ("near", bits, f"within {bits} bits of")
            table.writerow(
                [kind, shown, texts[i][0], texts[j][0], name_of_N[i], name_of_N[j], words[i], words[j], fate]
            )
            gone, stays = (i, j) if gone_N[i] else (j, i)
            if is_across and gone_N[gone] and gone not in listed:
                listed.add(gone)
                reason = f"{likeness} {texts[stays][0]}, which is in {words[stays]!r}"
                removed.writerow([*texts[gone], removed_kind, reason, name_of_N[gone], words[gone]])
    return file


def _texts(draft: DraftReader, pairs: Pairs) -> Iterator[dict[int, tuple[str, ...]]]:
    """Yield uri and source of the rows of each pair, of many pairs at a time."""
    for start in range(0, len(pairs.i), _TOGETHER):
        here = slice(start, start + _TOGETHER)
        texts = draft.texts(np.concatenate([pairs.i[here], pairs.j[here]]), ("uri", "source"))
        for _ in range(len(pairs.i[here])):
            yield texts
