"""Darwin Core archives with multimedia: one item an image, with what the collection says of its specimen."""

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
    captured_at_of,
    catalogued,
    is_ours,
    place_of,
    region_of,
    weight_of,
)
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of

_NO_PICTURES = ("sound", "text", "dataset", "software")
_NO_PICTURE_FORMATS = ("audio/", "text/")
# Of a row of the multimedia tables: where the file is, in the order in which they are believed.
_ADDRESSES = ("accessURI", "identifier")


class DarwinCoreSource:
    """A Darwin Core archive: a folder with ``meta.xml``, that file, or a zip or tar file of such a folder."""

    name = "Darwin Core archive"

    def takes(self, address: str) -> bool:
        return holds_meta(_path(address))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        path = _path(address)
        with opened_files(path, options) as files:
            description = read_description(files.folder, uri_of(address))
            with ArchiveIndex() as index:
                yield from _Listing(uri_of(address), description, files, index, options).items()


class _Listing:
    """One archive on its way to items."""

    def __init__(
        self, shown: str, description: Description, files: ArchiveFiles, index: ArchiveIndex, options: ListingOptions
    ) -> None:
        self._shown = shown
        self._description = description
        self._files = files
        self._index = index
        self._options = options
        self._core_name = description.core.names[0]

    def items(self) -> Iterator[MediaItem | Unlisted]:
        """What could not be used of the core, then the images in the order of the multimedia tables."""
        tables = list(_media_tables(self._description))
        if not tables and not any(column.name == "associatedMedia" for column in self._description.core.columns):
            kinds = ", ".join(table.kind for table in self._description.extensions) or "none"
            raise SourceError(
                f"{self._shown} has no images: neither a Multimedia or Audubon Core extension (it has {kinds}) nor associatedMedia"
            )
        yield from self._read_core()
        yield from self._read_names()
        if not tables:
            yield from self._associated()
            return
        for table in tables:
            if any(column.name == "isROIOf" for column in table.columns):
                yield from self._read_regions(table)
        for table in tables:
            for record in records(self._files.folder, table):
                if record.fault:
                    yield self._unlisted(record.where, record.fault)
                elif "isROIOf" not in record.values:
                    yield from self._of_row(record, record.id)
        for where, parent in self._index.unused_regions():
            yield self._unlisted(where, f"isROIOf names {parent!r}, and the archive has no image with that identifier")

    def _read_core(self) -> Iterator[Unlisted]:
        for record in records(self._files.folder, self._description.core):
            if record.fault:
                yield self._unlisted(record.where, record.fault)
            elif not record.id:
                yield self._unlisted(record.where, "it has no id, so that nothing can belong to it")
            elif not self._index.add(record.id, record.where, record.values):
                yield self._unlisted(record.where, f"the id {record.id!r} comes twice; the first row with it is taken")

    def _read_names(self) -> Iterator[Unlisted]:
        """Where the core names no taxa the table of identifications does: the current one, else the latest."""
        if any(column.name == "scientificName" for column in self._description.core.columns):
            return
        for table in self._description.extensions:
            if table.row_type == IDENTIFICATION:
                for record in records(self._files.folder, table):
                    if record.fault:
                        yield self._unlisted(record.where, record.fault)
                    elif "scientificName" in record.values and not is_ours(record.values):
                        self._index.add_name(record.id, weight_of(record.values), record.values)

    def _read_regions(self, table: Table) -> Iterator[Unlisted]:
        """Regions of interest stand in the same table as the images that they are parts of, in any order."""
        for record in records(self._files.folder, table):
            parent = record.values.get("isROIOf")
            if parent is None:
                continue
            try:
                region = region_of(record.values)
            except UsageError as error:
                yield self._unlisted(record.where, str(error))
                continue
            self._index.add_region(parent, record.where, region.xywh)

    def _associated(self) -> Iterator[MediaItem | Unlisted]:
        for record in records(self._files.folder, self._description.core):
            for address in record.values.get("associatedMedia", "").split("|"):
                if address.strip():
                    values = {"identifier": address.strip()}
                    yield from self._of_row(Record(record.file, record.number, record.id, values), record.id)

    def _of_row(self, record: Record, core_id: str) -> Iterator[MediaItem | Unlisted]:
        """The item of one image, or why there is none; nothing for an image that was listed for this specimen before."""
        kind = record.values.get("type", "").rsplit("/", 1)[-1].casefold()
        if kind in _NO_PICTURES or record.values.get("format", "").casefold().startswith(_NO_PICTURE_FORMATS):
            yield self._unlisted(record.where, f"it is of the type {kind or record.values['format']}; images are read")
            return
        names = [record.values[name] for name in _ADDRESSES if name in record.values]
        regions = [box for name in names for box in self._index.regions_of(name)]
        core = self._index.row(core_id)
        if core is None:
            yield self._unlisted(record.where, f"its core id {core_id!r} is not in {self._core_name}")
            return
        if not names:
            yield self._unlisted(record.where, "it has neither accessURI nor identifier, which say where the image is")
            return
        found = self._files.find(names)
        if isinstance(found, str):
            yield self._unlisted(record.where, found)
            return
        uri, path = found
        first = self._index.first_to_show(uri, core_id)
        if first == core_id:
            return
        if first is not None:
            yield self._unlisted(
                record.where,
                f"the image {uri} is listed for {first!r} already; the specimen {core_id!r} has no answer of its own",
            )
            return
        yield self._item(uri, path, core_id, core, record, regions)

    def _item(
        self, uri: str, path: Path, core_id: str, core: dict[str, str], record: Record, boxes: list[list[float]]
    ) -> MediaItem:
        core = {**self._index.name_of(core_id), **core}
        media = {name: value for name, value in record.values.items() if name not in core or core[name] != value}
        return MediaItem(
            uri=uri,
            path=path,
            captured_at=captured_at_of(core, self._options.time_zone),
            place=place_of(core),
            regions=tuple(dict.fromkeys(Region(x, y, w, h) for x, y, w, h in boxes)),
            metadata={**catalogued(core, core_id, self._description.core.kind), "media": media},
        )

    def _unlisted(self, where: str, reason: str) -> Unlisted:
        return Unlisted(f"{self._shown}#{where}", f"{where}: {reason}")


def _path(address: str) -> Path:
    path = Path(address)
    path = path if path.exists() else path_of(address)
    return path.parent if path.name == META and path.is_file() else path


def _media_tables(description: Description) -> Iterator[Table]:
    """The extensions that hold media: Audubon Core first, whose rows say more than GBIF's simple ones."""
    kinds = (
        "http://rs.tdwg.org/ac/terms/Multimedia",
        "http://rs.gbif.org/terms/1.0/Multimedia",
        "http://rs.gbif.org/terms/1.0/Image",
    )
    for kind in kinds:
        yield from (table for table in description.extensions if table.row_type == kind)
