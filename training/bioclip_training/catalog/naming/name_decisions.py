"""Decisions about names that are not scientific ones: by a map, as plain labels, as several names; and the list of those that are open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bioclip_core.findings import Findings
from bioclip_core.names import Judgement, NameKind, clean_name
from bioclip_core.naming.judging import judge_word
from bioclip_core.naming.options import NameOptions
from bioclip_core.naming.verdict_words import MEANINGS
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.naming.likeness import Spellings
from bioclip_training.catalog.naming.name_map import Decision, NameMap, Undecided, map_key
from bioclip_training.catalog.naming.names import Label, cleaned
from bioclip_training.taxonomy.near import Outcome
from bioclip_training.taxonomy.resolving import Resolution, TaxonomyIndex
from bioclip_training.taxonomy.spelling import MOST_EDITS

_WRITTEN = ("scientificname", "species", "specificepithet", "vernacularname", "commonname", "common")
PLAIN_COLUMNS = ("label", "labels", "category")
"""Further columns that plain labels are read from."""
WORD_COLUMNS = (*PLAIN_COLUMNS, "vernacularname", "commonname", "common")
"""All columns of words."""
_DECIDED_BY_TAXONOMY = frozenset(
    (NameKind.COMMON, NameKind.DOUBTFUL, NameKind.CODE, NameKind.FOLDER, NameKind.MISSPELT)
)
_WORDS_ALONE = frozenset((NameKind.DOUBTFUL, NameKind.FOLDER))
NO_NAME = "no name"
"""Kind of a row whose name cannot be read."""
_NO_WORDS = frozenset((NameKind.VERDICT, NameKind.SEVERAL, NameKind.FOLDER))
"""Kinds of cells that are no plain label either."""
_SURE = frozenset((Outcome.EXACT, Outcome.SYNONYM, Outcome.DOUBTFUL))


class NameDecisions:
    """Reads the names of rows by the options about names, and remembers the names that remain undecided."""

    def __init__(self, options: NameOptions | None = None) -> None:
        """Read the map, if there is one.

        Raises:
            SourceError: if it cannot be read.
            DataError: for a line that means nothing.
        """
        self.options = options or NameOptions()
        path = self.options.name_map
        self.map = NameMap(path, plain_labels=self.options.plain_labels) if path else None
        self.undecided: dict[str, Undecided] = {}
        self._common: dict[str, str] = {}
        self._words: dict[str, str] = {}
        self._genera: set[str] = set()
        self.near_names: list[tuple[str, str]] = []
        """Names that are kept although each is within two letters of another one, or one letter in a large catalog."""
        self.near_letters = MOST_EDITS

    def read(self, cells: Mapping[str, Any], resolver: TaxonomyIndex | None = None) -> Label:
        """Return the label of a row as written, before a taxonomy resolves it.

        Args:
            cells: from :func:`~bioclip_core.cells.plain_cells`.
            resolver: a taxonomy, which knows names that do not look like one.
        """
        label = cleaned(cells)
        if decision := self._decision(cells, label):
            return self._decided(cells, label, decision)
        if self.options.plain_labels:
            return self._plain(cells, label)
        if label.fault is None:
            return label
        if label.fault.kind in _WORDS_ALONE and map_key(label.verbatim) in self._genera:
            return cleaned(cells, is_asserted=True)
        if label.fault.kind is NameKind.SEVERAL and self.options.split_names:
            return _shared(cells, label, resolver)
        if label.fault.kind in _DECIDED_BY_TAXONOMY and resolver is not None:
            asserted = cleaned(cells, is_asserted=True)
            is_whole = label.fault.kind is not NameKind.MISSPELT or asserted.taxon.species or " " not in label.verbatim
            if is_whole and resolver.resolve(asserted.taxon, asserted.verbatim).outcome in _SURE:
                return asserted
        return label

    def _decision(self, cells: Mapping[str, Any], label: Label) -> Decision | None:
        if self.map is None:
            return None
        return self.map.get((label.verbatim, *(str(cells.get(column) or "") for column in _WRITTEN)))

    def _decided(self, cells: Mapping[str, Any], label: Label, decision: Decision) -> Label:
        written = label.verbatim or decision.written
        if decision.verdict is not None:
            fault = Judgement(
                NameKind.VERDICT,
                f"{MEANINGS[decision.verdict]}, as --map says (line {decision.line})",
                decision.verdict,
            )
            return Label(Taxon(), written, (), unread=fault.reason, fault=fault)
        if decision.kind == "plain":
            return self._word(decision.text or written, written)
        if decision.kind == "keep":
            return replace(cleaned(cells, is_asserted=True), is_decided=True)
        above = {rank.value: cells.get(rank.value) for rank in RANKS[:5] if cells.get(rank.value)}
        common = clean_name(cells.get("vernacularname")) or clean_name(cells.get("commonname"))
        if not common and label.fault is not None and label.fault.kind is NameKind.COMMON:
            common = written
        mapped = cleaned(
            {**above, **decision.ranks, "scientificname": decision.text, "vernacularname": common}, is_asserted=True
        )
        change = f"{written!r} is {mapped.taxon.scientific_name!r}, as --map says (line {decision.line})"
        return replace(mapped, verbatim=written, changes=(*mapped.changes, change), is_decided=True)

    def _plain(self, cells: Mapping[str, Any], label: Label) -> Label:
        if label.fault is not None and label.fault.kind in _NO_WORDS:
            return label
        written = clean_name(label.verbatim)
        if not written:
            written = next((text for column in WORD_COLUMNS if (text := clean_name(cells.get(column)))), "")
        judgement = judge_word(label.verbatim if clean_name(label.verbatim) else written)
        if judgement.kind in _NO_WORDS:
            return Label(Taxon(), label.verbatim or written, (), unread=judgement.reason, fault=judgement)
        return self._word(written, label.verbatim or written) if written else label

    def _word(self, word: str, written: str) -> Label:
        """Return a plain label: of spellings that differ in case, the first one counts."""
        word = " ".join(word.replace("_", " ").split())
        word = self._words.setdefault(map_key(word), word)
        return Label(Taxon.plain(word), written, (), is_decided=True)

    def read_all(self, cells: Mapping[str, Any]) -> list[Label]:
        """Return the labels of a row of a list of taxa, of which a cell with several names has several."""
        written = cleaned(cells)
        is_several = written.fault is not None and written.fault.kind is NameKind.SEVERAL
        if not self.options.split_names or not is_several or self._decision(cells, written):
            return [self.read(cells)]
        assert written.fault is not None
        names = {name: cells[name] for name in ("kingdom", "phylum", "class", "order", "family") if cells.get(name)}
        return [self.read({**names, "scientificname": name}) for name in written.fault.names]

    def check_map(self, spellings: Spellings, known: Callable[[str], bool]) -> None:
        """Compare the names that the map gives with those of the sources.

        Args:
            known: True for a name that a taxonomy has.

        Raises:
            DataError: for names that nothing knows and that are within two letters of a known one, all at once.
        """
        if self.map is None:
            return
        given = Counter(_mapped_name(decision) for decision in self.map.names())
        faults = []
        for decision in self.map.names():
            name = _mapped_name(decision)
            if not name or decision.ranks or spellings.has(name) or known(name):
                continue
            if like := spellings.like(name, given):
                faults.append(
                    f"line {decision.line}: {decision.written!r} is mapped to {decision.text!r}, which no source has and which is within "
                    f"two letters of {like}"
                )
        self.map.refuse(
            faults, "write the other name, or fill in a column `family` of these lines if the name is right"
        )

    # The list of open names

    def learn(self, label: Label) -> None:
        """Remember the genus of a species, which tells a word alone, and the common name of a taxon, for suggestions."""
        taxon = label.taxon
        if taxon.genus and (taxon.species or taxon.family):
            self._genera.add(map_key(taxon.genus))
        if taxon.rank is not None and taxon.common_name:
            self._common.setdefault(map_key(taxon.common_name), taxon.scientific_name)

    def refuse(self, label: Label, uri: str) -> None:
        """Count a row whose name is refused."""
        fault = label.fault
        if self.map_says(label) or (fault is None and not clean_name(label.verbatim)):
            return
        known = self.undecided.get(label.verbatim)
        if known is None:
            suggestion = label.proposal or (self._suggestion(label.verbatim, fault) if fault is not None else "")
            kind, reason = (fault.kind.value, fault.reason) if fault is not None else (NO_NAME, label.why_unread)
            known = self.undecided[label.verbatim] = Undecided(label.verbatim, kind, reason, suggestion, uri)
        known.rows += 1

    def map_says(self, label: Label) -> bool:
        """True for a row that the map leaves out."""
        return label.unread.endswith(")") and ", as --map says (line " in label.unread

    def _suggestion(self, written: str, fault: Judgement) -> str:
        if fault.kind is NameKind.FOLDER:
            return "skip"
        if fault.kind is NameKind.MISSPELT and fault.names:
            return fault.names[0]
        if fault.verdict is not None:
            return "skip" if fault.verdict == "work" else fault.verdict
        return self._common.get(map_key(written), "")

    def suggest_from(self, resolver: TaxonomyIndex) -> None:
        """Fill in suggestions for common names from a taxonomy's."""
        open_names = {
            map_key(one.written): one
            for one in self.undecided.values()
            if not one.suggestion and one.kind == NameKind.COMMON
        }
        for key, name in resolver.named_by_common(open_names) if open_names else ():
            open_names[key].suggestion = name

    def report(self, findings: Findings) -> None:
        """Report lines of the map without effect, and names that are near each other."""
        if self.near_names:
            first, like = self.near_names[0]
            letters = "two letters" if self.near_letters > 1 else "one letter"
            findings.add(
                f"names within {letters} of another one are kept, since neither is much more frequent",
                f"{first!r} beside {like!r}", len(self.near_names),
            )  # fmt: skip
        if self.map is not None:
            self.map.report(findings)

    def facts(self) -> dict[str, Any]:
        """Return what is stored with a catalog; empty without such options."""
        given: dict[str, Any] = {}
        if self.options.plain_labels:
            given["plain_labels"] = True
        if self.options.split_names:
            given["split_names"] = True
        if self.map is not None:
            given["name_map"] = self.map.path.name
        return given


def _mapped_name(decision: Decision) -> str:
    return cleaned({"scientificname": decision.text}, is_asserted=True).taxon.scientific_name


def misspelt(label: Label, proposal: str, reason: str) -> Label:
    """Return a row's label as a suspected misspelling of another name: without a taxon, with the proposal."""
    fault = Judgement(NameKind.MISSPELT, reason)
    return Label(Taxon(), label.verbatim, (), unread=reason, fault=fault, proposal=proposal)


def is_repaired(found: Resolution) -> bool:
    """True if a taxonomy resolved a name only by changing its letters; another ending of the same epithet is no such change."""
    return (
        found.taxon is not None
        and found.outcome is Outcome.FUZZY
        and any(candidate.distance for candidate in found.candidates if candidate.taxon_id == found.taxon_id)
    )


def _shared(cells: Mapping[str, Any], label: Label, resolver: TaxonomyIndex | None) -> Label:
    """Return the lowest taxon that all names of a cell share, since an image has one label."""
    assert label.fault is not None
    above = {rank.value: cells.get(rank.value) for rank in RANKS[:5] if cells.get(rank.value)}
    taxa = list(_taxa(label.fault.names, above, resolver))
    if len(taxa) < len(label.fault.names):
        return label
    depth = next((at for at in range(len(RANKS), 0, -1) if _agree(taxa, at)), 0)
    if not depth:
        return label
    shared = Taxon.of(taxa[0].lineage[:depth], taxa[0].common_name if depth == len(RANKS) else "")
    change = f"{label.verbatim!r} names several; labelled by what they share, {shared.scientific_name}"
    return Label(shared, label.verbatim, (change,), is_decided=True)


def _taxa(names: Sequence[str], above: Mapping[str, Any], resolver: TaxonomyIndex | None) -> Iterator[Taxon]:
    genus = ""
    for name in names:
        word, _, rest = name.partition(" ")
        if genus and len(word) == 2 and word.endswith(".") and word[0] == genus[0]:
            name = f"{genus} {rest}"
        own = cleaned({**above, "scientificname": name})
        if own.taxon.rank is None:
            return
        genus = own.taxon.genus or genus
        found = resolver.resolve(own.taxon, own.verbatim) if resolver is not None else None
        yield found.taxon if found is not None and found.taxon is not None and not is_repaired(found) else own.taxon


def _agree(taxa: Sequence[Taxon], depth: int) -> bool:
    """True if all taxa have the same name at a depth, and no contradictory ones above it."""
    names = {taxon.lineage[depth - 1] for taxon in taxa}
    if len(names) != 1 or not all(names):
        return False
    if depth == len(RANKS) and len({taxon.genus for taxon in taxa}) > 1:
        return False
    return all(len({taxon.lineage[at] for taxon in taxa} - {""}) <= 1 for at in range(depth))
