"""Names of a source's row made clean, with a sentence for every change between what was written and what stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bioclip_core.names import DOUBT, INFRASPECIFIC, PARTICLES, clean_name, parse_name
from bioclip_core.taxonomy import RANKS, Rank, Taxon, taxon_from_row

VERBATIM_COLUMNS = ("verbatimscientificname", "verbatimidentification", "verbatimname", "scientificname")
"""Where the name as the source wrote it may stand, best first; without case, underscores and prefixes such as ``dwc:``."""
NAME_COLUMNS = frozenset(
    (*VERBATIM_COLUMNS, *(rank.value for rank in RANKS), "specificepithet", "taxonrank", "vernacularname", "commonname", "common")
)  # fmt: skip
"""Every column that decides a row's name."""

_MARKERS = INFRASPECIFIC | DOUBT | frozenset("sp spp indet".split())
_TAG = re.compile(r"<[^<>]{1,60}>")
_HYBRID_MARKS = frozenset("×✕xX")
_OF_AUTHORITIES = PARTICLES | frozenset("f fil emend".split())
_FAMILY_ENDINGS = ("idae", "aceae")
_ORDER_ENDINGS = ("iformes", "ales")


@dataclass(frozen=True, slots=True)
class Named:
    """What a row's name came to."""

    taxon: Taxon
    """Empty where the row has no usable name."""
    verbatim: str
    """What the source wrote."""
    changes: tuple[str, ...]


def cleaned(cells: Mapping[str, Any]) -> Named:
    """The taxon of a row, what was written, and every change between the two.

    Args:
        cells: as :func:`~bioclip_core.cells.plain_cells` gives them.
    """
    taxon = taxon_from_row(cells)
    changes = []
    ranked, said = _placed_by_rank(taxon, cells)
    if ranked is not taxon:
        changes.append(said)
        taxon = ranked
    if taxon.species and not taxon.genus:
        changes.append(f"epithet {taxon.species!r} removed: without its genus it names nothing")
        taxon = Taxon.of(taxon.lineage[:6], taxon.common_name, taxon.source_id)
    verbatim = _verbatim(cells)
    changes.extend(_rank_changes(cells, taxon))
    changes.extend(_species_changes(cells, taxon))
    changes.extend(_verbatim_changes(verbatim, taxon))
    return Named(taxon, verbatim, tuple(dict.fromkeys(changes)))


def _text(cell: Any) -> str:
    """A cell as it was written, with its white space made single."""
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


def _placed_by_rank(taxon: Taxon, cells: Mapping[str, Any]) -> tuple[Taxon, str]:
    """A scientific name of one word at the rank that the row states, or that its ending tells, where no column has it."""
    written = parse_name(cells.get("scientificname"))
    name = written.text.capitalize() if written.epithet_alone else written.binomial[0]
    if not name or written.epithet or name in taxon.lineage or taxon.genus:
        return taxon, ""
    stated = clean_name(cells.get("taxonrank")).lower()
    rank = next((rank for rank in RANKS[:6] if rank.value == stated), None)
    said = f"scientificName {name!r} taken as a {stated}, as taxonRank says"
    if rank is None:
        if taxon.rank is not None or stated:
            return taxon, ""
        ending = next(
            (r for ends, r in ((_FAMILY_ENDINGS, Rank.FAMILY), (_ORDER_ENDINGS, Rank.ORDER)) if name.endswith(ends)),
            None,
        )
        rank = ending or Rank.GENUS
        said = f"scientificName {name!r} taken as a{'n' if rank is Rank.ORDER else ''} {rank.value}" + (
            " by its ending" if ending else ""
        )
    if any(taxon.lineage[rank.depth :]):
        return taxon, ""
    lineage = [*taxon.lineage]
    lineage[rank.depth] = name
    return Taxon.of(lineage, taxon.common_name, taxon.source_id), said


def _rank_changes(cells: Mapping[str, Any], taxon: Taxon) -> Iterator[str]:
    for rank in RANKS[:6]:
        written, stands = _text(cells.get(rank.value)), taxon.lineage[rank.depth]
        if not written or written == stands:
            continue
        if not stands:
            yield f"{rank.value} {written!r} left empty: it is no name"
        elif rank is Rank.GENUS and written.lower().startswith(f"{stands.lower()} "):
            yield from _rest(written.split()[len(stands.split()) :], Rank.GENUS)
        else:
            yield f"{rank.value} {written} became {stands}"


def _species_changes(cells: Mapping[str, Any], taxon: Taxon) -> Iterator[str]:
    for column in ("specificepithet", "species"):
        written = _text(cells.get(column))
        if written and not taxon.species:
            if not clean_name(written) or taxon.genus:
                yield f"species {written!r} left empty: it is no epithet"
        elif written and written != taxon.species:
            yield from _against(written, taxon) or [f"species {written!r} became {taxon.species}"]


def _verbatim_changes(verbatim: str, taxon: Taxon) -> Iterator[str]:
    """How the name as written became the one that stands; a difference that no rule made was the source's own."""
    stands = taxon.scientific_name
    if not verbatim or not stands or verbatim == stands:
        return
    sentences = _against(verbatim, taxon)
    if sentences is None:
        ours = (
            parse_name(verbatim).binomial == (taxon.genus, taxon.species)
            or clean_name(verbatim).lower() == stands.lower()
        )
        yield (
            f"{verbatim!r} became {stands!r}"
            if ours
            else f"{verbatim!r} stands as {stands!r} in the source's other columns"
        )
        return
    yield from sentences


def _against(written: str, taxon: Taxon) -> list[str] | None:
    """What changed from a written name to a taxon whose epithet (or whole name) stands in it; None where neither does."""
    plain = clean_name(written)
    words = plain.split()
    said = ["markup removed"] if _TAG.search(written) else []
    epithet = taxon.species.removeprefix("× ")
    name = epithet or taxon.scientific_name.removeprefix("× ")
    at = next((place for place, word in enumerate(words) if word.lstrip("×✕").lower() == name.lower()), None)
    if at is None:
        return None
    before, word = words[:at], words[at].lstrip("×✕")
    if epithet:
        if not _same_genus(before, taxon.genus):
            return None
        said += _marks(before, words[at], taxon)
    if word != name:
        said.append(f"{word!r} written {name}")
    return [*said, *_rest(words[at + 1 :], taxon.rank)]


def _same_genus(before: list[str], genus: str) -> bool:
    """Whether the words before an epithet are its genus (whole or abbreviated), a subgenus and hybrid marks, or nothing."""
    names = [word.lstrip("×✕") for word in before if word not in _HYBRID_MARKS and not word.startswith("(")]
    whole = genus.removeprefix("× ").lower()
    return all(word.lower() == whole or word.lower() == f"{whole[:1]}." for word in names) and len(names) <= 1


def _marks(before: list[str], epithet: str, taxon: Taxon) -> Iterator[str]:
    genus = taxon.genus.removeprefix("× ")
    for word in before:
        if word.startswith("("):
            yield f"subgenus {word} removed"
        elif word in _HYBRID_MARKS and word != "×":
            yield f"hybrid mark {word!r} written ×"
        elif word not in _HYBRID_MARKS and word.lstrip("×✕") != genus:
            yield f"{word!r} written {genus}"
    marked = any(word in _HYBRID_MARKS for word in before) or epithet[:1] in "×✕"
    if taxon.species.startswith("×") and not marked:
        yield "hybrid mark × added by the source's other columns"


def _rest(words: Iterable[str], rank: Rank | None) -> list[str]:
    """What stood behind the name: an authority, then perhaps a name below the species."""
    words = list(words)
    marks = (place for place, word in enumerate(words) if word.rstrip(".").lower() in _MARKERS)
    cut = next((place for place in marks if not _filius(words[place:])), len(words))
    if (
        cut == len(words)
        and rank is Rank.SPECIES
        and words
        and words[0][0].islower()
        and words[0].rstrip(".") not in _OF_AUTHORITIES
    ):
        return [f"cut below the species: {' '.join(words)!r} removed"]
    said = [f"authority {' '.join(words[:cut])!r} removed"] if words[:cut] else []
    if words[cut:]:
        said.append(f"cut at {words[cut]}: {' '.join(words[cut:])!r} removed")
    return said


def _filius(words: list[str]) -> bool:
    """Whether an ``f.`` is not a form but the son of the author before it: no name follows."""
    return words[0].lower() in ("f.", "fil.") and not (words[1:] and words[1][0].islower())
