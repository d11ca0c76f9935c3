"""Images of a folder by their addresses, for readers that ask no host: reports."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from bioclip_core.errors import DataError
from bioclip_plugin.fetching.addresses import read_address
from bioclip_plugin.fetching.cache import Cache
from bioclip_plugin.fetching.errors import AddressError
from bioclip_plugin.fetching.manifest import Manifest


class KeptImages:
    """The images of a folder that :class:`~bioclip_plugin.fetching.fetcher.Fetcher` filled; nothing is written."""

    def __init__(self, folder: Path) -> None:
        """Open the folder.

        Raises:
            DataError: if it is not one of fetched images.
        """
        self._cache = Cache(folder, create=False)
        self._manifest = Manifest(self._cache.folder)

    def path_of(self, address: str) -> Path | None:
        """Return the file of an address; None if it was not fetched, or is gone."""
        with suppress(AddressError, DataError, OSError):
            record = self._manifest.read(read_address(address).key)
            if record is not None and record.is_fetched:
                path = self._cache.path_of(record.sha256, record.suffix)
                return path if path.is_file() else None
        return None
