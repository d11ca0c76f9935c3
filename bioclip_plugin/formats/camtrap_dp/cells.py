"""What may stand in one cell of a Camtrap DP table, and what is wrong with the text that does."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from unicodedata import category

from bioclip_plugin.formats.camtrap_dp.schema import MISSING, Column

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)\Z", re.IGNORECASE)
_BOOLEAN = frozenset({"true", "True", "TRUE", "1", "false", "False", "FALSE", "0"})
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)([.,]\d+)?(Z|[+-]\d\d:?\d\d)?\Z", re.ASCII)
_MEDIATYPE = re.compile(r"(image|video|audio)/.+\Z")
_WEB = re.compile(r"https?://[^\s/]+", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_ABBREVIATED = re.compile(r"(^|\s)[^\W\d_]{1,3}\.(\s|$)")
_INVISIBLE = ("Cf", "Zl", "Zp")
_QUALIFIED = re.compile(r"\s(cf|aff|sp|spp|indet|nr)\.?(\s|$)", re.IGNORECASE)


def fault_of(column: Column, cell: str) -> str:
    """What is wrong with a cell, as the end of a sentence; nothing where it is good.

    Stricter than the table schema: a number that is written NaN counts there as not stated, and is wrong here.
    """
    if column.kind in ("number", "integer") and _NO_NUMBER.match(cell.strip()):
        return "it is no number; leave the cell empty where it is not known"
    if cell in MISSING:
        return "it is required" if column.required else ""
    if column.kind in ("number", "integer"):
        return _number_fault(column, cell)
    if column.kind == "boolean":
        return "" if cell in _BOOLEAN else "allowed are true and false"
    if column.kind == "datetime":
        return moment_fault(cell)
    if column.allowed and cell not in column.allowed:
        return f"allowed are {', '.join(column.allowed)}"
    return _text_fault(column, cell)


def _text_fault(column: Column, cell: str) -> str:
    if column.name == "filePath":
        return path_fault(cell)
    if column.name == "fileMediatype" and not _MEDIATYPE.match(cell):
        return "a media type such as image/jpeg is needed, of an image, a video or a sound"
    if column.name == "scientificName":
        return name_fault(cell)
    if column.name in ("deploymentID", "mediaID", "observationID", "eventID") and cell != cell.strip():
        return "an identifier begins and ends without white space"
    return ""


def _number_fault(column: Column, cell: str) -> str:
    pattern, what = (_NUMBER, "a number") if column.kind == "number" else (_INTEGER, "a whole number")
    if not pattern.match(cell):
        return f"{what} is needed"
    value = float(cell)
    if not math.isfinite(value):
        return f"{what} is needed"
    if column.least is not None and value < column.least:
        return f"{_shown(column.least)} or more is needed" if column.least != 1e-15 else "more than 0 is needed"
    if column.most is not None and value > column.most:
        return f"{_shown(column.most)} or less is needed"
    return ""


def _shown(limit: float) -> str:
    return f"{limit:g}"


def moment_fault(cell: str) -> str:
    """What is wrong with a date and time: it needs its offset from UTC, and has no fractions of a second."""
    match = _MOMENT.match(cell)
    if match is None:
        return "a date and time such as 2020-05-30T04:57:37+02:00 is needed"
    if match[3]:
        return "fractions of a second are not allowed"
    if match[4] is None:
        return "the offset from UTC is missing (Z, or such as +02:00)"
    try:
        datetime.fromisoformat(cell)
    except ValueError as error:
        return f"there is no such moment ({error})"
    return ""


def path_fault(cell: str) -> str:
    r"""What is wrong with a path of a file: it is relative, with forward slashes, or an address that begins with http."""
    if re.match(r"[A-Za-z]:[\\/]?", cell) and not _WEB.match(cell) and not _SCHEME.match(cell):
        return (
            "it is a path of one computer's drive; a path relative to the package, or an address on the web is needed"
        )
    if _SCHEME.match(cell):
        return (
            ""
            if _WEB.match(cell) and ".." not in cell
            else "of addresses only those that begin with http(s):// are allowed"
        )
    if cell.startswith((".", "/", "~", "\\")):
        return "a relative path is needed that does not begin with '.', '/', '\\' or '~'"
    if ".." in cell:
        return "'..' is not allowed in a path"
    if "\\" in cell:
        return "forward slashes are needed between folders"
    controls = not cell.isprintable() and any(category(letter) in ("Cc", "Cs") for letter in cell)
    return "it holds a control character" if controls else ""


def unseen(cell: str) -> str:
    """The text with its invisible characters written out, such as one that turns the direction; nothing where it has none."""
    if cell.isprintable() or not any(category(letter) in _INVISIBLE for letter in cell):
        return ""
    return "".join(f"<U+{ord(letter):04X}>" if category(letter) in _INVISIBLE else letter for letter in cell)


def name_fault(cell: str) -> str:
    """What is wrong with a scientific name: it is whole, and says no more than the name."""
    if _QUALIFIED.search(cell):
        return "the name holds a qualifier; give the name of the rank that is sure"
    if _ABBREVIATED.search(cell) and not re.search(r"\s(subsp|ssp|var|f)\.\s", cell):
        return "the name is abbreviated; the whole name is needed"
    if cell != " ".join(cell.split()):
        return "the name has white space too much"
    return ""


def is_json_object(cell: str) -> bool:
    """Whether a cell is a JSON object, as exifData is to be."""
    try:
        return isinstance(json.loads(cell), dict)
    except ValueError:
        return False
