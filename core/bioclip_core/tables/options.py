"""Options of reading tables and files of other programs: the same ones wherever a table or a file is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bioclip_core.cells.encodings import encoding_fault
from bioclip_core.cells.moments import DateOrder
from bioclip_core.errors import UsageError
from bioclip_core.options import check_options

IMAGE_COLUMNS = ("image", "path", "file", "filepath", "uri")
"""Columns that have the file name of a row's image; the first one that a table has counts. Names are relative to the table."""


def _check_encoding(name: str) -> None:
    if fault := encoding_fault(name):
        raise UsageError(
            f"encoding {name[:80]!r} {fault.removeprefix('which ')}; give a name such as utf-8, cp1252 or mac-roman"
        )


def _pairs(option: str, given: tuple[str, ...], example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"{option} {text!r}: two values with = between them are needed, such as {example}")
        if pairs.setdefault(name.strip(), value.strip()) != value.strip():
            raise UsageError(f"{option} {text!r}: {name.strip()} is given twice; give it once")
    return pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOptions:
    """Options of finding files that moved since their names were written."""

    replace_prefix: tuple[str, ...] = field(default=(), metadata={"metavar": "OLD=NEW"})
    r"""Replace the beginning of file names, for moved folders and drives of Windows: 'D:\survey=photos'."""

    def __post_init__(self) -> None:
        check_options(self)
        _ = self.prefixes

    @property
    def prefixes(self) -> Mapping[str, str]:
        """New beginnings of file names by the old ones."""
        return _pairs("--replace-prefix", self.replace_prefix, r"'D:\survey=photos'")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions(PathOptions):
    """Options of reading a table or another program's file."""

    column: tuple[str, ...] = field(default=(), metadata={"metavar": "FIELD=HEADING"})
    """Read the column called HEADING as FIELD: image=Bilddatei."""
    encoding: str | None = field(
        default=None, metadata={"check": _check_encoding, "automatic": "UTF-8; cells that are not UTF-8 are Latin-1"}
    )
    """Encoding of a text table, such as cp1252."""
    day_first: bool = False
    """Read dates such as 03/04/2024 with the day first, where a column does not show its order."""
    month_first: bool = False
    """Read dates such as 03/04/2024 with the month first, where a column does not show its order."""

    def __post_init__(self) -> None:
        PathOptions.__post_init__(self)
        if self.day_first and self.month_first:
            raise UsageError("--day-first and --month-first exclude each other; give one of them")
        _ = self.headings

    @property
    def headings(self) -> Mapping[str, str]:
        """The headings of columns by the field that each is read as."""
        return _pairs("--column", self.column, "image=Bilddatei")

    @property
    def date_order(self) -> DateOrder | None:
        """The order of dates that the user gave; None: the column decides."""
        return "day" if self.day_first else "month" if self.month_first else None
