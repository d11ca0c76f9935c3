"""End of building a catalog: duplicates found, groups joined, splits decided, duplicates across splits removed, all written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Rank
from bioclip_training.catalog.duplicates import Joined, near_pairs
from bioclip_training.catalog.ledger import Ledger, compatible
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.splits import Sides, assign, is_training, joined_groups
from bioclip_training.catalog.survey import Survey
from bioclip_training.catalog.writing import parts, write_final

DUPLICATE_COLUMNS = ("kind", "bits", "uri", "other_uri", "name", "other_name", "split", "other_split", "fate")
REMOVED_KIND = "duplicate across splits"


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of duplicate rows, i before j; ``bits`` is -1 for equal ones."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    bits: NDArray[np.int64]
    equal_groups: int
    """Distinct regions that occur more than once."""

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.i.tolist(), self.j.tolist(), self.bits.tolist(), strict=True)


def finish(
    work: Path, ledger: Ledger, options: BuildOptions, known: Survey, facts: dict[str, Any], left_out: Counter[str]
) -> tuple[Path | None, dict[str, Any]]:
    """Decide groups and splits and write ``catalog.parquet``.

    Args:
        work: the folder with the draft and the list of skipped rows, to which removed duplicates are added.

    Returns:
        The list of duplicates, if there are any, and all facts that are stored with the catalog.
    """
    pairs = _duplicates(ledger, options)
    sides = _sides(ledger, pairs, options, known)
    word_of_N = np.array(sides.words, dtype=object)[sides.split_of_N]
    trained_N = np.array([is_training(word) for word in sides.words], dtype=bool)[sides.split_of_N]
    across = trained_N[pairs.i] != trained_N[pairs.j]
    removed_N = np.zeros(len(ledger), dtype=bool)
    if not options.keep_duplicates:
        removed_N[np.where(trained_N[pairs.i], pairs.i, pairs.j)[across]] = True
    duplicates = _list(work, ledger, pairs, word_of_N, removed_N, across) if len(pairs.i) else None
    left_out[REMOVED_KIND] += int(removed_N.sum())
    names, group_of_N = list(ledger.groups), sides.group_of_N
    trained_kept_N, held_kept_N = trained_N & ~removed_N, ~trained_N & ~removed_N
    facts = {
        **facts,
        "kept": int((~removed_N).sum()),
        "left_out": {kind: count for kind, count in sorted(left_out.items()) if count},
        "drawn": sides.drawn,
        "moved_to_val": sides.moved_to_val,
        "trained_above_held_species": int((_may_show_held(ledger, sides)[ledger.taxon_numbers] & trained_kept_N).sum()),
        "groups_on_both_sides": len(np.intersect1d(group_of_N[trained_kept_N], group_of_N[held_kept_N])),
        "duplicates": {**_duplicate_facts(ledger, pairs, across), "removed": int(removed_N.sum())},
    }
    texts = {
        "split": lambda here: word_of_N[here].tolist(),
        "group": lambda here: [names[group] for group in group_of_N[here].tolist()],
    }
    write_final(work / "draft.parquet", work / "catalog.parquet", ~removed_N, texts, facts)
    return duplicates, facts


def _duplicates(ledger: Ledger, options: BuildOptions) -> _Pairs:
    """Find equal regions as pairs with the first of them, and near ones as all pairs.

    A near pair of equal regions is listed for the first of them only.
    """
    equal_of_N = ledger.equal_numbers()
    _, first, place, counts = np.unique(equal_of_N, return_index=True, return_inverse=True, return_counts=True)
    first_of_N = first[place.reshape(-1)]
    again = np.flatnonzero(first_of_N != np.arange(len(ledger)))
    found = [(first_of_N[again], again, np.full(len(again), -1))]
    if options.near_distance:
        rows, hashes_NB, colours_NC = ledger.looks()
        for i, j, bits in near_pairs(hashes_NB, colours_NC, options.near_distance):
            other = equal_of_N[rows[i]] != equal_of_N[rows[j]]
            found.append((rows[i][other], rows[j][other], bits[other]))
    i, j, bits = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    order = np.lexsort((j, i, bits >= 0))
    return _Pairs(i[order], j[order], bits[order], int((counts > 1).sum()))


def _sides(ledger: Ledger, pairs: _Pairs, options: BuildOptions, known: Survey) -> Sides:
    """Join groups that share a duplicate, unless their sources' own splits set them apart, and draw the splits."""
    group_of_N, given_of_N = ledger.group_numbers, ledger.split_numbers
    groups = list(ledger.groups)
    joined = Joined(len(groups))
    for i, j, _ in pairs:
        apart = given_of_N[i] and given_of_N[j] and given_of_N[i] != given_of_N[j]
        if not apart and group_of_N[i] != group_of_N[j]:
            joined.join(int(group_of_N[i]), int(group_of_N[j]))
    return assign(
        given_of_N, list(ledger.splits), joined_groups(group_of_N, groups, joined), groups, ledger.taxon_numbers, ledger.taxa,
        val=options.val, held_species=known.held_species,
    )  # fmt: skip


def _duplicate_facts(ledger: Ledger, pairs: _Pairs, across: NDArray[np.bool_]) -> dict[str, int]:
    taxa, taxon_of_N, equal = ledger.taxa, ledger.taxon_numbers, pairs.bits < 0
    other_taxa = taxon_of_N[pairs.i] != taxon_of_N[pairs.j]
    conflicting = {i for i, j, bits in pairs if bits < 0 and not compatible(taxa[taxon_of_N[i]], taxa[taxon_of_N[j]])}
    return {
        "equal_groups": pairs.equal_groups,
        "equal_pairs_across": int((equal & across).sum()),
        "near_pairs": int((~equal).sum()),
        "near_pairs_across": int((~equal & across).sum()),
        "near_pairs_of_other_taxa": int((~equal & other_taxa).sum()),
        "conflicting": len(conflicting),
    }


def _may_show_held(ledger: Ledger, sides: Sides) -> NDArray[np.bool_]:
    """Return a mask of the taxa above the species of which an image may show a species that is kept unseen."""
    may_show = [
        taxon.rank not in (None, Rank.SPECIES)
        and any(
            taxon.scientific_name == held.name_at(taxon.rank) and compatible(taxon, held) for held in sides.held_species
        )
        for taxon in ledger.taxa
    ]
    return np.array(may_show, dtype=bool)


def _list(
    work: Path,
    ledger: Ledger,
    pairs: _Pairs,
    words: NDArray[Any],
    removed_N: NDArray[np.bool_],
    across: NDArray[np.bool_],
) -> Path:
    """List all pairs, and add each removed row to the skipped ones, with the first row that it repeats."""
    uris = _uris(work / "draft.parquet", np.concatenate([pairs.i, pairs.j]))
    name_of_N = np.array([taxon.scientific_name for taxon in ledger.taxa], dtype=object)[ledger.taxon_numbers]
    listed: set[int] = set()
    file = work / "duplicates.csv"
    with (
        file.open("w", encoding="utf-8", newline="") as out,
        (work / "removed.csv").open("a", encoding="utf-8", newline="") as more,
    ):
        table, removed = csv.writer(out), csv.writer(more)
        table.writerow(DUPLICATE_COLUMNS)
        for (i, j, bits), is_across in zip(pairs, across.tolist(), strict=True):
            fate = "first removed" if removed_N[i] else "other removed" if removed_N[j] else "kept"
            kind, shown, likeness = ("equal", "", "equal to") if bits < 0 else ("near", bits, f"within {bits} bits of")
            table.writerow([kind, shown, uris[i][0], uris[j][0], name_of_N[i], name_of_N[j], words[i], words[j], fate])
            gone, stays = (i, j) if removed_N[i] else (j, i)
            if is_across and removed_N[gone] and gone not in listed:
                listed.add(gone)
                reason = f"{likeness} {uris[stays][0]}, which is in {words[stays]!r}"
                removed.writerow([*uris[gone], REMOVED_KIND, reason, name_of_N[gone], words[gone]])
    return file


def _uris(draft: Path, rows: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    """Return uri and source of some rows of the draft."""
    wanted = np.unique(rows)
    found: dict[int, tuple[str, str]] = {}
    for start, batch in parts(draft, ["uri", "source"]):
        here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        taken = batch.take(here - start)
        texts = zip(taken.column(0).to_pylist(), taken.column(1).to_pylist(), strict=True)
        found.update(zip(here.tolist(), texts, strict=True))
    return found
