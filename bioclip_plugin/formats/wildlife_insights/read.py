"""The source of Wildlife Insights' images: the file of each row, with the place of its deployment and its identifications."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bioclip_core.cells import column_name, json_value, number_of
from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.files.scratch import Scratch
from bioclip_core.tables.reading import open_table
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.image_tables import (
    IMAGE,
    PLACE,
    Cells,
    ImageTable,
    Located,
    Meaning,
    NotThere,
    headings_of,
)
from bioclip_plugin.formats.shared.paths import is_moved, located
from bioclip_plugin.formats.shared.stated_values import StatedValues
from bioclip_plugin.formats.wildlife_insights.layout import (
    COLUMNS,
    COMPUTER,
    IMAGES,
    NEEDED,
    RANKS,
    image_tables,
    is_images_table,
    kind_of,
    taxon_of,
)
from bioclip_plugin.items.media import MediaItem, Place, Unlisted, path_of, uri_of
from bioclip_plugin.items.verdicts import ReviewVerdict
from bioclip_plugin.items.web import is_web_address
from bioclip_plugin.store.records import ReviewTarget, StatedReview

_MEANING = Meaning(
    {**PLACE, "captured_at": ("capturedat", "timestamp"), "sequence": ("sequenceid", "externalsequenceid")}
)
_COORDINATES = {"latitude": ("latitude",), "longitude": ("longitude",)}
_AGAIN = "its identification is read as a review only"
_NO_FILE = "rows are not read as reviews, since their image is not here"
_IDENTIFICATION = (*RANKS, "commonname", "numberofobjects", "identifiedby", "uncertainty")
_VERDICTS: Mapping[str, ReviewVerdict] = {
    "taxon": "taxon", "blank": "blank", "person": "person", "vehicle": "vehicle", "unknown": "unidentifiable",
}  # fmt: skip
_DETAILS = {"numberofobjects": "count", "age": "lifeStage", "sex": "sex"}


class WildlifeInsightsSource:
    """Lists the images of ``images.csv`` of Wildlife Insights, or of a folder with it, in the order of the table.

    Nothing is fetched: the file of a row is the one at the end of ``location`` (with the folders of the address, or without
    them), or ``filename`` in a folder called after the deployment, or alone, below the folder of the table. A bare name that
    several images share is not used. Several rows of one image are one item; identifications by people are reviews.
    """

    name = "Wildlife Insights images"
    reads_tables = True
    """True if the options of tables apply."""

    def takes(self, address: str) -> bool:
        path = path_of(address)
        return bool(image_tables(path)) if is_folder(path) else is_images_table(headings_of(address, NEEDED))

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        for table, files in _tables(address, options):
            places = _places(table)
            for found in table.by_image(files.locate):
                if isinstance(found, Unlisted):
                    yield _placed_failure(found, places)
                    continue
                rows, earlier = found
                if earlier is not None:
                    for again in rows:
                        yield table.skipped(
                            again.row, f"its image is that of row {earlier}, which is not above it; {_AGAIN}"
                        )
                    continue
                fields = _placed(table.fields(rows[0].row), places)
                fields["metadata"] = _with_names(fields["metadata"], rows)
                yield MediaItem(rows[0].uri, rows[0].path, **fields)

    def reviews(self, address: str, options: ListingOptions) -> Iterator[StatedReview]:
        """Yield the identifications by people, one for each row."""
        for table, files in _tables(address, options):
            for found in table.by_image(files.locate):
                if isinstance(found, Unlisted):
                    options.findings.add(_NO_FILE, found.reason)
                    continue
                for row in found[0]:
                    if (review := _review(row)) is not None:
                        yield review


def _tables(address: str, options: ListingOptions) -> Iterator[tuple[ImageTable, _Files]]:
    path = path_of(address)
    addresses = [uri_of(table) for table in image_tables(path)] if is_folder(path) else [address]
    for one in addresses:
        table = ImageTable(one, options, _MEANING, NEEDED, (*COLUMNS[IMAGES], "filename"))
        with _Names() as names:
            for row in table.rows():
                if isinstance(row, Cells):
                    for name in {_bare(row.text("filename")), _bare(row.text("location"))} - {""}:
                        names.note(name, row.text("imageid"))
            yield table, _Files(table, names)


class _Names(Scratch):
    """Bare names of files, and whether several images have them: on disk, so that a table may have any length."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE names (name TEXT PRIMARY KEY, image TEXT, shared INTEGER) WITHOUT ROWID")

    def note(self, name: str, image: str) -> None:
        """Note the name of an image's file."""
        self._database.execute(
            "INSERT INTO names VALUES (?, ?, 0) ON CONFLICT (name) DO UPDATE SET shared = shared OR image <> excluded.image",
            (name, image),
        )

    def is_shared(self, name: str) -> bool:
        """Return True for a name that several images have."""
        found = self._database.execute("SELECT shared FROM names WHERE name = ?", (name,)).fetchone()
        return bool(found and found[0])


class _Files:
    """The files of a table's images on this disk."""

    def __init__(self, table: ImageTable, names: _Names) -> None:
        self._table, self._names = table, names

    def locate(self, row: Cells) -> tuple[str, Path]:
        """Return the uri and the path of a row's image.

        Raises:
            UsageError: if two files fit, or none is named.
            NotThere: if the file is not here.
        """
        names = list(dict.fromkeys(self._candidates(row)))
        if not names:
            raise UsageError("location and filename are empty; one of them must name the image")
        found: dict[Path, str] = {}
        first: tuple[str, Path] | None = None
        refused: UsageError | None = None
        for name in self._existing(names) or names:
            try:
                uri, path = located(name, self._table.base, self._table.options)
            except UsageError as error:
                refused = refused or error
                continue
            first = first or (uri, path)
            if is_file(path):
                found.setdefault(path, uri)
        if len(found) > 1:
            shown = " and ".join(found.values())
            raise UsageError(f"the files {shown} both fit; remove or rename the one that is not meant")
        if found:
            ((path, uri),) = found.items()
            return uri, path
        if first is None:
            raise refused or UsageError("location and filename do not name a file")
        if "://" not in row.text("location") and not self._names.is_shared(_bare(first[0])):
            return first
        address = row.text("location") if "://" in row.text("location") else "it"
        if self._table.options.lists_addresses and is_web_address(address):
            return address, Path(address)
        only = " here (only classify and embed fetch, with --fetch FOLDER)" if is_web_address(address) else ""
        raise NotThere(f"{self._missing(row)}; nothing is fetched{only}: download {address} to {first[0]}", *first)

    def _existing(self, names: Sequence[str]) -> list[str]:
        """Return the names of files that exist exactly so; the others cost more, and few are needed."""
        if self._table.options.replace_prefix:
            return []
        base = self._table.base
        return [name for name in names if os.path.isfile(os.path.join(base, name))]  # noqa: PTH113, PTH118

    def _candidates(self, row: Cells) -> Iterator[str]:
        """Yield the names that the file of a row may have below the table's folder, the most telling one first."""
        if chosen := row.text(IMAGE):
            yield chosen
            return
        location, deployment = row.text("location"), row.text("deploymentid")
        if "://" in location and is_moved(location, self._table.base, self._table.options):
            yield location
        elif "://" in location:
            parts = [part for part in _path_of(location).split("/") if part]
            yield from ("/".join(parts[start:]) for start in range(len(parts) - 1))
        elif location:
            yield location
            if is_file(self._table.base / location.replace("\\", "/")):
                return
        names = _bare_names(row)
        yield from (f"{deployment}/{name}" for name in names if deployment)
        yield from (name for name in names if not self._names.is_shared(_bare(name)))

    def _missing(self, row: Cells) -> str:
        shared = next((name for name in _bare_names(row) if self._names.is_shared(_bare(name))), "")
        return f"several images are called {shared}, and none is in a folder of its own" if shared else "it is not here"


def _path_of(address: str) -> str:
    """Return the path of an address; empty for one that cannot be read."""
    try:
        return urlsplit(address).path
    except ValueError:  # [ in the wrong place
        return ""


def _bare_names(row: Cells) -> list[str]:
    """Return the names that a row's file may have in any folder."""
    return list(dict.fromkeys(name for name in (_bare(row.text("location")), row.text("filename")) if name))


def _bare(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2].strip()


# -- places, identifications and reviews -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Deployment:
    """The place of a deployment; coordinates that cannot be read are stated all the same."""

    place: Place
    is_unread: bool

    def added_to(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an item with this place, if its row does not state one."""
        place: Place = fields["place"]
        if place.latitude is not None or "position" in (unread := fields.get("unread", frozenset())):
            return fields
        if self.is_unread:
            return {**fields, "unread": unread | {"position"}}
        return {**fields, "place": replace(place, latitude=self.place.latitude, longitude=self.place.longitude)}


def _places(table: ImageTable) -> Mapping[str, _Deployment]:
    """Return the places of the deployments in the tables beside a table of images."""
    places: dict[str, _Deployment] = {}
    for path in sorted(table.path.parent.glob("deployments*.csv")):
        values = StatedValues(uri_of(path), table.options)
        try:
            for row in open_table(path, findings=table.options.findings):
                cells = {column_name(heading): value for heading, value in row.cells.items()}
                name = str(cells.get("deploymentid", "")).strip()
                stated = values.item_fields(cells, _COORDINATES, f"row {row.number}")
                places[name] = _Deployment(stated["place"], bool(stated.get("unread")))
        except BioclipError as error:
            table.options.findings.add("tables of deployments cannot be read; their places are not known", str(error))
    return places


def _placed(fields: dict[str, Any], places: Mapping[str, _Deployment]) -> dict[str, Any]:
    deployment = places.get(fields["deployment"] or "")
    return fields if deployment is None else deployment.added_to(fields)


def _placed_failure(entry: Unlisted, places: Mapping[str, _Deployment]) -> Unlisted:
    if entry.known is None:
        return entry
    known = entry.known
    fields = _placed({"place": known.place, "deployment": known.deployment, "unread": known.unread}, places)
    return replace(entry, known=replace(known, **fields))


def _with_names(metadata: Mapping[str, Any], rows: Sequence[Located]) -> dict[str, Any]:
    """Return the metadata of an image's first row with its scientific name, and with the identifications of all rows."""
    found = dict(metadata)
    first = rows[0].row
    if kind_of(first.cells) == "taxon" and (name := taxon_of(first.cells).scientific_name):
        found.setdefault("scientificName", name)
    if len(rows) > 1:
        found["identifications"] = [
            {name: json_value(one.row.cells[name]) for name in _IDENTIFICATION if name in one.row.cells} for one in rows
        ]
    return found


def _review(row: Located) -> StatedReview | None:
    """Return the identification of a row as a review; None if no person made it."""
    cells, reviewer = row.row.cells, row.row.text("identifiedby")
    kind = kind_of(cells)
    if not reviewer or reviewer.lower() == COMPUTER.lower() or kind is None:
        return None
    taxon = taxon_of(cells) if kind == "taxon" else None
    details: dict[str, Any] = {ours: json_value(cells[theirs]) for theirs, ours in _DETAILS.items() if theirs in cells}
    if (count := number_of(details.get("count"))) is not None:
        details["count"] = int(count)
    if taxon is not None and not any(taxon.lineage[2:]):  # the kingdom is all that is certain
        details["verbatimName"] = taxon.common_name
    statement = "\0".join((row.row.text("imageid"), reviewer, *(row.row.text(name) for name in _IDENTIFICATION)))
    return StatedReview(
        target=ReviewTarget("media", row.uri),
        verdict=_VERDICTS[kind],
        taxon=taxon,
        reviewer=reviewer,
        reviewed_at=None,
        comment=row.row.text("individualanimalnotes"),
        details=details,
        uid=str(uuid.uuid5(uuid.NAMESPACE_URL, f"wildlife-insights:{statement}")),
    )
