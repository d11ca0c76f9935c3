"""Stage ``records``: every record of every source in one schema, with its key, sorted by it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import BioclipError, SourceError
from bioclip_core.files.archive_ends import SUFFIXES, how_cut
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove_tree
from bioclip_core.files.whole import write_whole
from bioclip_core.identity import settings_id
from bioclip_core.listed_names import listed
from bioclip_core.nouns import number_of
from bioclip_training.catalog.ahead import in_order
from bioclip_training.curation import database
from bioclip_training.curation.columns import KEY, RECORDS
from bioclip_training.curation.configuration import Curation, SourceConfig
from bioclip_training.curation.input_states import files_of, state_of
from bioclip_training.curation.manifests import as_text
from bioclip_training.curation.sorted_runs import Runs, bucket_name, sorted_rows, write_runs
from bioclip_training.curation.stages import StageWork
from bioclip_training.curation.tallies import Tallied, Tally
from bioclip_training.published.known import recognise
from bioclip_training.published.layout import Layout, ReadOptions, Recognition, check_settings
from bioclip_training.published.records import SOURCE_RECORDS

_READ_FILE = "read.json"
_SAME = "stated twice with the same values"
_OTHER = "with the record id of another record of the same source, but other values"


def key_of(source: str, record_id: str) -> str:
    """Return the key of a record: the md5 (hex) of source, NUL and record id."""
    return _keys_of(source, [record_id])[0]


def _keys_of(source: str, ids: list[str]) -> list[str]:
    """Return the keys of many records of a source."""
    beginning, md5 = f"{source}\0".encode(), hashlib.md5
    return [md5(beginning + entry.encode(), usedforsecurity=False).hexdigest() for entry in ids]


@dataclass(frozen=True, slots=True)
class _Read:
    """Record of a source that was read to its end."""

    layout: str
    rows: int
    tallied: Tallied


@dataclass(frozen=True)
class RecordsStage:
    """Read all sources."""

    name: str = "records"
    version: int = 2
    needs: tuple[str, ...] = ()

    def settings(self, config: Curation) -> dict[str, Any]:
        return {f"sources.{name}": _settings_of(source) for name, source in sorted(config.sources.items())}

    def inputs(self, config: Curation) -> Mapping[str, Path]:
        return {f"source {name}": source.path for name, source in config.sources.items()}

    def check(self, config: Curation) -> None:
        database.check_installed()  # readers join tables in it
        for name, source in sorted(config.sources.items()):
            _recognised(name, source)
            with _naming(name):
                check_archives(source.path, read_tars=source.cut_archives == "read")

    def run(self, work: StageWork) -> None:
        folders = []
        found = {name: _recognised(name, source) for name, source in sorted(work.config.sources.items())}
        for name, source in sorted(work.config.sources.items()):
            if name == (same := work.config.sources_at(source.path))[0] and len(same) > 1:
                work.tally.note(
                    f"sources {listed(same)} are one folder or file, so that each of its records is there {len(same)} times"
                )
        for number, name in enumerate(found):
            work.progress(number, len(found))
            folder, read = _read_once(name, found[name], work)
            folders.append(folder)
            work.tally.add(read.tallied)
        with Runs(folders, RECORDS) as runs:
            waiting = [bucket for bucket in range(runs.buckets) if not work.is_finished(bucket_name(bucket))]
            tables = ((bucket_name(bucket), runs.gathered(bucket)) for bucket in waiting)
            written = in_order(partial(_write_bucket, work), tables, work.threads, work.threads, name="bioclip-records")
            for done, _ in enumerate(written, start=1 + runs.buckets - len(waiting)):
                work.progress(done, runs.buckets)
        for folder in work.kept.iterdir():  # the records have all of it
            remove_tree(folder)


def _settings_of(source: SourceConfig) -> dict[str, Any]:
    return {"layout": source.layout, "options": dict(source.options), "rows": source.rows}


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Name the source in an error about it."""
    try:
        yield
    except BioclipError as error:
        raise type(error)(f"source {source}: {error}") from error


def _recognised(name: str, source: SourceConfig) -> tuple[Layout, Recognition]:
    with _naming(name):
        layout, recognition = recognise(source.path, source.layout)
        check_settings(layout, ReadOptions(settings=source.options), source.path)
    return layout, recognition


def check_archives(path: Path, *, read_tars: bool | None = None) -> None:
    """Refuse a source with archives that are cut short.

    Args:
        path: the source.
        read_tars: pass uncompressed tars, which can be read up to there; None: there is no option for it.

    Raises:
        SourceError: with all of them.
    """
    files = ((name, Path(entry.path)) for name, entry in files_of(path)) if path.is_dir() else [(path.name, path)]
    archives = ((name, file) for name, file in files if name.lower().endswith(SUFFIXES))
    cut = [(name, how) for name, file in archives if (how := how_cut(file))]
    are_tars = all(name.lower().endswith(".tar") for name, _ in cut)
    if cut and not (are_tars and read_tars):
        advice = (
            ", or state cut_archives: read for what is before the cut" if are_tars and read_tars is not None else ""
        )
        raise SourceError(
            f"{number_of(len(cut), 'archive is', 'archives are')} cut short: {listed([f'{name} ({how})' for name, how in cut])}; "
            f"fetch {'it' if len(cut) == 1 else 'them'} again{advice}"
        )


def _read_once(name: str, found: tuple[Layout, Recognition], work: StageWork) -> tuple[Path, _Read]:
    """Return the folder of a source's sorted runs, and what was counted; they are kept until all sources are read."""
    source = work.config.sources[name]
    state = {
        "version": RecordsStage.version,
        "name": name,
        **_settings_of(source),
        "state": state_of(f"source {name}", source.path),
    }
    folder = work.kept / settings_id(state)[:20]
    if (folder / _READ_FILE).exists():
        return folder, read_document(folder / _READ_FILE, _Read, name="record of a source")
    remove_tree(folder)
    folder.mkdir(parents=True)
    with _naming(name):
        read = _read(name, found, work, folder)
    write_whole(folder / _READ_FILE, as_text(asdict(read)))
    return folder, read


def _read(name: str, found: tuple[Layout, Recognition], work: StageWork, folder: Path) -> _Read:
    source, tally = work.config.sources[name], Tally()
    layout, recognition = found
    taken = "; ".join(line.strip() for line in recognition.lines())
    tally.note(f"source {name}: {taken}" + ("" if source.layout else "; the layout was not stated, but recognised"))
    options = ReadOptions(
        settings=source.options, threads=work.threads, memory=work.memory // 2, work_folder=work.temporary
    )
    rows = sum(write_runs(keyed(name, layout.name, layout.read(source.path, options)), folder, RECORDS))
    for reason, count, example in options.skipped.found():
        tally.drop(f"source {name}: {reason}", count, _without_place(example, source))
    for text, count, example in options.findings.found():
        such = f" (such as {_without_place(example, source)})" if example else ""
        tally.note(f"source {name}: {text}: {count:,}{such}")
    for text, count in options.counts.items():
        tally.count(f"source {name}: {text}", count)
    skipped = sum(count for _, count, _ in options.skipped.found())
    tally.read(rows + skipped)
    tally.count(f"records of {name}", rows)
    if not rows:
        raise SourceError(f"{source.path} has no record in the layout {layout.name}")
    if source.rows is not None and source.rows != rows + skipped:
        tally.note(
            f"source {name}: the configuration states {source.rows:,} rows and the source has {rows + skipped:,}; "
            "see that its download is complete"
        )
    return _Read(layout.name, rows, tally.tallied())


def _without_place(text: str, source: SourceConfig) -> str:
    """Return a text without the place of the source on this machine."""
    folder = source.path if source.path.is_dir() else source.path.parent
    return text.replace(f"{folder}{os.sep}", "")


def keyed(name: str, layout: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a reader with the columns that it leaves out: key, source and layout.

    Raises:
        SourceError: for a record without an id.
    """
    for batch in batches:
        assert batch.schema.equals(SOURCE_RECORDS), f"the reader of {layout} gives other columns"
        ids = batch["record_id"].to_pylist()
        if not all(ids):
            raise SourceError(f"a record of the layout {layout} lacks a record id (row {ids.index('') + 1} of a batch)")
        columns = {entry: batch[entry] for entry in SOURCE_RECORDS.names}
        columns |= {"source": pa.repeat(name, len(ids)), "layout": pa.repeat(layout, len(ids))}
        columns[KEY] = pa.array(_keys_of(name, ids))
        yield pa.RecordBatch.from_arrays([columns[entry] for entry in RECORDS.names], schema=RECORDS)


def _write_bucket(work: StageWork, named: tuple[str, pa.Table]) -> None:
    name, table = named[0], sorted_rows(named[1])
    with work.part(name, RECORDS) as part:
        keys = table[KEY].combine_chunks()
        if len(keys) > 1:
            repeated = pc.equal(keys[1:], keys[:-1])
            if pc.any(repeated).as_py():
                table = _unique(table, repeated, part.tally)
        part.write(table)


def _unique(table: pa.Table, repeated: pa.BooleanArray, tally: Tally) -> pa.Table:
    """Return the first of the rows of each key; rows are sorted by all columns, so that it does not depend on the source's order."""
    kept = pc.invert(pa.concat_arrays([pa.array([False]), repeated]))
    for at in pc.indices_nonzero(pc.invert(kept)).to_pylist():
        row, before = (table.slice(place, 1).to_pylist()[0] for place in (at, at - 1))
        tally.drop(_SAME if row == before else _OTHER, 1, f"{row['source']}: {row['record_id']}")
    return table.filter(kept)
