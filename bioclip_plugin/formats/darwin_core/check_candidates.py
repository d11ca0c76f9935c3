"""Checks of the candidates that stand beside our identifications."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.darwin_core.profile import CANDIDATE_COLUMNS, CANDIDATES

_LINE_CHARACTERS = 1 << 20


def check_candidates(folder: Path, has_identification: Callable[[str], bool], *, knows: bool) -> Iterator[Problem]:
    """Columns, probabilities in order, and ids that meet; nothing where an archive has no such file.

    Args:
        has_identification: whether the archive has an identification of this id.
        knows: whether the archive has identifications at all.
    """
    path = folder / CANDIDATES
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        header = tuple(file.readline(_LINE_CHARACTERS).rstrip("\n").split("\t"))
        if header != CANDIDATE_COLUMNS:
            yield Problem(
                CANDIDATES, "line 1", f"the columns must be {', '.join(CANDIDATE_COLUMNS)}", ", ".join(header)[:200]
            )
            return
        before: tuple[tuple[str, ...], float] | None = None
        for number, line in enumerate(iter(lambda: file.readline(_LINE_CHARACTERS), ""), start=2):
            cells = dict(zip(CANDIDATE_COLUMNS, line.rstrip("\n").split("\t"), strict=False))
            if len(cells) != len(CANDIDATE_COLUMNS):
                yield Problem(
                    CANDIDATES, f"line {number}", f"it has {len(cells)} columns; needed are {len(CANDIDATE_COLUMNS)}"
                )
                continue
            probability = _probability(cells["probability"])
            if probability is None:
                yield Problem(
                    CANDIDATES, f"line {number}", "probability must be a number from 0 to 1", cells["probability"]
                )
                continue
            same = (cells["mediaID"], cells["level"])
            if before is not None and before[0] == same and probability > before[1] + 1e-6:
                yield Problem(
                    CANDIDATES,
                    f"line {number}",
                    "candidates must come with the most probable first",
                    cells["probability"],
                )
            before = same, probability
            name = cells["identificationID"]
            if name and knows and not has_identification(name):
                yield Problem(
                    CANDIDATES,
                    f"line {number}",
                    "identificationID points nowhere: there is no such identification",
                    name,
                )


def _probability(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= 1 else None
