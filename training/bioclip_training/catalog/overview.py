"""Numbers of a catalog: the same at the end of ``catalog build`` and in ``catalog show``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioclip_core.taxonomy import PLAIN_LABEL, RANKS, Taxon
from bioclip_training.catalog.enough_dev import enough_dev
from bioclip_training.catalog.ledger import compatible
from bioclip_training.catalog.naming.changes import kinds_of
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.splits import is_training
from bioclip_training.evidence.minima import Evidence

_HELD_OUT = ("dev", "val", "test", "unseen")


@dataclass(frozen=True, slots=True)
class TaxonCount:
    """Number of rows and groups of a taxon in each split."""

    taxon: Taxon
    rows: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Overview:
    """A catalog in numbers."""

    rows: int
    images: int
    """Distinct files."""
    by_image: bool
    """True if no group holds more than one image."""
    splits: Mapping[str, tuple[int, int, int]]
    """Rows, groups and taxa of each split."""
    taxa_by_rank: Mapping[str, int]
    """Number of labels at each rank."""
    taxa: tuple[TaxonCount, ...]
    single: tuple[Taxon, ...]
    """Taxa with one row, or all rows in one group, in training: none of them can be held out."""
    not_trained: tuple[Taxon, ...]
    """Taxa of held-out rows without a training row."""
    without_common_name: int
    scattered: tuple[str, ...]
    """Names under several lineages which could be one: a rank is missing in some of them."""
    names_changed: int
    changes: tuple[tuple[str, int, str], ...]
    """Kinds of changed names, each with its rows and its first example, the most frequent first."""
    evidence: tuple[Evidence, ...]
    """What the images of ``dev`` and ``val`` can show."""
    facts: Mapping[str, Any]
    enough_dev: float | None = None
    """Share of ``train`` whose ``dev`` would have enough groups to choose on, where the usual share has too few; None if none has."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "rows": self.rows,
            "images": self.images,
            "splits": {
                word: {"rows": rows, "groups": groups, "taxa": taxa}
                for word, (rows, groups, taxa) in self.splits.items()
            },
            "taxa": len(self.taxa),
            "taxa_by_rank": dict(self.taxa_by_rank),
            "single_in_train": [taxon.scientific_name for taxon in self.single],
            "not_trained": [taxon.scientific_name for taxon in self.not_trained],
            "taxa_without_common_name": self.without_common_name,
            "names_under_several_lineages": list(self.scattered),
            "names_changed": self.names_changed,
            "names_changed_by_kind": {kind: {"rows": rows, "first": first} for kind, rows, first in self.changes},
            "evidence": {found.part: found.as_dict() for found in self.evidence},
            "build": dict(self.facts),
        }


def overview(catalog: Catalog) -> Overview:
    """Count a catalog."""
    from pyarrow import compute

    changes = compute.list_value_length(catalog.table.column("changes"))
    taxa, taxon_of_N = catalog.taxa, catalog.taxon_of_N
    split_of_N, words = catalog.numbered("split")
    group_of_N, names = catalog.numbered("group")
    if "" in names:  # a row without a group stands alone
        alone = np.flatnonzero(group_of_N == names.index(""))
        group_of_N[alone] = len(names) + np.arange(len(alone))
    shape = (len(taxa), len(words))
    counts_TW = _counts(taxon_of_N, split_of_N, shape)
    distinct = np.unique(np.stack([taxon_of_N, split_of_N, group_of_N]), axis=1)
    groups_TW = _counts(distinct[0], distinct[1], shape)
    trained = np.array([is_training(word) for word in words], dtype=bool)
    in_train_T, groups_T = counts_TW[:, trained].sum(axis=1), groups_TW[:, trained].sum(axis=1)
    ranks = Counter(PLAIN_LABEL if taxon.is_plain else str(taxon.rank or "") for taxon in taxa)
    sha_of_N, shas = catalog.numbered("sha256")
    return Overview(
        rows=len(catalog),
        images=len(shas),
        by_image=len(np.unique(group_of_N * max(1, len(shas)) + sha_of_N)) == len(np.unique(group_of_N)),
        splits={
            words[at]: (
                int(counts_TW[:, at].sum()),
                len(np.unique(group_of_N[split_of_N == at])),
                int((counts_TW[:, at] > 0).sum()),
            )
            for at in sorted(range(len(words)), key=lambda at: _reading_order(words[at]))
        },
        taxa_by_rank={name: ranks[name] for name in (*(rank.value for rank in RANKS), PLAIN_LABEL) if ranks[name]},
        taxa=tuple(
            TaxonCount(taxon, *({word: n for word, n in zip(words, row.tolist(), strict=True) if n} for row in rows))
            for taxon, *rows in zip(taxa, counts_TW, groups_TW, strict=True)
        ),
        single=tuple(taxa[place] for place in np.flatnonzero((in_train_T > 0) & (groups_T == 1)).tolist()),
        not_trained=tuple(taxa[place] for place in np.flatnonzero(in_train_T == 0).tolist()),
        scattered=tuple(_scattered(taxa)),
        without_common_name=sum(not taxon.common_name for taxon in taxa),
        names_changed=int(compute.sum(compute.greater(changes, 0)).as_py() or 0),
        changes=tuple(_kinds_of_changes(catalog)),
        evidence=tuple(
            Evidence.of(part, [catalog.group(row) for row in catalog.rows_of(part).tolist()]) for part in ("dev", "val")
        ),
        facts=catalog.facts,
        enough_dev=_enough_dev(catalog),
    )


def _enough_dev(catalog: Catalog) -> float | None:
    dev = Evidence.of("dev", [catalog.group(row) for row in catalog.rows_of("dev").tolist()])
    return None if dev.can_choose else enough_dev(catalog, catalog.dev_fraction)


def _reading_order(word: str) -> tuple[bool, int, str]:
    """Sort training first, then the held-out splits."""
    return (not is_training(word), _HELD_OUT.index(word) if word in _HELD_OUT else len(_HELD_OUT), word)


def _scattered(taxa: Sequence[Taxon]) -> Iterator[str]:
    by_name: dict[tuple[str, str], list[Taxon]] = {}
    for taxon in taxa:
        by_name.setdefault((taxon.rank or "", taxon.scientific_name), []).append(taxon)
    for (_, name), same in sorted(by_name.items()):
        if any(compatible(one, other) for place, one in enumerate(same) for other in same[:place]):
            yield name


def _kinds_of_changes(catalog: Catalog) -> Iterator[tuple[str, int, str]]:
    rows, first = Counter[str](), dict[str, str]()
    for written, name, changes, count in changes_of(catalog):
        for kind in kinds_of(changes):
            rows[kind] += count
            first.setdefault(kind, f"{written!r} → {name!r}")
    yield from ((kind, count, first[kind]) for kind, count in rows.most_common())


def changes_of(catalog: Catalog) -> Iterator[tuple[str, str, tuple[str, ...], int]]:
    """Yield each distinct change, the most frequent first: the name as written, the catalog's name, the changes, and its rows."""
    written, taxon_of_N = catalog.column("verbatim_name"), catalog.taxon_of_N
    names = [taxon.scientific_name for taxon in catalog.taxa]
    found = Counter(
        (written[row], names[taxon_of_N[row]], tuple(changes))
        for row, changes in enumerate(catalog.table.column("changes").to_pylist())
        if changes
    )
    for change, rows in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        yield *change, rows


def _counts(
    rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any], shape: tuple[int, int]
) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
