"""Counts of the rows that were read, and of those that are not in the catalog, by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bioclip_core.errors import SourceError
from bioclip_training.catalog.reading import NAME_KINDS


@dataclass(slots=True)
class Skipped:
    """Counts while a catalog is built."""

    counts: Counter[str]
    """Rows that were read, and some of their properties."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Rows that are not in the catalog, by the reason in two words."""
    first: dict[str, str] = field(default_factory=dict)
    """The first row of each reason."""

    def add(self, kind: str, uri: str, reason: str) -> None:
        """Count one row."""
        self.kinds[kind] += 1
        self.first.setdefault(kind, f"{uri}: {reason}")

    def facts(self) -> dict[str, Any]:
        """Return what is stored with the catalog."""
        # Without their folders, so that equal sources give equal bytes.
        unnamed = {kind: text.rpartition("/")[2] for kind, text in sorted(self.first.items()) if kind in NAME_KINDS}
        return {**self.counts, **({"left_out_first": unnamed} if unnamed else {})}

    def nothing_left(self) -> SourceError:
        """Return the error of a collection without a usable row."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return SourceError(
            f"none of {self.counts['rows_read']} rows can be used ({kinds}); the first of each kind: {'; '.join(self.first.values())}"
        )
