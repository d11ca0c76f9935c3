"""Clean names of a source's row, with a sentence for every change between the written and the clean name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bioclip_core.names import clean_name, parse_name
from bioclip_core.naming.judging import Judgement
from bioclip_core.naming.row_judging import JudgedCells, judge_cells
from bioclip_core.naming.spelling import unescaped, well_read
from bioclip_core.naming.words import DOUBT, INFRASPECIFIC, PARTICLES
from bioclip_core.taxonomy import RANKS, Rank, Taxon, read_row

VERBATIM_COLUMNS = ("verbatimscientificname", "verbatimidentification", "verbatimname", "scientificname")
"""Columns with the name as the source wrote it, best first; without case, underscores and prefixes such as ``dwc:``."""
NAME_COLUMNS = frozenset(
    (*VERBATIM_COLUMNS, *(rank.value for rank in RANKS), "specificepithet", "taxonrank", "verbatimtaxonrank",
     "identificationqualifier", "vernacularname", "commonname", "common")
)  # fmt: skip
"""Every column that decides a row's name."""
TEXT_COLUMNS = (
    "uri", *(rank.value for rank in RANKS), "common_name", "verbatim_name", "source", "source_id", "taxon_id", "licence", "group",
    "split", "sha256", "phash",
)  # fmt: skip
"""Columns of text; empty if unknown. ``species`` holds the epithet, as in a :class:`Taxon`."""

_MARKERS = INFRASPECIFIC | DOUBT.keys() | frozenset("sp spp indet".split())
_TAG = re.compile(r"<[^<>]{1,60}>")
_HYBRID_MARKS = frozenset("×✕xX")
_NO_AUTHOR = re.compile(r"[\W\d_]*\d[\W\d_]*|[\W\d_]*(?:copy|copie|kopie|copia|kopia|kopio)[\W\d_]*", re.IGNORECASE)
"""Numbers and marks of copies: "(2)", "- Kopie"."""
_OF_AUTHORITIES = PARTICLES | frozenset("f fil emend".split())


@dataclass(frozen=True, slots=True)
class Label:
    """A row's name after cleaning and, with a taxonomy, resolving."""

    taxon: Taxon
    """Empty for a row without a usable name."""
    verbatim: str
    """The name as the source wrote it."""
    changes: tuple[str, ...]
    taxon_id: str = ""
    outcome: str = ""
    """Outcome of resolving; empty without a taxonomy."""
    unresolved: str = ""
    """Reason why no accepted name was found; empty if one was."""
    ambiguous: bool = False
    """True if the taxonomy has several taxa of the name and cannot decide between them."""
    doubt: str = ""
    """Doubt about the name, as the source writes it."""
    doubted: str = ""
    """The epithet in doubt."""
    is_of_ranks: bool = False
    """True if the source gives no name beside the columns of ranks."""
    unread: str = ""
    """Reason why the name that the source gives is not in the taxon; empty if it is, or if the source gives none."""
    fault: Judgement | None = None
    """Judgement of a name that is not a scientific one, so that the row has no label; None for any other row."""
    proposal: str = ""
    """The name that a suspected misspelling stands for."""
    is_decided: bool = False
    """True if an option decided about the name, so that it is not compared with others."""

    @property
    def why_unread(self) -> str:
        """Reason why a row with a written name has no taxon."""
        if self.unread:
            return self.unread
        removed = (change for change in self.changes if ": without its genus it names nothing" in change)
        return next(removed, "it was not read as a name")


def cleaned(cells: Mapping[str, Any], *, is_asserted: bool = False) -> Label:
    """Return the taxon of a row, the name as written, and every change between the two.

    A cell that is not a scientific name ("Blank", "Fox; Badger", "Red fox") is not read as one. The row then has no taxon, unless its
    other columns state the genus.

    Args:
        cells: from :func:`~bioclip_core.cells.plain_cells`.
        is_asserted: read the name whatever it looks like, since a taxonomy or the user says that it is one.
    """
    judged = JudgedCells(cells) if is_asserted else judge_cells(cells)
    row = read_row(judged.cells)
    if judged.fault is not None and (
        judged.is_void or not (row.taxon.genus or (judged.may_use_ranks and row.taxon.rank))
    ):
        fault = judged.fault
        common_name = row.taxon.common_name
        return Label(
            Taxon(common_name=common_name), _verbatim(cells) or judged.written, (), unread=fault.reason, fault=fault
        )
    taxon, changes = row.taxon, row.notes
    if taxon.species and not taxon.genus:
        changes.append(f"epithet {taxon.species!r} removed: without its genus it names nothing")
        taxon = Taxon.of(taxon.lineage[:6], taxon.common_name, taxon.source_id)
    verbatim = _verbatim(cells)
    in_doubt = bool(row.doubt) and not taxon.species
    unread = row.unread or (judged.fault.reason if judged.fault and not taxon.genus else "")
    if judged.fault and taxon.genus:
        changes.append(f"name {judged.written!r} left out: {judged.fault.reason}")
    is_cut = any("left out: taxonRank says" in note for note in row.notes)
    changes += _rank_changes(cells, taxon, is_cut=is_cut)
    if not (is_cut or in_doubt):
        changes += _species_changes(cells, taxon)
    if unread:
        changes.append(f"name {verbatim!r} left out: {unread}")
    elif in_doubt and not any("in doubt" in note for note in row.notes):
        changes.append(f"{verbatim!r} names no species for certain ({row.doubt})")
    if not (in_doubt or is_cut or unread or judged.fault):
        changes += _verbatim_changes(verbatim, taxon)
    return Label(
        taxon, verbatim, tuple(dict.fromkeys(changes)), doubt=row.doubt, doubted=row.doubted, unread=unread,
        is_of_ranks=not any(map(cells.get, VERBATIM_COLUMNS)),
    )  # fmt: skip


def _text(cell: Any) -> str:
    """Return a cell as written, with single spaces."""
    return " ".join(str(cell).split()) if isinstance(cell, str) else clean_name(cell)


def _verbatim(cells: Mapping[str, Any]) -> str:
    for column in VERBATIM_COLUMNS:
        if written := _text(cells.get(column)):
            return written
    genus, epithet = _text(cells.get("genus")), _text(cells.get("specificepithet")) or _text(cells.get("species"))
    if epithet:
        begins = epithet.lower().split()[0]
        return epithet if not genus or begins in (genus.lower(), f"{genus[0].lower()}.") else f"{genus} {epithet}"
    return next((written for rank in reversed(RANKS[:6]) if (written := _text(cells.get(rank.value)))), "")


def _rank_changes(cells: Mapping[str, Any], taxon: Taxon, *, is_cut: bool) -> Iterator[str]:
    for rank in RANKS[:6]:
        written, clean = _text(cells.get(rank.value)), taxon.lineage[rank.depth]
        if not written or written == clean:
            continue
        if not clean and not is_cut:
            yield f"{rank.value} {written!r} left empty: it is not a name"
        elif clean and rank is Rank.GENUS and written.lower().startswith(f"{clean.lower()} "):
            rest = written.split()[len(clean.split()) :]
            if rest[0].isalpha() and rest[0].lower() in (taxon.species, clean.lower()):
                yield f"{' '.join(rest)!r} left out: it is a part of a species' name"
            else:
                yield from _rest(rest, Rank.GENUS)
        elif clean:
            yield f"{rank.value} {written} became {clean}"


def _species_changes(cells: Mapping[str, Any], taxon: Taxon) -> Iterator[str]:
    for column in ("specificepithet", "species"):
        written = _text(cells.get(column))
        if written and not taxon.species:
            if clean_name(written) == taxon.genus:
                continue  # a genus alone
            if not clean_name(written) or taxon.genus:
                yield f"species {written!r} left empty: it is not an epithet"
        elif written and written != taxon.species:
            differences = _differences(written, taxon)
            yield from [f"species {written!r} became {taxon.species}"] if differences is None else differences


def _verbatim_changes(verbatim: str, taxon: Taxon) -> Iterator[str]:
    """Yield the changes from the written name to the clean one; a difference that no rule made was the source's own."""
    clean = taxon.scientific_name
    if not verbatim or not clean or verbatim == clean:
        return
    sentences = _differences(verbatim, taxon)
    if sentences is not None:
        yield from sentences
    elif parse_name(verbatim).binomial == (taxon.genus, taxon.species) or clean_name(verbatim).lower() == clean.lower():
        yield f"{verbatim!r} became {clean!r}"
    else:
        yield f"{verbatim!r} is {clean!r} in the source's other columns"


def _differences(written: str, taxon: Taxon) -> list[str] | None:
    """Return the differences between a written name and a taxon; None if neither its epithet nor its whole name is in it."""
    words = clean_name(written).split()
    changes = _mended(written)
    epithet = taxon.species.removeprefix("× ")
    name = epithet or taxon.scientific_name.removeprefix("× ")
    places = [place for place, word in enumerate(words) if word.lstrip("×✕").lower() == name.lower()]
    is_tautonym = bool(epithet) and len(places) > 1 and places[0] == 0  # "Vulpes vulpes" in one cell
    at = next(iter(places[is_tautonym:]), None)
    if at is None or (epithet and not _is_genus(words[:at], taxon.genus)):
        return None
    word = words[at].lstrip("×✕")
    if epithet:
        changes += _marks(words[:at], words[at], taxon)
    if word != name:
        changes.append(f"{word!r} written {name}")
    return [*changes, *_rest(words[at + 1 :], taxon.rank)]


def _mended(written: str) -> list[str]:
    """Return what was wrong with the characters of a text: markup, entities, a wrong encoding."""
    plain = unescaped(written) if "&" in written else written
    changes = ["HTML entities written as their characters"] if plain != written else []
    changes += ["markup removed"] if _TAG.search(plain) else []
    if not plain.isascii() and well_read(plain) != plain:
        changes.append("letters read again in the right encoding")
    return changes


def _is_genus(words: list[str], genus: str) -> bool:
    """Return True if words are a genus (whole or abbreviated), perhaps with a subgenus and hybrid marks, or nothing."""
    names = [word.lstrip("×✕").lower() for word in words if word not in _HYBRID_MARKS and not word.startswith("(")]
    whole = genus.removeprefix("× ").lower()
    return len(names) <= 1 and all(name in (whole, f"{whole[:1]}.") for name in names)


def _marks(before: list[str], epithet: str, taxon: Taxon) -> Iterator[str]:
    genus = taxon.genus.removeprefix("× ")
    for word in before:
        if word.startswith("("):
            yield f"subgenus {word} removed"
        elif word in _HYBRID_MARKS and word != "×":
            yield f"hybrid mark {word!r} written ×"
        elif word not in _HYBRID_MARKS and word.lstrip("×✕") != genus:
            yield f"{word!r} written {genus}"
    if taxon.species.startswith("×") and epithet[:1] not in "×✕" and _HYBRID_MARKS.isdisjoint(before):
        yield "hybrid mark × added by the source's other columns"


def _rest(words: Sequence[str], rank: Rank | None) -> Iterator[str]:
    """Yield the parts after the name that were removed: an authority, then perhaps a name below the species."""
    marks = (place for place, word in enumerate(words) if word.rstrip(".").lower() in _MARKERS)
    cut = next((place for place in marks if not _is_filius(words[place:])), len(words))
    authority, below = " ".join(words[:cut]), " ".join(words[cut:])
    is_name = (
        rank is Rank.SPECIES
        and not _NO_AUTHOR.fullmatch(authority)
        and authority[:1].islower()
        and words[0].rstrip(".") not in _OF_AUTHORITIES
    )
    if is_name and not below:
        yield f"cut below the species: {authority!r} removed"
        return
    if _NO_AUTHOR.fullmatch(authority):
        yield f"remark {authority!r} removed"
    elif authority:
        yield f"authority {authority!r} removed"
    if below:
        yield f"cut at {words[cut]}: {below!r} removed"


def _is_filius(words: Sequence[str]) -> bool:
    """Return True if an ``f.`` is not a form but the son of the author before it: no name follows."""
    return words[0].lower() in ("f.", "fil.") and not (words[1:] and words[1][0].islower())
