"""The tree of EOL (``taxon.tab``): the names of a page at every rank, by the chain of its parents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.layout import ReadOptions
from bioclip_training.published.reading.tables import open_columns

_LONGEST_CHAIN = 200  # EOL's deepest chains have some 60 taxa
_WANTED = {
    "taxon": ["taxonID"],
    "parent": ["parentNameUsageID"],
    "accepted": ["acceptedNameUsageID"],
    "written": ["scientificName"],
    "canonical": ["canonicalName"],
    "rank": ["taxonRank"],
    "page": ["eolID", "page_id"],
}
NO_PARENT = "taxa of taxon.tab have a parent that is not there; the ranks above are empty"
IN_A_CIRCLE = "taxa of taxon.tab are their own ancestors; the ranks that were found before the circle are used"
TWO_ROWS = "EOL pages have several taxa; an accepted one counts, of several the first"

Numbers = npt.NDArray[np.int32]


class EolTaxa:
    """Names by EOL page. Memory: about 250 bytes per taxon."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        """Read the table.

        Args:
            path: ``taxon.tab``.
            options: for chains that break off.

        Raises:
            SourceError: if it cannot be read, or lacks a column.
        """
        table = open_columns(
            path, options.findings, options.table, needed=("taxonID", "parentNameUsageID", "scientificName", "eolID")
        )
        batches = list(table.columns(_WANTED))
        rows = pa.Table.from_batches(batches, pa.schema([(name, pa.string()) for name in _WANTED])).combine_chunks()
        self._column = {name: _whole(rows.column(name)) for name in _WANTED}
        written = self._column["written"]
        self._names = pc.if_else(pc.equal(self._column["canonical"], ""), written, self._column["canonical"])
        self._accepted = self._rows_of(self._column["accepted"])
        self._ancestors = self._chains(options)
        self._pages, self._page_rows = self._by_page(options)

    def __len__(self) -> int:
        return len(self._names)

    def rows_of_pages(self, pages: pa.Array) -> Numbers:
        """Return the row of each page; -1 for a page that the table does not have."""
        found = pc.index_in(pages, self._pages)
        return (
            np.where(
                found.is_valid().to_numpy(zero_copy_only=False), self._page_rows[pc.fill_null(found, 0).to_numpy()], -1
            ).astype(np.int32)
            if len(self._pages)
            else np.full(len(pages), -1, np.int32)
        )

    def names_of(self, rows: Numbers) -> dict[str, pa.Array]:
        """Return the columns ``verbatim_name``, ``taxon_rank`` and those of ranks for some rows; empty for -1."""
        columns = {
            "verbatim_name": _take(self._column["written"], rows),
            "taxon_rank": _take(self._column["rank"], rows),
        }
        for place, rank in enumerate(RANK_COLUMNS):
            columns[rank] = _take(self._names, np.where(rows >= 0, self._ancestors[place][rows], -1))
        return columns

    def _rows_of(self, ids: pa.Array) -> Numbers:
        found = pc.index_in(ids, self._column["taxon"])
        numbers: Numbers = pc.fill_null(found, -1).to_numpy().astype(np.int32)
        numbers[pc.equal(ids, "").to_numpy(zero_copy_only=False)] = -1
        return numbers

    def _chains(self, options: ReadOptions) -> list[Numbers]:
        """Return by rank the row of the ancestor of each row, -1 without one."""
        parents = self._rows_of(self._column["parent"])
        lost = (parents < 0) & pc.not_equal(self._column["parent"], "").to_numpy(zero_copy_only=False)
        self._say(options, NO_PARENT, lost)
        coded = pc.index_in(pc.utf8_lower(self._column["rank"]), pa.array(RANK_COLUMNS))
        ranks = pc.fill_null(coded, -1).to_numpy().astype(np.int8)
        ancestors = [np.full(len(parents), -1, np.int32) for _ in RANK_COLUMNS]
        rows = np.arange(len(parents), dtype=np.int32)
        at = np.where(self._accepted >= 0, self._accepted, rows)  # a synonym has the place of its accepted taxon
        for _ in range(_LONGEST_CHAIN):
            if not len(rows):
                break
            here = ranks[at]
            for place, found in enumerate(ancestors):
                chosen = rows[(here == place) & (found[rows] < 0)]
                found[chosen] = at[(here == place) & (found[rows] < 0)]
            above = parents[at]
            rows, at = rows[above >= 0], above[above >= 0]
        circling = np.zeros(len(parents), np.bool_)
        circling[rows] = True
        self._say(options, IN_A_CIRCLE, circling)
        return ancestors

    def _say(self, options: ReadOptions, text: str, wrong: npt.NDArray[np.bool_]) -> None:
        if wrong.any():
            first = int(wrong.argmax())
            example = f"{self._column['taxon'][first]} ({self._column['written'][first]}, parent {self._column['parent'][first]})"
            options.findings.add(text, example, int(wrong.sum()))

    def _by_page(self, options: ReadOptions) -> tuple[pa.Array, Numbers]:
        """Return the pages and the row of each: an accepted one before a synonym."""
        pages = self._column["page"]
        has_page = pc.not_equal(pages, "").to_numpy(zero_copy_only=False)
        own = self._accepted == np.arange(len(pages))
        order = np.argsort((self._accepted >= 0) & ~own, kind="stable")
        order = order[has_page[order]].astype(np.int32)
        ordered = pages.take(pa.array(order))
        first = np.unique(pc.index_in(ordered, ordered).to_numpy(), return_index=True)[1]
        if len(first) < len(order):
            again = np.setdiff1d(np.arange(len(order)), first)[0]
            options.findings.add(TWO_ROWS, f"page {ordered[int(again)]}", len(order) - len(first))
        return ordered.take(pa.array(first)), order[first]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _take(values: pa.Array, rows: npt.NDArray[np.integer]) -> pa.Array:
    return pc.fill_null(values.take(pa.array(rows, mask=rows < 0)), "")
