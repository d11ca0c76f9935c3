"""Names of a checklist near one that it does not have: misspelt, cut off, with lost letters, or without their space."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from bioclip_core.names import WrittenName, key_of
from bioclip_core.naming.below import LATIN_END
from bioclip_training.taxonomy.index import TaxonomyFile
from bioclip_training.taxonomy.rows import NameRow
from bioclip_training.taxonomy.spelling import MOST_EDITS, distance, edits_allowed, equal_endings

_SHORTEST_CUT, _SHORTEST_RUN = 4, 8
"""Letters of an epithet that may be cut off, and of two words that may be run together."""


class Outcome(StrEnum):
    """Relation of a candidate to the name that was asked for, best first."""

    EXACT = "exact"
    SYNONYM = "synonym"
    DOUBTFUL = "doubtful"
    PRO_PARTE = "pro parte"
    HOMONYM = "homonym"
    FUZZY = "fuzzy"
    HIGHER_RANK = "higher rank"
    MISAPPLIED = "misapplied"
    WRONG_RANK = "wrong rank"
    NONE = "none"


class Hit(NamedTuple):
    """A row of the checklist that a name may mean, before its accepted name is known."""

    row: NameRow
    how: Outcome = Outcome.EXACT
    """``exact`` if the key is that of the name itself; else ``fuzzy``, ``higher rank`` or ``wrong rank``."""
    distance: int = 0
    note: str = ""


def hits_of_damaged(index: TaxonomyFile, name: WrittenName) -> list[Hit]:
    """Find the one name of its genus that fits an epithet with lost letters or a lost end."""
    # A lost letter stood for up to two of the key: "ä" is spelled ae.
    pattern = re.compile(re.escape(name.damaged).replace(r"\?", "[a-z]{0,2}").replace(r"\*", "[a-z]*"))
    genus = key_of(name.genus)
    fits = [key for key in index.keys_under(genus) if pattern.fullmatch(key.partition(" ")[2])]
    if len(fits) != 1:
        return []
    note = f"{name.text} is not whole; {{}} is the only name of its genus that fits"
    return [Hit(row, Outcome.FUZZY, 1, note.format(row.name)) for row in index.rows(fits[0])]


def _cut_off(index: TaxonomyFile, name: WrittenName) -> list[Hit]:
    """Find the one name of its genus that begins with an epithet whose end is not Latin: "Acer palmat"."""
    epithet = key_of(name.epithet)
    if len(epithet) < _SHORTEST_CUT or LATIN_END.fullmatch(epithet):
        return []
    longer = [key for key in index.keys_under(key_of(name.genus)) if key.partition(" ")[2].startswith(epithet)]
    if len(longer) != 1:
        return []
    note = f"{name.canonical} is not listed; {{}} is the only name of its genus that begins so"
    return [Hit(row, Outcome.FUZZY, 1, note.format(row.name)) for row in index.rows(longer[0])]


def run_together(index: TaxonomyFile, word: str) -> list[Hit]:
    """Find the name of two words that a word is without the space between them: "Acerpalmatum"."""
    if len(word) < _SHORTEST_RUN:
        return []
    return [
        Hit(row, Outcome.FUZZY, 1, f"{word.capitalize()} is not listed; it is {row.name} without its space")
        for at in range(3, len(word) - 3)
        for row in index.rows(f"{word[:at]} {word[at:]}")
    ]


def near_binomials(index: TaxonomyFile, name: WrittenName) -> list[Hit]:
    """Find the nearest names of two words: other endings of the epithet first, then errors in either word."""
    genus, epithet = key_of(name.genus), key_of(name.epithet)
    if hits := [
        Hit(row, Outcome.FUZZY, 0, f"{name.canonical} is not listed; {row.name} has another ending")
        for other in equal_endings(epithet)
        for row in index.rows(f"{genus} {other}")
    ]:
        return hits
    # A listed genus is taken to be right; only without a near name in it may the genus itself be misspelt.
    found = _near_under(index, epithet, [(genus, 0)])
    if not found and (hits := _cut_off(index, name)):
        return hits
    found = found or _near_under(index, epithet, index.words_near(genus, edits_allowed(genus))[1:])
    return list(_nearest(index, name.canonical, found))


def _near_under(index: TaxonomyFile, epithet: str, genera: list[tuple[str, int]]) -> dict[str, int]:
    """Return keys with a near epithet under genera, each with the errors of the whole name.

    Args:
        genera: each with its own number of errors.
    """
    return {
        key: total
        for word, away in genera
        for key in index.keys_under(word)
        if (total := _errors(epithet, key.partition(" ")[2], away)) is not None
    }


def _errors(epithet: str, other: str, away: int) -> int | None:
    """Return the errors of a whole name whose genus has ``away`` of them, at most two; None if the epithet is too far."""
    if other[:1] != epithet[:1] and other[:2] != epithet[1::-1]:  # rubescens and pubescens, marginata and emarginata
        return None
    most = min(edits_allowed(epithet), MOST_EDITS - away)
    between = distance(epithet, other, most)
    if between <= most:
        return away + between
    # A misspelt genus may have another gender, so that the ending of the epithet differs as well.
    return away + 1 if away == 1 and other in equal_endings(epithet) else None


def near_words(index: TaxonomyFile, word: str) -> list[Hit]:
    """Find the nearest names of one word."""
    return list(_nearest(index, word.capitalize(), dict(index.words_near(word, edits_allowed(word))[1:])))


def _nearest(index: TaxonomyFile, asked: str, found: dict[str, int]) -> Iterator[Hit]:
    """Yield the names of the nearest keys; a key that is one letter farther is as unlikely as any other word."""
    for key, away in sorted(found.items(), key=lambda item: (item[1], item[0])):
        if away <= min(found.values()):
            for row in index.rows(key):
                note = f"{asked} is not listed; {row.name} is {away} letter{'s' * (away > 1)} away"
                yield Hit(row, Outcome.FUZZY, away, note)
