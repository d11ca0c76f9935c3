"""BIOSCAN-1M and BIOSCAN-5M: insects of Malaise traps, one photograph and one DNA barcode per specimen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.files.streamed_json import beginning, walk
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.layout import (
    BATCH_ROWS,
    Layout,
    LayoutOption,
    ReadOptions,
    Recognition,
    check_settings,
    setting,
)
from bioclip_training.published.reading.finishing import IMAGES, MISSING_IMAGES, finished, keeps_missing
from bioclip_training.published.reading.folders import folders_named, names_of_folders
from bioclip_training.published.reading.hashed import ImageFiles
from bioclip_training.published.reading.tables import has_columns, header_of, open_columns
from bioclip_training.published.reading.values import joined, places
from bioclip_training.published.records import batch_of

UNCLASSIFIED = ("not_classified",)
_PART = r"part\d+"
_RANKS = ("phylum", "class", "order", "family", "genus", "species")
_METADATA = LayoutOption("metadata", "The metadata file, where there are several.", place="file")
_ALL_ANIMALS = ("(no column)", "kingdom Animalia of every row, since the collection holds arthropods only")


def _files(path: Path, places_: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """Return the files of a folder and of some folders below it that have one of some suffixes."""
    if path.is_file():
        return [path]
    folders = [path / place for place in places_]
    return sorted(file for folder in folders if folder.is_dir() for file in folder.iterdir() if file.suffix in suffixes)


def _text_columns(path: Path, wanted: Mapping[str, Sequence[str]], options: ReadOptions) -> Iterator[pa.RecordBatch]:
    table = open_columns(path, options.findings, options.table)
    yield from table.columns(wanted, marks=UNCLASSIFIED)


def _image_root(layout: Layout, path: Path, options: ReadOptions, inside: str) -> str:
    """Return the folder with the folders ``inside``; several are refused, since they hold the same images in other sizes."""
    given = setting(layout, options, "images", "", str)
    if given:
        if not (path / given).is_dir():
            raise SourceError(f"images: {given} is not a folder in {shown_path(path)}")
        return Path(given).as_posix()
    found = sorted({folder.parent for folder in folders_named(path, inside)})
    if len(found) > 1:
        names = ", ".join(folder.relative_to(path).as_posix() for folder in found)
        raise SourceError(
            f"{shown_path(path)} holds its images several times ({names}); state one of them as images: FOLDER"
        )
    return found[0].relative_to(path).as_posix() if found else ""


class Bioscan1M:
    """BIOSCAN-1M: a TSV or jsonld file, and images in folders ``part1`` to ``part113``."""

    name = "bioscan-1m"
    title = "BIOSCAN-1M"
    needs = "BIOSCAN_Insect_Dataset_metadata.tsv or .jsonld (columns processid, image_file, uri, chunk_number) and folders part1, part2 …"
    options = (IMAGES, MISSING_IMAGES, _METADATA)
    _WANTED: Mapping[str, Sequence[str]] = {
        "processid": ["processid"],
        "sampleid": ["sampleid"],
        "file": ["image_file"],
        "bin": ["uri"],
        "part": ["chunk_number"],
        "licence": ["copyright_license", "copyright_licence", "license"],
        "holder": ["copyright_holder", "copyright_institution"],
        **{rank: [rank] for rank in _RANKS},
    }

    def recognise(self, path: Path) -> Recognition | None:
        files = self._metadata(path)
        if not files:
            return None
        return Recognition(
            layout=self.name,
            taken=(
                (files[0].name, "metadata, one row per specimen"),
                ("image_file, chunk_number", "file name of the image in the folder partN"),
                ("uri", "BIN of BOLD, the id of the taxon; it is not an image"),
                ("processid", "id of the record and of the specimen"),
                ("phylum … species", "ranks, not_classified as empty"),
                _ALL_ANIMALS,
            ),
            confidence="its columns processid, image_file and uri are those of BIOSCAN-1M",
            missing=()
            if path.is_file() or folders_named(path, _PART)
            else ("folders part1, part2 …: there are no images",),
            files=tuple(files[:1]),
        )

    @staticmethod
    def _metadata(path: Path) -> list[Path]:
        tables = [
            file
            for file in _files(path, ("", "metadata", "bioscan"), (".tsv", ".csv", ".txt"))
            if has_columns(header_of(file), "processid", "image_file", "uri", "family")
        ]
        return tables + [
            file for file in _files(path, ("", "metadata", "bioscan"), (".jsonld", ".json")) if _is_jsonld(file)
        ]

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        root = path if path.is_dir() else path.parent
        files = self._metadata(path)
        if given := setting(self, options, "metadata", "", str):
            files = [root / given]
        if not files:
            raise SourceError(f"{shown_path(path)} lacks the metadata of {self.title}: needed is {self.needs}")
        images = None if keeps_missing(self, options) else _image_root(self, root, options, _PART)
        listed = None if images is None else ImageFiles(root, [images])
        prefix = f"{images}/" if images else ""
        yield from finished(self._records(files[0], prefix, options), path, options, listed, where=images or "")

    def _records(self, file: Path, prefix: str, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        rows = _jsonld_columns if file.suffix in (".jsonld", ".json") else _text_columns
        for batch in rows(file, self._WANTED, options):
            column = batch.column
            part = pc.replace_substring_regex(column("part"), pattern=r"^part|\.0$", replacement="")
            yield batch_of(
                batch.num_rows,
                {
                    "record_id": column("processid"),
                    "observation_id": column("processid"),
                    "uri": joined([prefix + "part", part, "/", column("file")]),
                    "kingdom": "Animalia",
                    **{rank: column(rank) for rank in _RANKS},
                    "source_taxon_id": column("bin"),
                    "licence": column("licence"),
                    "rights_holder": column("holder"),
                    "bioscan_part": part,
                    "bioscan_filename": column("file"),
                },
            )


def _is_jsonld(file: Path) -> bool:
    found = beginning(file).members.get("")
    first = found[0] if isinstance(found, list) and found else None
    return isinstance(first, dict) and {"processid", "image_file", "uri"} <= first.keys()


def _jsonld_columns(path: Path, wanted: Mapping[str, Sequence[str]], _options: ReadOptions) -> Iterator[pa.RecordBatch]:
    waiting: list[dict[str, Any]] = []
    for event in walk(path):
        if isinstance(event.value, dict):
            waiting.append(event.value)
        if len(waiting) == BATCH_ROWS:
            yield _jsonld_batch(waiting, wanted)
            waiting = []
    if waiting:
        yield _jsonld_batch(waiting, wanted)


def _jsonld_batch(rows: list[dict[str, Any]], wanted: Mapping[str, Sequence[str]]) -> pa.RecordBatch:
    columns = {}
    for name, keys in wanted.items():
        key = next((key for key in keys if key in rows[0]), keys[0])
        cells = ["" if (value := row.get(key)) is None else str(value).strip() for row in rows]
        columns[name] = pa.array(["" if cell in UNCLASSIFIED else cell for cell in cells], pa.string())
    return pa.RecordBatch.from_pydict(columns)


class Bioscan5M:
    """BIOSCAN-5M: a CSV file, and images in folders of split and chunk."""

    name = "bioscan-5m"
    title = "BIOSCAN-5M"
    needs = "BIOSCAN_5M_Insect_Dataset_metadata.csv (columns processid, dna_bin, split, chunk) and images/SIZE/SPLIT/CHUNK/PROCESSID.jpg"
    options = (IMAGES, MISSING_IMAGES)
    _PLACES = (
        "",
        "metadata",
        "metadata/csv",
        "bioscan5m",
        "bioscan5m/metadata/csv",
        "bioscan5m/bioscan5m/metadata/csv",
    )
    _WANTED: Mapping[str, Sequence[str]] = {
        "processid": ["processid"],
        "bin": ["dna_bin"],
        "country": ["country"],
        "locality": ["province_state"],
        "latitude": ["coord_lat", "latitude"],
        "longitude": ["coord_lon", "longitude"],
        "split": ["split"],
        "chunk": ["chunk"],
        **{rank: [rank] for rank in _RANKS},
    }

    def _metadata(self, path: Path) -> Path | None:
        files = _files(path, self._PLACES, (".csv", ".tsv"))
        return next((file for file in files if has_columns(header_of(file), "processid", "dna_bin", "split")), None)

    def recognise(self, path: Path) -> Recognition | None:
        file = self._metadata(path)
        if file is None:
            return None
        return Recognition(
            layout=self.name,
            taken=(
                (file.name, "metadata, one row per specimen"),
                ("split, chunk, processid", "file SPLIT/CHUNK/PROCESSID.jpg of the image"),
                ("dna_bin", "BIN of BOLD, the id of the taxon"),
                ("phylum … species", "ranks"),
                ("coord_lat, coord_lon, country, province_state", "place"),
                _ALL_ANIMALS,
            ),
            confidence="its columns processid, dna_bin and split are those of BIOSCAN-5M",
            missing=()
            if path.is_file() or folders_named(path, "images")
            else ("images: there is no folder of this name",),
            files=(file,),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        root = path if path.is_dir() else path.parent
        file = self._metadata(path)
        if file is None:
            raise SourceError(f"{shown_path(path)} lacks the metadata of {self.title}: needed is {self.needs}")
        if keeps_missing(self, options):
            images, listed = "images", None
        else:
            images = self._images(root, options)
            listed = ImageFiles(root, [images])
        yield from finished(self._records(file, images, options), path, options, listed, where=images)

    def _images(self, root: Path, options: ReadOptions) -> str:
        if setting(self, options, "images", ""):
            return _image_root(self, root, options, "")
        found = [base / name for base in folders_named(root, "images") for name in names_of_folders(base)]
        if len(found) > 1:
            names = ", ".join(folder.relative_to(root).as_posix() for folder in found)
            raise SourceError(
                f"{shown_path(root)} holds its images in several folders ({names}); state one of them as images: FOLDER"
            )
        return found[0].relative_to(root).as_posix() if found else "images"

    def _records(self, file: Path, images: str, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        for batch in _text_columns(file, self._WANTED, options):
            column = batch.column
            chunk = pc.replace_substring_regex(column("chunk"), pattern=r"\.0$", replacement="")
            folder = pc.if_else(pc.equal(chunk, ""), "", joined([chunk, "/"]))
            latitude, longitude = places(column("latitude"), column("longitude"), options)
            yield batch_of(
                batch.num_rows,
                {
                    "record_id": column("processid"),
                    "observation_id": column("processid"),
                    "uri": joined([images + "/", column("split"), "/", folder, column("processid"), ".jpg"]),
                    "kingdom": "Animalia",
                    **{rank: column(rank) for rank in _RANKS},
                    "source_taxon_id": column("bin"),
                    "country": column("country"),
                    "locality": column("locality"),
                    "latitude": latitude,
                    "longitude": longitude,
                    "published_split": column("split"),
                },
            )
