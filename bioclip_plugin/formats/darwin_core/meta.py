"""What meta.xml says of a Darwin Core archive: its tables, their columns, and how they are written."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from bioclip_core.errors import SourceError

META = "meta.xml"
META_BYTES = 1 << 20  # the largest one in use describes some 30 tables in 200 kB
# What is meant where an attribute is not written, by the text guide of Darwin Core.
_DEFAULTS = {
    "encoding": "UTF-8", "fieldsTerminatedBy": ",", "linesTerminatedBy": "\\n", "fieldsEnclosedBy": '"', "ignoreHeaderLines": "0",
}  # fmt: skip
_ENCODING = "tableEncoding"  # where the stated one is kept while the reader has its turn
_LINE_ENDS = ("\n", "\r", "\r\n")


@dataclass(frozen=True, slots=True)
class Column:
    """One term of a table."""

    term: str
    """The whole address of the term, as meta.xml has it."""
    index: int | None
    """The column, from 0; None for a value that is the same in all rows."""
    default: str
    """What an empty cell means."""

    @property
    def name(self) -> str:
        """The last part of the term: ``scientificName``."""
        return short(self.term)


@dataclass(frozen=True, slots=True)
class Table:
    """One data file (or several in the same form) of an archive."""

    names: tuple[str, ...]
    """Relative to the folder of meta.xml, forward slashes."""
    row_type: str
    """The whole address of what a row is."""
    is_core: bool
    id_index: int | None
    """The column of the row's id, or in an extension of the core row's."""
    columns: tuple[Column, ...]
    encoding: str
    separator: str
    quote: str
    """Empty where no cell is quoted."""
    line_end: str
    header_lines: int

    @property
    def kind(self) -> str:
        """The last part of the row type: ``Occurrence``."""
        return short(self.row_type)

    @property
    def width(self) -> int:
        """The least number of columns that a row must have."""
        indexes = [column.index for column in self.columns if column.index is not None]
        return max([*indexes, self.id_index if self.id_index is not None else -1], default=-1) + 1


@dataclass(frozen=True, slots=True)
class Description:
    """A whole meta.xml."""

    core: Table
    extensions: tuple[Table, ...]
    metadata: str
    """The name of the file that describes the data set, or nothing."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The core, then the extensions."""
        return (self.core, *self.extensions)


@lru_cache(maxsize=4096)
def short(term: str) -> str:
    """The last part of a term's address.

    >>> short("http://rs.tdwg.org/dwc/terms/genus"), short("http://example.org/terms#sex")
    ('genus', 'sex')
    """
    return term.rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1]


def safe_xml(content: bytes, shown: str) -> ElementTree.Element:
    """The root of an XML document that somebody else made.

    Raises:
        SourceError: if it is no XML (with the position), or if it declares entities, which is how a kilobyte becomes a
            gigabyte or reads a file of this machine.
    """

    def refuse(*_: object) -> None:
        raise SourceError(
            f"{shown} is refused: it has a document type declaration, line {checker.CurrentLineNumber}; take it out"
        )

    checker = expat.ParserCreate()
    checker.StartDoctypeDeclHandler = refuse
    checker.EntityDeclHandler = refuse
    try:
        checker.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise SourceError(f"{shown} is no XML that can be read: {error}") from error


def read_description(folder: Path, shown: str) -> Description:
    """What the folder's meta.xml describes.

    Raises:
        SourceError: if it is missing, broken, or leaves out what cannot be guessed.
    """
    path = folder / META
    try:
        with path.open("rb") as file:
            content = file.read(META_BYTES + 1)
    except FileNotFoundError as error:
        raise SourceError(
            f"{shown} has no {META}, which says what its tables hold: it is no Darwin Core archive"
        ) from error
    except OSError as error:
        raise SourceError(f"{META} of {shown} cannot be read: {error.strerror}") from error
    return described(content, f"{META} of {shown}")


def described(content: bytes, shown: str) -> Description:
    """The same for the text of a meta.xml.

    Raises:
        SourceError: as :func:`read_description`.
    """
    if len(content) > META_BYTES:
        raise SourceError(f"{shown} is larger than {META_BYTES:,} bytes, which is the limit")
    if not content.strip(b"\0 \t\r\n"):
        raise SourceError(
            f"{shown} is empty: copy the archive anew, or remove it where the images are to be read alone"
        )
    root = safe_xml(content, shown)
    for element in root.iter():
        element.tag = short(str(element.tag).rsplit("}", 1)[-1])
    if root.tag != "archive":
        raise SourceError(
            f"{shown} begins with <{root.tag}>; the meta.xml of a Darwin Core archive begins with <archive>"
        )
    sections = [element for element in root if element.tag in ("core", "extension")]
    if sum(section.tag == "core" for section in sections) != 1:
        raise SourceError(f"{shown} must have one <core>; it has {sum(s.tag == 'core' for s in sections)}")
    for section in sections:
        _complete(section, shown)
        if section.tag == "core" and section.find("id") is None:
            _take_an_id(section, shown)
    return _read_by_the_reader(root, shown)


def _complete(section: ElementTree.Element, shown: str) -> None:
    """Check a section, and write down what it leaves to the defaults."""
    where = f"{shown}: <{section.tag} rowType={section.get('rowType', '')!r}>"
    for name, value in _DEFAULTS.items():
        if section.get(name) is None:
            section.set(name, value)
    encoding = section.get("encoding", "")
    try:
        codecs.lookup(encoding)
        "a".encode(encoding)  # some that are known are no encodings of text
    except (LookupError, ValueError) as error:
        raise SourceError(f"{where} has the encoding {encoding!r}, which is not known; UTF-8 is usual") from error
    section.set(_ENCODING, encoding)
    section.set("encoding", "UTF-8")  # the reader decodes this very attribute's neighbours with it
    if not section.get("ignoreHeaderLines", "").isdecimal():
        raise SourceError(
            f"{where}: ignoreHeaderLines is {section.get('ignoreHeaderLines')!r}; needed is a whole number"
        )
    names = [location.text or "" for location in section.findall("files/location")]
    if not names:
        raise SourceError(f"{where} names no file: <files><location> is needed")
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0]:
            raise SourceError(f"{where} names the file {name!r}; only names inside the archive are taken")
    key = "id" if section.tag == "core" else "coreid"
    element = section.find(key)
    if element is None and key == "coreid":
        raise SourceError(f"{where} has no <coreid>: its rows belong to no row of the core")
    numbers = [("id", element)] if element is not None else []
    for field in section.findall("field"):
        if not field.get("term"):
            raise SourceError(f"{where} has a <field> without a term")
        numbers.append((field.get("term", ""), field))
    for name, one in numbers:
        index = one.get("index")
        if index is not None and not index.isdecimal():
            raise SourceError(f"{where}: the index of {name} is {index!r}; needed is a whole number from 0")


def _take_an_id(core: ElementTree.Element, shown: str) -> None:
    """The id may be left out where there are no extensions; the reader needs one."""
    by_name = {short(field.get("term", "")): field.get("index") for field in core.findall("field")}
    index = by_name.get("occurrenceID") or by_name.get("catalogNumber")
    if index is None:
        raise SourceError(f"{shown}: <core> has neither <id> nor an occurrenceID: its rows cannot be told apart")
    ElementTree.SubElement(core, "id", {"index": index})


def _read_by_the_reader(root: ElementTree.Element, shown: str) -> Description:
    """The reader's own understanding of it, as our frozen description."""
    from dwca.descriptors import ArchiveDescriptor
    from dwca.exceptions import InvalidArchive

    try:
        archive: Any = ArchiveDescriptor(ElementTree.tostring(root, encoding="unicode"))
        tables = [_table(one, shown) for one in (archive.core, *archive.extensions)]
    except (InvalidArchive, AttributeError, TypeError, ValueError, LookupError) as error:
        raise SourceError(f"{shown} describes no Darwin Core archive: {error}") from error
    return Description(tables[0], tuple(tables[1:]), archive.metadata_filename or "")


def _table(one: Any, shown: str) -> Table:
    names = tuple(
        PurePosixPath((location.text or "").replace("\\", "/")).as_posix()
        for location in one.raw_element.findall("files/location")
    )
    if one.lines_terminated_by not in _LINE_ENDS:
        raise SourceError(
            f"{shown}: linesTerminatedBy of {names[0]} is {one.lines_terminated_by!r}; allowed are \\n, \\r and \\r\\n"
        )
    if len(one.fields_terminated_by) != 1 or len(one.fields_enclosed_by) > 1:
        raise SourceError(
            f"{shown}: {names[0]} has fieldsTerminatedBy {one.fields_terminated_by!r} and fieldsEnclosedBy "
            f"{one.fields_enclosed_by!r}; one character each can be read"
        )
    return Table(
        names=names,
        row_type=one.type or "",
        is_core=one.represents_corefile,
        id_index=one.id_index if one.represents_corefile else one.coreid_index,
        columns=tuple(Column(field["term"], field["index"], field["default"] or "") for field in one.fields),
        encoding=one.raw_element.get(_ENCODING),
        separator=one.fields_terminated_by,
        quote=one.fields_enclosed_by,
        line_end=one.lines_terminated_by,
        header_lines=one.lines_to_ignore,
    )


def media_tables(description: Description) -> Iterator[Table]:
    """The extensions that hold media: Audubon Core first, whose rows say more than GBIF's simple ones."""
    kinds = (
        "http://rs.tdwg.org/ac/terms/Multimedia",
        "http://rs.gbif.org/terms/1.0/Multimedia",
        "http://rs.gbif.org/terms/1.0/Image",
    )
    for kind in kinds:
        yield from (table for table in description.extensions if table.row_type == kind)
