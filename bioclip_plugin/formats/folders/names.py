"""Names of folders and files that are allowed on every system, each one once in its folder."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from bioclip_core.files.drives import DEVICES
from bioclip_core.files.scratch import Scratch

VERDICT_FOLDERS = {
    "blank": "blank", "person": "person", "vehicle": "vehicle", "unknown": "unknown", "": "unknown", "failed": "failures",
    "todo": "not_processed",
}  # fmt: skip
"""Folders of images without a taxon; no taxon has one of these names."""
_LONGEST = 150  # bytes: a folder, a name and the user's own path together stay below the limits of Windows and Linux
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]')


def safe_name(text: str) -> str:
    """Return a name that Windows, macOS and Linux allow: without their special characters, names of devices, and hidden files.

    >>> safe_name("Aus bus/cus"), safe_name("con.jpg"), safe_name("Canis sp."), safe_name("..")
    ('Aus bus_cus', '_con.jpg', 'Canis sp', 'unnamed')
    """
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text)).strip().rstrip(". ")
    name = f"_{name}" if name.startswith(".") or DEVICES.fullmatch(name) else name
    stem, dot, suffix = name.rpartition(".")
    ending = f".{suffix}" if dot and stem and len(suffix.encode()) <= 10 else ""
    if len(name.encode()) > _LONGEST:
        name = f"{_cut(name.removesuffix(ending), _LONGEST - len(ending.encode()) - 9)}~{_digest(text)}{ending}"
    return name or "unnamed"


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore").rstrip(". ")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


class Names(Scratch):
    """Names that are given out, on disk. Names that differ only in letter case are the same file on many disks."""

    def __init__(self) -> None:
        super().__init__(
            "CREATE TABLE given (folder TEXT, name TEXT, subject TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;"
        )
        for folder in set(VERDICT_FOLDERS.values()):
            self._take("", folder, "")

    def folder(self, taxon: str) -> str:
        """Return the folder of a taxon, which no other taxon has."""
        return self._unique("", taxon, taxon)

    def file(self, folder: str, relative: str, uri: str) -> str:
        """Return the name of a file in a folder: its path with two underscores for each slash.

        Args:
            folder: the folder.
            relative: path of the image below a common folder, with forward slashes.
            uri: the image, which tells it from others of that name.
        """
        return self._unique(folder, "__".join(part for part in relative.split("/") if part not in ("", ".", "..")), uri)

    def _unique(self, folder: str, text: str, subject: str) -> str:
        name = safe_name(text)
        if self._take(folder, name, subject):
            return name
        stem, dot, suffix = name.rpartition(".") if folder else (name, "", "")
        stem, suffix = (stem, suffix) if stem else (name, "")
        name = f"{stem}~{_digest(subject)}{dot if suffix else ''}{suffix}"
        self._take(folder, name, subject)
        return name

    def _take(self, folder: str, name: str, subject: str) -> bool:
        """Give a name to a subject, and return False if another subject has it."""
        key = (folder.casefold(), unicodedata.normalize("NFC", name).casefold())
        self._database.execute("INSERT OR IGNORE INTO given VALUES (?, ?, ?)", (*key, subject))
        (owner,) = self._database.execute("SELECT subject FROM given WHERE folder = ? AND name = ?", key).fetchone()
        return bool(owner == subject)
