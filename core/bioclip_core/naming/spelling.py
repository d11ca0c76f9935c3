"""Spelling of names: cells made clean, letters as the codes of nomenclature write them, and keys for lookups."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from typing import Any

from bioclip_core.naming.words import NUMERALS, PLACEHOLDERS

SIGNS = "×"
"""The hybrid mark; :func:`tidy` writes every other form of it so."""

_TAG = re.compile(r"</?[A-Za-z][^<>]{0,60}>")
_ENTITY = re.compile(r"&#?\w{1,8};")
_UNESCAPED = 3
"""Times that a text may have been escaped: "&amp;lt;i&amp;gt;" was twice."""
# Windows-1252 letters that are bytes of UTF-8: a first byte, then one to three others.
_OTHER_BYTES = "\u0080-\u00bf" + "".join(bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0))
_MISREAD = re.compile(f"[\u00c2-\u00f4][{_OTHER_BYTES}]{{1,3}}")
_INVISIBLE = dict.fromkeys([0x00, 0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF])
# Letters as botanists write them (Article 60.7); the diaeresis of "Isoëtes" is only a mark and goes like an accent.
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "œ": "oe", "ø": "oe", "å": "ao", "ß": "ss",
     "ł": "l", "ı": "i", "đ": "d", "ð": "d", "þ": "th"}
)  # fmt: skip
_JOINTS = str.maketrans({"-": "", "'": ""})
# Signs that look alike, and Cyrillic letters that look like Latin ones and stray into names.
_SIGNS = str.maketrans(
    {**dict.fromkeys("✕✖⨯╳⨉✗✘", "×"), **dict.fromkeys("‘’‛′`´ʼ", "'"), **dict.fromkeys("“”„«»‟″", '"'), **dict.fromkeys("‐‑‒–—−", "-"),
     **dict.fromkeys("♂♀☿⚥⚲†‡✝®™", " "), "¿": "?", "…": "...", "≡": " = ",
     **dict(zip("аеорсхуіјѕАЕОРСХКМТВНІпг", "aeopcxyijsAEOPCXKMTBHInr", strict=True))}
)  # fmt: skip
_NUMBERED = re.compile(r"(\d{1,3})[-.]?([a-z]{3,}[a-z-]*)")


def clean_name(text: Any) -> str:
    """Return a cell as text without tags and superfluous white space; empty for missing values and placeholders."""
    try:
        if text is None or bool(text != text):  # NaN is not equal to itself
            return ""
    except TypeError:  # pandas' NA is neither equal nor unequal
        return ""
    name = str(text)
    if "&" in name:
        name = unescaped(name)
    if not name.isascii():
        name = well_read(name)
        name = unicodedata.normalize("NFC", name).translate(_INVISIBLE)
    if "<" in name:
        name = _TAG.sub("", name)
    name = " ".join(name.replace("_", " ").replace("\x00", "").split())
    word = name.lower()
    return "" if word in PLACEHOLDERS or word.replace(" ", "_") in PLACEHOLDERS else name


def unescaped(text: str) -> str:
    """Return a text with the characters that its HTML entities stand for, also if it was escaped more than once.

    >>> unescaped("Salix &amp;times; rubens")
    'Salix × rubens'
    """
    for _ in range(_UNESCAPED):
        if not _ENTITY.search(text):
            break
        text = html.unescape(text)
    return text


def well_read(text: str) -> str:
    """Return a text whose UTF-8 was read as Windows-1252 or Latin-1, once or twice, as it was written; any other text as it is.

    >>> well_read("IsoÃ«tes"), well_read("Salix Ã— rubens"), well_read("Ângela")
    ('Isoëtes', 'Salix × rubens', 'Ângela')
    """
    once = _MISREAD.sub(_decoded, text)
    return once if once == text else _MISREAD.sub(_decoded, once)


def _decoded(misread: re.Match[str]) -> str:
    try:
        return b"".join(_byte(letter) for letter in misread[0]).decode("utf-8")
    except UnicodeError:
        return misread[0]


def _byte(letter: str) -> bytes:
    """Return the byte that was read as a letter: Windows-1252 has no letter for five bytes, which stay control characters."""
    return bytes([ord(letter)]) if letter < "\u0100" else letter.encode("cp1252")


def tidy(name: str) -> str:
    """Return a clean name with one form of each sign; daggers and signs of the sexes are blanks."""
    return name if name.isascii() else " ".join(name.translate(_SIGNS).split())


@lru_cache(maxsize=4096)
def latin(word: str) -> str:
    """Return a word of a name as the codes spell it: in small letters, without marks and ligatures, its number as a word.

    >>> latin("Köhleria"), latin("isoëtes"), latin("7-punctata")
    ('koehleria', 'isoetes', 'septempunctata')
    """
    word = word.lower()
    if not word.isascii():
        word = unicodedata.normalize("NFC", word).translate(_LETTERS)
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    if word[:1].isdigit() and (numbered := _NUMBERED.fullmatch(word)) and numbered[1] in NUMERALS:
        word = NUMERALS[numbered[1]] + numbered[2]
    if ".-" in word:  # "st.-johnii"
        word = word.replace(".-", "-")
    return word


def folded(word: str) -> str:
    """Return lower case without accents, hyphens and apostrophes.

    >>> folded("Novæ-Zelandiæ")
    'novaezelandiae'
    """
    word = word.lower()
    return (word if word.isascii() else latin(word).replace("’", "")).translate(_JOINTS)


def key_of(*words: str) -> str:
    """Return the key of a name from its words; empty words are left out."""
    joined = " ".join(word for word in words if word)
    return joined.lower() if joined.isascii() and joined.replace(" ", "").isalpha() else folded(joined)


def literal_key(text: str) -> str:
    """Return the key of text that is not a plain name: a hybrid formula, a barcode, "sp. 3"."""
    return folded(text.replace("×", "x"))
