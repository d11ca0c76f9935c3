"""The parser of scientific names (genus, epithets, hybrid marks, doubts, authorship), keys for lookups, and the test of what a name is."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from bioclip_core.naming import words
from bioclip_core.naming.judging import Judgement, NameKind, judge_name
from bioclip_core.naming.parts import HYBRID_FORMULA, PLACEHOLDER, WrittenName
from bioclip_core.naming.reader import read, read_rest
from bioclip_core.naming.spelling import SIGNS, clean_name, folded, key_of, latin, literal_key
from bioclip_core.naming.verdict_words import VerdictWord, verdict_of_word
from bioclip_core.naming.words import PARTICLES

__all__ = [
    "HYBRID_FORMULA", "PLACEHOLDER", "Judgement", "NameKind", "VerdictWord", "WrittenName", "clean_name", "folded", "judge_name", "key_of",
    "literal_key", "parse_name", "parse_species", "same_authorship", "verdict_of_word",
]  # fmt: skip

_REMEMBERED = 16_384
"""Names whose parts are kept, about 10 MB: tables repeat their names."""
_PLAIN = re.compile(r"([A-Z][a-z]+)(?: ([a-z]{3,}))?(?: ([a-z]{3,}))?", re.ASCII)
_SUBGENUS = re.compile(r"^\(\s*[^\W\d_]+\.?\s*\)\s+(?=[×✕]|[^\W\d_])")
_YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_UMLAUT = re.compile(r"([aou])e")
_NOT_PLAIN = words.NOT_PLAIN | words.COMPOUND_FIRST
_NOT_THIRD = words.NOT_PLAIN | words.SURNAMES


def parse_name(text: Any, *, is_species: bool = False) -> WrittenName:
    """Return the parts of a name. Text that is not a name ("BOLD:AAA0001") keeps its wording, without a genus.

    Args:
        text: the name as written, or a cell with it.
        is_species: the source states that the name is of a species, so that a capitalised second word is its epithet.

    >>> parse_name("Prunus x schmittii Rehder").canonical
    'Prunus × schmittii'
    """
    return _parsed(text if isinstance(text, str) else clean_name(text), is_species)


@lru_cache(_REMEMBERED)
def _parsed(text: str, is_species: bool) -> WrittenName:
    if plain := _plain_name(text):
        return plain
    cleaned = clean_name(text)
    return read(cleaned, is_species=is_species) if cleaned else WrittenName("", unread=PLACEHOLDER)


def _plain_name(text: str) -> WrittenName | None:
    """Return the parts of a name without any peculiarity, which are most names, in a third of the time."""
    plain = _PLAIN.fullmatch(text)
    if plain is None:
        return None
    genus, epithet, infraspecific = plain.groups("")
    if epithet in _NOT_PLAIN or infraspecific in _NOT_THIRD or genus.lower() in words.FIRST or "vir" in text:
        return None
    if infraspecific and f"{epithet} {infraspecific}" in words.COMPOUNDS:
        return None
    return WrittenName(text, genus, epithet, infraspecific)


def parse_species(cell: Any, genus: str = "") -> WrittenName:
    """Return the parts of a species cell, which holds an epithet ("palmatum") or a name ("Acer palmatum", "A. palmatum").

    Args:
        cell: from a column such as ``species`` or ``specificEpithet``.
        genus: from the genus column of the same row, if it has one.

    Returns:
        A name without a genus if neither the cell nor the row has one, and without an epithet if the cell has none or names
        a species of another genus.
    """
    text = clean_name(cell)
    if not text:
        return WrittenName("")
    if genus and " " not in text and (plain := _plain_name(f"{genus} {text}")):
        return plain
    own = parse_name(text)
    if own.reading:
        own = own.read_as_binomial()
    core = _without_mark(text)[1]
    first, _, rest = core.partition(" ")
    if not rest or first.isupper() or not rest[0].islower():
        text = text.lower() if not rest else text.replace(first, first.lower(), 1)  # "Palmatum Thunb." is an epithet
    if genus:
        return _of_row(text, own, genus)
    if not own.epithet and not own.doubt and (not rest or core[0].islower()) and own.unread != PLACEHOLDER:
        alone = read_rest(text, "Genus")
        return replace(alone, text=text, genus="", epithet_alone=True)
    return own


def _of_row(text: str, own: WrittenName, genus: str) -> WrittenName:
    """Return the parts of a species cell beside a genus column."""
    hybrid_genus, word = _without_mark(genus)
    word = latin(word.partition(" ")[0])
    of_row = WrittenName(f"{genus} {text}", word[:1].upper() + word[1:], hybrid_genus=hybrid_genus)
    if text.isalnum() and text[-1].isdigit() and not text.isdigit():  # "sp31": numbered by the collection
        return replace(of_row, epithet=text)
    first, _, rest = text.partition(" ")
    if rest and own.genus == of_row.genus:
        return replace(own, hybrid_genus=hybrid_genus or own.hybrid_genus)
    if own.epithet and own.genus and text[0].isupper():  # a species of another genus
        return of_row
    is_abbreviated = (
        rest and first.rstrip(".") and of_row.genus.startswith(first.rstrip(".").capitalize()) and first[-1] == "."
    )
    return replace(
        read_rest(_SUBGENUS.sub("", rest if is_abbreviated else text), of_row.genus, hybrid_genus=hybrid_genus),
        reading="",
    )


def _without_mark(text: str) -> tuple[bool, str]:
    """Return True and the rest for text that begins with a hybrid mark; the letter x is one if it stands alone."""
    if text[:1] and text[0] in SIGNS:
        return True, text[1:].lstrip()
    if text[:2] in ("x ", "X "):
        return True, text[2:].lstrip()
    return False, text


@lru_cache(maxsize=10_000)
def same_authorship(one: str, other: str) -> bool:
    """True if two authorships may be the same: their years agree, and the first author of one begins the other's.

    >>> same_authorship("L., 1758", "(Linnaeus, 1758)")
    True
    """
    years = [_YEAR.findall(text)[:1] for text in (one, other)]
    if years[0] and years[1] and years[0] != years[1]:
        return False
    # Umlauts are written in three ways: Müller, Mueller, Muller.
    authors = [re.findall(r"[a-z]+", _UMLAUT.sub(r"\1", folded(text))) for text in (one, other)]
    if not authors[0] or not authors[1]:
        return bool(years[0] and years[0] == years[1])
    # The first word that is not an initial, else the first.
    first, second = (
        str(next((word for word in found if len(word) > 1 and word not in PARTICLES), found[0])) for found in authors
    )
    return first.startswith(second) or second.startswith(first)
