"""The file source: one image file, whatever its suffix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bioclip_plugin.media import MediaItem, Unlisted, path_of, uri_of
from bioclip_plugin.sources import ListingOptions


class FilesSource:
    """Lists a file that was named itself. Registered last, since it takes any file."""

    name = "file"

    def takes(self, address: str) -> bool:
        return path_of(address).is_file()

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        path = Path(address)
        yield MediaItem(uri=uri_of(address), path=path if path.is_file() else path_of(address))
