"""The catalogued name of each specimen beside the run's answer, through synonymy; the curator decides who is right."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from bioclip_core.cells import column_name, plain_cells
from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError, UsageError
from bioclip_core.files.scratch import Scratch
from bioclip_core.labels.label_set import LABEL, LabelSet
from bioclip_core.names import clean_name
from bioclip_core.naming.judging import NameKind
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.reviews.agreement import is_above, is_within
from bioclip_plugin.reviews.names import NameBook, contradicts, same_at, shared_rank
from bioclip_plugin.store import Run, Store, StoredItem, StoredRegion
from bioclip_plugin.store.records import asked_level
from bioclip_training.catalog.naming.names import Label, cleaned
from bioclip_training.taxonomy import TaxonomyIndex

Judgement = Literal[
    "conflict", "agree at genus", "agree above genus", "synonym", "agree", "not in the label set", "no common rank", "no answer",
    "name not read", "no catalogued name",
]  # fmt: skip
JUDGEMENTS: dict[Judgement, str] = {
    "conflict": "another taxon, which is not above the catalogued one",
    "agree at genus": "the same genus, and another species or none",
    "agree above genus": "a taxon above the genus that the catalogued one belongs to, as far as both state their ranks",
    "synonym": "the same accepted taxon under another name",
    "agree": "the same name, or a taxon below it",
    "not in the label set": "another taxon, since the model cannot answer with the catalogued name",
    "no common rank": "a taxon at a rank that the catalogue does not state, without another rank in common",
    "no answer": "nothing was decided",
    "name not read": "not compared: the specimen has a name that cannot be read",
    "no catalogued name": "not compared: the specimen has no name",
}
"""Meaning of each judgement for the run's answer."""

COLUMNS = (
    "uri", "frame", "region_x", "region_y", "region_w", "region_h", "occurrence_id", "catalog_number", "catalogued_name",
    "catalogued_doubt", "resolved_name", "answer", "answer_rank", "answer_probability", "best_candidate", "best_probability",
    "catalogued_probability", "catalogued_probability_is", "judgement", "agrees_at", "in_label_set", "surprise", "reason",
)  # fmt: skip

LEAST_PROBABILITY = 1e-6  # of a taxon that is not among the stored candidates; smaller ones carry no information
_NUMBER_KEYS = ("catalognumber", "recordnumber")
_ID_KEYS = ("occurrenceid", "materialentityid", "specimenid", "gbifid", "id")
_COLUMNS_SHOWN = 20


class Catalogued(NamedTuple):
    """The name of a specimen in its catalogue."""

    verbatim: str
    taxon: Taxon | None
    """The name as written, cleaned; None without a usable name."""
    accepted: Taxon | None
    """The accepted taxon after synonymy, with its known lineage."""
    reason: str
    in_labels: bool | None
    """None without a label set."""
    doubt: str = ""
    """Doubt that the catalogue states: ``?``, ``cf.``, ``hybrid formula`` …"""
    is_open: bool = False
    """True for one of several species of the genus, or a hybrid between them: no species is the catalogued one."""
    placed: tuple[Taxon, ...] = ()
    """The accepted taxon with the label set's ranks above it; several if the label set has several lineages of the name."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The judgement of one specimen's image or box."""

    row: dict[str, Any]
    """Values by COLUMNS; None for unknown ones."""
    judgement: Judgement
    surprise: float | None
    """Natural logarithm of the ratio of the model's probabilities of its best candidate and of the catalogued taxon."""


class SecondOpinion:
    """Judgements of a run's answers. Each distinct name is resolved once."""

    def __init__(
        self,
        labels: LabelSet | None = None,
        taxonomy: TaxonomyIndex | None = None,
        name_column: str | None = None,
        columns: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Begin to judge.

        Args:
            labels: the label set, if it is known.
            taxonomy: resolves both names.
            name_column: column of the catalogued name; None: Darwin Core's.
            columns: headings of columns by the field that each is read as.

        Raises:
            UsageError: for an unknown field.
        """
        for field in columns:
            if column_name(field) not in _FIELDS:
                raise UsageError(
                    f"--column {field}={columns[field]}: {field} is not a field here; known are {', '.join(_FIELDS)}"
                )
        self._columns = {column_name(field): heading for field, heading in columns.items()}
        self._book, self._has_labels = NameBook(lambda _names: (), labels), labels is not None
        self._taxonomy, self._option_name = taxonomy, name_column
        self._name_column = self._columns.pop("scientificname", None) if name_column is None else name_column
        self._catalogued: dict[Any, Catalogued] = {}
        self._of_labels = cache(self._find_labels)
        self._accepted: dict[Taxon, tuple[Taxon, str]] = {}

    def opinions(self, store: Store, run: Run) -> Iterator[Opinion]:
        """Yield one opinion per answered image or box, in listing order.

        Raises:
            DataError: at the end, if no item has the given column.
        """
        level, columns = asked_level(run), set[str]()
        for stored in store.items_of(run, ranks=(level,)):
            columns.update(stored.item.metadata)
            if stored.status == "done":
                catalogued = self.catalogued(stored.item.metadata)
                for region in stored.regions:
                    if region.classified:
                        yield self._opinion(stored, region, region.by_rank.get(level, ()), catalogued, level)
        known = set(map(column_name, columns))
        for heading in filter(None, (self._name_column, *self._columns.values())):
            if column_name(heading) not in known:
                option = "--name-column" if heading == self._option_name else "--column"
                raise DataError(
                    f"{option} {heading}: no image of run {run.id} has a value in this column; "
                    f"their columns are {_listed(columns)}"
                )

    # Names

    def catalogued(self, metadata: Mapping[str, Any]) -> Catalogued:
        """Return the name in an item's metadata, from Darwin Core's columns or the given one."""
        cells = self._cells(metadata)
        if self._name_column is not None:
            chosen = {field: cells[field] for field in self._columns if field in cells}
            cells = {**chosen, "scientificname": cells.get(column_name(self._name_column))}
        key = tuple(sorted((name, str(cells[name])) for name in _NAMES & cells.keys()))
        if key not in self._catalogued:
            self._catalogued[key] = self._resolved(cells)
        return self._catalogued[key]

    def _cells(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of an item by comparable names, the chosen columns under their fields."""
        cells = plain_cells({name: value for name, value in metadata.items() if isinstance(value, (str, int, float))})
        return cells | {field: cells.get(column_name(heading)) for field, heading in self._columns.items()}

    def _resolved(self, cells: Mapping[str, Any]) -> Catalogued:
        named = cleaned(cells)
        if labels := self._labels_of(named, cells):
            return Catalogued(labels[0].words, labels[0], labels[0], "a label of the run's own", True)
        if named.unread or named.taxon.rank is None:
            reason = (
                f"{named.verbatim!r} cannot be read: {named.unread}" if named.unread else "the specimen has no name"
            )
            return Catalogued(named.verbatim, None, None, reason, None, named.doubt)
        taxon, changes = named.taxon, named.changes
        if named.doubted:  # a doubtful name is compared by what it suggests
            taxon, changes = replace(taxon, species=named.doubted), ()
        accepted, why = self.accepted(taxon, "" if named.doubted else named.verbatim)
        known = any(self._of_labels(one.scientific_name) for one in (accepted, taxon))
        return Catalogued(
            named.verbatim,
            taxon,
            accepted,
            "; ".join(filter(None, (*_notes_of(named, taxon), *changes, why))),
            known if self._has_labels else None,
            named.doubt,
            bool(named.doubt) and named.doubt != "sp." and not taxon.species,
            _placed(accepted, self._of_labels),
        )

    def _labels_of(self, named: Label, cells: Mapping[str, Any]) -> list[Taxon]:
        """Return the labels without a taxonomy that have the specimen's name; of words for a verdict none counts."""
        is_verdict = named.fault is not None and named.fault.kind is NameKind.VERDICT
        if is_verdict or not self._book.has_words:
            return []
        written = filter(
            None, (named.verbatim, clean_name(cells.get("vernacularname")), clean_name(cells.get("commonname")))
        )
        return [taxon for name in written for taxon in self._of_labels(" ".join(name.split())) if taxon.words]

    def _find_labels(self, name: str) -> list[Taxon]:
        """Return the distinct lineages of a name in the label set, where a family's name has thousands of rows."""
        return list({(taxon.lineage, taxon.words): taxon for taxon in self._book.of_labels(name)}.values())

    def accepted(self, taxon: Taxon, verbatim: str = "") -> tuple[Taxon, str]:
        """Return the accepted taxon with the lineage of taxonomy or label set, and how it was found."""
        if taxon.words:
            return taxon, ""
        if not verbatim and taxon in self._accepted:
            return self._accepted[taxon]
        resolved, why = taxon, ""
        if self._taxonomy is not None:
            found = self._taxonomy.resolve(taxon, verbatim)
            resolved, why = found.taxon or taxon, found.reason
        if self._has_labels and not resolved.family:
            resolved = self._book.placed(resolved).taxon or resolved
        if not verbatim:
            self._accepted[taxon] = (resolved, why)
        return resolved, why

    # Judging

    def _opinion(
        self,
        stored: StoredItem,
        region: StoredRegion,
        candidates: Sequence[Candidate],
        catalogued: Catalogued,
        level: str,
    ) -> Opinion:
        decided, best = region.consensus, candidates[0] if candidates else None
        judgement, agrees_at, why = self._judged(decided.taxon if decided else None, catalogued, candidates)
        probability, exact = self._probability(candidates, catalogued, level)
        surprise = None
        if best is not None and probability is not None and judgement != "not in the label set":
            surprise = math.log(max(best.probability, LEAST_PROBABILITY) / max(probability, LEAST_PROBABILITY))
        box = region.region.xywh if region.region else [None] * 4
        in_labels = {True: "yes", False: "no", None: None}[catalogued.in_labels]
        values = (
            stored.item.uri, stored.item.frame, *box, _first(self._cells(stored.item.metadata), _ID_KEYS),
            _first(self._cells(stored.item.metadata), _NUMBER_KEYS), catalogued.verbatim or None, catalogued.doubt or None,
            catalogued.accepted.name if catalogued.accepted else None,
            decided.name if decided else None, decided.rank if decided else None, decided.probability if decided else None,
            best.name if best else None, best.probability if best else None, probability,
            None if probability is None else "stored" if exact else "at most", judgement, agrees_at, in_labels, surprise,
            "; ".join(filter(None, (catalogued.reason, why))) or None,
        )  # fmt: skip
        return Opinion(dict(zip(COLUMNS, values, strict=True)), judgement, surprise)

    def _judged(
        self, answer: Taxon | None, catalogued: Catalogued, candidates: Sequence[Candidate]
    ) -> tuple[Judgement, str | None, str]:
        """Return the judgement, the most specific rank at which both agree, and a note on the synonymy of the answer's name."""
        if catalogued.taxon is None or catalogued.accepted is None:
            return ("name not read" if catalogued.verbatim else "no catalogued name"), None, ""
        if answer is None or not answer.name:
            return "no answer", None, ""
        if answer.words or catalogued.taxon.words:
            return self._judged_words(answer, catalogued)
        accepted, why = self.accepted(answer)
        note = f"the answer {answer.scientific_name}: {why}" if accepted.lineage[5:] != answer.lineage[5:] else ""
        pairs = [
            (answer, catalogued.taxon),
            (accepted, catalogued.accepted),
            (answer, catalogued.accepted),
            (accepted, catalogued.taxon),
            *((one, other) for one in (answer, accepted) for other in catalogued.placed),
        ]
        at = max(
            filter(None, (shared_rank(one, other) for one, other in pairs)), key=lambda rank: rank.depth, default=None
        )
        agrees_at = at.value if at else None
        if is_within(*pairs[0]) and not catalogued.is_open:
            return "agree", agrees_at, note
        if any(is_within(one, other) for one, other in pairs[1:]) and not catalogued.is_open:
            return "synonym", agrees_at, note
        if at is not None and at.depth >= Rank.GENUS.depth:
            return "agree at genus", agrees_at, note
        if not catalogued.placed:
            beside = _placed(catalogued.accepted, lambda _name: [candidate.taxon for candidate in candidates])
            pairs += [(one, other) for one in (answer, accepted) for other in beside]
        above = next((one.rank for one, other in pairs if is_above(one, other)), None)
        if above is not None:
            return "agree above genus", above.value, note
        if catalogued.in_labels is False:
            return "not in the label set", agrees_at, note
        if any(_differ(one, other) for one, other in pairs):
            return "conflict", agrees_at, note
        return ("agree above genus" if at is not None else "no common rank"), agrees_at, note

    def _judged_words(self, answer: Taxon, catalogued: Catalogued) -> tuple[Judgement, str | None, str]:
        """Return the judgement where a label without a taxonomy is the answer or the catalogued name: only names tell."""
        names = (catalogued.taxon, catalogued.accepted, *catalogued.placed)
        if not catalogued.is_open and any(is_within(answer, one) for one in names if one is not None):
            return "agree", LABEL, ""
        if catalogued.in_labels is False:
            return "not in the label set", None, ""
        return ("conflict" if catalogued.in_labels else "no common rank"), None, ""

    def _probability(
        self, candidates: Sequence[Candidate], catalogued: Catalogued, level: str
    ) -> tuple[float | None, bool]:
        """Return the catalogued taxon's probability and True if it is stored, else its upper limit and False.

        The best few candidates are stored. A taxon that is not among them has at most the probability of the last of them,
        and at most the rest that all of them leave.
        """
        if catalogued.taxon is None or catalogued.accepted is None or not candidates:
            return None, False
        wanted = _wanted(catalogued, level)
        if not wanted:
            return None, False
        found = [
            candidate.probability
            for candidate in candidates
            for names in [(candidate.taxon, self.accepted(candidate.taxon)[0])]
            if any(is_within(one, taxon) for one in names for taxon in wanted)
        ]
        if found:
            return sum(found), True
        left = 1.0 - sum(candidate.probability for candidate in candidates)
        return max(min(left, candidates[-1].probability), LEAST_PROBABILITY), False


class Spool(Scratch):
    """Rows of plain JSON values, sorted by a key on the disk. Use it in a ``with`` block."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE rows (place INTEGER PRIMARY KEY, key REAL, row TEXT)")

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM rows").fetchone()[0])

    def add(self, row: dict[str, Any], key: float) -> None:
        """Keep a row under its key."""
        self._database.execute("INSERT INTO rows (key, row) VALUES (?, ?)", (key, json.dumps(row)))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows, the highest key first and rows of equal keys in the order in which they were added."""
        for (row,) in self._database.execute("SELECT row FROM rows ORDER BY key DESC, place"):
            yield json.loads(row)


def _wanted(catalogued: Catalogued, level: str) -> list[Taxon]:
    """Return the taxa of a level whose probabilities are those of the catalogued name."""
    taxa = [taxon for taxon in (catalogued.taxon, catalogued.accepted, *catalogued.placed) if taxon is not None]
    rank = _RANK_OF.get(level)
    if rank is None or any(taxon.words for taxon in taxa):
        return taxa if catalogued.in_labels else []
    # A species of an unknown family is not as probable as its whole order.
    return [
        taxon.truncated(rank) for taxon in taxa if taxon.lineage[rank.depth] or not any(taxon.lineage[rank.depth :])
    ]


def _notes_of(named: Label, taxon: Taxon) -> Iterator[str]:
    """Yield how a name in doubt, and a specimen without a name of its own, are compared."""
    if named.doubt:
        yield f"in doubt ({named.doubt}): compared as {taxon.scientific_name}"
    elif taxon.rank is not None and not taxon.genus and named.is_of_ranks:
        yield f"no name of its own: compared at {taxon.rank}"


def _placed(taxon: Taxon, bearing: Callable[[str], Iterable[Taxon]]) -> tuple[Taxon, ...]:
    """Return a taxon with the ranks above it of taxa with its name, else with the name of its genus, its family and so on.

    Args:
        bearing: returns the taxa that may have a name.
    """
    for rank in reversed(RANKS[1:]):
        own = taxon.truncated(rank)
        found = {one.truncated(rank).lineage: one for one in bearing(own.name_at(rank)) if same_at(rank, one, own)}
        agreeing = [lineage for lineage, one in found.items() if not contradicts(own, one)]
        # Checklists differ in families and classes, so those alone only choose among several lineages.
        if chosen := agreeing or (list(found) if len(found) == 1 else []):
            return tuple(
                Taxon.of([there or here for there, here in zip(lineage, taxon.lineage, strict=True)])
                for lineage in chosen
            )
    return ()


def _differ(one: Taxon, other: Taxon) -> bool:
    """Return True if two taxa are not the same at a rank that both state."""
    return any(
        one.lineage[rank.depth] and other.lineage[rank.depth] and not same_at(rank, one, other) for rank in RANKS
    )


def _listed(columns: Iterable[str]) -> str:
    shown = sorted(columns)
    more = f" and {len(shown) - _COLUMNS_SHOWN} more" if len(shown) > _COLUMNS_SHOWN else ""
    return (", ".join(shown[:_COLUMNS_SHOWN]) + more) or "none"


_RANK_OF = {rank.value: rank for rank in RANKS}
_NAMES = frozenset(
    (*_RANK_OF, "scientificname", "verbatimscientificname", "verbatimidentification", "verbatimname", "specificepithet",
     "taxonrank", "verbatimtaxonrank", "identificationqualifier", "vernacularname", "commonname")
)  # fmt: skip


_FIELDS = tuple(sorted(_NAMES)) + _NUMBER_KEYS + _ID_KEYS
"""The fields that a column of the catalogue may be read as."""


def _first(metadata: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of some values, whatever the case of its name."""
    cells = plain_cells(metadata)
    return next((str(cells[key]) for key in keys if cells.get(key) not in (None, "")), None)
