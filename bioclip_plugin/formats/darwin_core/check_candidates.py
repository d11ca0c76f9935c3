"""Checks of the candidates that our exports hold beside the identifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bioclip_core.cells import number_of
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.darwin_core.profile import CANDIDATE_COLUMNS, CANDIDATES

_LINE_CHARACTERS = 1 << 20


def check_candidates(folder: Path, has_identification: Callable[[str], bool], *, knows: bool) -> Iterator[Problem]:
    """Check columns, the order of probabilities and the ids; without the file there are no problems.

    Args:
        folder: of the archive.
        has_identification: True for the id of an identification of the archive.
        knows: True if the archive has a table of identifications.
    """
    path = folder / CANDIDATES
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        header = tuple(file.readline(_LINE_CHARACTERS).rstrip("\n").split("\t"))
        if header != CANDIDATE_COLUMNS:
            message = f"the columns must be {', '.join(CANDIDATE_COLUMNS)}"
            yield Problem(CANDIDATES, "line 1", message, ", ".join(header)[:200])
            return
        before: tuple[str, str, float] = ("", "", 1.0)
        for number, line in enumerate(iter(lambda: file.readline(_LINE_CHARACTERS), ""), start=2):
            cells = dict(zip(CANDIDATE_COLUMNS, line.rstrip("\n").split("\t"), strict=False))
            probability = number_of(cells.get("probability"))
            where, name = f"line {number}", cells.get("identificationID")
            if len(cells) != len(CANDIDATE_COLUMNS):
                message = f"it has {len(cells)} columns; needed are {len(CANDIDATE_COLUMNS)}"
                yield Problem(CANDIDATES, where, message)
                continue
            if probability is None or not 0 <= probability <= 1:
                yield Problem(CANDIDATES, where, "probability must be a number from 0 to 1", cells["probability"])
                continue
            if before[:2] == (cells["mediaID"], cells["level"]) and probability > before[2] + 1e-6:
                message = "candidates must be in order, the most probable first"
                yield Problem(CANDIDATES, where, message, cells["probability"])
            before = cells["mediaID"], cells["level"], probability
            if name and knows and not has_identification(name):
                message = "identificationID points nowhere: the archive does not have this identification"
                yield Problem(CANDIDATES, where, message, name)
