"""Common names as sources write them: cleaned, several in a cell taken apart, and languages by their codes."""

from __future__ import annotations

import re
from functools import lru_cache

from bioclip_core.names import clean_name, parse_name
from bioclip_core.naming.common_names import is_plain_name
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.taxonomy.index import TaxonomyFile

PLACEHOLDER = "common names that are a placeholder or without letters"
SCIENTIFIC = "common names that are scientific names"
INVERTED = "common names of two parts with a comma, which may be inverted"
SEVERAL = "cells with several common names, of which the first is taken"
SHOUTED = "common names in capitals, written in small letters"
OTHER_SCRIPT = "common names in another script, without their language"

_LONGEST = 80
_SEPARATORS = re.compile(r"\s*[;|\n\t]\s*|\s+/\s+")
_REMARK = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*$")
_QUOTES = "\"'“”„«»‘’"
_CODES = {
    "eng": "en", "english": "en", "deu": "de", "ger": "de", "german": "de", "deutsch": "de", "fra": "fr", "fre": "fr", "french": "fr",
    "spa": "es", "spanish": "es", "por": "pt", "portuguese": "pt", "ita": "it", "italian": "it", "nld": "nl", "dut": "nl", "dutch": "nl",
    "swe": "sv", "swedish": "sv", "nor": "no", "nob": "nb", "nno": "nn", "norwegian": "no", "dan": "da", "danish": "da", "fin": "fi",
    "finnish": "fi", "pol": "pl", "polish": "pl", "ces": "cs", "cze": "cs", "czech": "cs", "rus": "ru", "russian": "ru", "ukr": "uk",
    "jpn": "ja", "japanese": "ja", "zho": "zh", "chi": "zh", "chinese": "zh", "kor": "ko", "korean": "ko", "ara": "ar", "arabic": "ar",
    "tur": "tr", "turkish": "tr", "hun": "hu", "hungarian": "hu", "ell": "el", "gre": "el", "greek": "el", "heb": "he", "hin": "hi",
    "ind": "id", "indonesian": "id", "msa": "ms", "may": "ms", "tha": "th", "vie": "vi", "afr": "af", "cat": "ca", "ron": "ro", "rum": "ro",
    "bul": "bg", "hrv": "hr", "slv": "sl", "slk": "sk", "slo": "sk", "est": "et", "lav": "lv", "lit": "lt", "isl": "is", "ice": "is",
    "lat": "la", "latin": "la", "und": "", "unknown": "",
}  # fmt: skip
"""Codes of three letters (ISO 639-2) and names of languages that tables of common names use."""


@lru_cache(maxsize=4096)
def language_of(text: str) -> str:
    """Return a language's tag of two letters, without script and region; empty if it is not stated.

    >>> language_of("eng"), language_of("pt-BR"), language_of("English"), language_of("")
    ('en', 'pt', 'en', '')
    """
    plain = clean_name(text).lower()
    first = re.split(r"[-\s]", plain)[0]
    return _CODES.get(plain, _CODES.get(first, first))


@lru_cache(maxsize=200_000)
def cleaned_common(text: str) -> tuple[str, tuple[str, ...]]:
    """Return a common name without markup, remarks and shouting, and words for what was changed or is wrong.

    The name is empty if the text has none.

    >>> cleaned_common("<b>Red fox</b> (adult)"), cleaned_common("red fox; fox")[0]
    (('Red fox', ()), 'red fox')
    """
    notes: list[str] = []
    parts = [part for part in _SEPARATORS.split(clean_name(text)) if part]
    by_comma = [part.strip() for part in parts[0].split(",") if part.strip()] if parts else []
    if len(parts) == 1 and len(by_comma) == 2:
        return "", (INVERTED,)
    if len(parts) > 1 or len(by_comma) > 2:
        notes.append(SEVERAL)
    name = by_comma[0] if len(by_comma) > 2 else parts[0] if parts else ""
    name = " ".join(_REMARK.sub("", name).strip(f" .,:;-{_QUOTES}").split())
    if not 1 < len(name) <= _LONGEST or not any(map(str.isalpha, name)) or name.isdigit():
        return "", (PLACEHOLDER,)
    if name.isupper():
        name, notes = name.lower(), [*notes, SHOUTED]
    return name, tuple(notes)


def is_scientific(name: str, taxon: Taxon, taxonomy: TaxonomyFile | None) -> bool:
    """True for a common name that is a scientific one: of the taxon, of a rank above it, or any name that the taxonomy lists."""
    key = name.casefold()
    if key == taxon.scientific_name.casefold() or any(key == taxon.lineage[rank.depth].casefold() for rank in RANKS):
        return True
    if key.startswith(f"{taxon.genus.casefold()} ") and taxon.genus and " " not in key.partition(" ")[2]:
        return parse_name(name).epithet != "" and name[1:].islower() and is_plain_name(name)
    return taxonomy is not None and " " in name and is_plain_name(name) and bool(taxonomy.rows(parse_name(name).key))


def is_latin_script(name: str) -> bool:
    """True if all letters are Latin ones, with marks or not."""
    return all(letter < "\u0250" or "\u1e00" <= letter < "\u1f00" for letter in name if letter.isalpha())
