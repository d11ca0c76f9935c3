"""Single files: one that the user names, and those whose paths come on standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bioclip_core.files.drives import name_from_pipe
from bioclip_core.files.present import is_file
from bioclip_core.files.streamed_json import beginning
from bioclip_core.tables.text import lines_within
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of
from bioclip_plugin.items.web import is_web_address


class FilesSource:
    """Lists a file or an address on the web that the user named. Registered last, since it takes any file but JSON."""

    name = "file"

    def takes(self, address: str) -> bool:
        if is_web_address(address):
            return True
        path = path_of(address)
        return is_file(path) and not beginning(path).text

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        if is_web_address(address):
            yield MediaItem(uri=address)
            return
        path = Path(address)
        yield MediaItem(uri=uri_of(address), path=path if is_file(path) else path_of(address))


class StandardInputSource:
    """Lists the paths that ``find … | bioclip-plugin classify -`` sends: bytes without line ends; blank lines are ignored."""

    name = "standard input"

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream  # for hosts and tests; else the process's own, which is looked up when it is read

    def takes(self, address: str) -> bool:
        return address == "-"

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        for line in lines_within(self._stream or sys.stdin.buffer, self.name):
            name = line.removesuffix(b"\n").removesuffix(b"\r")
            if name.strip():
                text = name_from_pipe(name)
                yield MediaItem(text) if is_web_address(text) else MediaItem(uri=uri_of(text), path=path_of(text))
