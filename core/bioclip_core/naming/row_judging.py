"""The test of what a name is, for the cells of a table's row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bioclip_core.naming.judging import Judgement, NameKind, judge_alone, judge_binomial, judge_name
from bioclip_core.naming.several import names_in
from bioclip_core.naming.spelling import clean_name, unescaped
from bioclip_core.naming.verdict_words import verdict_of_word

_ABOVE = ("kingdom", "phylum", "class", "order", "family")
_EPITHETS = ("specificepithet", "species")
_OF_NO_ORGANISM = frozenset({"blank", "person", "vehicle", "work"})
_SEPARATED = re.compile(r"[;|\r\n]")
_SEVERITY = (
    NameKind.VERDICT,
    NameKind.SEVERAL,
    NameKind.COMMON,
    NameKind.MISSPELT,
    NameKind.DOUBTFUL,
    NameKind.FOLDER,
    NameKind.CODE,
)


@dataclass(frozen=True, slots=True)
class JudgedCells:
    """The cells of a row without those that are not names."""

    cells: Mapping[str, Any]
    fault: Judgement | None = None
    """The gravest fault of a removed cell; None if all are names."""
    written: str = ""
    """The cell with this fault, as text."""

    @property
    def is_void(self) -> bool:
        """True if no other column can name the row's organism: nothing is in the image, or several are."""
        return self.fault is not None and (self.fault.kind is NameKind.SEVERAL or self.fault.verdict in _OF_NO_ORGANISM)

    @property
    def may_use_ranks(self) -> bool:
        """True if the row may be labelled by its columns of higher ranks: its name is a code, or nobody identified it."""
        return (
            self.fault is None
            or self.fault.kind in (NameKind.CODE, NameKind.FOLDER)
            or self.fault.verdict == "unidentifiable"
        )


def judge_cells(cells: Mapping[str, Any]) -> JudgedCells:
    """Return a row's cells without those that are not names, and the fault.

    Args:
        cells: by their columns' plain names.
    """
    found: dict[str, tuple[Judgement, str]] = {}

    def judge(column: str, text: str) -> bool:
        judgement = judge_name(text) if is_ranked or column == "genus" else judge_alone(text)
        if judgement.is_name or (is_ranked and judgement.kind in (NameKind.DOUBTFUL, NameKind.FOLDER)):
            return True
        clean = clean_name(text)
        is_phrase = " " in clean and verdict_of_word(clean) is None  # "Unidentified beetle"
        if judgement.verdict == "unidentifiable" and (not clean or is_phrase):  # the parser leaves it out
            return True
        found[column] = judgement, text
        return False

    written = {
        column: str(cells[column]) for column in (*_ABOVE, "genus", *_EPITHETS, "scientificname") if cells.get(column)
    }
    is_ranked = bool(clean_name(cells.get("taxonrank"))) or any(
        judge_name(written[column]).is_name
        for column in ("class", "order", "family")
        if clean_name(written.get(column))
    )
    if _is_genus_of_species(written):
        written["scientificname"] = written.pop("species")
        cells = {**cells, "species": "", "scientificname": written["scientificname"]}
    for column in filter(written.__contains__, _ABOVE):  # the parser empties those that nobody identified
        judgement = judge_name(written[column])
        if judgement.kind is NameKind.SEVERAL or judgement.verdict in _OF_NO_ORGANISM:
            found[column] = judgement, written[column]
    genus, has_binomial = clean_name(written.get("genus")), False
    for column in filter(written.__contains__, _EPITHETS):
        text = clean_name(written[column])
        text = text.removeprefix(f"{genus} ") if genus else text
        if text and " " not in text and genus and text.isalpha():
            judgement, has_binomial = judge_binomial(genus, text), True
            if not judgement.is_name:
                found["genus"] = found[column] = judgement, f"{genus} {text}"
        elif not (genus and text.isalnum()):  # "sp31" of a genus is numbered by the collection
            judge(column, written[column])
    if genus and not has_binomial:
        judge("genus", written["genus"])
    if "scientificname" in written:
        judge("scientificname", written["scientificname"])
    repeated = {column: names[0] for column in written if column not in found and (names := _once(written[column]))}
    cells = {**cells, **repeated} if repeated else cells
    if not found:
        return JudgedCells(cells)
    fault, text = min(
        found.values(), key=lambda item: (item[0].verdict == "unidentifiable", _SEVERITY.index(item[0].kind))
    )
    return JudgedCells(
        {name: value for name, value in cells.items() if name not in found}, fault, " ".join(text.split())
    )


def _is_genus_of_species(written: Mapping[str, str]) -> bool:
    """True if the column ``species`` has a genus alone ("Passer") and no other column has a genus or an epithet."""
    if any(clean_name(written.get(column)) for column in ("genus", "specificepithet", "scientificname")):
        return False
    text = clean_name(written.get("species"))
    return text.isalpha() and text[0].isupper() and (text[1:].islower() or len(text) > 3)


def _once(text: str) -> tuple[str, ...]:
    """Return the name of a cell that has it several times ("Vulpes vulpes; Vulpes vulpes"); empty for any other cell."""
    text = unescaped(text)
    return names_in(text) if _SEPARATED.search(text) else ()
