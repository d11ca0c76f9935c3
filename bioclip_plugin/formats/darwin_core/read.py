"""The Darwin Core source: one item per image of an archive, with the collection's data on its specimen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bioclip_core.cells import latin_1
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.meta_xml import META, Description, Table, read_description
from bioclip_core.files.present import exists, is_file
from bioclip_core.files.scratch import Scratch
from bioclip_core.tables.text import STRAY
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.darwin_core.read_files import (
    ArchiveFiles,
    Record,
    file_names_of,
    holds_meta,
    opened_files,
    records,
)
from bioclip_plugin.formats.darwin_core.terms import (
    IDENTIFICATION,
    OCCURRENCES,
    associated_media,
    is_ours,
    region_of,
    weight_of,
)
from bioclip_plugin.formats.shared.stated_values import StatedValues, fields_in
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, path_of, uri_of
from bioclip_plugin.items.time_zones import in_zone
from bioclip_plugin.items.web import shared_uri

_NO_PICTURES = ("sound", "text", "dataset", "software")
_NO_PICTURE_FORMATS = ("audio/", "text/")
_ADDRESSES = ("accessURI", "identifier")  # terms for the place of an image, the most reliable first
# Extensions that hold media: Audubon Core first, whose rows hold more than GBIF's simple ones.
_MEDIA_TYPES = (
    "http://rs.tdwg.org/ac/terms/Multimedia",
    "http://rs.gbif.org/terms/1.0/Multimedia",
    "http://rs.gbif.org/terms/1.0/Image",
)
_SHARED = (
    "images on the web show several specimens; each specimen has an answer of its own, under the address with its id"
)
_NOT_IN_TABLE = (
    "images in associatedMedia are not among the rows of their specimen in the table of media, which are used alone"
)
_TABLES = """
CREATE TABLE core (id TEXT PRIMARY KEY, place TEXT, row TEXT);
CREATE TABLE region (number INTEGER PRIMARY KEY, parent TEXT, place TEXT, box TEXT, used INTEGER DEFAULT 0);
CREATE INDEX region_parent ON region (parent);
CREATE TABLE named (core TEXT PRIMARY KEY, weight TEXT, row TEXT);
CREATE TABLE web (name TEXT PRIMARY KEY, address TEXT, shared INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE TABLE media (core TEXT, name TEXT, PRIMARY KEY (core, name)) WITHOUT ROWID;
CREATE TABLE shown (uri TEXT PRIMARY KEY, core TEXT) WITHOUT ROWID;
"""


class DarwinCoreSource:
    """A Darwin Core archive: a folder with ``meta.xml``, that file, or a zip or tar file of such a folder."""

    name = "Darwin Core archive"

    def takes(self, address: str) -> bool:
        return holds_meta(_path(address))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        shown = uri_of(address)
        with opened_files(_path(address), options) as files, _Index(_TABLES) as index:
            yield from _Listing(shown, read_description(files.folder, shown), files, index, options).items()


@dataclass
class _Listing:
    """The listing of one archive."""

    shown: str
    description: Description
    files: ArchiveFiles
    index: _Index
    options: ListingOptions
    _last: tuple[str, dict[str, Any]] = ("", {})

    def __post_init__(self) -> None:
        self._values = StatedValues(self.shown, self.options, self._cells)
        fields = fields_in(column.name for column in self.description.core.columns)
        self._fields = {name: fields[name] for name in fields if name not in ("deployment", "sequence")}

    def items(self) -> Iterator[MediaItem | Unlisted]:
        """Yield the unusable rows of the core, then the images: those of the tables of media, and of associatedMedia."""
        tables = [table for kind in _MEDIA_TYPES for table in self.description.extensions if table.row_type == kind]
        has_associated = _has(self.description.core, "associatedMedia")
        if not tables and not has_associated:
            raise SourceError(
                f"{self.shown} has no images: neither a Multimedia or Audubon Core extension (it has "
                f"{', '.join(table.kind for table in self.description.extensions) or 'none'}) nor associatedMedia"
            )
        yield from self._read_core()
        if not _has(self.description.core, "scientificName"):
            yield from self._read_names()
        for table in [*tables, *([self.description.core] if has_associated else ())]:
            self._read_addresses(table, notes=has_associated)
        for table in tables:
            if _has(table, "isROIOf"):
                yield from self._read_regions(table)
        for table in tables:
            for record in self._noted(table):
                if record.fault:
                    yield self._skipped(record, record.fault)
                elif "isROIOf" not in record.values:
                    yield from self._of_row(record)
        if has_associated:
            yield from self._associated()
        for where, parent in self.index.unused_regions():
            yield Unlisted(
                f"{self.shown}#{where}",
                f"{where}: isROIOf names {parent!r}, and the archive has no image with that identifier",
            )

    def _read_core(self) -> Iterator[Unlisted]:
        for record in self._noted(self.description.core):
            if record.fault:
                yield self._skipped(record, record.fault)
            elif not record.id:
                yield self._skipped(record, "the id is empty, so that no image can refer to the row")
            elif not self.index.add(record.id, record.where, record.values):
                yield self._skipped(record, f"duplicate id {record.id!r}; the first row with it is used")

    def _associated(self) -> Iterator[MediaItem | Unlisted]:
        """Yield the images in associatedMedia of specimens that have none in a table of media; count those of the others."""
        for record in records(self.files.folder, self.description.core):
            addresses = associated_media(record.values)
            listed = self.index.images_of(record.id) if addresses else frozenset()
            for address in addresses:
                if not listed:
                    yield from self._of_row(replace(record, values={"identifier": address}))
                elif address not in listed:
                    self.options.findings.add(_NOT_IN_TABLE, f"{record.where}, {record.id!r}: {address}")

    def _read_addresses(self, table: Table, *, notes: bool) -> None:
        """Note the file names of all addresses on the web, since one that several of them share tells none of them.

        Args:
            table: a table of media; or the core, after them.
            notes: note the specimens with images, too.
        """
        for record in records(self.files.folder, table):
            if table is self.description.core:
                found = associated_media(record.values)
                named = [] if found and self.index.images_of(record.id) else found
            else:
                named = _names(record)
                if notes and "isROIOf" not in record.values and not _no_picture(record):
                    self.index.add_images(record.id, named)
            for address in named:
                if "://" in address:
                    self.index.add_address(address, file_names_of(address))

    def _read_names(self) -> Iterator[Unlisted]:
        """Read the table of identifications, for a core without names: the current one counts, else the latest."""
        for table in self.description.extensions:
            for record in records(self.files.folder, table) if table.row_type == IDENTIFICATION else ():
                if record.fault:
                    yield self._skipped(record, record.fault)
                elif "scientificName" in record.values and not is_ours(record.values):
                    self.index.add_name(record.id, weight_of(record.values), record.values)

    def _read_regions(self, table: Table) -> Iterator[Unlisted]:
        """Read the regions of interest, which share a table with the images that they are parts of, in any order."""
        for record in records(self.files.folder, table):
            if parent := record.values.get("isROIOf"):
                try:
                    self.index.add_region(parent, record.where, region_of(record.values).xywh)
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
        if kind := _no_picture(record):
            return f"it is of the type {kind}; only images are read"
        names = _names(record)
        boxes = [box for name in names for box in self.index.regions_of(name)]
        core = self.index.row(record.id)
        if core is None:
            return f"its core id {record.id!r} is not in {self.description.core.names[0]}"
        if not names:
            return "it has neither accessURI nor identifier, which give the place of the image"
        found = self.files.find(names, self.index.is_shared)
        if isinstance(found, str):
            return found
        uri, path = found
        first = self.index.first_to_show(uri, record.id)
        if path is None and first not in (None, record.id):  # a server never sees the fragment, so it is asked once
            self.options.findings.add(_SHARED, f"{uri}: {first!r} and {record.id!r}")
            uri = shared_uri(uri, "occurrence", record.id)
            first = self.index.first_to_show(uri, record.id)
        if first == record.id:
            return ""
        if first is not None:
            return (
                f"the image {uri} is already listed for {first!r}; the specimen {record.id!r} gets no answer of its own"
            )
        core = {**self.index.name_of(record.id), **core}
        media = {name: value for name, value in record.values.items() if core.get(name) != value}
        return MediaItem(
            uri=uri,
            path=path,
            **self._stated(record.id, core),
            regions=tuple(dict.fromkeys(Region(x, y, w, h) for x, y, w, h in boxes)),
            metadata={
                **({"occurrenceID": record.id} if self.description.core.kind in OCCURRENCES else {}),
                **core,
                "media": media,
            },
        )

    def _stated(self, core_id: str, core: Mapping[str, str]) -> dict[str, Any]:
        """Return time and place of a specimen as arguments of an item; images of a specimen mostly follow each other."""
        if core_id != self._last[0]:
            facts = self._values.item_fields(dict(core), self._fields, f"{self.description.core.kind} {core_id!r}")
            names = ("captured_at", "place", "unread", "within")
            self._last = core_id, {name: facts[name] for name in names if name in facts}
            if (captured_at := self._last[1]["captured_at"]) is not None:
                self._last[1]["captured_at"] = in_zone(captured_at, self.options.time_zone)
        return self._last[1]

    def _cells(self, term: str) -> Iterator[tuple[str, object]]:
        """Yield the cells of a column of the core, for the order of its dates."""
        for record in records(self.files.folder, self.description.core):
            yield record.where, record.values.get(term)

    def _noted(self, table: Table) -> Iterator[Record]:
        """Yield the rows of a table; those with a quotation mark that does not quote are counted."""
        for record in records(self.files.folder, table):
            if record.stray_mark:
                self.options.findings.add(STRAY, f"{self.shown}, {record.where}: {latin_1(record.stray_mark)}")
            yield record

    def _skipped(self, record: Record, reason: str) -> Unlisted:
        return Unlisted(f"{self.shown}#{record.where}", f"{record.where}: {reason}")


def _has(table: Table, term: str) -> bool:
    return any(column.name == term for column in table.columns)


def _names(record: Record) -> list[str]:
    """Return the places of the image of a row, the most reliable first."""
    return [record.values[name] for name in _ADDRESSES if name in record.values]


def _no_picture(record: Record) -> str:
    """Return the type of a row that is not of an image; empty for an image."""
    kind, form = record.values.get("type", "").rsplit("/", 1)[-1].casefold(), record.values.get("format", "")
    return (kind or form) if kind in _NO_PICTURES or form.casefold().startswith(_NO_PICTURE_FORMATS) else ""


def _path(address: str) -> Path:
    path = Path(address)
    path = path if exists(path) else path_of(address)
    return path.parent if path.name == META and is_file(path) else path


class _Index(Scratch):
    """The rows of a core by their ids, on disk: a museum's core does not fit into memory, and media come in any order."""

    def add(self, core_id: str, where: str, values: Mapping[str, str]) -> bool:
        """Store a row of the core; False if a row has this id already."""
        insert = "INSERT OR IGNORE INTO core VALUES (?, ?, ?)"
        return self._database.execute(insert, (core_id, where, _json(values))).rowcount == 1

    def row(self, core_id: str) -> dict[str, str] | None:
        """Return the values of a row of the core."""
        return self._values("SELECT row FROM core WHERE id = ?", core_id)

    def add_name(self, core_id: str, weight: str, values: Mapping[str, str]) -> None:
        """Store an identification of a specimen; the one with the greatest weight stays, the first of equal ones."""
        self._database.execute(
            "INSERT INTO named VALUES (?, ?, ?) ON CONFLICT (core) DO UPDATE SET weight = excluded.weight, row = excluded.row "
            "WHERE excluded.weight > named.weight",
            (core_id, weight, _json(values)),
        )

    def name_of(self, core_id: str) -> dict[str, str]:
        """Return the terms of a specimen's identification, empty without one."""
        return self._values("SELECT row FROM named WHERE core = ?", core_id) or {}

    def add_region(self, parent: str, where: str, box: Sequence[float]) -> None:
        """Store a region of interest of the image with the identifier ``parent``."""
        self._database.execute(
            "INSERT INTO region (parent, place, box) VALUES (?, ?, ?)", (parent, where, json.dumps(list(box)))
        )

    def regions_of(self, identifier: str) -> list[list[float]]:
        """Return the boxes of an image, in the order of the file."""
        found = self._database.execute(
            "SELECT box FROM region WHERE parent = ? ORDER BY number", (identifier,)
        ).fetchall()
        if found:
            self._database.execute("UPDATE region SET used = 1 WHERE parent = ?", (identifier,))
        return [json.loads(box) for (box,) in found]

    def unused_regions(self) -> Iterator[tuple[str, str]]:
        """Yield file and line of the regions whose image was never asked for, with its identifier."""
        yield from self._database.execute("SELECT place, parent FROM region WHERE used = 0 ORDER BY number")

    def add_address(self, address: str, names: Sequence[str]) -> None:
        """Note the file names that an address may have."""
        self._database.executemany(
            "INSERT INTO web (name, address) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET shared = 1 WHERE address <> excluded.address",
            [(name, address) for name in names],
        )

    def add_images(self, core_id: str, names: Sequence[str]) -> None:
        """Note the images that the tables of media give a specimen."""
        self._database.executemany("INSERT OR IGNORE INTO media VALUES (?, ?)", [(core_id, name) for name in names])

    def images_of(self, core_id: str) -> frozenset[str]:
        """Return the names of the images that the tables of media give a specimen."""
        found = self._database.execute("SELECT name FROM media WHERE core = ?", (core_id,))
        return frozenset(name for (name,) in found)

    def is_shared(self, name: str) -> bool:
        """Return True for a file name that several addresses have."""
        return bool(self._database.execute("SELECT 1 FROM web WHERE name = ? AND shared", (name,)).fetchone())

    def first_to_show(self, uri: str, core_id: str) -> str | None:
        """Return the core row for which an image is listed already; None, and store this one, if it is the first."""
        found = self._database.execute("SELECT core FROM shown WHERE uri = ?", (uri,)).fetchone()
        if found:
            return str(found[0])
        self._database.execute("INSERT INTO shown VALUES (?, ?)", (uri, core_id))
        return None

    def _values(self, query: str, core_id: str) -> dict[str, str] | None:
        found = self._database.execute(query, (core_id,)).fetchone()
        return dict(json.loads(found[0])) if found else None


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(dict(values), ensure_ascii=False)
