"""Looking up names and parts of names in a label set, and checking how much of a checklist it can name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.names import clean_name, folded, parse_name
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import RANKS, Rank

_HOMONYM_ROWS = 1000
"""Rows under one name that are searched for different lineages."""


class NameIndex:
    """The rows of a label set by name: of any rank, a binomial, or the words of a custom label; case does not matter."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._column = cache(partial(_Column, labels))

    def rows(self, name: str) -> NDArray[np.int64] | None:
        """Return the rows under a name of any rank; None if the label set does not have it."""
        if self._labels.is_custom:  # the user's own words are not cleaned
            return self._column("common_name").rows(name.strip())
        text = clean_name(name)
        written = parse_name(text)
        genus, _, epithet = text.partition(" ")
        for binomial in ((genus, epithet), written.binomial, written.read_as_binomial().binomial):
            if binomial[1] and (rows := self._binomial_rows(*binomial)) is not None:
                return rows
        alone = written.binomial[0] if not (written.epithet or written.doubt) else ""  # "Acer L."
        for word in dict.fromkeys((text, alone)):
            if found := [
                rows for rank in RANKS[:-1] if word and (rows := self._column(rank.value).rows(word)) is not None
            ]:
                return np.unique(np.concatenate(found))
        return self._plain.get(" ".join(name.lower().split()))

    @property
    def has_words(self) -> bool:
        """True if the label set has labels without a taxonomy: custom or plain ones."""
        return self._labels.is_custom or bool(self._plain)

    @cached_property
    def _plain(self) -> dict[str, NDArray[np.int64]]:
        """Rows of plain labels by their words."""
        return {
            self._labels.taxon(row).words.lower(): np.array([row], dtype=np.int64) for row in self._labels.plain_rows()
        }

    def _binomial_rows(self, genus: str, epithet: str) -> NDArray[np.int64] | None:
        of_genus = self._column("genus").rows(genus)
        codes = self._column("species").codes.get(folded(epithet))
        if of_genus is None or codes is None:
            return None
        rows = of_genus[np.isin(self._labels.codes["species"][of_genus], codes)]
        return rows if len(rows) else None


class _Column:
    """One column of a label set, with its rows sorted by code so that a lookup does not read N rows."""

    def __init__(self, labels: LabelSet, name: str) -> None:
        codes, names = labels.codes[name], labels.dictionaries[name].to_pylist()
        self.codes: dict[str, list[int]] = {}
        """Codes of each name by its key: several for names that differ only in case, accents or hyphens."""
        self._key = str.lower if name == "common_name" else folded
        for code, text in enumerate(names):
            if text:
                self.codes.setdefault(self._key(text), []).append(code)
        self._order = np.argsort(codes, kind="stable")
        self._bounds = np.searchsorted(np.sort(codes), np.arange(len(names) + 1))

    def rows(self, name: str) -> NDArray[np.int64] | None:
        codes = self.codes.get(self._key(name))
        if codes is None:
            return None
        return np.sort(np.concatenate([self._order[self._bounds[code] : self._bounds[code + 1]] for code in codes]))


def find_labels(labels: LabelSet, text: str) -> list[tuple[str, int, int]]:
    """Find the taxa with a text in their names, in any letter case.

    A species is found by its epithet, by parts of both words of its binomial ("acer palm"), and by its common name.

    Returns:
        Level, first row and number of rows of each: whole names first, then beginnings of names or words, then other parts.
    """
    wanted = " ".join(text.lower().split())
    found = []
    has = cache(partial(_names_with, labels))
    for order, level in enumerate(labels.levels if wanted else ()):
        spans = labels.spans(level)
        for place in np.flatnonzero(_matches(labels, level, wanted, has)):
            start, stop = int(spans.starts_S[place]), int(spans.ends_S[place])
            found.append((_distance(labels, level, start, wanted), order, start, stop - start))
    return [(labels.levels[order], start, rows) for _, order, start, rows in sorted(found)]


def _names_with(labels: LabelSet, column: str, text: str) -> NDArray[np.bool_]:
    """Return for each distinct name of a column True if it has a text in lower case."""
    import pyarrow.compute as pc

    if column not in labels.lowered:
        labels.lowered[column] = pc.utf8_lower(labels.dictionaries[column])
    found = pc.match_substring(labels.lowered[column], pattern=text)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _matches(
    labels: LabelSet, level: str, wanted: str, names_with: Callable[[str, str], NDArray[np.bool_]]
) -> NDArray[np.bool_]:
    """Return True for each span of a level with the text in a name that belongs to this level."""
    spans = labels.spans(level)

    def has(column: str, text: str) -> NDArray[np.bool_]:
        return names_with(column, text)[labels.codes[column][spans.starts_S]]

    if level not in ("species", "label"):
        return has(level, wanted) & spans.named_S
    matches = has("common_name", wanted)
    if level == "species":
        first, _, rest = wanted.partition(" ")
        scientific = has("species", wanted)
        if rest:
            scientific |= has("genus", first) & has("species", rest)
        matches |= scientific & spans.named_S
    return matches


def _distance(labels: LabelSet, level: str, row: int, wanted: str) -> int:
    """Return 0 for a whole name, 1 for the beginning of a name or of a word in it, 2 for another part."""
    taxon, _ = labels.taxon_at(row, level)
    names = [name.lower() for name in (taxon.scientific_name, taxon.common_name) if name]
    if wanted in names:
        return 0
    return 1 if any(f" {wanted}" in f" {name}" for name in names) else 2


def subset_of(labels: LabelSet, taxa: Iterable[str]) -> LabelSet:
    """Return the label set with only the labels under these taxa in use; the embeddings are shared.

    Args:
        labels: the whole label set.
        taxa: names of any rank ("Acer", "Acer palmatum", "Sapindaceae"), or the words of custom labels; case does not matter.

    Raises:
        LabelSetError: if a name is not in the label set.
    """
    index = NameIndex(labels)
    found = [(name, index.rows(name)) for name in taxa if name.strip()]
    missing = [name for name, rows in found if rows is None]
    kept_N = np.zeros(len(labels), dtype=bool)
    for rows in (rows for _, rows in found if rows is not None):
        kept_N[rows] = True
    if missing or not (kept_N & labels.kept_N).any():
        folder = labels.folder or "LABELS"
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise LabelSetError(
            f"not in the label set: {shown or 'any of the taxa given'}; look names up with: "
            f"{command('labels search', 'NAME', labels=folder)}, or check a whole list with: "
            f"{command('labels doctor', folder, checklist='FILE')}"
        )
    return LabelSet(
        labels.table, labels.embeddings_ND, labels.manifest, kept_N=kept_N & labels.kept_N, folder=labels.folder
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of looking up one name of a checklist."""

    name: str
    outcome: str
    """``named``, ``masked`` (its vector is unusable), ``genus only``, ``ambiguous`` (several lineages) or ``missing``."""
    detail: str = ""


def check_names(labels: LabelSet, names: Iterable[str]) -> list[Finding]:
    """Return one finding per name of a checklist, in order."""
    index = NameIndex(labels)
    return [_finding(labels, index, name) for name in names if name.strip()]


def _finding(labels: LabelSet, index: NameIndex, name: str) -> Finding:
    rows = index.rows(name)
    written = parse_name(name)
    if rows is None:
        genus = written.binomial[0]
        if (written.epithet or written.doubt) and genus and (near := index.rows(genus)) is not None:
            doubt = f"; the name is in doubt ({written.doubt})" if written.doubt else ""
            return Finding(name, "genus only", f"{genus} has {len(near)} labels{doubt}")
        return Finding(name, "missing", written.unread)
    if not labels.usable_N[rows].any():
        return Finding(name, "masked", "its embedding is zero, not a number, or another label's")
    lineages = set()
    for row in rows[:_HOMONYM_ROWS]:
        taxon = labels.taxon(int(row))
        ranks = (rank for rank in RANKS if taxon.lineage[rank.depth].lower() == clean_name(name).lower())
        rank = Rank.SPECIES if written.epithet else next(ranks, Rank.SPECIES)
        lineages.add(taxon.truncated(rank).taxonomic_name or taxon.common_name)
    if len(lineages) > 1:
        return Finding(name, "ambiguous", "; ".join(sorted(lineages)[:3]))
    return Finding(name, "named")


@dataclass(frozen=True, slots=True)
class Health:
    """Problems of a label set: counts, and a few examples of each."""

    counts: dict[str, int]
    examples: dict[str, list[str]]


def health_of(labels: LabelSet) -> Health:
    """Find what spoils answers: unusable vectors, names with several parents, gaps in lineages, epithets without genus."""
    counts = {f"masked: {reason}": count for reason, count in labels.manifest.get("masked_by", {}).items() if count}
    examples: dict[str, list[str]] = {}
    if not labels.is_custom:
        named = {rank: labels.named(rank.value) for rank in RANKS}
        named[Rank.SPECIES] = named[Rank.SPECIES].copy()
        named[Rank.SPECIES][labels.plain_rows()] = False
        for problem, rows in (
            ("hole in the lineage", _holes(named)),
            ("epithet without genus", np.flatnonzero(named[Rank.SPECIES] & ~named[Rank.GENUS])),
        ):
            if len(rows):
                counts[problem] = len(rows)
                examples[problem] = [labels.taxon(int(row)).taxonomic_name for row in rows[:5]]
        for rank in (Rank.ORDER, Rank.FAMILY, Rank.GENUS):
            if names := _several_parents(labels, rank):
                problem = f"{rank} under several parents"
                counts[problem], examples[problem] = len(names), names[:5]
    return Health(counts, examples)


def _holes(named: dict[Rank, NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Return the rows with a name below a rank without one."""
    below = hole = np.zeros(len(named[Rank.SPECIES]), dtype=bool)
    for rank in reversed(RANKS):
        hole = hole | (below & ~named[rank])
        below = below | named[rank]
    return np.flatnonzero(hole)


def _several_parents(labels: LabelSet, rank: Rank) -> list[str]:
    """Return the names with more than one path: homonyms across kingdoms, or one taxon placed twice."""
    spans = labels.spans(rank.value)
    named_rows = spans.starts_S[spans.named_S]
    _, first, counts = np.unique(labels.codes[rank.value][named_rows], return_index=True, return_counts=True)
    return sorted(labels.taxon(int(row)).lineage[rank.depth] for row in named_rows[first[counts > 1]])
