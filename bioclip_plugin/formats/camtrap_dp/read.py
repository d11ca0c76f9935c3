"""The Camtrap DP source: a package's media with place, event and boxes, and what people had said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bioclip_core.cells import position_of
from bioclip_core.errors import BioclipError, UsageError
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, PackageRow, is_file, is_package, opened_package
from bioclip_plugin.formats.camtrap_dp.read_files import (
    DEPLOYMENT_KEY,
    Deployments,
    MediaFiles,
    about_media,
    read_deployments,
)
from bioclip_plugin.formats.camtrap_dp.read_index import ObservationIndex
from bioclip_plugin.items.media import MediaItem, Place, Unlisted
from bioclip_plugin.items.time_zones import moment_in

if TYPE_CHECKING:
    from bioclip_plugin.contracts.source import ListingOptions
    from bioclip_plugin.store.records import StatedReview


_ON_THE_WEB = (
    "the file is on the web, which is not fetched, and none of its name (fileName) is beside the package or in its "
    "folder media"
)
"""One text for all of them, so that a summary counts them; which it is the uri says."""


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
        from bioclip_plugin.formats.camtrap_dp.read_reviews import stated_reviews

        with opened_package(address) as package:
            deployments: dict[str, Mapping[str, str]] = {}
            for _ in read_deployments(package, deployments):
                pass  # told by items()
            yield from stated_reviews(package, deployments, MediaFiles(package, options), options)


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


def _place(deployment: Mapping[str, str], month: int | None) -> Place:
    latitude, longitude = position_of(deployment.get("latitude"), deployment.get("longitude"))
    return Place(latitude=latitude, longitude=longitude, month=month)
