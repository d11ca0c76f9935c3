"""Names that reviewers wrote, as taxa: looked up in the label set, the store and a taxonomy, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.cells import plain_cells
from bioclip_core.errors import BioclipError
from bioclip_core.labels.checklist import NameIndex, subset_of
from bioclip_core.labels.label_set import LabelSet, in_memory
from bioclip_core.labels.manifest import Block, read_manifest
from bioclip_core.models import ModelEntry, find_model
from bioclip_core.names import NameKind, clean_name, judge_name, parse_name
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.items.request import DEFAULT_MODEL, ClassifyRequest
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.running.label_choice import choose_labels
from bioclip_plugin.running.places import RunPlaces
from bioclip_plugin.store import Run, Store
from bioclip_training.catalog.naming.likeness import Spellings
from bioclip_training.catalog.naming.name_decisions import NameDecisions, is_repaired
from bioclip_training.taxonomy import TaxonomyIndex

_REVIEWED_AS: Mapping[str, ReviewVerdict | None] = {
    "blank": "blank", "person": "person", "vehicle": "vehicle", "unidentifiable": "unidentifiable", "work": None,
}  # fmt: skip
_ROWS_LOOKED_AT = 2_000  # of a label set under one name: a kingdom has all of them, and one lineage tells it


@dataclass(frozen=True, slots=True)
class Meaning:
    """The taxon that a written name stands for."""

    taxon: Taxon | None
    """None if it is not certain."""
    reason: str
    """A sentence: where it was found, or why it was not."""
    verdict: ReviewVerdict | None = None
    """The verdict that the map of names gives to the name."""


class StoredNames:
    """The store's taxa by name, asked for many names at once."""

    def __init__(self, store: Store) -> None:
        self._store, self._known = store, dict[str, list[Taxon]]()

    def __call__(self, names: Collection[str]) -> list[Taxon]:
        missing = {name.lower() for name in names} - self._known.keys()
        self._known.update({name: [] for name in missing})
        for taxon in self._store.taxa_named(missing) if missing else ():
            for name in missing.intersection(
                map(str.lower, (taxon.scientific_name, taxon.common_name, *taxon.lineage))
            ):
                self._known[name].append(taxon)
        return [taxon for name in names for taxon in self._known[name.lower()]]


class NameBook:
    """Written names to taxa. Each distinct name is looked up once."""

    def __init__(
        self,
        stored: Callable[[Collection[str]], Iterable[Taxon]],
        labels: LabelSet | None = None,
        taxonomy: TaxonomyIndex | None = None,
        names: NameDecisions | None = None,
    ) -> None:
        """Args:
        stored: returns the store's taxa with one of these names (scientific or common, at any rank).
        names: decisions about names that are not scientific ones.
        """
        self._names = names or NameDecisions()
        self._stored, self._labels, self._taxonomy = stored, labels, taxonomy
        self._index = NameIndex(labels) if labels is not None else None
        self._common: dict[str, list[int]] | None = None
        self._known: dict[Any, Meaning] = {}

    @property
    def has_words(self) -> bool:
        """True if the label set has labels without a taxonomy."""
        return self._index is not None and self._index.has_words

    def expect(self, names: Collection[str]) -> None:
        """Look up names that will be asked for: together they cost the store one query."""
        self._stored(names)

    def meaning(self, cells: Mapping[str, Any], *, scientific: bool) -> Meaning:
        """Return the taxon of a row's name cells.

        Args:
            cells: by Darwin Core's column names; a name of unknown kind as ``scientificName``.
            scientific: True if the file states that it is a scientific name: then an unknown name of two words, or one
                with its ranks beside it, is kept as it is written. Any other name must be known: "Red fox" looks like a
                binomial.
        """
        key = (tuple(sorted((str(name), str(value)) for name, value in cells.items())), scientific)
        if key not in self._known:
            self._known[key] = self._looked_up(plain_cells(cells), scientific)
        return self._known[key]

    def placed(self, taxon: Taxon, verbatim: str = "") -> Meaning:
        """Return a taxon of a file with the lineage that the label set, the store or the taxonomy has for it."""
        cells: dict[str, Any] = {rank.value: taxon.lineage[rank.depth] for rank in RANKS if taxon.lineage[rank.depth]}
        cells["scientificName"] = verbatim or taxon.scientific_name
        if taxon.common_name:
            cells["vernacularName"] = taxon.common_name
        found = self.meaning(cells, scientific=True)
        if found.taxon is None and not (written := judge_name(cells["scientificName"])).is_name:
            return Meaning(None, f"the name {cells['scientificName']!r} cannot be used: {written.reason}")
        return found if found.taxon is not None else Meaning(taxon, f"{taxon.scientific_name} as it is written")

    def _looked_up(self, cells: Mapping[str, Any], scientific: bool) -> Meaning:
        named = self._names.read(cells)
        given = named.taxon
        if named.fault is not None and self._names.map_says(named):
            return Meaning(None, named.unread, _REVIEWED_AS[named.fault.verdict or "work"])
        if named.is_decided:
            cells = {"scientificname": given.scientific_name}
        written = (
            clean_name(cells.get("scientificname")) or named.verbatim or given.scientific_name or given.common_name
        )
        if not written:
            return Meaning(None, "the row has no name")
        for name in dict.fromkeys(filter(None, (given.scientific_name if given.species else "", written))):
            for place, found in (("label set", self.of_labels(name)), ("store", self._of_store(name))):
                if found:
                    return _chosen(name, found, given, place)
        is_word = named.fault is not None and named.fault.kind in (NameKind.COMMON, NameKind.DOUBTFUL)
        if named.unread and not given.genus and not is_word:  # common names are looked up like others
            return Meaning(None, f"the name {written!r} cannot be read: {named.unread}")
        if meaning := self._of_taxonomy(given, named.verbatim or written):
            return meaning
        if scientific and given.species and not named.is_decided and (like := self._near(given)):
            reason = f"not known, and within two letters of {like}: a suspected misspelling; write it so, or decide with --map"
            return Meaning(None, f"the name {given.scientific_name!r} is {reason}")
        if (
            scientific
            and given.rank is not None
            and (given.family or given.species or len([n for n in given.lineage if n]) > 1)
        ):
            return Meaning(given, f"{given.scientific_name} as it is written: neither label set nor store has it")
        taxonomy = f"the taxonomy {self._taxonomy.label}" if self._taxonomy is not None else ""
        places = list(filter(None, ("the label set" if self._labels is not None else "", "the store", taxonomy)))
        where = f"neither in {' nor in '.join(places)}" if len(places) > 1 else f"not in {places[0]}"
        return Meaning(None, f"the name {written!r} is {where}{f' ({named.unread})' if is_word else ''}")

    # Places to look

    def _near(self, given: Taxon) -> str:
        """Return the species of the same genus in the label set or store within two letters of an unknown one; empty without one."""
        known = Spellings()
        for taxon in (*self._of_genus(given.genus), *self._stored((given.genus,))):
            if taxon.species:
                known.add(taxon.scientific_name, "")
        return known.like(given.scientific_name, {})

    def _of_genus(self, genus: str) -> list[Taxon]:
        if self._labels is None or self._index is None or self._labels.is_custom:
            return []
        rows = self._index.rows(genus)
        return [] if rows is None else [self._labels.taxon(int(row)) for row in rows[:_ROWS_LOOKED_AT]]

    def of_labels(self, name: str) -> list[Taxon]:
        """Return the label set's taxa with a name, scientific or common, each cut at the rank of the name."""
        if self._labels is None or self._index is None:
            return []
        rows = self._index.rows(name)
        if rows is not None and not self._labels.is_custom:
            return [_as_answered(_at_name(self._labels.taxon(int(row)), name)) for row in rows[:_ROWS_LOOKED_AT]]
        if self._common is None:
            self._common = _common_names(self._labels)
        return [_as_answered(self._labels.taxon(row)) for row in self._common.get(name.lower(), ())]

    def _of_store(self, name: str) -> list[Taxon]:
        return [_as_answered(_at_name(taxon, name)) for taxon in self._stored((name,))]

    def _of_taxonomy(self, given: Taxon, written: str) -> Meaning | None:
        found = self._taxonomy.resolve(given, written) if self._taxonomy is not None else None
        if found is None or found.taxon is None:
            return None
        if is_repaired(found):
            return Meaning(
                None,
                f"{found.reason}: a suspected misspelling of {found.taxon.scientific_name}; write it so, or decide with --map",
            )
        accepted = found.taxon.scientific_name
        known = self.of_labels(accepted) or self._of_store(accepted)
        own = _chosen(accepted, known, found.taxon, "label set").taxon if known else None
        return Meaning(own or found.taxon, found.reason)


def labels_of_run(
    run: Run | None, entries: Mapping[str, ModelEntry], folder: str | None = None, *, store: str = ""
) -> tuple[LabelSet | None, str]:
    """Return the run's label set, restricted to the run's taxa, or None and the reason why it is not available.

    Args:
        run: None for a store without runs.
        entries: the registered models, by name.
        folder: folder of the label set, if the user gives it.
        store: address of the run's store, beside which its label set may lie.

    Raises:
        LabelSetError: if the folder that the user gave is not a label set.
    """
    if folder is not None:
        return LabelSet.open(folder), ""
    if run is None:
        return None, "the store has no run, so that names are looked up in the store alone"
    if run.answer_settings.get("words") is not None:
        return _words_of_run(run), ""
    try:
        found = _folder_of(run, entries, RunPlaces(run, store))
        if read_manifest(found)[1].id != run.answer_settings.get("label_set"):
            return None, f"the label set {found} is not the one that run {run.id} answered with; give it with --labels"
        labels, taxa = LabelSet.open(found), tuple(run.settings.get("taxa") or ())
        return (subset_of(labels, taxa) if taxa else labels), ""
    except (BioclipError, OSError, ValueError) as error:
        return None, f"the label set of run {run.id} cannot be opened ({error}); give it with --labels"


def _words_of_run(run: Run) -> LabelSet:
    """Return the words that a run had as labels, for their names alone."""
    words = [str(word) for word in run.answer_settings["words"]]
    groups = [str(group) for group in run.answer_settings.get("groups") or ()]
    labels = in_memory(
        [Taxon(common_name=word) for word in words],
        np.ones((len(words), 1), dtype=np.float16),
        {"weights_sha256": "", "source": "", "revision": ""},
        [Block(0, len(words), "text", 1.0)],
        groups=groups or None,
        custom=True,
    )
    subset = run.answer_settings.get("subset") or ()
    return subset_of(labels, map(str, subset)) if subset else labels


def _folder_of(run: Run, entries: Mapping[str, ModelEntry], places: RunPlaces) -> Path:
    labels: Any = run.settings.get("labels")
    if isinstance(labels, str):
        return Path(places.labels(labels))
    request = ClassifyRequest(model=places.model(str(run.settings.get("model") or DEFAULT_MODEL), entries))
    choice = choose_labels(request, find_model(request.model, entries, fetch=False))
    assert choice.folder is not None  # labels_of_run has returned for words already
    return choice.folder


def _common_names(labels: LabelSet) -> dict[str, list[int]]:
    """Return rows by common name in lower case."""
    dictionary = [name.lower() for name in labels.dictionaries["common_name"].to_pylist()]
    found: dict[str, list[int]] = {}
    for row, code in enumerate(labels.codes["common_name"].tolist()):
        if dictionary[code]:
            found.setdefault(dictionary[code], []).append(row)
    return found


def _as_answered(taxon: Taxon) -> Taxon:
    """Return a plain label as a run answers with it: words without a rank."""
    return Taxon(common_name=taxon.words, source_id=taxon.source_id) if taxon.is_plain else taxon


def _at_name(taxon: Taxon, name: str) -> Taxon:
    """Return the taxon cut at the rank of the name: a family's name means the family, not one of its species."""
    wanted = " ".join(clean_name(name).lower().split())
    if taxon.common_name.lower() == wanted or (parse_name(name).binomial[1] and taxon.species):
        return taxon
    rank = next((rank for rank in RANKS if taxon.lineage[rank.depth].lower() == wanted), Rank.SPECIES)
    return taxon.truncated(rank)


def _chosen(name: str, found: Iterable[Taxon], given: Taxon, place: str) -> Meaning:
    """Return the only lineage with the name; several are told apart by the row's other ranks, or not at all."""
    lineages = {taxon.lineage: taxon for taxon in reversed(list(found))}
    # Checklists differ in families and classes, so those alone only choose among several lineages.
    agreeing = [taxon for taxon in lineages.values() if not contradicts(given, taxon)]
    if not agreeing and len(lineages) == 1:
        agreeing = [taxon for taxon in lineages.values() if not contradicts(given.truncated(Rank.KINGDOM), taxon)]
    if len(agreeing) == 1:
        return Meaning(agreeing[0], f"{name} as the {place} has it")
    shown = "; ".join(sorted(taxon.taxonomic_name or taxon.common_name for taxon in lineages.values())[:3])
    if not agreeing:
        return Meaning(None, f"the name {name!r} is in the {place} as {shown}, which the row's other ranks contradict")
    return Meaning(None, f"the name {name!r} is ambiguous: {shown}; give its family or kingdom")


def contradicts(one: Taxon, other: Taxon) -> bool:
    """Return True if two lineages have different names at a rank from kingdom to family."""
    return any(
        here and there and here.lower() != there.lower()
        for here, there in zip(one.lineage[:5], other.lineage[:5], strict=True)
    )


def same_at(rank: Rank, one: Taxon, other: Taxon) -> bool:
    """Return True if both have the same name at a rank, in the same kingdom as far as stated; case and hybrid marks aside."""
    here, there = _name_at(rank, one), _name_at(rank, other)
    kingdoms = {taxon.kingdom.lower() for taxon in (one, other) if taxon.kingdom}
    return bool(here) and here == there and len(kingdoms) < 2


def _name_at(rank: Rank, taxon: Taxon) -> str:
    return taxon.name_at(rank).replace("× ", "").lower() if taxon.lineage[rank.depth] else ""


def same_words(one: Taxon, other: Taxon) -> bool:
    """Return True if two names are the same, of which one at least is that of a label without a taxonomy.

    Case, underscores and spaces aside. A label has no ranks, so a taxon is the same if its scientific or common name is the label.
    """
    return bool(one.words or other.words) and not _words_of(one).isdisjoint(_words_of(other))


def _words_of(taxon: Taxon) -> set[str]:
    names = (taxon.words,) if taxon.words else (taxon.scientific_name, taxon.common_name)
    return {" ".join(name.replace("_", " ").casefold().split()) for name in names if name}


def shared_rank(one: Taxon, other: Taxon) -> Rank | None:
    """Return the most specific rank at which two taxa agree."""
    return next((rank for rank in reversed(RANKS) if same_at(rank, one, other)), None)
