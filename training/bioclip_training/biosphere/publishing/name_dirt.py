"""Dirt in names: which name is written, and what stands around it. One function per kind, by the name of the kind."""

from __future__ import annotations

from collections.abc import Callable

from bioclip_training.biosphere.publishing.statements import Statement, Writer
from bioclip_training.biosphere.publishing.tree import ANIMALIA, Species

LETTERS = "abcdefghijklmnoprstuvxz"
_ENDINGS = {"ensis": "ense", "atus": "ata", "inus": "ina", "alis": "ale"}
_BELOW = ("subsp.", "ssp.", "var.", "f.", "")

Change = Callable[[Writer, Species, Statement], bool]
"""Change a statement; False, and no change, if the species has nothing for this kind."""


def _authorship(writer: Writer, species: Species, said: Statement) -> bool:
    said.name += f" {species.authorship.written()}"
    return True


def _plain_authors(writer: Writer, species: Species, said: Statement) -> bool:
    return not species.authorship.is_recombined and _authorship(writer, species, said)


def _bracketed_authors(writer: Writer, species: Species, said: Statement) -> bool:
    return species.authorship.is_recombined and _authorship(writer, species, said)


def _ex(writer: Writer, species: Species, said: Statement) -> bool:
    if species.kingdom == ANIMALIA:
        return False
    said.name += f" {species.authorship.with_ex()}"
    return True


def _et_al(writer: Writer, species: Species, said: Statement) -> bool:
    if species.kingdom != ANIMALIA:
        return False
    others = tuple(writer.choose(writer.tree.authors) for _ in range(2))
    said.name += f" {species.authorship.with_many(others, shortened=bool(writer.rng.random() < 0.5))}"
    return True


def _infraspecific(writer: Writer, species: Species, said: Statement) -> bool:
    if species.is_hybrid:
        return False
    below = writer.choose(species.subspecies) if species.subspecies else species.epithet
    mark = writer.choose(_BELOW[:2] + _BELOW[4:] if species.kingdom == ANIMALIA else _BELOW[:4])
    said.name = f"{species.genus} {species.epithet} {mark} {below}".replace("  ", " ")
    if writer.rng.random() < 0.4:
        said.name += f" {species.authorship.written()}"
    said.rank = {"var.": "variety", "f.": "form"}.get(mark, "subspecies")
    return True


def _subgenus(writer: Writer, species: Species, said: Statement) -> bool:
    if species.kingdom != ANIMALIA:
        return False
    sub = "Fictosub" + species.genus.removeprefix("Ficto")
    said.name = f"{species.genus} ({sub}) {species.epithet}"
    if writer.rng.random() < 0.4:
        said.name += f" {species.authorship.written()}"
    return True


def _hybrid_mark(writer: Writer, species: Species, said: Statement) -> bool:
    if not species.is_hybrid:
        return False
    mark = writer.choose(("x ", "X ", "×"))
    said.rename(species.genus, f"{mark}{species.epithet}")
    return True


def _hybrid_formula(writer: Writer, species: Species, said: Statement) -> bool:
    other = writer.sister(species)
    if other is None or species.kingdom == ANIMALIA:
        return False
    said.rename(species.genus, "")
    said.binomial, said.name = "", f"{species.binomial} × {other.binomial}"
    return True


def _synonym(writer: Writer, species: Species, said: Statement) -> bool:
    if not species.synonyms:
        return False
    said.rename(*species.synonyms[int(writer.rng.integers(len(species.synonyms)))])
    return writer.rng.random() < 0.5 or _authorship(writer, species, said)


def _shared_synonym(writer: Writer, species: Species, said: Statement) -> bool:
    if not species.shared:
        return False
    said.rename(*species.shared[0])
    return True


def _misspelt(change: Callable[[Writer, str], str]) -> Change:
    """Return the change that misspells a name until no other name is as near, or gives up after twenty attempts."""

    def misspell(writer: Writer, species: Species, said: Statement) -> bool:
        if species.is_hybrid:
            return False
        for _ in range(20):
            genus, epithet = species.genus, species.epithet
            if writer.rng.random() < 0.3:
                genus = genus[:5] + change(writer, genus[5:])  # the mark of invented names stays
            else:
                epithet = change(writer, epithet)
            if writer.near.is_only(f"{genus} {epithet}", species.number):
                said.rename(genus, epithet)
                return writer.rng.random() < 0.6 or _authorship(writer, species, said)
        return False

    return misspell


def _wrong_letter(writer: Writer, word: str) -> str:
    at, letter = int(writer.rng.integers(len(word))), writer.choose(LETTERS)
    how = int(writer.rng.integers(3))
    return word[:at] + ("", letter, letter + word[at])[how] + word[at + 1 :]


def _swapped(writer: Writer, word: str) -> str:
    at = int(writer.rng.integers(len(word) - 1))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _doubled(writer: Writer, word: str) -> str:
    at = int(writer.rng.integers(len(word)))
    return word[: at + 1] + word[at:]


def _other_ending(writer: Writer, species: Species, said: Statement) -> bool:
    ending = next((end for end in _ENDINGS if species.epithet.endswith(end)), None)
    if ending is None or species.is_hybrid:
        return False
    if not writer.near.has_only_stem(f"{species.genus} {species.epithet}", species.number):
        return False
    said.rename(species.genus, species.epithet.removesuffix(ending) + _ENDINGS[ending])
    return True


def _badly(writer: Writer, species: Species, said: Statement) -> bool:
    if species.is_hybrid or len(species.epithet) < 7:
        return False
    for _ in range(20):
        letters = list(species.epithet)
        for at in writer.rng.choice(len(letters), 3, replace=False):
            letters[int(at)] = writer.choose(LETTERS)
        written = f"{species.genus} {''.join(letters)}"
        if sum(a != b for a, b in zip(letters, species.epithet, strict=True)) == 3 and writer.near.is_free(written):
            said.rename(species.genus, "".join(letters))
            return True
    return False


def _placeholder(writer: Writer, species: Species, said: Statement) -> bool:
    word = writer.choose(("sp.", "spp.", f"sp. {int(writer.rng.integers(1, 9))}", "indet."))
    said.rename(species.genus, word)
    if writer.rng.random() < 0.5:
        said.epithet = said.binomial = ""
    return True


def _qualifier(writer: Writer, species: Species, said: Statement) -> bool:
    named = (writer.sister(species) if writer.rng.random() < 0.5 else species) or species
    mark = writer.choose(("cf.", "aff.", "?"))
    epithet = f"{named.epithet}?" if mark == "?" else f"{mark} {named.epithet}"
    said.rename(species.genus, epithet)
    return True


def _barcode(writer: Writer, species: Species, said: Statement) -> bool:
    number = f"BOLD:AA{writer.choose('ABCDEFG')}{int(writer.rng.integers(1000, 9999))}"
    said.rename(species.genus, f"sp. {number}")
    if writer.rng.random() < 0.5:
        said.binomial = said.name = number
    return True


def _several(writer: Writer, species: Species, said: Statement) -> bool:
    other = writer.tree.species[int(writer.rng.integers(len(writer.tree.species)))]
    if other.number == species.number or other.is_unseen:
        return False
    said.ranks = ["", "", "", "", "", ""]
    said.epithet = ""
    said.binomial = said.name = f"{species.binomial}{writer.choose(('; ', ' / ', ', ', ' & '))}{other.binomial}"
    return True


def _truncated(writer: Writer, species: Species, said: Statement) -> bool:
    kept = int(writer.rng.integers(2, max(3, len(species.epithet) - 4)))
    if species.is_hybrid or len(species.epithet) < 8:
        return False
    said.rename(species.genus, species.epithet[:kept])
    return True


def _common_name(writer: Writer, species: Species, said: Statement) -> bool:
    if not species.english:
        return False
    said.name = species.english
    return True


CHANGES: dict[str, Change] = {
    "authorship": _plain_authors,
    "authorship_in_brackets": _bracketed_authors,
    "authorship_ex": _ex,
    "authorship_et_al": _et_al,
    "infraspecific": _infraspecific,
    "subgenus": _subgenus,
    "hybrid_mark": _hybrid_mark,
    "hybrid_formula": _hybrid_formula,
    "synonym": _synonym,
    "synonym_of_two": _shared_synonym,
    "misspelt_letter": _misspelt(_wrong_letter),
    "misspelt_swapped": _misspelt(_swapped),
    "misspelt_doubled": _misspelt(_doubled),
    "misspelt_ending": _other_ending,
    "misspelt_badly": _badly,
    "placeholder": _placeholder,
    "qualifier": _qualifier,
    "barcode_name": _barcode,
    "several_names": _several,
    "truncated": _truncated,
    "common_name_in_place": _common_name,
    "category_common_name": _common_name,
}
"""Kinds of the group "name" that change a statement; the others are decided when records are planned."""
