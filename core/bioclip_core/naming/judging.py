"""The one test of what a name is: a scientific name, or something else that must not become a taxon."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from bioclip_core.naming.common_names import is_common_binomial, is_common_name, is_plain_name, is_unlike_latin
from bioclip_core.naming.first import scientific_half
from bioclip_core.naming.several import names_in
from bioclip_core.naming.spelling import clean_name, tidy
from bioclip_core.naming.verdict_words import MEANINGS, VerdictWord, is_verdict_word, verdict_of_word

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
    COMMON = "common name"
    DOUBTFUL = "doubtful name"
    """Words that are in no list, and that do not look Latin."""
    MISSPELT = "suspected misspelling"
    """Only a comparison with other names tells it: :mod:`bioclip_core.naming.likeness`."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a written name is."""

    kind: NameKind
    reason: str = ""
    """A sentence about a name that is not a scientific one."""
    verdict: VerdictWord | None = None
    names: tuple[str, ...] = ()
    """The names of a cell with several."""

    @property
    def is_name(self) -> bool:
        """True for a scientific name, as far as its form tells."""
        return self.kind is NameKind.SCIENTIFIC


_IS_NAME = Judgement(NameKind.SCIENTIFIC)
_IS_CODE = Judgement(NameKind.CODE, "a number or code, not a name")
_COMMON = Judgement(NameKind.COMMON, "a common name, where a scientific name is due")


def judge_name(cell: Any) -> Judgement:
    """Return what a cell is that claims to be a name. Empty cells and placeholders are left to the parser, as are doubts ("cf.").

    >>> judge_name("Red fox").kind.value, judge_name("Leer").verdict, judge_name("Vulpes vulpes").is_name
    ('common name', 'blank', True)
    """
    return _judged(cell if isinstance(cell, str) else clean_name(cell))


def judge_binomial(genus: str, epithet: str) -> Judgement:
    """Return what the words of a genus column and of an epithet column are together."""
    if (alone := judge_name(genus)).kind not in (NameKind.SCIENTIFIC, NameKind.DOUBTFUL):
        return alone
    if (word := verdict_of_word(epithet)) and word != "unidentifiable":  # the parser knows "sp." and "indet."
        return Judgement(NameKind.VERDICT, f"a word for {MEANINGS[word]}, not a name", word)
    return _COMMON if is_common_binomial(genus, epithet) else _IS_NAME


@lru_cache(16_384)
def _judged(cell: str) -> Judgement:
    if is_plain_name(cell) and not is_verdict_word(cell):
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
    if _CODE.fullmatch(name):
        return _IS_CODE
    if (unnamed := _UNNAMED.fullmatch(name)) and (is_common_name(unnamed[1]) or unnamed[1][0].islower()):
        return Judgement(NameKind.VERDICT, f"a word for {MEANINGS['unidentifiable']}, not a name", "unidentifiable")
    if is_common_name(name):
        return _COMMON
    if name.isupper() and _SHOUTED.fullmatch(name):
        return _IS_CODE
    if is_unlike_latin(name):
        return Judgement(NameKind.DOUBTFUL, "doubtful, since its words are not Latin")
    return _IS_NAME
