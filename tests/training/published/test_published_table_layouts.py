"""GBIF, EOL, BIOSCAN and image tables: the forms in which they come, and what is wrong with them in the field."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from published_layout_samples import images, read, table
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_training.published.gbif import Gbif
from bioclip_training.published.known import recognise
from bioclip_training.published.layout import ReadOptions

OCCURRENCES = [
    {"gbifID": n, "scientificName": "Acer rubrum L.", "kingdom": "Plantae", "genus": "Acer", "species": "Acer rubrum", "countryCode": "NA",
     "license": "CC_BY_4_0", "mediaType": "StillImage", "occurrenceStatus": "PRESENT", "locality": '"open'}
    for n in range(3)
]  # fmt: skip
MEDIA = [
    {
        "gbifID": n,
        "type": "StillImage",
        "format": "image/jpeg",
        "identifier": f"https://x.org/{n}.jpg",
        "references": "",
        "license": "",
    }
    for n in range(3)
]
META = """<archive xmlns="http://rs.tdwg.org/dwc/text/"><core encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n"
fieldsEnclosedBy="" ignoreHeaderLines="1" rowType="http://rs.tdwg.org/dwc/terms/Occurrence"><files><location>occ.txt</location></files>
<id index="0"/><field index="1" term="http://rs.tdwg.org/dwc/terms/scientificName"/>
<field term="http://rs.tdwg.org/dwc/terms/basisOfRecord" default="PreservedSpecimen"/></core>
<extension encoding="UTF-8" fieldsTerminatedBy="\\t" linesTerminatedBy="\\n" fieldsEnclosedBy="" ignoreHeaderLines="0"
rowType="http://rs.tdwg.org/ac/terms/Multimedia"><files><location>media.txt</location></files><coreid index="0"/>
<field index="1" term="http://rs.tdwg.org/ac/terms/accessURI"/><field index="2" term="http://purl.org/dc/terms/format"/>
<field index="3" term="http://ns.adobe.com/xap/1.0/rights/Owner"/></extension></archive>"""


def gbif(
    root: Path, occurrences: list[dict[str, object]] | None = None, media: list[dict[str, object]] | None = None
) -> Path:
    table(root / "occurrence.txt", occurrences or OCCURRENCES, "\t")  # type: ignore[arg-type]
    table(root / "multimedia.txt", media or MEDIA, "\t")  # type: ignore[arg-type]
    return root


def test_a_download_without_meta_xml_is_read_as_folder_and_as_zip(tmp_path: Path) -> None:
    rows, options = read(gbif(tmp_path / "folder"))
    assert rows[0] == {
        "record_id": "0 https://x.org/0.jpg", "url": "https://x.org/0.jpg", "verbatim_name": "Acer rubrum L.", "kingdom": "Plantae",
        "genus": "Acer", "species": "rubrum", "licence": "CC_BY_4_0", "observation_id": "0", "country": "NA", "locality": '"open',
    }  # fmt: skip
    assert not options.findings
    with zipfile.ZipFile(tmp_path / "0001.zip", "w") as file:
        for name in ("occurrence.txt", "multimedia.txt"):
            file.write(tmp_path / "folder" / name, name)
    assert read(tmp_path / "0001.zip")[0] == rows


def test_an_archive_of_a_museum_has_its_own_ids_constants_and_audubon_core(tmp_path: Path) -> None:
    (tmp_path / "meta.xml").write_text(META)
    (tmp_path / "occ.txt").write_text("id\tname\nurn:a\tAcer rubrum L.\nurn:b\tFicus carica\n")
    (tmp_path / "media.txt").write_text(
        "urn:b\thttps://x.org/b.tif\timage/tiff\tNHM\nurn:b\thttps://x.org/b.mp4\tvideo/mp4\tNHM\n"
    )
    rows, options = read(tmp_path)
    assert rows == [
        {"record_id": "urn:b https://x.org/b.tif", "url": "https://x.org/b.tif", "verbatim_name": "Ficus carica",
         "basis_of_record": "PreservedSpecimen", "rights_holder": "NHM", "observation_id": "urn:b"}
    ]  # fmt: skip
    assert options.skipped.count("media that are not still images") == 1
    assert options.counts["occurrences without an image"] == 1


def test_media_of_occurrences_in_parquet_may_be_a_table_or_nested(tmp_path: Path) -> None:
    occurrence = {name.lower(): [str(row[name]) for row in OCCURRENCES] for name in OCCURRENCES[0]}
    beside = tmp_path / "beside"
    (beside / "occurrence.parquet").mkdir(parents=True)
    parquet.write_table(pa.table(occurrence), beside / "occurrence.parquet" / "000000")
    parquet.write_table(
        pa.table({name.lower(): [str(row[name]) for row in MEDIA] for name in MEDIA[0]}), beside / "multimedia.parquet"
    )
    nested = tmp_path / "nested"
    nested.mkdir()
    lists = [[{"type": "StillImage", "identifier": row["identifier"]}] for row in MEDIA]
    parquet.write_table(pa.table({**occurrence, "media": lists}), nested / "part-0.parquet")
    rows, _ = read(beside)
    assert len(rows) == 3
    assert rows[0]["species"] == "rubrum"
    assert read(nested)[0] == rows


def test_type_and_format_that_a_publisher_exchanged_are_still_images(tmp_path: Path) -> None:
    media = [{**row, "type": "image/jpeg", "format": "StillImage"} for row in MEDIA]
    assert len(read(gbif(tmp_path, media=media))[0]) == 3


def test_media_without_an_identifier_are_skipped_unless_their_reference_is_an_image_file(tmp_path: Path) -> None:
    media = [
        {**MEDIA[0], "identifier": "", "references": "https://x.org/proxy.php?pic=1.JPG"},
        {**MEDIA[1], "identifier": "", "references": "https://x.org/photos/1"},
        {**MEDIA[2], "type": "", "format": ""},
    ]
    rows, options = read(gbif(tmp_path, media=media))
    assert [row["url"] for row in rows] == ["https://x.org/proxy.php?pic=1.JPG", "https://x.org/2.jpg"]
    assert list(options.skipped.lines()) == ["media without an address: 1 (the first: occurrence 1: )"]
    assert options.findings.count("media state neither type nor format and are taken for still images") == 1


def test_absences_media_of_others_and_a_truncated_table_of_media_are_said(tmp_path: Path) -> None:
    occurrences = [{**OCCURRENCES[0], "occurrenceStatus": "ABSENT"}, OCCURRENCES[1], OCCURRENCES[1], OCCURRENCES[2]]
    media = [MEDIA[0], MEDIA[1], {**MEDIA[2], "gbifID": 99}]
    rows, options = read(gbif(tmp_path, occurrences, media))
    assert [row["observation_id"] for row in rows] == ["1"]
    assert options.skipped.count("media of occurrences that state the absence of the taxon") == 1
    assert options.skipped.count("media of an occurrence that is not in the table of occurrences") == 1
    assert options.findings.count("ids of occurrences are given several times; the first row of each is used") == 1
    lost = "occurrences state a still image (mediaType), but the table of media has none of them; is it complete?"
    assert options.findings.count(lost) == 1
    assert len(read(tmp_path, absences="keep")[0]) == 2


def test_a_simple_download_has_no_addresses_and_says_what_to_ask_for(tmp_path: Path) -> None:
    table(
        tmp_path / "0002.csv",
        [{"gbifID": 1, "datasetKey": "x", "mediaType": "StillImage", "species": "Acer rubrum"}],
        "\t",
    )
    with pytest.raises(SourceError, match="has no known layout"):
        recognise(tmp_path)
    with pytest.raises(
        SourceError, match="format Simple, which has no addresses of images: ask GBIF for a Darwin Core Archive"
    ):
        list(Gbif().read(tmp_path, ReadOptions()))


# -- EOL ---------------------------------------------------------------------------------------------------------------

TAXA = [
    ("A", "", "", "Animalia", "Animalia", "kingdom", "1"),
    ("B", "A", "", "Aus L.", "Aus", "genus", "2"),
    ("C", "B", "", "Aus bus L., 1758", "Aus bus", "species", "3"),
    ("D", "B", "C", "Aus cus", "Aus cus", "species", "4"),
    ("E", "gone", "", "Xus yus", "Xus yus", "species", "5"),
    ("F", "G", "", "Cus", "Cus", "genus", "6"),
    ("G", "F", "", "Cidae", "Cidae", "family", "7"),
    ("H", "A", "", "Aus bus again", "", "species", "3"),
]


def eol(root: Path) -> Path:
    names = (
        "taxonID",
        "parentNameUsageID",
        "acceptedNameUsageID",
        "scientificName",
        "canonicalName",
        "taxonRank",
        "eolID",
    )
    table(root / "taxon.tab", [dict(zip(names, row, strict=True)) for row in TAXA], "\t")
    images(root, *(f"{100 + n}_{n}_eol-full-size-copy.jpg" for n in (3, 4, 5, 6, 9)), "cover.jpg")
    return root


def test_chains_of_eol_with_synonyms_missing_parents_and_circles(tmp_path: Path) -> None:
    rows, options = read(eol(tmp_path))
    ranks = ("kingdom", "family", "genus", "species", "verbatim_name")
    assert {row["eol_page_id"]: tuple(row.get(name, "") for name in ranks) for row in rows} == {
        "3": ("Animalia", "", "Aus", "Aus bus", "Aus bus L., 1758"),
        "4": ("Animalia", "", "Aus", "Aus bus", "Aus cus"),  # a synonym has the ranks of its accepted taxon
        "5": ("", "", "", "Xus yus", "Xus yus"),
        "6": ("", "Cidae", "Cus", "", "Cus"),
        "9": ("", "", "", "", ""),
    }
    lines = "\n".join(options.findings.lines())
    assert "parent that is not there; the ranks above are empty: 1 (the first: E (Xus yus, parent gone))" in lines
    assert "taxa of taxon.tab are their own ancestors" in lines
    assert "EOL pages have several taxa; an accepted one counts, of several the first: 1" in lines
    assert list(options.skipped.lines()) == ["files whose name is not CONTENT_PAGE_eol: 1 (the first: cover.jpg)"]


def test_common_names_and_the_media_of_eol_are_joined(tmp_path: Path) -> None:
    eol(tmp_path)
    rows = [
        ("3", "wolf a", "eng", 0, 0),
        ("3", "wolf b", "eng", 1, 0),
        ("3", "wolf c", "eng", 0, 1),
        ("3", "Wolf", "deu", 1, 1),
    ]
    names = ("page_id", "vernacular_string", "language_code", "is_preferred_by_resource", "is_preferred_by_eol")
    table(tmp_path / "vernacularnames.csv", [dict(zip(names, row, strict=True)) for row in rows])
    table(
        tmp_path / "media_manifest.csv",
        [{"EOL content ID": 103, "EOL page ID": 3, "EOL Full-Size Copy URL": "https://x.org/103.jpg", "License Name": "cc-by-3.0",
          "Copyright Owner": "me"}],
    )  # fmt: skip
    row = read(tmp_path)[0][0]
    assert (row["common_name"], row["common_name_language"]) == ("wolf c", "en")
    assert (row["url"], row["licence"], row["rights_holder"]) == ("https://x.org/103.jpg", "cc-by-3.0", "me")
    german = read(tmp_path, language="deu")[0][0]
    assert (german["common_name"], german["common_name_language"]) == ("Wolf", "deu")


def test_images_of_eol_without_their_tree_are_refused(tmp_path: Path) -> None:
    (eol(tmp_path) / "taxon.tab").unlink()
    with pytest.raises(SourceError, match=r"lacks taxon\.tab, EOL's tree .*without it pages have no names"):
        read(tmp_path)


def test_a_tar_of_eol_that_is_cut_short_gives_the_images_before_the_cut(tmp_path: Path) -> None:
    eol(tmp_path)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for number in range(200):
            member = tarfile.TarInfo(f"{number}_3_eol.jpg")
            member.size = 2000
            tar.addfile(member, io.BytesIO(random.Random(number).randbytes(2000)))
    (tmp_path / "image_set_01.tar.gz").write_bytes(made.getvalue()[: len(made.getvalue()) // 2])
    rows, options = read(tmp_path)
    of_tar = [row for row in rows if row["uri"].startswith("image_set_01.tar.gz#")]
    assert 0 < len(of_tar) < 200
    assert options.findings.count("archives are cut short; their images behind that place are not read") == 1


# -- BIOSCAN and image tables ------------------------------------------------------------------------------------------


def bioscan(root: Path, rows: list[dict[str, object]], *sizes: str) -> Path:
    table(root / "metadata.tsv", rows, "\t")
    for size in sizes:
        images(root, *(f"{size}/part{row['chunk_number']}/{row['image_file']}" for row in rows))
    return root


def insect(number: int, **changes: object) -> dict[str, object]:
    return {
        "processid": f"P{number}", "image_file": f"{number}.jpg", "family": "Sciaridae", "genus": "not_classified", "uri": "BOLD:A",
        "chunk_number": 1, **changes,
    }  # fmt: skip


def test_images_in_two_sizes_are_not_mixed(tmp_path: Path) -> None:
    bioscan(tmp_path, [insect(1), insect(2, chunk_number="2.0")], "cropped_256", "original_full")
    images(tmp_path, "cropped_256/part2/2.jpg", "original_full/part2/2.jpg")
    with pytest.raises(
        SourceError, match=r"several times \(cropped_256, original_full\); state one of them as images: FOLDER"
    ):
        read(tmp_path)
    rows, options = read(tmp_path, images="cropped_256")
    assert [(row["uri"], row["bioscan_part"]) for row in rows] == [
        ("cropped_256/part1/1.jpg", "1"),
        ("cropped_256/part2/2.jpg", "2"),
    ]
    assert options.findings.count("cells hold a word for an unknown value and are read as empty") == 2


def test_rows_without_an_id_are_skipped(tmp_path: Path) -> None:
    rows, options = read(bioscan(tmp_path, [insect(1), insect(2, processid="")], "images"))
    assert [row["record_id"] for row in rows] == ["P1"]
    assert options.skipped.count("rows lack an id") == 1


def test_the_metadata_of_bioscan_5m_have_places_and_splits(tmp_path: Path) -> None:
    rows = [
        {"processid": f"A{n}", "genus": "Bradysia", "species": "Bradysia sp. 1", "dna_bin": "BOLD:B", "country": '"Bonaire, Saba"',
         "province_state": "x", "coord-lat": lat, "coord-lon": lon, "split": "train", "chunk": chunk}
        for n, (lat, lon, chunk) in enumerate([("43.5", "-80", "a0"), ("0", "0", ""), ("95", "10", "a0")])
    ]  # fmt: skip
    table(tmp_path / "metadata.csv", rows)
    images(
        tmp_path,
        "images/cropped_256/train/a0/A0.jpg",
        "images/cropped_256/train/A1.jpg",
        "images/cropped_256/train/a0/A2.jpg",
    )
    found, options = read(tmp_path)
    assert [(row.get("latitude"), row.get("longitude"), row["country"]) for row in found] == [
        (43.5, -80.0, "Bonaire, Saba"), (None, None, "Bonaire, Saba"), (None, None, "Bonaire, Saba"),
    ]  # fmt: skip
    assert options.findings.count("coordinates are 0, 0, which is taken for an unknown place") == 1
    assert options.findings.count("coordinates cannot be read; the place is left empty") == 1


def test_tables_with_paths_of_windows_and_in_excel_s_form_are_read(tmp_path: Path) -> None:
    images(tmp_path, "test/ROBIN/1.jpg")
    content = "sep=;\r\nclass id;filepaths;labels;data set;scientific name\r\n0;.\\test\\ROBIN\\1.jpg;ROBIN;test;ERITHACUS RUBECULA\r\n"
    (tmp_path / "birds.csv").write_bytes(content.encode("utf-8-sig"))
    rows, _ = read(tmp_path)
    assert (rows[0]["uri"], rows[0]["verbatim_name"]) == ("test/ROBIN/1.jpg", "ERITHACUS RUBECULA")


def test_a_missing_image_whose_name_differs_in_case_names_the_file_that_is_there(tmp_path: Path) -> None:
    images(tmp_path, "Image_Library/Sparidae/1.JPG", "Image_Library/Sparidae/2.jpg")
    fish = {"Folder": "Sparidae", "Order": "Perciformes", "Family": "Sparidae", "Genus": "Boops", "Species": "boops"}
    table(tmp_path / "train.csv", [{"image": f"Sparidae/{n}.jpg", **fish} for n in (1, 2)])
    rows, options = read(tmp_path)
    assert [row["published_split"] for row in rows] == ["train"]
    assert "1.JPG" in next(options.skipped.lines())


def test_images_that_the_catalog_of_rare_species_does_not_list_have_the_ranks_of_their_folder(tmp_path: Path) -> None:
    folder = "Animalia-Chordata-Aves-Apterygiformes-Apterygidae-Apteryx-novae-zelandiae"
    images(tmp_path, f"{folder}/7_8_eol-full-size-copy.jpg", f"{folder}/9_8_eol-full-size-copy.jpg")
    row = {"rarespecies_id": "u1", "eol_content_id": 7, "eol_page_id": 8, "kingdom": "Animalia", "phylum": "Chordata", "class": "Aves",
           "order": "Apterygiformes", "family": "Apterygidae", "genus": "Apteryx", "species": "mantelli", "sciName": "Apteryx mantelli",
           "common": "kiwi"}  # fmt: skip
    table(tmp_path / "rarespecies-catalog.csv", [row, {**row, "rarespecies_id": "u2", "eol_content_id": 70}])
    rows, options = read(tmp_path)
    assert [(row["record_id"], row["species"]) for row in rows] == [("9", "novae-zelandiae"), ("u1", "mantelli")]
    lines = "\n".join([*options.findings.lines(), *options.skipped.lines()])
    assert "images that the catalog does not list; their ranks are those of their folder: 1" in lines
    assert "rows of the catalog whose genus and species differ from the folder's; the catalog's are used: 1" in lines
    assert "rows of the catalog without an image file: 1 (the first: 70_8: Apteryx mantelli)" in lines


def test_nabirds_without_a_list_says_which(tmp_path: Path) -> None:
    (tmp_path / "images.txt").write_text("a 0817/a.jpg\nb 0818/b.jpg\n")
    (tmp_path / "image_class_labels.txt").write_text("a 817\n")
    with pytest.raises(SourceError, match="has no known layout"):
        recognise(tmp_path)
    (tmp_path / "classes.txt").write_text("817 Laughing Gull (Nonbreeding/Immature)\n")
    (tmp_path / "photographers.txt").write_text("a Jane Doe\n")
    images(tmp_path, "images/0817/a.jpg", "images/0818/b.jpg")
    rows, options = read(tmp_path)
    assert rows == [
        {"record_id": "a", "uri": "images/0817/a.jpg", "caption": "Laughing Gull (Nonbreeding/Immature)", "common_name": "Laughing Gull",
         "common_name_language": "en", "source_taxon_id": "817", "rights_holder": "Jane Doe"}
    ]  # fmt: skip
    assert options.skipped.count("images without a class in image_class_labels.txt") == 1


def test_a_source_that_fits_two_layouts_is_refused_with_the_choice(tmp_path: Path) -> None:
    bioscan(tmp_path, [insect(1)], "cropped")
    gbif(tmp_path)
    with pytest.raises(SourceError, match=r"several layouts; state one of: layout: bioscan-1m \(.*\); layout: gbif \("):
        recognise(tmp_path)
    assert len(read(tmp_path, "gbif")[0]) == 3


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        recognise(tmp_path / "none")
    with pytest.raises(
        SourceError,
        match=r"found is an empty folder; known are inat21, bioscan-1m, .* state its layout to see what it lacks",
    ):
        recognise(tmp_path)
