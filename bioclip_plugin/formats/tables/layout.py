"""A run as a table: its columns and its rows, for every format of tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import RowUnit
from bioclip_plugin.formats.tables.columns import COLUMNS_OF, Cells
from bioclip_plugin.formats.tables.event_rows import event_rows
from bioclip_plugin.formats.tables.image_rows import image_rows
from bioclip_plugin.formats.tables.keys import KeyCells
from bioclip_plugin.formats.tables.region_rows import region_rows

_ROWS: dict[RowUnit, Callable[[Export, KeyCells], Iterator[Cells]]] = {
    "region": region_rows,
    "image": image_rows,
    "event": event_rows,
}


@dataclass(frozen=True)
class Layout:
    """The columns of a table, and its rows, which may be read once."""

    columns: tuple[str, ...]
    rows: Iterator[Cells]


def layout_of(export: Export) -> Layout:
    """Return the table that an export asks for.

    Raises:
        DataError: for a kept column that no item has.
    """
    keys, per = KeyCells(export), export.options.per
    return Layout((*COLUMNS_OF[per], *keys.columns), _ROWS[per](export, keys))


def missing_columns(header: Collection[str]) -> list[str]:
    """Return the columns that a table lacks to be one of ours; keys and kept columns may be missing."""
    closest = max(COLUMNS_OF.values(), key=lambda names: len(set(names).intersection(header)))
    return [name for name in closest if name not in header]


def begins_like_ours(header: tuple[str, ...]) -> bool:
    """True if a header begins with the columns of one of our tables."""
    return any(header[: len(names)] == names for names in COLUMNS_OF.values())
