r"""Names of files on systems with drives and shares: relative names, and the names that Windows writes, read anywhere.

A name of Windows begins with a drive (``C:\``), a share (``\\server\share``) or the mark of a long path (``\\?\C:\``).
"""

from __future__ import annotations

import codecs
import os
import re
from pathlib import PurePath
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from bioclip_core.process import system

_LONG = re.compile(r"[\\/]{2}\?[\\/](UNC[\\/])?", re.IGNORECASE)
_OF_WINDOWS = re.compile(r"[A-Za-z]:[/\\]|\\\\")
DEVICES = re.compile(
    r"(?:con|prn|aux|nul|com[\d¹²³]|lpt[\d¹²³]|conin\$|conout\$) *(?:\..*)?", re.IGNORECASE | re.DOTALL
)
"""Names of devices, which no file of Windows can have, with any suffix."""
_IMPOSSIBLE = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]\Z')
_OF_DRIVE = re.compile(r"/?([A-Za-z])[:|](?=[/\\])")


def relative(path: str | os.PathLike[str], start: str | os.PathLike[str] = os.curdir) -> str | None:
    """Return a path as seen from a folder; None if it is on another drive of Windows."""
    try:
        return os.path.relpath(path, start)
    except ValueError:
        return None


def is_name_of_windows(name: str) -> bool:
    r"""True for an absolute name as Windows writes it.

    >>> is_name_of_windows("C:/x"), is_name_of_windows("\\\\server\\share\\x"), is_name_of_windows("/x")
    (True, True, False)
    """
    return _OF_WINDOWS.match(name) is not None


def without_long_mark(name: str) -> str:
    r"""Return a name without the mark of a long path, which other programs and systems do not read.

    >>> print(without_long_mark("\\\\?\\C:\\x"), without_long_mark("\\\\?\\UNC\\server\\share\\x"))
    C:\x \\server\share\x
    """
    found = _LONG.match(name)
    if found is None:
        return name
    return ("\\\\" if found[1] else "") + name[found.end() :]


def possible_on_windows(name: str) -> str:
    """Return the name of one file or folder, with escapes for what Windows refuses or takes for something else.

    >>> possible_on_windows("a:b.jpg"), possible_on_windows("aux.jpg"), possible_on_windows("x. "), possible_on_windows("é.jpg")
    ('a%3Ab.jpg', '%61ux.jpg', 'x.%20', 'é.jpg')
    """
    if DEVICES.fullmatch(name):
        return f"%{ord(name[0]):02X}{name[1:]}"
    return _IMPOSSIBLE.sub(lambda found: f"%{ord(found[0]):02X}", name)


def name_of_bytes(name: bytes) -> str:
    """Return a file's name from its bytes; those that are not UTF-8 become surrogates, on Windows too, where Python raises."""
    try:
        return os.fsdecode(name)
    except UnicodeDecodeError:
        return name.decode("utf-8", "surrogateescape")


def name_from_pipe(line: bytes) -> str:
    """Return a file's name that another program sent.

    Programs of Windows write in UTF-8, with or without a mark, or in the code page of the console or the system; the first of
    these in which the file exists is taken.
    """
    if not system.is_windows():
        return os.fsdecode(line)
    line = line.removeprefix(codecs.BOM_UTF8)
    for encoding in ("utf-8", "oem", "mbcs"):
        try:
            name = line.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if line.isascii() or os.path.lexists(name):
            return name
    return name_of_bytes(line)


def name_of_file_address(address: str) -> str:
    r"""Return the name of the file that a ``file:`` address names; the same one on every system for a file of Windows.

    >>> name_of_file_address("file:///C:/my%20photos/a.jpg"), print(name_of_file_address("file://server/share/a.jpg"))
    \\server\share\a.jpg
    ('C:/my photos/a.jpg', None)
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # [ in the wrong place: a file of that name is looked for, and there is none
        return address
    path = unquote(parts.path)
    if parts.netloc and parts.netloc.lower() != "localhost":
        return f"\\\\{parts.netloc}{path}".replace("/", "\\")
    if drive := _OF_DRIVE.match(path):
        return f"{drive[1]}:{path[drive.end() :]}"
    return url2pathname(parts.path)


def sqlite_address(file: PurePath, options: str) -> str:
    """Return the address that SQLite takes for a file that is named with its whole path, with options."""
    kind = type(file)
    plain = kind(without_long_mark(str(file))) if system.is_windows() else file
    address = plain.as_uri()
    if not address.startswith(
        "file:///"
    ):  # a share: SQLite takes the name of its server for an authority and refuses it
        address = f"file:////{address.removeprefix('file://')}"
    return f"{address}?{options}"
