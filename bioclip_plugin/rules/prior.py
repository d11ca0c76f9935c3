"""Rule ``prior``: a soft weight per taxon by country, region, box of coordinates and month, from a table of ranges."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet
from bioclip_plugin.contracts.rule import Rule
from bioclip_plugin.items.media import Place
from bioclip_plugin.rules.range_table import COLUMNS, RangeTable, read_ranges
from bioclip_plugin.rules.tables import missing_note, rows_of_names

_KEPT_BYTES = 64 << 20  # of remembered weights; a million labels are 4 MB per kind of place


@dataclass(frozen=True, slots=True)
class PriorSettings:
    """The table, and the weight of its taxa elsewhere."""

    file: Path = field(metadata={"what": f"A .csv or .tsv with the columns {', '.join(COLUMNS)}."})
    floor: float = field(
        default=0.01,
        metadata={"what": "Weight of a taxon of the table where none of its rows fits the place.", "low": 0},
    )


class Prior(Rule):
    """Multiplies the probability of each label by the weight that a table gives its taxon at the image's place and month.

    A row fits a place if all that it states does. Of the rows of one taxon that fit, the largest weight counts; where none
    fits it is ``floor``, and where that is unknown, because the image lacks its place or month, 1. A taxon that the table
    does not name keeps 1; of a taxon and a group that it belongs to, the narrower one counts.
    """

    name = "prior"
    description = (
        "A weight per taxon from a table of ranges, by country, region, coordinates and month; soft, not a fence."
    )
    order = 2
    settings_type = PriorSettings
    weighs = True

    def __init__(self, settings: PriorSettings) -> None:
        super().__init__(settings)
        self._table: RangeTable | None = None
        self._labels: LabelSet | None = None
        self._rows: list[tuple[int, NDArray[np.int64]]] = []
        self._kept: OrderedDict[bytes, NDArray[np.float32] | None] = OrderedDict()

    def read(self) -> None:
        self._table = read_ranges(self.settings.file)

    def notes(self, labels: LabelSet) -> list[str]:
        assert self._table is not None
        names = self._table.names
        found, missing = rows_of_names(labels, names)
        # From the widest group to the narrowest, so that the narrower one's weight is written last.
        self._rows = sorted(
            ((n, found[name]) for n, name in enumerate(names) if name in found), key=lambda entry: -len(entry[1])
        )
        self._labels = labels
        self._kept.clear()
        return missing_note(self.settings.file, missing, len(names))

    def weights(self, place: Place, labels: LabelSet) -> NDArray[np.float32] | None:
        if self._labels is not labels:
            self.notes(labels)
        assert self._table is not None
        by_taxon_T = self._table.weights(place, self.settings.floor)
        key = by_taxon_T.tobytes()
        if key not in self._kept:
            weights_N = np.ones(len(labels), dtype=np.float32)
            for n, rows in self._rows:
                weights_N[rows] = by_taxon_T[n]
            self._kept[key] = None if bool((weights_N == 1).all()) else weights_N
            while len(self._kept) > max(2, _KEPT_BYTES // (4 * len(labels))):
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
