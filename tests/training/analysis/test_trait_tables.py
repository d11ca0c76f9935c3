"""Tables of traits and of image properties: how their rows are matched, and what is counted or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from analysis_samples import TAXA, analysed_catalog
from pyarrow import parquet

from bioclip_core.errors import DataError
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Taxon
from bioclip_training.analysis.trait_tables import read_image_properties, read_species_traits
from bioclip_training.catalog.rows import Catalog

SCARUS = Taxon(
    "Animalia", "Chordata", "Teleostei", "Perciformes", "Scaridae", "Scarus", "ghobban", "blue-barred parrotfish"
)
MAPLE = Taxon("Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "palmatum")
ANIMAL, PLANT = (
    Taxon("Animalia", genus="Oenanthe", species="crocata"),
    Taxon("Plantae", genus="Oenanthe", species="crocata"),
)


def table(folder: Path, text: str) -> str:
    (folder / "traits.csv").write_text(text, "utf-8")
    return str(folder / "traits.csv")


def test_names_are_matched_without_authors_and_case_and_columns_of_names_are_no_traits(tmp_path: Path) -> None:
    findings = Findings()
    rows = ['Scarus ghobban Forsskål 1775,Scaridae,"12,5",Reef', "ACER PALMATUM,,,Forest", "Acer rubrum,,3,Forest"]
    file = table(tmp_path, "\n".join(["scientificName,family,beak mm,Habitat", *rows]))
    found = read_species_traits(file, (), [MAPLE, SCARUS], findings)
    beak, habitat = found.traits
    assert (found.rows, found.matched, found.has_row_T.tolist(), found.unmatched) == (
        3,
        2,
        [True, True],
        ("Acer rubrum",),
    )
    assert beak.name == "beak mm"
    assert np.isnan(beak.values[0])
    assert beak.values[1] == 12.5
    assert habitat.words == ("forest", "reef")
    assert habitat.values.tolist() == [0, 1]
    assert list(findings.lines()) == [
        "names of the trait table are not in the analysed part of the catalog: 1 (the first: row 3: Acer rubrum)"
    ]


def test_genus_and_epithet_may_be_two_columns_and_a_near_miss_is_named(tmp_path: Path) -> None:
    findings = Findings()
    file = table(tmp_path, "genus,specificEpithet,mass\nScarus,ghobban,4\nAcer,palmatium,5\n")
    assert read_species_traits(file, ("mass",), [MAPLE, SCARUS], findings).traits[0].values[1] == 4
    assert "row 2: Acer palmatium; the nearest is 'acer palmatum'" in "".join(findings.lines())


def test_a_table_without_a_column_of_names_is_refused_with_its_columns(tmp_path: Path) -> None:
    file = table(tmp_path, "Species1,Family1,mass\nScarus ghobban,Scaridae,4\n")
    with pytest.raises(
        DataError, match="no column of names, only Species1, Family1, mass; rename the column of the species"
    ):
        read_species_traits(file, ("mass",), [MAPLE, SCARUS], Findings())


def test_a_number_that_becomes_a_word_because_of_another_cell_is_reported(tmp_path: Path) -> None:
    findings = Findings()
    file = table(tmp_path, 'species,mass,place\nScarus ghobban,"4,5",reef\nAcer palmatum,about 3,NA\n')
    mass, place = read_species_traits(file, (), [MAPLE, SCARUS], findings).traits
    assert (mass.words, place.words) == (("4,5", "about 3"), ("reef",))
    assert list(findings.lines()) == [
        "columns of traits hold numbers and words, and all are taken for words: 1 (the first: mass: 'about 3' beside '4,5'; empty such "
        "cells if the trait is a number)"
    ]


def test_numbers_with_units_are_reported_and_marks_of_unknown_values_are_no_numbers(tmp_path: Path) -> None:
    findings = Findings()
    file = table(
        tmp_path,
        "species,height,size,range,legs\nScarus ghobban,13.5 m,-999,2-3,two\nAcer palmatum,9 m,4,-9999.0,4th pair\n",
    )
    height, size, extent, _ = read_species_traits(file, (), [MAPLE, SCARUS], findings).traits
    assert height.words == ("13.5 m", "9 m")
    assert size.values.tolist()[0] == 4
    assert np.isnan(size.values[1])
    assert extent.words == ("2-3",)
    assert list(findings.lines()) == [
        "cells are -999 or -9999, as tables mark unknown values, and are read as unknown: 2 (the first: row 1, size)",
        "columns of traits hold numbers with a unit or a range, and are taken for words: 2 (the first: height: '13.5 m'; write numbers "
        "alone if the trait is a number)",
    ]


def test_a_table_of_other_species_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    file = table(tmp_path, "species,mass\nScarus gobban,4\nHomo sapiens,70\n")
    with pytest.raises(DataError) as error:
        read_species_traits(file, (), [MAPLE, SCARUS], Findings())
    assert (
        "none of its 2 rows has the name of a species of the catalog; 'Scarus gobban' is nearly 'Scarus ghobban'"
        in str(error.value)
    )
    assert "Names are read from scientificName, species, or genus and specificEpithet" in str(error.value)
    with pytest.raises(DataError, match="It has no names"):
        read_species_traits(table(tmp_path, "species,mass\n"), (), [MAPLE], Findings())


def test_columns_that_are_missing_and_tables_without_traits_are_refused(tmp_path: Path) -> None:
    file = table(tmp_path, "species,mass\nScarus ghobban,4\n")
    with pytest.raises(DataError, match="it has no column 'beak'; it has species, mass"):
        read_species_traits(file, ("beak",), [SCARUS], Findings())
    with pytest.raises(DataError, match="all of its columns are names"):
        read_species_traits(table(tmp_path, "species,family\nScarus ghobban,Scaridae\n"), (), [SCARUS], Findings())


def test_homonyms_are_told_apart_by_the_ranks_of_the_row_or_skipped(tmp_path: Path) -> None:
    findings = Findings()
    file = table(tmp_path, "kingdom,scientificName,height\nPlantae,Oenanthe crocata,90\n,Oenanthe crocata,1\n")
    found = read_species_traits(file, (), [ANIMAL, PLANT], findings)
    assert found.traits[0].values[1] == 90
    assert np.isnan(found.traits[0].values[0])
    assert "rows of the trait table fit several taxa of the catalog and are skipped: 1" in "".join(findings.lines())


def test_several_rows_of_a_species_are_averaged_or_unknown_and_said(tmp_path: Path) -> None:
    findings = Findings()
    file = table(
        tmp_path,
        "species,mass,habitat\nScarus ghobban,4,reef\nScarus ghobban,6,sand\nAcer palmatum,9,Wood\nAcer palmatum,9,wood\n",
    )
    mass, habitat = read_species_traits(file, (), [MAPLE, SCARUS], findings).traits
    assert mass.values.tolist() == [9, 5]
    assert habitat.words == ("wood",)
    assert np.isnan(habitat.values[1])
    assert list(findings.lines()) == [
        "traits of species have several values, in several rows; numbers are averaged, and words that differ count as unknown: 4 (the "
        "first: Acer palmatum, mass: 9, 9)"
    ]


def test_image_properties_are_matched_by_file_and_usual_columns_are_found(tmp_path: Path) -> None:
    catalog = Catalog.open(analysed_catalog(tmp_path))
    findings = Findings()
    found = read_image_properties(str(tmp_path / "images.csv"), (), (), catalog, np.arange(10), findings)
    assert [trait.name for trait in found.classes] == ["lifeStage"]
    assert [trait.name for trait in found.traits] == ["habitat"]
    assert found.classes[0].values[:4].tolist() == [0, 1, 0, 1]
    assert (found.rows, found.matched) == (64, 10)
    assert not findings


def test_the_catalog_of_a_curation_is_matched_by_key_in_all_of_its_parts(tmp_path: Path) -> None:
    file = analysed_catalog(tmp_path, images=2)
    rows = parquet.read_table(file)
    keys = pa.array([f"{number:032x}" for number in range(len(rows))])
    parquet.write_table(rows.append_column("key", keys), file)
    curated = tmp_path / "curated"
    curated.mkdir()
    for part, places in enumerate((range(15, 7, -1), range(8))):
        sexes = [f"sex {place % 2}" for place in places]
        named = {"key": [keys[place].as_py() for place in places], "uri": ["elsewhere.jpg"] * 8, "sex": sexes}
        parquet.write_table(pa.table(named), curated / f"part-{part}.parquet")
    found = read_image_properties(str(curated), (), (), Catalog.open(file), np.arange(3, 16), Findings())
    assert (found.rows, found.matched) == (16, 13)
    assert found.classes[0].values.tolist() == [place % 2 for place in range(3, 16)]
    with pytest.raises(DataError, match="the folder has no Parquet parts"):
        read_image_properties(str(tmp_path.parent), (), (), Catalog.open(file), np.arange(3), Findings())


def test_an_image_table_of_other_files_or_without_a_file_column_is_refused(tmp_path: Path) -> None:
    catalog = Catalog.open(analysed_catalog(tmp_path))
    file = tmp_path / "other.csv"
    file.write_text("file,sex\nnowhere.png,female\n", "utf-8")
    with pytest.raises(DataError, match="none of its 1 row is an analysed image"):
        read_image_properties(str(file), (), (), catalog, np.arange(4), Findings())
    file.write_text("picture,sex\ns0-0.png,female\n", "utf-8")
    with pytest.raises(DataError, match="one of the columns image, path, file"):
        read_image_properties(str(file), (), (), catalog, np.arange(4), Findings())
    file.write_text("file,colour\ns0-0.png,red\n", "utf-8")
    with pytest.raises(DataError, match="no column of life stage, sex or habitat; name columns with --class"):
        read_image_properties(str(file), (), (), catalog, np.arange(4), Findings())
    assert TAXA[0].family == "Family00"
