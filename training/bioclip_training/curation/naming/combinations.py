"""Distinct combinations of written names: what the records say of their names, once each, and the label of each combination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from bioclip_core.taxonomy import Taxon
from bioclip_training.published.columns import RANK_COLUMNS

WRITTEN_COLUMNS = ("verbatim_name", *RANK_COLUMNS, "taxon_rank")
"""Columns of a record that decide its label."""
_CELLS = {"verbatim_name": "scientificname", "taxon_rank": "taxonrank"}


Rows = tuple[tuple[str, int], ...]
"""Number of records of each source, sources sorted."""


@dataclass(frozen=True, slots=True)
class Written:
    """One combination of written names."""

    number: int
    """Place in the sorted list of all combinations."""
    cells: dict[str, str]
    """Its cells by the plain names of :func:`~bioclip_core.taxonomy.read_row`; empty ones are missing."""
    rows: Rows


class Combinations:
    """All combinations, in the order of their cells, as Arrow columns: a list of objects would need five times the memory."""

    def __init__(self, table: pa.Table) -> None:
        """Keep a table with ``WRITTEN_COLUMNS``, ``sources`` (sorted) and ``counts`` (records of each source)."""
        self.table = table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def chunks(self, size: int) -> Iterator[list[Written]]:
        """Yield all combinations, some at a time."""
        names = [_CELLS.get(column, column) for column in WRITTEN_COLUMNS]
        for start in range(0, len(self), size):
            part = self.table.slice(start, size)
            columns = [part[column].to_pylist() for column in WRITTEN_COLUMNS]
            rows = map(zip, part["sources"].to_pylist(), part["counts"].to_pylist())
            yield [
                Written(number, {name: cell for name, cell in zip(names, cells, strict=True) if cell}, tuple(counted))
                for number, (counted, *cells) in enumerate(zip(rows, *columns, strict=True), start)
            ]


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
    rows: Rows
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
    unplaced: str = ""
    """Reason why the label counts only if other records say where its taxon belongs."""
    may_be_common: str = ""
    """Words that may be a common name, for a combination without a label."""

    def refuse(self, kind: str, reason: str) -> None:
        """Take the label away, with the reason."""
        self.taxon, self.taxon_id, self.unplaced = Taxon(), "", ""
        self.unresolved = Unresolved(kind, reason)
