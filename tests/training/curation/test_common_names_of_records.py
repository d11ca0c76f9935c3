"""Common names of curated records: one per taxon, from tables, the taxonomy and the records, and none of another rank."""

from __future__ import annotations

from pathlib import Path

import pytest
from naming_samples import BIRD, PLANT, make_taxonomy, name_records, ranks

from bioclip_core.errors import DataError, UsageError
from bioclip_training.curation.configuration import NamesConfig


@pytest.fixture(scope="module")
def taxonomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_taxonomy(tmp_path_factory.mktemp("taxonomy"))


def test_a_taxon_has_one_common_name_whatever_its_records_say(tmp_path: Path, taxonomy: Path) -> None:
    common = ["Dunkelkopfgrolbet", "Weiße Mala", "", "Fictavis volans", "white mala; pale mala", "MALA", "beetles"]
    species = ["grondensis", "alba", "alba", "volans", "alba", "alba", "grondensis"]
    genera = {"alba": f"{PLANT} Fictomala"}
    rows = [
        {**ranks(f"{genera.get(epithet, f'{BIRD} Fictavis')} {epithet}"), "common_name": name}
        for name, epithet in zip(common, species, strict=True)
    ]
    named = name_records(tmp_path / "run", rows, taxonomy=taxonomy)
    assert [named[f"{n:04d}"]["common_name"] for n in range(7)] == [
        "dark-headed grolbet", "white mala", "white mala", "tundra grolbet", "white mala", "white mala", "dark-headed grolbet"
    ]  # fmt: skip
    assert named.tallied.counts["common names that are scientific names"] == 1


def test_common_names_of_groups_and_of_higher_taxa_are_not_those_of_species(tmp_path: Path, taxonomy: Path) -> None:
    plants = [
        ("Fictrosa alba", "rose"),
        ("Fictlilia alba", "rose"),
        ("Fictlilia minor", "rose"),
        ("Fictlilia minor", "small lily"),
    ]
    rows = [{**ranks(f"{PLANT} {name}"), "common_name": common} for name, common in plants]
    rows.append({**ranks(f"{BIRD} Fictolaeliara brevis"), "common_name": "Birds"})
    named = name_records(tmp_path / "run", rows, names=NamesConfig(), taxonomy=taxonomy)
    assert [named[f"{n:04d}"]["common_name"] for n in range(5)] == [
        "",
        "",
        "",
        "",
        "",
    ]  # unlisted plants are labelled by their family
    kept = name_records(tmp_path / "kept", rows, names=NamesConfig(unlisted="keep"), taxonomy=taxonomy)
    assert [kept[f"{n:04d}"]["common_name"] for n in range(5)] == ["", "", "small lily", "small lily", ""]
    assert kept.tallied.counts["common names of a group, since species of several genera have them"] == 3
    assert kept.tallied.counts["common names of a higher taxon"] == 1


def test_tables_come_first_in_their_order_and_languages_before_them(tmp_path: Path, taxonomy: Path) -> None:
    eol = tmp_path / "vernaculars.csv"
    eol.write_text(
        "page_id,canonical_form,vernacular_string,language_code,is_preferred_by_eol\n"
        "9,Fictavis volans,arctic grolbet,eng,\n9,Fictavis volans,polar grolbet,eng,preferred\n9,Fictavis volans,Polargrolbet,deu,\n"
        "10,Fictolaeliara tormalis,catstail,eng,\n"  # of which kingdom? gbif/portal-feedback#6754
        "57,Fictomala alba,Weiße Mala,deu,\n",
        "utf-8",
    )
    rows = [
        {**ranks(f"{BIRD} Fictavis volans"), "common_name": "the grolbet"}, ranks(f"{BIRD} Fictolaeliara tormalis"),
        ranks(f"{PLANT} Fictolaeliara tormalis"), ranks(f"{PLANT} Fictomala alba"),
    ]  # fmt: skip
    named = name_records(tmp_path / "a", rows, taxonomy=taxonomy, names=NamesConfig(common_names=(eol,)))
    assert [named[f"{n:04d}"]["common_name"] for n in range(4)] == ["polar grolbet", "", "", "white mala"]
    german = NamesConfig(common_names=(eol,), languages=("deu", "en-GB"))
    named = name_records(tmp_path / "b", rows, taxonomy=taxonomy, names=german)
    assert [named[f"{n:04d}"]["common_name"] for n in range(4)] == ["Polargrolbet", "", "", "Weiße Mala"]
    assert named["0003"]["common_name_language"] == "de"
    first = NamesConfig(common_names=(eol,), precedence=("one", "taxonomy", "vernaculars.csv"))
    assert name_records(tmp_path / "c", rows, taxonomy=taxonomy, names=first)["0000"]["common_name"] == "tundra grolbet"


def test_a_precedence_of_common_names_with_an_unknown_name_and_an_unknown_language_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"names\.precedence has 'eol'"):
        name_records(tmp_path / "a", [ranks(f"{BIRD} Fictavis volans")], names=NamesConfig(precedence=("eol",)))
    with pytest.raises(UsageError, match=r"names\.languages 'englisch' is not a language that is known"):
        name_records(tmp_path / "b", [ranks(f"{BIRD} Fictavis volans")], names=NamesConfig(languages=("englisch",)))


def test_a_table_without_a_column_of_common_names_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("scientificName,word\nFictavis volans,grolbet\n", "utf-8")
    with pytest.raises(DataError, match="has no column of a common name"):
        name_records(tmp_path / "a", [ranks(f"{BIRD} Fictavis volans")], names=NamesConfig(common_names=(table,)))
