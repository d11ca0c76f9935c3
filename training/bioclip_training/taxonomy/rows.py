"""A checklist's rows as the index stores them: key, name, rank, status, and what it is a synonym or a child of."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from bioclip_core.names import WrittenName, key_of, literal_key, parse_name
from bioclip_core.taxonomy import clean_name
from bioclip_training.taxonomy.formats import Checklist

ACCEPTED, DOUBTFUL, SYNONYM, PRO_PARTE, MISAPPLIED = "accepted", "doubtful", "synonym", "pro parte", "misapplied"
STATUSES = (ACCEPTED, DOUBTFUL, SYNONYM, PRO_PARTE, MISAPPLIED)

_NAME_PARTS = (("genus", "genericname"), ("specificepithet",), ("infraspecificepithet",))
_NO_PATH = ("",) * 6

HIGHER = ("kingdom", "phylum", "class", "order", "family", "genus")
BY_NAME = "="
"""Begins a reference to an accepted name by its key, in tables that know no ids."""

_SIMPLE = re.compile(r"[A-Z][a-z]+(?: [a-z]{3,}){0,2}", re.ASCII)
_RANK_WORDS = dict(
    pair.split(":")
    for pair in (
        "regnum:kingdom divisio:phylum division:phylum classis:class ordo:order familia:family gen:genus nothogenus:genus "
        "sp:species spec:species nothospecies:species ssp:subspecies subsp:subspecies var:variety varietas:variety f:form forma:form"
    ).split()
)


class NameRow(NamedTuple):
    """One row of the table ``names``, in the order of its columns."""

    id: str
    key: str
    name: str
    authorship: str
    rank: str
    status: str
    accepted: str
    parent: str
    lineage: int | None
    vernacular: str


class Lineages:
    """The distinct rows of rank columns (kingdom to genus) with a number each: as many as there are genera, not names."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, ...], int] = {}

    def number(self, path: tuple[str, ...]) -> int:
        known = self.numbers.get(path)
        if known is None:
            known = len(self.numbers) + 1
            self.numbers[tuple(map(sys.intern, path))] = known  # families stand in as many paths as they have genera
        return known


def name_rows(checklist: Checklist, lineages: Lineages) -> Iterator[NameRow]:
    """Every name of a checklist. Rows without a name are counted as odd and left out."""
    if checklist.kind == "table":
        yield from _table_rows(checklist, lineages)
    else:
        yield from _listed_rows(checklist, lineages)


def _place(columns: dict[str, int], *names: str) -> int:
    """Where the first of these columns is that there is; a missing one is the last cell, which is always empty."""
    return next((columns[name] for name in names if name in columns), -1)


def _reader(columns: dict[str, int], *names: str) -> Callable[[list[str]], str]:
    """A function that gives a row's first cell under one of these names."""
    places = [columns[name] for name in names if name in columns]
    if not places:
        return lambda _cells: ""
    if len(places) == 1:
        place = places[0]
        return lambda cells: cells[place]
    return lambda cells: next((cells[place] for place in places if cells[place]), "")


def _listed_rows(checklist: Checklist, lineages: Lineages) -> Iterator[NameRow]:
    """Rows of GBIF, ColDP and Darwin Core: every name has an id, and says by id what it belongs to."""
    columns, odd = checklist.columns, checklist.odd
    is_coldp = checklist.kind == "coldp"
    wanted = [
        ("id",) if is_coldp else ("taxonid",), ("parentid",) if is_coldp else ("parentnameusageid",), ("acceptednameusageid",),
        ("canonicalname",), ("scientificname",), ("scientificnameauthorship", "authorship"), ("taxonrank", "rank"),
        ("taxonomicstatus", "status"), ("vernacularname", "commonname"), ("acceptednameusage",),
    ]  # fmt: skip
    cells_of = itemgetter(*(_place(columns, *names) for names in wanted))
    parts_of = itemgetter(*(_place(columns, *names) for names in _NAME_PARTS))
    path_of = itemgetter(*(_place(columns, rank) for rank in HIGHER))
    for cells in checklist.rows():
        own_id, parent, accepted, canonical, scientific, authorship, rank, word, vernacular, by_name = cells_of(cells)
        written = canonical or scientific or " ".join(part for part in parts_of(cells) if part)
        if not own_id or not written:
            odd["rows without a name" if own_id else "rows without an id"] += 1
            continue
        key, name, author = _name_parts(written)
        if by_name and not accepted and (other := parse_name(by_name).key) != key:
            accepted = f"{BY_NAME}{other}"
        status = status_named(word, points_away=bool(accepted) and accepted != own_id)
        if status in (ACCEPTED, DOUBTFUL):
            accepted = ""
        elif is_coldp:
            accepted, parent = parent, ""
        path = path_of(cells)
        yield NameRow(
            own_id, key, name, authorship or author, rank_named(rank), status, accepted, "" if parent == own_id else parent,
            lineages.number(path) if path != _NO_PATH else None, vernacular,
        )  # fmt: skip


def _name_parts(written: str) -> tuple[str, str, str]:
    """Key, canonical name and authorship; most names are plain and need no parser."""
    if _SIMPLE.fullmatch(written):
        return written.lower(), written, ""
    name = parse_name(written)
    if name.doubt or not name.genus:  # hybrid formulas, barcodes and "sp. 3" are found as they are written
        return literal_key(name.text), name.text, ""
    return name.key, name.canonical, name.authorship


def _table_rows(checklist: Checklist, lineages: Lineages) -> Iterator[NameRow]:
    """Rows of a plain table: a lineage each, perhaps with synonyms or the accepted name beside it; ids are the lineages."""
    columns = checklist.columns
    cell = {rank: _reader(columns, rank) for rank in HIGHER}
    species_of = _reader(columns, "specificepithet", "species", "epithet")
    whole_of = _reader(columns, "scientificname", "canonicalname")
    author_of = _reader(columns, "scientificnameauthorship", "authorship", "author")
    synonyms_of = _reader(columns, "synonyms", "synonym")
    accepted_of = _reader(columns, "acceptedname", "acceptednameusage", "acceptedscientificname", "synonymof")
    status_of, rank_of = _reader(columns, "taxonomicstatus", "status"), _reader(columns, "taxonrank", "rank")
    vernacular_of = _reader(columns, "vernacularname", "commonname", "common")
    own_id_of = _reader(columns, "taxonid", "sourceid")
    for cells in checklist.rows():
        path = tuple(clean_name(cell[rank](cells)) for rank in HIGHER)
        name = _table_name(path, species_of(cells), whole_of(cells))
        if name is None:
            checklist.odd["rows without a name"] += 1
            continue
        if name.epithet and not path[5]:
            path = (*path[:5], f"× {name.genus}" if name.hybrid_genus else name.genus)
        rank = rank_named(rank_of(cells)) or _rank_in(path, name)
        own_id = own_id_of(cells) or "|".join((*path[: _depth(rank)], name.canonical))
        accepted = parse_name(accepted_of(cells)).key
        accepted = f"{BY_NAME}{accepted}" if accepted and accepted != name.key else ""
        status = status_named(status_of(cells), points_away=bool(accepted))
        number = lineages.number(path)
        author = author_of(cells) or name.authorship
        accepted = "" if status in (ACCEPTED, DOUBTFUL) else accepted
        yield NameRow(
            own_id, name.key, name.canonical, author, rank, status, accepted, "", number, vernacular_of(cells)
        )
        for written in re.split(r"[;|]", synonyms_of(cells)):
            other = parse_name(written)
            if other.key and other.key != name.key:
                synonym_id = f"{own_id}|synonym|{other.canonical}"
                yield NameRow(
                    synonym_id, other.key, other.canonical, other.authorship, rank, SYNONYM, own_id, "", number, ""
                )


def _depth(rank: str) -> int:
    return HIGHER.index(rank) if rank in HIGHER else len(HIGHER)


def _table_name(path: tuple[str, ...], species: str, whole: str) -> WrittenName | None:
    """The name that a row of ranks is about: its species, else its scientific name, else its lowest rank."""
    cell, genus = clean_name(species), path[5]
    if cell:
        alone = parse_name(cell)
        repeated = alone.genus == genus.removeprefix("× ") and bool(alone.epithet or alone.reading)
        name = alone if repeated or not genus else parse_name(f"{genus} {cell}")
        name = name.read_as_binomial() if name.reading else name
        if name.epithet:
            return name
    text = clean_name(whole) or next((name for name in reversed(path) if name), "")
    return parse_name(text) if text else None


def _rank_in(path: tuple[str, ...], name: WrittenName) -> str:
    """The rank of a name by the column that it stands in."""
    if name.epithet:
        return "subspecies" if name.infraspecific else "species"
    return next(
        (
            rank
            for rank, cell in zip(HIGHER, path, strict=True)
            if cell and key_of(*cell.removeprefix("× ").split()) == name.key
        ),
        "",
    )


@lru_cache(maxsize=1000)
def rank_named(word: str) -> str:
    """A rank's word in small letters; the abbreviations and Latin words of checklists in English."""
    plain = word.strip().lower().rstrip(".").replace("_", " ")
    return _RANK_WORDS.get(plain, plain)


@lru_cache(maxsize=1000)
def status_named(word: str, *, points_away: bool) -> str:
    """One of ``STATUSES`` for a checklist's own word.

    Args:
        word: "accepted", "HETEROTYPIC_SYNONYM", "proparte synonym", "provisionally accepted" …; empty where it says nothing.
        points_away: the row names another accepted name than itself, which makes it a synonym whatever it is called.
    """
    plain = re.sub(r"[^a-z]", "", word.lower())
    if "misapplied" in plain:
        return MISAPPLIED
    if "proparte" in plain or "ambiguous" in plain:
        return PRO_PARTE
    if points_away or "synonym" in plain or plain in ("unaccepted", "invalid", "notaccepted", "junior"):
        return SYNONYM
    return ACCEPTED if plain in ("accepted", "valid", "") else DOUBTFUL
