"""Names of months as collections write them: words of eight languages, their abbreviations, and Roman numerals."""

from __future__ import annotations

import unicodedata
from functools import cache

_NAMES = """
    january february march april may june july august september october november december
    januar februar märz april mai juni juli august september oktober november dezember
    jänner feber maerz april mai juni juli august september oktober november dezember
    janvier février mars avril mai juin juillet août septembre octobre novembre décembre
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
    gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
    janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
    januari februari maart april mei juni juli augustus september oktober november december
    januari februari mars april maj juni juli augusti september oktober november december
"""  # English, German, Austrian, French, Spanish, Italian, Portuguese, Dutch, Swedish (with Danish and Norwegian)
_SHORT = {"mrz": 3, "mrt": 3, "sept": 9, "des": 12, "desember": 12, "marts": 3, "mai": 5, "jui": None}
_ROMAN = {roman: number for number, roman in enumerate("I II III IV V VI VII VIII IX X XI XII".split(), start=1)}
_SHORTEST = 3  # letters of an abbreviation


def month_named(word: str) -> int | None:
    """Return the number of a month's name, abbreviation or Roman numeral; None for other words and for ambiguous ones.

    >>> month_named("März"), month_named("Sept"), month_named("VIII"), month_named("Jui"), month_named("spring")
    (3, 9, 8, None, None)
    """
    return _ROMAN.get(word.upper()) or _months().get(_folded(word))


def _folded(word: str) -> str:
    return "".join(one for one in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(one))


@cache
def _months() -> dict[str, int | None]:
    """Return the month of each name and abbreviation; None if it fits several."""
    names = [
        (_folded(name), number) for line in _NAMES.split("\n") for number, name in enumerate(line.split(), start=1)
    ]
    found: dict[str, int | None] = {}
    for name, number in names:
        for end in range(_SHORTEST, len(name) + 1):
            if found.setdefault(name[:end], number) != number:
                found[name[:end]] = None
    return {**found, **dict(names), **_SHORT}
