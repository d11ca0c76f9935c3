"""Rows of a checklist as the index stores them: key, name, rank, status, and the ids of the accepted name and the parent."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from bioclip_core.names import PLACEHOLDER, WrittenName, clean_name, key_of, literal_key, parse_name, parse_species
from bioclip_core.naming.ranks import rank_named
from bioclip_training.taxonomy.formats import Checklist

ACCEPTED, DOUBTFUL, SYNONYM, PRO_PARTE, MISAPPLIED = "accepted", "doubtful", "synonym", "pro parte", "misapplied"
HIGHER = ("kingdom", "phylum", "class", "order", "family", "genus")
BY_NAME = "="
"""Begins a reference to an accepted name by its key, in tables without ids."""

_NO_PATH = ("",) * len(HIGHER)
_SIMPLE = re.compile(r"[A-Z][a-z]+(?: [a-z]{3,}){0,2}", re.ASCII)


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
    """The distinct rows of rank columns (kingdom to genus), numbered: as many as there are genera, not names."""

    def __init__(self) -> None:
        self.numbers: dict[tuple[str, ...], int] = {}

    def number(self, path: tuple[str, ...]) -> int:
        known = self.numbers.get(path)
        if known is None:
            known = len(self.numbers) + 1
            self.numbers[tuple(map(sys.intern, path))] = known  # a family occurs in as many paths as it has genera
        return known


def name_rows(checklist: Checklist, lineages: Lineages) -> Iterator[NameRow]:
    """Yield every name of a checklist. Rows without a name are skipped and counted as odd."""
    return _table_rows(checklist, lineages) if checklist.kind == "table" else _listed_rows(checklist, lineages)


def _listed_rows(checklist: Checklist, lineages: Lineages) -> Iterator[NameRow]:
    """Yield rows of GBIF, ColDP and Darwin Core: every name has an id, and refers to its parent and accepted name by id."""
    columns, odd = checklist.columns, checklist.odd
    is_coldp = checklist.kind == "coldp"
    wanted = [
        ("id",) if is_coldp else ("taxonid",), ("parentid",) if is_coldp else ("parentnameusageid",), ("acceptednameusageid",),
        ("canonicalname",), ("scientificname",), ("genus", "genericname"), ("specificepithet",), ("infraspecificepithet",),
        ("scientificnameauthorship", "authorship"), ("taxonrank", "rank"), ("taxonomicstatus", "status"),
        ("vernacularname", "commonname"), ("acceptednameusage",),
    ]  # fmt: skip
    # A missing column is the last cell, which is always empty.
    cells_of = itemgetter(*(next((columns[name] for name in names if name in columns), -1) for names in wanted))
    path_of = itemgetter(*(columns.get(rank, -1) for rank in HIGHER))
    for cells in checklist.rows():
        own_id, parent, accepted, canonical, scientific, *parts, authorship, rank, word, vernacular, by_name = cells_of(
            cells
        )
        written = canonical or scientific or " ".join(filter(None, parts))
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
    """Return key, canonical name and authorship; most names are plain and need no parser."""
    if _SIMPLE.fullmatch(written):
        return written.lower(), written, ""
    name = parse_name(written)
    if name.doubt or not name.genus:  # hybrid formulas, barcodes and "sp. 3" are found as they are written
        return literal_key(name.text), name.text, ""
    return name.key, name.canonical, name.authorship


def _table_rows(checklist: Checklist, lineages: Lineages) -> Iterator[NameRow]:
    """Yield rows of a plain table: one lineage per row, perhaps with synonyms or the accepted name; the lineage is the id."""

    places = checklist.columns

    def first(cells: list[str], *names: str) -> str:
        return next((cells[places[name]] for name in names if name in places and cells[places[name]]), "")

    for cells in checklist.rows():
        path = tuple(_without_placeholder(first(cells, rank)) for rank in HIGHER)
        species = first(cells, "specificepithet", "species", "epithet")
        name = _table_name(path, species, first(cells, "scientificname", "canonicalname"))
        if name is None:
            checklist.odd["rows without a name"] += 1
            continue
        if name.epithet and not path[5]:
            path = (*path[:5], f"× {name.genus}" if name.hybrid_genus else name.genus)
        rank = rank_named(first(cells, "taxonrank", "rank")) or _rank_in(path, name)
        depth = HIGHER.index(rank) if rank in HIGHER else len(HIGHER)
        own_id = first(cells, "taxonid", "sourceid") or "|".join((*path[:depth], name.canonical))
        accepted = parse_name(
            first(cells, "acceptedname", "acceptednameusage", "acceptedscientificname", "synonymof")
        ).key
        points_away = accepted not in ("", name.key)
        status = status_named(first(cells, "taxonomicstatus", "status"), points_away=points_away)
        number = lineages.number(path)
        author = first(cells, "scientificnameauthorship", "authorship", "author") or name.authorship
        yield NameRow(
            own_id, name.key, name.canonical, author, rank, status,
            f"{BY_NAME}{accepted}" if points_away and status not in (ACCEPTED, DOUBTFUL) else "", "", number,
            first(cells, "vernacularname", "commonname", "common"),
        )  # fmt: skip
        for other in map(parse_name, re.split(r"[;|]", first(cells, "synonyms", "synonym"))):
            if other.key and other.key != name.key:
                yield NameRow(
                    f"{own_id}|synonym|{other.canonical}", other.key, other.canonical, other.authorship, rank, SYNONYM, own_id, "",
                    number, "",
                )  # fmt: skip


@lru_cache(maxsize=4096)
def _without_placeholder(cell: str) -> str:
    """Return the name in a rank's column; empty for "Incertae sedis" and the like."""
    name = clean_name(cell)
    return "" if parse_name(name).unread == PLACEHOLDER else name


def _table_name(path: tuple[str, ...], species: str, whole: str) -> WrittenName | None:
    """Return the name that a row of ranks is about: its species, else its scientific name, else its lowest rank."""
    name = parse_species(species, path[5])
    if name.genus and name.epithet:
        return name
    for text in (clean_name(whole), next((name for name in reversed(path) if name), "")):
        if text and (found := parse_name(text)).unread != PLACEHOLDER:
            return found
    return None


def _rank_in(path: tuple[str, ...], name: WrittenName) -> str:
    """Return the rank of a name by the column that it is in."""
    if name.epithet:
        return "subspecies" if name.infraspecific else "species"
    keys = (key_of(*cell.removeprefix("× ").split()) if cell else None for cell in path)
    return next((rank for rank, key in zip(HIGHER, keys, strict=True) if key == name.key), "")


@lru_cache(maxsize=1000)
def status_named(word: str, *, points_away: bool) -> str:
    """Return our status for a checklist's own word.

    Args:
        word: "accepted", "HETEROTYPIC_SYNONYM", "proparte synonym", "provisionally accepted" …; empty if the checklist is silent.
        points_away: the row names another accepted name than itself, which makes it a synonym whatever its own word is.
    """
    plain = re.sub(r"[^a-z]", "", word.lower())
    if "misapplied" in plain:
        return MISAPPLIED
    if "proparte" in plain or "ambiguous" in plain:
        return PRO_PARTE
    if points_away or "synonym" in plain or plain in ("unaccepted", "invalid", "notaccepted", "junior"):
        return SYNONYM
    return ACCEPTED if plain in ("accepted", "valid", "") else DOUBTFUL
