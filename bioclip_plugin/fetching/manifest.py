"""The manifest of a folder of fetched images: one small JSON file per address.

One file per address, instead of one database: a rename is atomic on local disks and on the network file systems where museums
keep images, while locks, which SQLite needs, are not reliable there. A damaged record costs one address, a look-up opens one
file, and nothing grows in memory. The costs are a second small file per image, and a listing that walks up to 65,536 folders.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_document
from bioclip_core.files.leftovers import mark
from bioclip_core.files.replacing import rename
from bioclip_plugin.fetching.cache import MANIFEST, WORKING, Draft

_MAX_BYTES = 64_000
_MAX_TEXT = 2_000
"""Characters of a licence or reason in a record, so that it is never longer than a reader takes: addresses have a limit."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one address."""

    address: str
    """The address as it was asked for."""
    status: int | None
    """HTTP status of the last answer; None if none came."""
    reason: str
    """Reason of a failure; empty for an image that was fetched."""
    time: str
    """Time of the answer, UTC."""
    sha256: str = ""
    bytes: int = 0
    suffix: str = ""
    media_type: str = ""
    """Media type by content, whatever the host called it."""
    licence: str = ""
    """Licence as the source states it."""
    final_address: str = ""
    """Address that gave the image, after redirects."""
    etag: str = ""
    last_modified: str = ""
    tries: int = 1
    """Requests that it took, redirects not counted."""
    modified_ns: int = 0
    """Modification time of the file when it was last known to be whole."""

    @property
    def is_fetched(self) -> bool:
        """True if the image was fetched."""
        return bool(self.sha256)


class Manifest:
    """Records by address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / MANIFEST
        self._working = folder / WORKING

    def path_of(self, key: str) -> Path:
        """Return the file of a record."""
        return self.folder / key[:2] / key[2:4] / f"{key}.json"

    def read(self, key: str) -> Record | None:
        """Return a record, None if there is none.

        Raises:
            DataError: if it is damaged.
        """
        path = self.path_of(key)
        if not path.exists():
            return None
        record = _read(path)
        if record.is_fetched and not _is_sound(record):
            raise DataError(f"the record of an address, {path} names a file that cannot be in this folder")
        return record

    def write(self, key: str, record: Record) -> None:
        """Replace a record.

        Raises:
            OSError: if the system refuses.
        """
        path = self.path_of(key)
        draft = Draft(self._working / f"{mark()}.{key}.json")
        data = (
            json.dumps(asdict(_within_limits(record)), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
            + b"\n"
        )
        try:
            with draft.faults():
                draft.write(data)
                path.parent.mkdir(parents=True, exist_ok=True)
                rename(draft.path, path)
        finally:
            draft.remove()

    def records(self) -> Iterator[tuple[Path, Record | DataError]]:
        """Yield every record in the order of the keys, and the error of each that is damaged; one folder is in memory."""
        for folder in _sorted(self.folder):
            for inner in _sorted(folder):
                for path in _sorted(inner):
                    if path.suffix == ".json":
                        try:
                            yield path, _read(path)
                        except DataError as error:
                            yield path, error


def _read(path: Path) -> Record:
    """Read a record.

    Raises:
        DataError: if it is damaged.
    """
    if not path.is_file():  # a named pipe would be waited for
        raise DataError(f"the record of an address, {path} is not a file")
    return read_document(path, Record, name="the record of an address,", max_bytes=_MAX_BYTES)


def kept_licence(text: str) -> str:
    """Return a licence as a record keeps it."""
    return _cut(text)


def _within_limits(record: Record) -> Record:
    """Return a record without texts that are too long: an endless licence is cut, and a mark of a host is of no use in part."""
    marks = {name: mark for name in ("etag", "last_modified") if len(mark := getattr(record, name)) <= _MAX_TEXT}
    texts = {name: _cut(getattr(record, name)) for name in ("reason", "licence", "media_type")}
    return replace(record, **{"etag": "", "last_modified": "", **marks, **texts})


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"


def _is_sound(record: Record) -> bool:
    """True if the name of the file is one that we gave, so that a foreign record leads nowhere else."""
    is_name = len(record.sha256) == 64 and all(letter in "0123456789abcdef" for letter in record.sha256)
    return is_name and record.suffix.startswith(".") and record.suffix[1:].isalnum() and record.bytes > 0


def _sorted(folder: Path) -> list[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries)
    return []
