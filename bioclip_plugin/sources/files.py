"""The file source: one image file with any suffix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.streamed_json import beginning
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of


class FilesSource:
    """Lists a file that the user named. Registered last, since it takes any file but JSON."""

    name = "file"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return path.is_file() and not beginning(path).text

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        path = Path(address)
        yield MediaItem(uri=uri_of(address), path=path if path.is_file() else path_of(address))
