"""Search in a label set by parts of scientific and common names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet


def find_labels(labels: LabelSet, text: str) -> list[tuple[str, int, int]]:
    """Find the taxa with a text in their names, in any letter case.

    A species is found by its epithet, by parts of both words of its binomial ("acer palm"), and by its common name.

    Returns:
        Level, first row and number of rows of each: whole names first, then beginnings of names or words, then other parts.
    """
    wanted = " ".join(text.lower().split())
    found = []
    for order, level in enumerate(labels.levels if wanted else ()):
        spans = labels.spans(level)
        for place in np.flatnonzero(_matches(labels, level, wanted)):
            start, stop = int(spans.starts_S[place]), int(spans.ends_S[place])
            found.append((_distance(labels, level, start, wanted), order, start, stop - start))
    return [(labels.levels[order], start, rows) for _, order, start, rows in sorted(found)]


def _matches(labels: LabelSet, level: str, wanted: str) -> NDArray[np.bool_]:
    """Return True for each span of a level with the text in a name that belongs to this level."""
    spans = labels.spans(level)

    def has(column: str, text: str) -> NDArray[np.bool_]:
        names = labels.column(column).dictionary.to_pylist()
        codes = [code for code, name in enumerate(names) if name and text in name.lower()]
        return np.isin(labels.codes(column)[spans.starts_S], codes)

    if level not in ("species", "label"):
        return has(level, wanted) & spans.named_S
    matches = has("common_name", wanted)
    if level == "species":
        first, _, rest = wanted.partition(" ")
        scientific = has("species", wanted)
        if rest:
            scientific |= has("genus", first) & has("species", rest)
        matches |= scientific & spans.named_S
    return matches


def _distance(labels: LabelSet, level: str, row: int, wanted: str) -> int:
    """Return 0 for a whole name, 1 for the beginning of a name or of a word in it, 2 for another part."""
    taxon, _ = labels.taxon_at(row, level)
    names = [name.lower() for name in (taxon.scientific_name, taxon.common_name) if name]
    if wanted in names:
        return 0
    return 1 if any(f" {wanted}" in f" {name}" for name in names) else 2
