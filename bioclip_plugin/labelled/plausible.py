"""Tables whose column of a rank holds labels: they are refused, since a label would become a taxon in silence."""

from __future__ import annotations

import re
from itertools import islice

from bioclip_core.cells import column_name, is_unknown
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.nouns import number_of
from bioclip_core.tables.reading import open_table
from bioclip_core.tables.rows import Table
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import path_of

_LOOKED_AT = 500
"""Rows that are looked at."""
_HIGHER = tuple(rank.value for rank in RANKS[:5])
_BINOMIAL = re.compile(r"[A-Z][a-z-]+ [a-z][a-z-]+( .*)?")
_PLACEHOLDER = re.compile(
    r"(?i)(not|no|un)[ _-]?(classified|assigned|known|available)\w*|incertae[ _]sedis.*|unclassified.*|unassigned.*"
)
_CODED = re.compile(r".*[\d_].*")


def check_ranks(address: str, options: ListingOptions) -> None:
    """Refuse a table in which most cells of a rank column, kingdom to family, are not names of that rank.

    Raises:
        SourceError: for such a column, with the options that say what it is. Other faults of the table are left to its reader.
    """
    try:
        table = open_table(path_of(address), options, Findings())
        ranks = {name: heading for heading in table.header for name in _HIGHER if column_name(heading) == name}
        cells = _first_cells(table, list(ranks.values())) if ranks else {}
    except SourceError:
        return
    for name, heading in ranks.items():
        wrong = [cell for cell in cells[heading] if _is_label(cell)]
        if wrong and 2 * len(wrong) > len(cells[heading]):
            raise SourceError(
                f"{table.name}: the column {heading} holds {wrong[0]!r} and the like in {len(wrong)} of "
                f"{number_of(len(cells[heading]), 'row')} that were looked at, and a {name} has a single name. State what it is: "
                f"--column scientificName={heading} for names of taxa, --column vernacularName={heading} with --plain-labels for "
                "words; or take the column out"
            )


def _first_cells(table: Table, headings: list[str]) -> dict[str, list[str]]:
    """Return the cells of some columns in the first rows that have a value."""
    found: dict[str, list[str]] = {heading: [] for heading in headings}
    for row in islice(table, _LOOKED_AT):
        for heading in headings:
            cell = str(row.cells.get(heading, "")).strip()
            if not is_unknown(cell) and not _PLACEHOLDER.fullmatch(cell):
                found[heading].append(cell)
    return found


def _is_label(cell: str) -> bool:
    return bool(_BINOMIAL.fullmatch(cell) or _CODED.fullmatch(cell))
