"""The one test of what a name is: what it refuses with its kind, and the scientific names that it must leave alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.names import NameKind, judge_name, verdict_of_word
from bioclip_core.naming.judging import judge_alone, judge_word
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
     "Kleiner Fuchs", "Bird of prey", "mammals", "gazelleThomsons", "Zebra", "FOX",
     "bright half-collared grolbet"],
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
    started = time.thread_time()
    assert all(judge_name(name).is_name for name in names)
    assert time.thread_time() - started < 5  # 0.2 s alone on a core


@pytest.mark.parametrize(
    ("word", "verdict"),
    [
        ("ninguno", "blank"), ("aucun", "blank"), ("Nessuno", "blank"), ("negative", "blank"), ("Leeraufnahme", "blank"),
        ("Fehlbilder", "blank"), ("tyhjä", "blank"), ("TYHJA", "blank"), ("ei eläintä", "blank"),
        ("ei elainta", "blank"), ("Nichts zu sehen", "blank"), ("空", "blank"),
        ("пусто", "blank"), ("ciclista", "person"), ("promeneur", "person"), ("человек", "person"), ("Radfahrer", "person"),
        ("unsure", "unidentifiable"), ("unbestimmbar", "unidentifiable"), ("desconhecido", "unidentifiable"), ("ignoto", "unidentifiable"),
        ("unidentifiable", "unidentifiable"), ("UNIDENTIFIABLE", "unidentifiable"), ("indéterminé", "unidentifiable"),
        ("indetermine", "unidentifiable"), ("not in label set", "unidentifiable"), ("неизвестно", "unidentifiable"),
        ("okant", "unidentifiable"),
    ],
)  # fmt: skip
def test_further_words_for_verdicts_whatever_their_case_and_accents(word: str, verdict: str) -> None:
    assert verdict_of_word(word) == verdict
    for column in ("scientificname", "species", "genus"):
        judged = judge_cells({column: word})
        assert judged.fault is not None, column
        assert judged.fault.verdict == verdict


@pytest.mark.parametrize(
    "word", ["DCIM", "CAM_A", "check", "todo", "Site", "Site_3", "Forest", "Standort", "Export", "May", "März", "agosto", "Papierkorb",
             "trash", "Sonstiges", "Rest", "Varia", "Altro", "Autres", "Otros", "Sort", "100EK113", "IMG", "IMG_0001"],
)  # fmt: skip
def test_words_for_folders_are_no_genera(word: str) -> None:
    assert judge_name(word).kind in (NameKind.FOLDER, NameKind.CODE)
    assert judge_cells({"scientificname": word}).fault is not None


@pytest.mark.parametrize("word", ["Hundt", "Zwrk", "pusto", "Wildtierkameraprojekt", "promenade"])
def test_a_word_alone_that_looks_like_no_genus_is_doubtful_unless_its_column_or_a_rank_says_what_it_is(
    word: str,
) -> None:
    assert not judge_alone(word).is_name
    assert judge_cells({"scientificname": word}).fault is not None
    assert judge_cells({"scientificname": word, "taxonrank": "genus"}).fault is None
    assert judge_cells({"genus": word.capitalize(), "species": "fictus"}).fault is None


@pytest.mark.parametrize(
    "genus", ["Quercus", "Passer", "Larus", "Anas", "Bos", "Alle", "Alces", "Pica", "Rana", "Puma", "Lynx", "Bison", "Acer", "Aloe",
              "Silene", "Daphne", "Zingel", "Mugil", "Scarus", "Ginkgo", "Rhododendron", "Mustelidae", "Carnivora", "Aves", "quercus",
              "vulpes"],
)  # fmt: skip
def test_a_genus_alone_is_one(genus: str) -> None:
    assert judge_alone(genus).is_name


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Meles meIes", "Meles meles"), ("Vu1pes vulpes", "Vulpes vulpes"), ("VuIpes vulpes", "Vulpes vulpes"),
    ("Acer c0mmune", "Acer commune")],
)  # fmt: skip
def test_a_capital_or_a_digit_inside_a_word_is_a_misspelling_not_an_author(written: str, meant: str) -> None:
    assert judge_name(written).kind is NameKind.MISSPELT
    assert judge_name(written).names == (meant,)


@pytest.mark.parametrize(
    "name", ["Acer duPont", "Acer deVries, 1950", "McLeaya fictus", "xMahoberberis aquifolia", "Acer rubrum deVries"]
)
def test_authors_with_a_capital_inside_are_authors(name: str) -> None:
    assert judge_name(name).kind is not NameKind.MISSPELT


@pytest.mark.parametrize(
    "cell", ["inconnu", "desconocido", "Unbestimmt", "tyhjä", "空", "indeterminate", "not identifiable", "not in label set",
             "unclassified", "nichts zu sehen", "Unknown bird", "Quercus robur and petraea", "Felis silvestris or catus", "DCIM", "IMG",
             "fox or badger"],
)  # fmt: skip
def test_what_is_no_plain_label(cell: str) -> None:
    assert judge_word(cell).kind in (NameKind.VERDICT, NameKind.SEVERAL, NameKind.FOLDER)


@pytest.mark.parametrize("cell", ["red fox", "Fuchs", "fox01", "Bird of prey", "adult male", "Vulpes vulpes"])
def test_other_words_are_plain_labels(cell: str) -> None:
    assert judge_word(cell).kind not in (NameKind.VERDICT, NameKind.SEVERAL, NameKind.FOLDER)
