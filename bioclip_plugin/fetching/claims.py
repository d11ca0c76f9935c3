"""Claims: a program that fetches an address says so by a file, so that no other one of the same folder fetches it meanwhile.

A claim is a courtesy, not a lock: whatever goes wrong with it, two programs fetch the same image, each into a draft of its own,
and the later rename wins.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from bioclip_core.files.leftovers import is_of_killed, mark
from bioclip_core.files.replacing import patiently, remove
from bioclip_plugin.fetching.cache import WORKING, DiskFault, made

BEAT_S = 5.0
"""Seconds after which a program touches its claims."""
_SILENT_S = 30.0
"""Seconds without a touch after which a claim is taken over: its program or machine is gone."""

_EMPTY_S = 2.0
"""The same for a claim without a name in it: its program was killed between two calls of the system."""

_ours: set[str] = set()
"""Claims of this process, of all fetchers."""
_lock = threading.Lock()


class Claims:
    """Claims in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / WORKING
        self._seen: dict[str, tuple[int, float]] = {}
        self._beat_at = time.monotonic()

    def take(self, key: str) -> bool:
        """Claim an address; False while another program has it.

        Raises:
            DiskFault: if the system refuses to write.
        """
        path = self._folder / f"{key}.claim"
        with _lock:
            if str(path) in _ours:
                return False
            if not self._made(path):
                if not self._is_left(path):
                    return False
                with suppress(OSError):
                    path.unlink()
                if not self._made(path):
                    return False
            _ours.add(str(path))
            self._seen.pop(key, None)
            return True

    @staticmethod
    def _made(path: Path) -> bool:
        try:
            with patiently(
                lambda: made(path, lambda: path.open("x", encoding="ascii"))
            ) as file:  # Windows: the last one is still being removed
                file.write(mark())
        except FileExistsError:
            return False
        except OSError as error:
            with suppress(OSError):  # an empty claim on a full disk
                path.unlink(missing_ok=True)
            raise DiskFault(error.errno, error.strerror, str(path)) from error
        return True

    def _is_left(self, path: Path) -> bool:
        """True for a claim of a program that is gone."""
        try:
            owner, touched = path.read_text("ascii", "replace"), path.stat().st_mtime_ns
        except OSError:
            return True
        if owner == mark() or is_of_killed(owner):  # ours, but not held: an earlier program had the same number
            return True
        # The clocks of machines that share a folder differ, so only changes are observed, by our own clock.
        now = time.monotonic()
        before, since = self._seen.setdefault(path.stem, (touched, now))
        if before != touched:
            self._seen[path.stem] = (touched, now)
            return False
        return now - since > (_SILENT_S if owner else _EMPTY_S)

    def release(self, key: str) -> None:
        """Give an address up."""
        path = self._folder / f"{key}.claim"
        with _lock:
            if str(path) in _ours:
                _ours.discard(str(path))
                with suppress(OSError):
                    remove(path)

    def beat(self) -> None:
        """Touch the claims of this program now and then, so that others see that it lives."""
        now = time.monotonic()
        if now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        with _lock:
            ours = [path for path in _ours if Path(path).parent == self._folder]
        for path in ours:
            with suppress(OSError):
                os.utime(path)
