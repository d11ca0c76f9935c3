"""Names as people write them: open nomenclature, hybrids, authors, remarks, placeholders; a table of cases and properties."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bioclip_core.names import HYBRID_FORMULA, WrittenName, parse_name, parse_species
from bioclip_core.naming.words import COMPOUND_FIRST, FIRST, NOT_PLAIN

CASES = [
    [re.sub(r"\\u(....)", lambda code: chr(int(code[1], 16)), cell) for cell in line.split(" | ")]
    for line in Path(__file__).with_name("written_names.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


def reading(name: WrittenName) -> list[str]:
    hybrid = "f" if name.doubt == HYBRID_FORMULA else "s" if name.hybrid else "g" if name.hybrid_genus else ""
    return [name.genus, name.epithet, name.infraspecific, "1" if name.doubt else "", hybrid]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_name_is_read_as_it_is_meant(case: list[str]) -> None:
    written, *wanted = [cell.strip() for cell in " | ".join(case).split(" |")]
    assert reading(parse_name(written)) == [*wanted, "", "", "", "", ""][:5]


@pytest.mark.parametrize(
    ("written", "doubted", "below", "reason"),
    [
        ("Fictomala cf. alba", "alba", "", ""),
        ("Fictomala alba?", "alba", "", ""),
        ("? Fictomala alba", "alba", "", ""),
        ("Fictomala ?alba", "alba", "", ""),
        ("Fictomala sp. aff. alba", "alba", "", ""),
        ("Fictomala (alba group)", "alba", "", ""),
        ("Fictomala alba or rubra", "", "", ""),
        ("Fictomala alba × rubra", "", "", ""),
        ("Fictomala sp.", "", "", ""),
        ("Fictomala alba subsp. cf. minor", "", "cf.", ""),
        ("Fictomala alba var. ?", "", "?", ""),
        ("F. alba", "", "", "its genus is abbreviated"),
        ("Unidentified moth", "", "", "a placeholder, not a name"),
        ("Potato virus X", "", "", "the name of a virus or symbiont"),
        ("BOLD:AAA0001", "", "", "an identifier or a number, not a name"),
        ("сосна обыкновенная", "", "", "not written in Latin letters"),
    ],
)
def test_a_doubt_keeps_what_it_suggests_and_an_unread_text_its_reason(
    written: str, doubted: str, below: str, reason: str
) -> None:
    name = parse_name(written)
    assert (name.doubted, name.doubt_below, name.unread) == (doubted, below, reason)


# -- properties --------------------------------------------------------------------------------------------------------

_SYLLABLES = st.lists(st.sampled_from("ba ce di fo gu la me ni po ru sa te li mo nu ra".split()), min_size=2, max_size=4).map(
    "".join
)  # fmt: skip
GENUS = st.builds(lambda stem, end: (stem + end).capitalize(), _SYLLABLES, st.sampled_from(["lia", "mus", "ris", "pogon"])).filter(
    lambda word: word.lower() not in FIRST
)  # fmt: skip
EPITHET = st.builds(str.__add__, _SYLLABLES, st.sampled_from(["lus", "tum", "na", "lensis", "ndii", "rae", "stris"])).filter(
    lambda word: word not in NOT_PLAIN and word not in COMPOUND_FIRST
)  # fmt: skip
AUTHORITY = st.sampled_from(
    ["", "L.", "Linnaeus, 1758", "(Linnaeus, 1758)", "(L.) Mill.", "L.f.", "Hook. f. & Arn.", "de Geer, 1774", "van der Wulp", "d'Orbigny",
     "O'Brien & McAtee, 1950", "Müller in Schulze, 1900", "Smith et al.", "hort. ex Beissn.",
     "auct. non L.", "von Martens", "ter Braak",
     "C.-k. Yang, 1986", "(Smith ex Jones) Brown", "sensu Smith", "DC.", "Desbrochers des Loges, 1881",
     "Fisch. & C.A.Mey.", "emend. Frohner"]
)  # fmt: skip
REMARK = st.sampled_from(
    ["", "det. A. Smith 1975", ", leg. B. Jones", "; conf. C. Brown", "(det. Smith)", "juv.", "♂", "(larva)", "TYPE!", "holotype", "[sic]",
     "s. str.", "s.l.", "agg.", "nom. nud.", "p.p.", "ined.", "(common name)", "†", ",", "cult.", "comb. nov.", "group", "'Tricolor'"]
)  # fmt: skip
DOUBTS = st.sampled_from(
    ["{g} cf. {e}", "{g} cf {e}", "cf. {g} {e}", "{g} aff. {e}", "{g} sp. aff. {e}", "{g} ?{e}", "{g} {e}?", "{g} {e} ?", "?{g} {e}",
     "? {g} {e}",
     "{g} {e} cf.", "{g} nr. {e}", "{g} near {e}", "{g} {e} vel {o}", "{g} {e} or {o}", "{g} {e}/{o}", "{g} {e} / {g} {o}", "{g} sp.",
     "{g} sp. 2",
     "{g} spp.", "{g} indet.", "{g} n. sp.", "{g} ({e} group)", "{g} ex gr. {e}", "{g} {e} × {o}", "{g} {e} x {g} {o}", "probably {g} {e}",
     "{g} prox. {e}", "{g}? {e}", "{g} {e} (?)", "{g} conf. {e}", "{g} {e} or {g} {o}"]
)  # fmt: skip
PLACEHOLDER = st.sampled_from(
    ["Unidentified", "unknown", "Undetermined", "Incertae sedis", "Type of", "indet.", "No ID", "not identified", "various", "mixed",
     "unnamed", "sp.", "gen. sp.", "Genus sp.", "N/A"]
)  # fmt: skip
MANY = settings(max_examples=150, deadline=None)


@MANY
@given(
    GENUS, EPITHET, AUTHORITY, REMARK, st.sampled_from([" ", "  ", "\t", "\u00a0", "_"]), st.sampled_from([str, str.upper, str.lower])
)  # fmt: skip
def test_authors_in_any_case_remarks_and_blanks_do_not_change_a_name(
    genus: str, epithet: str, authority: str, remark: str, blank: str, case: Callable[[str], str]
) -> None:
    written = " ".join(filter(None, (f"{genus}{blank}{epithet}", case(authority), remark)))
    assert reading(parse_name(written)) == [genus, epithet, "", "", ""]
    assert reading(parse_name(f" <i>{genus} {epithet}</i> {authority} {remark} ")) == [genus, epithet, "", "", ""]


@MANY
@given(GENUS, EPITHET, AUTHORITY)
def test_capitals_and_small_letters_do_not_change_a_name(genus: str, epithet: str, authority: str) -> None:
    for written in (
        f"{genus} {epithet}".upper(),
        f"{genus.lower()} {epithet}",
        f"{genus.upper()} {epithet} {authority}",
    ):
        assert reading(parse_name(written)) == [genus, epithet, "", "", ""]
    assert parse_species(f"{genus} {epithet} {authority}", genus).binomial == (genus, epithet)
    assert parse_species(f"{epithet} {authority}", genus).binomial == (genus, epithet)


@MANY
@given(
    GENUS, EPITHET, EPITHET, AUTHORITY, AUTHORITY, st.sampled_from(["subsp.", "ssp.", "var.", "f.", "forma", "ab.", "nothosubsp."])
)  # fmt: skip
def test_a_name_below_the_species_is_found_behind_its_rank(
    genus: str, epithet: str, below: str, author: str, other: str, rank: str
) -> None:
    written = " ".join(filter(None, (genus, epithet, author, rank, below, other)))
    assert reading(parse_name(written)) == [genus, epithet, below, "", ""]


@MANY
@given(GENUS, EPITHET, EPITHET, AUTHORITY, REMARK, DOUBTS)
def test_a_doubt_is_always_flagged(
    genus: str, epithet: str, other: str, authority: str, remark: str, form: str
) -> None:
    written = form.format(g=genus, e=epithet, o=other + "x")
    for text in (written, f"{written} {authority}".strip(), f"{written} {authority} {remark}".strip()):
        name = parse_name(text)
        assert (name.genus, name.epithet, bool(name.doubt)) == (genus, "", True), text


@MANY
@given(PLACEHOLDER, st.one_of(EPITHET, GENUS, st.just("beetle"), st.just("12")), st.booleans())
def test_a_placeholder_is_never_a_taxon(words: str, rest: str, is_upper: bool) -> None:
    written = f"{words} {rest}".upper() if is_upper else f"{words} {rest}"
    for text in (words, written):
        name = parse_name(text)
        assert (name.genus, name.epithet) == ("", ""), text
        assert name.unread, text


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=40), st.text(string.ascii_letters + " .,?()[]×x/'\"-&=:", max_size=40)))
@example("(")
@example("×")
@example("x")
@example("A (")
@example("Ab ab (")
@example("'")
@example("\u00b90\x85A")
def test_any_text_is_read_without_an_error_and_a_name_is_read_again_as_itself(text: str) -> None:
    name = parse_name(text)
    assert all(word.isascii() for word in (name.genus, name.epithet, name.infraspecific))
    again = parse_name(name.canonical)
    if (
        name.genus
        and not name.in_doubt
        and not name.unread
        and " " in name.canonical
        and not any(c.isdigit() for c in name.canonical)
    ):
        assert (again.genus, again.epithet) == (name.genus, name.epithet)
    parse_species(text, "Acer")
    parse_species(text)
