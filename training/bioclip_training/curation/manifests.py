"""Files beside the parts of a stage: the record of each finished part, and the manifest of a finished stage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_document
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import settings_id, sha256_of
from bioclip_training.curation.tallies import Dropped, Tallied, Tally

MANIFEST_FILE = "_manifest.json"
"""Readers of Parquet folders skip names that begin with ``_``."""
UNFINISHED_FOLDER = "_unfinished"
"""A record of each finished part, until the stage is finished."""
BEGUN_FILE = "begun.json"
FORMAT, VERSION = "bioclip-curation-stage", 1
_LARGEST = 1 << 30
_ROOM = 1200
"""Bytes of a record that are kept free for the message of an error."""


def part_file(name: str) -> str:
    """Return the file name of a part."""
    return f"part-{name}.parquet"


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A finished part."""

    file: str
    rows: int
    bytes: int
    sha256: str
    tallied: Tallied

    @classmethod
    def of(cls, file: Path, rows: int, tally: Tally) -> PartRecord:
        """Return the record of a part that was just written."""
        return cls(file.name, rows, file.stat().st_size, sha256_of(file), tally.tallied())

    @staticmethod
    def place(folder: Path, name: str) -> Path:
        """Return the file of a part's record in the folder of its stage."""
        return folder / UNFINISHED_FOLDER / f"part-{name}.json"


def write_record(folder: Path, name: str, record: PartRecord) -> None:
    """Write the record of a part, which makes it a finished one."""
    write_whole(PartRecord.place(folder, name), as_text(asdict(record)))


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that decides the result of a stage."""

    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    """State of each file and folder that it reads, by its name in messages."""
    needs: Mapping[str, str]
    """Content of each stage that it needs."""

    @property
    def key(self) -> str:
        return settings_id(asdict(self))


@dataclass(frozen=True, slots=True)
class Begun:
    """Record of a stage that was begun and is not finished."""

    identity: Identity | None = None
    """None while the folder is emptied for it."""
    error: str = ""
    """Message of the error that stopped it; empty if it was interrupted or killed."""

    def write(self, folder: Path) -> None:
        """Write the record into the folder of the stage, which makes the folder a stage's."""
        file = folder / UNFINISHED_FOLDER / BEGUN_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, as_text(asdict(self)) + " " * _ROOM)

    def replace(self, folder: Path) -> None:
        """Write the record over an earlier one of the same identity, in its place on the disk, which may be full."""
        file = folder / UNFINISHED_FOLDER / BEGUN_FILE
        text = as_text(asdict(self)).encode()
        size = file.stat().st_size
        if len(text) > size:
            self.write(folder)
            return
        with file.open("r+b") as opened:
            opened.write(text.ljust(size))

    @classmethod
    def read(cls, folder: Path) -> Begun | None:
        """Return the record; None if the stage was not begun, and one without an identity if it cannot be read."""
        file = folder / UNFINISHED_FOLDER / BEGUN_FILE
        if not file.parent.exists():
            return None
        try:
            return read_document(file, cls, name="record of a stage", max_bytes=_LARGEST)
        except DataError:
            return cls()


def records_in(folder: Path) -> list[PartRecord]:
    """Return the records of the finished parts of an unfinished stage, in the order of their names."""
    files = sorted((folder / UNFINISHED_FOLDER).glob("part-*.json"))
    return [read_document(file, PartRecord, name="record of a part", max_bytes=_LARGEST) for file in files]


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file of a stage that is not a part."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StageManifest:
    """Content of the manifest of a finished stage."""

    stage: str
    identity: Identity
    rows_in: int
    rows_out: int
    dropped: tuple[Dropped, ...]
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    parts: tuple[PartRecord, ...]
    """Their tallies are empty: the manifest has the sums."""
    files: tuple[OtherFile, ...] = ()
    format: str = FORMAT
    format_version: int = VERSION

    @property
    def all_files(self) -> tuple[PartRecord | OtherFile, ...]:
        return (*self.parts, *self.files)

    @property
    def content(self) -> str:
        """Identity of the result: the sha256 of the names and hashes of its files."""
        return settings_id({entry.file: entry.sha256 for entry in self.all_files})

    @property
    def bytes(self) -> int:
        """Size of the result in bytes."""
        return sum(entry.bytes for entry in self.all_files)

    @property
    def failures(self) -> int:
        """Number of rows whose image could not be read."""
        return sum(entry.count for entry in self.dropped if entry.is_failure)

    def write(self, folder: Path) -> None:
        """Write the manifest, whole or not at all."""
        write_whole(folder / MANIFEST_FILE, as_text({**asdict(self), "content": self.content}))

    @classmethod
    def read(cls, folder: Path) -> StageManifest | None:
        """Return the manifest in a stage's folder; None if the stage is not finished or was finished by another version.

        Raises:
            DataError: if it cannot be read.
        """
        file = folder / MANIFEST_FILE
        if not file.exists():
            return None
        try:
            found = read_document(file, cls, name="manifest of a stage", max_bytes=_LARGEST)
        except DataError as error:
            raise DataError(f"{error}; remove the folder {folder} to run the stage again") from None
        return found if (found.format, found.format_version) == (FORMAT, VERSION) else None


def as_text(document: Mapping[str, Any]) -> str:
    """Return a document as its file has it."""
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
