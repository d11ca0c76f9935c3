"""The parser of scientific names: genus, epithets, hybrid marks, doubts and authorship, and the keys for lookups."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

INFRASPECIFIC = frozenset(
    "subsp ssp var subvar f fo forma form subf cv convar nothosubsp nothovar nothof morph ab aberr race prol lusus".split()
)
"""Words that announce a name below the species, without their full stop."""
DOUBT = frozenset("cf aff nr near prox".split())
"""Words that make the name behind them uncertain, without their full stop."""
PARTICLES = frozenset(
    "de da do del della der den des di du la le van von zu zur ex et and in al auct non sensu nec".split()
)
"""Lower-case words of authorships."""

# Placeholders that collections write for an unknown name, compared in lower case.
_PLACEHOLDERS = frozenset(
    "unknown null none nan n/a na not_classified unidentified undetermined indet indet. unassigned sp sp. spp spp. ? -".split()
)
_SPECIAL = INFRASPECIFIC | DOUBT | PARTICLES | frozenset("sp spp spec species indet undet ined gen nov".split())
"""Lower-case words that are not epithets."""
_NO_EPITHET = re.compile(r"(?:spp?|spec|species|indet|undet|ined|gen|n|nov)\.?\d*$|sp\.?\s*\d+$")
_PLAIN = re.compile(r"([A-Z][a-z]+)(?: ([a-z]{3,}))?(?: ([a-z]{3,}))?", re.ASCII)
_WORD = re.compile(r"[^\W\d_][^\W_]*(?:[-'’.]+[^\W_]+)*")
_PROVISIONAL = re.compile(r"([^\W\d_]+\d+) ([a-z][^\W_]*)")
_SUBGENUS = re.compile(r"^\(\s*[^\W\d_]+\.?\s*\)\s+(?=[×✕]|[^\W\d_])")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,60}>")
_YEAR = re.compile(r"\b1[5-9]\d\d\b|\b20\d\d\b")
_SIGNS = "×✕"
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ß": "ss", "ø": "o", "ł": "l", "ı": "i", "đ": "d", "-": "", "'": "", "’": ""}
)


@dataclass(frozen=True, slots=True)
class WrittenName:
    """The parts of a name."""

    text: str
    genus: str = ""
    """First word of the name, capitalised and without a hybrid mark; for a name of one word, of any rank."""
    epithet: str = ""
    infraspecific: str = ""
    authorship: str = ""
    hybrid_genus: bool = False
    hybrid: bool = False
    """True if the hybrid mark is before the epithet."""
    doubt: str = ""
    """``sp.``, ``cf.``, ``aff.`` or ``hybrid formula``: only the genus of the name is certain."""
    epithet_alone: bool = False
    """True for a single word in lower case: an epithet, which names nothing without its genus."""
    reading: str = ""
    """The second word as an epithet if it is capitalised ("Acer Rubrum"); empty if it can only be an author."""

    @property
    def key(self) -> str:
        """Key for lookups: lower case without accents, hyphens and hybrid marks."""
        return key_of(self.genus, self.epithet, self.infraspecific) if self.genus else folded(self.text)

    @property
    def binomial(self) -> tuple[str, str]:
        """Genus and epithet, each with its hybrid mark, as a :class:`~bioclip_core.taxonomy.Taxon` holds them."""
        return (
            f"× {self.genus}" if self.hybrid_genus else self.genus,
            f"× {self.epithet}" if self.hybrid else self.epithet,
        )

    @property
    def canonical(self) -> str:
        """The name without authorship, with its hybrid marks."""
        return " ".join(part for part in (*self.binomial, self.infraspecific) if part) if self.genus else self.text

    def read_as_binomial(self) -> WrittenName:
        """Return the name with the capitalised second word as its epithet."""
        return replace(self, epithet=self.reading, reading="", authorship="")


def clean_name(text: Any) -> str:
    """Return a cell as text without tags and superfluous white space; empty for missing values and placeholders."""
    try:
        if text is None or bool(text != text):  # NaN is not equal to itself
            return ""
    except TypeError:  # pandas' NA is neither equal nor unequal
        return ""
    name = str(text)
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    name = " ".join(_TAG.sub("", name).replace("_", " ").replace("\x00", "").split())
    word = name.lower()
    return "" if word in _PLACEHOLDERS or word.replace(" ", "_") in _PLACEHOLDERS else name


def folded(word: str) -> str:
    """Return lower case without accents, hyphens and apostrophes.

    >>> folded("Novæ-Zelandiæ")
    'novaezelandiae'
    """
    word = word.lower().translate(_LETTERS)
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return word


def key_of(*words: str) -> str:
    """Return the key of a name from its words; empty words are left out."""
    joined = " ".join(word for word in words if word)
    return joined.lower() if joined.isascii() and joined.replace(" ", "").isalpha() else folded(joined)


def literal_key(text: str) -> str:
    """Return the key of text that is not a plain name: a hybrid formula, a barcode, "sp. 3"."""
    return folded(text.replace("×", "x"))


def parse_name(text: Any, *, is_species: bool = False) -> WrittenName:
    """Return the parts of a name. Text that is not a name ("BOLD:AAA0001") keeps its wording, without a genus.

    Args:
        text: the name as written, or a cell with it.
        is_species: the source states that the name is of a species, so that a capitalised second word is its epithet.

    >>> parse_name("Prunus x schmittii Rehder").canonical
    'Prunus × schmittii'
    """
    if isinstance(text, str) and (plain := _plain_name(text)):
        return plain
    cleaned = clean_name(text).lstrip("†?[\"“' ").rstrip("]\"”'? ")
    if not cleaned:
        return WrittenName("")
    if cleaned.isupper() and " " in cleaned:
        cleaned = cleaned.capitalize()
    if provisional := _PROVISIONAL.fullmatch(cleaned):  # "UBA1234 sp002" of a collection's own numbering
        return WrittenName(cleaned, provisional[1].capitalize(), provisional[2])
    genus, _, rest = cleaned.partition(" ")
    second, _, after = rest.partition(" ")
    is_shouted = genus.isupper() and second.isupper() and len(genus) > 2 and len(second) > 2
    if second.isalpha() and second not in "xX" and (is_species or is_shouted):
        cleaned = f"{genus} {second.lower()} {after}".rstrip()
    return _parse(cleaned)


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
        hybrid_genus, word = _without_mark(genus)
        word = word.partition(" ")[0]
        of_row = WrittenName(f"{genus} {text}", word[:1].upper() + word[1:].lower(), hybrid_genus=hybrid_genus)
        if text.isalnum() and text[-1].isdigit() and not text.isdigit():  # "sp31": numbered by the collection
            return replace(of_row, epithet=text)
        if rest and own.genus == of_row.genus:
            return replace(own, hybrid_genus=hybrid_genus or own.hybrid_genus)
        is_abbreviated = rest and own.genus == f"{of_row.genus[0]}."
        return replace(_with_rest(of_row, _SUBGENUS.sub("", rest if is_abbreviated else text)), reading="")
    if not own.epithet and (not rest or core[0].islower()):
        return replace(_with_rest(WrittenName(text), text), epithet_alone=True)
    return own


def _plain_name(text: str) -> WrittenName | None:
    """Return the parts of a name without any peculiarity, which are most names, in a third of the time."""
    plain = _PLAIN.fullmatch(text)
    if plain is None or plain[2] in _SPECIAL or plain[3] in _SPECIAL:
        return None
    return WrittenName(text, plain[1], plain[2] or "", plain[3] or "")


def _parse(text: str) -> WrittenName:
    hybrid_genus, rest = _without_mark(text)
    first, _, rest = rest.partition(" ")
    if first.rstrip(".").lower() in DOUBT and rest:  # "cf. Acer rubrum": a doubt about all of it
        return replace(_parse(rest), epithet="", infraspecific="", doubt=f"{first.rstrip('.')}.")
    if not _WORD.fullmatch(first.rstrip(".,")) or any(c.isdigit() for c in first):
        return WrittenName(text)
    if not rest and first[0].islower() and not hybrid_genus:
        return WrittenName(text, epithet_alone=True)
    genus = first[:1].upper() + first[1:].lower().rstrip(",")
    return _with_rest(WrittenName(text, genus, hybrid_genus=hybrid_genus), _SUBGENUS.sub("", rest))


def _without_mark(text: str) -> tuple[bool, str]:
    """Return True and the rest for text that begins with a hybrid mark; the letter x is one if it stands alone."""
    if text[:1] and text[0] in _SIGNS:
        return True, text[1:].lstrip()
    if text[:2] in ("x ", "X "):
        return True, text[2:].lstrip()
    return False, text


def _with_rest(name: WrittenName, rest: str) -> WrittenName:
    """Return the name with what follows the genus."""
    hybrid, rest = _without_mark(rest)
    word, _, after = rest.partition(" ")
    bare = word.rstrip(".,").lower()
    if not word:
        return name
    if word[0].islower() and bare in DOUBT:
        return replace(name, doubt=f"{bare}.")
    if word[0].islower() and _NO_EPITHET.fullmatch(word.lower()):
        return replace(name, doubt="sp.")
    if hybrid and _WORD.fullmatch(word) and not (word[0].isupper() and after[:1].islower()):
        return _with_infraspecific(replace(name, epithet=word.lower(), hybrid=True), after)
    if hybrid:
        return replace(name, doubt="hybrid formula")
    if bare in INFRASPECIFIC and after[:1].islower():  # "Acer var nigrum", without its species
        return replace(name, authorship=rest)
    if word[0].islower() and bare not in PARTICLES and _WORD.fullmatch(word):
        return _with_infraspecific(replace(name, epithet=word.lower()), after)
    is_epithet = _WORD.fullmatch(word) and word[1:].islower() and not any(c.isdigit() or c in ",&(" for c in after)
    return replace(name, authorship=rest, reading=word.lower() if is_epithet else "")


def _with_infraspecific(name: WrittenName, rest: str) -> WrittenName:
    """Return the name with what follows the epithet: a third name with or without its rank, authors, or another parent."""
    words = rest.split()
    for place, word in enumerate(words):
        if word[0] in _SIGNS or (word in ("x", "X") and place + 1 < len(words)):
            return replace(name, epithet="", hybrid=False, doubt="hybrid formula")
        if word.rstrip(".").lower() in INFRASPECIFIC and place + 1 < len(words) and words[place + 1][0].islower():
            authors = words[place + 2 :] or words[:place]
            return replace(name, infraspecific=words[place + 1].lower(), authorship=" ".join(authors))
    first = words[0] if words else ""
    if len(first) > 2 and first[0].islower() and first.isalpha() and first not in _SPECIAL:
        return replace(name, infraspecific=first, authorship=" ".join(words[1:]))
    return replace(name, authorship=rest)


@lru_cache(maxsize=10_000)
def same_authorship(one: str, other: str) -> bool:
    """True if two authorships may be the same: their years agree, and the first author of one begins the other's.

    >>> same_authorship("L., 1758", "(Linnaeus, 1758)")
    True
    """
    years = [_YEAR.findall(text)[:1] for text in (one, other)]
    if years[0] and years[1] and years[0] != years[1]:
        return False
    authors = [re.findall(r"[a-z]+", folded(text)) for text in (one, other)]
    if not authors[0] or not authors[1]:
        return bool(years[0] and years[0] == years[1])
    # The first word that is not an initial, else the first.
    first, second = (
        str(next((word for word in words if len(word) > 1 and word not in PARTICLES), words[0])) for words in authors
    )
    return first.startswith(second) or second.startswith(first)
