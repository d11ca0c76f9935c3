"""Descriptions of Darwin Core archives: the tables, columns and text format that a ``meta.xml`` declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

from bioclip_core.cells.encodings import encoding_fault
from bioclip_core.errors import SourceError
from bioclip_core.files.regular import open_regular

META = "meta.xml"
META_BYTES = 1 << 20  # the largest one in use describes some 30 tables in 200 kB
# The meaning of a missing attribute, by the text guide of Darwin Core.
_DEFAULTS = {
    "encoding": "UTF-8", "fieldsTerminatedBy": ",", "linesTerminatedBy": "\\n", "fieldsEnclosedBy": '"', "ignoreHeaderLines": "0",
}  # fmt: skip
_MOST = 100_000
"""Limit of the place of a column, and of the number of header lines."""
_LINE_ENDS = ("\n", "\r", "\r\n")
_KEYS = ("occurrenceID", "catalogNumber", "taxonID")
"""Terms that tell the rows of a core apart where it does not declare an id."""


@dataclass(frozen=True, slots=True)
class Column:
    """One term of a table."""

    term: str
    """The whole address of the term, as meta.xml writes it."""
    index: int | None
    """Place of the column, from 0; None for a value that all rows share."""
    default: str
    """Meaning of an empty cell."""

    @property
    def name(self) -> str:
        """The last part of the term: ``scientificName``."""
        return short(self.term)


@dataclass(frozen=True, slots=True)
class Table:
    """One data file of an archive, or several in the same form."""

    names: tuple[str, ...]
    """File names relative to the folder of meta.xml, with forward slashes."""
    row_type: str
    """The whole address of the type of its rows."""
    is_core: bool
    id_index: int
    """Column of the row's id; in an extension, of the id of its row in the core."""
    columns: tuple[Column, ...]
    encoding: str
    separator: str
    quote: str
    """Empty if no cell is quoted."""
    line_end: str
    header_lines: int

    @property
    def kind(self) -> str:
        """The last part of the row type: ``Occurrence``."""
        return short(self.row_type)

    @property
    def width(self) -> int:
        """The smallest number of columns that a row must have."""
        return max([self.id_index, *(column.index for column in self.columns if column.index is not None)]) + 1


@dataclass(frozen=True, slots=True)
class Description:
    """A whole meta.xml."""

    core: Table
    extensions: tuple[Table, ...]
    metadata: str
    """Name of the file that describes the data set; empty if there is none."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The core, then the extensions."""
        return (self.core, *self.extensions)


@lru_cache(maxsize=4096)
def short(term: str) -> str:
    """Return the last part of a term's address.

    >>> short("http://rs.tdwg.org/dwc/terms/genus"), short("http://example.org/terms#sex")
    ('genus', 'sex')
    """
    return term.rstrip("/").rsplit("/", 1)[-1].rsplit("#", 1)[-1]


def safe_xml(content: bytes, shown: str) -> ElementTree.Element:
    """Return the root of an XML document from an untrusted source.

    Raises:
        SourceError: if it is not XML (with the position), or if it declares entities, which can expand a kilobyte to a
            gigabyte or read a file of this machine.
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
        raise SourceError(f"{shown} cannot be read as XML: {error}") from error


def read_description(folder: Path, shown: str) -> Description:
    """Return the description that a folder's meta.xml holds.

    Raises:
        SourceError: if it is missing or broken, or if it leaves out what cannot be guessed.
    """
    try:
        with open_regular(folder / META) as file:
            content = file.read(META_BYTES + 1)
    except FileNotFoundError as error:
        raise SourceError(
            f"{shown} is not a Darwin Core archive: it lacks {META}, which describes the tables of one"
        ) from error
    except OSError as error:
        raise SourceError(f"{META} of {shown} cannot be read: {error.strerror}") from error
    return described(content, f"{META} of {shown}")


def described(content: bytes, shown: str) -> Description:
    """Return the description that the bytes of a meta.xml hold.

    Args:
        content: the whole file.
        shown: name of the file in messages.

    Raises:
        SourceError: as :func:`read_description`.
    """
    if len(content) > META_BYTES:
        raise SourceError(f"{shown} is larger than the limit of {META_BYTES:,} bytes")
    if not content.strip(b"\0 \t\r\n"):
        raise SourceError(f"{shown} is empty: copy the archive anew, or remove the file to read the images alone")
    root = safe_xml(content, shown)
    for element in root.iter():
        element.tag = short(str(element.tag).rsplit("}", 1)[-1])
    if root.tag != "archive":
        raise SourceError(
            f"{shown} begins with <{root.tag}>; the meta.xml of a Darwin Core archive begins with <archive>"
        )
    cores = root.findall("core")
    if len(cores) != 1:
        raise SourceError(f"{shown} must have one <core>; it has {len(cores)}")
    extensions = tuple(_table(section, shown) for section in root.findall("extension"))
    return Description(_table(cores[0], shown), extensions, root.get("metadata", ""))


def _table(section: ElementTree.Element, shown: str) -> Table:
    where = f"{shown}: <{section.tag} rowType={section.get('rowType', '')!r}>"
    stated = {**_DEFAULTS, **section.attrib}
    if fault := encoding_fault(stated["encoding"]):
        raise SourceError(f"{where} has the encoding {stated['encoding'][:80]!r}, {fault}; UTF-8 is usual")
    header_lines = _whole(stated["ignoreHeaderLines"], f"{where}: ignoreHeaderLines")
    names = _file_names(section, where)
    line_end, separator, quote = (
        _unescaped(stated, name, where) for name in ("linesTerminatedBy", "fieldsTerminatedBy", "fieldsEnclosedBy")
    )
    if line_end not in _LINE_ENDS:
        raise SourceError(f"{shown}: linesTerminatedBy of {names[0]} is {line_end!r}; allowed are \\n, \\r and \\r\\n")
    if len(separator) != 1 or len(quote) > 1:
        raise SourceError(
            f"{shown}: {names[0]} has fieldsTerminatedBy {separator!r} and fieldsEnclosedBy {quote!r}; "
            "one character each can be read"
        )
    fields = section.findall("field")
    if not all(field.get("term") for field in fields):
        raise SourceError(f"{where} has a <field> without a term")
    columns = tuple(
        Column(field.get("term", ""), _index(field, field.get("term", ""), where), field.get("default", ""))
        for field in fields
    )
    return Table(
        names=names,
        row_type=stated.get("rowType", ""),
        is_core=section.tag == "core",
        id_index=_id_index(section, columns, where),
        columns=columns,
        encoding=stated["encoding"],
        separator=separator,
        quote=quote,
        line_end=line_end,
        header_lines=header_lines,
    )


def _file_names(section: ElementTree.Element, where: str) -> tuple[str, ...]:
    paths = [
        PurePosixPath((location.text or "").strip().replace("\\", "/"))
        for location in section.findall("files/location")
    ]
    if not paths:
        raise SourceError(f"{where} names no file: <files><location> is needed")
    for path in paths:
        if not path.parts or ".." in path.parts or path.is_absolute() or ":" in path.parts[0]:
            raise SourceError(f"{where} names the file {str(path)!r}; only names inside the archive are taken")
    return tuple(path.as_posix() for path in paths)


def _unescaped(stated: Mapping[str, str], name: str, where: str) -> str:
    r"""Return an attribute with its escapes resolved: a tab is written \t."""
    try:
        return stated[name].encode("latin-1", "backslashreplace").decode("unicode-escape")
    except ValueError as error:
        raise SourceError(f"{where}: {name} is {stated[name]!r}, which cannot be read: {error}") from error


def _index(element: ElementTree.Element, name: str, where: str) -> int | None:
    index = element.get("index")
    return None if index is None else _whole(index, f"{where}: the index of {name}")


def _whole(text: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(_MOST)) and int(text) <= _MOST):
        raise SourceError(f"{what} is {text[:80]!r}; needed is a whole number from 0 to {_MOST:,}")
    return int(text)


def _id_index(section: ElementTree.Element, columns: tuple[Column, ...], where: str) -> int:
    """Return the column of the id; a core without extensions may leave it to the term that identifies its rows."""
    key = "id" if section.tag == "core" else "coreid"
    element = section.find(key)
    if element is not None and (index := _index(element, key, where)) is not None:
        return index
    if key == "coreid":
        raise SourceError(f"{where} lacks <coreid>, which links its rows to those of the core")
    by_name = {column.name: column.index for column in columns}
    found = next((by_name[name] for name in _KEYS if by_name.get(name) is not None), None)
    if found is None:
        raise SourceError(
            f"{where} has neither <id> nor {', '.join(_KEYS[:-1])} or {_KEYS[-1]}: its rows cannot be told apart"
        )
    return found
