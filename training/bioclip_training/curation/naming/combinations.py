"""Distinct combinations of written names: what the records say of their names, once each, and the label of each combination."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioclip_core.taxonomy import Taxon
from bioclip_training.published.columns import RANK_COLUMNS

WRITTEN_COLUMNS = ("verbatim_name", *RANK_COLUMNS, "taxon_rank")
"""Columns of a record that decide its label."""
_CELLS = {"verbatim_name": "scientificname", "taxon_rank": "taxonrank"}


@dataclass(frozen=True, slots=True)
class Written:
    """One combination of written names."""

    number: int
    """Place in the sorted list of all combinations."""
    cells: dict[str, str]
    """Its cells by the plain names of :func:`~bioclip_core.taxonomy.read_row`; empty ones are missing."""
    rows: dict[str, int]
    """Number of records by source."""

    @classmethod
    def of(cls, number: int, values: tuple[str, ...], rows: dict[str, int]) -> Written:
        """Return a combination from the values of ``WRITTEN_COLUMNS``."""
        names = (_CELLS.get(column, column) for column in WRITTEN_COLUMNS)
        return cls(number, {name: value for name, value in zip(names, values, strict=True) if value}, rows)


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why a combination has no label."""

    kind: str
    """Words that follow a number of records: "whose name is ambiguous"."""
    reason: str
    """The sentence for one name."""


@dataclass(slots=True)
class Reading:
    """What is known of one combination. The reader fills it from its own cells; the settling, from all combinations."""

    number: int
    written: str
    """The name as the source writes it, for messages."""
    taxon: Taxon = field(default_factory=Taxon)
    """Empty if there is no label."""
    changes: list[str] = field(default_factory=list)
    """Every change from the written name to the label, in order."""
    taxon_id: str = ""
    """Id of the accepted taxon; empty for a name that no taxonomy decided."""
    outcome: str = ""
    unresolved: Unresolved | None = None
    proposal: Taxon | None = None
    """The taxon whose name is probably meant, for a misspelt one."""
    proposal_id: str = ""
    proposal_reason: str = ""
    says_place: bool = False
    """True if a rank above the genus is stated, by which homonyms are told apart."""
    may_be_common: str = ""
    """Words that may be a common name, for a combination without a label."""

    def refuse(self, kind: str, reason: str) -> None:
        """Take the label away, with the reason."""
        self.taxon, self.taxon_id = Taxon(), ""
        self.unresolved = Unresolved(kind, reason)
