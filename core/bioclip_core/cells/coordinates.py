"""Coordinates in cells: decimal degrees, and degrees with minutes and seconds, with a sign or a hemisphere."""

from __future__ import annotations

import re
from functools import lru_cache

from bioclip_core.cells.numbers import MINUS, comma_number_of, plain_number_of

# Signs of degrees, minutes and seconds as people and programs write them, also those of another alphabet that look the same.
_SIGNS = MINUS | {
    ord(sign): plain
    for signs, plain in (
        ("\u00ba\u02da\u2070\u2218*", "°"),
        ("\u2032\u2019\u2018\u00b4`\u02b9\u02bc\uff07", "'"),
        ("\u2033\u201d\u201c\u201e\u201f\u02ba\uff02", '"'),
    )
    for sign in signs
}
_HEMISPHERES = {"N": (90, 1), "S": (90, -1), "E": (180, 1), "W": (180, -1)}
"""The greatest number of degrees of a hemisphere, and its sign. O is not one of them: it is east in German and west in French."""
_WORDS = {
    "north": "N", "nord": "N", "norte": "N", "south": "S", "süd": "S", "sud": "S", "sur": "S", "sul": "S",
    "east": "E", "est": "E", "este": "E", "leste": "E", "ost": "E", "west": "W", "ouest": "W", "oeste": "W", "ovest": "W",
    "lat": "", "lon": "", "long": "", "latitude": "", "longitude": "",
}  # fmt: skip
_WORD = re.compile(r"[^\W\d_]{2,}\.?:?")
_SECONDS_OF = (3600, 60, 1)
"""Seconds of a degree, a minute and a second."""
_NUMBER = r"\d+(?:[.,]\d+)?"
_ANGLE = re.compile(
    rf"(?P<sign>[+-] ?)?(?P<degrees>{_NUMBER})(?:(?: ?(?:[°d:]|deg) ?|(?P<blank> ))(?P<minutes>{_NUMBER})"
    rf"(?:(?: ?(?:['m:]|min) ?| )(?P<seconds>{_NUMBER})(?: ?(?:\"|''|s|sec))?| ?(?:'|m|min)(?: ?s)?)?| ?(?:[°d]|deg))?",
    re.ASCII,
)
_SECONDS = re.compile(r"[dm:'°].*[\dm'] ?s$", re.ASCII)
"""An s that is not the south: 14d 49m 3s, and 14d 49m s."""
_DECIMALS = re.compile(r"\d[.,]\d", re.ASCII)
_EXACT = re.compile(r"\d[.,]\d{3}", re.ASCII)
_LETTER = re.compile(r"[NSEW]")


def degrees_of(cell: object, limit: float) -> float | None:
    """Return the degrees that a cell holds as a plain number; None unless it is from ``-limit`` to ``limit``."""
    degrees = plain_number_of(cell)
    return degrees if degrees is not None and abs(degrees) <= limit else None


def latitude_of(cell: object) -> float | None:
    """Return degrees north; None for a cell that does not hold them for certain.

    >>> latitude_of("50,8503"), latitude_of("S 33 27 00"), latitude_of("51° 3.0' N"), latitude_of("4° 21' E"), latitude_of("50° 51'")
    (50.8503, -33.45, 51.05, None, None)
    """
    return _degrees(cell, 90)


def longitude_of(cell: object) -> float | None:
    """Return degrees east; None for a cell that does not hold them for certain.

    >>> longitude_of("-70,67"), longitude_of("4°21'36\\"W"), longitude_of("4.35 O")
    (-70.67, -4.36, None)
    """
    return _degrees(cell, 180)


def position_of(latitude: object, longitude: object) -> tuple[float | None, float | None]:
    """Return degrees north and east of a pair of cells.

    Returns:
        Two numbers, or None twice: if a cell is not usable, and for 0, 0, which cameras and databases write for an unknown place.
    """
    north, east = _degrees(latitude, 90), _degrees(longitude, 180)
    if north is None or east is None or (north == 0 and east == 0):
        return None, None
    return north, east


def position_in(cell: object) -> tuple[float | None, float | None]:
    """Return degrees north and east of one cell that holds both, the latitude first; None twice for anything else.

    >>> position_in("50.85, 4.35"), position_in("14d 49m S/70d 1m W"), position_in("N50.85 E4.35"), position_in("4.35 E 50.85 N")
    ((50.85, 4.35), (-14.816666666666666, -70.01666666666667), (50.85, 4.35), (50.85, 4.35))
    """
    if not isinstance(cell, str):
        return None, None
    text = _plain(cell).strip("()[] ")
    letters = _LETTER.findall(text)
    if len(letters) == 2 and {*letters} & {*"NS"} and {*letters} & {*"EW"}:
        cut = text.index(letters[1]) if text.startswith(letters[0]) else text.index(letters[0]) + 1
        parts = [text[:cut].strip(" ,;/"), text[cut:].strip(" ,;/")]
        return position_of(*(parts if letters[0] in "NS" else reversed(parts)))
    if letters:
        return None, None
    # Without letters a comma between two numbers is a decimal one, unless a blank follows or decimal points are there.
    commas = r" ?, ?" if "." in text else r" ?, "
    parts = re.split(rf" ?[;/] ?|{commas}", text)
    if len(parts) == 1 and len(_EXACT.findall(text)) == 2:
        parts = text.split(" ")
    # 50 51 and 12.33 56.56 are as often degrees and minutes of one angle.
    return position_of(*parts) if len(parts) == 2 and _DECIMALS.search(text) else (None, None)


def _degrees(cell: object, limit: int) -> float | None:
    if type(cell) is str or type(cell) is float:  # nearly all that there are, and the fast way
        try:
            degrees = float(cell)
        except ValueError:
            return _written(cell, limit) if isinstance(cell, str) else None
        if -limit <= degrees <= limit and not (type(cell) is str and "_" in cell):
            return degrees
        return None
    return degrees_of(cell, limit)


def _plain(text: str) -> str:
    """Return text with one kind of blank, minus, and sign of degrees, and with letters for the words of hemispheres."""
    text = " ".join(text.translate(_SIGNS).split())
    return _WORD.sub(lambda word: _WORDS.get(word[0].rstrip(".:").lower(), word[0]), text).strip() if text else ""


@lru_cache(maxsize=4096)
def _written(cell: str, limit: int) -> float | None:
    """Return degrees from text that is not a plain number."""
    text = _plain(cell)
    letter = ""
    for at in (0, -1):
        found = text[at].upper() if text else ""
        if found in _HEMISPHERES and not (text[at] == "s" and _SECONDS.search(text)):
            if letter or _HEMISPHERES[found][0] != limit:
                return None
            letter, text = found, (text[1:] if at == 0 else text[:-1]).strip(" ,")
    angle = _ANGLE.fullmatch(text)
    if angle is None or (angle["sign"] and letter):
        return None
    degrees = _value(angle, is_directed=bool(letter or (angle["sign"] and not angle["blank"])))
    if degrees is None or degrees > limit:
        return None
    sign = _HEMISPHERES[letter][1] if letter else -1 if (angle["sign"] or "+")[0] == "-" else 1
    return sign * degrees


def _value(angle: re.Match[str], *, is_directed: bool) -> float | None:
    """Return the absolute value of an angle; None if its parts do not fit, or it has minutes and its direction is not stated."""
    parts = [angle[name] for name in ("degrees", "minutes", "seconds") if angle[name] is not None]
    if len(parts) > 1 and not is_directed:
        return None
    if any(not part.isdecimal() for part in parts[:-1]):  # only the last part has decimals
        return None
    numbers = [comma_number_of(part) for part in parts]
    if any(number is None or (place and number >= 60) for place, number in enumerate(numbers)):
        return None
    if len(numbers) == 1:
        return numbers[0]
    # In seconds, so that 4° 21' 36" is 4.36 and not 4.359999.
    return sum((number or 0.0) * _SECONDS_OF[place] for place, number in enumerate(numbers)) / _SECONDS_OF[0]
