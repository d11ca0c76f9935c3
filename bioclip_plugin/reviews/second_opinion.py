"""The catalogued name of each specimen beside the run's answer, through synonymy: who is right is the curator's to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bioclip_core.cells import plain_cells
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.reviews.agreement import is_above, is_within
from bioclip_plugin.reviews.names import NameBook, contradicts, same_at, shared_rank
from bioclip_plugin.store.records import asked_level
from bioclip_training.catalog.names import cleaned

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.store import Run, Store, StoredItem, StoredRegion
    from bioclip_training.taxonomy import TaxonomyIndex

Judgement = Literal[
    "conflict", "agree at genus", "agree above genus", "synonym", "agree", "not in the label set", "no common rank", "no answer",
    "no catalogued name",
]  # fmt: skip
JUDGEMENTS: dict[Judgement, str] = {
    "conflict": "another taxon, and none above the catalogued one",
    "agree at genus": "the genus is the same, the species another or not said",
    "agree above genus": "a taxon above the genus, which the catalogued one belongs to, as far as both say",
    "synonym": "the same accepted taxon under another name",
    "agree": "the same name, or a taxon below it",
    "not in the label set": "the model cannot answer with the catalogued name, and answers with another taxon",
    "no common rank": "a taxon of a rank at which the catalogue says nothing, and no other rank that both state",
    "no answer": "nothing was decided",
    "no catalogued name": "the specimen has none that can be used",
}
"""What each judgement says of the run's answer."""

COLUMNS = (
    "uri", "frame", "region_x", "region_y", "region_w", "region_h", "occurrence_id", "catalog_number", "catalogued_name",
    "resolved_name", "answer", "answer_rank", "answer_probability", "best_candidate", "best_probability",
    "catalogued_probability", "catalogued_probability_is", "judgement", "agrees_at", "in_label_set", "surprise", "reason",
)  # fmt: skip

LEAST_PROBABILITY = 1e-6  # of a taxon that is not among the stored candidates; a smaller one says nothing more
_NUMBER_KEYS = ("catalognumber", "recordnumber")
_ID_KEYS = ("occurrenceid", "materialentityid", "specimenid", "gbifid", "id")
_COLUMNS_SHOWN = 20


class Catalogued(NamedTuple):
    """What a specimen's catalogue calls it."""

    verbatim: str
    taxon: Taxon | None
    """As written, made clean; None where there is no usable name."""
    accepted: Taxon | None
    """After synonymy, with the lineage that is known."""
    reason: str
    in_labels: bool | None
    """None where there is no label set to look in."""
    placed: tuple[Taxon, ...] = ()
    """The accepted taxon with the ranks that the label set has above it; several where the name has several lineages there."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """One specimen's image or box."""

    row: dict[str, Any]
    """By COLUMNS; None for what is not known."""
    judgement: Judgement
    surprise: float | None
    """Natural logarithm of how many times more probable the best candidate is than the catalogued taxon, by the model."""


class SecondOpinion:
    """Judges a run's answers. Each distinct name is resolved once."""

    def __init__(
        self, labels: LabelSet | None = None, taxonomy: TaxonomyIndex | None = None, name_column: str | None = None
    ) -> None:
        self._book = NameBook(lambda _names: (), labels)
        self._has_labels = labels is not None
        self._taxonomy = taxonomy
        self._name_column = name_column
        self._catalogued: dict[Any, Catalogued] = {}
        self._bearing: dict[str, list[Taxon]] = {}
        self._accepted: dict[Taxon, tuple[Taxon, str]] = {}

    def opinions(self, store: Store, run: Run) -> Iterator[Opinion]:
        """One an answered image or box, in listing order; what failed or is still to do has none.

        Raises:
            UsageError: at the end, if no item at all has the column that was given.
        """
        level = asked_level(run)
        columns: set[str] = set()
        for stored in store.items_of(run, ranks=(level,)):
            columns.update(stored.item.metadata)
            if stored.status == "done":
                catalogued = self.catalogued(stored.item.metadata)
                for region in stored.regions:
                    if region.classified:
                        yield self._opinion(stored, region, region.by_rank.get(level, ()), catalogued, level)
        if self._name_column is not None and self._name_column not in columns:
            raise UsageError(
                f"--name-column {self._name_column}: no image of run {run.id} has anything in such a column; "
                f"they have {_listed(columns)}"
            )

    # Names

    def catalogued(self, metadata: Mapping[str, Any]) -> Catalogued:
        """The name in an item's metadata: Darwin Core's columns, or the one that was given."""
        cells = plain_cells({name: value for name, value in metadata.items() if isinstance(value, (str, int, float))})
        if self._name_column is not None:
            cells = {"scientificname": metadata.get(self._name_column)}
        key = tuple(sorted((name, str(cells[name])) for name in _NAMES & cells.keys()))
        if key not in self._catalogued:
            self._catalogued[key] = self._resolved(cells)
        return self._catalogued[key]

    def _resolved(self, cells: Mapping[str, Any]) -> Catalogued:
        named = cleaned(cells)
        if named.taxon.rank is None:
            reason = f"{named.verbatim!r} is no name" if named.verbatim else "the specimen has no name"
            return Catalogued(named.verbatim, None, None, reason, None)
        accepted, why = self.accepted(named.taxon, named.verbatim)
        known = any(self._of_labels(one.scientific_name) for one in (accepted, named.taxon))
        reason = "; ".join(filter(None, (*named.changes, why)))
        placed = _placed(accepted, self._of_labels)
        return Catalogued(named.verbatim, named.taxon, accepted, reason, known if self._has_labels else None, placed)

    def _of_labels(self, name: str) -> list[Taxon]:
        """The label set's lineages that bear a name: few, where a family's name has thousands of rows."""
        if name not in self._bearing:
            self._bearing[name] = list({taxon.lineage: taxon for taxon in self._book.of_labels(name)}.values())
        return self._bearing[name]

    def accepted(self, taxon: Taxon, verbatim: str = "") -> tuple[Taxon, str]:
        """The accepted taxon with the lineage that taxonomy or label set have, and how it was found."""
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
        decided = region.consensus
        best = candidates[0] if candidates else None
        judgement, agrees_at, why = self._judged(decided.taxon if decided else None, catalogued, candidates)
        probability, exact = self._probability(candidates, catalogued, level)
        surprise = None
        if best is not None and probability is not None and judgement != "not in the label set":
            surprise = math.log(max(best.probability, LEAST_PROBABILITY) / max(probability, LEAST_PROBABILITY))
        box = region.region.xywh if region.region else [None] * 4
        known = {True: "yes", False: "no", None: None}[catalogued.in_labels]
        values = (
            stored.item.uri, stored.item.frame, *box, _first(stored.item.metadata, _ID_KEYS),
            _first(stored.item.metadata, _NUMBER_KEYS), catalogued.verbatim or None,
            catalogued.accepted.scientific_name if catalogued.accepted else None,
            decided.name if decided else None, decided.rank if decided else None, decided.probability if decided else None,
            best.name if best else None, best.probability if best else None, probability,
            None if probability is None else "stored" if exact else "at most", judgement, agrees_at, known, surprise,
            "; ".join(filter(None, (catalogued.reason, why))) or None,
        )  # fmt: skip
        return Opinion(dict(zip(COLUMNS, values, strict=True)), judgement, surprise)

    def _judged(
        self, answer: Taxon | None, catalogued: Catalogued, candidates: Sequence[Candidate]
    ) -> tuple[Judgement, str | None, str]:
        """The judgement, the most specific rank at which both agree, and what synonymy made of the answer's name."""
        if catalogued.taxon is None or catalogued.accepted is None:
            return "no catalogued name", None, ""
        if answer is None or answer.rank is None:
            return "no answer", None, ""
        accepted, why = self.accepted(answer)
        said = f"the answer {answer.scientific_name}: {why}" if accepted.lineage[5:] != answer.lineage[5:] else ""
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
        if is_within(*pairs[0]):
            return "agree", agrees_at, said
        if any(is_within(one, other) for one, other in pairs[1:]):
            return "synonym", agrees_at, said
        if at is not None and at.depth >= Rank.GENUS.depth:
            return "agree at genus", agrees_at, said
        if not catalogued.placed:
            beside = _placed(catalogued.accepted, lambda _name: [candidate.taxon for candidate in candidates])
            pairs += [(one, other) for one in (answer, accepted) for other in beside]
        above = next((one.rank for one, other in pairs if is_above(one, other)), None)
        if above is not None:
            return "agree above genus", above.value, said
        if catalogued.in_labels is False:
            return "not in the label set", agrees_at, said
        if any(_differ(one, other) for one, other in pairs):
            return "conflict", agrees_at, said
        return ("agree above genus" if at is not None else "no common rank"), agrees_at, said

    def _probability(
        self, candidates: Sequence[Candidate], catalogued: Catalogued, level: str
    ) -> tuple[float | None, bool]:
        """The catalogued taxon's probability, and whether it is stored: else it is the most that is left for it.

        The best few candidates are stored. One that is not among them has at most the probability of the last of them, and
        at most what all of them leave over.
        """
        if catalogued.taxon is None or catalogued.accepted is None or not candidates or level not in _RANK_OF:
            return None, False
        depth = _RANK_OF[level].depth
        # A species whose family nobody knows is not as probable as its whole order.
        wanted = [
            taxon.truncated(_RANK_OF[level])
            for taxon in (catalogued.taxon, catalogued.accepted, *catalogued.placed)
            if taxon.lineage[depth] or not any(taxon.lineage[depth:])
        ]
        if not wanted:
            return None, False
        named = [(candidate, self.accepted(candidate.taxon)[0]) for candidate in candidates]
        found = [
            candidate.probability
            for candidate, accepted in named
            if any(is_within(one, taxon) for one in (candidate.taxon, accepted) for taxon in wanted)
        ]
        if found:
            return sum(found), True
        left = 1.0 - sum(candidate.probability for candidate in candidates)
        return max(min(left, candidates[-1].probability), LEAST_PROBABILITY), False


def _placed(taxon: Taxon, bearing: Callable[[str], Iterable[Taxon]]) -> tuple[Taxon, ...]:
    """A taxon with the ranks that others have above it: those of its name, else those of its genus, its family and so on.

    Args:
        bearing: gives the taxa that may bear a name.
    """
    for rank in reversed(RANKS[1:]):
        own = taxon.truncated(rank)
        found = {one.truncated(rank).lineage: one for one in bearing(own.name_at(rank)) if same_at(rank, one, own)}
        agreeing = [lineage for lineage, one in found.items() if not contradicts(own, one)]
        # Checklists differ in families and classes, so that alone they only choose among several.
        if chosen := agreeing or (list(found) if len(found) == 1 else []):
            return tuple(
                Taxon.of([there or here for there, here in zip(lineage, taxon.lineage, strict=True)])
                for lineage in chosen
            )
    return ()


def _differ(one: Taxon, other: Taxon) -> bool:
    """Whether two taxa are not the same at a rank that both state."""
    stated = (rank for rank in RANKS if one.lineage[rank.depth] and other.lineage[rank.depth])
    return any(not same_at(rank, one, other) for rank in stated)


def _listed(columns: Iterable[str]) -> str:
    shown = sorted(columns)
    more = f" and {len(shown) - _COLUMNS_SHOWN} more" if len(shown) > _COLUMNS_SHOWN else ""
    return (", ".join(shown[:_COLUMNS_SHOWN]) + more) or "none"


_RANK_OF = {rank.value: rank for rank in RANKS}
_NAMES = frozenset(
    (*_RANK_OF, "scientificname", "verbatimscientificname", "verbatimidentification", "verbatimname", "specificepithet",
     "taxonrank", "vernacularname", "commonname")
)  # fmt: skip


def _first(metadata: Mapping[str, Any], keys: Sequence[str]) -> str | None:
    """The first of some values, whatever the case of its name."""
    cells = plain_cells(metadata)
    return next((str(cells[key]) for key in keys if cells.get(key) not in (None, "")), None)
