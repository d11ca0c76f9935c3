"""Finding of a check: the place, the fault and the value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning about a file."""

    file: str
    """Name of the file; for a package the name of the file inside it."""
    record: str
    """Part of the file: ``images[3] cam1/IMG_0004.JPG``, ``line 7``; empty for the file as a whole."""
    message: str
    """The fault and the allowed values, as a sentence."""
    value: str = ""
    """The value as given in the file."""
    severity: Severity = "error"
    """A warning does not make the file invalid."""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.record) if part)
        given = f" (given: {self.value})" if self.value else ""
        return f"{where}: {self.message}{given}"
