"""The record of a training run: a line of JSON a step and a validation, and the list of samples that could not be read."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from bioclip_core.files.whole import write_whole


class Journal:
    """``metrics.jsonl`` and ``quarantine.csv`` of one run; a resumed run goes on in them without a step twice."""

    def __init__(self, metrics: Path, quarantine: Path, *, enabled: bool) -> None:
        self._metrics = metrics
        self._quarantine = quarantine
        self._enabled = enabled
        self._lines: list[str] = []
        self._known: set[str] = set()
        if quarantine.is_file():
            with quarantine.open(newline="", encoding="utf-8") as file:
                self._known = {row["sample"] for row in csv.DictReader(file)}

    @property
    def quarantined_samples(self) -> int:
        return len(self._known)

    def step(self, **values: Any) -> None:
        """Write down one step; it reaches the disk with the next state, or soon."""
        self._write({"kind": "step", **values})

    def validation(self, **values: Any) -> None:
        """Write down one validation."""
        self._write({"kind": "validation", **values})
        self.flush()

    def _write(self, line: dict[str, Any]) -> None:
        if self._enabled:
            self._lines.append(json.dumps({key: value for key, value in line.items() if value is not None}))
            if len(self._lines) >= 20:
                self.flush()

    def flush(self) -> None:
        """Put what is written down on the disk."""
        if self._lines:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write("".join(line + "\n" for line in self._lines))
            self._lines.clear()

    def cut_after(self, step: int) -> None:
        """Forget what was written down after a step: it is going to be done again. A line that was cut off by a kill goes too."""
        self.flush()
        if not self._enabled or not self._metrics.is_file():
            return
        kept = [line for line in self._metrics.read_text("utf-8").splitlines() if _is_until(line, step)]
        write_whole(self._metrics, "".join(line + "\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """Everything written down so far."""
        self.flush()
        if not self._metrics.is_file():
            return []
        return [json.loads(line) for line in self._metrics.read_text("utf-8").splitlines()]

    def quarantined(self, key: str, reason: str) -> bool:
        """List a sample with the reason; whether it was not listed yet."""
        if key in self._known:
            return False
        self._known.add(key)
        if self._enabled:
            begins = not self._quarantine.is_file()
            with self._quarantine.open("a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if begins:
                    writer.writerow(["sample", "reason"])
                writer.writerow([key, reason])
        return True


def _is_until(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError):
        return False
