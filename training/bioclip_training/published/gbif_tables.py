"""Tables of a GBIF download or Darwin Core archive: where they are, and by what columns they are joined."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.files.meta_xml import META, META_BYTES, Description, Table, described
from bioclip_core.files.present import is_file
from bioclip_core.findings import Findings
from bioclip_core.tables.marks import split_line
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.reading.tables import (
    ColumnTable,
    as_text,
    has_columns,
    header_of,
    open_columns,
    open_file,
)
from bioclip_training.published.reading.text_columns import TextForm, read_columns

MEDIA_KINDS = ("Multimedia", "Image", "StillImage", "Audiovisual")
_NESTED = ("media", "multimedia", "images")
"""Columns of occurrences that may hold a list of media."""
_ADDRESSES = ("identifier", "accessuri", "url", "references")


@dataclass(frozen=True, slots=True)
class GbifTables:
    """The two tables of an archive."""

    form: str
    """What was found, for the user."""
    occurrences: Path
    media: Path | None
    """None if media are nested in the occurrences."""
    files: tuple[Path, ...]
    core: Table | None = None
    extension: Table | None = None
    nested: str = ""
    """Column of the occurrences that holds lists of media."""

    def open(self, findings: Findings, options: TableOptions) -> tuple[ColumnTable, ColumnTable]:
        """Open occurrences and media; the keys that join them are the columns ``id`` and ``coreid``."""
        occurrences = self._open(self.occurrences, self.core, "id", findings, options)
        if self.media is None:
            return occurrences, _nested_media(self.occurrences, self.nested, occurrences)
        return occurrences, self._open(self.media, self.extension, "coreid", findings, options)

    @staticmethod
    def _open(path: Path, table: Table | None, key: str, findings: Findings, options: TableOptions) -> ColumnTable:
        if table is not None:
            return _declared(path, table, key, findings)
        is_text = path.suffix in (".txt", ".csv", ".tsv")
        return open_columns(path, findings, options, quote="" if is_text else '"', separator="\t" if is_text else "")


def found_tables(path: Path) -> GbifTables | None:
    """Return the tables of a folder or zip archive; None if it has none."""
    if (description := _description(path)) is not None:
        extension = next((table for table in description.extensions if table.kind in MEDIA_KINDS), None)
        if description.core.kind not in ("Occurrence", "Specimen") or extension is None:
            return None
        core, media = path / description.core.names[0], path / extension.names[0]
        files = (path,) if path.is_file() else (path / META, core, media)
        return GbifTables("Darwin Core archive", core, media, files, description.core, extension)
    if path.is_file():
        return _nested(path) if path.suffix == ".parquet" else _zipped(path)
    text, media = path / "occurrence.txt", path / "multimedia.txt"
    if is_file(text) and is_file(media):
        return GbifTables("GBIF download without meta.xml", text, media, (text, media))
    return _parquet(path)


def _description(path: Path) -> Description | None:
    meta = path / META
    if path.is_file() and not zipfile.is_zipfile(path):
        return None
    try:
        with open_file(meta) as file:
            content = file.read(META_BYTES + 1)
    except (OSError, SourceError):
        return None
    return described(content, f"{META} of {shown_path(path)}")


def _zipped(path: Path) -> GbifTables | None:
    if not zipfile.is_zipfile(path):
        return None
    names = set(zipfile.ZipFile(path).namelist())
    if {"occurrence.txt", "multimedia.txt"} <= names:
        return GbifTables("GBIF download without meta.xml", path / "occurrence.txt", path / "multimedia.txt", (path,))
    return None


def _parquet(path: Path) -> GbifTables | None:
    places = {
        kind: next((path / name for name in (f"{kind}.parquet", kind) if (path / name).exists()), None)
        for kind in ("occurrence", "multimedia")
    }
    occurrence, media = places["occurrence"], places["multimedia"]
    if media is None and is_file(path / "multimedia.txt"):
        media = path / "multimedia.txt"
    if occurrence is None:
        return _nested(path) if any(path.glob("*.parquet")) or any(path.glob("0*")) else None
    if not has_columns(header_of(occurrence), "gbifid"):
        return None
    if media is None:
        return _nested(occurrence)
    return GbifTables("GBIF occurrences in Parquet", occurrence, media, (occurrence, media))


def _nested(path: Path) -> GbifTables | None:
    header = header_of(path)
    column = next((name for name in header if name.lower() in _NESTED), "")
    if not has_columns(header, "gbifid", "scientificname") or not column:
        return None
    return GbifTables("GBIF occurrences in Parquet with nested media", path, None, (path,), nested=column)


def _declared(path: Path, table: Table, key: str, findings: Findings) -> ColumnTable:
    """Open a text table whose columns meta.xml declares; a column is called by the last part of its term, or by its place."""
    name = shown_path(path)
    with open_file(path) as file:
        for _ in range(table.header_lines):  # whose header may end with a separator that rows lack
            file.readline(1 << 20)
        first = file.readline(1 << 20).decode(table.encoding, "replace")
    width = max(table.width, len(split_line(first.rstrip("\r\n"), table.separator, table.quote or "\0")))
    columns = [f"column {place + 1}" for place in range(width)]
    constants: dict[str, str] = {}
    for column in reversed(table.columns):
        if column.index is None:
            constants[column.name] = column.default
        elif column.name not in columns:
            columns[column.index] = column.name
    own = columns[table.id_index]
    defaults = {column.name: column.default for column in table.columns if column.default and column.index is not None}
    form = TextForm(name, tuple(columns), table.separator, table.quote, table.encoding, table.header_lines)
    aliases = {key: own, **({"gbifID": own} if "gbifID" not in columns else {})}

    def read(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        needed = [aliases.get(one, one) for one in wanted if one not in constants]
        for batch in read_columns(form, partial(open_file, path), needed or [own], findings):
            arrays = [
                pa.repeat(constants[one], batch.num_rows)
                if one in constants
                else _filled(batch.column(aliases.get(one, one)), defaults.get(one, ""))
                for one in wanted
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(wanted))

    return ColumnTable(name, (*columns, *constants, *(one for one in aliases if one not in columns)), read, findings)


def _filled(column: pa.Array, default: str) -> pa.Array:
    return pc.if_else(pc.equal(column, ""), default, column) if default else column


def _nested_media(path: Path, column: str, occurrences: ColumnTable) -> ColumnTable:
    """Return the lists of media in a column of the occurrences as a table of its own."""
    import pyarrow.dataset as ds

    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.rglob("*") if file.is_file() and file.name[0] not in "._")
    )
    dataset = ds.dataset([str(file) for file in files], format="parquet")
    kind = dataset.schema.field(column).type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise SourceError(f"{shown_path(path)}: the column {column} is not a list of media")
    if pa.types.is_struct(kind.value_type) and kind.value_type.num_fields == 1:  # Hive's array_element
        inner: pa.DataType = kind.value_type.field(0).type
    else:
        inner = kind.value_type
    fields: Mapping[str, str] = (
        {field.name: field.name for field in inner} if pa.types.is_struct(inner) else {"identifier": ""}
    )
    if not any(name.lower() in _ADDRESSES for name in fields):
        raise SourceError(
            f"{shown_path(path)}: the column {column} holds no addresses of images; needed is a table multimedia beside it"
        )
    own = occurrences.heading("gbifid")

    def read(wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in dataset.to_batches(columns=[own, column], batch_size=8192, use_threads=False):
            parents = pc.list_parent_indices(batch.column(column))
            media = pc.list_flatten(batch.column(column))
            if media.type != inner:
                media = media.field(0)
            arrays = [
                as_text(batch.column(own).take(parents))
                if one == "coreid"
                else as_text(media if not fields[one] else media.field(fields[one]))
                for one in wanted
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=list(wanted))

    return ColumnTable(f"{occurrences.name}, {column}", ("coreid", *fields), read, occurrences.findings)
