"""TreeOfLife's own catalogs, ``catalog.csv`` (10M) and ``catalog.parquet`` (200M), with the images that lie beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.files.archive_tar import FAULTS, TarReader
from bioclip_core.files.regular import open_regular
from bioclip_core.files.tar_members import LostBytes, members_in_place
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.caption_tables import caption_files
from bioclip_training.published.collections import COMPRESSED_TARS as COMPRESSED
from bioclip_training.published.columns import RANK_COLUMNS
from bioclip_training.published.downloaded import image_files, stored_rows
from bioclip_training.published.layout import BATCH_ROWS, LayoutOption, ReadOptions, Recognition, check_settings
from bioclip_training.published.reading.finishing import MISSING_IMAGES, NO_IMAGE, NO_ROW, keeps_missing
from bioclip_training.published.reading.folders import folders_below
from bioclip_training.published.reading.joining import Joining, joining
from bioclip_training.published.reading.tables import has_columns, header_of, open_columns
from bioclip_training.published.reading.values import first_of, joined
from bioclip_training.published.records import SOURCE_RECORDS, batch_of
from bioclip_training.published.samples import IMAGE_SUFFIXES

_DEPTH = 3
_IMAGE = ("id", "uri", "url", "licence", "holder", "original_md5", "md5")
_OF_STORED = ("uuid", "uri", "identifier", "license", "source", "hashsum_original", "hashsum_resized")
TWICE = "ids are in the catalog several times; the first row of each is used"
SAME_NAME = "common names repeat the scientific name and are left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOfLifeCatalog:
    """One of the two catalogs: a table by id, joined with the images that are on disk."""

    name: str
    title: str
    needs: str
    """What its folder holds; the first word is the name of the table."""
    marks: tuple[str, ...]
    """Columns that tell the table."""
    meanings: tuple[tuple[str, str], ...]
    """What is taken for what, for the user."""
    columns: Mapping[str, Sequence[str]]
    """Columns of the table by field, ``id`` among them."""
    images: Callable[[Path, ReadOptions], Iterator[pa.RecordBatch]]
    """Yields the images in a folder, in the columns ``_IMAGE``."""
    options: tuple[LayoutOption, ...] = (MISSING_IMAGES,)

    def recognise(self, path: Path) -> Recognition | None:
        catalog = self._catalog(path)
        if catalog is None:
            return None
        return Recognition(
            layout=self.name,
            taken=((catalog.name, "catalog, one row per image"), *self.meanings),
            confidence=f"its columns {', '.join(self.marks[:3])} are those of {self.title}",
            missing=() if path.is_dir() else ("images: only the catalog was given",),
            files=(catalog,),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        catalog = self._catalog(path)
        if catalog is None:
            raise SourceError(f"{shown_path(path)} is not {self.title}: needed is {self.needs}")
        keeps = keeps_missing(self, options)
        with joining(options, shown_path(path)) as join:
            rows = open_columns(catalog, options.findings, options.table).columns(self.columns)
            join.add("listed", rows, pa.schema([(name, pa.string()) for name in self.columns]))
            _keep_first(join, options)
            images = self.images(path, options) if path.is_dir() else iter(())
            join.add("images", images, pa.schema([(name, pa.string()) for name in _IMAGE]))
            count, _ = join.count_and_first("SELECT id FROM images")
            if not count and not keeps:
                raise SourceError(
                    f"{shown_path(path)} has a catalog and none of its images; give the folder that holds both, "
                    "or missing_images: keep for records without images"
                )
            self._report(join, options, keeps=keeps)
            join.add("captions", _captions(path), pa.schema([("id", pa.string()), ("caption", pa.string())]))
            kind = "LEFT JOIN" if keeps else "JOIN"
            query = (
                f"SELECT l.* EXCLUDE (nr), i.* EXCLUDE (id, nr), c.caption FROM catalog l {kind} image i ON i.id = l.id "
                "LEFT JOIN (SELECT id, min(caption) AS caption FROM captions GROUP BY id) c ON c.id = l.id"
            )
            given = 0
            for batch in join.batches(query):
                given += batch.num_rows
                yield self._records(batch, options)
            options.count("records", given)

    def _report(self, join: Joining, options: ReadOptions, *, keeps: bool) -> None:
        join.execute("CREATE VIEW image AS SELECT * FROM images WHERE nr IN (SELECT min(nr) FROM images GROUP BY id)")
        count, first = join.count_and_first("SELECT id FROM catalog WHERE id NOT IN (SELECT id FROM images)")
        if count and not keeps:
            options.skip(NO_IMAGE, first, count)
        count, first = join.count_and_first("SELECT uri FROM images WHERE id NOT IN (SELECT id FROM catalog)")
        if count:
            options.findings.add(NO_ROW, first, count)
        count, first = join.count_and_first("SELECT id FROM images GROUP BY id HAVING count(*) > 1")
        if count:
            options.findings.add("ids have several images; the first of each is used", first, count)

    def _records(self, batch: pa.RecordBatch, options: ReadOptions) -> pa.RecordBatch:
        def text(name: str) -> pa.Array:
            return pc.fill_null(batch.column(name), "")

        common, scientific = text("common_name"), text("scientific")
        binomial = pc.utf8_trim_whitespace(pc.binary_join_element_wise(text("genus"), text("species"), " "))
        is_name = [
            pc.equal(pc.utf8_lower(common), pc.utf8_lower(name)) for name in (scientific, binomial, text("species"))
        ]
        same = pc.and_(pc.or_(pc.or_(is_name[0], is_name[1]), is_name[2]), pc.not_equal(common, ""))
        if count := int(pc.sum(same).as_py() or 0):
            options.findings.add(SAME_NAME, common[pc.index(same, True).as_py()].as_py(), count)
        taken = {name: text(name) for name in self.columns if name in SOURCE_RECORDS.names}
        holder = text("holder")
        if "publisher" in self.columns:
            holder = first_of(holder, text("publisher"))
        if "data_source" in self.columns:
            taken["observation_id"] = joined([text("data_source"), text("observation_id")], ":")
        return batch_of(
            batch.num_rows,
            {
                **taken,
                "record_id": text("id"), "treeoflife_id": text("id"), "uri": text("uri"), "url": text("url"), "verbatim_name": scientific,
                "caption": text("caption"), "common_name": pc.if_else(same, "", common), "licence": text("licence"),
                "rights_holder": holder, "published_original_md5": text("original_md5"), "published_md5": text("md5"),
            },
        )  # fmt: skip

    def _catalog(self, path: Path) -> Path | None:
        """Return the catalog in a folder or those near its top."""
        suffix = PurePosixPath(self.needs.split(" ", 1)[0]).suffix
        files = (
            [path]
            if path.is_file()
            else [f for folder in folders_below(path, 2) for f in sorted(folder.glob(f"*{suffix}"))]
        )
        return next((file for file in files if has_columns(header_of(file), *self.marks)), None)


def named_images(path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """Yield the images below a folder whose base name is their id: members of tars, and files."""
    waiting: list[tuple[str, str]] = []
    for found in _named(path, options):
        waiting.append(found)
        if len(waiting) == BATCH_ROWS:
            yield _batch(waiting)
            waiting = []
    if waiting:
        yield _batch(waiting)


def _named(path: Path, options: ReadOptions) -> Iterator[tuple[str, str]]:
    for folder in folders_below(path, _DEPTH):
        for file in sorted(folder.iterdir()):
            name = file.relative_to(path).as_posix()
            if file.suffix.lower() in IMAGE_SUFFIXES:
                yield file.name.partition(".")[0], name
            elif file.name.endswith((".tar", *COMPRESSED)):
                members = _members if file.suffix == ".tar" else _packed_members
                yield from ((base.partition(".")[0], f"{name}#{member}") for base, member in members(file, options))


def _members(tar: Path, options: ReadOptions) -> Iterator[tuple[str, str]]:
    """Yield base name and name of each image of a tar."""
    try:
        with open_regular(tar) as file:
            size = tar.stat().st_size
            for entry in members_in_place(file):
                if isinstance(entry, LostBytes):
                    options.findings.add("tars are damaged; the members around that are read", f"{tar.name}: {entry}")
                    continue
                base = PurePosixPath(entry.name)
                if entry.isreg() and base.suffix.lower() in IMAGE_SUFFIXES and not base.name.startswith("."):
                    if entry.offset_data + entry.size > size:
                        options.findings.add(
                            "tars are truncated; the members before that are read", f"{tar.name}, {entry.name}"
                        )
                    else:
                        yield base.name, entry.name
    except OSError as error:
        raise SourceError(f"{shown_path(tar)} cannot be read: {error.strerror or error}") from error


def _packed_members(tar: Path, options: ReadOptions) -> Iterator[tuple[str, str]]:
    """Yield base name and name of each image of a compressed tar, as :func:`_members` does."""
    try:
        reader = TarReader(tar)
        try:
            for entry in reader.entries():
                base = PurePosixPath(entry.name)
                if not entry.special and base.suffix.lower() in IMAGE_SUFFIXES and not base.name.startswith("."):
                    yield base.name, entry.name
        finally:
            reader.close()
    except FAULTS as error:
        options.findings.add("tars are truncated; the members before that are read", f"{tar.name}: {error}")


def _batch(found: list[tuple[str, str]]) -> pa.RecordBatch:
    ids, uris = zip(*found, strict=True)
    empty = pa.repeat("", len(found))
    return pa.RecordBatch.from_arrays([pa.array(ids), pa.array(uris), *(empty for _ in _IMAGE[2:])], names=list(_IMAGE))


def _captions(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the captions that a table beside the catalog has by the ids of images, as BioCAP publishes them."""
    from pyarrow import parquet

    for file in caption_files(path) if path.is_dir() else ():
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(BATCH_ROWS, columns=["uuid", "caption"], use_threads=False):
                columns = [pc.fill_null(batch.column(name).cast(pa.string()), "") for name in ("uuid", "caption")]
                yield pa.RecordBatch.from_arrays(columns, names=["id", "caption"])


def _keep_first(join: Joining, options: ReadOptions) -> None:
    """Make the view ``catalog`` of the rows with an id, each id once."""
    count, first = join.count_and_first("SELECT id FROM listed WHERE id <> '' GROUP BY id HAVING count(*) > 1")
    if count:
        options.findings.add(TWICE, first, count)
    count, _ = join.count_and_first("SELECT id FROM listed WHERE id = ''")
    if count:
        options.skip("rows lack an id", "", count)
    listed, _ = join.count_and_first("SELECT id FROM listed")
    options.count("rows", listed)
    join.execute(
        "CREATE VIEW catalog AS SELECT * FROM listed WHERE nr IN (SELECT min(nr) FROM listed WHERE id <> '' GROUP BY id)"
    )


def _stored_or_named(path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
    """Yield the images of distributed-downloader's Parquet files, or without any those below the folder whose name is their id."""
    files = image_files(path)
    for batch in stored_rows(path, files, options):
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in _OF_STORED], names=list(_IMAGE))
    if not files:
        yield from named_images(path, options)


TREE_OF_LIFE_10M = TreeOfLifeCatalog(
    name="treeoflife-10m",
    title="TreeOfLife-10M",
    needs="catalog.csv (columns split, treeoflife_id, eol_content_id …) and images named by treeoflife_id in tars or folders",
    marks=("treeoflife_id", "eol_content_id", "inat21_filename", "kingdom", "species"),
    meanings=(
        ("treeoflife_id", "id of the record, and name of its image in a tar or folder"),
        ("split", "published split"),
        ("kingdom … species, common", "ranks and common name"),
        ("eol_page_id, inat21_cls_num", "id of the taxon"),
    ),
    columns={
        "id": ["treeoflife_id"], "published_split": ["split"], **{rank: [rank] for rank in RANK_COLUMNS},
        "common_name": ["common"], "scientific": ["scientific_name"], "eol_content_id": ["eol_content_id"],
        "eol_page_id": ["eol_page_id"], "bioscan_part": ["bioscan_part"], "bioscan_filename": ["bioscan_filename"],
        "inat21_filename": ["inat21_filename"], "inat21_cls_name": ["inat21_cls_name"], "inat21_cls_num": ["inat21_cls_num"],
    },
    images=named_images,
)  # fmt: skip
"""TreeOfLife-10M: ``catalog.csv``, with its shards or the images under their ids, in folders or tars."""
TREE_OF_LIFE_200M = TreeOfLifeCatalog(
    name="treeoflife-200m",
    title="TreeOfLife-200M",
    needs="catalog.parquet (columns uuid, data_source, source_id …) and Parquet files with uuid and image, or shards named by uuid",
    marks=("uuid", "data_source", "source_id", "kingdom", "scientific_name"),
    meanings=(
        ("uuid", "id of the record, and of its image in a Parquet file or shard"),
        ("data_source, source_id", "observation: images of one occurrence are never on both sides of a split"),
        ("kingdom … species, common", "ranks and common name"),
        ("scientific_name", "name as written, with authors"),
        ("basisOfRecord", "basis of record"),
        ("publisher", "rights holder, where the image file has none"),
        ("hashsum_original, hashsum_resized", "md5 of the file that was fetched, and of the pixels in the row"),
    ),
    columns={
        "id": ["uuid"], "observation_id": ["source_id"], **{rank: [rank] for rank in RANK_COLUMNS}, "common_name": ["common"],
        "scientific": ["scientific_name"], "basis_of_record": ["basisOfRecord"], "publisher": ["publisher"], "data_source": ["data_source"],
    },
    images=_stored_or_named,
)  # fmt: skip
"""TreeOfLife-200M: ``catalog.parquet``, with the Parquet files of distributed-downloader or its shards."""
