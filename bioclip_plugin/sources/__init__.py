"""Kinds of input: what a source is, and the listing of what the user named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from bioclip_plugin.media import MediaItem, Unlisted


class Source(Protocol):
    """One kind of input. Sources are asked in the order of their registration, plugins before built-ins."""

    name: str
    """Shown by ``plugins`` and in messages."""

    def takes(self, address: str) -> bool:
        """Whether this address (a path, ``-``, or whatever a plugin understands) is for this source; looks at content, not names."""
        ...

    def items(self, address: str) -> Iterator[MediaItem | Unlisted]:
        """List in a stable order, without reading any image.

        Raises:
            SourceError: if the address as a whole cannot be read.
        """
        ...


def built_in_sources() -> list[Source]:
    """Standard input, folders, tables, single files: in the order in which they are asked."""
    from bioclip_plugin.sources.files import FilesSource
    from bioclip_plugin.sources.folder import FolderSource
    from bioclip_plugin.sources.standard_input import StandardInputSource
    from bioclip_plugin.sources.table import TableSource

    return [StandardInputSource(), FolderSource(), TableSource(), FilesSource()]
