"""Attempts at a shard: how often its worker was lost, and at which image, so that no image ends one worker after another."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bioclip_core.errors import BioclipError
from bioclip_core.files.documents import parse_document
from bioclip_core.files.leftovers import is_of_killed, mark
from bioclip_plugin.engines.folder import WorkFolder

CAREFUL_AFTER = 2
"""Lost workers after which a shard is worked on image by image, with a note before each."""
FATAL_AFTER = 2
"""Workers lost at one noted image, after which it is a failure and not tried again."""
MOST_LOST = 20
"""Lost workers after which a shard is given up until the command is given again."""


class Attempts:
    """The attempts at one shard, a line each in a small file that the workers at it add to."""

    def __init__(self, folder: Path, shard: str, *, is_alone: bool = True) -> None:
        """Read the earlier attempts.

        Args:
            folder: the work folder.
            shard: its id.
            is_alone: True if no other worker can be at the shard, so that attempts without an end are lost. Without locks some may
                go on: only those of this machine whose process has ended count then.
        """
        self._folder, self._path = WorkFolder(folder), folder / "attempts" / shard[:2] / f"{shard}.jsonl"
        self._is_alone = is_alone
        self.lost = 0
        """Workers that were lost while they worked on the shard."""
        self._at: Counter[int] = Counter()
        self._read()

    @property
    def is_careful(self) -> bool:
        """True if the images are to be worked on one by one."""
        return self.lost >= CAREFUL_AFTER or bool(self.fatal)

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
            self._write({"began": mark()})
            yield
        except BaseException:
            try:
                self._write({"ended": mark()})
            except BioclipError:  # a full disk, on which a file can still be removed
                self._remove()
            raise
        self._remove()

    def note(self, item: int) -> None:
        """Note the item that is worked on from now on."""
        self._write({"at": item, "by": mark()})

    def forgive(self) -> None:
        """Give the shard as many attempts again. Items that ended workers stay noted, so that each round gets further."""
        known = self.fatal
        self._remove()
        for item, times in known.items():
            self._write({"fatal": item, "times": times})
        self.lost, self._at = 0, Counter(known)

    def _remove(self) -> None:
        with suppress(OSError):
            self._path.unlink()

    def _read(self) -> None:
        try:
            lines = self._path.read_text("utf-8", "replace").splitlines()
        except OSError:
            return
        at: dict[str, int | None] = {}  # by worker, while its attempt has not ended
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # its worker was killed while it wrote
                noted = parse_document(line, dict[str, Any], name="attempt", error=ValueError)
                if "began" in noted:
                    self._count_lost(at, began=noted["began"])
                    at[noted["began"]] = None
                elif "ended" in noted:
                    at.pop(noted["ended"], None)
                elif "at" in noted:
                    at[noted["by"]] = int(noted["at"])
                elif "fatal" in noted:
                    self._at[int(noted["fatal"])] += int(noted["times"])
        self._count_lost(at)

    def _count_lost(self, at: dict[str, int | None], *, began: str = "") -> None:
        """Count the attempts that cannot go on: with a later one beside it, or one that begins again, they have no end."""
        lost = [worker for worker in at if self._is_alone or worker == began or is_of_killed(worker)]
        for worker in lost:
            self.lost += 1
            item = at.pop(worker)
            if item is not None:
                self._at[item] += 1

    def _write(self, value: dict[str, Any]) -> None:
        with self._folder.writing():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")
                file.flush()
                os.fsync(file.fileno())
