"""The last step of every reader: rows with an id, images that are on disk, and counts of what is left over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.nouns import number_of
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.layout import Layout, LayoutOption, ReadOptions, one_of, setting
from bioclip_training.published.reading.hashed import ImageFiles

IMAGES = LayoutOption("images", "Folder of the images, relative to the folder of the source.", place="folder")
MISSING_IMAGES = LayoutOption(
    "missing_images",
    "skip (the default): rows without an image file are skipped; keep: the disk is not looked at.",
    words=("skip", "keep"),
)
NO_ID = "rows lack an id"
NO_IMAGE = "rows without an image file"
NO_ROW = "image files without a row"


def keeps_missing(layout: Layout, options: ReadOptions) -> bool:
    """Return True if records of images that are not on disk are given as well."""
    return bool(setting(layout, options, "missing_images", "skip", one_of("skip", "keep")) == "keep")


def finished(
    batches: Iterable[pa.RecordBatch],
    path: Path,
    options: ReadOptions,
    files: ImageFiles | None,
    *,
    where: str = "",
) -> Iterator[pa.RecordBatch]:
    """Yield records with an id and an image, and report the others.

    Args:
        batches: of the schema SOURCE_RECORDS.
        path: the source.
        options: for what is reported.
        files: images on disk, by their names relative to the source; None: images are not looked for.
        where: folder in which they were looked for, for messages.

    Raises:
        SourceError: if there are rows but no image of any of them.
    """
    rows, given, first_missing = 0, 0, ""
    for whole in batches:
        rows += whole.num_rows
        batch = _with_ids(whole, options)
        if files is not None and batch.num_rows:
            there = files.are_there(batch.column("uri"))
            if not there.all():
                first = batch.column("uri")[int(np.argmin(there))].as_py()
                first_missing = first_missing or first
                options.skip(NO_IMAGE, f"{first}{files.hint(first) if not given else ''}", int((~there).sum()))
                batch = batch.filter(pa.array(there))
        given += batch.num_rows
        if batch.num_rows:
            yield batch
    options.count("rows", rows)
    options.count("records", given)
    if files is None:
        return
    options.count("image files", len(files))
    if first_missing and not given:
        raise SourceError(
            f"{shown_path(path)}: none of the images of {number_of(rows, 'row')} is in {where or 'the folder'} "
            f"(the first: {first_missing}); found there: {number_of(len(files), 'image file')}. Give images: FOLDER, "
            "or missing_images: keep for records without images"
        )
    count, example = files.unused()
    if count:
        options.findings.add(NO_ROW, example, count)


def note_names(files: ImageFiles, batches: Iterable[pa.RecordBatch], prefix: str) -> None:
    """Note all files that the metadata name (the first column) as used: rows that are skipped for another reason have theirs."""
    for batch in batches:
        files.are_there(pc.binary_join_element_wise(prefix, batch.column(0), ""))


def _with_ids(batch: pa.RecordBatch, options: ReadOptions) -> pa.RecordBatch:
    empty = pc.equal(batch.column("record_id"), "")
    if not pc.any(empty).as_py():
        return batch
    options.skip(NO_ID, batch.column("uri")[pc.index(empty, True).as_py()].as_py(), pc.sum(empty).as_py())
    return batch.filter(pc.invert(empty))


def image_folder(layout: Layout, path: Path, options: ReadOptions, guesses: Sequence[str]) -> str:
    """Return the folder of the images, relative to the source: the given one, or the one of some names that exists.

    Args:
        layout: which is read.
        path: folder of the source.
        options: has the option ``images``.
        guesses: names of folders, of which the first that exists counts; the last one needs not exist.

    Raises:
        SourceError: for a given folder that does not exist.
    """
    given = setting(layout, options, "images", "", str)
    if given:
        if not (path / given).is_dir():
            raise SourceError(f"images: {given} is not a folder in {shown_path(path)}")
        return Path(given).as_posix() if Path(given) != Path() else ""
    return next((name for name in guesses if (path / name).is_dir()), guesses[-1])
