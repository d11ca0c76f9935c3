"""The record of a training run: one line of JSON per step and per validation, and the list of unreadable samples."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError, first_line
from bioclip_core.files.whole import write_whole

_LINES_IN_MEMORY = 20  # steps that a kill may lose; a resumed run does them again


class Journal:
    """``metrics.jsonl`` and ``quarantine.csv`` of one run; a resumed run continues them without repeating a step."""

    def __init__(self, metrics: Path, quarantine: Path, *, enabled: bool) -> None:
        self._metrics, self._quarantine, self._enabled = metrics, quarantine, enabled
        self._lines: list[str] = []
        self._known: set[str] = set()
        if quarantine.is_file():
            try:
                with quarantine.open(newline="", encoding="utf-8") as file:
                    self._known = {row["sample"] for row in csv.DictReader(file)}
            except (csv.Error, KeyError, UnicodeDecodeError, OSError) as error:
                raise DataError(
                    f"{quarantine} is not the list of samples that this run could not read: {first_line(error)}; "
                    "remove it, and the run begins a new one"
                ) from error

    @property
    def quarantined_samples(self) -> int:
        return len(self._known)

    def write(self, kind: str, **values: Any) -> None:
        """Record one ``step`` or ``validation``; values of None are left out."""
        if self._enabled:
            line = {"kind": kind, **{key: value for key, value in values.items() if value is not None}}
            self._lines.append(json.dumps(line) + "\n")
            if len(self._lines) >= _LINES_IN_MEMORY:
                self.flush()

    def flush(self) -> None:
        """Write the recorded lines to the disk."""
        if self._lines:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.writelines(self._lines)
            self._lines.clear()

    def cut_after(self, step: int) -> None:
        """Remove the lines after a step, which the run is about to repeat, and any line that a kill cut off."""
        self.flush()
        if self._enabled and self._metrics.is_file():
            lines = self._metrics.read_text("utf-8", "replace").splitlines()
            write_whole(self._metrics, "".join(line + "\n" for line in lines if _is_until(line, step)))

    def lines(self) -> list[dict[str, Any]]:
        """Return everything recorded so far."""
        self.flush()
        text = self._metrics.read_text("utf-8", "replace") if self._metrics.is_file() else ""
        return [found for line in text.splitlines() if (found := _parsed(line)) is not None]

    def quarantine(self, key: str, reason: str) -> bool:
        """List an unreadable sample with the reason; return True if it was not listed yet."""
        if key in self._known:
            return False
        self._known.add(key)
        if self._enabled:
            is_new = not self._quarantine.is_file()
            with self._quarantine.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([*([["sample", "reason"]] if is_new else []), [key, reason]])
        return True


def _is_until(line: str, step: int) -> bool:
    found = _parsed(line)
    return found is not None and found["step"] <= step


def _parsed(line: str) -> dict[str, Any] | None:
    """Return a line's values; None for a line that a kill cut off. A loss may be NaN, which is no JSON for other readers."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and type(found.get("step")) is int else None
