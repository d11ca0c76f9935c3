"""What a catalog holds, in numbers: the same at the end of ``catalog build`` and in ``catalog show``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.ledger import compatible
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.splits import is_training

_HELD_OUT = ("dev", "val", "test", "unseen")


@dataclass(frozen=True, slots=True)
class TaxonCount:
    """How many rows and groups a taxon has in each split."""

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
    """No group holds more than one image."""
    splits: Mapping[str, tuple[int, int, int]]
    """For each split its rows, groups and taxa."""
    taxa_by_rank: Mapping[str, int]
    """The labels by their own rank."""
    taxa: tuple[TaxonCount, ...]
    single: tuple[Taxon, ...]
    """Taxa with one row, or all rows in one group, in training: nothing of them can be held out."""
    not_trained: tuple[Taxon, ...]
    """Taxa of held-out rows that no training row has."""
    without_common_name: int
    scattered: tuple[str, ...]
    """Names that stand under several lineages which could be one: a rank is missing in some of them."""
    names_changed: int
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
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
            "build": dict(self.facts),
        }


def overview(catalog: Catalog) -> Overview:
    """Count a catalog."""
    from pyarrow import compute

    changes = compute.list_value_length(catalog.table.column("changes"))
    taxa = catalog.taxa
    split_of_N, words = catalog.numbered("split")
    group_of_N, names = catalog.numbered("group")
    if "" in names:  # a row without a group stands alone
        alone = np.flatnonzero(group_of_N == names.index(""))
        group_of_N[alone] = len(names) + np.arange(len(alone))
    taxon_of_N = catalog.taxon_of_N
    counts = _counts(taxon_of_N, split_of_N, len(taxa), len(words))
    distinct = np.unique(np.stack([taxon_of_N, split_of_N, group_of_N]), axis=1)
    groups = _counts(distinct[0], distinct[1], len(taxa), len(words))
    trained = np.array([is_training(word) for word in words], dtype=bool)
    in_train_T, groups_T = counts[:, trained].sum(axis=1), groups[:, trained].sum(axis=1)
    ranks = Counter(taxon.rank.value if taxon.rank else "none" for taxon in taxa)
    sha_of_N, shas = catalog.numbered("sha256")
    pairs = np.unique(group_of_N * max(1, len(shas)) + sha_of_N)
    return Overview(
        rows=len(catalog),
        images=len(shas),
        by_image=len(pairs) == len(np.unique(group_of_N)),
        splits={
            word: (
                int(counts[:, at].sum()),
                len(np.unique(group_of_N[split_of_N == at])),
                int((counts[:, at] > 0).sum()),
            )
            for word, at in sorted(
                ((word, at) for at, word in enumerate(words)), key=lambda one: _reading_order(one[0])
            )
        },
        taxa_by_rank={rank.value: ranks[rank.value] for rank in RANKS if ranks[rank.value]},
        taxa=tuple(
            TaxonCount(taxon, _named(counts[place], words), _named(groups[place], words))
            for place, taxon in enumerate(taxa)
        ),
        single=tuple(taxa[place] for place in np.flatnonzero((in_train_T > 0) & (groups_T == 1)).tolist()),
        not_trained=tuple(taxa[place] for place in np.flatnonzero(in_train_T == 0).tolist()),
        scattered=tuple(_scattered(taxa)),
        without_common_name=sum(not taxon.common_name for taxon in taxa),
        names_changed=int(compute.sum(compute.greater(changes, 0)).as_py() or 0),
        facts=catalog.facts,
    )


def _reading_order(word: str) -> tuple[bool, int, str]:
    """Training first, then what is held out."""
    return (not is_training(word), _HELD_OUT.index(word) if word in _HELD_OUT else len(_HELD_OUT), word)


def _scattered(taxa: Sequence[Taxon]) -> Iterator[str]:
    by_name: dict[tuple[str, str], list[Taxon]] = {}
    for taxon in taxa:
        by_name.setdefault((taxon.rank or "", taxon.scientific_name), []).append(taxon)
    for (_, name), same in sorted(by_name.items()):
        if any(compatible(one, other) for place, one in enumerate(same) for other in same[:place]):
            yield name


def changes_of(catalog: Catalog) -> Iterator[tuple[str, str, tuple[str, ...], int]]:
    """Each distinct change: the name as written, the one that stands, what was done, and on how many rows; most frequent first."""
    written = catalog.column("verbatim_name")
    said = catalog.table.column("changes").to_pylist()
    taxon_of_N = catalog.taxon_of_N
    names = [taxon.scientific_name for taxon in catalog.taxa]
    found = Counter(
        (written[row], names[taxon_of_N[row]], tuple(changes)) for row, changes in enumerate(said) if changes
    )
    for (verbatim, name, changes), rows in sorted(found.items(), key=lambda one: (-one[1], one[0])):
        yield verbatim, name, changes, rows


def _counts(
    rows: np.ndarray[Any, Any], columns: np.ndarray[Any, Any], height: int, width: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width)


def _named(counts: np.ndarray[Any, Any], words: Sequence[str]) -> dict[str, int]:
    return {word: int(count) for word, count in zip(words, counts.tolist(), strict=True) if count}
