"""The one test of what a name is: what it refuses with its kind, and the scientific names that it must leave alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.names import NameKind, judge_name, verdict_of_word
from bioclip_core.naming.row_judging import judge_cells


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("Blank", "blank"), ("EMPTY", "blank"), ("nothing", "blank"), ("No animal", "blank"), ("Misfire", "blank"), ("Leer", "blank"),
        ("Vide", "blank"), ("vacío", "blank"), ("vazio", "blank"), ("Vuoto", "blank"), ("leeg", "blank"), ("Tomt", "blank"),
        ("Fehlauslösung", "blank"), ("false_trigger", "blank"), ("Human", "person"), ("2 people", "person"), ("Mensch", "person"),
        ("Personnes", "person"), ("människa", "person"), ("Vehicle", "vehicle"), ("Fahrzeug", "vehicle"), ("voiture", "vehicle"),
        ("Unidentified", "unidentifiable"), ("unbekannt", "unidentifiable"), ("onbekend", "unidentifiable"), ("?", "unidentifiable"),
        ("Setup_pickup", "work"), ("camera check", "work"), ("blurred", "work"), ("ignore", "work"), ("problem", "work"),
    ],
)  # fmt: skip
def test_words_for_verdicts_are_no_names_in_several_languages(word: str, verdict: str) -> None:
    assert judge_name(word).kind is NameKind.VERDICT
    assert judge_name(word).verdict == verdict_of_word(word) == verdict


@pytest.mark.parametrize(
    "name",
    ["Deer", "Fox", "Red fox", "great tit", "European Hedgehog", "White-tailed deer", "Père David's deer", "Longnose sucker", "Rotfuchs",
     "Reh", "Renard roux", "Cabeza de serpiente rojo", "Zorro rojo", "Volpe", "Raposa", "Wilde kat", "Rådjur", "Sika deer", "roe_deer",
     "Kleiner Fuchs", "Bird of prey", "mammals", "gazelleThomsons", "Zebra", "FOX"],
)  # fmt: skip
def test_common_names_are_no_names_of_taxa(name: str) -> None:
    assert judge_name(name).kind is NameKind.COMMON


@pytest.mark.parametrize(
    "name", ["sp1", "OTU 12", "BOLD:AAA1234", "12345", "ID_0032", "ZMUC 12345", "IMG_1234.JPG", "VB", "urn:lsid:x:1"]
)
def test_codes_are_no_names(name: str) -> None:
    assert judge_name(name).kind is NameKind.CODE


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("Fox; Badger", ("Fox", "Badger")), ("Vulpes vulpes|Meles meles", ("Vulpes vulpes", "Meles meles")),
        ("Fox/Badger", ("Fox", "Badger")), ("Vulpes vulpes and Meles meles", ("Vulpes vulpes", "Meles meles")),
        ("Vulpes vulpes & Meles meles", ("Vulpes vulpes", "Meles meles")), ("Fuchs und Dachs", ("Fuchs", "Dachs")),
        ("renard et blaireau", ("renard", "blaireau")), ("Vulpes vulpes, Meles meles", ("Vulpes vulpes", "Meles meles")),
        ("Alosa alosa, A. fallax", ("Alosa alosa", "A. fallax")), ("Vulpes vulpes; Human", ("Vulpes vulpes", "Human")),
        ("Vulpes vulpes\nMeles meles", ("Vulpes vulpes", "Meles meles")),
    ],
)  # fmt: skip
def test_several_names_in_one_cell_are_told_apart(cell: str, names: tuple[str, ...]) -> None:
    assert (judge_name(cell).kind, judge_name(cell).names) == (NameKind.SEVERAL, names)


@pytest.mark.parametrize(
    "name",
    ["Vulpes vulpes", "Lynx lynx", "Bison bison", "Gelae fish", "Zingel zingel", "Acer (L.) Mill. & Smith",
     "Acer rubrum Smith and Jones 1990", "Acer rubrum L. & Smith, 1790", "Salix alba × Salix fragilis",
     "Acer rubrum var. album", "Vulpes vulpes subsp. crucigera", "Rosa Wolf", "Acer rubrum Fox",
     "Carex flava/lepidocarpa", "Acer rubrum; leg. Smith", "Short-beaked Echidna (Tachyglossus aculeatus)",
     "Homo sapiens", "Tenrec", "Dugong", "Mugil cephalus", "Carex sp.", "Carex cf. flava", "UBA1234 sp002", "Aa",
     "Ia io", "Primates", "Galliformes", "Red fictus", "Köhleria hirsuta", "Malus domestica 'Cox's Orange Pippin'",
     "ACER RUBRUM", "Grus grus", "Canis lupus", "", "NA", "none"],
)  # fmt: skip
def test_scientific_names_pass_and_empty_cells_are_left_to_the_parser(name: str) -> None:
    assert judge_name(name).is_name, judge_name(name)


def test_the_columns_beside_a_name_say_what_it_is() -> None:
    assert judge_cells({"scientificname": "Red fox", "genus": "Vulpes", "species": "vulpes"}).cells == {
        "genus": "Vulpes",
        "species": "vulpes",
    }
    assert judge_cells({"scientificname": "Vulpes vulpes; Vulpes vulpes"}).cells == {"scientificname": "Vulpes vulpes"}
    assert judge_cells({"genus": "Red", "species": "fictus"}).fault is None  # two columns assert a binomial
    assert judge_cells({"genus": "Red", "species": "fox"}).fault is not None
    assert judge_cells({"scientificname": "Blank", "class": "Mammalia"}).is_void
    assert judge_cells({"scientificname": "BOLD:AAA1234", "family": "Sciaridae"}).may_use_ranks
    assert not judge_cells({"scientificname": "Red fox", "class": "Mammalia"}).may_use_ranks


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert judge_name(text).kind in NameKind


def test_a_hundred_thousand_names_are_judged_in_seconds() -> None:
    names = [
        f"Fictus{chr(97 + a)}{chr(97 + b)}us inventa{chr(97 + c)}is"
        for a in range(26)
        for b in range(26)
        for c in range(15)
    ]
    started = time.perf_counter()
    assert all(judge_name(name).is_name for name in names)
    assert time.perf_counter() - started < 5  # 0.2 s alone on a core
