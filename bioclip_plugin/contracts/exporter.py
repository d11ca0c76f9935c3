"""Formats that go out: what an exporter is given, what it is, and the built-in ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export


class Exporter(Protocol):
    """One format that ``export --format`` takes and ``validate`` knows."""

    name: str
    """What ``--format`` is given."""
    description: str
    """One line for ``--help``."""
    folder: bool
    """Whether it writes several files: into a folder, or a .zip of it."""

    def write(self, path: Path, export: Export) -> int:
        """Write what was selected and return how many rows that were.

        The caller gives a draft beside the wanted place (a file, or a folder that is there and empty), checks it when this
        returns, and renames it, so an export is whole or not there. The same store must give the same bytes.

        Raises:
            BioclipError: for something that the format cannot hold or needs to be told, before anything is written where
                it can be known.
        """
        ...

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder is of this format, by its content."""
        ...

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        """What is wrong with a file or folder of this format."""
        ...


@runtime_checkable
class FolderExporter(Protocol):
    """An exporter whose folders may be replaced with ``--force``; without this only an empty folder is filled."""

    files: Collection[str]
    """The names of all files that it may write. A folder that holds anything else is never replaced."""


@runtime_checkable
class RememberingExporter(Protocol):
    """An exporter that remembers what went out, for the next time."""

    def committed(self, export: Export) -> list[str]:
        """Called when the output has its name; lines for the person."""
        ...

    def abandoned(self, export: Export) -> None:
        """Called when the export did not come about."""
        ...
