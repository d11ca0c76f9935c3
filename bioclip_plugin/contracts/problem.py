"""What a check finds in a file: where, what, and the value that is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file, or may be."""

    file: str
    """The file's name; for a package the name of the file inside it."""
    record: str
    """Which part of it: ``images[3] cam1/IMG_0004.JPG``, ``line 7``; empty for the file as a whole."""
    message: str
    """What is wrong and what is allowed, as a sentence."""
    value: str = ""
    """The value as it stands there."""
    severity: Severity = "error"
    """A warning does not make the file invalid."""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.record) if part)
        given = f" (given: {self.value})" if self.value else ""
        return f"{where}: {self.message}{given}"
