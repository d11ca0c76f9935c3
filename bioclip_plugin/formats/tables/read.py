"""The table source: a table in text, an Excel workbook or a Parquet file, with an image column and any metadata."""

from __future__ import annotations

from collections.abc import Iterator

from bioclip_core.errors import DataError
from bioclip_core.files.present import is_file
from bioclip_core.tables.reading import TABLE_SUFFIXES, is_table_by_content
from bioclip_core.tables.sheets import sheet_of
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.table_files import header_of, rows_of
from bioclip_plugin.formats.shared.table_rows import columns_of, values_of
from bioclip_plugin.formats.tables.grouping import ImageRows
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of, uri_of


class TableSource:
    """Lists a table's images: the first of the columns image, path, file, filepath, uri, relative to the table.

    :mod:`bioclip_core.tables` reads text in any dialect and encoding, Excel workbooks and Parquet; rows are read as they are
    needed. Adjacent rows of one image are one item, with a region for each row that has a box. A later row of an image that
    has other values is skipped with both row numbers. A cell may name several images.
    """

    name = "table (.csv, .tsv, .xlsx, .parquet)"
    reads_tables = True
    """True if the options of tables apply."""

    def takes(self, address: str) -> bool:
        path, sheet = sheet_of(path_of(address))
        try:
            if not is_file(path) or not path.stat().st_size:
                return False
            # A file that claims to be a table is one, so that the error names its columns.
            if sheet or path.suffix.lower() in TABLE_SUFFIXES or is_table_by_content(path):
                return True
            header = header_of(address)
        except (OSError, DataError):
            return False
        return len(header) > 1 and columns_of(header) is not None

    def items(self, address: str, options: ListingOptions | None = None) -> Iterator[MediaItem | Unlisted]:
        options = options or ListingOptions()
        folder = options.base_folder if options.base_folder else path_of(address).parent
        # Findings are counted once, although a column of dates may be read before the rows.
        values = values_of(address, options, lambda: rows_of(address, options))
        rows = rows_of(address, options, options.findings)
        yield from ImageRows(uri_of(address), folder, options, values).entries(rows)
