"""The Camtrap DP source: a package's media with place, event and boxes, and its human observations as reviews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bioclip_core.cells import position_of
from bioclip_core.errors import BioclipError, UsageError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, PackageRow, is_file, is_package, opened_package
from bioclip_plugin.formats.camtrap_dp.read_files import (
    Deployments,
    MediaFiles,
    media_metadata,
    read_deployments,
)
from bioclip_plugin.formats.camtrap_dp.read_index import ObservationIndex
from bioclip_plugin.items.media import MediaItem, Place, Unlisted
from bioclip_plugin.items.time_zones import moment_in
from bioclip_plugin.store.records import StatedReview

_ON_THE_WEB = (
    "the file is on the web, which is not fetched, and neither the package nor its folder media has a file of its "
    "name (fileName)"
)
"""The same text for all of them, so that a summary counts them; the uri says which file it is."""


class CamtrapDpSource:
    """Lists the media of a Camtrap DP 1.0 package: its folder, its ``datapackage.json``, or a zip file of it.

    ``filePath`` is relative to the descriptor. For a file on the web a file beside the package is used
    (``media/FILENAME`` or ``FILENAME``); nothing is fetched, so without such a file it is listed as missing. Boxes of
    observations of one image become regions; those of people and vehicles are kept and not classified. The sequence is
    the event that the image's observations name, else the event of its deployment that includes its time.

    Only the deployments are in memory. Observations are read once and kept in a database in a temporary file.
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
            for row in package.rows(package.table("media")):
                yield _item(row, package, deployments, index, files, options)
            yield from index.without_media(package)

    def reviews(self, address: str, options: ListingOptions) -> Iterator[StatedReview]:
        """Yield the observations of images, boxes and events whose classificationMethod is human."""
        from bioclip_plugin.formats.camtrap_dp.read_reviews import stated_reviews

        with opened_package(address) as package:
            deployments: dict[str, Mapping[str, str]] = {}
            list(read_deployments(package, deployments))  # items() reports the rows that cannot be used
            yield from stated_reviews(package, deployments, MediaFiles(package, options), options)


def _item(
    row: PackageRow,
    package: CamtrapPackage,
    deployments: Deployments,
    index: ObservationIndex,
    files: MediaFiles,
    options: ListingOptions,
) -> MediaItem | Unlisted:
    """Return the item of a media row, or the reason why it is not one."""
    values, where = row.values, f"{package.address}/{row.where}"
    name, deployment = values.get("mediaID", ""), values.get("deploymentID", "")
    if row.fault or not name:
        return Unlisted(where, f"media (line {row.line}): {row.fault or 'it lacks a mediaID'}")
    shown = f"media {name} (line {row.line})"
    if not index.is_new(name):
        return Unlisted(where, f"{shown}: duplicate mediaID {name!r}; the first row is used")
    try:
        file = files.find(values)
    except UsageError as error:
        return Unlisted(where, f"{shown}: {error}")
    if deployment not in deployments:
        return Unlisted(where, f"{shown}: deploymentID {deployment!r} is not in the deployments")
    metadata = media_metadata(values, package, deployments)
    captured_at = moment_in(values.get("timestamp", ""), options.time_zone)
    latitude, longitude = position_of(*map(deployments[deployment].get, ("latitude", "longitude")))
    item = MediaItem(
        uri=file.uri,
        path=file.path,
        captured_at=captured_at,
        place=Place(latitude=latitude, longitude=longitude, month=captured_at.month if captured_at else None),
        deployment=deployment,
        sequence=index.event(name, deployment, captured_at),
        regions=index.regions(name),
        metadata=metadata,
    )
    if file.member:
        try:
            return replace(item, path=files.unpacked(file.member))
        except BioclipError as error:
            return Unlisted(file.uri, str(error), known=item)
    if file.path is None:
        return Unlisted(file.uri, _ON_THE_WEB, known=item)
    if not is_file(file.path):
        return Unlisted(file.uri, f"{shown}: the file {values.get('filePath')} does not exist", known=item)
    return item
