"""The reader of a name: one pass over its words, from the genus to the authors and remarks."""

from __future__ import annotations

import re

from bioclip_core.naming import first as opening
from bioclip_core.naming import words
from bioclip_core.naming.below import EPITHET, LATIN_END, LOST, Below, abbreviates
from bioclip_core.naming.parts import HYBRID_FORMULA, WrittenName
from bioclip_core.naming.spelling import latin, tidy

_GENUS = re.compile(r"[A-Za-z][a-z]+(?:-[a-z]+){0,2}")
_PROVISIONAL = re.compile(r"([^\W\d_]+[\w-]*\d[\w-]*|\d+-[A-Z][\w-]*) (sp\d[^\W_]*|[a-z][^\W_]*)", re.ASCII)
_UNNAMED = re.compile(
    r"(?:spp?|spec|species|morphosp|msp|ug|bin|otu|gen|n|nov)[.#-]*\d+[a-z]?|(?:sp|species|bold|otu)[.:#-]\S+"
)
_AGGREGATE = re.compile(r"([a-z-]+?)-(?:komplex|complex|gruppe|group|groep|agg|aggr|gr|groupe)\.?")
_GLUED_MARK = re.compile(r"[xX][A-Z][a-z]+")
_SUFFIXED = re.compile(r"([A-Za-z]+)-(type|group|gruppe|komplex|complex)")
_STRONG = re.compile(
    r"[a-z]{3,}(?<!a)us|(?!.*baum$)[a-z]{4,}um|[a-z]{3,}(?:ii|ae|aea|ana|ense|ensis|oides|iens|inus|folia|flora|atus|osus|icus|ifera|ensia)"
)
"""Endings that make a capitalised second word an epithet."""
_LIKE_GENUS = re.compile(r"(?:us|on|ium|ella|opsis)$")
"""Endings of a capitalised word behind a hybrid mark that make it another genus: "Crataegus × Mespilus", not "Quercus x Turneri"."""
_WEAK = re.compile(r"[a-z]{2,}(?:us|um|is|ae|ns|or|er|ix|ex|os|as|es|on|o|a|i|e)")
"""Endings that do so if an author follows."""
_NOT_EPITHETS = (
    words.NOT_PLAIN | words.COMPOUND_FIRST | {pair.partition(" ")[0] for pair in words.COMPOUNDS} | {"nothosp", "nsp"}
)
_LATIN = re.compile(r"[a-z-]{2,}(?:us|um|is|ae|ns|or|er|ix|ex|ur|os|as|es|on|o|a|i|e)")
_CERTAIN_AUTHOR = re.compile(r"[.)]$|\d{4}")
_CUT_OFF = re.compile(r"\.{2,}$")
_LETTERS_LOST = re.compile(r"[?\ufffd]+")
_DAMAGED = re.compile(r"[a-z-]{3,}\.{2,}|(?!\?)[a-z-]*(?:[?\ufffd]+[a-z-]+)+(?:\.{2,})?|[a-z-]+\ufffd+")
_GROUPS = ("group", "grp", "grex", "gx")
_NOT_DONE = ("assigned", "identified", "determined", "known", "named", "placed", "classified", "identifiable")
_CODED = re.compile(r"([A-Z][a-z]+(?:idae|inae|aceae))[A-Z]{2,}")
_REMARKS = words.TYPES | words.REMARKS | words.AGGREGATE
_OF_AUTHORS = words.PARTICLES | {"f", "fil", "l", "v"}
_SURNAME = re.compile(r"\(?[A-Z][a-zà-ÿ]|\(?[A-Z][a-z]*\.")
_AUTHOR = re.compile(r"\(?\[?(?:[^\W\d_a-zß-öø-ÿ]|d'|de |von |van )")


def read(text: str, *, is_species: bool = False) -> WrittenName:
    """Return the parts of a clean text that is not a plain name."""
    opened = opening.opened(tidy(text))
    if opened.unread:
        return WrittenName(text, doubt=opened.doubt if opened.unread == opening.NO_GENUS else "", unread=opened.unread)
    return _Reader(text, opened.text, opened.doubt, is_species=is_species).name()


def read_rest(text: str, genus: str, *, hybrid_genus: bool = False) -> WrittenName:
    """Return the parts of what follows a known genus."""
    reader = _Reader(f"{genus} {text}", tidy(text), "")
    reader.genus, reader.hybrid_genus = genus, hybrid_genus
    return reader.name()


def _may_be_author(word: str) -> bool:
    """Return True for a word of an authorship: capitals, years and particles."""
    bare = word.strip(".,;:()[]!\"'").lower()
    if not word.islower():
        return bare not in _REMARKS and (
            any(map(str.isalpha, bare)) or word == "&" or (bare.isdigit() and len(bare) == 4)
        )
    return bare in _OF_AUTHORS or "'" in word


class _Reader(Below):
    """Reader of a whole name."""

    __slots__ = ()

    def name(self) -> WrittenName:
        if not self.genus:
            unread = self._read_genus()
            if unread is not None:
                return unread
        self._read_epithet()
        if not (self.epithet or self.doubt):
            self._pass_author_of_genus()
        if self.epithet and not self.doubt:
            self.read_below()
        elif self._at < len(self._words) and not self.authors:
            self.authors = self._words[self._at :]
            if not self.doubt:
                self._read_authors()
        epithet, infraspecific = self.epithet, self.infraspecific
        if self.doubt and epithet and not self._is_shared:
            self.doubted, epithet, infraspecific = self.doubted or epithet, "", ""
        return WrittenName(
            self.text, self.genus, epithet, infraspecific, " ".join(filter(_may_be_author, self.authors)), self.hybrid_genus,
            self.hybrid and bool(epithet), self.doubt, False, "" if self.doubt else self.reading, self.doubted, self.below,
            "" if self.genus else opening.TWO_GENERA, self.damaged,
        )  # fmt: skip

    # -- the genus ------------------------------------------------------------------------------------------------------

    def _read_genus(self) -> WrittenName | None:
        """Read the first words; return a name without a genus if they are none."""
        word = self._words[0]
        if not word.isalpha() and (provisional := _PROVISIONAL.fullmatch(" ".join(self._words))):
            return WrittenName(self.text, provisional[1].capitalize(), provisional[2])  # "UBA1234 sp002"
        if word[0] in "xX" and _GLUED_MARK.fullmatch(word):
            self.hybrid_genus, word = True, word[1:]
        elif word in ("×", "x", "X") or word[0] == "+":
            self.hybrid_genus = len(self._words) > 1 or len(word) > 1
            self._at = int(len(word) == 1)
            word = word[1:] or self._word(1)
            if not word:
                return self._unread(opening.IDENTIFIER)
        self._at += 1
        if word.endswith("?") and len(word) > 1:
            self.doubt, word = "?", word.rstrip("?")
        if "/" in word:
            return WrittenName(self.text, doubt="/", unread=opening.TWO_GENERA)
        bare = word.rstrip(".,:;!?\"'").lstrip("\"'")
        if not bare[1:].islower() and (coded := _CODED.fullmatch(bare)):  # "OdontellidaeGEN"
            bare, self.doubt = coded[1], self.doubt or "sp."
        spelled = latin(bare)
        if not spelled.isascii():
            return self._unread(opening.OTHER_SCRIPT)
        if len(bare) < 2 or (word[-1] == "." and self._at < len(self._words) and len(bare) < 7):
            return self._unread(opening.ABBREVIATED if bare.isalpha() else opening.IDENTIFIER)
        if not _GENUS.fullmatch(spelled):
            return self._unread(opening.IDENTIFIER)
        if self._at == len(self._words) and word[0].islower() and not self.hybrid_genus:
            return WrittenName(self.text, doubt=self.doubt, epithet_alone=True, unread=opening.NO_GENUS)
        self.genus = spelled[0].upper() + spelled[1:]
        if "-" in spelled and (suffixed := _SUFFIXED.fullmatch(self.genus)):
            self.genus, self.doubt = suffixed[1], self.doubt or ("sp." if suffixed[2] == "type" else "")
        return None

    def _unread(self, reason: str) -> WrittenName:
        return WrittenName(self.text, unread=reason)

    def _pass_author_of_genus(self) -> None:
        """Read the epithet behind the author of the genus: "Quercus L. robur", as tables with an author per column are joined."""
        is_author = False  # "European Robin male" has none
        for place in range(self._at + 1, len(self._words)):
            author, word, follows = self._words[place - 1], self._words[place], self._word(place + 1)
            if not _may_be_author(author):
                return
            is_author = is_author or bool(_CERTAIN_AUTHOR.search(author))
            ends = not follows or _AUTHOR.match(follows) or follows.rstrip(".") in words.INFRASPECIFIC
            if is_author and not author.islower() and ends and word not in _NOT_EPITHETS and _LATIN.fullmatch(word):
                self.epithet, self._at = word, place + 1
                return

    def _read_authors(self) -> None:
        """Look behind a genus and its author for a doubt, or for another parent: "Agrostis L. × Polypogon Desf."."""
        for place in range(self._at, len(self._words)):
            word = self._words[place]
            bare = word.strip(".,;:()[]").lower()
            if bare in words.CUT and word[0].islower():
                break
            if word in ("×", "x", "X"):
                self._other_parent("" if self.reading else self._word(place + 1))
            elif "?" in word and not LOST.search(word):
                self.doubt = "?"
            elif word[0].islower() and bare in words.DOUBT:
                self.doubt = words.DOUBT[bare]
            elif word[0].islower() and bare in ("sp", "spp", "spec", "indet"):
                self.doubt = "sp."
            elif (word[0].islower() and bare in words.OR) or word == "/":
                self.doubt = "or" if word != "/" else word
            if self.doubt:
                break

    # -- from the genus to the epithet ----------------------------------------------------------------------------------

    def _read_epithet(self) -> None:
        while self._at < len(self._words) and not self._step():
            pass

    def _step(self) -> bool:
        """Read one word behind the genus; return True at the epithet, or where it is clear that there is none."""
        at = self._at
        word = self._words[at]
        if (
            word.isalpha()
            and word.islower()
            and len(word) > 2
            and word.isascii()
            and word not in _NOT_EPITHETS
            and not self._is_shouted
        ):
            self.epithet, self._at = word, at + 1  # most epithets
            return True
        bare = word.strip('.,;:!"').lower()
        if word[0] in "([":
            return self._bracket_behind_genus()
        if _DAMAGED.fullmatch(word):
            self.damaged, self.doubt, self._at = _LETTERS_LOST.sub("?", _CUT_OFF.sub("*", word)), "?", len(self._words)
            return True
        if word[0] == "?" or (word[-1] == "?" and not LOST.search(word)):
            self.doubt = "?"
            self._words[at] = word.strip("?")
            self._at += not self._words[at]
            return False
        if word in ("×", "x", "X", "+"):
            return self._hybrid_behind_genus()
        if word[0] in "'\"" and not (word.endswith(word[0]) and word[1:2].islower()):
            self._at = len(self._words)  # a cultivar of an unnamed species
            return True
        if "/" in word:
            return self._alternatives_behind_genus(word)
        next_word = self._word(at + 1)
        if self._passes_qualifier(word, bare, next_word):
            return False
        if bare in ("conf", "ex", "gr", "grp", "group") and (
            next_word[:1].islower() or (bare == "ex" and next_word == "gr.")
        ):
            if bare == "ex" and next_word.rstrip(".") not in ("gr", "grp", "group", "aff", "cf"):
                return True
            self.doubt, self._at = "gr." if bare != "conf" else "cf.", at + 1
            return False
        if bare in words.INFRAGENERIC and (word[-1] == "." or not self._is_epithet(word, bare, next_word)):
            self._at += 2 if next_word[:1].isupper() else 1
            return False
        if self._is_unnamed(word, bare, next_word):
            self.doubt, self._at = self.doubt or "sp.", at + 1
            return self._unnamed_behind_genus()
        if bare in ("not", "non") and next_word.strip(".,;").lower() in _NOT_DONE:  # "Mollusca not assigned"
            self.doubt, self._at = self.doubt or "sp.", len(self._words)
            return True
        if bare in words.HYBRID_WORDS:
            self.doubt, self._at = HYBRID_FORMULA, len(self._words)
            return True
        if bare.startswith(("nothosp", "nsp")):
            self.hybrid, self._at = True, at + 1
            return False
        if bare in words.INFRASPECIFIC and next_word[:1].islower():  # "Acer var nigrum", without its species
            return True
        return self._epithet_at(word, bare, next_word)

    def _passes_qualifier(self, word: str, bare: str, next_word: str) -> bool:
        """Pass a word of doubt, the genus again behind it, or the sense of the genus; True if there was one."""
        if bare in words.DOUBT and not (bare in ("near", "prope") and word[0].isupper()):
            self.doubt = words.DOUBT[bare]
            self._at += 1
        elif self.doubt and abbreviates(word, self.genus):  # "Carex aff. C. flava"
            self._at += 1
        elif bare in ("s", "sens", "sensu") and next_word.rstrip(".,") in ("str", "lat", "l", "stricto", "lato"):
            self._at += 2
        else:
            return False
        return True

    def _is_unnamed(self, word: str, bare: str, next_word: str) -> bool:
        if bare in words.UNNAMED_SPECIES or (bare in ("n", "ssp") and word[-1] == "."):
            return not (bare in ("taxon", "nov", "bacterium") and _SURNAME.match(next_word))
        return bool(_UNNAMED.fullmatch(word.lower())) or (bare.isdigit() and len(bare) < 4) or word.startswith("BOLD:")

    def _unnamed_behind_genus(self) -> bool:
        """Read on behind "sp.": "Carex sp. aff. flava" suggests a name."""
        bare = self._word(self._at).strip(".,;:(").lower()
        if bare == "group" and self.epithet:
            return True
        if bare in words.DOUBT:
            self.doubt = words.DOUBT[bare]
            suggested = self._word(self._at + 1).strip("?.,;)")
            self.doubted = latin(suggested) if EPITHET.fullmatch(suggested) else ""
        self._at = len(self._words)
        return True

    def _bracket_behind_genus(self) -> bool:
        """Read a subgenus, an author or a remark in brackets behind the genus."""
        end = self._end_of_bracket(self._at)
        word = self._words[self._at]
        inside = " ".join(self._words[self._at : end]).strip("()[]")
        low = inside.lower()
        parts = low.replace(",", " , ").split()
        follows = self._word(end)
        if low in ("?", "cf.", "cf", "aff.", "aff") or (parts and parts[0].rstrip(".") in words.DOUBT):
            self.doubt = words.DOUBT.get(parts[0].rstrip("."), "?") if parts else "?"
            if len(parts) > 1 and EPITHET.fullmatch(parts[1]):
                self.doubted = latin(parts[1])
        elif "×" in inside or " x " in low:
            self.doubt = HYBRID_FORMULA
        elif (
            len(parts) > 1
            and inside[0].islower()
            and (
                parts[-1].rstrip(".") in words.AGGREGATE or "," in parts or "/" in low or not words.OR.isdisjoint(parts)
            )
        ):
            is_one = parts[-1].rstrip(".") in words.AGGREGATE and "," not in parts
            self.doubt, self.doubted = ("group", latin(parts[0])) if is_one else ("or", "")
        elif inside[:1].islower() and inside.isalpha() and word[0] == "[" and low not in words.NOT_PLAIN:
            self._words[self._at] = inside  # "Acer [rubrum]", as a cataloguer completes a label
            return False
        elif parts and parts[0].rstrip(".") in words.UNNAMED_SPECIES | words.UNCERTAIN:
            self.doubt = "sp."
        elif not (follows[:1].islower() or follows[:1] in "×?" or not follows):
            return True  # "Hormosira (Endlichter) Meneghini"
        self._at = end
        return False

    def _hybrid_behind_genus(self) -> bool:
        """Read "Tilia × europaea", or "Agrostis × Polypogon", which names no epithet."""
        self._at += 1
        parent, author = self._word(self._at), self._word(self._at + 1)
        spelled = latin(parent.rstrip(".,"))
        is_capital = parent[:1].isupper()
        if is_capital and not (author[:1].islower() and author not in words.PARTICLES) and EPITHET.fullmatch(spelled):
            is_capital = bool(_LIKE_GENUS.search(spelled)) and not (_AUTHOR.match(author) and _WEAK.fullmatch(spelled))
        if not parent or is_capital or self._words[self._at - 1] == "+":  # "Agrostis × Polypogon"
            self._other_parent(parent)
            return True
        self.hybrid = True
        if spelled.rstrip(".") in words.UNNAMED_SPECIES:
            return False
        return self._epithet_at(parent.lower(), spelled, author)

    def _other_parent(self, parent: str) -> None:
        """Note that a genus is one of two parents."""
        self.doubt, self._at = HYBRID_FORMULA, len(self._words)
        if parent[:1].isupper() and latin(parent) != self.genus.lower() and not abbreviates(parent, self.genus):
            self.genus = ""

    def _alternatives_behind_genus(self, word: str) -> bool:
        if word == "/":  # "Acer / Tilia"
            other = self._word(self._at + 1)
            self.genus = "" if other[:1].isupper() and latin(other) != self.genus.lower() else self.genus
        elif not any(c.islower() for c in word):
            return True
        self.doubt, self._at = "/", len(self._words)
        return True

    def _epithet_at(self, word: str, bare: str, next_word: str) -> bool:
        """Read a word in the place of the epithet; whatever it is, the place is passed."""
        word = word.strip("\"'")
        self._at += 1
        if aggregate := _AGGREGATE.fullmatch(word.lower()):
            word = bare = aggregate[1]
        spelled = latin(word.rstrip(".,;:!"))
        if spelled != bare and not EPITHET.fullmatch(spelled):
            spelled = ""
        if (word.islower() or word[:1].isdigit()) and self._is_epithet(word, spelled, next_word):
            self.epithet = self._joined(spelled, next_word)
            if word[-1] in ",;:":
                self._words.insert(self._at, ",")
            return True
        is_title = (word.isupper() and len(word) > 3) or (word[:1].isupper() and word.replace("-", " ").istitle())
        if is_title and EPITHET.fullmatch(spelled) and self._capital(word, spelled, next_word):
            self.epithet = spelled
            return True
        self._at -= 1
        if LOST.search(word) and word[0].islower():
            self.doubt = "?"
        return True

    def _is_epithet(self, word: str, spelled: str, next_word: str) -> bool:
        if not EPITHET.fullmatch(spelled):
            return len(spelled) == 1 and bool(next_word[:1].islower())
        if spelled in words.NOT_PLAIN:
            if spelled in ("dela", "ab", "bis", "ser", "subser") and word[-1] != "." and _AUTHOR.match(next_word):
                return any(c.isdigit() or c == "(" for c in "".join(self._words[self._at :]))
            # A few real epithets look like such words: an author behind them tells ("Tethea or (Denis & Schiffermüller)").
            return spelled in ("complex", "virus", "vector", "or", "ou", "prion", "bacterium") and bool(
                _SURNAME.match(next_word)
            )
        if self._is_shouted and spelled in words.SURNAMES:
            return False
        if word[-1] == "." and next_word and not LATIN_END.fullmatch(spelled):
            return False  # "Acer rubr. L."
        return len(spelled) > 1 or bool(next_word[:1].islower())

    def _joined(self, epithet: str, next_word: str) -> str:
        """Return an epithet with its second word, if it has two."""
        follows = latin(next_word.rstrip(".,;"))
        pair = f"{epithet} {follows}"
        if not follows.isalpha() or not next_word[0].islower() or follows in words.NOT_PLAIN:
            return epithet
        if epithet in words.COMPOUND_FIRST or pair in words.COMPOUNDS or len(epithet) == 1:
            self._at += 1
            return pair.replace(" ", "-")
        return epithet

    def _capital(self, word: str, spelled: str, next_word: str) -> bool:
        """Return True if a capitalised word is the epithet; keep it as a possible reading if it is not clear."""
        rest = self._words[self._at :]
        if spelled in words.SURNAMES or not word[-1].isalpha() or spelled.endswith(words.HIGHER_ENDINGS[:4]):
            return False
        if self._is_species or spelled == self.genus.lower():
            return True
        if spelled.partition("-")[0] in words.COMPOUND_FIRST:
            return True
        if any(word.strip("().").lower() in _GROUPS for word in rest):  # "Primula Border Auricula Group"
            return False
        if (
            len(next_word) > 2
            and next_word.rstrip(".") in words.INFRASPECIFIC
            and self._word(self._at + 1)[:1].islower()
        ):
            return True  # "Ocymyrmex Weitzaeckeri subsp. arnoldi"
        if _STRONG.fullmatch(spelled) or (_WEAK.fullmatch(spelled) and next_word and _AUTHOR.match(next_word)):
            return not next_word or (next_word[0] not in "&," and next_word not in ("ex", "et", "in", "and", "apud"))
        after = " ".join(rest)
        if (
            word[1:].islower()
            and not any(c.isdigit() or c in ",&(" for c in after)
            and next_word not in words.PARTICLES
        ):
            self.reading = spelled
        return False
