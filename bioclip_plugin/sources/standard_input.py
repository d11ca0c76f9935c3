"""The standard input source: one path per line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of


class StandardInputSource:
    """Lists the paths that ``find … | bioclip-plugin classify -`` sends: bytes without line ends; blank lines are ignored."""

    name = "standard input"

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream  # for hosts and tests; else the process's own, which is looked up when it is read

    def takes(self, address: str) -> bool:
        return address == "-"

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002
        for line in self._stream or sys.stdin.buffer:
            name = line.removesuffix(b"\n").removesuffix(b"\r")
            if name.strip():
                text = os.fsdecode(name)
                yield MediaItem(uri=uri_of(text), path=path_of(text))
