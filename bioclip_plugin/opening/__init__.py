"""Media that become several items or that need a reader of their own: videos, TIFF pages, RAW and HEIF."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_plugin.hookspecs import hookimpl
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of
from bioclip_plugin.opening import heif, pages, raw, video
from bioclip_plugin.opening.frames import VideoFrames

if TYPE_CHECKING:
    from PIL import Image

    from bioclip_plugin.contracts.source import ListingOptions


class BuiltInMedia:
    """The built-in kinds of media, as a plugin. One a plugin manager, since it keeps videos open; close it after use."""

    def __init__(self) -> None:
        self._frames = VideoFrames()

    @hookimpl(trylast=True)
    def expand_media(self, item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
        if not _is_whole(item):
            return None
        path = _path(item)
        if video.is_video(path) and path.is_file():
            return video.frames_of(item, path, options.frames_per_second)
        return pages.pages_of(item, path) if pages.is_tiff(path) else None

    @hookimpl(trylast=True)
    def open_media(self, item: MediaItem) -> Image.Image | None:
        if item.image is not None:
            return None
        path = _path(item)
        if item.data is None and video.is_video(path):
            return self._frames.frame(path, item.frame)
        return pages.open_page(item, path) or heif.open_heif(item, path) or raw.open_raw(item, path)

    @hookimpl
    def media_suffixes(self) -> Iterable[str]:
        return sorted(video.SUFFIXES | pages.SUFFIXES | heif.SUFFIXES | raw.SUFFIXES)

    def close(self) -> None:
        """Give back the videos that are open."""
        self._frames.close()


def _is_whole(item: MediaItem) -> bool:
    """Whether the item is a file as it was found: what a detector looked at, or what names its frame, is one item already."""
    return item.data is None and item.image is None and not item.detected and not item.regions and item.frame == 0


def _path(item: MediaItem) -> Path:
    return item.path if item.path is not None else path_of(item.uri)
