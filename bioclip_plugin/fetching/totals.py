"""Totals of a fetcher: images fetched, from the cache and failed, with the reasons."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator

from bioclip_core.next_commands import PROGRAM, shell_line
from bioclip_core.progress import duration

_REASONS_KEPT = 1_000
_NUMBER = re.compile(r"\d[\d,.]*")


class Totals:
    """Counts that several threads add to; memory does not grow with the number of addresses."""

    def __init__(self) -> None:
        self.fetched = 0
        self.fetched_bytes = 0
        self.from_cache = 0
        self.failures = 0
        self.waited_s = 0.0
        """Seconds that hosts asked to wait."""
        self._reasons: Counter[tuple[str, str]] = Counter()
        self._firsts: dict[tuple[str, str], str] = {}
        self._several: set[tuple[str, str]] = set()
        """Those whose reasons are not all equal."""
        self._lock = threading.Lock()

    def got(self, size: int, *, from_cache: bool) -> None:
        """Count an image."""
        with self._lock:
            if from_cache:
                self.from_cache += 1
            else:
                self.fetched += 1
                self.fetched_bytes += size

    def failed(self, host: str, reason: str) -> None:
        """Count a failure by its host and its reason; numbers, except for the HTTP status, make no other reason."""
        status = reason[:4] if re.match(r"\d{3} ", reason) else ""
        key = (host, status + _NUMBER.sub("N", reason[len(status) :]))
        with self._lock:
            self.failures += 1
            if key not in self._reasons and len(self._reasons) >= _REASONS_KEPT:
                key, reason = ("", "other"), "other reasons"
            if self._firsts.setdefault(key, reason) != reason:
                self._several.add(key)
            self._reasons[key] += 1

    def lines(self, folder: str | os.PathLike[str] = "FOLDER") -> Iterator[str]:
        """Yield the totals in words, the most frequent reasons of failures first; the folder is named in a command that lists all."""
        with self._lock:
            reasons = self._reasons.most_common(20)
            shown = sum(count for _, count in reasons)
            yield (
                f"Images by address: {self.fetched:,} fetched ({_size(self.fetched_bytes)}), {self.from_cache:,} from the folder, "
                f"{self.failures:,} failed"
                + (f"; waited {duration(self.waited_s)} for hosts" if self.waited_s >= 1 else "")
            )
            for key, count in reasons:
                first = self._firsts[key]
                at = f" at {key[0]}" if key[0] and key[0] not in first else ""
                like = " (and the like)" if key in self._several else ""
                yield f"  {count:,} failed{at}: {first}{like}"
            if shown < self.failures:
                listing = shell_line([PROGRAM, "fetch", "manifest", os.fspath(folder), "--failed"])
                yield f"  {self.failures - shown:,} failed for other reasons; the addresses with their reasons: {listing}"


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
