"""Indexes made of checklists in each of the formats, with what goes wrong in each."""

from __future__ import annotations

import sqlite3
import threading
import zipfile
from pathlib import Path

import pytest
from taxonomy_samples import FAUNA, FLORA, gbif_text, opened, plant

from bioclip_core.errors import SourceError
from bioclip_core.taxonomy import Taxon
from bioclip_training.taxonomy import Outcome, TaxonomyIndex, build_taxonomy

LINEAGE = "Fictoplantae Fictophyta Fictopsida Fictales Fictaceae Fictomala alba"

COLDP = """\
{p}ID\t{p}parentID\t{p}status\t{p}scientificName\t{p}authorship\t{p}rank
a\t\taccepted\tFictoplantae\t\tkingdom
b\ta\taccepted\tFictaceae\t\tfamily
c\tb\taccepted\tFictomala\tInv.\tgenus
d\tc\taccepted\tFictomala alba\tInv.\tspecies
e\tc\tprovisionally accepted\tFictomala rubra\tMak.\tspecies
f\td\tsynonym\tFictomala candida\tMak.\tspecies
g\td\tambiguous synonym\tFictomala bicolor\tMak.\tspecies
h\te\tambiguous synonym\tFictomala bicolor\tMak.\tspecies
"""

DARWIN_CORE = """\
taxonID,acceptedNameUsageID,parentNameUsageID,scientificName,scientificNameAuthorship,taxonRank,taxonomicStatus,kingdom,family
x1,x1,,"Fictomala alba (Inv., 1758)","(Inv., 1758)",species,valid,Fictoplantae,Fictaceae
x2,x1,,"Fictomala candida Mak.",Mak.,species,invalid,Fictoplantae,Fictaceae
"""


def test_gbifs_file_is_known_by_its_columns_and_gives_lineages(tmp_path: Path) -> None:
    source = tmp_path / "whatever.dat"
    source.write_text(gbif_text(FLORA), "utf-8")
    built = build_taxonomy(source, tmp_path / "made.taxonomy")
    assert (built.kind, built.names, built.odd) == ("gbif", 12, {})
    assert built.by_status == {"accepted": 9, "synonym": 1, "misapplied": 1, "doubtful": 1}
    assert built.by_rank["species"] == 5
    found = TaxonomyIndex.open(built.path).resolve(plant("Fictomala", "alba")).taxon
    assert found is not None
    assert found.taxonomic_name == LINEAGE


def test_a_quotation_mark_in_gbifs_file_is_a_letter(tmp_path: Path) -> None:
    names = [*FLORA, ("20", "6", "", "Fictomala citata", "Inv.", "species", "accepted")]
    text = gbif_text(names, id_8={"taxonRemarks": 'a "remark'}, id_20={"namePublishedIn": '"Names'})
    index = opened(tmp_path, text)
    assert [index.candidates(name)[0].taxon_id for name in ("Fictomala rubescens", "Fictomala citata")] == ["Inventa:8", "Inventa:20"]


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_names(tmp_path: Path) -> None:
    text = "\ufeff" + gbif_text(FLORA, id_7={"genus": "Fictomala"}).replace("\n", "\r\n")
    found = opened(tmp_path, text).resolve(plant("Fictomala", "alba")).taxon
    assert found is not None
    assert found.taxonomic_name == LINEAGE


def test_bytes_that_are_not_utf_8_are_read_as_latin_1_and_counted(tmp_path: Path) -> None:
    names = [*FLORA, ("20", "6", "", "Fictomala nova", "Müller", "species", "accepted")]
    (tmp_path / "Taxon.tsv").write_bytes(gbif_text(names).encode("latin-1"))
    built = build_taxonomy(tmp_path / "Taxon.tsv", tmp_path / "made.taxonomy")
    assert built.odd == {"lines that are not UTF-8, read as Latin-1": 1}
    assert TaxonomyIndex.open(built.path).candidates("Fictomala nova")[0].authorship == "Müller"


def test_a_hybrid_and_a_barcode_without_canonical_names_are_found(tmp_path: Path) -> None:
    names = [*FLORA, ("20", "6", "", "", "Mak.", "species", "accepted"), ("21", "6", "", "", "", "unranked", "accepted")]
    text = gbif_text(names, id_20={"scientificName": "Fictomala × mixta Mak."}, id_21={"scientificName": "BOLD:FIC0001"})
    index = opened(tmp_path, text)
    assert index.candidates("Fictomala x mixta")[0].name == "Fictomala × mixta"
    barcode = index.candidates("BOLD:FIC0001")[0]
    assert (barcode.taxon_id, barcode.accepted and barcode.accepted.genus) == ("Inventa:6", "Fictomala")


def test_synonyms_of_synonyms_lead_to_the_accepted_name(tmp_path: Path) -> None:
    names = [*FLORA, ("20", "6", "9", "Fictomala nivea", "Mak.", "species", "synonym")]
    source = tmp_path / "Taxon.tsv"
    source.write_text(gbif_text(names), "utf-8")
    built = build_taxonomy(source, tmp_path / "made.taxonomy", checklist="Inventa")
    assert built.odd == {"synonyms of synonyms": 1}
    assert TaxonomyIndex.open(built.path).resolve(Taxon(), "Fictomala nivea").taxon_id == "Inventa:7"


def test_circles_missing_parents_and_dangling_ids_are_counted_and_never_fatal(tmp_path: Path) -> None:
    names = [
        *FLORA,
        ("20", "21", "", "Fictorota", "", "genus", "accepted"), ("21", "20", "", "Fictorotula", "", "family", "accepted"),
        ("22", "20", "", "Fictorota prima", "", "species", "accepted"),
        ("23", "999", "", "Fictorba sola", "", "species", "accepted"),
        ("24", "6", "998", "Fictomala vana", "", "species", "synonym"),
        ("25", "6", "26", "Fictomala una", "", "species", "synonym"), ("26", "6", "25", "Fictomala altera", "", "species", "synonym"),
        ("27", "6", "", "Fictomala libera", "", "species", "synonym"),
    ]  # fmt: skip
    source = tmp_path / "Taxon.tsv"
    source.write_text(gbif_text(names, id_23={"kingdom": "Fictoplantae", "family": "Fictaceae"}), "utf-8")
    built = build_taxonomy(source, tmp_path / "made.taxonomy", checklist="Inventa")
    assert built.odd == {
        "parents that are missing": 1, "accepted ids that point nowhere": 1, "synonyms without an accepted name": 1,
        "names in a circle of parents": 2, "synonyms of synonyms": 2, "synonyms in a circle": 2,
    }  # fmt: skip
    index = TaxonomyIndex.open(built.path)
    circled = index.resolve(Taxon(), "Fictorota prima").taxon
    assert circled is not None
    assert circled.scientific_name == "Fictorota prima"
    orphan = index.resolve(Taxon(), "Fictorba sola").taxon
    assert orphan is not None
    assert orphan.taxonomic_name == "Fictoplantae Fictaceae Fictorba sola"  # from its own columns
    for name in ("Fictomala vana", "Fictomala una", "Fictomala libera"):
        found = index.resolve(Taxon(), name)
        assert (found.taxon, found.outcome) == (None, Outcome.SYNONYM)


@pytest.mark.parametrize("prefix", ["", "col:"])
def test_coldps_synonyms_have_their_accepted_name_as_parent(tmp_path: Path, prefix: str) -> None:
    index = opened(tmp_path, COLDP.format(p=prefix), "NameUsage.tsv")
    found = index.resolve(Taxon(), "Fictomala candida")
    assert found.taxon is not None
    assert (found.outcome, found.taxon.taxonomic_name, found.taxon_id) == (
        Outcome.SYNONYM, "Fictoplantae Fictaceae Fictomala alba", "Inventa:d",
    )  # fmt: skip
    assert index.candidates("Fictomala rubra")[0].outcome == Outcome.DOUBTFUL


def test_a_name_that_is_in_part_a_synonym_of_two_is_not_resolved(tmp_path: Path) -> None:
    index = opened(tmp_path, COLDP.format(p=""), "NameUsage.tsv")
    assert [c.outcome for c in index.candidates("Fictomala bicolor")] == [Outcome.PRO_PARTE, Outcome.PRO_PARTE]
    found = index.resolve(Taxon(), "Fictomala bicolor")
    assert (found.taxon, found.outcome) == (None, Outcome.PRO_PARTE)
    assert "Fictomala alba" in found.reason
    assert "Fictomala rubra" in found.reason


def test_a_coldp_zip_says_its_own_name_version_and_english_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "col.zip", "w") as archive:
        archive.writestr("NameUsage.tsv", COLDP.format(p="col:"))
        archive.writestr("metadata.yaml", "title: Catalogue of Invention\nalias: CoI\nversion: '2024.1'\nsource:\n  - title: other\n")
        archive.writestr("VernacularName.tsv", "col:taxonID\tcol:name\tcol:language\nd\tFikt\tdeu\nd\twhite invention\teng\n")
    built = build_taxonomy(tmp_path / "col.zip", tmp_path / "made.taxonomy")
    assert (built.checklist, built.version) == ("CoI", "2024.1")
    index = TaxonomyIndex.open(built.path)
    assert index.label == "CoI 2024.1"
    found = index.resolve(Taxon(genus="Fictomala", species="alba")).taxon
    assert found is not None
    assert found.common_name == "white invention"


def test_a_darwin_core_table_without_parents_gets_its_lineage_from_its_columns(tmp_path: Path) -> None:
    index = opened(tmp_path, DARWIN_CORE, "list.csv")
    found = index.resolve(Taxon(), "Fictomala candida")
    assert found.taxon is not None
    assert (found.taxon.taxonomic_name, found.taxon_id) == ("Fictoplantae Fictaceae Fictomala alba", "Inventa:x1")
    family = index.resolve(Taxon(family="Fictaceae")).taxon  # listed in a column only
    assert family is not None
    assert family.taxonomic_name == "Fictoplantae Fictaceae"


def archive_with(meta: str, text: str, folder: Path) -> Path:
    (folder / "dwca").mkdir()
    (folder / "dwca" / "meta.xml").write_text(meta)
    (folder / "dwca" / "names.dat").write_text(text, "utf-8")
    return folder / "dwca"


META = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core encoding="UTF-8" fieldsTerminatedBy="|" fieldsEnclosedBy="{quote}"
 linesTerminatedBy="\\n" ignoreHeaderLines="0" rowType="http://rs.tdwg.org/dwc/terms/Taxon"><files><location>names.dat</location></files>
 <id index="1"/><field index="0" term="http://rs.tdwg.org/dwc/terms/scientificName"/>
 <field index="2" term="http://rs.tdwg.org/dwc/terms/acceptedNameUsageID"/>
 <field index="3" term="http://rs.tdwg.org/dwc/terms/taxonRank"/></core></archive>"""


def test_the_columns_of_an_archive_are_those_that_its_meta_xml_states(tmp_path: Path) -> None:
    folder = archive_with(META.format(quote=""), "Fictomala alba|7||species\nFictomala candida|9|7|species\n", tmp_path)
    built = build_taxonomy(folder, tmp_path / "made.taxonomy", checklist="Inventa")
    assert (built.kind, built.names) == ("darwin-core", 3)  # and the genus? no: no column of ranks, so two names
