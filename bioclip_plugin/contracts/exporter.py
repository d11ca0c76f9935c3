"""The interface of an export format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem


class Exporter(Protocol):
    """One format that ``export --format`` takes and ``validate`` knows."""

    name: str
    """The name that ``--format`` takes."""
    description: str
    """One line for ``--help``."""
    folder: bool
    """True if it writes several files: into a folder, or a .zip of it."""

    def write(self, path: Path, export: Export) -> int:
        """Write the selected items and return the number of rows.

        The caller gives a draft beside the output (a file, or an empty folder), checks it when this returns, and renames it,
        so that an export is whole or absent. The same store must give the same bytes.

        Raises:
            BioclipError: for content that the format cannot hold and for a missing option, if possible before anything is
                written.
        """
        ...

    def recognises(self, path: Path) -> bool:
        """True if a file or folder is of this format, by its content."""
        ...

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        """Yield the problems of a file or folder of this format."""
        ...


@runtime_checkable
class SelectiveExporter(Protocol):
    """An exporter that states its options, so that one without effect is reported.

    One with the attribute ``names_deployments = True`` gets items with the deployment that camera and folder stand for; the
    others only those that a column, a table or a pattern names.
    """

    options: Collection[str]
    """Fields of :class:`ExportOptions` that it uses."""


@runtime_checkable
class FolderExporter(Protocol):
    """An exporter whose folders may be replaced with ``--force``; without this only an empty folder is filled."""

    files: Collection[str]
    """Names of all files that it may write. A folder that holds any other file is never replaced."""


@runtime_checkable
class NestedFolderExporter(Protocol):
    """An exporter of folders with folders in them, whose names depend on the data."""

    def others(self, path: Path) -> list[str]:
        """Return the files of a folder that would be lost if it is replaced, since no export wrote them as they are."""
        ...


@runtime_checkable
class RememberingExporter(Protocol):
    """An exporter that remembers its output for the next export."""

    def committed(self, export: Export) -> list[str]:
        """Called when the output has its name; returns lines for the user."""
        ...

    def abandoned(self, export: Export) -> None:
        """Called when the export failed."""
        ...
