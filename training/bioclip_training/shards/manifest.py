"""Manifest of a folder of shards (``shards.json``), and the names of the files beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_core.files.documents import convert_document, parse_document
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.whole import write_whole
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import RANKS, Taxon

MANIFEST_FILE = "shards.json"
INDEX_FILE = "index.parquet"
"""One row per sample, in the order of the shards: the columns of a catalog, then ``shard``, ``member``, ``offset``, ``bytes``
and ``member_sha256``."""
MEMBER_HASH = "member_sha256"
"""Column of the index: sha256 of the image's bytes in the tar, which are not always those of its file (``sha256``)."""
SKIPPED_FILE = "skipped.csv"
UNFINISHED_FOLDER = "unfinished"
"""A record of each finished shard, until all are finished."""

_LARGEST = 1 << 30  # a million taxa take 100 MB
FORMAT, VERSION = "bioclip-shards", 1


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar."""

    file: str
    split: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Content of ``shards.json``."""

    settings: Mapping[str, Any]
    """Catalog and options of the shards; shards of the same settings are never written again."""
    shards: tuple[Shard, ...]
    taxa: tuple[Taxon, ...]
    """Taxa of the whole catalog, also of splits that were not written."""
    skipped: int
    """Rows with an unreadable image; ``skipped.csv`` lists them."""
    index_sha256: str

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def bytes(self) -> int:
        return sum(shard.bytes for shard in self.shards)

    def samples_of_splits(self) -> dict[str, int]:
        """Return the number of samples of each split."""
        splits = dict.fromkeys(shard.split for shard in self.shards)
        return {word: sum(shard.samples for shard in self.shards if shard.split == word) for word in splits}

    def write(self, folder: Path) -> None:
        """Write the manifest, whole or not at all."""
        described = {
            "format": FORMAT,
            "version": VERSION,
            "settings": dict(self.settings),
            "samples": self.samples,
            "bytes": self.bytes,
            "splits": self.samples_of_splits(),
            "skipped": self.skipped,
            "index_sha256": self.index_sha256,
            "shards": [asdict(shard) for shard in self.shards],
            "taxa": {"columns": [*(rank.value for rank in RANKS), "common_name"],
                     "rows": [[*taxon.lineage, taxon.common_name] for taxon in self.taxa]},
        }  # fmt: skip
        write_whole(folder / MANIFEST_FILE, json.dumps(described, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            SourceError: if it is missing, damaged or of another version.
        """
        file = folder / MANIFEST_FILE
        try:
            with file.open("rb") as stream:
                data = stream.read(_LARGEST + 1)
        except OSError as error:
            raise SourceError(_no_manifest(folder, error)) from error
        described = parse_document(data, dict[str, Any], name=str(file), error=SourceError, max_bytes=_LARGEST)
        if described.get("format") != FORMAT:
            raise SourceError(
                f"{file} does not describe shards; make them with: {command('shards write', 'CATALOG', output='FOLDER')}"
            )
        if described.get("version") != VERSION:
            raise SourceError(
                f"{file} has version {described.get('version')}, and this program reads version {VERSION}; "
                "write the shards anew, or use the program that wrote them"
            )
        found = convert_document(described, _Described, name=str(file), error=SourceError)
        for shard in found.shards:
            if Path(shard.file).name != shard.file or "\0" in shard.file or shard.samples < 0 or shard.bytes < 0:
                raise SourceError(
                    f"{file} is damaged: the shard {shard.file[:80]!r} is not a file beside it; write the shards anew with --force"
                )
        taxa = tuple(Taxon.of(row[:7], row[7]) for row in found.taxa.rows)
        return cls(found.settings, tuple(found.shards), taxa, found.skipped, found.index_sha256)


@dataclass(frozen=True, slots=True)
class _Taxa:
    rows: list[tuple[str, str, str, str, str, str, str, str]]
    """Names at the seven ranks, and the common name."""


@dataclass(frozen=True, slots=True)
class _Described:
    """Content of the file that is not derived from other content."""

    settings: dict[str, Any]
    shards: list[Shard]
    taxa: _Taxa
    skipped: int
    index_sha256: str


def _no_manifest(folder: Path, error: OSError) -> str:
    make = f"make them with: {command('shards write', 'CATALOG', output=folder)}"
    if (folder / UNFINISHED_FOLDER).is_dir():
        return f"the shards in {folder} are not finished; the command that began them continues where it stopped"
    if not folder.is_dir():
        return f"the folder {folder} does not exist, so it holds no shards{near_hint(folder)}; {make}"
    tars = len(list(folder.glob("*.tar")))
    held = f"it has {tars} tars but lacks {MANIFEST_FILE}" if tars else f"it lacks {MANIFEST_FILE}"
    if not isinstance(error, FileNotFoundError):
        held = f"its {MANIFEST_FILE} cannot be read ({error.strerror or error})"
    return f"the folder {folder} holds no shards: {held}; {make}; a catalog is given as its .parquet file"
