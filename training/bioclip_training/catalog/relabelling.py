"""Labels of kept rows that come from another row: its taxon in the place of the row's own, and a sentence about the change."""

from __future__ import annotations

from typing import Any

import numpy as np

from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.merging import Merged
from bioclip_training.catalog.tracing import Trace
from bioclip_training.catalog.writing import DraftReader

_NAMES = (*(rank.value for rank in RANKS), "common_name", "taxon_id")
_EVIDENCE = ("evidence", "identified_by", "date_identified")


class Relabelling:
    """The labels of rows that have those of other rows."""

    def __init__(self, draft: DraftReader, ledger: Ledger, merged: Merged, trace: Trace) -> None:
        self._draft, self._merged, self._trace = draft, merged, trace
        self._taxon_of_N = ledger.taxon_numbers
        self._of_other_N = merged.kept_N & (merged.label_of_N != np.arange(len(ledger)))

    def amended(self, here: slice, table: Any) -> Any:
        """Return a slice of the draft's rows with their labels in the catalog."""
        import pyarrow as pa

        places = np.flatnonzero(self._of_other_N[here])
        if not len(places):
            return table
        rows = places + here.start
        texts = self._draft.texts(self._merged.label_of_N[rows], (*_NAMES, *_EVIDENCE, "source"))
        columns = {name: table.column(name).to_pylist() for name in (*_NAMES, *_EVIDENCE, "changes")}
        sources = table.column("source").to_pylist()
        for place, row in zip(places.tolist(), rows.tolist(), strict=True):
            self._relabel(columns, place, row, sources[place], texts)
        for name, values in columns.items():
            kind = table.schema.field(name)
            table = table.set_column(table.column_names.index(name), kind, pa.array(values, kind.type))
        return table

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
