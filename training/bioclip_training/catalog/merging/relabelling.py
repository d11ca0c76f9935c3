"""Facts of kept rows that come from rows merged with them: the label that counts, with a sentence about the change, and the licence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.merging.merge import Fate, Merged
from bioclip_training.catalog.merging.tracing import Trace
from bioclip_training.catalog.writing import DraftReader

_NAMES = (*(rank.value for rank in RANKS), "common_name", "taxon_id")
_EVIDENCE = ("evidence", "identified_by", "date_identified")
_FILLED = ("source_id", "licence")
"""Columns that are taken from a merged row if the kept one, such as a reviewed box, has nothing in them."""


class Relabelling:
    """The facts of rows that have them from other rows."""

    def __init__(self, draft: DraftReader, ledger: Ledger, merged: Merged, trace: Trace) -> None:
        self._draft, self._merged, self._trace = draft, merged, trace
        self._taxon_of_N = ledger.taxon_numbers
        self._of_other_N = merged.kept_N & (merged.label_of_N != np.arange(len(ledger)))
        donors = np.flatnonzero(np.isin(merged.fate_of_N, (Fate.REPEATED, Fate.OVERRULED, Fate.OF_BOXES)))
        # By the row that stays, then by the name of the source, whatever the order of the sources.
        self._donors = donors[np.lexsort((donors, ledger.source_numbers[donors], merged.by_of_N[donors]))]
        self._by = merged.by_of_N[self._donors]

    def amended(self, here: slice, table: Any) -> Any:
        """Return a slice of the draft's rows with the facts that they have in the catalog."""
        return self._relabelled(here, self._filled(here, table))

    def _filled(self, here: slice, table: Any) -> Any:
        """Return the rows with empty cells filled from the rows that were merged with them."""
        donors = self._donors[slice(*np.searchsorted(self._by, (here.start, here.stop)))]
        if not len(donors):
            return table
        texts = self._draft.texts(donors, _FILLED)
        columns = {name: table.column(name).to_pylist() for name in _FILLED}
        for donor in donors.tolist():
            place = int(self._merged.by_of_N[donor]) - here.start
            for name, text in zip(_FILLED, texts[donor], strict=True):
                columns[name][place] = columns[name][place] or text
        return _with(table, columns)

    def _relabelled(self, here: slice, table: Any) -> Any:
        places = np.flatnonzero(self._of_other_N[here])
        if not len(places):
            return table
        rows = places + here.start
        texts = self._draft.texts(self._merged.label_of_N[rows], (*_NAMES, *_EVIDENCE, "source"))
        columns = {name: table.column(name).to_pylist() for name in (*_NAMES, *_EVIDENCE, "changes")}
        sources = table.column("source").to_pylist()
        for place, row in zip(places.tolist(), rows.tolist(), strict=True):
            self._relabel(columns, place, row, sources[place], texts)
        return _with(table, columns)

    def _relabel(
        self, columns: dict[str, list[Any]], place: int, row: int, source: str, texts: dict[int, tuple[Any, ...]]
    ) -> None:
        label = int(self._merged.label_of_N[row])
        *values, label_source = texts[label]
        given = dict(zip((*_NAMES, *_EVIDENCE), values, strict=True))
        if self._taxon_of_N[row] == self._taxon_of_N[label]:  # only the evidence is another one
            given = {name: given[name] for name in _EVIDENCE}
        else:
            evidence = self._trace.evidence(label)
            columns["changes"][place] = [
                *columns["changes"][place],
                f"label {self._trace.label(row)!r} of {source} replaced by the {evidence} in {label_source}",
            ]
        for name, value in given.items():
            columns[name][place] = value


def _with(table: Any, columns: Mapping[str, list[Any]]) -> Any:
    """Return a table with some columns replaced."""
    import pyarrow as pa

    for name, values in columns.items():
        kind = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), kind, pa.array(values, kind.type))
    return table
