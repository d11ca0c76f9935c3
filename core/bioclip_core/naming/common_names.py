"""Common names told from scientific ones: by the words of languages, and by endings that no Latin word has."""

from __future__ import annotations

import re

from bioclip_core.naming.verdict_words import word_key
from bioclip_core.naming.vernacular import ALONE, FIRST_WORDS, LATIN_NOUNS, NOUNS
from bioclip_core.naming.words import DOUBT, NOT_PLAIN, UNNAMED_SPECIES

_POSSESSIVE = re.compile(r"(?:[^\W\d_]+ ){0,2}[^\W\d_]{2,}(?:'s|s') [^\W\d_]", re.IGNORECASE)
_COMPOUND = re.compile(
    r"[^\W\d_]+-(?:and-[^\W\d_]+-?)?(?:[^\W\d_]+(?:ed|ous|like)|blue|green|red|grey|gray|black|white|brown|yellow)?"
    r"|[a-z]{3,}(?:tail|fin|nose|head|back|bill|eye|mouth|snout|cheek|spot|stripe|scale|tooth|wing|breast|throat|neck|foot|belly)",
    re.IGNORECASE,
)
"""First words such as "white-tailed" and "longnose"."""
_PARTICIPLE = re.compile(r"[a-z]{2,}-[a-z]{2,}ed")
"""Words such as "half-collared", which no epithet is like."""
_HEAD = re.compile(
    r"[a-z]{2,}(?:fish|bird|fowl|worm|weed|crab|wort|grass|berry|duck|hawk|mouse|snake|eater|catcher|pecker|creeper|hopper|skipper|shark|deer|squirrel"
    r"|goose|finch|thrush|owl|dove|pigeon|eagle|vogel|kaefer|fuchs|hirsch|schwein|hase|marder|meise|drossel|specht|eule|bussard|adler"
    r"|katze|hund|fisch|falter|huhn|taube|kraehe|reiher|storch|schlange|frosch|kroete|biene|hummel|spinne|schnecke|baum|blume|kaninchen)(?:s|e|n|en)?"
)
"""Nouns that are made of others."""
_OF = frozenset("of du de des del della delle dei da do di d' à a aux al la el las los".split())
"""Words behind the first noun of a common name. Authors begin with them too, so a word in small letters must follow."""
_FOREIGN = re.compile(r"[éèêàâçñáíóúãõîôûåøšžčłąęń]", re.IGNORECASE)
"""Letters that no genus has. The diaeresis and the umlaut of authors are not among them."""
_STRONG_LATIN = re.compile(r".{2,}(?:us|um|is|ae|es|ax|ex|ix|yx|ops|opsis|ella|oides|phora|ia)$")
_STRONG_EPITHET = re.compile(r"[a-z]{3,}(?:us|um|is|ae|ii|oides)", re.ASCII)
_UNLIKE_LATIN = re.compile(r".*(?:[bcdfghjklpqtvwz]|(?<!u)m|[^oe]y|ee|oo|ing)$")
"""Words with an ending that few genera and few epithets have."""
_MORE_UNLIKE_LATIN = re.compile(r".*(?:[dhjpqvw]|[^oe]y|ing)$")
"""A word alone, with an ending that hardly any genus has."""
# Authors of names whose surnames are nouns here: "Rosa Wolf" is a genus with its author.
_SURNAMES = frozenset(
    "fox wolf swan crane finch bird moss lamb hare martin swift robin wren bass ray kite star heron pike hawk drake lion bee adler hase "
    "fuchs vogel specht fink haas vos mol hirsch hahn habicht linde fisher falcon eagle bunting fish moth king".split()
)
_UNLIKE_GENUS = re.compile(r".*(?:[bcdfghjkpqtvwz]|(?<!u)m|[^oe]y|ee|oo|ing)$")
"""A word alone that is in no column of a rank."""
_LIKE_GENUS = re.compile(
    r".{2,}(?:us|um|is|ae|es|as|os|ax|ex|ix|yx|ops|opsis|ea|ia|ella|illa|ula|aria|ena|ina|ora|ura|yra|oidea|optera|on)$"
)
"""Endings of a genus or family by which even a word in small letters is one."""
_CAMEL = re.compile(r"(?<=[a-z]{3})(?=[A-Z][a-z])")
"""Joints of words such as "gazelleThomsons"."""
_ODD_GENERA = frozenset("tenrec caracal zingel radjah mugil muntjak".split())
_WORD = re.compile(r"[^\W\d_][^\W\d_'’.-]*(?:[-'’][^\W\d_]+)*\.?")


_FEW_PLAIN = re.compile(r"[A-Z][a-z]+(?: [a-z]{3,})?", re.ASCII)


def is_plain_name(text: str) -> bool:
    """True for one or two plain words that are surely no common name, which most names are: ten times as fast as the whole test."""
    if not _FEW_PLAIN.fullmatch(text):
        return False
    first, _, second = text.lower().partition(" ")
    if first in NOUNS or first in FIRST_WORDS or first in ALONE or second in NOUNS or second in NOT_PLAIN:
        return False
    if _COMPOUND.fullmatch(first) or _HEAD.fullmatch(first) or (second and _HEAD.fullmatch(second)):
        return False
    return not (_UNLIKE_LATIN.match(first) and (not second or _UNLIKE_LATIN.match(second)))


def words_of(text: str) -> list[str]:
    """Return the words of a name before its first bracket, comma or number."""
    return _WORD.findall(re.split(r"[(\[,;|/\d]", text, maxsplit=1)[0])


def is_common_name(text: str) -> bool:
    """True for a text whose words are those of a common name: "Red fox", "Deer", "Renard roux", "Père David's deer"."""
    written = words_of(_CAMEL.sub(" ", text) if " " not in text else text)
    if not written:
        return False
    keys = [word_key(word) for word in written]
    first, last = keys[0], keys[-1].rpartition(" ")[2]
    if first in NOUNS or _HEAD.fullmatch(first):
        return True
    if len(keys) == 1:
        return first in ALONE
    if first in FIRST_WORDS and _is_name_of(written[1:]):
        return False
    if any(_PARTICIPLE.fullmatch(word) for word in written[1:]):
        return True
    if first in FIRST_WORDS or _COMPOUND.fullmatch(written[0]) or _POSSESSIVE.match(text.replace("’", "'")):
        return True
    if len(keys) > 2 and written[1].lower() in _OF and written[1].islower() and written[2][0].islower():
        return True
    if len(keys) > 5 or not (last in NOUNS or _HEAD.fullmatch(last)):
        return False
    if len(keys) == 2:
        is_author = written[1][0].isupper() and last in _SURNAMES and not _UNLIKE_LATIN.match(first)
        return not is_author and not _STRONG_LATIN.match(first)
    return written[-1][0].islower() or (written[1][0].isupper() and not written[1].endswith("."))


def _is_name_of(words: list[str]) -> bool:
    """True for an epithet or an abbreviated author, with or without authors: the word before them is a genus, whatever it looks like."""
    first, rest = words[0], words[1:]
    if (first[0].isupper() and first.endswith(".")) or first.lower().rstrip(".") in DOUBT.keys() | UNNAMED_SPECIES:
        return True
    if first[0].islower() and rest and rest[0][0].isupper() and rest[0].endswith("."):
        return True  # "ruber L."
    is_epithet = bool(_STRONG_EPITHET.fullmatch(first)) and first not in LATIN_NOUNS
    return is_epithet and (not rest or rest[0][0].isupper() or rest[0] in ("x", "×"))


def is_common_binomial(genus: str, epithet: str) -> bool:
    """True for two words of two columns that are a common name: the columns are right unless the words are nouns."""
    first, last = word_key(genus), word_key(epithet)
    if first in NOUNS or _HEAD.fullmatch(first):
        return True
    return (last in NOUNS or bool(_HEAD.fullmatch(last))) and not _STRONG_LATIN.match(first)


def is_unlike_latin(text: str) -> bool:
    """True for a text whose first word has letters that no genus has, or whose first two end as no genus and no epithet does."""
    written = words_of(text)[:2]
    keys = [word.lower().rstrip(".") for word in written]
    if written and _FOREIGN.search(written[0]):
        return True
    if not NOT_PLAIN.isdisjoint(keys[1:]):  # "Valamugil spp", as nobody writes a common name
        return False
    if not keys or keys[0] in _ODD_GENERA or len(set(keys)) < len(keys):  # "Zingel zingel" was made by a zoologist
        return False
    if len(keys) == 1:
        return bool(written[0].isalpha() and _MORE_UNLIKE_LATIN.match(keys[0]))
    return all(word.isalpha() and _UNLIKE_LATIN.match(key) for word, key in zip(written, keys, strict=True))


def is_unlike_genus(text: str) -> bool:
    """True for a single word that does not look like a genus or family: its ending, or small letters without a Latin ending."""
    key = word_key(text)
    if key in _ODD_GENERA or not text.isalpha():
        return False
    return bool(_UNLIKE_GENUS.match(key)) or (text[0].islower() and not _LIKE_GENUS.match(key))


def is_unlike_latin_epithet(text: str) -> bool:
    """True for a binomial whose second word does not end as an epithet does: "Camera trap", "Plot two"."""
    return not re.fullmatch(r".{2,}(?:us|um|is|ae|es|ax|ex|ix|ens|ans|ii|a|i|e|or|er)", text.rsplit(maxsplit=1)[-1])
