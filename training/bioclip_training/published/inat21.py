"""iNaturalist 2021 (iNat21): COCO JSON, class folders, or both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.files.streamed_json import beginning
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.layout import (
    BATCH_ROWS,
    ReadOptions,
    Recognition,
    check_settings,
    setting,
)
from bioclip_training.published.reading.coco import CocoFile, by_id, id_text, ids, texts
from bioclip_training.published.reading.finishing import IMAGES, MISSING_IMAGES, finished, keeps_missing, note_names
from bioclip_training.published.reading.folders import names_of_folders
from bioclip_training.published.reading.hashed import ImageFiles, image_names
from bioclip_training.published.reading.joining import Joining, joining
from bioclip_training.published.reading.values import dates, file_name_of, places
from bioclip_training.published.records import batch_of

# A number, six ranks and the epithet, which may have underscores of its own. A rank that is not known is empty.
_FOLDER = re.compile(r"(\d{5})_" + "_".join(r"([^_]*)" for _ in range(6)) + r"_(.+)")
_LEVELS = 2
_UUID = r"^[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}$"
"""Folders above the class folders: the split, and a folder of the archive's name."""
_MOST_PARTS = 50  # folders of which each is looked into; more are classes of another collection
_SPLITS = frozenset(("train", "train_mini", "val", "public_test"))
_IMAGES = pa.schema(
    [(name, pa.string()) for name in ("id", "file", "licence", "holder", "date", "split")]
    + [("latitude", pa.float64()), ("longitude", pa.float64())]
)
_ANNOTATIONS = pa.schema([("image", pa.string()), ("category", pa.string())])
_CATEGORIES = pa.schema([(name, pa.string()) for name in ("id", "name", "common", "folder", *RANK_COLUMNS)])
NO_ANNOTATION = "images without an annotation (the public test set has none)"
NO_CATEGORY = "annotations of a category that is not listed"
NO_LICENCE = "licences are numbers that the file does not explain; they are left empty"
OTHER_FOLDER = "images lie in the folder of another category than that of their annotation"


class Inat21:
    """iNat21: ``train.json`` and ``val.json``, class folders ``NNNNN_Kingdom_…_epithet``, or both."""

    name = "inat21"
    title = "iNat21"
    needs = (
        "train.json or val.json with file names in class folders, or folders NNNNN_Kingdom_Phylum_Class_Order_Family_Genus_epithet, "
        "also in train, train_mini and val"
    )
    options = (IMAGES, MISSING_IMAGES)

    def recognise(self, path: Path) -> Recognition | None:
        files, folders = _json_files(path), _class_parents(path) if path.is_dir() else []
        if not files and not folders:
            return None
        taken = [(file.name, "images, annotations and categories") for file in files]
        if files:
            taken += [
                ("kingdom … genus, specific_epithet, common_name", "ranks and common name of the category"),
                (
                    "latitude, longitude, date, rights_holder, license",
                    "place, date, rights holder and licence of the image",
                ),
            ]
        without = [folder for folder in folders if not any(_covers(file, folder) for file in files)]
        taken += [(f"{_shown(folder)}NNNNN_Kingdom_…_epithet/", "ranks from the folder's name") for folder in without]
        taken.append(("file name of the image, if it is a UUID, else its path", "id of the record"))
        return Recognition(
            layout=self.name,
            taken=tuple(taken),
            confidence="its file names lie in class folders with a number of five digits and seven names, as only those of iNat21 do",
            missing=()
            if files
            else ("train.json, val.json: there are no common names, places, dates, licences and rights holders",),
            files=tuple(files),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        files, root = _json_files(path), path if path.is_dir() else path.parent
        inside = setting(self, options, "images", "", str)
        images = root / inside
        if not images.is_dir():
            raise SourceError(f"images: {inside} is not a folder in {shown_path(root)}")
        prefix = f"{Path(inside).as_posix()}/" if inside else ""
        parents = [folder for folder in _class_parents(images) if not any(_covers(file, folder) for file in files)]
        if not files and not parents:
            raise SourceError(f"{shown_path(path)} is not {self.title} as published: needed is {self.needs}")
        listed = None
        if not keeps_missing(self, options):
            folders = _class_parents(images) if path.is_dir() else [Path(file.stem) for file in files]
            listed = ImageFiles(
                root, [prefix + _shown(folder).rstrip("/") for folder in folders if (images / folder).is_dir()]
            )
        yield from finished(self._records(files, parents, images, prefix, listed, options), path, options, listed)

    def _records(
        self,
        files: list[Path],
        parents: list[Path],
        images: Path,
        prefix: str,
        listed: ImageFiles | None,
        options: ReadOptions,
    ) -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from _json_records(file, prefix, listed, options)
        for parent in parents:
            yield from _folder_records(images, parent, prefix, options)


def _shown(folder: Path) -> str:
    return "" if folder == Path() else f"{folder.as_posix()}/"


def _json_files(path: Path) -> list[Path]:
    """Return the JSON files whose images are named as iNat21's."""
    candidates = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.suffix == ".json" else []
    return [file for file in candidates if _is_json(file)]


def _is_json(file: Path) -> bool:
    images = beginning(file).members.get("images")
    first = images[0] if isinstance(images, list) and images else None
    if not isinstance(first, dict) or not isinstance(first.get("file_name"), str):
        return False
    parts = first["file_name"].split("/")
    return bool(len(parts) > 1 and _FOLDER.fullmatch(parts[-2])) or (parts[0] == "public_test" and "date" in first)


def _covers(file: Path, folder: Path) -> bool:
    """True if a JSON file is about the images below a folder: train.json about train/."""
    return (folder.parts[-1] if folder.parts else "") == file.stem


def _class_parents(root: Path) -> list[Path]:
    """Return the folders that hold class folders, relative to the root."""
    waiting, found = [(Path(), _LEVELS)], []
    while waiting:
        folder, left = waiting.pop(0)
        names = names_of_folders(root / folder)
        if any(_FOLDER.fullmatch(name) for name in names[:20]):
            found.append(folder)
        elif left and len(names) <= _MOST_PARTS:
            waiting += [(folder / name, left - 1) for name in names]
    return found


# -- JSON --------------------------------------------------------------------------------------------------------------


def _json_records(file: Path, prefix: str, listed: ImageFiles | None, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    with joining(options, file.name) as join:
        source = CocoFile(file, options)
        _load(source, file, join, options)
        _check(join, options)
        if listed is not None:
            note_names(listed, join.batches("SELECT file FROM images"), prefix)
        for batch in join.batches(
            "SELECT i.* EXCLUDE (nr), c.* EXCLUDE (id, nr), c.id AS category FROM images i "
            "JOIN (SELECT image, arg_min(category, nr) AS category FROM annotations GROUP BY image) a ON a.image = i.id "
            "JOIN categories c ON c.id = a.category"
        ):
            yield _record_batch(batch, prefix)


def _load(source: CocoFile, file: Path, join: Joining, options: ReadOptions) -> None:
    """Read the file into tables. Images and annotations follow each other, so those of the second kind wait on disk."""
    split = file.stem
    tables = {"images": _IMAGES, "annotations": _ANNOTATIONS}
    make = {"images": lambda found: _image_batch(found, split, options), "annotations": _annotation_batch}
    for name, schema in tables.items():
        join.add(name, [], schema)
    for name, found in source.batches():
        join.append(name, make[name](found))
    licences = {
        number: str(entry.get("url") or entry.get("name") or number)
        for number, entry in by_id(source.head, "licenses").items()
    }
    join.add("licences", [_pairs(licences)], pa.schema([("id", pa.string()), ("name", pa.string())]))
    count, first = join.count_and_first(
        "SELECT licence FROM images WHERE licence <> '' AND licence NOT IN (SELECT id FROM licences)"
    )
    if count:
        options.findings.add(NO_LICENCE, f"{file.name}: {first}", count)
    join.execute(
        "UPDATE images SET licence = coalesce((SELECT l.name FROM licences l WHERE l.id = images.licence), '') WHERE licence <> ''"
    )
    categories = by_id(source.head, "categories")
    join.add("categories", [_category_batch(categories)] if categories else [], _CATEGORIES)
    options.count("images in JSON", source.counts["images"])


def _pairs(values: Mapping[str, str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {"id": pa.array(values.keys(), pa.string()), "name": pa.array(values.values(), pa.string())}
    )


def _image_batch(found: list[Any], split: str, options: ReadOptions) -> pa.RecordBatch:
    north, east = (
        pa.array(["" if (value := getattr(one, name)) is None else str(value) for one in found], pa.string())
        for name in ("latitude", "longitude")
    )
    latitude, longitude = places(north, east, options)
    return pa.RecordBatch.from_arrays(
        [
            ids([one.id for one in found]),
            texts([one.file_name for one in found]),
            ids([one.license for one in found]),
            texts([one.rights_holder for one in found]),
            dates(texts([one.date for one in found]), options),
            pa.repeat(split, len(found)),
            latitude,
            longitude,
        ],
        schema=_IMAGES,
    )


def _annotation_batch(found: list[Any]) -> pa.RecordBatch:
    columns = [ids([one.image_id for one in found]), ids([one.category_id for one in found])]
    return pa.RecordBatch.from_arrays(columns, schema=_ANNOTATIONS)


def _category_batch(categories: Mapping[str, Mapping[str, Any]]) -> pa.RecordBatch:
    keys = {"name": "name", "common": "common_name", "folder": "image_dir_name", "species": "specific_epithet"}
    columns = [
        pa.array(
            [
                number if name == "id" else str(entry.get(keys.get(name, name)) or "").strip()
                for number, entry in categories.items()
            ],
            pa.string(),
        )
        for name in _CATEGORIES.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_CATEGORIES)


def _check(join: Joining, options: ReadOptions) -> None:
    count, first = join.count_and_first("SELECT file FROM images WHERE id NOT IN (SELECT image FROM annotations)")
    if count:
        options.skip(NO_ANNOTATION, first, count)
    count, first = join.count_and_first(
        "SELECT i.file FROM images i JOIN annotations a ON a.image = i.id WHERE a.category NOT IN (SELECT id FROM categories)"
    )
    if count:
        options.skip(NO_CATEGORY, first, count)
    count, first = join.count_and_first(
        "SELECT i.file FROM images i JOIN annotations a ON a.image = i.id JOIN categories c ON c.id = a.category "
        "WHERE c.folder <> '' AND split_part(i.file, '/', -2) <> c.folder"
    )
    if count:
        options.findings.add(OTHER_FOLDER, first, count)


def _record_batch(batch: pa.RecordBatch, prefix: str) -> pa.RecordBatch:
    column = batch.column
    file = column("file")
    folder = pc.replace_substring_regex(column("folder"), pattern=r"^\d{5}_", replacement="")
    number = pc.replace_substring_regex(column("folder"), pattern=r"^0{0,4}(\d+)_.*$", replacement=r"\1")
    return batch_of(
        batch.num_rows,
        {
            "record_id": _ids(file),
            "uri": pc.binary_join_element_wise(prefix, file, ""),
            "verbatim_name": column("name"),
            **{rank: column(rank) for rank in RANK_COLUMNS},
            "source_taxon_id": column("category"),
            "common_name": column("common"),
            "common_name_language": pc.if_else(pc.equal(column("common"), ""), "", "en"),
            "licence": column("licence"),
            "rights_holder": column("holder"),
            "event_date": column("date"),
            "published_split": column("split"),
            "inat21_filename": file_name_of(file),
            "inat21_cls_name": folder,
            "inat21_cls_num": number,
            "latitude": column("latitude"),
            "longitude": column("longitude"),
        },
    )


def _ids(file: pa.Array) -> pa.Array:
    """Return the names without suffix where they are UUIDs, as iNaturalist's; of others, such as IMG_0001, several classes have one."""
    stem = pc.replace_substring_regex(file_name_of(file), pattern=r"\.[A-Za-z0-9]+$", replacement="")
    return pc.if_else(pc.match_substring_regex(stem, _UUID), stem, file)


# -- class folders -----------------------------------------------------------------------------------------------------


def _folder_records(images: Path, parent: Path, prefix: str, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    place = _shown(parent)
    split = parent.name or (images.resolve().name if images.resolve().name in _SPLITS else "")
    waiting: list[tuple[str, tuple[str, ...]]] = []
    for name in names_of_folders(images / parent):
        found = _FOLDER.fullmatch(name)
        if found is None:
            continue
        cells = (found[1], name[6:], *found.groups()[1:])
        for file in image_names(images, place + name, options=options):
            waiting.append((file, cells))
            if len(waiting) == BATCH_ROWS:
                yield _folder_batch(waiting, prefix, split)
                waiting = []
    if waiting:
        yield _folder_batch(waiting, prefix, split)


def _folder_batch(found: list[tuple[str, tuple[str, ...]]], prefix: str, split: str) -> pa.RecordBatch:
    file = pa.array([name for name, _ in found], pa.string())
    folder, *ranks = (pa.array([cells[place] for _, cells in found], pa.string()) for place in range(1, 9))
    ranks[6] = pc.replace_substring(ranks[6], "_", " ")
    return batch_of(
        len(found),
        {
            "record_id": _ids(file),
            "uri": pc.binary_join_element_wise(prefix, file, ""),
            **dict(zip(RANK_COLUMNS, ranks, strict=True)),
            "source_taxon_id": pa.array([id_text(int(cells[0])) for _, cells in found], pa.string()),
            "published_split": split,
            "inat21_filename": file_name_of(file),
            "inat21_cls_name": folder,
            "inat21_cls_num": pa.array([str(int(cells[0])) for _, cells in found], pa.string()),
        },
    )
