"""What a catalog is built from: named sources of labelled items, and rows that are left out with their reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bioclip_training.catalog.rows import LabelledItem

SourceKind = Literal["table", "folder", "reviews"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not in the catalog, and why."""

    uri: str
    source: str
    kind: str
    """In two words, by which rows are counted."""
    reason: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """One source; it is read twice, first for its columns and then for its rows."""

    name: str
    kind: SourceKind
    items: Callable[[], Iterator[LabelledItem | LeftOut]]
    """A fresh iterator in a stable order, which reads no image.

    Raises:
        SourceError: if the source as a whole cannot be read.
    """
    root: Path | None = None
    """The folder of a table or tree; None where there is none."""
    moment_of: Callable[[bytes], tuple[str, float] | None] | None = None
    """For a source that does not say which images belong together: an image's camera and when it was taken, in seconds."""
