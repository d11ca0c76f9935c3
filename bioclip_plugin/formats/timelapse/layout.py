"""The columns of Timelapse's tables, and the image that a row names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bioclip_core.cells import column_name
from bioclip_plugin.formats.shared.exported import has_events, is_exported

NEEDED = ("File",)
"""Heading of the images' names."""
FIELDS = ("File", "RelativePath", "RootFolder", "Folder", "DateTime", "Date", "Time")
"""The columns of Timelapse that a column may be read as."""
FOLDERS = ("rootfolder", "folder")
"""Columns of the folder that holds all images of a project."""
_TIMES = frozenset({"datetime", "date"})
# The columns of every export, whatever columns the project defines.
STANDARD = frozenset(
    ("file", "relativepath", *FOLDERS, "datetime", "date", "time", "utcoffset", "deleteflag", "imagequality", "id")
)
"""Columns of every table of Timelapse, whatever columns the project defines."""


def is_timelapse(header: Collection[str]) -> bool:
    """Return True if a table's columns are those of a Timelapse export."""
    if is_exported(header) or has_events(header):  # has these columns too
        return False
    names = {column_name(name) for name in header}
    has_folder = bool(names & {*FOLDERS})
    return "file" in names and (
        "relativepath" in names or {"datetime", "deleteflag"} <= names or (has_folder and bool(names & _TIMES))
    )


def image_of(cells: Mapping[str, Any]) -> str:
    """Return the image's path below the project's folder, with forward slashes."""
    parts = [str(cells.get(name, "")).strip().replace("\\", "/").strip("/") for name in ("relativepath", "file")]
    return "/".join(part for part in parts if part)
