"""The Timelapse source: each row's image is its RelativePath and File below the folder of the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bioclip_core.errors import UsageError
from bioclip_core.files.present import exists
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.image_tables import IMAGE, PLACE, Cells, ImageTable, Meaning, headings_of
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.formats.timelapse.layout import FIELDS, FOLDERS, NEEDED, image_of, is_timelapse
from bioclip_plugin.items.media import MediaItem, Unlisted

_MEANING = Meaning(
    {
        **PLACE,
        "captured_at": ("capturedat", "datetime", "date"),
        "time": ("time",),
        "sequence": ("sequence", "sequenceid", "eventid"),
    }
)
_AGAIN = "only review import reads its values"


class TimelapseSource:
    """Lists the images of a table that Timelapse exported, in the order of the table.

    The image of a row is ``RelativePath`` and ``File`` below the folder of the table, or below the project's folder beside the
    table (``RootFolder``, ``Folder``). The columns that a project defines are metadata; ``review import`` reads its species.
    A row that repeats an image, as Timelapse's duplicates do, is skipped with its number.
    """

    name = "Timelapse table"
    reads_tables = True
    """True if the options of tables apply."""

    def takes(self, address: str) -> bool:
        return is_timelapse(headings_of(address, NEEDED))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        table = ImageTable(address, options, _MEANING, NEEDED, FIELDS)
        for found in table.by_image(lambda row: _located(row, table)):
            if isinstance(found, Unlisted):
                yield found
                continue
            rows, earlier = found
            first = rows[0].row.number if earlier is None else earlier
            if earlier is None:
                yield MediaItem(rows[0].uri, rows[0].path, **table.fields(rows[0].row))
            for again in rows if earlier is not None else rows[1:]:
                yield table.skipped(again.row, f"its image is that of row {first}; {_AGAIN}")


def _located(row: Cells, table: ImageTable) -> tuple[str, Path]:
    """Return the uri and the path of a row's image.

    Raises:
        UsageError: for a row without a file, or whose path leaves the folder.
    """
    chosen = row.text(IMAGE)
    name = chosen or image_of(row.cells)
    if not chosen and not row.text("file"):
        raise UsageError("column 'File' is empty; it must name the image")
    uri, path = located(name, table.base, table.options)
    folder = row.text(*FOLDERS).replace("\\", "/").strip("/")
    has_place = chosen or "relativepath" in table.columns
    # Tables without RelativePath have the folder of the image in Folder; in others it is that of the whole project.
    if folder and not chosen and (not has_place or not exists(path)):
        try:
            other_uri, other = located(f"{folder}/{name}", table.base, table.options)
        except UsageError:  # the folder of another machine
            return uri, path
        if exists(other):
            return other_uri, other
    return uri, path
