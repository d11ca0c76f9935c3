"""Trace of merging: every row that is not in the catalog with its reason, and every label that another one replaced."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_training.catalog.evidence import Evidence, Standing
from bioclip_training.catalog.ledger import Ledger
from bioclip_training.catalog.merging.merge import Fate, Merged
from bioclip_training.catalog.reading import MISSING_IMAGE
from bioclip_training.catalog.writing import DraftReader

MERGED_COLUMNS = (
    "uri", "source", "label", "evidence", "other_uri", "other_source", "other_label", "other_evidence", "outcome", "reason",
)  # fmt: skip
"""Columns of the list of replaced labels: the label that counts and the other one, each with its image and its evidence."""
MERGED, WITHDRAWN, NO_TAXON, UNDECIDED = "merged", "withdrawn by a review", "no taxon", "undecided"
KINDS = {
    Fate.REPEATED: MERGED, Fate.OVERRULED: MERGED, Fate.OF_BOXES: MERGED, Fate.WITHDRAWN: WITHDRAWN, Fate.VERDICT: NO_TAXON,
    Fate.UNDECIDED: UNDECIDED, Fate.MISSING: MISSING_IMAGE,
}  # fmt: skip
"""Reasons by which rows are counted that are not in the catalog."""
_OUTCOMES = {
    Fate.REPEATED: "same label", Fate.OVERRULED: "replaced", Fate.OF_BOXES: "label of the whole image",
    Fate.WITHDRAWN: "withdrawn", Fate.VERDICT: "replaced", Fate.UNDECIDED: "undecided", Fate.KEPT: "replaced",
    Fate.MISSING: "no file",
}  # fmt: skip
_TOGETHER = 50_000


@dataclass(frozen=True, slots=True)
class Traced:
    """A row, and the one whose label counts instead of its own."""

    row: int
    kind: str
    """The reason in two words; empty for a row that stays with another label."""
    removed: list[str]
    """Cells of the list of removed rows, up to the name."""
    merged: list[str] | None
    """Cells of the list of replaced labels."""


class Trace:
    """Texts about the decisions on rows, read from the draft when they are needed."""

    def __init__(self, draft: DraftReader, ledger: Ledger, merged: Merged) -> None:
        self._draft, self._merged = draft, merged
        self._taxa, self._taxon_of_N = ledger.taxa, ledger.taxon_numbers
        self._said, self._people, self._verdicts = ledger.said, ledger.people, ledger.verdicts

    def evidence(self, row: int) -> Evidence:
        standing, first, last, by, verdict, _ = self._said[row].tolist()
        return Evidence(Standing(standing), first, last, self._people[by], self._verdicts[verdict])

    def label(self, row: int) -> str:
        """Return the name that a row states, or the verdict of a review."""
        verdict = int(self._said["verdict"][row])
        return self._verdicts[verdict] if verdict else self._taxa[self._taxon_of_N[row]].scientific_name

    def rows(self) -> NDArray[np.int64]:
        """Return the rows that are not in the catalog, or have the label of another one."""
        other = self._taxon_of_N[self._merged.label_of_N] != self._taxon_of_N
        return np.flatnonzero(~self._merged.kept_N | other)

    def traced(self, rows: NDArray[np.int64]) -> Iterator[Traced]:
        """Yield the texts of some rows, in their order."""
        for start in range(0, len(rows), _TOGETHER):
            here = rows[start : start + _TOGETHER]
            by = self._merged.by_of_N[here]
            label = self._merged.label_of_N[by]
            texts = self._draft.texts(np.concatenate([here, by, label]), ("uri", "source"))
            for row, stays, counts in zip(here.tolist(), by.tolist(), label.tolist(), strict=True):
                yield self._traced(row, stays, counts, texts)

    def _traced(self, row: int, stays: int, counts: int, texts: dict[int, tuple[str, ...]]) -> Traced:
        fate, evidence = Fate(self._merged.fate_of_N[row]), self.evidence(row)
        name = "" if evidence.verdict else self.label(row)
        reason = self._reason(fate, row, stays, counts, texts)
        removed = [*texts[row], KINDS.get(fate, ""), reason, name]
        if counts == row:  # a review, or the only statement about its image
            return Traced(row, KINDS.get(fate, ""), removed, None)
        winner = [texts[stays][0], texts[counts][1], self.label(counts), str(self.evidence(counts))]
        merged = [*winner, *texts[row], self.label(row), str(evidence), _OUTCOMES[fate], reason]
        return Traced(row, KINDS.get(fate, ""), removed, merged)

    def _reason(self, fate: Fate, row: int, stays: int, counts: int, texts: dict[int, tuple[str, ...]]) -> str:
        if fate is Fate.MISSING:
            return (
                "the file that was reviewed does not exist or has other bytes now, and no other source has a copy; "
                "--replace-prefix OLD=NEW finds files of moved folders, and `classify` reads changed ones again"
            )
        evidence, other = self.evidence(row), self.evidence(counts)
        said = f"{self.label(counts)!r} in {texts[counts][1]} ({other})"
        if fate is Fate.UNDECIDED:
            return f"contradicts {said}, of {texts[counts][0]}; neither comes before the other"
        if fate is Fate.WITHDRAWN:
            return f"the {other} in {texts[counts][1]} says {other.verdict}"
        if evidence.verdict:
            said = f"; {said} counts instead" if counts != row else ""
            return f"the review says {evidence.verdict}{said}"
        if fate is Fate.OF_BOXES:
            return f"the boxes of the image have labels of their own: {texts[stays][0]}"
        if counts == row and self._taxon_of_N[row] != self._taxon_of_N[stays]:
            return f"its label counts for {texts[stays][0]} of {texts[stays][1]}"
        if fate is Fate.REPEATED:
            return f"the same image as {texts[stays][0]} of {texts[stays][1]}, with the same label"
        return f"the {evidence} yields to {said}"


def write_trace(
    work: Path, trace: Trace, word_of_N: NDArray[Any], across_N: NDArray[np.bool_], across: str
) -> Path | None:
    """Add the rows that are not in the catalog to the list of removed rows, and list the labels that another one replaced.

    Args:
        across_N: rows that left training for an equal one that is held out, which have a reason of their own.
        across: that reason in two words.

    Returns:
        The list of replaced labels, if there is one.
    """
    file, count = work / "merged.csv", 0
    with (
        file.open("w", encoding="utf-8", newline="") as out,
        (work / "removed.csv").open("a", encoding="utf-8", newline="") as more,
    ):
        table, removed = csv.writer(out), csv.writer(more)
        table.writerow(MERGED_COLUMNS)
        for one in trace.traced(trace.rows()):
            uri, source, kind, reason, name = one.removed
            word = word_of_N[one.row]
            if across_N[one.row]:
                kind = across
            if kind:
                removed.writerow([uri, source, kind, reason, name, word])
            if one.merged is not None:
                table.writerow(one.merged)
                count += 1
    if not count:
        file.unlink()
        return None
    return file
