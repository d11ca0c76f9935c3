"""Attempts at a shard: how often its worker was lost, and at which image, so that no image ends one worker after another."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.files.documents import parse_document
from bioclip_plugin.engines.folder import WorkFolder

CAREFUL_AFTER = 2
"""Lost workers after which a shard is worked on image by image, with a note before each."""
FATAL_AFTER = 2
"""Workers lost at one noted image, after which it is a failure and not tried again."""
MOST_LOST = 20
"""Lost workers after which a shard is given up until the command is given again."""


class Attempts:
    """The attempts at one shard, a line each in a small file that only the worker with the claim writes."""

    def __init__(self, folder: Path, shard: str) -> None:
        """Read the earlier attempts.

        Args:
            folder: the work folder.
            shard: its id.
        """
        self._folder, self._path = WorkFolder(folder), folder / "attempts" / shard[:2] / f"{shard}.jsonl"
        self.lost = 0
        """Workers that were lost while they worked on the shard."""
        self._at: Counter[int] = Counter()
        self._read()

    @property
    def is_careful(self) -> bool:
        """True if the images are to be worked on one by one."""
        return self.lost >= CAREFUL_AFTER

    @property
    def is_hopeless(self) -> bool:
        """True if too many workers were lost."""
        return self.lost >= MOST_LOST

    @property
    def fatal(self) -> dict[int, int]:
        """The numbers of items that ended workers, with the number of workers."""
        return {item: times for item, times in self._at.items() if times >= FATAL_AFTER}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Note an attempt; one that ends by an error of Python or by a signal is not a loss."""
        try:
            self._write({"began": f"{platform.node()} {os.getpid()}"})
            yield
        except BaseException:
            try:
                self._write({"ended": True})
            except BioclipError:  # a full disk, on which a file can still be removed
                self.forget()
            raise
        with suppress(OSError):
            self._path.unlink()

    def note(self, item: int) -> None:
        """Note the item that is worked on from now on."""
        self._write({"at": item})

    def forget(self) -> None:
        """Forget the attempts: the shard gets as many again."""
        with suppress(OSError):
            self._path.unlink()
        self.lost, self._at = 0, Counter()

    def _read(self) -> None:
        at: int | None = None
        is_open = False
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return
        for line in lines:
            with suppress(ValueError):  # its worker was killed while it wrote
                noted = parse_document(line, dict[str, Any], name="attempt", error=ValueError)
                if "began" in noted:
                    self._count(at, is_lost=is_open)
                    is_open, at = True, None
                elif "ended" in noted:
                    is_open = False
                elif isinstance(noted.get("at"), int):
                    at = noted["at"]
        self._count(at, is_lost=is_open)

    def _count(self, at: int | None, *, is_lost: bool) -> None:
        if is_lost:
            self.lost += 1
            if at is not None:
                self._at[at] += 1

    def _write(self, value: dict[str, Any]) -> None:
        with self._folder.writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")
                file.flush()
                os.fsync(file.fileno())
