"""Camera-trap sets of LILA BC: COCO Camera Traps JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.errors import SourceError
from bioclip_core.files.streamed_json import beginning
from bioclip_core.nouns import number_of
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.layout import ReadOptions, Recognition, check_settings
from bioclip_training.published.lila_categories import (
    CATEGORIES,
    DATASET,
    NOT_A_TAXON,
    UNMAPPED,
    WITHOUT_TAXON,
    Category,
    categories_of,
)
from bioclip_training.published.reading.coco import CocoFile, by_id, ids, texts
from bioclip_training.published.reading.finishing import (
    IMAGES,
    MISSING_IMAGES,
    finished,
    image_folder,
    keeps_missing,
    note_names,
)
from bioclip_training.published.reading.hashed import ImageFiles
from bioclip_training.published.reading.joining import Joining, joining
from bioclip_training.published.reading.values import BAD_BOX, dates
from bioclip_training.published.records import SOURCE_RECORDS, batch_of

_MARKS = frozenset(("location", "seq_id", "seq_num_frames", "frame_num", "datetime"))
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
_IMAGES = pa.schema(
    [(name, pa.string()) for name in ("id", "file", "location", "sequence", "date", "holder")]
    + [("width", pa.float64()), ("height", pa.float64())]
)
_ANNOTATIONS = pa.schema(
    [(name, pa.string()) for name in ("annotation", "image", "category")]
    + [(name, pa.float64()) for name in ("x", "y", "w", "h")]
)
_NAMES = tuple(
    name for name in SOURCE_RECORDS.names
    if name in ("verbatim_name", "kingdom", "phylum", "class", "order", "family", "genus", "species", "taxon_rank", "common_name",
                "common_name_language", "caption")
)  # fmt: skip
_CATEGORIES = pa.schema([(name, pa.string()) for name in ("id", *_NAMES, "skipped")])
NO_ANNOTATION = "images without an annotation"
NO_IMAGE_ENTRY = "annotations of an image that is not listed"
NO_CATEGORY = "annotations of a category that is not listed"
SEQUENCE_LABELS = "annotations are of a whole sequence, not of the single image"
_QUERY = """SELECT i.* EXCLUDE (nr), a.annotation, a.x, a.y, a.w, a.h, c.* EXCLUDE (id, nr, skipped), c.id AS category
FROM annotations a JOIN images i ON i.id = a.image JOIN categories c ON c.id = a.category WHERE c.skipped = ''"""


class Lila:
    """A camera-trap set of LILA: one record per annotation."""

    name = "lila"
    title = "a camera-trap set in COCO Camera Traps JSON"
    needs = "a JSON file with images (file_name, location, seq_id), annotations and categories, and the images below its folder"
    options = (IMAGES, MISSING_IMAGES, CATEGORIES, DATASET, WITHOUT_TAXON)

    def recognise(self, path: Path) -> Recognition | None:
        files = _files(path)
        if not files:
            return None
        return Recognition(
            layout=self.name,
            taken=(
                *((file.name, "images, annotations and categories") for file in files),
                ("categories", "names, if all are species; else the option categories says what they are"),
                ("location, seq_id", "event, so that a sequence stays together, and locality"),
                ("bbox in pixels", "box in fractions of the image"),
                ("id of the image, and of the annotation where it has a box or several", "id of the record"),
            ),
            confidence="its images have file_name with location, seq_id or datetime, as COCO Camera Traps do",
            files=tuple(files),
        )

    def read(self, path: Path, options: ReadOptions) -> Iterator[pa.RecordBatch]:
        check_settings(self, options)
        files, root = _files(path), path if path.is_dir() else path.parent
        if not files:
            raise SourceError(f"{shown_path(path)} is not {self.title}: needed is {self.needs}")
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise SourceError(
                f"{shown_path(path)} holds several such files ({names}); give one of them as the source's path"
            )
        images = image_folder(self, root, options, ("",))
        listed = None if keeps_missing(self, options) else ImageFiles(root, [images])
        with joining(options, files[0].name) as join:
            self._load(files[0], root, join, options)
            prefix = f"{images}/" if images else ""
            if listed is not None:
                note_names(listed, join.batches("SELECT file FROM images"), prefix)
            batches = (_record_batch(batch, prefix, options) for batch in join.batches(_QUERY))
            yield from finished(batches, path, options, listed, where=images)

    def _load(self, file: Path, root: Path, join: Joining, options: ReadOptions) -> None:
        source = CocoFile(file, options)
        join.add("images", [], _IMAGES)
        join.add("annotations", [], _ANNOTATIONS)
        sequence_labels = 0
        for name, found in source.batches():
            if name == "images":
                join.append(name, _image_batch(found, options))
            else:
                sequence_labels += sum(one.sequence_level_annotation is True for one in found)
                join.append(name, _annotation_batch(found))
        if sequence_labels:
            options.findings.add(SEQUENCE_LABELS, file.name, sequence_labels)
        if not source.counts["annotations"]:
            raise SourceError(
                f"{shown_path(file)} has {number_of(source.counts['images'], 'image')} and no annotations"
            )
        meanings = categories_of(by_id(source.head, "categories"), self, root, options, file.name)
        join.add("categories", [_category_batch(meanings)], _CATEGORIES)
        options.count("images in JSON", source.counts["images"])
        options.count("annotations in JSON", source.counts["annotations"])
        _report(join, options)


def _files(path: Path) -> list[Path]:
    candidates = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.suffix == ".json" else []
    return [file for file in candidates if _is_camera_traps(beginning(file).members)]


def _is_camera_traps(members: Mapping[str, Any]) -> bool:
    images, annotations, categories = (members.get(name) for name in ("images", "annotations", "categories"))
    if isinstance(images, list) and images:
        first = images[0]
        return isinstance(first, dict) and "file_name" in first and bool(_MARKS & first.keys())
    # Files whose annotations or categories come first, so that no image is at hand.
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    if isinstance(first, dict):
        return "image_id" in first and "category_id" in first and not {"segmentation", "iscrowd"} & first.keys()
    return isinstance(categories, list) and len(categories) > 0 and "images" in members


def _image_batch(found: list[Any], options: ReadOptions) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            ids([one.id for one in found]),
            texts([None if one.file_name is None else one.file_name.replace("\\", "/") for one in found]),
            ids([one.location for one in found]),
            ids([one.seq_id for one in found]),
            dates(texts([one.datetime or one.date for one in found]), options),
            texts([one.rights_holder for one in found]),
            pa.array([one.width for one in found], pa.float64()),
            pa.array([one.height for one in found], pa.float64()),
        ],
        schema=_IMAGES,
    )


def _annotation_batch(found: list[Any]) -> pa.RecordBatch:
    boxes = [one.bbox if one.bbox is not None and len(one.bbox) == 4 else (None,) * 4 for one in found]
    return pa.RecordBatch.from_arrays(
        [
            ids([one.id for one in found]),
            ids([one.image_id for one in found]),
            ids([one.category_id for one in found]),
            *(pa.array([box[place] for box in boxes], pa.float64()) for place in range(4)),
        ],
        schema=_ANNOTATIONS,
    )


def _category_batch(meanings: Mapping[str, Category]) -> pa.RecordBatch:
    columns = [list(meanings), *([one.cells.get(name, "") for one in meanings.values()] for name in _NAMES)]
    columns.append([one.skipped for one in meanings.values()])
    return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=_CATEGORIES)


def _report(join: Joining, options: ReadOptions) -> None:
    for reason, sql in (
        (NO_ANNOTATION, "SELECT file FROM images WHERE id NOT IN (SELECT image FROM annotations)"),
        (NO_IMAGE_ENTRY, "SELECT image FROM annotations WHERE image NOT IN (SELECT id FROM images)"),
        (
            NO_CATEGORY,
            "SELECT i.file FROM annotations a JOIN images i ON i.id = a.image "
            "WHERE a.category NOT IN (SELECT id FROM categories)",
        ),
    ):
        count, first = join.count_and_first(sql)
        if count:
            options.skip(reason, first, count)
    skipped = "SELECT i.file || ': ' || c.caption FROM annotations a JOIN images i ON i.id = a.image JOIN categories c ON c.id = a.category"
    for reason in (UNMAPPED, NOT_A_TAXON):
        count, first = join.count_and_first(f"{skipped} WHERE c.skipped = '{reason}'")
        if count:
            options.skip(reason, first, count)
    # An image may have several annotations without a box: they are told apart by the category.
    join.execute(
        "CREATE TABLE several AS SELECT image, category FROM annotations WHERE x IS NULL GROUP BY 1, 2 HAVING count(*) > 1"
    )
    count, first = join.count_and_first("SELECT image FROM several")
    if count:
        options.findings.add(
            "images have several annotations of one category without a box; they are one record", first, count
        )
        join.execute(
            "DELETE FROM annotations WHERE x IS NULL AND nr NOT IN "
            "(SELECT min(nr) FROM annotations WHERE x IS NULL GROUP BY image, category)"
        )


def _record_batch(batch: pa.RecordBatch, prefix: str, options: ReadOptions) -> pa.RecordBatch:
    column = batch.column
    boxes = _boxes(batch, options)
    has_box = pc.is_valid(column("x"))
    place = column("location")
    event = pc.if_else(
        pc.equal(column("sequence"), ""),
        place,
        pc.if_else(
            pc.equal(place, ""), column("sequence"), pc.binary_join_element_wise(place, column("sequence"), "/")
        ),
    )
    return batch_of(
        batch.num_rows,
        {
            "record_id": pc.binary_join_element_wise(
                column("id"), pc.if_else(has_box, column("annotation"), column("category")), "#"
            ),
            "uri": pc.binary_join_element_wise(prefix, column("file"), ""),
            **{name: column(name) for name in _NAMES},
            "source_taxon_id": column("category"),
            "observation_id": column("id"),
            "event_id": event,
            "locality": place,
            "event_date": column("date"),
            "rights_holder": column("holder"),
            **boxes,
        },
    )


def _boxes(batch: pa.RecordBatch, options: ReadOptions) -> dict[str, pa.Array]:
    """Return boxes as fractions; none where pixels lie outside of the image or its size is unknown."""
    width, height = batch.column("width"), batch.column("height")
    x, y, w, h = (batch.column(name) for name in "xywh")
    shares = [pc.divide(x, width), pc.divide(y, height), pc.divide(w, width), pc.divide(h, height)]
    rounding = 0.01  # of a box that reaches the border
    good = pc.and_(
        pc.and_(pc.greater_equal(shares[0], -rounding), pc.greater_equal(shares[1], -rounding)),
        pc.and_(
            pc.and_(pc.less_equal(pc.add(shares[0], shares[2]), 1 + rounding), pc.greater(shares[2], 0)),
            pc.and_(pc.less_equal(pc.add(shares[1], shares[3]), 1 + rounding), pc.greater(shares[3], 0)),
        ),
    )
    good = pc.fill_null(good, False)
    bad = pc.and_(pc.is_valid(x), pc.invert(good))
    if pc.any(bad).as_py():
        first = pc.index(bad, True).as_py()
        options.findings.add(BAD_BOX, f"{batch.column('file')[first]}", pc.sum(bad).as_py())
    left, top = (pc.min_element_wise(pc.max_element_wise(share, 0.0), 1.0) for share in shares[:2])
    wide = pc.min_element_wise(shares[2], pc.subtract(1.0, left))
    high = pc.min_element_wise(shares[3], pc.subtract(1.0, top))
    return {name: pc.if_else(good, value, None) for name, value in zip(_BOX, (left, top, wide, high), strict=True)}
