"""Layouts that are one row per image in a small table: evaluation sets of the papers, as published and as their originals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.layout import LayoutOption, ReadOptions, Recognition, check_settings, one_of, setting
from bioclip_training.published.reading.finishing import IMAGES, MISSING_IMAGES, finished, image_folder, keeps_missing
from bioclip_training.published.reading.hashed import ImageFiles
from bioclip_training.published.reading.tables import has_columns, header_of, open_columns
from bioclip_training.published.reading.values import dates
from bioclip_training.published.records import batch_of

LABELS = LayoutOption(
    "labels",
    "Read the labels as caption (the default), scientific names or common names: caption, scientific, common.",
    words=("caption", "scientific", "common"),
)
_LABEL_COLUMNS = {"caption": "caption", "scientific": "verbatim_name", "common": "common_name"}
_SUFFIXES = (".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTable:
    """One such layout."""

    name: str
    title: str
    needs: str
    marks: tuple[str, ...]
    """Columns that tell the table."""
    file: str
    """Column of the image's file name."""
    columns: Mapping[str, str]
    """Columns of records, by the table's own column that each is read from."""
    meanings: tuple[tuple[str, str], ...]
    """What is taken for what, for the user."""
    tables: tuple[str, ...] = ("",)
    """Folders of the tables."""
    images: tuple[str, ...] = ("",)
    """Folders of the images, relative to the table's folder, of which the first that exists is read."""
    suffix: str = ""
    """End of the image's name that the table leaves out."""
    label: str = ""
    """Column of a label that is text of any kind."""
    language: str = ""
    """Language of the common names."""
    split: Callable[[Path], str] = field(default=lambda _: "")
    """Returns the split of a table's rows, where its name tells it."""
    first_row: Callable[[Mapping[str, str]], bool] = field(default=lambda _: True)
    """True if a row is one of this layout, where the columns are those of others too."""
    record_id: tuple[str, ...] = ()
    """Columns that make the id, if it is not the file name."""

    @property
    def options(self) -> tuple[LayoutOption, ...]:
        return (IMAGES, MISSING_IMAGES, LABELS) if self.label else (IMAGES, MISSING_IMAGES)

    def recognise(self, path: Path) -> Recognition | None:
        files = self._files(path)
        if not files:
            return None
        marks = ", ".join(self.marks)
        label = (
            ((self.label, "caption, as written (labels: scientific or common reads them as names)"),)
            if self.label
            else ()
        )
        return Recognition(
            layout=self.name,
            taken=(
                *((file.name, "one row per image") for file in files),
                (self.file, "file of the image"),
                *self.meanings,
                *label,
            ),
            confidence=f"{files[0].name} has the columns {marks}",
            files=tuple(files),
        )

    def _files(self, path: Path) -> list[Path]:
        if path.is_file():
            candidates = [path] if path.suffix in _SUFFIXES else []
        else:
            folders = [path / folder for folder in self.tables if (path / folder).is_dir()]
            candidates = sorted(file for folder in folders for file in folder.iterdir() if file.suffix in _SUFFIXES)
        return [file for file in candidates if has_columns(header_of(file), *self.marks) and self._fits(file)]

    def _fits(self, file: Path) -> bool:
        table = open_columns(file, Findings())
        batch = next(table.columns({name: name for name in (self.file, *self.marks)}), None)
        return batch is not None and batch.num_rows > 0 and self.first_row(batch.slice(0, 1).to_pylist()[0])

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        files = self._files(path)
        if not files:
            raise SourceError(f"{shown_path(path)} is not {self.title} as published: needed is {self.needs}")
        root = path if path.is_dir() else path.parent
        base = files[0].parent
        guesses = [(base / folder).relative_to(root).as_posix().removeprefix(".") for folder in self.images]
        images = image_folder(self, root, options, guesses)
        listed = None if keeps_missing(self, options) else ImageFiles(root, [images])
        yield from finished(self._records(files, images, options), path, options, listed, where=images)

    def _records(self, files: list[Path], images: str, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        words = setting(self, options, "labels", "caption", one_of(*_LABEL_COLUMNS)) if self.label else ""
        prefix = f"{images}/" if images else ""
        for file in files:
            table = open_columns(file, options.findings, options.table, needed=[self.file])
            wanted = {"file": self.file, **{name: name for name in {*self.columns.values(), *self.record_id} if name}}
            if self.label:
                wanted["label"] = self.label
            for batch in table.columns(wanted, exact=("label", "file")):
                yield self._batch(batch, prefix, words, self.split(file), options)

    def _batch(
        self, batch: pa.RecordBatch, prefix: str, words: str, split: str, options: ReadOptions
    ) -> pa.RecordBatch:
        file = pc.replace_substring(batch.column("file"), "\\", "/")
        file = pc.replace_substring_regex(file, pattern=r"^(?:\./)+", replacement="")
        columns = {name: batch.column(own) for name, own in self.columns.items()}
        if "event_date" in columns:
            columns["event_date"] = dates(columns["event_date"], options)
        if words and self.label:
            columns["caption"] = batch.column("label")
            columns[_LABEL_COLUMNS[words]] = batch.column("label")
        language = self.language if "common_name" in columns else ""
        own_id = (
            pc.binary_join_element_wise(*(batch.column(name) for name in self.record_id), " ")
            if self.record_id
            else file
        )
        return batch_of(
            batch.num_rows,
            {
                "published_split": split,
                **columns,
                "record_id": own_id,
                "uri": pc.binary_join_element_wise(prefix, file, self.suffix, ""),
                "common_name_language": pc.if_else(pc.equal(columns["common_name"], ""), "", language)
                if language
                else "",
            },
        )
