"""The media of an export: each file with its frames, its reviews, and the cells that its package had for it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from pathlib import PurePosixPath
from typing import Any

from bioclip_core.cells import moment_of
from bioclip_core.errors import DataError
from bioclip_core.files.drives import relative
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.camtrap_dp.read_files import DEPLOYMENT_KEY, MEDIA_KEY, PACKAGE_KEY
from bioclip_plugin.formats.camtrap_dp.schema import SCHEME, is_json_object
from bioclip_plugin.items.deployments import stamp
from bioclip_plugin.items.media import path_of
from bioclip_plugin.items.time_zones import in_zone, moment_in
from bioclip_plugin.store.records import Review, StoredItem

_SURE_YEARS = range(1900, 2200)
_AT_ONCE = 256  # media whose reviews are queried together
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "bioclip-plugin:camtrap-dp")
# The computer's own list of media types differs from one to the next.
_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg", "jp2": "image/jp2", "png": "image/png", "gif": "image/gif",
    "bmp": "image/bmp", "webp": "image/webp", "tif": "image/tiff", "tiff": "image/tiff", "heic": "image/heic", "heif": "image/heif",
    "avif": "image/avif", "dng": "image/x-adobe-dng", "nef": "image/x-nikon-nef", "cr2": "image/x-canon-cr2", "cr3": "image/x-canon-cr3",
    "arw": "image/x-sony-arw", "mp4": "video/mp4", "m4v": "video/mp4", "mov": "video/quicktime", "avi": "video/x-msvideo",
    "mkv": "video/x-matroska", "webm": "video/webm", "mpg": "video/mpeg", "mpeg": "video/mpeg", "3gp": "video/3gpp",
    "wmv": "video/x-ms-wmv", "mts": "video/mp2t",
}  # fmt: skip
_WRITTEN_BY_THE_CAMERA = (
    "camera_make", "camera_model", "camera_serial_number", "sequence_number", "sequence_length", "event_number", "temperature_c",
    "moon_phase", "capture_method",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Medium:
    """One file. Its frames are consecutive in the listing; an image has one."""

    uri: str
    whole: tuple[StoredItem, ...]
    """Its frames with all their regions, which together decide whether it is public."""
    chosen: tuple[StoredItem, ...]
    """Its frames with the regions that are selected for the export."""
    reviews: tuple[Review, ...]
    media_cells: Mapping[str, str]
    """Its row in the Camtrap DP package that it came from; empty for other sources."""
    deployment_cells: Mapping[str, str]
    package: Mapping[str, str]
    time_zone: str | None

    @property
    def first(self) -> StoredItem:
        return self.chosen[0]

    @property
    def is_listed_only(self) -> bool:
        """True if it is not a file but an entry that could not be listed."""
        failure = self.first.failure
        return failure is not None and failure.stage == "list" and not self.media_cells

    @property
    def deployment(self) -> str:
        """The name of its deployment."""
        member = self.first.item.membership
        name = member.deployment if member else self.first.item.deployment or ""
        return name.strip()  # an identifier must not begin or end with white space

    @property
    def is_named(self) -> bool:
        """True if a column, a table or a pattern names its deployment; False if its camera and folder stand for it."""
        member = self.first.item.membership
        return member is not None and member.is_named

    def moment(self, frame: StoredItem | None = None) -> datetime | None:
        """Return the time of recording (of a frame): naive if the time zone is unknown, None if the time is unknown.

        A time that the format does not hold, such as one in the year 1, is unknown too.
        """
        if captured := (frame or self.first).item.captured_at:
            is_plausible = captured.year in _SURE_YEARS or moment_of(stamp(captured)) is not None
            return in_zone(captured, self.time_zone).replace(microsecond=0) if is_plausible else None
        return moment_in(self.media_cells.get("timestamp", ""), self.time_zone)

    def file_path(self, base: str) -> str:
        """Return ``filePath``: as its package had it, else relative to the base folder; a web address as it is.

        Raises:
            DataError: for a file outside the base folder.
        """
        given = self.media_cells.get("filePath")
        if given or SCHEME.match(self.uri):
            return given or self.uri
        name = os.fspath(path_of(self.uri))
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            name = self.uri  # the table is UTF-8; the name keeps its escapes
        found = (relative(name, base or os.curdir) or os.pardir).replace("\\", "/")
        if found == ".." or found.startswith("../"):
            raise DataError(
                f"the image {self.uri} is not in the base folder {base}: give one that holds all images with --base-folder"
            )
        return found

    def mediatype(self, path: str) -> str:
        """Return ``fileMediatype``: as stated if it is a media type, else by the suffix of the path."""
        given = self.media_cells.get("fileMediatype", "")
        if given.startswith(("image/", "video/", "audio/")) and len(given) > len("image/"):
            return given
        return _TYPES.get(PurePosixPath(path).suffix.lower().removeprefix("."), "image/unknown")

    def exif(self, *, hide_places: bool) -> str:
        """Return ``exifData``: as stated if it is JSON, else the camera's own values, without any position.

        Args:
            hide_places: never as stated, since it may have the GPS position of a deployment whose place is rounded.
        """
        given, metadata = self.media_cells.get("exifData", ""), self.first.item.metadata
        if given and not hide_places and is_json_object(given):
            return given
        found = {name: metadata[name] for name in _WRITTEN_BY_THE_CAMERA if name in metadata}
        return json.dumps(found, ensure_ascii=False, sort_keys=True) if found else ""


def made_id(*parts: Any) -> str:
    """Return an identifier that depends only on the parts, so that the same store gives the same package."""
    return str(uuid.uuid5(_IDS, "\x1f".join(str(part) for part in parts)))


def media_of(export: Export, ranks: Collection[str]) -> Iterator[Medium]:
    """Yield the media of an export in listing order, in flat memory.

    Args:
        export: the export; may be asked several times.
        ranks: the levels whose candidates are needed; fewer are read faster.
    """
    groups = (list(frames) for _, frames in groupby(_items(export, ranks), key=lambda pair: pair[0].item.uri))
    while together := list(islice(groups, _AT_ONCE)):
        by_frame = export.reviews_of([whole for group in together for whole, _ in group])
        for group in together:
            reviews = tuple(
                review for whole, _ in group for review in by_frame.get((whole.item.uri, whole.item.frame), ())
            )
            metadata = [group[0][0].item.metadata, *(review.details for review in reviews)]
            yield Medium(
                uri=group[0][0].item.uri,
                whole=tuple(whole for whole, _ in group),
                chosen=tuple(chosen for _, chosen in group),
                reviews=reviews,
                media_cells=stated(metadata, MEDIA_KEY),
                deployment_cells=stated(metadata, DEPLOYMENT_KEY),
                package=stated(metadata, PACKAGE_KEY),
                time_zone=export.options.time_zone,
            )


def _items(export: Export, ranks: Collection[str]) -> Iterator[tuple[StoredItem, StoredItem]]:
    """Yield each item as it is stored, and with the regions that are selected."""
    wanted = None if export.selection else ranks  # a selection may depend on any level
    for number, item in enumerate(export.store.items_of(export.run, ranks=wanted), start=1):
        if export.on_item:
            export.on_item(number)
        whole = export.completed(item)
        chosen = export.selection.of(whole) if export.selection else whole
        if chosen is not None:
            yield whole, chosen


def stated(metadata: Sequence[Mapping[str, Any]], key: str) -> dict[str, str]:
    """Return the cells that the first of several mappings has under a key."""
    found = next((cells for mapping in metadata if (cells := mapping.get(key)) and isinstance(cells, dict)), {})
    return {str(name): str(cell) for name, cell in found.items()}


def folder_above(uri: str) -> str | None:
    """Return the folder of a file; None for a web address."""
    return None if SCHEME.match(uri) else os.path.dirname(os.fspath(path_of(uri)))  # noqa: PTH120 - '' is a folder here
