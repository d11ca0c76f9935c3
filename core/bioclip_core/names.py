"""A written scientific name taken apart: genus, epithets, hybrid marks, doubts and authorship, and the key it is looked up by."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache

from bioclip_core.taxonomy import clean_name, taxon_from_row

_PLAIN = re.compile(r"([A-Z][a-z]+)(?: ([a-z]{3,}))?(?: ([a-z]{3,}))?", re.ASCII)
_WORD = re.compile(r"[^\W\d_][^\W_]*(?:[-'’.][^\W_]+)*")
_SUBGENUS = re.compile(r"^\(\s*[^\W\d_]+\.?\s*\)\s+(?=[×✕]|[^\W\d_])")
_INFRASPECIFIC = frozenset(
    "subsp ssp var subvar f fo forma form subf cv convar nothosubsp nothovar nothof morph ab aberr race prol lusus".split()
)
_DOUBT = frozenset("cf aff nr near prox".split())
_NO_EPITHET = re.compile(r"(?:spp?|spec|species|indet|undet|ined|gen|n|nov)\.?\d*$|sp\.?\s*\d+$")
_PARTICLES = frozenset(
    "de da do del della der den des di du la le van von zu zur ex et and in al auct non sensu nec".split()
)
_SPECIAL = _INFRASPECIFIC | _DOUBT | _PARTICLES | frozenset("sp spp spec species indet undet ined gen nov".split())
"""Words in small letters that are no epithet."""
_SIGNS = "×✕"
_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ß": "ss", "ø": "o", "ł": "l", "ı": "i", "đ": "d", "-": "", "'": "", "’": ""}
)


@dataclass(frozen=True, slots=True)
class WrittenName:
    """The parts of a name. ``genus`` is the first word, of whatever rank a name of one word is."""

    text: str
    genus: str = ""
    """Capitalised, without a hybrid mark."""
    epithet: str = ""
    infraspecific: str = ""
    authorship: str = ""
    hybrid_genus: bool = False
    hybrid: bool = False
    """The mark stands before the epithet."""
    doubt: str = ""
    """``sp.``, ``cf.``, ``aff.`` or ``hybrid formula``: the name is certain of no more than the genus."""
    epithet_alone: bool = False
    """One word in lower case: an epithet, which names nothing without its genus."""
    reading: str = ""
    """A capitalised second word as the epithet that it may be ("Acer Rubrum"); empty where it can only be an author."""

    @property
    def key(self) -> str:
        """What the name is looked up by: small letters without accents, hyphens and hybrid marks."""
        return key_of(self.genus, self.epithet, self.infraspecific) if self.genus else folded(self.text)

    @property
    def canonical(self) -> str:
        """The name without authorship, with its hybrid marks."""
        if not self.genus:
            return self.text
        genus = f"× {self.genus}" if self.hybrid_genus else self.genus
        epithet = f"× {self.epithet}" if self.hybrid else self.epithet
        return " ".join(part for part in (genus, epithet, self.infraspecific) if part)

    def read_as_binomial(self) -> WrittenName:
        """The same with the capitalised second word as its epithet."""
        return replace(self, epithet=self.reading, reading="", authorship="")


def folded(word: str) -> str:
    """Small letters, no accents, hyphens or apostrophes.

    >>> folded("Novæ-Zelandiæ")
    'novaezelandiae'
    """
    word = word.lower().translate(_LETTERS)
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return word


def key_of(*words: str) -> str:
    """The key of a name from its words; empty ones are left out."""
    joined = " ".join(word for word in words if word)
    return joined.lower() if joined.isascii() and joined.replace(" ", "").isalpha() else folded(joined)


def literal_key(text: str) -> str:
    """The key of what is no plain name: a hybrid formula, a barcode, "sp. 3"."""
    return folded(text.replace("×", "x"))


def parse_name(text: str) -> WrittenName:
    """Take a name apart. What is no name ("BOLD:AAA0001") has no genus and is looked up as it is written.

    >>> parse_name("Prunus x schmittii Rehder").canonical
    'Prunus × schmittii'
    """
    plain = _PLAIN.fullmatch(text)
    if plain and plain[2] not in _SPECIAL and plain[3] not in _SPECIAL:
        return WrittenName(text, plain[1], plain[2] or "", plain[3] or "")
    cleaned = clean_name(text).lstrip("†?[\"“' ").rstrip("]\"”'? ")
    if cleaned.isupper() and " " in cleaned:
        cleaned = cleaned.capitalize()
    return _taken_apart(cleaned) if cleaned else WrittenName("")


def _is_unnamed(word: str) -> bool:
    return _NO_EPITHET.fullmatch(word) is not None


def _taken_apart(text: str) -> WrittenName:
    hybrid_genus, rest = _without_mark(text)
    first, _, rest = rest.partition(" ")
    if first.rstrip(".").lower() in _DOUBT and rest:  # "cf. Acer rubrum": a doubt about all of it
        return replace(_taken_apart(rest), epithet="", infraspecific="", doubt=f"{first.rstrip('.')}.")
    if not _WORD.fullmatch(first.rstrip(".,")) or any(c.isdigit() for c in first):
        return WrittenName(text)
    if not rest and first[0].islower() and not hybrid_genus:
        return WrittenName(text, epithet_alone=True)
    genus = first[:1].upper() + first[1:].lower().rstrip(",")
    name = WrittenName(text, genus, hybrid_genus=hybrid_genus)
    return _with_rest(name, _SUBGENUS.sub("", rest))


def _without_mark(text: str) -> tuple[bool, str]:
    """Whether a hybrid mark stands first, and what follows it; the letter x counts where it stands alone."""
    if text[:1] in _SIGNS and text[:1]:
        return True, text[1:].lstrip()
    if text[:2] in ("x ", "X "):
        return True, text[2:].lstrip()
    return False, text


def _with_rest(name: WrittenName, rest: str) -> WrittenName:
    """Add what follows the genus."""
    hybrid, rest = _without_mark(rest)
    word, _, after = rest.partition(" ")
    bare = word.rstrip(".,").lower()
    if not word:
        return name
    if word[0].islower() and bare in _DOUBT:
        return replace(name, doubt=f"{bare}.")
    if word[0].islower() and _is_unnamed(word.lower()):
        return replace(name, doubt="sp.")
    if hybrid and _WORD.fullmatch(word) and not (word[0].isupper() and after[:1].islower()):
        return _with_infraspecific(replace(name, epithet=word.lower(), hybrid=True), after)
    if hybrid:
        return replace(name, doubt="hybrid formula")
    if word[0].islower() and bare not in _PARTICLES and _WORD.fullmatch(word):
        return _with_infraspecific(replace(name, epithet=word.lower()), after)
    is_epithet = _WORD.fullmatch(word) and word[1:].islower() and not any(c.isdigit() or c in ",&(" for c in after)
    return replace(name, authorship=rest, reading=word.lower() if is_epithet else "")


def _with_infraspecific(name: WrittenName, rest: str) -> WrittenName:
    """Add what follows the epithet: a third name with or without its rank, authors, or the other parent of a hybrid."""
    words = rest.split()
    for place, word in enumerate(words):
        if word[0] in _SIGNS or (word in ("x", "X") and place + 1 < len(words)):
            return replace(name, epithet="", doubt="hybrid formula")
        if word.rstrip(".").lower() in _INFRASPECIFIC and place + 1 < len(words) and words[place + 1][0].islower():
            author = " ".join(words[place + 2 :] or words[:place])
            return replace(name, infraspecific=words[place + 1].lower(), authorship=author)
    first = words[0] if words else ""
    if len(first) > 2 and first[0].islower() and first not in _PARTICLES and first.isalpha() and first not in _SPECIAL:
        return replace(name, infraspecific=first, authorship=" ".join(words[1:]))
    return replace(name, authorship=rest)


@lru_cache(maxsize=1000)
def kingdom_named(name: str) -> str:
    """A kingdom under the name that it has here: "Metazoa" is Animalia."""
    return taxon_from_row({"kingdom": name}).kingdom


@lru_cache(maxsize=10_000)
def same_authorship(one: str, other: str) -> bool:
    """Whether two authorships may be the same: their years agree, and the first author of one begins the other's.

    >>> same_authorship("L., 1758", "(Linnaeus, 1758)")
    True
    """
    years = [re.findall(r"\b1[5-9]\d\d\b|\b20\d\d\b", text)[:1] for text in (one, other)]
    if years[0] and years[1] and years[0] != years[1]:
        return False
    authors = [re.findall(r"[a-z]+", folded(text)) for text in (one, other)]
    if not authors[0] or not authors[1]:
        return bool(years[0] and years[0] == years[1])
    first, second = (_first_surname(words) for words in authors)
    return first.startswith(second) or second.startswith(first)


def _first_surname(words: list[str]) -> str:
    """The first word that is no initial, else the first."""
    return next((word for word in words if len(word) > 1 and word not in _PARTICLES), words[0])
