"""Sources of a catalog: named listings of labelled items, and rows that are skipped with their reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bioclip_core.cells import DateOrder
from bioclip_training.catalog.rows import LabelledItem

SourceKind = Literal["table", "folder", "reviews"]


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is skipped, with the reason."""

    uri: str
    source: str
    kind: str
    """The reason in two words, by which rows are counted."""
    reason: str
    name: str = ""
    item: LabelledItem | None = None
    """For a review that is not a taxon: the image or box that it is about, whose label from another source it takes away."""


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """One source; it is read twice, first for its columns and then for its rows."""

    name: str
    kind: SourceKind
    items: Callable[[], Iterator[LabelledItem | SkippedRow]]
    """A fresh iterator in a stable order, which reads no image.

    Raises:
        SourceError: if the source as a whole cannot be read.
    """
    root: Path | None = None
    """Folder of a table or tree; None for a store."""
    moment_of: Callable[[bytes], tuple[str, float] | None] | None = None
    """Camera and time of an image in seconds, for a source without a column that says which images belong together."""
    date_order: DateOrder | None = None
    """Order of day and month that the user gave, for dates of identification that do not show it."""
    notes: tuple[str, ...] = ()
    """Lines that say what the source was taken for."""
