"""The words behind an epithet: names below the species, other parents, alternatives, authors and remarks."""

from __future__ import annotations

import re

from bioclip_core.naming import words
from bioclip_core.naming.parts import HYBRID_FORMULA
from bioclip_core.naming.spelling import latin

EPITHET = re.compile(r"[a-z]+(?:[-']+[a-z]+)*")
LATIN_END = re.compile(r"[a-z-]{2,}(?:us|um|is|ae|ii|a|i|e|ns|or|er|ix|on|o|es|as)")
LOST = re.compile(r"[^\W\d_]\?[^\W\d_]|\d\?")
"""A letter that was lost on the way, or a doubtful year: not a doubt about the name."""
_GLUED = re.compile(
    r"(?<![^\s(])(cf|aff|nr|subsp|ssp|var|subvar|f|fo|forma|spp?|spec|sect|subg|subgen|nothosubsp|nothovar|n|gen|gr)\.(?=[^\W_])",
    re.IGNORECASE,
)
_GLUED_BRACKET = re.compile(r"(?<=[a-z.])(?=\([A-Z])|(?<=\))(?=[^\W\d_])")  # "alba(Smith)Jones"
_GLUED_RANK = re.compile(r"(?<=[a-zA-Z]\.)(?=(?:var|subsp|ssp|subvar|convar|forma)\.)")  # "L.var. alba"
_YEAR = re.compile(r"[(\[]?1[5-9]\d\d\b|[(\[]?20\d\d\b")
_DOT_INSIDE = re.compile(r"[a-zA-Z]\.[^\s,.)]")
_SHOUTED_END = re.compile(r"(?:us|um|a|is|ae|i|ns|or)$")


class Below:
    """State of the reading of one name, and the reading of what follows its epithet."""

    __slots__ = (
        "_after_rank", "_at", "_is_shared", "_is_shouted", "_is_species", "_words", "authors", "below", "damaged", "doubt",
        "doubted", "epithet",
        "genus", "hybrid", "hybrid_genus", "infraspecific", "reading", "text",
    )  # fmt: skip

    def __init__(self, text: str, rest: str, doubt: str, *, is_species: bool = False) -> None:
        self.text, self.doubt, self._is_species = text, doubt, is_species
        self._is_shouted = rest.isupper() and " " in rest
        if self._is_shouted:
            rest = rest.capitalize()
        if "×" in rest:
            rest = rest.replace("×", " × ")
        if "(" in rest and _GLUED_BRACKET.search(rest):
            rest = _GLUED_BRACKET.sub(" ", rest)
        if "." in rest and _DOT_INSIDE.search(rest):
            rest = _GLUED.sub(r"\1. ", _GLUED_RANK.sub(" ", rest))
        self._words, self._at = rest.split(), 0
        self.genus = self.epithet = self.infraspecific = self.reading = self.doubted = self.below = self.damaged = ""
        self.hybrid_genus = self.hybrid = self._after_rank = self._is_shared = False
        self.authors: list[str] = []

    def _word(self, at: int) -> str:
        return self._words[at] if at < len(self._words) else ""

    def _end_of_bracket(self, at: int) -> int:
        """Return the place behind the bracket that opens at a word."""
        depth = 0
        for place in range(at, len(self._words)):
            word = self._words[place]
            depth += word.count("(") + word.count("[") - word.count(")") - word.count("]")
            if depth <= 0:
                return place + 1
        return len(self._words)

    def read_below(self) -> None:
        """Read names below the species, other parents and alternatives; all else is authors and remarks."""
        start = place = self._at
        count, bracket_end = len(self._words), 0
        if place < count and self._unranked(place):
            place += 1
            start = place
        while place < count:
            word = self._words[place]
            bare = word.strip(".,;:!()[]").lower()
            if word[0] == "'" and not word[1:2].islower():
                self._other_parent_behind(place)
                count = place  # a cultivar
                break
            if bare in words.CUT and (
                word[-1] != "?" and (word[0].islower() or word[0] in "([,;=#" or word[-1] == ".")
            ):
                self._read_remark(place)
                count = place
                break
            if word[0] in "([" and place >= bracket_end:
                bracket_end = self._end_of_bracket(place)
            is_inside = place < bracket_end and self._words[place - 1] not in ("(", "[")
            place = self._step_below(place, word, bare, is_inside=is_inside)
            if self._after_rank:
                start, self._after_rank = place, False
            if self.doubt:
                break
        self.authors = [word for word in self._words[start:count] if word not in (",", ";")]

    def _other_parent_behind(self, place: int) -> None:
        """Look for another parent behind a cultivar: "Sarracenia alata 'Black Tube' × Sarracenia flava"."""
        for at in range(place + 1, len(self._words)):
            if self._words[at] in ("×", "x", "X") and self._begins_a_name(at + 1):
                self._alternative(at + 1, HYBRID_FORMULA)
                return

    def _unranked(self, place: int) -> bool:
        """Read a third name without its rank; return True if there is one."""
        word, follows = self._words[place], self._word(place + 1)
        if not self._is_third(word, place):
            return False
        if follows and self._is_third(follows, place + 1):
            return False  # four words: nobody knows which
        after = self._word(place + 2)
        if _YEAR.match(follows) or follows in ("&", "in", "ex", "et", "and", "apud"):
            return False  # "linnaeus, 1758"
        if follows in words.PARTICLES and after.islower():
            return False
        self.infraspecific = latin(word.rstrip(".,;"))
        return True

    def _is_third(self, word: str, place: int) -> bool:
        bare = word.rstrip(",;")
        if not bare.islower() or not bare.replace("-", "").isalpha() or len(bare) < 3 or latin(bare) in words.NOT_PLAIN:
            return False
        if bare in words.SURNAMES:
            return False
        if not self._is_shouted:
            return True
        follows = self._word(place + 1)
        return word[-1].isalpha() and bool(_SHOUTED_END.search(bare)) and bare not in words.SURNAMES and (
            not follows or follows.rstrip(".") in words.NOT_PLAIN or (follows[0].isalpha() and follows not in "&")
        )  # fmt: skip

    def _step_below(self, place: int, word: str, bare: str, *, is_inside: bool) -> int:
        """Read a word behind the epithet and return the place of the next one.

        Args:
            is_inside: the word is in brackets, where other names are only remarks: "Salix × rubens (S. alba × fragilis)".
        """
        follows = self._word(place + 1)
        if "?" in word and not LOST.search(word):
            if word == "?" and self._words[place - 1] in ("ex", "&", "et", "in"):
                return place + 1  # an unknown author
            return self._question(place, word)
        if word[0] == "*" and not word.strip("*") and self._is_below(place + 1):  # a rank of old floras
            return self._ranked(place, follows, bare)
        if word in ("×", "x", "X") and not follows[:1].isdigit():
            if not is_inside:
                self._alternative(place + 1, HYBRID_FORMULA)
        elif (
            bare in words.INFRASPECIFIC and not is_inside and (word[0].islower() or (len(bare) > 2 and word.isupper()))
        ):
            return self._ranked(place, follows, bare)
        elif bare in words.DOUBT and (word[0].islower() or word[0] in "([" or word.isupper()):
            if self._is_below(place + 1) and word[0] not in "([" and self._words[place - 1] != ",":
                self.below, place = words.DOUBT[bare], place + 1
            elif bare not in ("near", "prope"):
                self.doubt = words.DOUBT[bare]
        elif bare in words.UNCERTAIN:
            self.doubt = "?"
        elif bare in words.HYBRID_WORDS:
            self.doubt = HYBRID_FORMULA
        elif is_inside and word[0] not in "([":
            pass
        elif bare in words.OR:
            self._alternative(place + 1, "vel" if bare == "vel" else "or")
        elif "/" in word and not word.replace("/", "").isdigit():
            self._slash(place, word)
        elif (
            bare in words.AND and self._begins_a_name(place + 1, whole=place > self._at + bool(self.infraspecific))
        ) or (word[-1] in ",;|" and self._begins_a_name(place + 1, whole=True)):
            self._alternative(place + 1, "or")
        return place + 1

    def _is_below(self, place: int) -> bool:
        """Return True if a word is a name below the species, or the rank before one."""
        word = self._word(place).rstrip(".,;:")
        if word in words.INFRASPECIFIC:
            return self._word(place + 1)[:1].islower()
        return word[:1].islower() and latin(word).isalpha() and word not in words.NOT_PLAIN

    def _question(self, place: int, word: str) -> int:
        if word == "?" and self._is_below(place + 1):
            self.below, place = "?", place + 1
        elif self.infraspecific:
            self.below, self.infraspecific = "?", ""
        elif word.islower() and place == self._at and len(word) > 3 and _is_lower_name(word.strip("?.,;")):
            self.below = "?"
        else:
            self.doubt = "?"
        return place + 1

    def _ranked(self, place: int, follows: str, rank: str) -> int:
        """Read a name below the species behind its rank."""
        if follows == "×":  # "var. × alpina"
            place, follows = place + 1, self._word(place + 2)
        name = follows.strip(".,;:!")
        bare = name.lower()
        if bare in words.DOUBT or "?" in name or (bare == "conf" and follows[-1] == "."):
            self.below, self.infraspecific = words.DOUBT.get(bare, "?"), ""
            return place + 2 + (name in ("?", "") or bare in words.DOUBT)
        if (bare == "sp" and rank == "f") or bare in ("n", "nov"):  # "f. sp. cubense", "ab. n. alba"
            name, place = self._word(place + 2).strip(".,;"), place + 1
            bare = name.lower()
        spelled = latin(name)
        is_lower = name.islower()
        is_capital = (
            rank not in ("f", "m", "v")
            and spelled not in words.SURNAMES
            and name[1:].islower()
            and LATIN_END.fullmatch(spelled)
        )
        if EPITHET.fullmatch(spelled) and len(spelled) > 1 and (is_lower or is_capital) and (
            spelled not in words.NOT_PLAIN
        ):  # fmt: skip
            self.infraspecific, self._after_rank = spelled, True
            return place + 2
        if "/" in name and is_lower:
            self.doubt, self.infraspecific, self._is_shared = "/", "", True
            return place + 2
        if bare in words.UNNAMED_SPECIES or (not name and rank not in ("f", "m", "v")):
            self.infraspecific = ""
        return place + 1

    def _read_remark(self, place: int) -> None:
        """Look for words of doubt in a remark: "(det. uncertain)"."""
        for word in self._words[place:]:
            if word.strip(".,;:!()[]?").lower() in words.UNCERTAIN:
                self.doubt = "?"

    def _begins_a_name(self, place: int, *, whole: bool = False) -> bool:
        """Return True if words are another name, not an author: an epithet, or a genus with its epithet."""
        word, follows = self._word(place), self._word(place + 1)
        if word[:1].islower() and not word.islower():
            return False  # "duPont"
        if word[:1].islower():
            return (
                not whole
                and latin(word.strip(".,;")).isalpha()
                and len(word) > 2
                and word.rstrip(".,;") not in words.NOT_PLAIN
            )
        epithet = follows.rstrip(".,;")
        return (
            word[:1].isupper()
            and epithet.isalpha()
            and epithet.islower()
            and len(epithet) > 2
            and epithet not in words.NOT_PLAIN
        )

    def _slash(self, place: int, word: str) -> None:
        before, _, behind = word.partition("/")
        if word == "/":
            self._alternative(place + 1, "/")
        elif behind and behind[0].islower() and before[:1].islower() and place <= self._at + 1:
            self.doubt, self.infraspecific, self._is_shared = "/", "", True  # "alba/yarrellii" below the species
        elif (before or self._begins_a_name(place) or behind[:1].islower()) and "." not in (word[0], word[:1]):
            self._words[place : place + 1] = [part for part in (before, behind) if part]
            if self._begins_a_name(place + bool(before)) or abbreviates(behind, self.genus):
                self._alternative(place + bool(before), "/")

    def _alternative(self, place: int, doubt: str) -> None:
        """Keep what a name has in common with another one that begins at a word: "Larus argentatus / Larus fuscus" is Larus."""
        self.doubt, self._is_shared = doubt, True
        genus, epithet, infraspecific = self.genus, self.epithet, self.infraspecific
        self.epithet = self.infraspecific = self.doubted = ""
        other = self._word(place).strip("(),;?")
        if other[:1].isupper() and not abbreviates(other, genus):
            if latin(other) != genus.lower():
                self.genus = "" if other.isalpha() else genus
                return
            if latin(self._word(place + 1).strip("?,;.")) == epithet:
                self.epithet, self.doubt = epithet, "/" if doubt != HYBRID_FORMULA else doubt
        elif other[:1].islower() and infraspecific and doubt != HYBRID_FORMULA:
            self.epithet, self.doubt = epithet, "/"


def _is_lower_name(word: str) -> bool:
    """Return True for a name below the species, or its rank."""
    return word in words.INFRASPECIFIC or word not in words.NOT_PLAIN


def abbreviates(word: str, genus: str) -> bool:
    """Return True if a word is a genus's beginning: "Q." or "Q"."""
    bare = word.rstrip(".")
    return bool(bare) and (len(bare) == 1 or word[-1:] == ".") and genus.lower().startswith(bare.lower())
