"""Progress of writing a folder of shards: one record per finished shard, and from them the index and the manifest."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError, first_line
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove, remove_tree
from bioclip_core.files.whole import replacing_file, write_whole
from bioclip_core.identity import file_sha256
from bioclip_core.next_commands import command
from bioclip_training.shards.manifest import (
    INDEX_FILE,
    MANIFEST_FILE,
    MEMBER_HASH,
    SKIPPED_FILE,
    UNFINISHED_FOLDER,
    Manifest,
    Shard,
)
from bioclip_training.shards.ordered import OrderedRows, ShardRows

_SETTINGS_FILE = "settings.json"
_LARGEST_RECORD = 1 << 30
GROUP_ROWS = 1 << 20
"""Rows of a row group of the index."""
_OURS = re.compile(r"\w+-\d{6}\.tar(\.draft)?|\.\w+-\d{6}\.tar\.[\w-]+\.part")
"""Shards and the drafts that a killed call leaves behind; earlier versions called a draft ``.draft``."""


@dataclass(frozen=True, slots=True)
class Member:
    """Image of one sample in a shard."""

    place: int
    """Place of the sample in the order of its split."""
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
    skipped: tuple[tuple[str, str], ...]
    """Key and reason."""

    @property
    def file(self) -> str:
        return f"{self.stem}-{self.number:06d}.tar"


@dataclass(frozen=True, slots=True)
class _Written:
    """A finished shard without its members, which stay on disk."""

    stem: str
    number: int
    split: str
    end: int
    file: str
    samples: int
    bytes: int
    sha256: str
    skipped: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: ShardRecord) -> _Written:
        return cls(
            record.stem, record.number, record.split, record.end, record.file, len(record.members), record.bytes, record.sha256,
            record.skipped,
        )  # fmt: skip


class Journal:
    """Journal of a folder while its shards are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder / UNFINISHED_FOLDER
        self._shards: list[_Written] = []

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
        own = [shard for shard in self._shards if shard.stem == stem]
        return len(own), max((shard.end for shard in own), default=0)

    def add(self, record: ShardRecord) -> None:
        """Record a finished shard."""
        text = json.dumps(asdict(record), ensure_ascii=False)
        write_whole(self._place(record.file), text)
        self._shards.append(_Written.of(record))

    def finish(self, rows: ShardRows, settings: Mapping[str, Any]) -> Manifest:
        """Write the index, the list of skipped rows and, last, the manifest."""
        self._shards.sort(key=lambda shard: (shard.stem, shard.number))
        index_sha256 = self._write_index(rows)
        skipped = self.skipped()
        remove(self.folder / SKIPPED_FILE)
        if skipped:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows([("key", "reason"), *skipped])
            write_whole(self.folder / SKIPPED_FILE, text.getvalue())
        shards = tuple(
            Shard(shard.file, shard.split, shard.samples, shard.bytes, shard.sha256)
            for shard in self._shards
            if shard.samples
        )
        manifest = Manifest(settings, shards, rows.taxa, len(skipped), index_sha256)
        manifest.write(self.folder)
        remove_tree(self._unfinished)
        return manifest

    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Return key and reason of every skipped row."""
        file = self.folder / SKIPPED_FILE
        if self._shards or not file.exists():
            return tuple(skipped for shard in self._shards for skipped in shard.skipped)
        try:
            with file.open(newline="", encoding="utf-8") as stream:
                return tuple((line["key"], line["reason"]) for line in csv.DictReader(stream))
        except (csv.Error, KeyError, UnicodeDecodeError) as error:
            raise DataError(f"{file} is damaged ({first_line(error)}): --force writes all shards anew") from error

    def _write_index(self, rows: ShardRows) -> str:
        from pyarrow import parquet

        with replacing_file(self.folder / INDEX_FILE) as draft, ExitStack() as stack:
            writer: Any = None
            for table in in_groups(self._indexed(rows)):
                writer = writer or stack.enter_context(parquet.ParquetWriter(draft, table.schema, compression="zstd"))
                writer.write_table(table)
            stack.close()  # before the draft is flushed
        return file_sha256(self.folder / INDEX_FILE)

    def _indexed(self, rows: ShardRows) -> Iterator[Any]:
        """Yield the rows of the index in the order of shards and members, as tables."""
        for split, shards in groupby(self._shards, key=lambda shard: shard.split):
            members = (
                (shard.file, member) for shard in shards for member in self._record(self._place(shard.file)).members
            )
            waiting = next(members, None)
            for batch in rows.ordered(split):
                end = batch.start + len(batch.rows)
                mine: list[tuple[str, Member]] = []
                while waiting is not None and waiting[1].place < end:
                    mine.append(waiting)
                    waiting = next(members, None)
                yield _index_table(batch, mine)

    def _place(self, shard: str) -> Path:
        return (self._unfinished / shard).with_suffix(".json")

    def _record(self, file: Path) -> ShardRecord:
        return read_document(file, ShardRecord, name="the record of a finished shard", max_bytes=_LARGEST_RECORD)

    def _read_records(self) -> None:
        """Read the finished shards; a split is written again from its first shard that a kill left incomplete."""
        broken: set[str] = set()
        for file in sorted(self._unfinished.glob("*-??????.json")):
            record = self._record(file)
            if record.members and not _has_size(self.folder / record.file, record.bytes):
                broken.add(record.stem)
            if record.stem in broken:
                remove(file)
            else:
                self._shards.append(_Written.of(record))

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


def _index_table(batch: OrderedRows, members: Sequence[tuple[str, Member]]) -> Any:
    """Return the rows of the index of some samples."""
    import pyarrow as pa

    catalog = batch.catalog
    rows = [batch.rows[member.place - batch.start] for _, member in members]
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
    return table


def in_groups(tables: Iterable[Any]) -> Iterator[Any]:
    """Yield tables cut and joined to row groups of a fixed size, at least one if there is a table."""
    import pyarrow as pa

    waiting: list[Any] = []
    count = written = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= GROUP_ROWS:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, GROUP_ROWS).combine_chunks()
            waiting, count, written = [whole.slice(GROUP_ROWS)], count - GROUP_ROWS, written + 1
    if waiting and (count or not written):
        yield pa.concat_tables(waiting).combine_chunks()


def _has_size(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size
