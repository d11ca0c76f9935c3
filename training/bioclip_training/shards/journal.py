"""What is done of a folder of shards: a record a shard while it is written, and from them the index and the manifest."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import file_sha256
from bioclip_training.catalog.rows import Catalog
from bioclip_training.shards.manifest import (
    INDEX_FILE,
    MANIFEST_FILE,
    SKIPPED_FILE,
    UNFINISHED_FOLDER,
    Manifest,
    Shard,
)

_SETTINGS_FILE = "settings.json"
_OURS = re.compile(r"\w+-\d{6}\.tar(\.draft)?|\.\w+-\d{6}\.tar\.\d+\.part")
"""Shards and the drafts that a killed call leaves behind; earlier versions called a draft ``.draft``."""


@dataclass(frozen=True, slots=True)
class Member:
    """One sample's image in a shard."""

    row: int
    """Of the catalog."""
    name: str
    offset: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One shard that is done: rows ``start`` to ``end`` of its split's order."""

    stem: str
    number: int
    split: str
    start: int
    end: int
    bytes: int
    """0 where none of its rows could be read, and then there is no file."""
    sha256: str
    members: tuple[Member, ...]
    skipped: tuple[tuple[int, str], ...]
    """Row and reason."""

    @property
    def file(self) -> str:
        return f"{self.stem}-{self.number:06d}.tar"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ShardRecord:
        members = tuple(Member(**member) for member in values["members"])
        return cls(**{**values, "members": members, "skipped": tuple((row, why) for row, why in values["skipped"])})


class Journal:
    """The book of a folder in writing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder / UNFINISHED_FOLDER
        self._records: list[ShardRecord] = []

    def begin(self, settings: Mapping[str, Any], *, force: bool) -> Manifest | None:
        """Make the folder ready; the manifest where it is finished already.

        Raises:
            UsageError: if it holds something else, or shards of other settings (unless forced).
        """
        removed = force and not self._is_of(settings) and self._remove_shards()
        if (self.folder / MANIFEST_FILE).exists():
            manifest = Manifest.read(self.folder)
            self._check_same(manifest.settings, settings)
            self._check_whole(manifest)
            shutil.rmtree(self._unfinished, ignore_errors=True)
            return manifest
        if self._unfinished.is_dir():
            self._check_same(self._begun_with(), settings)
            for draft in self.folder.glob(".*.part"):  # of a call that was killed
                draft.unlink()
            self._records = self._read_records()
            return None
        if not removed and self.folder.exists() and any(self.folder.iterdir()):
            raise UsageError(
                f"the folder {self.folder} is not empty and holds no shards of this program; give a new one"
            )
        self._unfinished.mkdir(parents=True)
        write_whole(self._unfinished / _SETTINGS_FILE, json.dumps(settings))
        return None

    def reached(self, stem: str) -> tuple[int, int]:
        """The number of the next shard of a split, and the row of its order that it begins with."""
        own = [record for record in self._records if record.stem == stem]
        return len(own), max((record.end for record in own), default=0)

    def add(self, record: ShardRecord) -> None:
        """Note that a shard is done."""
        file = self._unfinished / f"{record.stem}-{record.number:06d}.json"
        write_whole(file, json.dumps(asdict(record), ensure_ascii=False))
        self._records.append(record)

    def finish(self, catalog: Catalog, settings: Mapping[str, Any]) -> Manifest:
        """Write the index, the list of skipped rows and, last, the manifest."""
        self._records.sort(key=lambda record: (record.stem, record.number))
        index_sha256 = self._write_index(catalog)
        self._write_skipped(catalog)
        shards = tuple(
            Shard(record.file, record.split, len(record.members), record.bytes, record.sha256)
            for record in self._records
            if record.members
        )
        skipped = sum(len(record.skipped) for record in self._records)
        manifest = Manifest(settings, shards, catalog.taxa, skipped, index_sha256)
        manifest.write(self.folder)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return manifest

    def skipped(self, catalog: Catalog) -> tuple[tuple[str, str], ...]:
        """Key and reason of every row that was left out."""
        if self._records:
            return tuple((catalog.key(row), why) for record in self._records for row, why in record.skipped)
        file = self.folder / SKIPPED_FILE
        if not file.exists():
            return ()
        with file.open(newline="", encoding="utf-8") as stream:
            return tuple((line["key"], line["reason"]) for line in csv.DictReader(stream))

    def _write_index(self, catalog: Catalog) -> str:
        import pyarrow as pa
        from pyarrow import parquet

        members = [(record.file, member) for record in self._records for member in record.members]
        rows = [member.row for _, member in members]
        table = catalog.table.take(pa.array(rows, pa.int64()))
        groups = pa.array([catalog.group(row) for row in rows], pa.string())
        table = table.set_column(table.column_names.index("group"), "group", groups)
        table = table.append_column("shard", pa.array([file for file, _ in members], pa.string()))
        table = table.append_column("member", pa.array([member.name for _, member in members], pa.string()))
        for name in ("offset", "bytes"):
            table = table.append_column(name, pa.array([getattr(member, name) for _, member in members], pa.int64()))
        with replacing_file(self.folder / INDEX_FILE) as draft:
            parquet.write_table(table, draft, compression="zstd")
        return file_sha256(self.folder / INDEX_FILE)

    def _write_skipped(self, catalog: Catalog) -> None:
        skipped = self.skipped(catalog)
        file = self.folder / SKIPPED_FILE
        if not skipped:
            file.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("key", "reason"), *skipped])
        write_whole(file, text.getvalue())

    def _read_records(self) -> list[ShardRecord]:
        """The shards that are done; from the first of a split that a kill left half done on, they are done again."""
        records: list[ShardRecord] = []
        broken: set[str] = set()
        for file in sorted(self._unfinished.glob("*-??????.json")):
            record = ShardRecord.from_dict(json.loads(file.read_bytes()))
            tar = self.folder / record.file
            if record.members and not (tar.is_file() and tar.stat().st_size == record.bytes):
                broken.add(record.stem)
            if record.stem in broken:
                file.unlink()
            else:
                records.append(record)
        return records

    def _begun_with(self) -> Mapping[str, Any]:
        try:
            begun = json.loads((self._unfinished / _SETTINGS_FILE).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return begun if isinstance(begun, dict) else {}

    def _is_of(self, settings: Mapping[str, Any]) -> bool:
        """Whether the folder was begun with these settings and is not finished: then even a forced call goes on."""
        return not (self.folder / MANIFEST_FILE).exists() and self._begun_with() == settings

    def _check_same(self, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        other = [f"{name} {there.get(name)} and not {asked[name]}" for name in asked if there.get(name) != asked[name]]
        if "catalog" in {name for name in asked if there.get(name) != asked[name]}:
            other[0] = "another catalog"
        if other:
            raise UsageError(
                f"{self.folder} holds shards written with {', '.join(other)}; give another folder, or --force to write them anew"
            )

    def _check_whole(self, manifest: Manifest) -> None:
        for shard in manifest.shards:
            file = self.folder / shard.file
            if not file.is_file() or file.stat().st_size != shard.bytes:
                raise UsageError(
                    f"{file} is finished in {MANIFEST_FILE} and missing or of another size now: see "
                    f"bioclip-plugin shards check {self.folder}; --force writes all shards anew"
                )

    def _remove_shards(self) -> bool:
        """Remove what a folder of shards holds, the manifest first, and nothing else; whether it held any."""
        if not ((self.folder / MANIFEST_FILE).exists() or self._unfinished.is_dir()):
            return False
        for name in (MANIFEST_FILE, INDEX_FILE, SKIPPED_FILE):
            (self.folder / name).unlink(missing_ok=True)
        for file in self.folder.iterdir():
            if _OURS.fullmatch(file.name):
                file.unlink()
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return True
