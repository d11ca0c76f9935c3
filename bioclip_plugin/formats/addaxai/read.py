"""The source of AddaxAI's tables: files with their labels, and detections with boxes in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bioclip_core.cells import number_of, plain_number_of, share_of
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.present import exists
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.addaxai.layout import CORNERS, FIELDS, MEANING, SIZE, table_at
from bioclip_plugin.formats.shared.image_tables import IMAGE, Cells, ImageTable, Located
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.shared.pixel_boxes import Corners, Header, boxes_in, header_of
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, uri_of

_VIDEOS = ("vid", "video")
_BLANKS = frozenset({"blank", "empty"})
_NO_BOXES = "files have detections whose boxes are in another table of AddaxAI; they are classified as whole images"
_NO_FRAME = "boxes of videos do not state their frame and are not used; the videos are sampled"


class AddaxAISource:
    """Lists the images of a table that AddaxAI (EcoAssist) exported, in the order of the table.

    Rows of one image are one item, with a region for each box; people, vehicles and boxes below
    ``options.detection_threshold`` are kept and not classified. Labels are metadata. Files are looked for below the folder of
    the table, and at ``absolute_path`` if that is inside it or ``options.allow_outside`` is set.
    """

    name = "AddaxAI table"
    reads_tables = True
    """True if the options of tables apply."""

    def takes(self, address: str) -> bool:
        return table_at(address)[0] is not None

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        kind, needed = table_at(address)
        if kind == "detections without names":
            raise SourceError(
                f"{uri_of(address)} is AddaxAI's table of detections, which does not name the files: give its table of files, or "
                "addaxai-recognitions.json, which has the boxes too"
            )
        table = ImageTable(address, options, MEANING, needed, FIELDS)
        for found in table.by_image(lambda row: _located(row, table)):
            if isinstance(found, Unlisted):
                yield found
            elif found[1] is None:
                yield from _entries(found[0], table)
            else:
                yield from _again(found[0], found[1], table)


def _located(row: Cells, table: ImageTable) -> tuple[str, Path]:
    """Return the uri and the path of a row's file: below the table's folder, else where it was analysed.

    Raises:
        UsageError: for a row without a file, or whose path leaves the folder.
    """
    name, absolute = row.text(IMAGE, "relativepath"), row.text("absolutepath")
    if not name and not absolute:
        raise UsageError("column 'relative_path' is empty; it must name the image")
    if not name:
        return located(absolute, table.base, table.options)
    uri, path = located(name, table.base, table.options)
    if absolute and not exists(path):
        # Up to AddaxAI 6 absolute_path is the folder that was analysed, since AddaxAI 7 the file itself.
        last = name.replace("\\", "/").rpartition("/")[2]
        whole = absolute if absolute.endswith(last) else f"{absolute.rstrip('/')}/{name}"
        try:
            other_uri, other = located(whole, table.base, table.options)
        except UsageError:
            if exists(Path(whole)):
                raise
            return uri, path
        if exists(other):
            return other_uri, other
    return uri, path


def _entries(rows: Sequence[Located], table: ImageTable) -> Iterator[MediaItem | Unlisted]:
    """Yield the item of an image, and a message for each box that cannot be used."""
    first, options = rows[0], table.options
    regions: list[Region] = []
    unusable = boxes = 0
    for located_row in rows:
        row = located_row.row
        if not any(name in row.cells for name in CORNERS):
            if row is not first.row:
                yield table.skipped(row, _repeated(first.row.number))
            continue
        if row.text("datatype", "filetype").lower() in _VIDEOS:
            options.findings.add(_NO_FRAME, f"{table.name}, row {row.number}")
            continue
        boxes += 1
        try:
            regions.append(_region(row, first.path, options))
        except UsageError as error:
            unusable += 1
            yield table.skipped(row, str(error))
    if unusable and not regions:
        return
    detected = bool(regions) or _is_blank(first.row)
    counted = number_of(first.row.cells.get("ndetections"))
    if not boxes and counted:
        options.findings.add(_NO_BOXES, f"{table.name}, row {first.row.number}: {counted:g} detections")
    yield MediaItem(first.uri, first.path, regions=tuple(regions), detected=detected, **table.fields(first.row))


def _again(rows: Sequence[Located], earlier: int, table: ImageTable) -> Iterator[Unlisted]:
    """Yield a message for each row of an image that was listed before."""
    for one in rows:
        if any(name in one.row.cells for name in CORNERS):
            yield table.skipped(
                one.row,
                f"its image is that of row {earlier}, which is not above it, so that its box is not classified; sort the table "
                "by relative_path",
            )
        else:
            yield table.skipped(one.row, _repeated(earlier))


def _repeated(earlier: int) -> str:
    return f"its image is that of row {earlier}, and it adds nothing to it"


def _is_blank(row: Cells) -> bool:
    """True if the detector found nothing in a file."""
    if row.text("observationtype", "label").lower() in _BLANKS:
        return True
    return "ndetections" in row.cells and number_of(row.cells["ndetections"]) == 0


def _region(row: Cells, path: Path, options: ListingOptions) -> Region:
    """Return the box of a row.

    Raises:
        UsageError: if it cannot be used.
    """
    cells = [row.cells.get(name) for name in CORNERS]
    numbers = [number for cell in cells if (number := plain_number_of(cell)) is not None]
    if len(numbers) != len(cells):
        raise UsageError(f"bbox_left, bbox_top, bbox_right, bbox_bottom are {cells}: four numbers of pixels are needed")
    left, top, right, bottom = numbers
    if right <= left or bottom <= top:
        raise UsageError(f"box {numbers}: right must be greater than left, and bottom than top")
    corners: Corners = (left, top, right, bottom)
    sizes = [number for name in SIZE if (number := plain_number_of(row.cells.get(name))) is not None and number > 0]
    header = Header(int(sizes[0]), int(sizes[1]), 1) if len(sizes) == len(SIZE) else header_of(path)
    # Its boxes are of the image as OpenCV reads it, which is upright.
    (box,) = boxes_in(header, [corners], "upright")
    confidence = _confidence(row)
    # Labels of animals are those of a classifier, which are metadata.
    category = kind_of_category(row.text("label", "detectioncategory"))
    classified = category == "animal" and (confidence is None or confidence >= options.detection_threshold)
    return Region(*box, "AddaxAI", "", category, confidence, classified)


def _confidence(row: Cells) -> float | None:
    """Return the confidence of a box; None for one that a person has verified.

    Raises:
        UsageError: for anything else than a number from 0 to 1.
    """
    cell = row.cells.get("confidence")
    if cell is None:
        return None
    confidence = share_of(cell)
    if confidence is None:
        raise UsageError(f"confidence {cell!r}: must be a number from 0 to 1")
    return confidence
