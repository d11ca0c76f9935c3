"""Kinds of input: the interface of a source, and the options that it is given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from bioclip_core.files.leftovers import temporary_folder
from bioclip_core.findings import Findings
from bioclip_core.process.forks import renew_after_fork
from bioclip_core.tables.options import TableOptions
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.items.request import DETECTION_THRESHOLD
from bioclip_plugin.items.time_zones import zone_of

if TYPE_CHECKING:
    from bioclip_plugin.store.records import StatedReview


class TemporaryFolders:
    """Folders for files that a source unpacks; they are removed together when the listing closes."""

    def __init__(self) -> None:
        self._folders: list[TemporaryDirectory[str]] = []

    def after_fork(self) -> None:
        """Leave the folders to the parent: the end of a child does not remove them."""
        for folder in self._folders:
            folder._finalizer.detach()  # type: ignore[attr-defined]
        self._folders = []

    def new(self) -> Path:
        """Make an empty folder. It exists until :meth:`close`, or until the process ends."""
        renew_after_fork(self)
        self._folders.append(temporary_folder("bioclip-images-"))
        return Path(self._folders[-1].name)

    def hold(self, path: Path | None) -> bool:
        """True if a file lies in one of the folders, so that it is gone when they are removed."""
        return path is not None and any(path.is_relative_to(folder.name) for folder in self._folders)

    def close(self) -> None:
        """Remove the folders and their files."""
        while self._folders:
            self._folders.pop().cleanup()


_UNTIL_EXIT = TemporaryFolders()


VideoClock = Literal["utc", "local", "file-date"]
"""Meaning of the times in videos."""
TurnedBoxes = Literal["refuse", "upright", "stored"]
"""Meaning of boxes on images that EXIF turns: unknown, of the upright image, or of the pixels as they are stored."""


@dataclass(frozen=True, slots=True)
class ListingOptions(TableOptions):
    """Options for reading the files of other programs."""

    base_folder: Path | None = field(default=None, metadata={"automatic": "the folder of the file itself"})
    """Folder where the relative paths in a table or in another program's file begin."""
    detection_threshold: float = field(default=DETECTION_THRESHOLD, metadata={"low": 0, "high": 1})
    """Confidence from which a box in a file is classified; boxes below it are kept without a name.

    In the listing of a Session the request's ``detection_threshold`` counts, for the boxes of its detector too.
    """
    turned_boxes: TurnedBoxes = "refuse"
    """Meaning of boxes on images that EXIF turns, for formats that do not define it."""
    allow_outside: bool = False
    """Follow paths in a file that lead out of the base folder."""
    frames_per_second: float = field(default=1.0, metadata={"above": 0})
    """Frames of a video to take per second."""
    time_zone: str | None = field(default=None, metadata={"check": zone_of})
    """Time zone of times without an offset, also of the camera's: Europe/Brussels, or +02:00."""
    video_clock: VideoClock = "utc"
    """Clock of the times in videos: UTC as the format asks for, the local time that many cameras write, or the date of the file."""
    findings: Findings = field(default_factory=Findings, repr=False, compare=False)
    """Values that cannot be read, skipped rows and other findings; the command prints them at its end."""
    lists_addresses: bool = field(default=False, repr=False, compare=False)
    """True if images on the web are listed as items, which the reader of the listing fetches or refuses. Set by the listing;
    otherwise a source skips them with the reason."""
    temporary: TemporaryFolders = field(default=_UNTIL_EXIT, repr=False, compare=False)
    """Place for images that are unpacked, since they are read after the source has listed them. Set by the listing,
    which removes them when it closes; without a listing they are removed when the process ends."""

    def settings(self) -> dict[str, Any]:
        """Return the options that a user sets, as plain JSON values."""
        values = {option.name: getattr(self, option.name) for option in fields(self) if option.compare}
        return {**values, "base_folder": os.fspath(self.base_folder) if self.base_folder else None}


class Source(Protocol):
    """One kind of input. Sources are asked in the order of their registration, plugins before built-ins."""

    name: str
    """Name of the kind of input, shown by ``plugins`` and in messages."""

    def takes(self, address: str) -> bool:
        """True if an address (a path, ``-``, or any text that a plugin understands) is for this source, by its content."""
        ...

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        """Yield the items in a stable order, without reading any image. An entry without a usable image is ``Unlisted``.

        Raises:
            SourceError: if the address as a whole cannot be read.
        """
        ...


@runtime_checkable
class ReviewingSource(Protocol):
    """A source whose files also hold reviews of the images."""

    def reviews(self, address: str, options: ListingOptions) -> Iterator[StatedReview]:
        """Yield the reviews of images, regions and events that :meth:`Source.items` lists."""
        ...
