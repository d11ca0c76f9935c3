"""Progress of writing a folder of shards: one record per finished shard, and from them the index and the manifest."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove, remove_tree
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import file_sha256
from bioclip_core.next_commands import command
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.manifest import (
    INDEX_FILE,
    MANIFEST_FILE,
    MEMBER_HASH,
    SKIPPED_FILE,
    UNFINISHED_FOLDER,
    Manifest,
    Shard,
)

_SETTINGS_FILE = "settings.json"
_LARGEST_RECORD = 1 << 30
_OURS = re.compile(r"\w+-\d{6}\.tar(\.draft)?|\.\w+-\d{6}\.tar\.[\w-]+\.part")
"""Shards and the drafts that a killed call leaves behind; earlier versions called a draft ``.draft``."""


@dataclass(frozen=True, slots=True)
class Member:
    """Image of one sample in a shard."""

    row: int
    """Row of the catalog."""
    name: str
    offset: int
    bytes: int
    sha256: str = ""
    """Of its bytes; empty in a shard that an earlier version wrote."""


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One finished shard: rows ``start`` to ``end`` of its split's order."""

    stem: str
    number: int
    split: str
    start: int
    end: int
    bytes: int
    """0 if none of its rows could be read, and then the file is missing."""
    sha256: str
    members: tuple[Member, ...]
    skipped: tuple[tuple[int, str], ...]
    """Row and reason."""

    @property
    def file(self) -> str:
        return f"{self.stem}-{self.number:06d}.tar"


class Journal:
    """Journal of a folder while its shards are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder / UNFINISHED_FOLDER
        self._records: list[ShardRecord] = []

    def begin(self, settings: Mapping[str, Any], *, force: bool) -> Manifest | None:
        """Prepare the folder; return its manifest if it is already finished.

        Raises:
            DataError: if it holds other files, or shards of other settings (unless forced).
        """
        # Even a forced call continues shards that were begun with the same settings.
        manifest_file = self.folder / MANIFEST_FILE
        removed = force and (manifest_file.exists() or self._begun_with() != settings) and self._remove_shards()
        if manifest_file.exists():
            manifest = Manifest.read(self.folder)
            self._check_same(manifest.settings, settings)
            self._check_whole(manifest)
            remove_tree(self._unfinished)
            return manifest
        if self._unfinished.is_dir():
            self._check_same(self._begun_with(), settings)
            for draft in self.folder.glob(".*.part"):  # of a call that was killed
                remove(draft)
            self._read_records()
            return None
        # a stage of a curation has its own records here, whose names begin with _
        others = [file for file in self.folder.glob("*") if not file.name.startswith("_")]
        if not removed and others:
            raise DataError(
                f"the folder {self.folder} holds other files than shards of this program; give a new folder"
            )
        self._unfinished.mkdir(parents=True)
        write_whole(self._unfinished / _SETTINGS_FILE, json.dumps(settings))
        return None

    def reached(self, stem: str) -> tuple[int, int]:
        """Return the number of the next shard of a split, and the row of its order that it begins with."""
        own = [record for record in self._records if record.stem == stem]
        return len(own), max((record.end for record in own), default=0)

    def add(self, record: ShardRecord) -> None:
        """Record a finished shard."""
        text = json.dumps(asdict(record), ensure_ascii=False)
        write_whole((self._unfinished / record.file).with_suffix(".json"), text)
        self._records.append(record)

    def finish(self, catalog: Catalog, settings: Mapping[str, Any]) -> Manifest:
        """Write the index, the list of skipped rows and, last, the manifest."""
        self._records.sort(key=lambda record: (record.stem, record.number))
        index_sha256 = self._write_index(catalog)
        skipped = self.skipped(catalog)
        remove(self.folder / SKIPPED_FILE)
        if skipped:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows([("key", "reason"), *skipped])
            write_whole(self.folder / SKIPPED_FILE, text.getvalue())
        shards = tuple(
            Shard(record.file, record.split, len(record.members), record.bytes, record.sha256)
            for record in self._records
            if record.members
        )
        manifest = Manifest(settings, shards, catalog.taxa, len(skipped), index_sha256)
        manifest.write(self.folder)
        remove_tree(self._unfinished)
        return manifest

    def skipped(self, catalog: Catalog) -> tuple[tuple[str, str], ...]:
        """Return key and reason of every skipped row."""
        file = self.folder / SKIPPED_FILE
        if self._records or not file.exists():
            return tuple((catalog.key(row), reason) for record in self._records for row, reason in record.skipped)
        try:
            with file.open(newline="", encoding="utf-8") as stream:
                return tuple((line["key"], line["reason"]) for line in csv.DictReader(stream))
        except (csv.Error, KeyError, UnicodeDecodeError) as error:
            raise DataError(f"{file} is damaged ({first_line(error)}): --force writes all shards anew") from error

    def _write_index(self, catalog: Catalog) -> str:
        import pyarrow as pa
        from pyarrow import parquet

        members = [(record.file, member) for record in self._records for member in record.members]
        rows = [member.row for _, member in members]
        table = catalog.table.take(pa.array(rows, pa.int64()))
        groups = pa.array([catalog.group(row) for row in rows], pa.string())
        table = table.set_column(table.column_names.index("group"), "group", groups)
        for name, kind, values in (
            ("shard", pa.string(), [file for file, _ in members]),
            ("member", pa.string(), [member.name for _, member in members]),
            ("offset", pa.int64(), [member.offset for _, member in members]),
            ("bytes", pa.int64(), [member.bytes for _, member in members]),
            (MEMBER_HASH, pa.string(), [member.sha256 for _, member in members]),
        ):
            table = table.append_column(name, pa.array(values, kind))
        with replacing_file(self.folder / INDEX_FILE) as draft:
            parquet.write_table(table, draft, compression="zstd")
        return file_sha256(self.folder / INDEX_FILE)

    def _read_records(self) -> None:
        """Read the finished shards; a split is written again from its first shard that a kill left incomplete."""
        broken: set[str] = set()
        for file in sorted(self._unfinished.glob("*-??????.json")):
            record = read_document(file, ShardRecord, name="the record of a finished shard", max_bytes=_LARGEST_RECORD)
            if record.members and not _has_size(self.folder / record.file, record.bytes):
                broken.add(record.stem)
            if record.stem in broken:
                remove(file)
            else:
                self._records.append(record)

    def _begun_with(self) -> Mapping[str, Any]:
        try:
            return read_document(self._unfinished / _SETTINGS_FILE, dict[str, Any], name="settings")
        except DataError:
            return {}

    def _check_same(self, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        other = {
            name: f"{name} {there.get(name)} and not {asked[name]}" for name in asked if there.get(name) != asked[name]
        }
        if "catalog" in other:
            other["catalog"] = "another catalog"
        if other:
            raise DataError(
                f"{self.folder} holds shards written with {', '.join(other.values())}; give another folder, or --force to write them "
                "anew"
            )

    def _check_whole(self, manifest: Manifest) -> None:
        for shard in manifest.shards:
            if not _has_size(self.folder / shard.file, shard.bytes):
                raise DataError(
                    f"{self.folder / shard.file} is finished according to {MANIFEST_FILE}, but it is missing or has another size now: see "
                    f"{command('shards check', self.folder)}; --force writes all shards anew"
                )

    def _remove_shards(self) -> bool:
        """Remove the files of a folder of shards, the manifest first, and no other; return True if it was such a folder."""
        if not ((self.folder / MANIFEST_FILE).exists() or self._unfinished.is_dir()):
            return False
        for name in (MANIFEST_FILE, INDEX_FILE, SKIPPED_FILE):
            remove(self.folder / name)
        for file in self.folder.iterdir():
            if _OURS.fullmatch(file.name):
                remove(file)
        remove_tree(self._unfinished)
        return True


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size
