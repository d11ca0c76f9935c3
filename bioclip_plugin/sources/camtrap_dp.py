"""The Camtrap DP source: a package's media with place, event and boxes, and what people had said of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import BioclipError, UsageError
from bioclip_plugin.media import MediaItem, Place, Unlisted, uri_of
from bioclip_plugin.sources.camtrap_index import ObservationIndex
from bioclip_plugin.sources.camtrap_package import CamtrapPackage, PackageRow, is_file, is_package, opened_package
from bioclip_plugin.sources.paths import located
from bioclip_plugin.time_zones import moment_in

if TYPE_CHECKING:
    from bioclip_plugin.sources import ListingOptions
    from bioclip_plugin.store.records import StatedReview

Deployments = Mapping[str, Mapping[str, str]]

MEDIA_KEY, DEPLOYMENT_KEY, PACKAGE_KEY = "camtrap_media", "camtrap_deployment", "camtrap_package"
"""Where the rows of a package stand in an item's metadata (and in a review's details): what is needed to write it again."""
_ON_THE_WEB = (
    "the file is on the web, which is not fetched, and none of its name (fileName) is beside the package or in its "
    "folder media"
)
"""One text for all of them, so that a summary counts them; which it is the uri says."""
_kept: list[tempfile.TemporaryDirectory[str]] = []


class CamtrapDpSource:
    """Lists the media of a Camtrap DP 1.0 package: its folder, its ``datapackage.json``, or a zip file of it.

    Files lie where ``filePath`` says, relative to the descriptor. For one on the web a file beside the package is taken
    (``media/FILENAME`` or ``FILENAME``); nothing is fetched, so without one it is listed as missing. Boxes of observations of
    one image become regions; those of people and vehicles are kept and not classified. The sequence is the event
    that the image's observations name, else the event of its deployment whose time it falls into.

    In memory: the deployments. Observations are gone through once and kept in a database in a temporary file.
    """

    name = "Camtrap DP package"

    def takes(self, address: str) -> bool:
        return is_package(address)

    def items(self, address: str, options: ListingOptions) -> Iterator[MediaItem | Unlisted]:
        with opened_package(address) as package, ObservationIndex() as index:
            deployments: dict[str, Mapping[str, str]] = {}
            yield from read_deployments(package, deployments)
            yield from index.read(package, deployments, options.time_zone)
            files = MediaFiles(package, options)
            for row in package.rows("media"):
                yield _item(row, package, deployments, index, files, options)
            yield from index.leading_nowhere(package)

    def reviews(self, address: str, options: ListingOptions) -> Iterator[StatedReview]:
        """What people said: observations whose classificationMethod is human, of images, boxes and events."""
        from bioclip_plugin.sources.camtrap_reviews import stated_reviews

        with opened_package(address) as package:
            deployments: dict[str, Mapping[str, str]] = {}
            for _ in read_deployments(package, deployments):
                pass  # told by items()
            yield from stated_reviews(package, deployments, MediaFiles(package, options), options)


def read_deployments(package: CamtrapPackage, into: dict[str, Mapping[str, str]]) -> Iterator[Unlisted]:
    """Read the deployments; gives a line for each row that cannot be used."""
    for row in package.rows("deployments"):
        name = row.values.get("deploymentID")
        fault = row.fault or ("" if name else "it has no deploymentID")
        if name in into:
            fault = f"deploymentID {name!r} stands there twice; the first one counts"
        if fault or name is None:
            yield Unlisted(f"{package.address}/{row.where}", f"deployment (line {row.line}): {fault}")
        else:
            into[name] = row.values


class MediaFiles:
    """Where the media of a package are: on the disk, in the zip file, or on the web and so out of reach."""

    def __init__(self, package: CamtrapPackage, options: ListingOptions) -> None:
        self._package = package
        self._options = options
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None

    def find(self, values: Mapping[str, str]) -> tuple[str, Path | None, str]:
        """The uri of a media row, its file, and the name of its member in a zip file; both are missing for the web.

        Raises:
            UsageError: for a path that may not be followed.
        """
        given = values.get("filePath", "")
        if not _is_on_the_web(given):
            return self._local(given)
        for name in _names_beside(values.get("fileName", "")):
            try:
                uri, path, member = self._local(name)
            except UsageError:  # no name of a file beside the package, so the web address stands
                continue
            if member or (path is not None and is_file(path)):
                return uri, path, member
        return given, None, ""

    def _local(self, name: str) -> tuple[str, Path | None, str]:
        uri, path = located(name, self._package.folder, self._options)
        if self._package.archive is None:
            return uri, path, ""
        member = path.relative_to(self._package.folder).as_posix() if not self._options.base_folder else ""
        if member and self._package.has(member):
            return uri_of(f"{self._package.address}/{self._package.inside}{member}"), None, member
        return uri, path, ""

    def unpacked(self, member: str) -> Path:
        """A member of the zip file as a file of its own, until the process ends: images are read after the listing.

        Raises:
            SourceError: if it is damaged, or the disk has too little room.
        """
        assert self._package.archive is not None  # find() gives members only where there is one
        if self._unpacked is None:
            self._unpacked = tempfile.TemporaryDirectory(prefix="bioclip-images-")
            _kept.append(self._unpacked)
        name, folder = self._package.inside + member, Path(self._unpacked.name)
        if not (folder / name).exists():  # two rows may name one file
            self._package.archive.extract(folder, [name])
        return folder / name


def _is_on_the_web(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _names_beside(name: str) -> list[str]:
    return [f"media/{name}", name] if name and "/" not in name and "\\" not in name else []


def _item(
    row: PackageRow,
    package: CamtrapPackage,
    deployments: Deployments,
    index: ObservationIndex,
    files: MediaFiles,
    options: ListingOptions,
) -> MediaItem | Unlisted:
    """One row of the media table, or why it is no item."""
    values, where = row.values, f"{package.address}/{row.where}"
    name = values.get("mediaID", "")
    if row.fault or not name:
        return Unlisted(where, f"media (line {row.line}): {row.fault or 'it has no mediaID'}")
    shown = f"media {name} (line {row.line})"
    if not index.is_new(name):
        return Unlisted(where, f"{shown}: mediaID {name!r} stands there twice; the first one counts")
    try:
        uri, path, member = files.find(values)
    except UsageError as error:
        return Unlisted(where, f"{shown}: {error}")
    if values.get("deploymentID") not in deployments:
        given = values.get("deploymentID", "")
        return Unlisted(where, f"{shown}: deploymentID {given!r} is not in the deployments")
    about = about_media(values, package, deployments)
    captured_at = moment_in(values.get("timestamp", ""), options.time_zone)
    item = MediaItem(
        uri=uri,
        path=path,
        captured_at=captured_at,
        place=_place(about[DEPLOYMENT_KEY], captured_at.month if captured_at else None),
        deployment=values["deploymentID"],
        sequence=index.event(name, values["deploymentID"], captured_at),
        regions=index.regions(name),
        metadata=about,
    )
    if member:
        try:
            return replace(item, path=files.unpacked(member))
        except BioclipError as error:
            return Unlisted(uri, str(error), known=item)
    if path is None:
        return Unlisted(uri, _ON_THE_WEB, known=item)
    if not is_file(path):
        return Unlisted(uri, f"{shown}: the file {values.get('filePath')} is not there", known=item)
    return item


def about_media(values: Mapping[str, str], package: CamtrapPackage, deployments: Deployments) -> dict[str, Any]:
    """What is kept of a media row, its deployment and its package, so that they can be written again."""
    return {
        MEDIA_KEY: dict(values),
        DEPLOYMENT_KEY: dict(deployments.get(values.get("deploymentID", ""), {})),
        PACKAGE_KEY: {
            key: str(package.descriptor[key])
            for key in ("id", "name", "title", "version")
            if package.descriptor.get(key)
        },
    }


def _place(deployment: Mapping[str, str], month: int | None) -> Place:
    latitude, longitude = (
        _degrees(deployment.get(name), limit) for name, limit in (("latitude", 90), ("longitude", 180))
    )
    if latitude is None or longitude is None:
        return Place(month=month)
    return Place(latitude=latitude, longitude=longitude, month=month)


def _degrees(cell: str | None, limit: float) -> float | None:
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if abs(number) <= limit else None  # NaN is not
