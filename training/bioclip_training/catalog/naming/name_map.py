"""The map of names: a table in which a person says what each refused name means; written by ``catalog build``, read by ``--map``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bioclip_core.cells import column_name, plain_cells
from bioclip_core.errors import DataError, SourceError
from bioclip_core.findings import Findings
from bioclip_core.names import NameKind, VerdictWord, clean_name, judge_name, parse_name, verdict_of_word
from bioclip_core.tables.reading import open_table
from bioclip_core.taxonomy import RANKS

MAP_COLUMNS = ("written_name", "map_to", "suggestion", "kind", "rows", "first_example", "reason")
_RANKS_ABOVE = tuple(rank.value for rank in RANKS[:5])
_KEEP = frozenset(("keep", "as written", "scientific"))
_SKIP = frozenset(("skip", "none", "leave out", "drop", "remove"))
_FAULTS_SHOWN = 20
_ALLOWED = "a scientific name, a verdict (blank, person, vehicle, unidentifiable), skip, keep (it is a scientific name), or plain"


@dataclass(slots=True)
class Decision:
    """One line of a map."""

    line: int
    written: str
    kind: Literal["name", "verdict", "keep", "plain"]
    text: str = ""
    """The scientific name, or the words of a plain label; empty for the written ones."""
    verdict: VerdictWord | None = None
    ranks: Mapping[str, str] = field(default_factory=dict)
    """Names of ranks above the genus, if the map has such columns."""
    is_used: bool = False


class NameMap:
    """A filled-in map. Names are compared without case, underscores and superfluous blanks."""

    def __init__(self, path: Path, *, plain_labels: bool = False) -> None:
        """Read a map.

        Raises:
            SourceError: if it cannot be read or lacks a column.
            DataError: for a line that means nothing, or two lines that contradict each other.
        """
        self.path = path
        self._decisions: dict[str, Decision] = {}
        self.undecided: list[tuple[int, str]] = []
        """Lines that are not filled in."""
        table = open_table(path, None, Findings(), name=f"--map {path}", needed=("written_name", "map_to"))
        missing = {"writtenname", "mapto"} - set(map(column_name, table.header))
        if missing:
            raise SourceError(
                f"--map {path}: the columns written_name and map_to are needed; it has {table.headings.shown()}"
            )
        faults: list[str] = []
        for row in table:
            if row.fault:
                raise SourceError(f"--map {path}, row {row.number}: it cannot be read: {row.fault}")
            cells = {name: str(value).strip() for name, value in plain_cells(row.cells).items() if value is not None}
            try:
                self._add(row.line, cells, plain_labels)
            except DataError as error:
                faults.append(str(error))
        self.refuse(faults, f"needed is {_ALLOWED}")

    def _add(self, line: int, cells: Mapping[str, str], plain_labels: bool) -> None:
        written, text = cells.get("writtenname", ""), cells.get("mapto", "")
        if not written or not text:
            if written:
                self.undecided.append((line, written))
            return
        made = self._decision(line, written, text, plain_labels)
        made.ranks = {rank: cells[rank] for rank in _RANKS_ABOVE if clean_name(cells.get(rank))}
        known = self._decisions.setdefault(map_key(written), made)
        if (known.kind, known.text, known.verdict) != (made.kind, made.text, made.verdict):
            raise DataError(f"lines {known.line} and {line} say different things about {written!r}; remove one of them")

    def _decision(self, line: int, written: str, text: str, plain_labels: bool) -> Decision:
        low = " ".join(text.lower().split())
        if low in _SKIP:
            return Decision(line, written, "verdict", verdict="work")
        if low in _KEEP:
            return Decision(line, written, "keep")
        if low == "plain" or plain_labels:
            if not plain_labels:
                raise DataError(
                    f"line {line}: {written!r} is mapped to a plain label, and other names are taxa: a label set has "
                    "words or taxa; give --plain-labels too, so that all names are words, or map it to a scientific name"
                )
            if word := verdict_of_word(text):
                return Decision(line, written, "verdict", verdict=word)
            return Decision(line, written, "plain", "" if low == "plain" else " ".join(text.split()))
        judgement = judge_name(text)
        if judgement.verdict is not None:
            return Decision(line, written, "verdict", verdict=judgement.verdict)
        if judgement.kind is NameKind.SCIENTIFIC and parse_name(text).genus:
            return Decision(line, written, "name", " ".join(text.split()))
        reason = f" ({judgement.reason})" if judgement.reason else ""
        raise DataError(f"line {line}: {written!r} is mapped to {text!r}{reason}")

    def get(self, names: Iterable[str]) -> Decision | None:
        """Return the decision about the first of some spellings that the map has."""
        for name in names:
            if name and (found := self._decisions.get(map_key(name))) is not None:
                found.is_used = True
                return found
        return None

    def names(self) -> list[Decision]:
        """Return the lines that map to a scientific name."""
        return [decision for decision in self._decisions.values() if decision.kind == "name"]

    def refuse(self, faults: Sequence[str], advice: str) -> None:
        """Refuse the map for the faults of its lines, if there are any.

        Raises:
            DataError: with all of them, up to a limit.
        """
        if faults:
            more = f"; and {len(faults) - _FAULTS_SHOWN:,} more lines" if len(faults) > _FAULTS_SHOWN else ""
            raise DataError(f"--map {self.path}, {'; '.join(faults[:_FAULTS_SHOWN])}{more}; {advice}")

    def report(self, findings: Findings) -> None:
        """Report lines that no name needed, and those without a decision."""
        for decision in self._decisions.values():
            if not decision.is_used:
                findings.add(
                    "lines of --map that no row uses", f"line {decision.line} of {self.path.name}, {decision.written!r}"
                )
        for line, written in self.undecided:
            findings.add("lines of --map without a decision in map_to", f"line {line} of {self.path.name}, {written!r}")


def map_key(name: str) -> str:
    """Return the form of a name by which a map is searched."""
    return " ".join(name.replace("_", " ").split()).casefold()


@dataclass(slots=True)
class Undecided:
    """A refused name, for the map to fill in."""

    written: str
    kind: str
    reason: str
    suggestion: str
    first: str
    rows: int = 0


def write_map(path: Path, names: Iterable[Undecided]) -> None:
    """Write the map to fill in, the most frequent names first."""
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(MAP_COLUMNS)
        for one in sorted(names, key=lambda one: (-one.rows, one.written)):
            table.writerow([one.written, "", one.suggestion, one.kind, one.rows, one.first, one.reason])
