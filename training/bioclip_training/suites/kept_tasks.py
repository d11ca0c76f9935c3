"""Finished tasks of a set that takes long, one small file each, so that an interrupted run continues within the set."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.files.documents import read_document
from bioclip_core.files.replacing import remove_tree
from bioclip_core.files.whole import write_whole


@dataclass(frozen=True, slots=True)
class KeptTasks:
    """A folder of finished tasks; files with another key are of other images, settings or weights and are not read."""

    folder: Path
    key: str
    """Id of everything that decides the set's result."""

    def read(self, number: int) -> dict[str, Any] | None:
        """Return what a finished task left; None for one that is not finished."""
        with suppress(BioclipError):
            held = read_document(self._file(number), dict[str, Any], name="task")
            if held.pop("key", None) == self.key:
                return held
        return None

    def write(self, number: int, values: dict[str, Any]) -> None:
        """Keep what a task gave; may be called from several threads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._file(number), json.dumps({"key": self.key, **values}, allow_nan=False) + "\n")

    def clear(self) -> None:
        """Remove the folder: the set is finished."""
        if self.folder.is_dir():
            remove_tree(self.folder)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.json"
