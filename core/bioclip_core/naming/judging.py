"""The one test of what a name is: a scientific name, or something else that must not become a taxon."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from bioclip_core.naming.common_names import (
    is_common_binomial,
    is_common_name,
    is_plain_name,
    is_unlike_genus,
    is_unlike_latin,
)
from bioclip_core.naming.first import scientific_half
from bioclip_core.naming.parts import PLACEHOLDER
from bioclip_core.naming.reader import read
from bioclip_core.naming.several import names_in
from bioclip_core.naming.spelling import clean_name, tidy
from bioclip_core.naming.verdict_words import MEANINGS, VerdictWord, is_folder_word, is_verdict_word, verdict_of_word

_CODE = re.compile(
    r"""(?:[A-Z]{2,8}|(?i:id|img|dsc|dscf|label|class|cluster|category|group|type|object|specimen|sample|morpho|morphotype|morphospecies|morphosp|taxon))
        [\s._-]*\#?\d[\w.-]*
        |[A-Za-z]+\d+|\d[\d\s._-]*|[A-Z]{2,5}[:.-]\S*\d\S*|[0-9a-fA-F]{8}-[0-9a-fA-F-]{20,}|\w+://\S+|urn:\S+
        |\S+\.(?i:jpe?g|png|tiff?|cr2|nef|arw|mp4|avi|mov)""",
    re.VERBOSE | re.ASCII,
)
_LINES = re.compile(r"\s*[\r\n\t]\s*")
_SHOUTED = re.compile(r"[A-Z]{1,3}|[^AEIOUY\W\d_]{2,6}")
_UNNAMED = re.compile(
    r"(?:unidentified|unknown|unident|unbekannt\w*|unbestimmt\w*|inconnue?|onbekende?|desconocid[oa]|sconosciut[oa]) (.+)",
    re.IGNORECASE,
)


class NameKind(StrEnum):
    """Kinds of cells that claim to be a name."""

    SCIENTIFIC = "scientific name"
    VERDICT = "word for a verdict"
    SEVERAL = "several names"
    CODE = "number or code"
    FOLDER = "word for a folder"
    """A word that names a folder by its use, such as "DCIM", "Export" and "May". Beside other columns it says nothing."""
    COMMON = "common name"
    DOUBTFUL = "doubtful name"
    """Words that are in no list, and that do not look Latin."""
    MISSPELT = "suspected misspelling"
    """Letters of the name tell it ("meIes"), or a comparison with other names: :mod:`bioclip_training.catalog.naming.likeness`."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a written name is."""

    kind: NameKind
    reason: str = ""
    """A sentence about a name that is not a scientific one."""
    verdict: VerdictWord | None = None
    names: tuple[str, ...] = ()
    """The names of a cell with several; of a misspelt one, the name that is probably meant."""

    @property
    def is_name(self) -> bool:
        """True for a scientific name, as far as its form tells."""
        return self.kind is NameKind.SCIENTIFIC


_IS_NAME = Judgement(NameKind.SCIENTIFIC)
_IS_CODE = Judgement(NameKind.CODE, "a number or code, not a name")
_IS_FOLDER = Judgement(NameKind.FOLDER, "a word for a folder, not a name")
_IS_ALONE = Judgement(
    NameKind.DOUBTFUL, "doubtful, since it is a single word that does not look like a genus or a family"
)
_MIXED = re.compile(r"[A-Za-z]*[a-z](?:[A-Z](?=[a-z]|$)|[01](?=[a-z]))[A-Za-z01]*", re.ASCII)
"""Words with a capital or a digit inside: "meIes" and "vu1pes"."""
_PREFIXED = re.compile(
    r"(?:x[A-Z]|Mc[A-Z]|Mac[A-Z]|De[A-Z]|(?:de|du|von|van|di|la|le|mc|mac|del|des|der|den|st|ten|ter|da|dos|zu|zur|d)[A-Z]).*"
)
"""Words that are written with a capital inside: authors, and hybrid genera."""
_READ_AS = str.maketrans({"I": "l", "1": "l", "0": "o", "5": "s"})
_COMMON = Judgement(NameKind.COMMON, "a common name, where a scientific name is due")


def judge_name(cell: Any) -> Judgement:
    """Return what a cell is that claims to be a name. Empty cells and placeholders are left to the parser, as are doubts ("cf.").

    >>> judge_name("Red fox").kind.value, judge_name("Leer").verdict, judge_name("Vulpes vulpes").is_name
    ('common name', 'blank', True)
    """
    return _judged(cell if isinstance(cell, str) else clean_name(cell))


def judge_binomial(genus: str, epithet: str) -> Judgement:
    """Return what the words of a genus column and of an epithet column are together."""
    if (alone := judge_name(genus)).kind not in (NameKind.SCIENTIFIC, NameKind.DOUBTFUL, NameKind.FOLDER):
        return alone
    if (word := verdict_of_word(epithet)) and word != "unidentifiable":  # the parser knows "sp." and "indet."
        return Judgement(NameKind.VERDICT, f"a word for {MEANINGS[word]}, not a name", word)
    return _COMMON if is_common_binomial(genus, epithet) else _IS_NAME


@lru_cache(16_384)
def _judged(cell: str) -> Judgement:
    if is_plain_name(cell) and not is_verdict_word(cell) and (" " in cell or not is_folder_word(cell)):
        return _IS_NAME
    cell = _LINES.sub("; ", cell.strip())
    text = clean_name(cell)
    if word := verdict_of_word(text or cell):
        return Judgement(NameKind.VERDICT, f"a word for {MEANINGS[word]}, not a name", word)
    if not text:
        return _IS_NAME
    if len(names := names_in(text)) > 1:
        return Judgement(NameKind.SEVERAL, f"several names in one cell: {', '.join(names)}", names=names)
    name = scientific_half(tidy(names[0]))
    if is_folder_word(text):
        return _IS_FOLDER
    if _CODE.fullmatch(name):
        return _IS_CODE
    if (unnamed := _UNNAMED.fullmatch(name)) and (is_common_name(unnamed[1]) or unnamed[1][0].islower()):
        return Judgement(NameKind.VERDICT, f"a word for {MEANINGS['unidentifiable']}, not a name", "unidentifiable")
    if is_common_name(name):
        return _COMMON
    if meant := _meant(name):
        return Judgement(NameKind.MISSPELT, f"a capital or a digit inside a word, perhaps of {meant}", names=(meant,))
    if name.isupper() and _SHOUTED.fullmatch(name):
        return _IS_CODE
    if is_unlike_latin(name):
        return Judgement(NameKind.DOUBTFUL, "doubtful, since its words are not Latin")
    return _IS_NAME


def judge_alone(cell: Any) -> Judgement:
    """Return what a cell or folder name is if no rank beside it and no second word tells: a single word must look like a genus or family.

    >>> judge_alone("Quercus").is_name, judge_alone("Standort").is_name, judge_alone("pusto").is_name
    (True, False, False)
    """
    judgement, text = judge_name(cell), clean_name(cell)
    return _IS_ALONE if judgement.is_name and text and " " not in text and is_unlike_genus(text) else judgement


def judge_word(cell: Any) -> Judgement:
    """Return what a plain label is: alternatives ("Felis silvestris or catus") are several names, since an image has one label."""
    judgement, text = judge_name(cell), clean_name(cell)
    if judgement.is_name and text and read(text).doubt in ("or", "vel", "/"):
        return Judgement(NameKind.SEVERAL, f"several names in one cell: {text}")
    if judgement.is_name and text and read(text).unread == PLACEHOLDER:
        return Judgement(NameKind.VERDICT, f"a word for {MEANINGS['unidentifiable']}, not a name", "unidentifiable")
    return judgement


def _meant(name: str) -> str:
    """Return the probable spelling of a name with a capital or a digit inside one of its two words; empty for any other name."""
    written = name.split()[:2]
    odd = [bool(_MIXED.fullmatch(word)) and not _PREFIXED.fullmatch(word) for word in written]
    if not any(odd) or (len(written) > 1 and written[1][:1].isupper()):
        return ""
    words = [
        word[0] + word[1:].translate(_READ_AS).lower() if at else word for word, at in zip(written, odd, strict=True)
    ]
    return " ".join([words[0].capitalize(), *words[1:]])
