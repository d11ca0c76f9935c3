"""The files of a Darwin Core archive: the rows of its tables, one at a time, and the places of its images.

Reading goes on behind a row with a fault.
python-dwca-reader is not used: the first short row ends its iteration, and it replaces bytes that are not of the stated
encoding without a warning.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TextIO
from urllib.parse import unquote, urlsplit

from bioclip_core.cells import latin_1
from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.archive_tar import TarReader
from bioclip_core.files.archives import ARCHIVE_FAULTS, Archive, archive_kind, open_archive
from bioclip_core.files.leftovers import temporary_folder
from bioclip_core.files.meta_xml import META, META_BYTES, Table, described
from bioclip_core.files.present import is_file, is_folder
from bioclip_core.files.regular import open_regular
from bioclip_core.tables.quotes import Records
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.paths import is_moved, located
from bioclip_plugin.items.media import uri_of
from bioclip_plugin.items.web import file_needed, is_web_address

_LOOKED_AT = 1 << 16  # bytes of a file; of a tar file this many bytes of headers, which have 512 each
_PASSED_OVER = 64 << 20  # a larger member may have to be decompressed to reach the next header


class ArchiveFiles:
    """The folder of an archive's tables, and the search for its images."""

    def __init__(
        self, folder: Path, path: Path, options: ListingOptions, archive: Archive | None = None, top: str = ""
    ) -> None:
        self.folder = folder
        """Folder of meta.xml and the tables."""
        self._archive = archive
        self._path = path
        self._top = top
        self._unpacked: Path | None = None
        # The user's folder comes first, then the archive's own.
        self._bases = list(filter(None, (options.base_folder, path.parent if archive else path)))
        self._options = replace(options, base_folder=None)

    def find(self, names: Sequence[str], is_shared: Callable[[str], bool]) -> tuple[str, Path | None] | str:
        """Return the uri and path of the image with one of these names, or the reason why it is not found.

        An address on the web stands for a file of that name beside the archive; without one it is its own uri, if
        ``options.lists_addresses`` says that addresses are listed. A file name that several addresses share says nothing about
        any of them, and two files that fit one address are refused.

        Args:
            names: addresses or names, the most reliable first.
            is_shared: returns True for a file name that several addresses have.
        """
        reasons: list[str] = []
        missing: tuple[str, Path] | None = None
        address = ""
        for name in names:
            if "://" in name and not is_moved(name, self._bases[0], self._options):
                own = [written for written in file_names_of(name) if not is_shared(written)]
                found = dict(filter(None, map(self._existing, own)))
                if len(found) > 1:
                    return f"the files {' and '.join(found)} both fit the address {name}; keep the right one"
                if found:
                    return next(iter(found.items()))
                reasons.append(self._on_the_web(name, own))
                address = address or (name if self._options.lists_addresses and is_web_address(name) else "")
                continue
            if inside := self._inside(name):
                return inside
            for base in self._bases:
                try:
                    uri, path = located(name, base, self._options)
                except UsageError as error:
                    reasons.append(str(error))
                    continue
                if os.path.isfile(path):  # noqa: PTH113 - Path's own raises for a name that is too long
                    return uri, path
                if not _is_bare_id(name):
                    missing = missing or (uri, path)
        # The store may know a file that no longer exists; reading it reports that it is missing.
        return (
            (address, None)
            if address
            else missing
            or (reasons[0] if reasons else f"{names[0]!r} is not the name of a file; the image cannot be found")
        )

    def _existing(self, name: str) -> tuple[str, Path] | None:
        """Return the file of this name in the archive or in the first folder that has it."""
        if inside := self._inside(name):
            return inside
        for base in self._bases:
            try:
                uri, path = located(name, base, self._options)
            except UsageError:
                continue
            if os.path.isfile(path):  # noqa: PTH113 - Path's own raises for a name that is too long
                return uri, path
        return None

    def _on_the_web(self, name: str, own: Sequence[str]) -> str:
        base = self._bases[0]
        needed = file_needed(name)
        if not own:
            return f"{needed}; no other file name tells it from the images of other rows"
        return f"{needed}, or download it to {base / own[0]}, or name its folder with --base-folder" + (
            f"; the name {last} alone is that of several images" if (last := file_names_of(name)[0]) not in own else ""
        )

    def _inside(self, name: str) -> tuple[str, Path] | None:
        """Return an image that is a member of the archive itself."""
        member = str(PurePosixPath(self._top, name.replace("\\", "/")))
        if self._archive is None or member not in self._archive.members:
            return None
        if self._unpacked is None:
            # Everything but the tables, which exists until the listing closes.
            tables = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}
            images = [name for name in self._archive.members if name.removeprefix(f"{self._top}/") not in tables]
            self._unpacked = self._options.temporary.new()
            self._archive.extract(self._unpacked, images, anywhere=True)
        return uri_of(self._path / member), self._archive.place_of(self._unpacked, member)


@contextmanager
def opened_files(path: Path, options: ListingOptions, beside: Sequence[str] = ()) -> Iterator[ArchiveFiles]:
    """Open an archive; the tables of a packed one are unpacked while this is open.

    Args:
        path: a folder, or a zip or tar file.
        options: for the places of images.
        beside: other files to unpack, if it has them.

    Raises:
        SourceError: if meta.xml is missing, or the archive is not safe to open.
    """
    if is_folder(path):
        yield ArchiveFiles(path, path, options)
        return
    with open_archive(path) as archive, temporary_folder("bioclip-archive-") as temporary:
        top = _top_of(list(archive.members), path)
        prefix = f"{top}/" if top else ""
        with archive.open(f"{prefix}{META}") as file:
            description = described(file.read(META_BYTES + 1), f"{META} of {path}")
        tables = (name for table in description.tables for name in table.names)
        wanted = {prefix + name for name in (META, description.metadata, *tables, *beside)}
        archive.extract(Path(temporary), sorted(wanted & archive.members.keys()))
        yield ArchiveFiles(Path(temporary, top), path, options, archive, top)


def holds_meta(path: Path) -> bool:
    """True if a folder or a packed archive has a meta.xml that looks like Darwin Core's; only little of it is read."""
    try:
        if is_folder(path):
            with open_regular(path / META) as file:
                start = file.read(_LOOKED_AT).replace(b"\0", b"")
                return b"<archive" in start or not start.strip()  # an empty one is reported when it is read
        kind = archive_kind(path)
        if kind == "zip":
            with zipfile.ZipFile(path) as packed:
                return any(map(_is_meta, packed.namelist()))
        if kind == "tar":
            with closing(TarReader(path)) as tar:
                # Name by name: a file that is cut off behind its meta.xml is an archive too, and is reported when it is opened.
                return any(map(_is_meta, tar.first_names(_LOOKED_AT // 512, _PASSED_OVER)))
    except ARCHIVE_FAULTS:
        return False
    return False


def _is_meta(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return len(parts) in (1, 2) and parts[-1] == META


def _top_of(names: Sequence[str], path: Path) -> str:
    """Return the folder of meta.xml in the archive: none, or the one folder that holds everything."""
    if META in names:
        return ""
    tops = sorted({name.split("/", 1)[0] for name in names if name.count("/") == 1 and name.endswith(f"/{META}")})
    if not tops:
        raise SourceError(f"{path} is not a Darwin Core archive: it lacks {META}, which describes the tables of one")
    if len(tops) > 1:
        raise SourceError(
            f"{path} is not a Darwin Core archive: it has {META} in {len(tops)} folders ({', '.join(tops)})"
        )
    return tops[0]


def file_names_of(address: str) -> list[str]:
    """Return the names that the file of an address on the web may have beside the archive, as download tools write them.

    >>> file_names_of("https://iiif.example.org/sheet%201/default.jpg"), file_names_of("https://example.org/get?id=71")[-1]
    (['default.jpg', 'sheet 1/default.jpg', 'iiif.example.org/sheet 1/default.jpg'], 'example.org/get@id=71')
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # [ in the wrong place, which is refused where it is fetched
        return []
    path = unquote(parts.path).strip("/")
    last = path.rsplit("/", 1)[-1]
    names = [last, path, f"{parts.netloc}/{path}"] if last else []
    if parts.query:  # wget keeps it; on Windows with @ instead of the question mark
        names += [f"{name}{sign}{unquote(parts.query)}" for sign in "?@" for name in names]
    return list(dict.fromkeys(names))


def _is_bare_id(name: str) -> bool:
    """True for an identifier that is not a file: a UUID, a urn, a number."""
    return name.startswith("urn:") or ("/" not in name and "\\" not in name and "." not in name)


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    file: str
    number: int
    """Its first line, from 1."""
    id: str = ""
    """Its own id in the core, the id of the core's row in an extension."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The cells that are not empty, by the last part of the term; the first of two terms of that name counts."""
    fault: str = ""
    """Reason why it is not usable; its values are then empty."""
    is_latin_1: bool = False
    """True if it held bytes that are not of the stated encoding, and was read as Latin-1."""

    stray_mark: str = ""
    """A cell with a quotation mark that does not quote, and that was read as text."""

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.number}"


def records(folder: Path, table: Table) -> Iterator[Record]:
    """Yield the rows of a table's files, without header lines and empty lines.

    Raises:
        SourceError: if a file is missing, or is not text in lines.
    """
    for name in table.names:
        yield from _records_of(folder / name, name, folder, table)


def header_of(folder: Path, name: str, table: Table) -> list[str] | None:
    """Return the cells of the last header line of a table's file; None without a header line or a file.

    Raises:
        SourceError: if the file cannot be read in the encoding that the table states.
    """
    if not table.header_lines or not is_file(folder / name):
        return None
    newline = "" if table.quote else None
    try:
        with (folder / name).open(encoding=table.encoding, errors="replace", newline=newline) as file:
            for number, cells, _ in _rows(file, name, table):
                if number >= table.header_lines:
                    return cells if isinstance(cells, list) else None
    except (OSError, UnicodeError) as error:
        raise _unreadable(name, table, error) from error
    return None


def _unreadable(name: str, table: Table, error: Exception) -> SourceError:
    return SourceError(f"{name} cannot be read as {table.encoding}: {error}")


def _records_of(path: Path, name: str, folder: Path, table: Table) -> Iterator[Record]:
    if not is_file(path):
        raise SourceError(f"{name}, which meta.xml names, is not in the archive")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"{name} is a symbolic link that leaves the archive's folder; put the file itself there")
    expected, width = 0, table.width
    # Quoted cells may hold line ends, which csv must see unchanged; and meta.xml often states \r\n for files with \n.
    newline = "" if table.quote else table.line_end[-1]
    try:
        with path.open(encoding=table.encoding, errors="surrogateescape", newline=newline) as file:
            for number, cells, text in _rows(file, name, table):
                if number <= table.header_lines:
                    expected = len(cells)
                elif isinstance(cells, str) or any(cells):
                    record = _record(name, number, cells, table, width, expected)
                    yield replace(record, stray_mark=text) if text else record
    except (OSError, UnicodeError) as error:
        raise _unreadable(name, table, error) from error


def _rows(file: TextIO, name: str, table: Table) -> Iterator[tuple[int, list[str] | str, str]]:
    """Yield line numbers and cells, or the fault of a line; and a cell whose quotation mark was read as text."""
    width = 0 if table.header_lines else table.width
    found = Records(file, name, table.separator, table.quote or "", width=width, is_declared=True)
    for line, cells, fault in found:
        text = found.as_text.pop(line, "") if found.as_text else ""
        yield line, fault or cells, text


def _record(name: str, number: int, cells: list[str] | str, table: Table, width: int, expected: int) -> Record:
    if isinstance(cells, str):
        return Record(name, number, fault=cells)
    if len(cells) < width:
        return Record(name, number, fault=f"it has {len(cells)} columns; meta.xml needs {width}")
    if expected and len(cells) > expected:
        # A separator within a cell that is not quoted moves the cells behind it into the wrong columns.
        return Record(
            name, number, fault=f"it has {len(cells)} columns and the header has {expected}: a cell holds a separator"
        )
    whole = "".join(cells)
    read = cells if latin_1(whole) == whole else [latin_1(cell) for cell in cells]
    values: dict[str, str] = {}
    for column in table.columns:
        cell = read[column.index].replace("\0", "").strip() if column.index is not None else ""
        value = cell if cell not in ("", "\\N") else column.default
        if value:
            values.setdefault(column.name, value)
    return Record(name, number, read[table.id_index].replace("\0", "").strip(), values, is_latin_1=read != cells)
