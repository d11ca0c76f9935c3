"""An open Camtrap DP package, a folder or zip file: its descriptor, and the rows of its tables."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple, TextIO

from bioclip_core.errors import SourceError
from bioclip_core.files.archives import ARCHIVE_FAULTS, Archive, archive_kind, damaged, open_archive
from bioclip_core.files.documents import MAX_DOCUMENT_BYTES, parse_document
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.files.regular import open_regular
from bioclip_core.findings import Findings
from bioclip_core.tables.quotes import Records
from bioclip_core.tables.text import STRAY
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, READ_VERSIONS, TABLES
from bioclip_plugin.items.media import path_of, uri_of

DESCRIPTOR = "datapackage.json"
_NEEDED = {"media": ("mediaID", "filePath"), "deployments": ("deploymentID",), "observations": ("observationID",)}
"""Columns without which a table cannot be read."""
_LOOK_AT = 65_536  # bytes in which a descriptor shows its kind
_VERSION = re.compile(r"camtrap-dp/([^/\s]+)/")


class CsvRow(NamedTuple):
    """One row of a CSV file. Bytes that are not UTF-8 are kept as surrogate escapes."""

    line: int
    """Line at which the row begins, from 1."""
    cells: list[str]
    fault: str = ""
    """Why the row cannot be read; then it is without cells."""


class PackageRow(NamedTuple):
    """One row of a table."""

    file: str
    line: int
    """Line at which the row begins, from 1."""
    values: dict[str, str]
    """Cells by column, without missing values."""
    fault: str = ""
    """Why the row cannot be used; then it is without values."""

    @property
    def where(self) -> str:
        """Place of the row in the package, such as ``observations.csv#line=7``."""
        return f"{self.file}#line={self.line}"


@dataclass
class CamtrapPackage:
    """An open package. Its tables are read anew at each request."""

    address: str
    """Address for messages: the folder, the descriptor or the zip file."""
    folder: Path
    """Folder where relative paths begin; for a zip file the folder that it lies in."""
    descriptor: Mapping[str, Any]
    archive: Archive | None = None
    inside: str = ""
    """Folder inside the zip file that holds the descriptor, empty or with a slash at its end."""

    @property
    def resources(self) -> list[dict[str, Any]]:
        """The resources of the descriptor, without entries that are not objects."""
        listed = self.descriptor.get("resources")
        return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []

    @property
    def taxonomic(self) -> dict[str, dict[str, Any]]:
        """The entries of the descriptor's ``taxonomic`` by scientific name."""
        listed = self.descriptor.get("taxonomic")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        return {entry["scientificName"]: entry for entry in entries if isinstance(entry.get("scientificName"), str)}

    def table(self, name: str) -> dict[str, Any]:
        """Return the resource of a table.

        Raises:
            SourceError: if the descriptor does not have it.
        """
        for resource in self.resources:
            if resource.get("name") == name:
                return resource
        found = ", ".join(str(resource.get("name")) for resource in self.resources) or "none"
        raise SourceError(f"{self.address} lacks the resource {name!r}; it has {found}")

    def csv_files(
        self, resource: Mapping[str, Any], *, strict: bool = False, findings: Findings | None = None
    ) -> Iterator[tuple[str, Iterator[CsvRow]]]:
        """Yield each CSV file of a resource with its rows, the header first.

        Args:
            resource: the resource, as the descriptor has it.
            strict: report a quotation mark that does not quote as a fault instead of reading it as text.
            findings: where such marks are counted otherwise.

        Raises:
            SourceError: if a file is missing or outside the package, or the delimiter is not one character.
        """
        name, paths = str(resource.get("name")), resource.get("path")
        files = [paths] if isinstance(paths, str) else paths
        if not isinstance(files, list) or not files or not all(isinstance(file, str) and file for file in files):
            raise SourceError(f"{self.address}: resource {name!r} has the path {paths!r}; it must be a file beside it")
        for file in files:
            if "://" in file:
                raise SourceError(
                    f"{self.address}: the table {name} is on the web ({file}): download it beside the descriptor"
                )
            goes_up = ".." in PurePosixPath(file.replace("\\", "/")).parts
            if file.startswith(("/", "\\", "~")) or goes_up or re.match(r"[A-Za-z]:", file):
                raise SourceError(f"{self.address}: the table {name} has a path that leaves the package: {file!r}")
        dialect = resource.get("dialect")
        delimiter = dialect.get("delimiter", ",") if isinstance(dialect, dict) else ","
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            raise SourceError(
                f"{self.address}: the table {name} has the delimiter {delimiter!r}; it must be one character"
            )
        for file in files:
            with self.open(file) as stream, io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", "") as text:
                if name in TABLES or file.lower().endswith(".csv"):
                    yield file, _csv_rows(text, file, delimiter, strict=strict, findings=findings)

    def rows(self, resource: Mapping[str, Any], findings: Findings | None = None) -> Iterator[PackageRow]:
        """Yield the rows of a resource. A row that cannot be used has a ``fault`` instead of values.

        Args:
            resource: the resource, as the descriptor has it.
            findings: where quotation marks that do not quote are counted.

        Raises:
            SourceError: as :meth:`csv_files`, or if the header lacks a needed column.
        """
        for file, rows in self.csv_files(resource, findings=findings):
            first = next(rows, CsvRow(1, []))
            if first.fault:
                raise SourceError(f"{self.address}: the header of {file} {first.fault}")
            header = [cell.strip() for cell in first.cells]
            lacking = [column for column in _NEEDED.get(str(resource.get("name")), ()) if column not in header]
            if lacking:
                raise SourceError(
                    f"{self.address}: {file} lacks {', '.join(lacking)}; it has {', '.join(header) or 'none'}"
                )
            for row in rows:
                if row.fault or row.cells:
                    yield _package_row(file, header, row)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file of the package by its name in the descriptor.

        Raises:
            SourceError: if it is missing, or a symbolic link out of the package.
        """
        name = name.replace("\\", "/")
        if self.archive is not None:
            with self.archive.open(self.inside + name) as member:
                yield member
            return
        path = self.folder / name
        try:
            leaves = not path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
            raise SourceError(f"{self.address}: {name} cannot be read: {error}") from error
        if leaves:
            raise SourceError(f"{self.address}: {name} is a symbolic link that leaves the package")
        try:
            file = open_regular(path)
        except OSError as error:
            raise SourceError(f"{self.address}: {name} cannot be read: {error.strerror or error}") from error
        with file:
            yield file

    def has_member(self, name: str) -> bool:
        """True if the package is a zip file with a file of that name."""
        return self.archive is not None and self.inside + name in self.archive.members


def _csv_rows(text: TextIO, name: str, delimiter: str, *, strict: bool, findings: Findings | None) -> Iterator[CsvRow]:
    records = Records(text, name, delimiter, is_declared=True)
    for line, cells, fault in records:
        mark = records.as_text.pop(line, "") if records.as_text else ""
        if mark and strict:
            fault = fault or f"a quotation mark does not quote a whole cell: {mark}"
        elif mark and findings is not None:
            findings.add(STRAY, f"{name}, line {line}: {mark}")
        yield CsvRow(line, [], f"cannot be read: {fault}") if fault else CsvRow(line, cells)


def _package_row(file: str, header: list[str], row: CsvRow) -> PackageRow:
    if row.fault:
        return PackageRow(file, row.line, {}, row.fault)
    if len(row.cells) > len(header):
        return PackageRow(file, row.line, {}, f"it has {len(row.cells)} cells where the header has {len(header)}")
    values = {}
    for column, cell in zip(header, row.cells, strict=False):
        if not is_utf_8(cell):
            return PackageRow(file, row.line, {}, f"its {column} is not in UTF-8")
        # White space around an identifier would make it a different one.
        cell = cell.strip() if column.endswith("ID") else cell
        if cell not in MISSING:
            values[column] = cell
    return PackageRow(file, row.line, values)


def is_utf_8(cell: str) -> bool:
    """True if a cell was valid UTF-8 in its file."""
    return cell.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in cell)


def is_package(address: str) -> bool:
    """True if a path is a Camtrap DP package by its content: its folder, its descriptor, or a zip file with one.

    Raises:
        SourceError: for a truncated or damaged zip file, which may have been meant as one.
    """
    path = path_of(address)
    try:
        if is_folder(path):
            path = path / DESCRIPTOR
        if not is_file(path):
            return False
        if archive_kind(path) != "zip":
            with path.open("rb") as file:
                return _is_descriptor(file.read(_LOOK_AT))
        with zipfile.ZipFile(path) as archive:  # only looks: no member is used before the gate has checked all of them
            name = _descriptor_in(archive.namelist())
            return name is not None and _is_descriptor(archive.open(name).read(_LOOK_AT))
    except (OSError, ValueError):
        return False
    except RuntimeError:  # encrypted, or compressed in an unknown way: opening it reports that
        return True
    except ARCHIVE_FAULTS as error:
        raise damaged(path, error) from error


def _descriptor_in(names: list[str]) -> str | None:
    """Return the name of the descriptor at the top of an archive, or in a folder at its top."""
    found = [name for name in names if name == DESCRIPTOR or (name.count("/") == 1 and name.endswith("/" + DESCRIPTOR))]
    return min(found, key=len) if found else None


def _is_descriptor(start: bytes) -> bool:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"{") or b'"resources"' not in text:
        return False
    return b"camtrap-dp" in text or all(f'"{name}"'.encode() in text for name in TABLES)


@contextmanager
def opened_package(address: str, *, any_version: bool = False) -> Iterator[CamtrapPackage]:
    """Open a package and read its descriptor.

    Args:
        address: the folder, the descriptor or the zip file.
        any_version: accept versions whose tables may differ.

    Raises:
        SourceError: if the descriptor is not JSON (with line and column), or of a version that cannot be read.
    """
    path, shown = path_of(address), uri_of(address)
    with ExitStack() as stack:
        if is_file(path) and archive_kind(path) == "zip":
            archive = stack.enter_context(open_archive(path))
            name = _descriptor_in(list(archive.members))
            if name is None:
                raise SourceError(f"{shown} does not contain {DESCRIPTOR}")
            descriptor = _parsed(stack.enter_context(archive.open(name)), f"{shown}: {name}")
            package = CamtrapPackage(shown, path.parent, descriptor, archive, name.removesuffix(DESCRIPTOR))
        else:
            file = path / DESCRIPTOR if is_folder(path) else path
            try:
                with open_regular(file) as stream:
                    package = CamtrapPackage(shown, file.parent, _parsed(stream, uri_of(file)))
            except OSError as error:
                raise SourceError(f"{shown}: {file.name} cannot be read: {error.strerror or error}") from error
        if not any_version:
            _refuse_version(package)
        yield package


def _parsed(file: BinaryIO, shown: str) -> dict[str, Any]:
    data = file.read(MAX_DOCUMENT_BYTES + 1)
    return parse_document(data, dict[str, Any], name=shown, error=SourceError)


def version_in(address: Any) -> str | None:
    """Return the version of Camtrap DP that the address of a profile or schema names."""
    match = _VERSION.search(address) if isinstance(address, str) else None
    return match[1] if match else None


def _refuse_version(package: CamtrapPackage) -> None:
    given = package.descriptor.get("profile")
    named = (version_in(address) for address in (given, *(resource.get("schema") for resource in package.resources)))
    version = next(filter(None, named), None)
    allowed = ", ".join(READ_VERSIONS)
    if version is None:
        raise SourceError(
            f"{package.address}: the profile {given!r} does not name a version of Camtrap DP; supported are {allowed}"
        )
    if version not in READ_VERSIONS:
        raise SourceError(
            f"{package.address} is Camtrap DP {version}; supported are {allowed}: export it in one of these versions"
        )
