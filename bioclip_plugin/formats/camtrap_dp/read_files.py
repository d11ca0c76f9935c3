"""Media files and deployments of a Camtrap DP package, and the metadata that an item keeps of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError
from bioclip_plugin.formats.camtrap_dp.package import CamtrapPackage, is_file
from bioclip_plugin.formats.shared.paths import located
from bioclip_plugin.items.media import Unlisted, uri_of

if TYPE_CHECKING:
    from bioclip_plugin.contracts.source import ListingOptions


Deployments = Mapping[str, Mapping[str, str]]


MEDIA_KEY, DEPLOYMENT_KEY, PACKAGE_KEY = "camtrap_media", "camtrap_deployment", "camtrap_package"
"""Where the rows of a package stand in an item's metadata (and in a review's details): what is needed to write it again."""


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
        self._unpacked: Path | None = None

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
        """Unpack a member of the zip file and return its path. The file exists until the listing closes.

        Raises:
            SourceError: if it is damaged, or the disk has too little room.
        """
        assert self._package.archive is not None  # find() gives members only where there is one
        if self._unpacked is None:
            self._unpacked = self._options.temporary.new()
        name, folder = self._package.inside + member, self._unpacked
        if not (folder / name).exists():  # two rows may name one file
            self._package.archive.extract(folder, [name])
        return folder / name


def _is_on_the_web(name: str) -> bool:
    return name.lower().startswith(("http://", "https://"))


def _names_beside(name: str) -> list[str]:
    return [f"media/{name}", name] if name and "/" not in name and "\\" not in name else []


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
