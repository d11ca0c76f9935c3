"""Several names in one cell: "Fox; Badger", "Vulpes vulpes | Meles meles", "fox and badger"."""

from __future__ import annotations

import re

from bioclip_core.naming.common_names import is_common_name
from bioclip_core.naming.spelling import tidy
from bioclip_core.naming.verdict_words import verdict_of_word
from bioclip_core.naming.words import CUT, NOT_PLAIN, REMARKS

_HARD = re.compile(r"\s*[;|\n\t]\s*")
"""Signs that only separate."""
_SOFT = re.compile(
    r"\s*(?:[,/&+]|\b(?:and|und|et|och|og|ja|i|y|e|en|ed|or|oder|ou|o|eller|tai|with|mit|avec|con|com|sowie|plus)\b)\s*"
)
"""Signs and words that also stand between authors, or between the words of one name."""
_OF_REMARKS = CUT | REMARKS | {"remark", "remarks", "note", "notes", "comment", "cf", "aff"}
_BINOMIAL = re.compile(r"[A-Z][a-z]{2,} (?:x )?[a-z]{3,}(?:-[a-z]+)?")
_ABBREVIATED = re.compile(r"[A-Z]\. ?[a-z]{3,}")


def names_in(text: str) -> tuple[str, ...]:
    """Return the names of a cell that holds several, each once; the cell itself if it holds one.

    Authors ("Smith & Jones"), hybrids ("Salix alba × Salix fragilis") and alternatives of one genus ("Carex flava/lepidocarpa")
    are one name.

    >>> names_in("Fox; Badger"), names_in("Vulpes vulpes & Meles meles"), names_in("Acer rubrum L. & Smith, 1790")
    (('Fox', 'Badger'), ('Vulpes vulpes', 'Meles meles'), ('Acer rubrum L. & Smith, 1790',))
    """
    found: list[str] = []
    for part in filter(None, _HARD.split(tidy(text).strip(" ;|,/&+"))):
        if found and part.split()[0].lower().rstrip(".:") in _OF_REMARKS:  # "Acer rubrum; leg. Smith"
            continue
        parts = [piece for piece in _SOFT.split(part) if piece]
        found += parts if len(parts) > 1 and _are_names(parts) else [part]
    distinct = {" ".join(part.split()).casefold(): part.strip() for part in reversed(found) if part.strip()}
    return tuple(reversed(distinct.values())) or (text,)


def _are_names(parts: list[str]) -> bool:
    """True if each part is a name by itself: a binomial, a common name or a word for a verdict."""
    if (
        len({part.split()[0] for part in parts}) == 1 and " " in parts[0]
    ):  # of one genus: alternatives, which the parser reads
        return False
    is_after_binomial = bool(_BINOMIAL.match(parts[0]))
    return all(
        _is_binomial(part)
        or (place > 0 and is_after_binomial and bool(_ABBREVIATED.match(part)))
        or is_common_name(part)
        or verdict_of_word(part) is not None
        for place, part in enumerate(parts)
    )


def _is_binomial(text: str) -> bool:
    found = _BINOMIAL.match(text)
    return found is not None and text.split()[1] not in NOT_PLAIN
