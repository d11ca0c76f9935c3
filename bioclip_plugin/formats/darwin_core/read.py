"""The Darwin Core source: one item per image of an archive, with the collection's data on its specimen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.meta_xml import META, Description, Table, read_description
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.darwin_core.read_files import ArchiveFiles, holds_meta, opened_files
from bioclip_plugin.formats.darwin_core.read_index import ArchiveIndex
from bioclip_plugin.formats.darwin_core.tables import Record, records
from bioclip_plugin.formats.darwin_core.terms import (
    IDENTIFICATION,
    OCCURRENCES,
    captured_at_of,
    is_ours,
    place_of,
    region_of,
    weight_of,
)
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of

_NO_PICTURES = ("sound", "text", "dataset", "software")
_NO_PICTURE_FORMATS = ("audio/", "text/")
_ADDRESSES = ("accessURI", "identifier")  # terms for the place of an image, the most reliable first
# Extensions that hold media: Audubon Core first, whose rows hold more than GBIF's simple ones.
_MEDIA_TYPES = (
    "http://rs.tdwg.org/ac/terms/Multimedia",
    "http://rs.gbif.org/terms/1.0/Multimedia",
    "http://rs.gbif.org/terms/1.0/Image",
)


class DarwinCoreSource:
    """A Darwin Core archive: a folder with ``meta.xml``, that file, or a zip or tar file of such a folder."""

    name = "Darwin Core archive"

    def takes(self, address: str) -> bool:
        return holds_meta(_path(address))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        shown = uri_of(address)
        with opened_files(_path(address), options) as files, ArchiveIndex() as index:
            yield from _Listing(shown, read_description(files.folder, shown), files, index, options).items()


class _Listing:
    """The listing of one archive."""

    def __init__(
        self, shown: str, description: Description, files: ArchiveFiles, index: ArchiveIndex, options: ListingOptions
    ) -> None:
        self._shown = shown
        self._core = description.core
        self._extensions = description.extensions
        self._files = files
        self._index = index
        self._options = options

    def items(self) -> Iterator[MediaItem | Unlisted]:
        """Yield the unusable rows of the core, then the images in the order of the multimedia tables."""
        tables = [table for kind in _MEDIA_TYPES for table in self._extensions if table.row_type == kind]
        if not tables and not _has(self._core, "associatedMedia"):
            kinds = ", ".join(table.kind for table in self._extensions) or "none"
            raise SourceError(
                f"{self._shown} has no images: neither a Multimedia or Audubon Core extension (it has {kinds}) nor associatedMedia"
            )
        yield from self._read_core()
        if not _has(self._core, "scientificName"):
            yield from self._read_names()
        for table in tables:
            if _has(table, "isROIOf"):
                yield from self._read_regions(table)
        for table in tables:
            for record in records(self._files.folder, table):
                if record.fault:
                    yield self._skipped(record, record.fault)
                elif "isROIOf" not in record.values:
                    yield from self._of_row(record)
        if not tables:
            for record in records(self._files.folder, self._core):
                for row in _associated(record):
                    yield from self._of_row(row)
        for where, parent in self._index.unused_regions():
            reason = f"isROIOf names {parent!r}, and the archive has no image with that identifier"
            yield Unlisted(f"{self._shown}#{where}", f"{where}: {reason}")

    def _read_core(self) -> Iterator[Unlisted]:
        for record in records(self._files.folder, self._core):
            if record.fault:
                yield self._skipped(record, record.fault)
            elif not record.id:
                yield self._skipped(record, "the id is empty, so that no image can refer to the row")
            elif not self._index.add(record.id, record.where, record.values):
                yield self._skipped(record, f"duplicate id {record.id!r}; the first row with it is used")

    def _read_names(self) -> Iterator[Unlisted]:
        """Read the table of identifications, for a core without names: the current one counts, else the latest."""
        for table in self._extensions:
            for record in records(self._files.folder, table) if table.row_type == IDENTIFICATION else ():
                if record.fault:
                    yield self._skipped(record, record.fault)
                elif "scientificName" in record.values and not is_ours(record.values):
                    self._index.add_name(record.id, weight_of(record.values), record.values)

    def _read_regions(self, table: Table) -> Iterator[Unlisted]:
        """Read the regions of interest, which share a table with the images that they are parts of, in any order."""
        for record in records(self._files.folder, table):
            if parent := record.values.get("isROIOf"):
                try:
                    self._index.add_region(parent, record.where, region_of(record.values).xywh)
                except UsageError as error:
                    yield self._skipped(record, str(error))

    def _of_row(self, record: Record) -> Iterator[MediaItem | Unlisted]:
        found = self._item(record)
        if isinstance(found, MediaItem):
            yield found
        elif found:
            yield self._skipped(record, found)

    def _item(self, record: Record) -> MediaItem | str:
        """Return the item of a row, or the reason why it is skipped; an empty one for an image listed for its specimen before."""
        kind = record.values.get("type", "").rsplit("/", 1)[-1].casefold()
        if kind in _NO_PICTURES or record.values.get("format", "").casefold().startswith(_NO_PICTURE_FORMATS):
            return f"it is of the type {kind or record.values['format']}; only images are read"
        names = [record.values[name] for name in _ADDRESSES if name in record.values]
        boxes = [box for name in names for box in self._index.regions_of(name)]
        core = self._index.row(record.id)
        if core is None:
            return f"its core id {record.id!r} is not in {self._core.names[0]}"
        if not names:
            return "it has neither accessURI nor identifier, which give the place of the image"
        found = self._files.find(names)
        if isinstance(found, str):
            return found
        uri, path = found
        first = self._index.first_to_show(uri, record.id)
        if first is not None:
            reason = (
                f"the image {uri} is already listed for {first!r}; the specimen {record.id!r} gets no answer of its own"
            )
            return "" if first == record.id else reason
        core = {**self._index.name_of(record.id), **core}
        media = {name: value for name, value in record.values.items() if core.get(name) != value}
        return MediaItem(
            uri=uri,
            path=path,
            captured_at=captured_at_of(core, self._options.time_zone),
            place=place_of(core),
            regions=tuple(dict.fromkeys(Region(x, y, w, h) for x, y, w, h in boxes)),
            metadata={
                **({"occurrenceID": record.id} if self._core.kind in OCCURRENCES else {}),
                **core,
                "media": media,
            },
        )

    def _skipped(self, record: Record, reason: str) -> Unlisted:
        return Unlisted(f"{self._shown}#{record.where}", f"{record.where}: {reason}")


def _has(table: Table, term: str) -> bool:
    return any(column.name == term for column in table.columns)


def _associated(record: Record) -> Iterator[Record]:
    """Yield a row for each image that a core row names in ``associatedMedia``."""
    for address in record.values.get("associatedMedia", "").split("|"):
        if address.strip():
            yield Record(record.file, record.number, record.id, {"identifier": address.strip()})


def _path(address: str) -> Path:
    path = Path(address)
    path = path if path.exists() else path_of(address)
    return path.parent if path.name == META and path.is_file() else path
