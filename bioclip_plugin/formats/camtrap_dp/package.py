"""A Camtrap DP package that somebody else made: its descriptor, and its tables row by row, from a folder or a zip file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from bioclip_core.errors import SourceError
from bioclip_core.files.archives import Archive, archive_kind, damaged, open_archive
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, READ_VERSIONS, TABLES
from bioclip_plugin.items.media import path_of, uri_of

DESCRIPTOR = "datapackage.json"
_LOOK_AT = 65_536  # bytes in which a descriptor shows what it is
_LARGEST_DESCRIPTOR = 64 << 20
_VERSION = re.compile(r"camtrap-dp/([^/\s]+)/")
_NAMED = re.compile(rb"camtrap-dp")


class PackageRow(NamedTuple):
    """One row of a table: the file's name, the line that it begins at, and the cells that say something."""

    file: str
    line: int
    values: dict[str, str]
    fault: str = ""
    """Why the row cannot be used; then there are no values."""

    @property
    def where(self) -> str:
        """``observations.csv#line=7``: what a row is called that becomes no image."""
        return f"{self.file}#line={self.line}"


@dataclass
class CamtrapPackage:
    """An open package. Its tables are read anew each time that they are asked for."""

    address: str
    """As it is shown: the folder, the descriptor or the zip file."""
    folder: Path
    """Where relative paths begin; of a zip file the folder that it lies in."""
    descriptor: Mapping[str, Any]
    archive: Archive | None = None
    inside: str = ""
    """Of a zip file: the folder in it that holds the descriptor, with a slash at its end, or nothing."""

    def files(self, table: str) -> list[str]:
        """The files of one of the tables, in their order.

        Raises:
            SourceError: if the descriptor does not name the table, or names files outside the package.
        """
        return self._files(self.resource(table), table)

    def _files(self, resource: Mapping[str, Any], table: str) -> list[str]:
        given = resource.get("path")
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise SourceError(f"{self.address}: resource {table!r} has the path {given!r}; a file beside it is needed")
        for name in names:
            if "://" in name:
                raise SourceError(
                    f"{self.address}: the table {table} is on the web ({name}): download it beside the descriptor"
                )
            parts = PurePosixPath(name.replace("\\", "/")).parts
            if name.startswith(("/", "\\", "~")) or ".." in parts or re.match(r"[A-Za-z]:", name):
                raise SourceError(f"{self.address}: the table {table} has a path that leaves the package: {name!r}")
        return names

    def resource(self, name: str) -> Mapping[str, Any]:
        """What the descriptor says of a table.

        Raises:
            SourceError: if it says nothing.
        """
        resources = self.descriptor.get("resources")
        found = [one for one in resources if isinstance(one, dict)] if isinstance(resources, list) else []
        for resource in found:
            if resource.get("name") == name:
                return resource
        named = ", ".join(str(one.get("name")) for one in found) or "none"
        raise SourceError(f"{self.address} has no resource {name!r}; it has {named}")

    def rows(self, table: str) -> Iterator[PackageRow]:
        """The rows of a table, one by one. A row that cannot be used has a ``fault`` instead of values.

        Raises:
            SourceError: if a file is not there, or its header lacks the columns that are needed.
        """
        dialect = self.resource(table).get("dialect")
        delimiter = dialect.get("delimiter", ",") if isinstance(dialect, dict) else ","
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            raise SourceError(
                f"{self.address}: the table {table} has the delimiter {delimiter!r}; one character is needed"
            )
        for name in self.files(table):
            with self.open(name) as file:
                yield from _rows(file, name, table, delimiter, self.address)

    def other_rows(self, resource: Mapping[str, Any]) -> Iterator[PackageRow]:
        """The rows of a resource that Camtrap DP does not know, where that is a table in CSV.

        Raises:
            SourceError: if its file is not there.
        """
        for name in self._files(resource, str(resource.get("name"))):
            with self.open(name) as file:
                if name.lower().endswith(".csv"):
                    yield from _rows(file, name, "", ",", self.address)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A file of the package, by its name in the descriptor.

        Raises:
            SourceError: if it is not there.
        """
        name = name.replace("\\", "/")
        if self.archive is not None:
            with self.archive.open(self.inside + name) as member:
                yield member
            return
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise SourceError(f"{self.address}: {name} is a symbolic link that leaves the package")
        try:
            file = path.open("rb")
        except OSError as error:
            raise SourceError(f"{self.address}: {name} cannot be read: {error.strerror or error}") from error
        with file:
            yield file

    def has(self, name: str) -> bool:
        """Whether a file of that name is in a zip file."""
        return self.archive is not None and self.inside + name in self.archive.members

    def identity(self) -> str:
        """What the package is called everywhere: its own ``id``, else its name, else nothing."""
        return str(self.descriptor.get("id") or self.descriptor.get("name") or "")


def is_package(address: str) -> bool:
    """Whether a path is a Camtrap DP package: its folder, its descriptor, or a zip file with one; by content.

    Raises:
        SourceError: for a zip file that is truncated or damaged: what it was to be nobody can tell.
    """
    path = path_of(address)
    try:
        if path.is_dir():
            path = path / DESCRIPTOR
        if not path.is_file():
            return False
        if archive_kind(path) == "zip":
            return _zip_is_package(path)
        with path.open("rb") as file:
            return _looks_like_one(file.read(_LOOK_AT))
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _zip_is_package(path: Path) -> bool:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:  # no member is taken out before the gate has looked at all of them
            name = _descriptor_in(archive.namelist())
            if name is None:
                return False
            with archive.open(name) as file:
                return _looks_like_one(file.read(_LOOK_AT))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(path, error) from error
    except RuntimeError:  # encrypted, or compressed in a way that is not known: whoever opens it says so
        return True


def _descriptor_in(names: list[str]) -> str | None:
    """The descriptor at the top of an archive, or in its only folder."""
    found = [name for name in names if name == DESCRIPTOR or (name.count("/") == 1 and name.endswith("/" + DESCRIPTOR))]
    return min(found, key=len) if found else None


def _looks_like_one(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"{") or b'"resources"' not in text:
        return False
    return bool(_NAMED.search(text)) or all(f'"{name}"'.encode() in text for name in TABLES)


@contextmanager
def opened_package(address: str, *, any_version: bool = False) -> Iterator[CamtrapPackage]:
    """Open a package and read its descriptor.

    Raises:
        SourceError: if the descriptor is no JSON (with the place), or of a version that is not read.
    """
    with _opened(address) as package:
        if not any_version:
            check_version(package.address, package.descriptor)
        yield package


@contextmanager
def _opened(address: str) -> Iterator[CamtrapPackage]:
    path, shown = path_of(address), uri_of(address)
    with ExitStack() as stack:
        if path.is_file() and archive_kind(path) == "zip":
            archive = stack.enter_context(open_archive(path))
            name = _descriptor_in(list(archive.members))
            if name is None:
                raise SourceError(f"{shown} has no {DESCRIPTOR}")
            with archive.open(name) as member:
                descriptor = read_descriptor(member.read(_LARGEST_DESCRIPTOR + 1), f"{shown}: {name}")
            yield CamtrapPackage(shown, path.parent, descriptor, archive, name.removesuffix(DESCRIPTOR))
            return
        file = path / DESCRIPTOR if path.is_dir() else path
        try:
            with file.open("rb") as stream:
                data = stream.read(_LARGEST_DESCRIPTOR + 1)
        except OSError as error:
            raise SourceError(f"{shown}: {file.name} cannot be read: {error.strerror or error}") from error
        yield CamtrapPackage(shown, file.parent, read_descriptor(data, uri_of(file)))


def read_descriptor(data: bytes, shown: str) -> Mapping[str, Any]:
    """A descriptor's JSON.

    Raises:
        SourceError: if it is no JSON object; with line and column.
    """
    if len(data) > _LARGEST_DESCRIPTOR:
        raise SourceError(f"{shown} is larger than {_LARGEST_DESCRIPTOR >> 20} MB; a descriptor is some pages of text")
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise SourceError(f"{shown} is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{shown} is no JSON in UTF-8: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{shown} is no JSON object but {type(found).__name__}")
    return found


def version_named(descriptor: Mapping[str, Any]) -> str | None:
    """The version of Camtrap DP that a descriptor's profile, or a table's schema, names."""
    resources = descriptor.get("resources")
    schemas = [one.get("schema") for one in resources if isinstance(one, dict)] if isinstance(resources, list) else []
    for address in (descriptor.get("profile"), *schemas):
        match = _VERSION.search(address) if isinstance(address, str) else None
        if match:
            return match[1]
    return None


def check_version(shown: str, descriptor: Mapping[str, Any]) -> None:
    """See that a package is of a version that is read.

    Raises:
        SourceError: naming the version.
    """
    version = version_named(descriptor)
    allowed = ", ".join(READ_VERSIONS)
    if version is None:
        given = descriptor.get("profile")
        raise SourceError(f"{shown}: the profile {given!r} names no version of Camtrap DP; read are {allowed}")
    if version not in READ_VERSIONS:
        raise SourceError(f"{shown} is Camtrap DP {version}; read are {allowed}: export it in one of these versions")


def _rows(file: BinaryIO, name: str, table: str, delimiter: str, shown: str) -> Iterator[PackageRow]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        needed = {
            "media": ("mediaID", "filePath"),
            "deployments": ("deploymentID",),
            "observations": ("observationID",),
        }
        lacking = [column for column in needed.get(table, ()) if column not in header]
        if lacking:
            raise SourceError(
                f"{shown}: {name} has no column {', '.join(lacking)}; it has {', '.join(header) or 'none'}"
            )
        yield from _good_rows(reader, header, name)
    except csv.Error as error:
        raise SourceError(f"{shown}: {name} has no header that can be read: {error}") from error
    finally:
        text.detach()


def _good_rows(reader: Any, header: list[str], name: str) -> Iterator[PackageRow]:
    line = reader.line_num + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # the reader goes on with the next line
            yield PackageRow(name, line, {}, f"it cannot be read: {error}")
            cells = []
        if len(cells) > len(header):
            yield PackageRow(name, line, {}, f"it has {len(cells)} cells where the header has {len(header)}")
        elif cells:
            # White space around an identifier would make two of it.
            pairs = ((column, cell.strip() if column.endswith("ID") else cell) for column, cell in zip(header, cells))  # noqa: B905
            values = {column: cell for column, cell in pairs if cell not in MISSING}
            broken = next((column for column, cell in values.items() if not _is_utf_8(cell)), None)
            fault = f"its {broken} is not in UTF-8" if broken else ""
            yield PackageRow(name, line, {} if fault else values, fault)
        line = reader.line_num + 1


def _is_utf_8(cell: str) -> bool:
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
