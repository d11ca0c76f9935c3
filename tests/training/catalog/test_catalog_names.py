"""Names in a catalog: unchanged names, and a sentence for every change."""

from __future__ import annotations

from typing import Any

import pytest

from bioclip_core.cells import plain_cells
from bioclip_core.taxonomy import Rank
from bioclip_training.catalog.naming.names import cleaned


def said(**cells: Any) -> tuple[str, tuple[str, ...]]:
    named = cleaned(plain_cells(cells))
    return named.taxon.scientific_name, named.changes


@pytest.mark.parametrize(
    ("written", "stands", "changes"),
    [
        ("Lynx fictus", "Lynx fictus", ()),
        ("Lynx fictus Rehder", "Lynx fictus", ("authority 'Rehder' removed",)),
        ("Lynx fictus (L., 1758) van der Berg", "Lynx fictus", ("authority '(L., 1758) van der Berg' removed",)),
        ("Lynx fictus Hook. f.", "Lynx fictus", ("authority 'Hook. f.' removed",)),
        (
            "Lynx fictus L. subsp. minor Hara",
            "Lynx fictus",
            ("authority 'L.' removed", "cut at subsp.: 'subsp. minor Hara' removed"),
        ),
        ("Lynx fictus minor", "Lynx fictus", ("cut below the species: 'minor' removed",)),
        ("Lynx x fictus", "Lynx × fictus", ("hybrid mark 'x' written ×",)),
        ("Lynx (Falsia) fictus", "Lynx fictus", ("subgenus (Falsia) removed",)),
        ("<i>Lynx fictus</i>", "Lynx fictus", ("markup removed",)),
        ("LYNX FICTUS", "Lynx fictus", ("'LYNX' written Lynx", "'FICTUS' written fictus")),
        (
            "Lynx cf. fictus",
            "Lynx",
            ("scientificName 'Lynx' taken as a genus", "'Lynx cf. fictus' names no species for certain (cf.)"),
        ),
        ("Fictidae", "Fictidae", ("scientificName 'Fictidae' taken as a family by its ending",)),
    ],
)
def test_a_scientific_name_is_cleaned_and_every_change_is_recorded(
    written: str, stands: str, changes: tuple[str, ...]
) -> None:
    assert said(scientificName=written) == (stands, changes)


def test_kingdoms_of_other_taxonomies_become_ours_and_the_trace_says_so() -> None:
    named = cleaned(plain_cells({"kingdom": "Metazoa", "family": "FICTIDAE", "order": "unknown", "genus": "Lynx"}))
    assert named.taxon.lineage == ("Animalia", "", "", "", "Fictidae", "Lynx", "")
    assert named.changes == (
        "kingdom Metazoa became Animalia",
        "order 'unknown' left empty: it is not a name",
        "family FICTIDAE became Fictidae",
    )


def test_the_genus_and_the_author_leave_the_species_column() -> None:
    assert said(genus="Lynx", species="L. fictus Rehder 1901") == (
        "Lynx fictus",
        ("'L.' written Lynx", "authority 'Rehder 1901' removed"),
    )


def test_repairs_by_the_source_are_distinguished_from_ours() -> None:
    repaired = said(verbatimScientificName="Lynks fictus", genus="Lynx", specificEpithet="fictus")
    assert repaired == ("Lynx fictus", ("'Lynks fictus' is 'Lynx fictus' in the source's other columns",))
    capital = said(verbatimScientificName="Lynx Fictus", genus="Lynx", specificEpithet="fictus")
    assert capital == ("Lynx fictus", ("'Fictus' written fictus",))
    marked = said(verbatimScientificName="Lynx Fictus", scientificName="Lynx × fictus")
    assert marked[1] == ("hybrid mark × added by the source's other columns", "'Fictus' written fictus")


def test_a_capitalised_epithet_is_one_at_species_rank_and_an_author_elsewhere() -> None:
    assert said(scientificName="Lynx Fictus", taxonRank="species") == ("Lynx fictus", ("'Fictus' written fictus",))
    assert said(scientificName="Lynx Linnaeus")[0] == "Lynx"


def test_a_hybrid_formula_is_certain_of_its_genus_only() -> None:
    assert said(scientificName="Lynx fictus × Lynx falsus")[0] == "Lynx"
    assert said(genus="Lynx", species="fictus × falsus")[0] == "Lynx"


def test_an_epithet_without_its_genus_names_nothing() -> None:
    named = cleaned(plain_cells({"family": "Fictidae", "species": "rufipes"}))
    assert named.taxon.rank is Rank.FAMILY
    assert named.changes[0] == "epithet 'rufipes' removed: without its genus it names nothing"
    assert cleaned(plain_cells({"species": "rufipes"})).taxon.rank is None


def test_a_name_of_one_word_goes_to_the_rank_that_the_row_states() -> None:
    named = cleaned(plain_cells({"kingdom": "Animalia", "scientificName": "Fictiformia", "taxonRank": "class"}))
    assert named.taxon.lineage == ("Animalia", "", "Fictiformia", "", "", "", "")
    assert named.changes == ("scientificName 'Fictiformia' taken as a class, as taxonRank says",)


@pytest.mark.parametrize(
    "cells",
    [
        {}, {"scientificName": "unknown"}, {"scientificName": "BOLD:AAA0001"}, {"scientificName": "SH1572816.08FU"},
        {"genus": "", "species": "sp."}, {"label": "cat"},
    ],
)  # fmt: skip
def test_a_row_without_a_name_has_an_empty_taxon(cells: dict[str, str]) -> None:
    assert cleaned(plain_cells(cells)).taxon.rank is None


def test_columns_are_found_without_case_underscores_and_prefixes() -> None:
    named = cleaned(plain_cells({"dwc:Genus": "Lynx", "specific_epithet": "fictus", "Common_Name": "invented lynx"}))
    assert (named.taxon.scientific_name, named.taxon.common_name) == ("Lynx fictus", "invented lynx")


@pytest.mark.parametrize(
    ("cells", "changes"),
    [
        ({"species": "Lynx lynx"}, ()),
        ({"scientificName": "LYNX LYNX"}, ("'LYNX' written Lynx", "'LYNX' written lynx")),
        ({"species": "Lynx lynx (L., 1758)"}, ("authority '(L., 1758)' removed",)),
        ({"scientificName": "Lynx lynx lynx"}, ("cut below the species: 'lynx' removed",)),
    ],
)
def test_a_tautonym_is_not_cut_below_the_species(cells: dict[str, str], changes: tuple[str, ...]) -> None:
    assert said(**cells) == ("Lynx lynx", changes)


def test_a_genus_alone_in_the_species_column_is_a_genus() -> None:
    assert said(species="Passer") == ("Passer", ("scientificName 'Passer' taken as a genus",))
    assert said(species="Rest")[0] == ""
