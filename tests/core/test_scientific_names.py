"""Written names taken apart, and how far apart spellings are."""

from __future__ import annotations

import pytest

from bioclip_core.names import folded, parse_name, same_authorship
from bioclip_training.taxonomy.spelling import distance, equal_endings


@pytest.mark.parametrize(
    ("written", "canonical", "authorship"),
    [
        ("Fictomala alba", "Fictomala alba", ""),
        ("Fictomala alba (Inv., 1758) Mak.", "Fictomala alba", "(Inv., 1758) Mak."),
        ("Fictomala (Subfictus) alba Inv.", "Fictomala alba", "Inv."),
        ("Fictomala alba subsp. minor (Mak.) Inv.", "Fictomala alba minor", "(Mak.) Inv."),
        ("Fictomala alba Inv. var. minor Mak.", "Fictomala alba minor", "Mak."),
        ("Fictomala alba minor", "Fictomala alba minor", ""),
        ("Fictomala x schmittii Rehd.", "Fictomala × schmittii", "Rehd."),
        ("Fictomala X Shmittii", "Fictomala × shmittii", ""),
        ("Fictomala ×schmittii", "Fictomala × schmittii", ""),
        ("× Fictocydonia alba", "× Fictocydonia alba", ""),
        ("xFictomala alba", "Xfictomala alba", ""),
        ("FICTOMALA ALBA", "Fictomala alba", ""),
        ("†Fictomala_alba", "Fictomala alba", ""),
        ("Fictomala de Maker, 1801", "Fictomala", "de Maker, 1801"),
        ("Fictomala alba ex Inv.", "Fictomala alba", "ex Inv."),
        ("<i>Fictomala</i> alba", "Fictomala alba", ""),
    ],
)
def test_a_name_is_taken_apart(written: str, canonical: str, authorship: str) -> None:
    name = parse_name(written)
    assert (name.canonical, name.authorship) == (canonical, authorship)


@pytest.mark.parametrize(
    ("written", "doubt"),
    [
        ("Fictomala sp.", "sp."), ("Fictomala sp. 3", "sp."), ("Fictomala spp", "sp."), ("Fictomala cf. alba", "cf."),
        ("Fictomala aff. alba Inv.", "aff."), ("cf. Fictomala alba", "cf."), ("Fictomala alba × Fictomala rubra", "hybrid formula"),
        ("Fictomala alba x rubra", "hybrid formula"), ("Fictomala indet.", "sp."),
    ],
)  # fmt: skip
def test_a_name_in_doubt_has_no_epithet(written: str, doubt: str) -> None:
    name = parse_name(written)
    assert (name.genus, name.epithet, name.doubt) == ("Fictomala", "", doubt)


def test_a_capitalised_second_word_may_be_an_epithet_unless_a_year_or_another_author_follows() -> None:
    assert parse_name("Fictomala Alba").reading == "alba"
    assert parse_name("Fictomala Maker, 1801").reading == ""
    assert parse_name("Fictomala Maker & Inventor").reading == ""
    assert parse_name("Fictomala (Maker)").reading == ""


def test_one_word_in_small_letters_is_an_epithet_and_has_no_genus() -> None:
    name = parse_name("rufictipes")
    assert (name.epithet_alone, name.genus) == (True, "")


def test_what_is_no_name_is_looked_up_as_it_is_written() -> None:
    assert parse_name("BOLD:FIC0001").key == "bold:fic0001"
    assert parse_name("").key == ""


def test_keys_know_no_marks_accents_or_hyphens() -> None:
    assert parse_name("Fictomala × schmittii").key == "fictomala schmittii"
    assert parse_name("Fictomala novae-fictiae").key == "fictomala novaefictiae"
    assert folded("Mülleri") == "mulleri"


def test_authorships_agree_by_year_and_beginning() -> None:
    assert same_authorship("Inv.", "(Inventor, 1758)")
    assert not same_authorship("Inv., 1801", "Inv., 1758")
    assert not same_authorship("Inv.", "Mak.")


@pytest.mark.parametrize(
    ("one", "other", "errors"),
    [
        ("alba", "alba", 0), ("alba", "alda", 1), ("alba", "abla", 1), ("alba", "albaa", 1), ("alba", "lba", 1),
        ("abcdef", "badcef", 2), ("abcd", "cdab", 3), ("ab", "ba", 1), ("fictus", "pictam", 3),
    ],
)  # fmt: skip
def test_the_distance_counts_letters_lost_added_changed_and_exchanged(one: str, other: str, errors: int) -> None:
    assert distance(one, other, 2) == errors
    assert distance(other, one, 2) == errors


def test_the_endings_of_a_gender_are_one_class() -> None:
    assert equal_endings("albus") == ["alba", "album"]
    assert "nigrum" in equal_endings("niger")
    assert equal_endings("makeri") == ["makerii"]
