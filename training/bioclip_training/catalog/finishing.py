"""End of building a catalog: labels decided, duplicates found, groups joined, splits drawn, duplicates across them removed, all written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Rank
from bioclip_training.catalog.duplicates import Joined
from bioclip_training.catalog.evidence import Standing
from bioclip_training.catalog.ledger import Ledger, compatible
from bioclip_training.catalog.merging.merge import Fate, Merged, merged
from bioclip_training.catalog.merging.pairs import Pairs, duplicate_pairs, list_pairs
from bioclip_training.catalog.merging.relabelling import Relabelling
from bioclip_training.catalog.merging.tracing import KINDS, Trace, write_trace
from bioclip_training.catalog.options import BuildOptions
from bioclip_training.catalog.skipped import Skipped
from bioclip_training.catalog.splits import Sides, assign, is_training, joined_groups
from bioclip_training.catalog.survey import Survey
from bioclip_training.catalog.writing import DraftReader, write_final

REMOVED_KIND = "duplicate across splits"


@dataclass(frozen=True, slots=True)
class Lists:
    """Files beside a catalog; None for one without rows."""

    duplicates: Path | None
    merged: Path | None


def finish(
    work: Path, ledger: Ledger, options: BuildOptions, known: Survey, facts: dict[str, Any], skipped: Skipped
) -> tuple[Lists, dict[str, Any]]:
    """Decide labels, groups and splits and write ``catalog.parquet``.

    Args:
        work: the folder with the draft and the list of skipped rows, to which the other ones are added that are not kept.
        skipped: the counts of skipped rows, to which these are added.

    Returns:
        The lists of duplicates and of replaced labels, and all facts that are stored with the catalog.

    Raises:
        SourceError: if no row is left.
    """
    draft = work / "draft.parquet"
    made = merged(ledger, options)
    with DraftReader(draft) as reader:
        trace = Trace(reader, ledger, made)
        if not made.kept_N.any():
            _count_first(trace, made, skipped)
            raise skipped.nothing_left()
        pairs = duplicate_pairs(ledger, made, options)
        sides = _sides(ledger, made, pairs, options, known)
        done = _remove_across(made, sides, pairs, options)
        word_of_N = np.array(sides.words, dtype=object)[sides.split_of_N]
        traced = write_trace(work, trace, word_of_N, done.held_back_N, REMOVED_KIND)
        listed = list_pairs(work, reader, ledger, pairs, word_of_N, done.gone_N, done.across, REMOVED_KIND)
        _count(made, done, skipped)
        facts = {**facts, **_facts(ledger, made, sides, pairs, done, skipped)}
        names, group_of_N = list(ledger.groups), sides.group_of_N
        texts = {
            "split": lambda here: word_of_N[here].tolist(),
            "group": lambda here: [names[group] for group in group_of_N[here].tolist()],
        }
        labels = Relabelling(reader, ledger, made, trace)
        write_final(draft, work / "catalog.parquet", ~done.gone_N, texts, facts, labels.amended)
    return Lists(listed, traced), facts


@dataclass(frozen=True, slots=True)
class _Removed:
    """Rows that leave training for an equal or nearly equal one that is held out."""

    trained_N: NDArray[np.bool_]
    held_back_N: NDArray[np.bool_]
    """Rows that were merged with a held-out row of the same image."""
    removed_N: NDArray[np.bool_]
    """Kept rows that leave training."""
    gone_N: NDArray[np.bool_]
    """All rows that are not in the catalog."""
    across: NDArray[np.bool_]
    """The pairs that lie on both sides."""


def _remove_across(made: Merged, sides: Sides, pairs: Pairs, options: BuildOptions) -> _Removed:
    kept_N = made.kept_N
    trained_N = np.array([is_training(word) for word in sides.words], dtype=bool)[sides.split_of_N]
    held_back_N = (made.fate_of_N == Fate.REPEATED) & trained_N & kept_N[made.by_of_N] & ~trained_N[made.by_of_N]
    across = (trained_N[pairs.i] != trained_N[pairs.j]) & kept_N[pairs.i] & kept_N[pairs.j]
    removed_N = np.zeros(len(kept_N), dtype=bool)
    if not options.keep_duplicates:
        removed_N[np.where(trained_N[pairs.i], pairs.i, pairs.j)[across]] = True
    return _Removed(trained_N, held_back_N, removed_N, ~kept_N | removed_N, across)


def _facts(
    ledger: Ledger, made: Merged, sides: Sides, pairs: Pairs, done: _Removed, skipped: Skipped
) -> dict[str, Any]:
    """Return what is stored with the catalog about its rows."""
    taxon_of_N, group_of_N = ledger.taxon_numbers[made.label_of_N], sides.group_of_N
    trained_kept_N, held_kept_N = done.trained_N & ~done.gone_N, ~done.trained_N & ~done.gone_N
    equal_across = (pairs.bits < 0) & (done.across | done.held_back_N[pairs.i] | done.held_back_N[pairs.j])
    return {
        "kept": int((~done.gone_N).sum()),
        "left_out": {kind: count for kind, count in sorted(skipped.kinds.items()) if count},
        "merging": _merging_facts(ledger, made),
        "drawn": sides.drawn,
        "moved_to_held_out": sides.moved_to_held_out,
        "moved_to_val": sides.moved_to_val,
        "trained_above_held_species": int((_may_show_held(ledger, sides)[taxon_of_N] & trained_kept_N).sum()),
        "groups_on_both_sides": len(np.intersect1d(group_of_N[trained_kept_N], group_of_N[held_kept_N])),
        "duplicates": {
            "equal_groups": pairs.equal_groups,
            "equal_pairs_across": int(equal_across.sum()),
            **_near_facts(taxon_of_N, pairs, done.across),
            "removed": int((done.removed_N | done.held_back_N).sum()),
        },
    }


def _count_first(trace: Trace, made: Merged, skipped: Skipped) -> None:
    """Count the rows of a collection of which none is left, each reason with its first row."""
    for fate, kind in KINDS.items():
        rows = np.flatnonzero(made.fate_of_N == fate)
        for one in trace.traced(rows[:1]):
            skipped.add(kind, one.removed[0], one.removed[3])
            skipped.kinds[kind] += len(rows) - 1


def _count(made: Merged, done: _Removed, skipped: Skipped) -> None:
    for fate, kind in KINDS.items():
        skipped.kinds[kind] += int(((made.fate_of_N == fate) & ~done.held_back_N).sum())
    skipped.kinds[REMOVED_KIND] += int((done.removed_N | done.held_back_N).sum())


def _merging_facts(ledger: Ledger, made: Merged) -> dict[str, int | bool]:
    taxon_of_N = ledger.taxon_numbers
    replaced_N = (made.fate_of_N == Fate.OVERRULED) | (made.kept_N & (taxon_of_N != taxon_of_N[made.label_of_N]))
    return {
        "replaced_labels": int(replaced_N.sum()),
        "undecided_images": made.undecided_images,
        "undecided_between_sources": made.is_between_sources,
        "loose_occurrences": made.loose_occurrences,
    }


def _sides(ledger: Ledger, made: Merged, pairs: Pairs, options: BuildOptions, known: Survey) -> Sides:
    """Join groups that share a duplicate, unless their sources' own splits set them apart, and draw the splits.

    Rows that are not kept have their own split, or that of the row that stays for them.
    """
    kept = np.flatnonzero(made.kept_N)
    groups, group_of_N = list(ledger.groups), ledger.group_numbers
    joined = Joined(len(groups))
    for i, j in _belonging_together(ledger, made, pairs):
        apart = made.split_of_N[i] and made.split_of_N[j] and made.split_of_N[i] != made.split_of_N[j]
        if not apart and group_of_N[i] != group_of_N[j]:
            joined.join(int(group_of_N[i]), int(group_of_N[j]))
    of_table_N = ledger.said["standing"] < Standing.EVENT_REVIEW
    of_G = joined_groups(groups, joined, np.unique(group_of_N[of_table_N]).tolist())
    held_out = {
        groups[of_G[ledger.groups[name]]]: word for name, word in known.held_out_groups.items() if name in ledger.groups
    }
    own = assign(
        made.split_of_N[kept], list(ledger.splits), of_G[group_of_N[kept]], groups,
        ledger.taxon_numbers[made.label_of_N[kept]], ledger.taxa, val=options.val, held_species=known.held_species,
        held_out_groups=held_out,
    )  # fmt: skip
    split_of_N = made.split_of_N.copy()
    split_of_N[kept], group_of_N[kept] = own.split_of_N, own.group_of_N
    unsplit = (split_of_N == 0) & ~made.kept_N
    split_of_N[unsplit] = split_of_N[made.by_of_N[unsplit]]
    return replace(own, split_of_N=split_of_N, group_of_N=group_of_N)


def _belonging_together(ledger: Ledger, made: Merged, pairs: Pairs) -> list[tuple[int, int]]:
    """Return pairs of rows whose groups are one: near duplicates, rows of one region, rows with one label by their occurrence."""
    same = np.flatnonzero(np.isin(made.fate_of_N, (Fate.REPEATED, Fate.OVERRULED, Fate.OF_BOXES)))
    labelled = np.flatnonzero(made.kept_N & (made.label_of_N != np.arange(len(ledger))))
    both = np.flatnonzero(made.kept_N[pairs.i] & made.kept_N[pairs.j])
    first = np.concatenate([pairs.i[both], same, labelled])
    other = np.concatenate([pairs.j[both], made.by_of_N[same], made.label_of_N[labelled]])
    return list(zip(first.tolist(), other.tolist(), strict=True))


def _near_facts(taxon_of_N: NDArray[np.int64], pairs: Pairs, across: NDArray[np.bool_]) -> dict[str, int]:
    near = pairs.bits >= 0
    return {
        "near_pairs": int(near.sum()),
        "near_pairs_across": int((near & across).sum()),
        "near_pairs_of_other_taxa": int((near & (taxon_of_N[pairs.i] != taxon_of_N[pairs.j])).sum()),
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
