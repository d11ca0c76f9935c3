"""Words before a name: doubts, numbers, ranks, families and common names; and texts that are not names at all."""

from __future__ import annotations

import re
from typing import NamedTuple

from bioclip_core.naming import words
from bioclip_core.naming.parts import PLACEHOLDER
from bioclip_core.naming.words import FIRST, HIGHER_ENDINGS

ABBREVIATED, VIRUS, IDENTIFIER = (
    "its genus is abbreviated",
    "the name of a virus or symbiont",
    "an identifier or a number, not a name",
)
TWO_GENERA = "its genera differ"
OTHER_SCRIPT, NO_GENUS = "not written in Latin letters", "a name without its genus"

_TRIM_LEFT, _TRIM_RIGHT = " .,;:*\"'#-|=~^!", " ,;:*\"'#-|=~^!"
_NUMBERING = re.compile(r"(?:\d{1,6}|[a-z])[.):]\s*(?=[A-Z])|\d{1,6}\s+(?=[A-Z][a-z]+ )")
_BINOMIAL = r"[A-Z][a-zë-]+ (?:[×x] ?)?[a-z][a-zäöüëï-]+"
_NAME_IN_BRACKETS = re.compile(rf"([^()]+?) ?[(\[] ?({_BINOMIAL}(?: [^()]*(?:\([^()]*\)[^()]*)?)?)[)\]]?$")
_BRACKETED = re.compile(r"[(\[] ?[A-Z][a-zë-]+ [a-z×]")
_UNPLACED = re.compile(r"[(\[ ]*incertae[ _]?sedis[)\]]*", re.IGNORECASE)
_BEHIND_DASH = re.compile(rf"([^()\-]+?) - ({_BINOMIAL}(?: .*)?)$")
_TWO_LATIN = re.compile(r"[A-Z][a-z-]+ [a-z-]+(?:us|um|a|is|ae|i|e|ns|or|es|er|ens|on|os|as|o|[a-z]{3}x)\b")
_ENGLISH = re.compile(r"[A-Z][a-z-]+ [a-z-]+(?:e|er|or|on|en|o|es)\b")
_STRONG_LATIN = re.compile(
    r"^[A-Z][a-z-]+ (?:[×x] ?)?[a-z-]+(?:us|um|a|is|ae|ii|i|ense|ensis|oides)\b|^([A-Z])([a-z]+) (?i:\1)\2\b"
)
_VIRAL = re.compile(
    r"vir(?:us(?:es)?|oids?|ions?)\b|phages?\b|\b[ms]?npv\b|\bprions?\b|(?:alpha|beta|delta)satellites?\b|\bsatellite (?:rna|dna)"
    r"|sars-cov|\b(?:endo|ecto)?symbionts?\b|\S phytoplasma\b"
    r"|\bplasmid\b",
    re.IGNORECASE,
)
_VIRUS_BINOMIAL = re.compile(r"[A-Z][a-z]+(?:virus|viroid) [a-z]{3,}(?:us|um|a|is|ae|i|ense|e)?$")
_EPITHET_VIRUS = re.compile(r"[A-Z][a-z]+ (?:\([A-Z][a-z]+\) )?(?:[a-z]*virus|prion) \(?[A-Z][^\d]*\b[12]\d{3}\)?$")


class Opening(NamedTuple):
    """A text without what stands before its name."""

    text: str
    doubt: str = ""
    unread: str = ""
    """Reason why the text names no taxon."""


def opened(text: str) -> Opening:
    """Return the name that a tidy text begins with, or the reason why it names no taxon."""
    doubt = ""
    while True:
        stripped = text.lstrip(_TRIM_LEFT)
        if stripped[:1] == "?":
            doubt, text = "?", stripped[1:]
        elif stripped[:3] in ("(?)", "[?]"):
            doubt, text = "?", stripped[3:]
        else:
            first, _, rest = stripped.partition(" ")
            bare = first.strip(".,:()").lower()
            if rest and (bare in words.DOUBT or bare in words.UNCERTAIN):
                doubt, text = words.DOUBT.get(bare, "?"), rest
            else:
                break
    text = stripped.rstrip(_TRIM_RIGHT)
    if text and not text[0].isalpha():
        text = _unwrapped(text)
    if not text:
        return Opening("", doubt, PLACEHOLDER)
    if text[0].isdigit() or text[1:2] in ".):":
        text = _NUMBERING.sub("", text, count=1)
    return _by_first_word(scientific_half(text), doubt)


def _unwrapped(text: str) -> str:
    """Return the text inside brackets or quotation marks around all of it, or around its genus or its epithet."""
    while len(text) > 2 and text[0] + text[-1] in ("()", "[]", '""', "''", "<>", "{}") and text[0] not in text[1:-1]:
        text = text[1:-1].strip(_TRIM_LEFT + "?")
    if text[:1] in "[(\"'" and (close := {"[": "]", "(": ")"}.get(text[:1], text[:1])) in text[1:]:
        text = text[1:].replace(close, "", 1)
    return text


def scientific_half(text: str) -> str:
    """Return the scientific name of a text that has a common name before it: "Holly (Ilex aquifolium)"."""
    if "(" in text or "[" in text:
        found = _NAME_IN_BRACKETS.fullmatch(text) if _BRACKETED.search(text) else None
    elif " - " in text:
        found = _BEHIND_DASH.fullmatch(text)
    else:
        return text
    if found is None or str(found[2]).split()[1].rstrip(".,;") in words.NOT_PLAIN:
        return text
    is_english = not _TWO_LATIN.match(found[1]) or (_ENGLISH.match(found[1]) and not _STRONG_LATIN.match(found[1]))
    if not is_english or (_TWO_LATIN.match(found[1]) and not _STRONG_LATIN.match(found[2])):
        return text
    return str(found[2]).strip()


def _by_first_word(text: str, doubt: str) -> Opening:
    first, _, rest = text.partition(" ")
    low = first.strip(".,:;?!()").lower()
    if "ncertae" in text and (placed := _UNPLACED.search(text)) and placed.start():
        if not text[placed.end() :].strip(" )]"):
            return Opening(first.rstrip(",:;"), doubt or "sp.")  # "Ascomycota, families incertae sedis"
        text = f"{text[: placed.start()]} {text[placed.end() :]}"
    kind = FIRST.get(low)
    if kind is None and "." in low and low.partition(".")[0] in ("gen", "sp", "spec", "fam"):
        kind = words.NO_NAME  # "Gen.nov. sp.nov."
    if kind is None and "/" in low and low.replace("/", "") in ("na", "no"):
        kind = words.NO_NAME
    if kind is not None:
        return _special(text, rest, kind, doubt)
    if _is_viral(text, rest):
        return Opening(text, doubt, "" if _VIRUS_BINOMIAL.match(text) else VIRUS)
    if rest[:1].isupper() and rest.isalpha() and rest.lower().endswith(HIGHER_ENDINGS[:3]):
        return Opening(rest, doubt)  # "Coleoptera: Carabidae"
    if rest and rest[0].isupper() and (first[-1] == ":" or low.endswith(HIGHER_ENDINGS[:2])):
        second, _, after = rest.partition(" ")
        if after[:1].islower() and second.isalpha() and after.split(" ", 1)[0] not in words.PARTICLES:
            return Opening(rest, doubt)  # "Carabidae Carabus violaceus"
    return Opening(text, doubt)


def _is_viral(text: str, rest: str) -> bool:
    low = text.lower()
    if not (
        "vir" in low
        or "phage" in low
        or "npv" in low
        or "prion" in low
        or "satel" in low
        or "sars" in low
        or "symbiont" in low
        or "plasm" in low
    ):
        return False
    return bool(_VIRAL.search(text)) and not _EPITHET_VIRUS.match(text) and bool(rest or not low.endswith("virus"))


def _special(text: str, rest: str, kind: str, doubt: str) -> Opening:
    """Return what is left of a text whose first word is not a genus."""
    second, _, after = rest.partition(" ")
    is_name = second[:1].isupper() and second[1:2].islower() and FIRST.get(second.strip(".,:;?!()").lower()) is None
    if kind == words.CANDIDATE and second[:1].isupper() and text[:3] not in ("Ca ", "CA "):
        return Opening(rest, doubt)
    if kind == words.RANK and is_name:  # "Familia Carabidae"
        return Opening(rest, doubt)
    if kind == words.TYPE and is_name and after[:1].islower():  # "Holotype Acer rubrum"; not "Type of Acer rubrum"
        return Opening(rest, doubt)
    if kind == words.NO_NAME and is_name and second.rstrip(".,;").lower().endswith(HIGHER_ENDINGS):
        return Opening(second, doubt or "sp.")  # "Unidentified Carabidae"
    if kind == words.CANDIDATE:
        return Opening(text, doubt)
    return Opening(text, doubt, NO_GENUS if kind == words.SUBGENUS else PLACEHOLDER)
