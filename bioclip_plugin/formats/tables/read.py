"""The table source: a CSV, TSV or Parquet file with an image column and any metadata."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.table_files import header_of, is_parquet, rows_of
from bioclip_plugin.formats.shared.table_rows import Row, columns_of, items_of, values_of
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of

_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".parquet"})


class TableSource:
    """Lists a table's images: the first of the columns image, path, file, filepath, uri, relative to the table.

    CSV is read as UTF-8 (with or without a mark), a cell that is not UTF-8 as Latin-1; UTF-16 with a mark is read too. The
    separator is the comma, tab or semicolon that is most frequent in the header. Rows are read as they are needed.
    Consecutive rows of one image are one item, with a region for each row that has a box; other rows of the same image are
    listed again, so sort a table by its image column first.
    """

    name = "table (.csv, .tsv, .parquet)"

    def takes(self, address: str) -> bool:
        path = path_of(address)
        try:
            # A file that claims to be a table is one, so that the error names its columns.
            if path.is_file() and (is_parquet(address) or (path.suffix.lower() in _SUFFIXES and path.stat().st_size)):
                return True
            header = header_of(address) if path.is_file() else []
        except (OSError, SourceError):
            return False
        return len(header) > 1 and columns_of(header) is not None

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:
        options = options or ListingOptions()
        folder = options.base_folder if options.base_folder else path_of(address).parent
        table, values = uri_of(address), values_of(address, options, lambda: rows_of(address))
        for image, group in groupby(rows_of(address), key=lambda row: row.image if isinstance(row, Row) else ""):
            if image.strip():
                yield from items_of([row for row in group if isinstance(row, Row)], folder, table, options, values)
                continue
            for row in group:
                yield (
                    row
                    if isinstance(row, Unlisted)
                    else Unlisted(
                        f"{table}#row={row.number}",
                        f"row {row.number}: column {row.columns.image!r} is empty; it must name the image",
                    )
                )
