"""Looking names up in a label set, and how much of a checklist it can name at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.names import clean_name, parse_name
from bioclip_core.taxonomy import RANKS, Rank


class NameIndex:
    """Rows of a label set by name: any rank's, a binomial, or a custom label's words; compared without case."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._books: dict[str, dict[str, list[int]]] = {}
        self._orders: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def rows(self, name: str) -> NDArray[np.int64] | None:
        """The rows under a name of any rank; None where no label has it."""
        if self._labels.is_custom:  # the user's own words: nothing about them is to be cleaned
            return self._column_rows("common_name", name.strip())
        text = clean_name(name)
        if (rows := self._binomial_rows(*text.partition(" ")[::2])) is not None:
            return rows
        written = parse_name(text)
        if written.epithet and (rows := self._binomial_rows(*written.binomial)) is not None:
            return rows
        found = [rows for rank in RANKS[:-1] if (rows := self._column_rows(rank.value, text)) is not None]
        if found:
            return np.unique(np.concatenate(found))
        return self._binomial_rows(*written.read_as_binomial().binomial) if written.reading else None  # Turdus Merula

    def _binomial_rows(self, genus: str, epithet: str) -> NDArray[np.int64] | None:
        of_genus = self._column_rows("genus", genus)
        codes = self._codes("species").get(epithet.lower())
        if of_genus is None or codes is None:
            return None
        rows = of_genus[np.isin(self._labels.codes("species")[of_genus], codes)]
        return rows if len(rows) else None

    def _column_rows(self, column: str, name: str) -> NDArray[np.int64] | None:
        codes = self._codes(column).get(name.lower())
        if codes is None:
            return None
        order, bounds = self._sorted(column)
        return np.sort(np.concatenate([order[bounds[code] : bounds[code + 1]] for code in codes]))

    def _codes(self, column: str) -> dict[str, list[int]]:
        if column not in self._books:
            self._books[column] = _book(self._labels, column)
        return self._books[column]

    def _sorted(self, column: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows ordered by code, and where each code begins, so that one look-up costs no pass over N rows."""
        if column not in self._orders:
            codes = self._labels.codes(column)
            size = len(self._labels.column(column).dictionary)
            self._orders[column] = (
                np.argsort(codes, kind="stable"),
                np.searchsorted(np.sort(codes), np.arange(size + 1)),
            )
        return self._orders[column]


def subset_of(labels: LabelSet, taxa: Iterable[str]) -> LabelSet:
    """Keep the labels under any of these taxa; the embeddings are shared, the others cannot be answered.

    Args:
        labels: the whole set.
        taxa: names of any rank ("Acer", "Acer palmatum", "Sapindaceae"), compared without case; for custom labels their words.

    Raises:
        LabelSetError: if a name is in no label of the set.
    """
    names = [name for name in taxa if name.strip()]
    index = NameIndex(labels)
    kept_N = np.zeros(len(labels), dtype=bool)
    missing = []
    for name in names:
        rows = index.rows(name)
        if rows is None:
            missing.append(name)
        else:
            kept_N[rows] = True
    if missing or not (kept_N & labels.kept_N).any():
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise LabelSetError(
            f"not in the label set: {shown or 'any of the taxa given'}; look names up with: bioclip-plugin labels search NAME, "
            "or see what a whole list has with: bioclip-plugin labels doctor --checklist FILE"
        )
    return LabelSet(
        labels.table, labels.embeddings_ND, labels.manifest, kept_N=kept_N & labels.kept_N, folder=labels.folder
    )


def _book(labels: LabelSet, column: str) -> dict[str, list[int]]:
    """The codes of each name in lower case: several where names differ in nothing else."""
    book: dict[str, list[int]] = {}
    for code, name in enumerate(labels.column(column).dictionary.to_pylist()):
        if name:
            book.setdefault(name.lower(), []).append(code)
    return book


@dataclass(frozen=True, slots=True)
class Finding:
    """What a label set can say of one name of a checklist."""

    name: str
    outcome: str
    """``named``, ``masked`` (its vector is unusable), ``genus only``, ``ambiguous`` (several lineages) or ``missing``."""
    detail: str = ""


def check_names(labels: LabelSet, names: Iterable[str]) -> list[Finding]:
    """How much of a checklist a label set can name, a finding a name, in order."""
    index = NameIndex(labels)
    return [_finding(labels, index, name) for name in names if (name.strip() if labels.is_custom else clean_name(name))]


def _finding(labels: LabelSet, index: NameIndex, name: str) -> Finding:
    rows = index.rows(name)
    genus, epithet = parse_name(name).binomial
    if rows is None:
        near = index.rows(genus) if epithet else None
        if near is not None:
            return Finding(name, "genus only", f"{genus} has {len(near)} labels")
        return Finding(name, "missing")
    if not labels.usable_N[rows].any():
        return Finding(name, "masked", "its embedding is zero, not a number, or another label's")
    lineages = _lineages(labels, rows, Rank.SPECIES if epithet else None, name)
    if len(lineages) > 1:
        return Finding(name, "ambiguous", "; ".join(sorted(lineages)[:3]))
    return Finding(name, "named")


def _lineages(labels: LabelSet, rows: NDArray[np.int64], rank: Rank | None, name: str) -> set[str]:
    """The distinct paths that bear the name: one for a taxon, several for homonyms."""
    found = set()
    for row in rows[:1000]:
        taxon = labels.taxon(int(row))
        at = rank or next(
            (r for r in RANKS if taxon.lineage[r.depth].lower() == clean_name(name).lower()), Rank.SPECIES
        )
        found.add(taxon.truncated(at).taxonomic_name or taxon.common_name)
    return found


@dataclass(frozen=True, slots=True)
class Health:
    """What is odd about a label set: counts, and a few examples of each."""

    counts: dict[str, int]
    examples: dict[str, list[str]]


def health_of(labels: LabelSet) -> Health:
    """Look for what spoils answers: unusable vectors, names with several parents, holes in lineages, epithets alone."""
    manifest = labels.manifest
    counts: Counter[str] = Counter({f"masked: {reason}": n for reason, n in manifest.get("masked_by", {}).items() if n})
    examples: dict[str, list[str]] = {}
    if not labels.is_custom:
        for problem, rows in (
            ("hole in the lineage", _holes(labels)),
            ("epithet without genus", _bare_epithets(labels)),
        ):
            if len(rows):
                counts[problem] = len(rows)
                examples[problem] = [labels.taxon(int(row)).taxonomic_name for row in rows[:5]]
        for rank in (Rank.ORDER, Rank.FAMILY, Rank.GENUS):
            names = _several_parents(labels, rank)
            if names:
                problem = f"{rank} under several parents"
                counts[problem], examples[problem] = len(names), names[:5]
    return Health(dict(counts), examples)


def _named(labels: LabelSet, rank: Rank) -> NDArray[np.bool_]:
    column = labels.column(rank.value)
    return np.asarray(labels.codes(rank.value) != int(column.dictionary.index("").as_py()))


def _holes(labels: LabelSet) -> NDArray[np.int64]:
    """Rows with a name below a rank that has none."""
    below = np.zeros(len(labels), dtype=bool)
    hole = np.zeros(len(labels), dtype=bool)
    for rank in reversed(RANKS):
        named = _named(labels, rank)
        hole |= below & ~named
        below |= named
    return np.flatnonzero(hole)


def _bare_epithets(labels: LabelSet) -> NDArray[np.int64]:
    return np.flatnonzero(_named(labels, Rank.SPECIES) & ~_named(labels, Rank.GENUS))


def _several_parents(labels: LabelSet, rank: Rank) -> list[str]:
    """Names that stand under more than one path: homonyms across kingdoms, or one taxon placed twice."""
    spans = labels.spans(rank.value)
    codes = labels.codes(rank.value)[spans.starts_S[spans.named_S]]
    values, counts = np.unique(codes, return_counts=True)
    dictionary = labels.column(rank.value).dictionary
    return sorted(dictionary[int(code)].as_py() for code in values[counts > 1])
