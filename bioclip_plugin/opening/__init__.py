"""Media that become several items or that need a reader of their own: videos, TIFF pages, RAW and HEIF.

The readers are imported when the first file is opened, so that ``--help`` imports no imaging library.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import ImageError
from bioclip_core.files.present import is_file
from bioclip_core.images.unexpected import contained
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.hookspecs import hookimpl
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of
from bioclip_plugin.items.web import is_remote

if TYPE_CHECKING:
    from PIL import Image

    from bioclip_plugin.opening.frames import VideoFrames


class BuiltInMedia:
    """The built-in kinds of media, as a plugin. One per plugin manager, since it keeps videos open; close it after use."""

    @hookimpl(trylast=True)
    def expand_media(self, item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
        # An item with boxes or a frame number is one image already, and one on the web has no file yet.
        if (
            is_remote(item)
            or item.data is not None
            or item.image is not None
            or item.detected
            or item.regions
            or item.frame
            or item.is_part
        ):
            return None
        from bioclip_plugin.opening import pages, video

        path = _path(item)
        if video.is_video(path) and is_file(path):
            frames = video.frames_of(item, path, options.frames_per_second, options.video_clock, options.findings)
            return _until_a_fault(item, frames)
        if not pages.is_tiff(path):
            return None
        try:
            with contained(item.uri):
                return pages.pages_of(item, path, options.findings)
        except ImageError as error:
            return [Unlisted(item.uri, str(error), item.frame)]

    @hookimpl(trylast=True)
    def open_media(self, item: MediaItem) -> Image.Image | None:
        if item.image is not None:
            return None
        from bioclip_plugin.opening import heif, pages, raw, video

        path = _path(item)
        if item.data is None and video.is_video(path):
            return self._videos().frame(path, item.frame)
        return pages.open_page(item, path) or heif.open_heif(item, path) or raw.open_raw(item, path)

    @hookimpl
    def media_suffixes(self) -> Iterable[str]:
        from bioclip_plugin.opening import heif, pages, raw, video

        return sorted(video.SUFFIXES | pages.SUFFIXES | heif.SUFFIXES | raw.SUFFIXES)

    def _videos(self) -> VideoFrames:
        """Return the open videos, one object for all threads.

        It is not a cached property: pluggy before 1.7 reads those when a plugin is registered, and Python 3.12 and later may
        compute one for each of several threads.
        """
        from bioclip_plugin.opening.frames import VideoFrames

        found: VideoFrames = vars(self).get("_frames") or vars(self).setdefault("_frames", VideoFrames())
        return found

    def close(self) -> None:
        """Close the open videos."""
        if "_frames" in vars(self):
            self._videos().close()


def _until_a_fault(item: MediaItem, parts: Iterable[MediaItem | Unlisted]) -> Iterator[MediaItem | Unlisted]:
    """Yield the parts of a file; a fault in listing them is an entry, and never the end of the run."""
    entries, following = iter(parts), item.frame
    while True:
        try:
            with contained(item.uri):
                part = next(entries, None)
        except ImageError as error:
            yield Unlisted(item.uri, str(error), following)
            return
        if part is None:
            return
        following = part.frame + 1
        yield part


def _path(item: MediaItem) -> Path:
    return item.path if item.path is not None else path_of(item.uri)
