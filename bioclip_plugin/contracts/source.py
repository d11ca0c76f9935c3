"""Kinds of input: what a source is, and the listing of what the user named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bioclip_core.options import check_options
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.items.time_zones import zone_of

if TYPE_CHECKING:
    from bioclip_plugin.store.records import StatedReview


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """How the files of other programs are read."""

    base_folder: Path | None = field(default=None, metadata={"automatic": "the folder of the file itself"})
    """Folder where the relative paths in a table or in another program's file begin."""
    detection_threshold: float = field(default=0.2, metadata={"low": 0, "high": 1})
    """Confidence from which a detector's box is classified; boxes below it are kept without a name."""
    allow_outside: bool = False
    """Follow paths in a file that lead out of the base folder."""
    frames_per_second: float = field(default=1.0, metadata={"above": 0})
    """Frames of a video to take per second."""
    time_zone: str | None = field(default=None, metadata={"check": zone_of})
    """Time zone of times without an offset, also of the camera's: Europe/Brussels, or +02:00."""

    def __post_init__(self) -> None:
        check_options(self)

    def settings(self) -> dict[str, Any]:
        """The options as plain JSON values."""
        values = asdict(self)
        return {**values, "base_folder": os.fspath(self.base_folder) if self.base_folder else None}


class Source(Protocol):
    """One kind of input. Sources are asked in the order of their registration, plugins before built-ins."""

    name: str
    """Shown by ``plugins`` and in messages."""

    def takes(self, address: str) -> bool:
        """Whether this address (a path, ``-``, or whatever a plugin understands) is for this source; looks at content, not names."""
        ...

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        """List in a stable order, without reading any image.

        Raises:
            SourceError: if the address as a whole cannot be read.
        """
        ...


@runtime_checkable
class ReviewingSource(Protocol):
    """A source whose files also hold what people said of the images."""

    def reviews(self, address: str, options: ListingOptions) -> Iterator[StatedReview]:
        """What people said, of images, regions and events that :meth:`Source.items` lists."""
        ...
