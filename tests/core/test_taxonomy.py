"""Taxon names: ranks, binomials, hybrids, lineages with holes, and cells of collections' tables."""

from __future__ import annotations

from typing import Any

import pytest

from bioclip_core.cells import plain_cells
from bioclip_core.naming.ranks import holding_rank, rank_named
from bioclip_core.taxonomy import RANKS, Rank, Taxon, read_row, taxon_from_row

MAPLE = Taxon(
    "Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "palmatum", "Japanese maple"
)


def test_a_species_is_named_by_genus_and_epithet_and_its_path_by_every_rank() -> None:
    assert MAPLE.rank is Rank.SPECIES
    assert MAPLE.scientific_name == "Acer palmatum"
    assert MAPLE.taxonomic_name == "Plantae Tracheophyta Magnoliopsida Sapindales Sapindaceae Acer palmatum"
    assert [MAPLE.name_at(rank) for rank in RANKS] == [*MAPLE.lineage[:6], "Acer palmatum"]
    assert MAPLE.as_dict() == {
        "kingdom": "Plantae", "phylum": "Tracheophyta", "class": "Magnoliopsida", "order": "Sapindales", "family": "Sapindaceae",
        "genus": "Acer", "species": "palmatum", "common_name": "Japanese maple",
    }  # fmt: skip


def test_a_label_above_species_has_its_own_rank_and_name() -> None:
    family = Taxon.of(MAPLE.lineage[:5], "maples")
    assert (family.rank, family.scientific_name) == (Rank.FAMILY, "Sapindaceae")
    assert family.name_at(Rank.SPECIES) == ""
    assert family.truncated(Rank.FAMILY) == family.truncated(Rank.SPECIES) == family
    assert family.truncated(Rank.ORDER) == Taxon.of(MAPLE.lineage[:4])


def test_a_cut_above_species_loses_the_common_name_of_the_species() -> None:
    assert MAPLE.truncated(Rank.GENUS) == Taxon.of(MAPLE.lineage[:6])
    assert MAPLE.truncated(Rank.SPECIES) == MAPLE


def test_a_hole_in_a_lineage_is_passed_over() -> None:
    taxon = Taxon("Animalia", "", "Mammalia", "", "", "Platypoda")
    assert taxon.rank is Rank.GENUS
    assert taxon.taxonomic_name == "Animalia Mammalia Platypoda"
    assert taxon.truncated(Rank.FAMILY).scientific_name == "Mammalia"
    assert taxon.truncated(Rank.FAMILY).rank is Rank.CLASS
    assert taxon.name_at(Rank.PHYLUM) == ""


def test_an_epithet_without_a_genus_is_named_alone_and_a_custom_label_has_no_rank() -> None:
    assert Taxon(kingdom="Fungi", species="muscaria").scientific_name == "muscaria"
    custom = Taxon(common_name="empty")
    assert (custom.rank, custom.scientific_name, custom.taxonomic_name) == (None, "", "")


@pytest.mark.parametrize(
    ("row", "lineage"),
    [
        ({"kingdom": "Plantae", "genus": "Acer", "specificEpithet": "palmatum"}, ("Plantae", "", "", "", "", "Acer", "palmatum")),
        ({"Kingdom": "metazoa", "Family": "scaridae"}, ("Animalia", "", "", "", "Scaridae", "", "")),
        ({"genus": "Acer", "species": "Acer palmatum"}, ("", "", "", "", "", "Acer", "palmatum")),
        ({"species": "Acer palmatum"}, ("", "", "", "", "", "Acer", "palmatum")),
        ({"scientific_name": "Acer palmatum Thunb."}, ("", "", "", "", "", "Acer", "palmatum")),
        ({"genus": "Acer", "scientificName": "Acer palmatum"}, ("", "", "", "", "", "Acer", "palmatum")),
        ({"genus": "Acer", "scientificName": "Prunus avium"}, ("", "", "", "", "", "Acer", "")),
        ({"class": "AVES", "genus": "TURDUS", "species": "merula"}, ("", "", "Aves", "", "", "Turdus", "merula")),
        ({"genus": "Acer", "species": "sp."}, ("", "", "", "", "", "Acer", "")),
        ({"order": "unknown", "genus": "nan", "species": float("nan")}, ("", "", "", "", "", "", "")),
        ({"specificEpithet": "rubrum", "scientificName": "Acer rubrum"}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"species": "rubrum", "scientificName": "Acer rubrum"}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"scientificName": "ACER RUBRUM"}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"scientificName": "Acer Rubrum", "taxonRank": "species"}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"scientificName": "BOLD:AAA0001"}, ("", "", "", "", "", "", "")),
        ({"genus": "UBA1234"}, ("", "", "", "", "", "Uba1234", "")),
    ],
)  # fmt: skip
def test_a_row_of_a_table_is_a_taxon(row: dict[str, Any], lineage: tuple[str, ...]) -> None:
    assert taxon_from_row(row).lineage == lineage


@pytest.mark.parametrize(
    ("row", "lineage"),
    [
        ({"scientificName": "Acer L.", "taxonRank": "genus"}, ("", "", "", "", "", "Acer", "")),
        ({"scientificName": "Acer L.", "taxonRank": "Gattung", "kingdom": "Plantae"}, ("Plantae", "", "", "", "", "Acer", "")),
        ({"scientificName": "Acer rubrum", "taxonRank": "GENUS"}, ("", "", "", "", "", "Acer", "")),
        ({"genus": "Acer", "species": "rubrum", "taxonRank": "genus"}, ("", "", "", "", "", "Acer", "")),
        ({"genus": "Acer", "species": "rubrum", "verbatimTaxonRank": "género"}, ("", "", "", "", "", "Acer", "")),
        ({"genus": "Acer", "species": "rubrum", "taxonRank": "sp."}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"scientificName": "Acer rubrum subsp. rubrum", "taxonRank": "ssp."}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"family": "Sapindaceae", "genus": "Acer", "taxonRank": "Familie"}, ("", "", "", "", "Sapindaceae", "", "")),
        ({"family": "Sapindaceae", "scientificName": "Acereae", "taxonRank": "tribe"}, ("", "", "", "", "Sapindaceae", "", "")),
        ({"scientificName": "Carabus (Megodontus)", "taxonRank": "subgenus"}, ("", "", "", "", "", "Carabus", "")),
        ({"scientificName": "Megodontus", "taxonRank": "subgenus"}, ("", "", "", "", "", "", "")),
        ({"scientificName": "Sapindaceae"}, ("", "", "", "", "Sapindaceae", "", "")),
        ({"scientificName": "Insecta", "kingdom": "Animalia"}, ("Animalia", "", "Insecta", "", "", "", "")),
        ({"scientificName": "Cyperaceae indet.", "kingdom": "Plantae"}, ("Plantae", "", "", "", "Cyperaceae", "", "")),
        ({"scientificName": "Carex flava?", "kingdom": "Plantae"}, ("Plantae", "", "", "", "", "Carex", "")),
        ({"scientificName": "Acer rubrum x A. negundo", "kingdom": "Plantae"}, ("Plantae", "", "", "", "", "Acer", "")),
        ({"genus": "Acer", "scientificName": "A. rubrum"}, ("", "", "", "", "", "Acer", "rubrum")),
        ({"genus": "Carex", "species": "flava", "scientificName": "Carex cf. flava"}, ("", "", "", "", "", "Carex", "")),
        ({"scientificName": "Carex flava", "identificationQualifier": "cf. flava"}, ("", "", "", "", "", "Carex", "")),
        ({"scientificName": "Carex flava", "identificationQualifier": "aff."}, ("", "", "", "", "", "Carex", "")),
        ({"scientificName": "Carex flava", "identificationQualifier": "?"}, ("", "", "", "", "", "Carex", "")),
        ({"scientificName": "Carex flava", "identificationQualifier": "s. str."}, ("", "", "", "", "", "Carex", "flava")),
        ({"scientificName": "Carex flava", "identificationQualifier": "cf. var. alpina"}, ("", "", "", "", "", "Carex", "flava")),
        ({"order": "Incertae sedis", "family": "Unidentified", "genus": "Gen. indet."}, ("", "", "", "", "", "", "")),
        ({"family": "Sapindaceae Juss.", "genus": "Acer L."}, ("", "", "", "", "Sapindaceae", "Acer", "")),
        ({"scientificName": "Unidentified beetle", "kingdom": "Animalia"}, ("Animalia", "", "", "", "", "", "")),
        ({"genus": "Isoëtes", "species": "lacustris"}, ("", "", "", "", "", "Isoetes", "lacustris")),
    ],
)  # fmt: skip
def test_a_row_is_read_to_the_rank_that_is_stated_and_certain(row: dict[str, Any], lineage: tuple[str, ...]) -> None:
    assert taxon_from_row(row).lineage == lineage


@pytest.mark.parametrize(
    ("row", "doubt", "doubted", "unread"),
    [
        ({"scientificName": "Carex flava?"}, "?", "flava", ""),
        ({"scientificName": "Carex flava", "identificationQualifier": "cf."}, "cf.", "flava", ""),
        ({"genus": "Carex", "species": "aff. flava"}, "aff.", "flava", ""),
        ({"scientificName": "Carex flava L."}, "", "", ""),
        ({"scientificName": "Unidentified leaf", "kingdom": "Plantae"}, "", "", "a placeholder, not a name"),
        ({"scientificName": "unknown", "kingdom": "Plantae"}, "", "", ""),
        ({"kingdom": "Plantae"}, "", "", ""),
        ({"scientificName": "Q. robur", "family": "Fagaceae"}, "", "", "its genus is abbreviated"),
        ({"scientificName": "Agrostis stolonifera × Polypogon viridis"}, "hybrid formula", "", "its genera differ"),
    ],
)  # fmt: skip
def test_the_doubt_about_a_name_and_the_reason_why_it_is_not_read_are_kept(
    row: dict[str, Any], doubt: str, doubted: str, unread: str
) -> None:
    found = read_row(plain_cells(row))
    assert (found.doubt, found.doubted, found.unread) == (doubt, doubted, unread)


@pytest.mark.parametrize(
    ("written", "rank", "holder"),
    [
        ("genus", "genus", "genus"), ("Gattung", "genus", "genus"), ("SP.", "species", "species"), ("subsp.", "subspecies", "species"),
        ("Espèce", "species", "species"), ("Familie", "family", "family"), ("subfamily", "subfamily", "family"),
        ("species group", "aggregate", "species"), ("unranked", "unranked", ""), ("", "", ""),
    ],
)  # fmt: skip
def test_a_rank_is_known_by_its_words_in_several_languages(written: str, rank: str, holder: str) -> None:
    assert (rank_named(written), holding_rank(written)) == (rank, holder)


def test_a_row_brings_its_common_name_and_its_identifier() -> None:
    taxon = taxon_from_row(
        {"genus": "Acer", "vernacularName": " red  maple ", "common_name": "other", "taxonID": "gbif:1"}
    )
    assert (taxon.common_name, taxon.source_id) == ("red maple", "gbif:1")
    assert taxon_from_row({"genus": "Acer", "vernacularName": "", "common_name": "maple"}).common_name == "maple"


@pytest.mark.parametrize(
    "row",
    [
        {"genus": "Fictosciuridae gen.", "species": "Fictosciuridae gen. sp."},
        {"family": "Fictosciuridae", "genus": "Fictosciuridae", "species": "sp."},
        {"scientificName": "Fictosciuridae", "genus": "Fictosciuridae"},
    ],
)
def test_a_family_in_the_column_of_the_genus_is_a_family(row: dict[str, Any]) -> None:
    assert taxon_from_row(row) == Taxon(family="Fictosciuridae")
