"""Parser of scientific names: parts, doubts, keys, and species cells with and without their genus."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from bioclip_core.names import clean_name, folded, parse_name, parse_species, same_authorship


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
        ("xFictomala alba", "× Fictomala alba", ""),
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


def test_a_text_that_is_not_a_name_is_looked_up_as_written() -> None:
    assert parse_name("BOLD:FIC0001").key == "bold:fic0001"
    assert parse_name("").key == ""


def test_keys_know_no_marks_accents_or_hyphens() -> None:
    assert parse_name("Fictomala × schmittii").key == "fictomala schmittii"
    assert parse_name("Fictomala novae-fictiae").key == "fictomala novaefictiae"
    assert folded("Mülleri") == "muelleri"
    assert folded("Isoëtes") == "isoetes"


def test_authorships_agree_by_year_and_beginning() -> None:
    assert same_authorship("Inv.", "(Inventor, 1758)")
    assert not same_authorship("Inv., 1801", "Inv., 1758")
    assert not same_authorship("Inv.", "Mak.")


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("  <i>Acer</i>\tpalmatum ", "Acer palmatum"), ("Acer_palmatum", "Acer palmatum"), ("a\x00b", "ab"),
        ("Unknown", ""), ("n/a", ""), ("sp.", ""), ("not_classified", ""), ("?", ""), ("", ""), (None, ""),
        (float("nan"), ""), (pd.NA, ""), (pd.NaT, ""), (12, "12"), ("Mu\u0308ller", "M\u00fcller"), ("a < b", "a < b"),
    ],
)  # fmt: skip
def test_a_cell_is_cleaned_and_words_for_empty_are_empty(cell: Any, name: str) -> None:
    assert clean_name(cell) == name


@pytest.mark.parametrize(
    ("cell", "genus", "epithet"),
    [
        ("palmatum", "Acer", "palmatum"), ("Acer palmatum", "Acer", "palmatum"), ("Palmatum", "Acer", "palmatum"),
        ("palmatum Thunb., 1784", "Acer", "palmatum"), ("saccharum subsp. nigrum", "Acer", "saccharum"),
        ("saccharum var nigrum", "Acer", "saccharum"), ("x schmittii", "Prunus", "× schmittii"),
        ("×schmittii", "Prunus", "× schmittii"), ("xiphium", "Iris", "xiphium"), ("sp.", "Acer", ""), ("sp. 3", "Acer", ""),
        ("cf. palmatum", "Acer", ""), ("novae-angliae", "Aster", "novae-angliae"), ("l'herminieri", "Puffinus", "l'herminieri"),
        ("A. palmatum", "Acer", "palmatum"), ("B. palmatum", "Acer", ""), ("Carabus (Carabus) granulatus", "Carabus", "granulatus"),
        ("× Cuprocyparis leylandii", "× Cuprocyparis", "leylandii"), ("Cuprocyparis leylandii", "× Cuprocyparis", "leylandii"),
    ],
)  # fmt: skip
def test_an_epithet_is_found_among_genus_authority_and_marks(cell: str, genus: str, epithet: str) -> None:
    assert parse_species(cell, genus).binomial[1] == epithet


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Acer palmatum", ("Acer", "palmatum")), ("acer palmatum Thunb.", ("Acer", "palmatum")), ("Acer", ("Acer", "")),
        ("Acer Thunb.", ("Acer", "")), ("Acer sp.", ("Acer", "")), ("Prunus x schmittii Rehder", ("Prunus", "× schmittii")),
        ("Prunus × schmittii", ("Prunus", "× schmittii")), ("× Cuprocyparis leylandii", ("× Cuprocyparis", "leylandii")),
        ("X Cuprocyparis leylandii", ("× Cuprocyparis", "leylandii")), ("Xanthium strumarium", ("Xanthium", "strumarium")),
        ("Carabus (Carabus) granulatus Linnaeus, 1758", ("Carabus", "granulatus")), ("", ("", "")), ("×", ("", "")),
        ("Vulpes vulpes fulva", ("Vulpes", "vulpes")),
    ],
)  # fmt: skip
def test_a_scientific_name_gives_genus_and_epithet(text: str, names: tuple[str, str]) -> None:
    assert parse_name(text).binomial == names


@pytest.mark.parametrize(
    ("text", "genus", "epithet", "doubt"),
    [
        ("ACER PALMATUM", "Acer", "palmatum", ""),
        ("LYNX FICTUS (Linnaeus, 1758)", "Lynx", "fictus", ""),
        ("†Acer palmatum", "Acer", "palmatum", ""),
        ("Acer de Maker", "Acer", "", ""),  # an author, not an epithet
        ("Acer alba × rubra", "Acer", "", "hybrid formula"),
        ("Acer species1", "Acer", "", "sp."),
        ("Acer var nigrum", "Acer", "", ""),
        ("cf. palmatum", "", "", "cf."),
        ("BOLD:AAA0001", "", "", ""),
        ("SH1572816.08FU", "", "", ""),  # a UNITE species hypothesis
        ("Inocybe_sp_SH1572816.08FU", "Inocybe", "", "sp."),
        ("Tobacco mosaic virus", "", "", ""),
        ("12", "", "", ""),
        ("UBA1234 sp002", "Uba1234", "sp002", ""),  # the numbering of one collection
    ],
)
def test_marks_numbers_and_doubts_are_never_taken_for_a_species(
    text: str, genus: str, epithet: str, doubt: str
) -> None:
    name = parse_name(text)
    assert (name.genus, name.epithet, name.doubt) == (genus, epithet, doubt)


def test_a_capitalised_second_word_is_the_epithet_if_the_source_states_a_species() -> None:
    assert parse_name("Lynx Fictus (L., 1758)", is_species=True).binomial == ("Lynx", "fictus")
    assert parse_name("Lynx Linnaeus, 1758", is_species=True).binomial == ("Lynx", "")


@pytest.mark.parametrize(
    ("cell", "genus", "binomial"),
    [
        ("palmatum", "", ("", "palmatum")),
        ("Palmatum", "", ("", "palmatum")),
        ("palmatum Thunb.", "", ("", "palmatum")),
        ("x schmittii", "", ("", "× schmittii")),
        ("Acer palmatum", "", ("Acer", "palmatum")),
        ("ACER PALMATUM", "", ("Acer", "palmatum")),
        ("Acer Rubrum", "", ("Acer", "rubrum")),
        ("Acer sp.", "", ("Acer", "")),
        ("sp. 3", "", ("", "")),
        ("", "", ("", "")),
        ("Prunus avium", "Acer", ("Acer", "")),  # a genus other than the row's
        ("White-tailed deer", "Odocoileus", ("Odocoileus", "")),
        ("alba × rubra", "Acer", ("Acer", "")),
        ("PALMATUM", "Acer", ("Acer", "palmatum")),
        ("Palmatum Thunb., 1784", "Acer", ("Acer", "palmatum")),
        ("acer palmatum", "Acer", ("Acer", "palmatum")),
        ("palmatum", "Uba1234", ("Uba1234", "palmatum")),  # a provisional genus
        ("sp31", "Acer", ("Acer", "sp31")),  # a provisional species
        ("31", "Acer", ("Acer", "")),
    ],
)
def test_a_species_cell_is_read_with_the_genus_of_its_row(cell: str, genus: str, binomial: tuple[str, str]) -> None:
    assert parse_species(cell, genus).binomial == binomial


def test_a_species_cell_keeps_the_ranks_below_the_species() -> None:
    assert parse_species("saccharum subsp. nigrum", "Acer").canonical == "Acer saccharum nigrum"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("&lt;i&gt;Fictomala alba&lt;/i&gt;", "Fictomala alba"),
        ("Fictomala &amp;times; alba", "Fictomala × alba"),
        ("Fictomala \u00c3\u2014 alba", "Fictomala × alba"),  # the UTF-8 of the mark, read as Windows-1252
        ("Fictomala \u00c3\u0097 alba", "Fictomala × alba"),  # and as Latin-1
        ("Fictoëtes alba".encode().decode("cp1252").encode().decode("cp1252"), "Fictoetes alba"),  # twice
        ("Fictomala alba M\u00c3\u00bcller", "Fictomala alba"),
    ],
)
def test_entities_and_letters_of_another_encoding_are_read_as_they_were_written(written: str, canonical: str) -> None:
    assert parse_name(written).canonical == canonical


def test_words_that_only_look_like_misread_letters_stay() -> None:
    assert [clean_name(word) for word in ("Ângela", "São Paulo", "Ærøskøbing", "Müller")] == [
        "Ângela",
        "São Paulo",
        "Ærøskøbing",
        "Müller",
    ]


@pytest.mark.parametrize(
    ("written", "damaged"),
    [("Fictomala gran...", "gran*"), ("Fictomala gran…", "gran*"), ("Fictomala gr?ndis", "gr?ndis"), ("Fictomala gr\ufffdndis", "gr?ndis"),
     ("Fictomala alba M?ller", ""), ("Fictomala alba?", ""), ("Fictomala cf. alba", "")],
)  # fmt: skip
def test_an_epithet_that_is_not_whole_is_in_doubt(written: str, damaged: str) -> None:
    name = parse_name(written)
    assert name.damaged == damaged
    if damaged:
        assert (name.genus, name.epithet, name.doubt) == ("Fictomala", "", "?")
