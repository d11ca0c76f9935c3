"""Media files, deployments and boxes of a Camtrap DP package, and the metadata that an item keeps of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bioclip_core.errors import UsageError
from bioclip_core.files.present import exists, is_file
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage
from bioclip_plugin.formats.camtrap_dp.schema import BOX, TABLES
from bioclip_plugin.formats.shared.paths import is_moved, located
from bioclip_plugin.items.licences import PACKAGE_LICENCE
from bioclip_plugin.items.media import Region, Unlisted, uri_of
from bioclip_plugin.items.web import is_web_address

Deployments = Mapping[str, Mapping[str, str]]

MEDIA_KEY, DEPLOYMENT_KEY, PACKAGE_KEY = "camtrap_media", "camtrap_deployment", "camtrap_package"
"""Keys of a package's rows in an item's metadata and in a review's details, from which an export writes them again."""
_CATEGORIES = {"human": "person"}
_NAMED_BY_A_MODEL = ("animal", "unknown", "unclassified")


def read_deployments(package: CamtrapPackage, into: dict[str, Mapping[str, str]]) -> Iterator[Unlisted]:
    """Read the deployments by name, and yield an entry for each row that cannot be used."""
    for row in package.rows(package.table("deployments")):
        name = row.values.get("deploymentID", "")
        fault = row.fault or ("" if name else "it lacks a deploymentID")
        if name in into:
            fault = f"duplicate deploymentID {name!r}; the first row is used"
        if fault:
            yield Unlisted(f"{package.address}/{row.where}", f"deployment (line {row.line}): {fault}")
        else:
            into[name] = row.values


class MediaFile(NamedTuple):
    """The place of one media file."""

    uri: str
    path: Path | None = None
    """None for a file in the zip file or on the web."""
    member: str = ""
    """Name of the member in the zip file."""


class MediaFiles:
    """The media files of a package: on the disk, in the zip file, or on the web."""

    def __init__(self, package: CamtrapPackage, options: ListingOptions) -> None:
        self._package = package
        self._options = options
        self.lists_addresses = options.lists_addresses
        self._unpacked: Path | None = None

    def find(self, values: Mapping[str, str]) -> MediaFile:
        """Return the place of the file of a media row. A file on the web is replaced by one beside the package.

        Raises:
            UsageError: for a path that may not be followed.
        """
        given, name = values.get("filePath", ""), values.get("fileName", "")
        if not is_web_address(given) or is_moved(given, self._package.folder, self._options):
            return self._local(given)
        if name and "/" not in name and "\\" not in name:
            for beside in (f"media/{name}", name):
                try:
                    found = self._local(beside)
                except UsageError:  # not a name that a file beside the package can have
                    continue
                if found.member or (found.path is not None and is_file(found.path)):
                    return found
        return MediaFile(given)

    def _local(self, name: str) -> MediaFile:
        uri, path = located(name, self._package.folder, self._options)
        if (
            self._package.archive is not None
            and path.is_relative_to(self._package.folder)
            and not self._options.base_folder
        ):
            member = path.relative_to(self._package.folder).as_posix()
            if self._package.has_member(member):
                return MediaFile(uri_of(f"{self._package.address}/{self._package.inside}{member}"), member=member)
        return MediaFile(uri, path)

    def unpacked(self, member: str) -> Path:
        """Unpack a member of the zip file and return its path. The file exists until the listing closes.

        Raises:
            SourceError: if it is damaged, or the disk has too little room.
        """
        assert self._package.archive is not None  # find() gives members only where there is one
        if self._unpacked is None:
            self._unpacked = self._options.temporary.new()
        name, folder, archive = self._package.inside + member, self._unpacked, self._package.archive
        place = archive.place_of(folder, name)
        if not exists(place):  # two rows may name one file
            archive.extract(folder, [name], anywhere=True)
        return place


def media_metadata(values: Mapping[str, str], package: CamtrapPackage, deployments: Deployments) -> dict[str, Any]:
    """Return a media row, its deployment and its package's name, from which an export writes them again."""
    described = ((key, package.descriptor.get(key)) for key in ("id", "name", "title", "version"))
    return {
        MEDIA_KEY: dict(values),
        DEPLOYMENT_KEY: dict(deployments.get(values.get("deploymentID", ""), {})),
        PACKAGE_KEY: {key: str(value) for key, value in described if value} | _media_licence(package),
    }


def _media_licence(package: CamtrapPackage) -> dict[str, str]:
    """Return the licence of a package's media, by its name or else its address; nothing without one."""
    listed = package.descriptor.get("licenses")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("scope") == "media" and (text := one.get("name") or one.get("path")):
            return {PACKAGE_LICENCE: str(text)}
    return {}


def region_of(values: Mapping[str, str]) -> Region | None:
    """Return the box of an observation, None without one.

    Camtrap DP does not say what drew a box, so the region does not name a detector.

    Raises:
        UsageError: for a box that is not four numbers inside the image.
    """
    cells = [values.get(name) for name in BOX]
    if all(cell is None for cell in cells):
        return None
    try:
        box = [float(cell or "nan") for cell in cells]
    except ValueError:
        box = [math.nan]
    if not all(map(math.isfinite, box)):
        raise UsageError(f"its box {cells} is not four numbers ({', '.join(BOX)})")
    return region_from(box, values.get("observationType", ""))


def region_from(box: Sequence[float], kind: str) -> Region:
    """Return a box as a region, with a detector's category for a type of observation."""
    category = _CATEGORIES.get(kind, kind) if kind in TABLES["observations"]["observationType"].allowed else ""
    x, y, w, h = box
    return Region(x, y, w, h, category=category, classified=kind in _NAMED_BY_A_MODEL or not category)
