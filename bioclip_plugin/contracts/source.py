"""Kinds of input: what a source is, and the listing of what the user named."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bioclip_core.errors import UsageError
from bioclip_plugin.items.media import MediaItem, Unlisted

if TYPE_CHECKING:
    from bioclip_plugin.store.records import StatedReview


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """How the files of other programs are read."""

    base_folder: Path | None = None
    """Where the relative paths in a file begin; None: in the folder of the file itself."""
    detection_threshold: float = 0.2
    """A detector's box of at least this confidence is classified; one below it is kept, not named. From 0 to 1."""
    allow_outside: bool = False
    """Whether a file may name images outside the base folder: by absolute paths, or by ``..``."""
    frames_per_second: float = 1.0
    """Frames of a video that are taken a second of it, above 0."""
    time_zone: str | None = None
    """Of times without an offset: a name such as ``Europe/Brussels``, or ``+02:00``."""

    def settings(self) -> dict[str, Any]:
        """The options as plain JSON values."""
        values = asdict(self)
        return {**values, "base_folder": os.fspath(self.base_folder) if self.base_folder else None}

    def __post_init__(self) -> None:
        if not (math.isfinite(self.detection_threshold) and 0 <= self.detection_threshold <= 1):
            raise UsageError(f"detection_threshold {self.detection_threshold}: allowed is a number from 0 to 1")
        if not (math.isfinite(self.frames_per_second) and self.frames_per_second > 0):
            raise UsageError(f"frames_per_second {self.frames_per_second}: allowed is a number above 0")


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
