"""The end of building a catalog: duplicates found, groups joined, splits decided, what stands on two sides removed, all written."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
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
class Finished:
    """The files at the end, and what is stored with the catalog."""

    catalog: Path
    duplicates: Path | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of duplicate rows, i before j; ``bits`` is -1 for equal ones."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    bits: NDArray[np.int64]
    equal_groups: int
    """Distinct regions that stand there more than once."""


def finish(
    work: Path, ledger: Ledger, options: BuildOptions, known: Survey, facts: dict[str, Any], left_out: Counter[str]
) -> Finished:
    """Decide and write; ``work`` holds the draft and the list of what was left out, to which this adds."""
    pairs = _duplicates(ledger, options)
    sides = _sides(ledger, pairs, options, known)
    word_of_N = np.array(sides.words, dtype=object)[sides.split_of_N]
    trained_N = np.array([is_training(word) for word in sides.words], dtype=bool)[sides.split_of_N]
    across = trained_N[pairs.i] != trained_N[pairs.j]
    removed_N = np.zeros(len(ledger), dtype=bool)
    if not options.keep_duplicates:
        removed_N[np.where(trained_N[pairs.i], pairs.i, pairs.j)[across]] = True
    conflicts = _conflicts(ledger, pairs)
    uris = _uris(work / "draft.parquet", np.concatenate([pairs.i, pairs.j]))
    duplicates = _list_pairs(work, ledger, pairs, uris, word_of_N, removed_N) if len(pairs.i) else None
    _list_removed(work, ledger, pairs, uris, word_of_N, removed_N, across)
    left_out[REMOVED_KIND] += int(removed_N.sum())
    equal = pairs.bits < 0
    facts = {
        **facts,
        "kept": int((~removed_N).sum()),
        "left_out": {kind: count for kind, count in sorted(left_out.items()) if count},
        "drawn": sides.drawn,
        "moved_to_val": sides.moved_to_val,
        "trained_above_held_species": _above_held(ledger, sides, trained_N & ~removed_N),
        "groups_on_both_sides": _on_both_sides(sides, trained_N & ~removed_N, ~trained_N & ~removed_N),
        "duplicates": {
            "equal_groups": pairs.equal_groups,
            "equal_pairs_across": int((equal & across).sum()),
            "near_pairs": int((~equal).sum()),
            "near_pairs_across": int((~equal & across).sum()),
            "near_pairs_of_other_taxa": _of_other_taxa(ledger, pairs, ~equal),
            "conflicting": conflicts,
            "removed": int(removed_N.sum()),
        },
    }
    group_names = ledger.groups.values
    texts = {
        "split": lambda here: word_of_N[here].tolist(),
        "group": lambda here: [group_names[group] for group in sides.group_of_N[here].tolist()],
    }
    write_final(work / "draft.parquet", work / "catalog.parquet", ~removed_N, texts, facts)
    return Finished(work / "catalog.parquet", duplicates, facts)


def _duplicates(ledger: Ledger, options: BuildOptions) -> _Pairs:
    """Equal regions as pairs with the first of them, near ones as all pairs; a near pair of equal ones is left to the first."""
    equal_of_N = ledger.equal_numbers()
    _, first, place, counts = np.unique(equal_of_N, return_index=True, return_inverse=True, return_counts=True)
    first_of_N = first[place.reshape(-1)]
    again = np.flatnonzero(first_of_N != np.arange(len(ledger)))
    found = [(first_of_N[again], again, np.full(len(again), -1))]
    if options.near_distance:
        rows = ledger.hashed_rows()
        for i, j, bits in near_pairs(*ledger.looks(rows), options.near_distance):
            other = equal_of_N[rows[i]] != equal_of_N[rows[j]]
            found.append((rows[i][other], rows[j][other], bits[other]))
    i, j, bits = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    order = np.lexsort((j, i, bits >= 0))
    return _Pairs(i[order], j[order], bits[order], int((counts > 1).sum()))


def _sides(ledger: Ledger, pairs: _Pairs, options: BuildOptions, known: Survey) -> Sides:
    """Groups that share a duplicate are one, unless their sources' own splits set them apart."""
    group_of_N, given_of_N = ledger.group_numbers, ledger.split_numbers
    joined = Joined(len(ledger.groups.values))
    apart = (given_of_N[pairs.i] > 0) & (given_of_N[pairs.j] > 0) & (given_of_N[pairs.i] != given_of_N[pairs.j])
    for one, other in zip(group_of_N[pairs.i[~apart]].tolist(), group_of_N[pairs.j[~apart]].tolist(), strict=True):
        if one != other:
            joined.join(one, other)
    groups = joined_groups(group_of_N, ledger.groups.values, joined)
    return assign(
        given_of_N, ledger.splits.values, groups, ledger.groups.values, ledger.taxon_numbers, ledger.taxa,
        val=options.val, held_species=known.held_species,
    )  # fmt: skip


def _on_both_sides(sides: Sides, trained_N: NDArray[np.bool_], held_N: NDArray[np.bool_]) -> int:
    """Groups with rows that are trained on and rows that are not."""
    return len(np.intersect1d(sides.group_of_N[trained_N], sides.group_of_N[held_N]))


def _above_held(ledger: Ledger, sides: Sides, trained_N: NDArray[np.bool_]) -> int:
    """Rows of training that are labelled above the species and may show one that is kept unseen."""
    may_show = [
        taxon.rank is not None
        and taxon.rank is not Rank.SPECIES
        and any(
            taxon.name_at(taxon.rank) == held.name_at(taxon.rank) and compatible(taxon, held)
            for held in sides.held_species
        )
        for taxon in ledger.taxa
    ]
    return int((np.array(may_show, dtype=bool)[ledger.taxon_numbers] & trained_N).sum())


def _conflicts(ledger: Ledger, pairs: _Pairs) -> int:
    """Equal regions whose labels cannot both be true."""
    equal = pairs.bits < 0
    taxa = ledger.taxa
    firsts = {
        i
        for i, j in zip(pairs.i[equal].tolist(), pairs.j[equal].tolist(), strict=True)
        if not compatible(taxa[ledger.taxon_numbers[i]], taxa[ledger.taxon_numbers[j]])
    }
    return len(firsts)


def _of_other_taxa(ledger: Ledger, pairs: _Pairs, chosen: NDArray[np.bool_]) -> int:
    taxon_of_N = ledger.taxon_numbers
    return int((taxon_of_N[pairs.i[chosen]] != taxon_of_N[pairs.j[chosen]]).sum())


# -- lists -------------------------------------------------------------------------------------------------------------


def _uris(draft: Path, rows: NDArray[np.int64]) -> dict[int, tuple[str, str]]:
    """Uri and source of some rows of the draft."""
    wanted = np.unique(rows)
    found: dict[int, tuple[str, str]] = {}
    if not len(wanted):
        return found
    for start, batch in parts(draft, ["uri", "source"]):
        here = wanted[(wanted >= start) & (wanted < start + batch.num_rows)]
        taken = batch.take((here - start).tolist()) if len(here) else None
        if taken is not None:
            found.update(
                zip(
                    here.tolist(), zip(*(taken.column(place).to_pylist() for place in (0, 1)), strict=True), strict=True
                )
            )
    return found


def _list_pairs(
    work: Path,
    ledger: Ledger,
    pairs: _Pairs,
    uris: dict[int, tuple[str, str]],
    words: NDArray[Any],
    removed_N: NDArray[np.bool_],
) -> Path:
    names = [taxon.scientific_name for taxon in ledger.taxa]
    rows: Iterable[Sequence[Any]] = (
        (
            "equal" if bits < 0 else "near", "" if bits < 0 else bits, uris[i][0], uris[j][0], names[ledger.taxon_numbers[i]],
            names[ledger.taxon_numbers[j]], words[i], words[j],
            "first removed" if removed_N[i] else "other removed" if removed_N[j] else "kept",
        )
        for i, j, bits in zip(pairs.i.tolist(), pairs.j.tolist(), pairs.bits.tolist(), strict=True)
    )  # fmt: skip
    file = work / "duplicates.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(DUPLICATE_COLUMNS)
        table.writerows(rows)
    return file


def _list_removed(
    work: Path,
    ledger: Ledger,
    pairs: _Pairs,
    uris: dict[int, tuple[str, str]],
    words: NDArray[Any],
    removed_N: NDArray[np.bool_],
    across: NDArray[np.bool_],
) -> None:
    """Add each removed row to the list of what is not in the catalog, with the first row that it repeats."""
    listed: set[int] = set()
    with (work / "removed.csv").open("a", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        for at in np.flatnonzero(across).tolist():
            i, j, bits = int(pairs.i[at]), int(pairs.j[at]), int(pairs.bits[at])
            gone, stays = (i, j) if removed_N[i] else (j, i)
            if not removed_N[gone] or gone in listed:
                continue
            listed.add(gone)
            what = "equal to" if bits < 0 else f"within {bits} bits of"
            reason = f"{what} {uris[stays][0]}, which is in {words[stays]!r}"
            name = ledger.taxa[ledger.taxon_numbers[gone]].scientific_name
            table.writerow([*uris[gone], REMOVED_KIND, reason, name, words[gone]])
