"""The manifest of a folder of links: each file with its original, and the check of a folder by it."""

from __future__ import annotations

import csv
import io
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bioclip_core.files.archives import ARCHIVE_FAULTS
from bioclip_core.files.present import exists, is_folder
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.shared.exported import guarded, unguarded

MANIFEST = "manifest.csv"


class Entry(NamedTuple):
    """One file of a folder of links; all values as text."""

    path: str
    """Its place below the manifest's folder, with forward slashes."""
    name: str
    """The taxon or verdict."""
    rank: str
    probability: str
    link: str
    """``symlink``, ``hardlink`` or ``copy``."""
    uri: str
    """The image as the run lists it."""
    original: str
    """The absolute path of the original."""
    size: str
    """Bytes of the original."""
    modified_ns: str
    """Its time of modification in nanoseconds since 1970."""


def write_header(file: io.TextIOBase) -> None:
    """Write the names of the columns."""
    csv.writer(file).writerow(Entry._fields)


def write_entry(file: io.TextIOBase, entry: Entry) -> None:
    """Write one row."""
    csv.writer(file).writerow(map(guarded, entry))


def is_manifest(start: bytes) -> bool:
    """True if a file begins like a manifest."""
    return start.split(b"\n", 1)[0].strip() == ",".join(Entry._fields).encode()


def entries_in(text: io.TextIOBase) -> Iterator[tuple[int, Entry | None]]:
    """Yield the number of each row's last line with the row; None for one that cannot be read."""
    rows = csv.reader(text)
    next(rows, None)
    for cells in rows:
        yield rows.line_num, Entry(*map(unguarded, cells)) if len(cells) == len(Entry._fields) else None


def opened(folder: Path) -> io.TextIOWrapper:
    """Open the manifest of a folder."""
    return (folder / MANIFEST).open(encoding="utf-8", newline="")


def problems_of(path: Path) -> Iterator[Problem]:
    """Yield the differences between a folder, or a packed one, and its manifest."""
    try:
        yield from _problems_of_folder(path) if is_folder(path) else _problems_of_archive(path)
    except (csv.Error, KeyError, *ARCHIVE_FAULTS) as error:
        yield Problem(path.name, "", f"it cannot be read to its end: {error}")


def _problems_of_archive(path: Path) -> Iterator[Problem]:
    with (
        zipfile.ZipFile(path) as packed,
        packed.open(MANIFEST) as file,
        io.TextIOWrapper(file, "utf-8", newline="") as text,
    ):
        members = set(packed.namelist()) - {MANIFEST}
        for line, entry in entries_in(text):
            if entry is None or entry.path not in members:
                yield _problem(
                    line, "it has another number of cells" if entry is None else "the file is missing", entry
                )
            else:
                members.discard(entry.path)
        for member in sorted(members):
            yield Problem(path.name, member, "the manifest does not have this file", severity="warning")


def _problems_of_folder(folder: Path) -> Iterator[Problem]:
    listed = 0
    with opened(folder) as file:
        for line, entry in entries_in(file):
            if entry is None:
                yield _problem(line, "it has another number of cells", None)
            elif fault := _fault(folder, entry):
                yield _problem(line, *fault[:1], entry, is_error=fault[1])
            listed += entry is not None
    found = sum(1 for _ in _files(folder))
    if found > listed:
        yield Problem(folder.name, "", f"{found - listed} files are not in {MANIFEST}", severity="warning")


def _problem(line: int, message: str, entry: Entry | None, *, is_error: bool = True) -> Problem:
    return Problem(MANIFEST, f"line {line}", message, entry.path if entry else "", "error" if is_error else "warning")


def _fault(folder: Path, entry: Entry) -> tuple[str, bool] | None:
    """Return what is wrong with a file, and whether it is an error; None for a file as it was written."""
    parts = PurePosixPath(entry.path).parts
    if entry.path.startswith("/") or ".." in parts or len(parts) != 2:
        return "the path is not that of a file in a folder beside the manifest", True
    path = folder / entry.path
    if not os.path.lexists(path):
        return "the file is missing", True
    if path.is_symlink() != (entry.link == "symlink"):
        return f"the file is not a {entry.link}", True
    if not exists(path):
        return "the link's original is not there any more", False
    return None


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder but the manifest; links to folders are files too, since they are not followed."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from (Path(place) / name for name in (*names, *links) if Path(place) != folder or name != MANIFEST)


def others_in(folder: Path) -> list[str]:
    """Return the files of a folder that are not as an earlier export wrote them, and would be lost with it."""
    try:
        with opened(folder) as file:
            written = {entry.path: entry for _, entry in entries_in(file) if entry is not None}
    except (OSError, ValueError, csv.Error):
        written = {}
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    unknown = [name for name in names if name not in written or not _is_as_written(folder / name, written[name])]
    return unknown if written or not exists(folder / MANIFEST) else [MANIFEST, *unknown]


def _is_as_written(path: Path, entry: Entry) -> bool:
    state = path.lstat()
    if entry.link == "symlink":
        return stat.S_ISLNK(state.st_mode)
    if not stat.S_ISREG(state.st_mode):
        return False
    if entry.link == "hardlink" and state.st_nlink > 1:
        return True  # the original is the same file
    return (str(state.st_size), str(state.st_mtime_ns)) == (entry.size, entry.modified_ns)
