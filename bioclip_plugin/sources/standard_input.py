"""The standard input source: one path a line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of


class StandardInputSource:
    """Lists what ``find … | bioclip-plugin classify -`` sends: paths as bytes, ends of line cut off, blank lines skipped."""

    name = "standard input"

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream  # for hosts and tests; otherwise the process's own, taken when it is read

    def takes(self, address: str) -> bool:
        return address == "-"

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:  # noqa: ARG002  # noqa: ARG002 - there is only one
        for line in self._stream or sys.stdin.buffer:
            name = line.removesuffix(b"\n").removesuffix(b"\r")
            if name.strip():
                text = os.fsdecode(name)
                yield MediaItem(uri=uri_of(text), path=path_of(text))
