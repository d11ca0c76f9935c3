"""Indexes built from checklists in each format, with the faults of each."""

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
    assert [index.candidates(name)[0].taxon_id for name in ("Fictomala rubescens", "Fictomala citata")] == [
        "Inventa:8",
        "Inventa:20",
    ]


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
    names = [
        *FLORA,
        ("20", "6", "", "", "Mak.", "species", "accepted"),
        ("21", "6", "", "", "", "unranked", "accepted"),
    ]
    text = gbif_text(
        names, id_20={"scientificName": "Fictomala × mixta Mak."}, id_21={"scientificName": "BOLD:FIC0001"}
    )
    index = opened(tmp_path, text)
    assert index.candidates("Fictomala x mixta")[0].name == "Fictomala × mixta"
    barcode = index.candidates("BOLD:FIC0001")[0]
    assert (barcode.taxon_id, barcode.accepted and barcode.accepted.genus) == ("Inventa:6", "Fictomala")


def test_a_hybrid_formula_that_the_checklist_lists_is_found_with_either_mark(tmp_path: Path) -> None:
    names = [*FLORA, ("20", "6", "", "", "", "species", "accepted")]
    index = opened(tmp_path, gbif_text(names, id_20={"scientificName": "Fictomala alba × Fictomala rubescens"}))
    assert index.candidates("Fictomala alba x Fictomala rubescens")[0].name == "Fictomala alba × Fictomala rubescens"


def test_synonyms_of_synonyms_lead_to_the_accepted_name(tmp_path: Path) -> None:
    names = [*FLORA, ("20", "6", "9", "Fictomala nivea", "Mak.", "species", "synonym")]
    source = tmp_path / "Taxon.tsv"
    source.write_text(gbif_text(names), "utf-8")
    built = build_taxonomy(source, tmp_path / "made.taxonomy", checklist="Inventa")
    assert built.odd == {"synonyms of synonyms": 1}
    assert TaxonomyIndex.open(built.path).resolve(Taxon(), "Fictomala nivea").taxon_id == "Inventa:7"


def test_a_parent_that_is_a_synonym_is_replaced_by_its_accepted_name(tmp_path: Path) -> None:
    names = [
        *FLORA, ("20", "", "6", "Fictopyrus", "", "genus", "synonym"), ("21", "20", "", "Fictomala errans", "", "species", "accepted"),
    ]  # fmt: skip
    found = opened(tmp_path, gbif_text(names)).resolve(Taxon(), "Fictomala errans").taxon
    assert found is not None
    assert found.taxonomic_name == LINEAGE.replace("alba", "errans")


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
        archive.writestr(
            "metadata.yaml", "title: Catalogue of Invention\nalias: CoI\nversion: '2024.1'\nsource:\n  - title: other\n"
        )
        archive.writestr(
            "VernacularName.tsv", "col:taxonID\tcol:name\tcol:language\nd\tFikt\tdeu\nd\twhite invention\teng\n"
        )
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
    family = index.resolve(Taxon(family="Fictaceae")).taxon  # listed only in a column
    assert family is not None
    assert family.taxonomic_name == "Fictoplantae Fictaceae"


def test_a_darwin_core_table_may_name_the_accepted_name_instead_of_its_id(tmp_path: Path) -> None:
    text = (
        "taxonID\tscientificName\tacceptedNameUsage\ttaxonomicStatus\n"
        "1\tFictomala alba Inv.\tFictomala alba Inv.\taccepted\n2\tFictomala candida Mak.\tFictomala alba Inv.\tsynonym\n"
    )
    assert opened(tmp_path, text, "list.txt").resolve(Taxon(), "Fictomala candida").taxon_id == "Inventa:1"


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
    assert (built.kind, built.names) == ("darwin-core", 2)
    assert TaxonomyIndex.open(built.path).resolve(Taxon(), "Fictomala candida").taxon_id == "Inventa:7"


def test_an_archive_that_encloses_cells_is_read_with_its_quotation_marks(tmp_path: Path) -> None:
    folder = archive_with(META.format(quote="&quot;"), '"Fictomala alba"|"7"||"species"\n', tmp_path)
    (folder / "eml.xml").write_text(
        "<eml><dataset><title>Invented &amp; listed</title><pubDate>2023</pubDate></dataset></eml>"
    )
    built = build_taxonomy(folder, tmp_path / "made.taxonomy")
    assert (built.checklist, built.version) == ("Invented & listed", "2023")
    assert TaxonomyIndex.open(built.path).candidates("Fictomala alba")[0].outcome == Outcome.EXACT


def test_a_table_of_ranks_gives_every_rank_and_its_synonyms(tmp_path: Path) -> None:
    text = (
        "kingdom;phylum;class;order;family;genus;species;synonyms;common_name\n"
        "Fictoplantae;;;;Fictaceae;Fictomala;alba;Fictomala candida|Fictomala nivea Mak.;white invention\n"
        "Fictoplantae;;;;Fictaceae;Fictomala;Fictomala Rubra;;\n"
        ";;;;;;;;\n"
    )
    index = opened(tmp_path, text, "list.csv")
    found = index.resolve(Taxon(), "Fictomala nivea")
    assert found.taxon == Taxon("Fictoplantae", "", "", "", "Fictaceae", "Fictomala", "alba", "white invention")
    assert found.taxon_id == "Inventa:Fictoplantae||||Fictaceae|Fictomala|Fictomala alba"
    assert index.candidates("Fictomala rubra")[0].outcome == Outcome.EXACT
    assert [(c.rank, c.outcome) for c in index.candidates("Fictomala")] == [("genus", Outcome.EXACT)]
    assert index.ranks == {"kingdom", "family", "genus", "species"}


def test_a_table_may_name_the_accepted_name_of_a_synonym(tmp_path: Path) -> None:
    text = (
        "kingdom,genus,species,acceptedName\n"
        "Fictoplantae,Fictomala,candida,Fictomala alba\n"
        "Fictoplantae,Fictomala,alba,Fictomala alba\n"
        "Fictanimalia,Fictomala,alba,\n"
        "Fictoplantae,Fictomala,vana,Fictomala nusquam\n"
    )
    (tmp_path / "list.csv").write_text(text)
    built = build_taxonomy(tmp_path / "list.csv", tmp_path / "made.taxonomy", checklist="Inventa")
    assert built.odd == {"accepted names by name that are not listed": 1, "accepted ids that point nowhere": 1}
    found = TaxonomyIndex.open(built.path).resolve(Taxon(), "Fictomala candida")
    assert found.taxon is not None
    assert found.taxon.kingdom == "Fictoplantae"  # not the animal of the same name


def test_a_rank_that_the_checklist_knows_nothing_of_stays_as_it_was_given(tmp_path: Path) -> None:
    index = opened(tmp_path, "genus,species\nFictomala,alba\n", "list.csv")
    found = index.resolve(plant("Fictomala", "alba", family="Fictaceae")).taxon
    assert found == plant("Fictomala", "alba", family="Fictaceae")


def test_rows_listed_twice_and_short_lines_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("kingdom,genus,species\nFictoplantae,Fictomala,alba\nFictoplantae,Fictomala,alba\nFictoplantae\n")
    built = build_taxonomy(source, tmp_path / "made.taxonomy")
    assert built.odd == {"rows that are listed twice": 1, "lines with fewer cells than the header": 1}
    assert built.by_rank == {"species": 1, "kingdom": 1, "genus": 1}


def test_several_files_are_parts_of_one_checklist(tmp_path: Path) -> None:
    for name, names in (("flora.tsv", FLORA), ("fauna.tsv", FAUNA)):
        (tmp_path / name).write_text(gbif_text(names), "utf-8")
    built = build_taxonomy([tmp_path / "flora.tsv", tmp_path / "fauna.tsv"], tmp_path / "made.taxonomy")
    assert (built.names, built.odd) == (21, {})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nowhere.tsv", None, "does not exist"),
        ("a.csv", b"image,colour\na.jpg,red\n", "image, colour"),
        ("a.csv", b"", "none"),
        ("a.csv", b"genus,species\n", "holds no names"),
        ("a.csv", "genus,species\nFictomala,alba\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_file_that_is_not_a_checklist_is_refused_by_name_and_nothing_is_left(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=said) as refused:
        build_taxonomy(tmp_path / name, tmp_path / "made.taxonomy")
    assert str(tmp_path / name) in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ([name] if content is not None else [])


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_truncated_zip_is_called_so(tmp_path: Path, compression: int) -> None:
    source = tmp_path / "cut.zip"
    with zipfile.ZipFile(source, "w", compression) as archive:
        archive.writestr("Taxon.tsv", gbif_text(FLORA))
    source.write_bytes(source.read_bytes()[:-40])
    with pytest.raises(SourceError, match="truncated or damaged: copy it again"):
        build_taxonomy([source], tmp_path / "t.taxonomy")


def test_a_zip_passes_the_same_gate_as_every_archive(tmp_path: Path) -> None:
    source = tmp_path / "unsafe.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("../Taxon.tsv", gbif_text(FLORA))
    with pytest.raises(SourceError, match="would leave the folder that it is unpacked into"):
        build_taxonomy([source], tmp_path / "t.taxonomy")


@pytest.mark.parametrize("content", [b"II*\x00\x08\x07\n1\n", b"\x1b[31mpk,\x07m}u]\n1,2\n", b"\x01," * 2000 + b"\n"])
def test_bytes_that_are_not_text_are_not_shown_raw(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "scan.dat"
    source.write_bytes(content)
    with pytest.raises(SourceError, match="is not a checklist") as refused:
        build_taxonomy([source], tmp_path / "t.taxonomy")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 1000


def test_a_failed_build_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    opened(tmp_path, gbif_text(FLORA)).close()
    (tmp_path / "empty.csv").write_text("genus,species\n")
    with pytest.raises(SourceError):
        build_taxonomy(tmp_path / "empty.csv", tmp_path / "made.taxonomy")
    assert TaxonomyIndex.open(tmp_path / "made.taxonomy").candidates("Fictomala alba")[0].outcome == Outcome.EXACT


def test_a_file_that_is_no_taxonomy_or_of_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    opened(tmp_path, gbif_text(FLORA)).close()
    later = tmp_path / "made.taxonomy"
    with sqlite3.connect(later) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    later_bytes = later.read_bytes()
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    whole = opened(tmp_path, gbif_text(FLORA), "Taxon2.tsv").path
    (tmp_path / "cut.taxonomy").write_bytes(whole.read_bytes()[:-4096])
    whole.unlink()
    later.write_bytes(later_bytes)
    (tmp_path / "text.taxonomy").write_text("this is no database, whatever its name says")
    for name, said in (
        ("made.taxonomy", "version 99"), ("other.db", "not a taxonomy"), ("text.taxonomy", "not a taxonomy"),
        ("gone.taxonomy", "does not exist"),
        ("cut.taxonomy", "damaged|not a taxonomy"),
    ):  # fmt: skip
        with pytest.raises(SourceError, match=said) as refused:
            TaxonomyIndex.open(tmp_path / name)
        assert name in str(refused.value)
        assert "\n" not in str(refused.value)


def test_an_index_answers_several_threads_and_writes_nothing(tmp_path: Path) -> None:
    index = opened(tmp_path, gbif_text(FLORA))
    before = (tmp_path / "made.taxonomy").read_bytes()
    answers: list[str] = []

    def ask() -> None:
        answers.extend(index.candidates(name)[0].taxon_id for name in ("Fictomala alba", "Fictomala candida") * 20)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["Inventa:7"] * 160
    index.close()
    assert (tmp_path / "made.taxonomy").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Taxon.tsv", "made.taxonomy"]
