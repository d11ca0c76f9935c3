"""Darwin Core archives as a source: images with the collection's terms, and messages about every kind of fault."""

from __future__ import annotations

import csv
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from darwin_samples import AUDUBON, OCCURRENCE, SIMPLE, SPECIMENS, archive, lines, meta, packed, picture, section

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.tables.text import STRAY
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.darwin_core.read import DarwinCoreSource
from bioclip_plugin.formats.darwin_core.terms import IDENTIFICATION
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted

SOURCE = DarwinCoreSource()
PLAIN = ListingOptions()


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def listed(address: str | Path, options: ListingOptions = PLAIN) -> tuple[list[MediaItem], list[Unlisted]]:
    found = list(SOURCE.items(str(address), options))
    return [one for one in found if isinstance(one, MediaItem)], [one for one in found if isinstance(one, Unlisted)]


def test_each_image_is_an_item_with_the_terms_of_its_specimen() -> None:
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "images/a.jpg", "creator": "B. Photographer"},
                           {"coreid": "s1", "identifier": "images\\b.jpg"}])  # fmt: skip
    picture(Path("dwca/images/a.jpg"))
    items, problems = listed("dwca")
    assert problems == []
    # b.jpg is found to be missing only when it is read
    assert [item.uri for item in items] == ["dwca/images/a.jpg", "dwca/images/b.jpg"]
    first = items[0]
    assert first.path == Path("dwca/images/a.jpg")
    assert first.place == Place("BE", "Namur", 50.5, 4.25, 6)
    assert first.captured_at is None  # a day is not a moment
    assert (first.sequence, first.deployment, first.regions, first.detected) == (None, None, (), False)
    assert {name: first.metadata[name] for name in ("scientificName", "genus", "family", "taxonRank", "catalogNumber", "occurrenceID")} == {
        "scientificName": "Vulpes vulpes", "genus": "Vulpes", "family": "Canidae", "taxonRank": "species", "catalogNumber": "NHM 1",
        "occurrenceID": "s1",
    }  # fmt: skip
    assert first.metadata["media"] == {"identifier": "images/a.jpg", "creator": "B. Photographer"}


@pytest.mark.parametrize("top", ["", "dwca-nhm-v1.2"])
def test_a_zip_file_is_read_with_the_images_in_it_which_keep_their_times(top: str) -> None:
    folder = archive(
        Path("dwca"), [{"coreid": "s1", "identifier": "images/a.jpg"}, {"coreid": "s2", "identifier": "b.jpg"}]
    )
    picture(Path("dwca/images/a.jpg"))
    picture(Path("b.jpg"))
    file = packed(folder, Path("nhm.dat"), top)
    assert SOURCE.takes("nhm.dat")
    items, problems = listed(file)
    assert problems == []
    assert [item.uri for item in items] == [str(Path("nhm.dat", top, "images/a.jpg")), "b.jpg"]
    assert items[0].path is not None
    assert items[0].path.read_bytes() == Path("dwca/images/a.jpg").read_bytes()
    again, _ = listed(file)
    assert again[0].path is not None
    assert again[0].path.stat().st_mtime == items[0].path.stat().st_mtime  # so that a second run can skip it


def test_a_tar_file_and_the_path_of_meta_xml_are_taken_too() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    picture(folder / "a.jpg")
    with tarfile.open("dwca.tgz", "w:gz") as tar:
        for name in ("meta.xml", "occurrence.txt", "multimedia.txt", "a.jpg"):
            tar.add(folder / name, name)
    assert SOURCE.takes("dwca.tgz")
    assert SOURCE.takes("dwca/meta.xml")
    assert listed("dwca.tgz")[0][0].path.read_bytes() == (folder / "a.jpg").read_bytes()  # type: ignore[union-attr]
    assert listed("dwca/meta.xml")[0][0].uri == "dwca/a.jpg"


def test_other_folders_and_files_are_left_to_other_sources() -> None:
    Path("photos").mkdir()
    picture(Path("photos/a.jpg"))
    Path("other").mkdir()
    Path("other/meta.xml").write_text("<html/>")
    with zipfile.ZipFile("photos.zip", "w") as file:
        file.writestr("a/b/meta.xml", "<archive/>")
    Path("cut.zip").write_bytes(b"PK\x03\x04")
    taken = [
        name for name in ("photos", "other", "photos.zip", "photos/a.jpg", "cut.zip", "nothing") if SOURCE.takes(name)
    ]
    assert taken == []


def test_a_folder_with_an_empty_meta_xml_is_no_folder_of_images() -> None:
    Path("dwca").mkdir()
    picture(Path("dwca/a.jpg"))
    Path("dwca/meta.xml").write_text("\n")
    assert SOURCE.takes("dwca")
    with pytest.raises(SourceError, match=r"meta\.xml of dwca is empty"):
        listed("dwca")


def test_a_tar_header_that_requests_gigabytes_is_not_read_for_recognition() -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 6 << 30
    Path("a.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 10_240)
    assert not SOURCE.takes("a.tar")


def test_images_on_the_web_are_items_if_their_files_are_beside_the_archive_and_are_never_fetched() -> None:
    archive(Path("dwca"), [
        {"coreid": "s1", "accessURI": "https://media.example.org/full/a%20b.jpg?x=1", "identifier": "m1"},
        {"coreid": "s1", "accessURI": "https://media.example.org/full/c.jpg", "identifier": "m2"},
        {"coreid": "s2", "accessURI": "https://media.example.org/deep/d.jpg", "identifier": "m3"},
        {"coreid": "s2", "accessURI": "https://media.example.org/e.jpg", "identifier": "m4"},
    ], media_type=AUDUBON)  # fmt: skip
    picture(Path("dwca/a b.jpg"))
    picture(Path("elsewhere/c.jpg"))
    picture(Path("elsewhere/media.example.org/deep/d.jpg"))
    items, problems = listed("dwca", replace(PLAIN, base_folder=Path("elsewhere")))
    assert [item.uri for item in items] == ["dwca/a b.jpg", "elsewhere/c.jpg", "elsewhere/media.example.org/deep/d.jpg"]
    (problem,) = problems
    assert problem.uri == "dwca#multimedia.txt:5"
    assert "https://media.example.org/e.jpg is on the web, and a file is needed" in problem.reason
    assert "download it to elsewhere/e.jpg" in problem.reason


IIIF = "https://iiif.example.org/iiif/2/sheet%d/full/max/0/default.jpg"
QUERY = "https://img.example.org/get?id=%d"


@pytest.mark.parametrize("address", [IIIF, QUERY])
def test_a_file_name_that_several_addresses_share_is_given_to_none_of_them(address: str) -> None:
    archive(Path("dwca"), [{"coreid": f"s{n}", "identifier": address % n} for n in (1, 2)])
    picture(Path("dwca") / (address % 1).rpartition("/")[2].partition("?")[0])
    items, problems = listed("dwca")
    assert items == []
    targets = [problem.reason.partition("download it to ")[2].partition(",")[0] for problem in problems]
    assert len(set(targets)) == 2
    for target in targets:  # each advice works
        picture(Path(target), "blue")
    assert [item.uri for item in listed("dwca")[0]] == targets


def test_one_address_of_two_specimens_shares_its_name_with_nobody() -> None:
    archive(Path("dwca"), [{"coreid": f"s{n}", "identifier": IIIF % 1} for n in (1, 2)])
    picture(Path("dwca/default.jpg"))
    items, (problem,) = listed("dwca")
    assert [item.uri for item in items] == ["dwca/default.jpg"]
    assert "already listed for 's1'" in problem.reason


def test_two_files_that_fit_one_address_are_refused_by_name() -> None:
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "https://media.example.org/full/c.jpg"}])
    picture(Path("dwca/c.jpg"))
    picture(Path("dwca/full/c.jpg"), "blue")
    items, (problem,) = listed("dwca")
    assert items == []
    assert (
        "the files dwca/c.jpg and dwca/full/c.jpg both fit the address https://media.example.org/full/c.jpg"
        in problem.reason
    )


def test_a_shared_name_in_associated_media_is_refused_as_well() -> None:
    Path("dwca").mkdir()
    columns = ["id", "catalogNumber", "associatedMedia"]
    rows = [{"id": f"s{n}", "associatedMedia": f"{IIIF % n} | own{n}.jpg"} for n in (1, 2)]
    Path("dwca/occurrence.txt").write_text(lines(columns, rows))
    Path("dwca/meta.xml").write_text(meta(section("core", OCCURRENCE, "occurrence.txt", columns)))
    for name in ("default", "own1", "own2"):
        picture(Path(f"dwca/{name}.jpg"))
    items, problems = listed("dwca")
    assert [item.uri for item in items] == ["dwca/own1.jpg", "dwca/own2.jpg"]
    assert [problem.reason.count("the name default.jpg alone is that of several") for problem in problems] == [1, 1]


def test_regions_of_interest_are_regions_of_their_image_wherever_they_stand() -> None:
    box = {"xFrac": "0.1", "yFrac": "0.2", "widthFrac": "0.5", "heightFrac": "0.25"}
    archive(Path("dwca"), [
        {"coreid": "s1", "identifier": "roi1", "isROIOf": "m1", **box},
        {"coreid": "s1", "identifier": "m1", "accessURI": "a.jpg"},
        {"coreid": "s1", "identifier": "roi2", "isROIOf": "m1", **box, "xFrac": "0.4"},
        {"coreid": "s1", "identifier": "roi3", "isROIOf": "m1", **box, "xFrac": "0.9"},
        {"coreid": "s1", "identifier": "roi4", "isROIOf": "m9", **box},
        {"coreid": "s1", "identifier": "roi5", "isROIOf": "m1", "xFrac": "0.1", "yFrac": "0.2"},
    ], media_type=AUDUBON)  # fmt: skip
    items, problems = listed("dwca")
    assert [item.regions for item in items] == [(Region(0.1, 0.2, 0.5, 0.25), Region(0.4, 0.2, 0.5, 0.25))]
    assert [problem.uri for problem in problems] == [
        "dwca#multimedia.txt:5",
        "dwca#multimedia.txt:7",
        "dwca#multimedia.txt:6",
    ]
    assert "between 0 and 1" in problems[0].reason
    assert "widthFrac ''" in problems[1].reason
    assert "isROIOf names 'm9', and the archive has no image with that identifier" in problems[2].reason


def test_an_image_in_two_tables_is_listed_once_and_one_of_two_specimens_is_reported() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}, {"coreid": "s2", "identifier": "a.jpg"}])
    (folder / "audubon.txt").write_text(lines(["coreid", "accessURI"], [{"coreid": "s1", "accessURI": "a.jpg"}]))
    extra = section("extension", AUDUBON, "audubon.txt", ["coreid", "accessURI"])
    text = (folder / "meta.xml").read_text()
    (folder / "meta.xml").write_text(text.replace("</archive>", f"{extra}</archive>"))
    items, problems = listed("dwca")
    assert [item.metadata["occurrenceID"] for item in items] == ["s1"]
    assert [problem.reason for problem in problems] == [
        "multimedia.txt:3: the image dwca/a.jpg is already listed for 's1'; the specimen 's2' gets no answer of its own"
    ]


def test_associated_media_are_used_without_a_table_of_media() -> None:
    Path("dwca").mkdir()
    columns = ["id", "catalogNumber", "associatedMedia"]
    rows = [{"id": "s1", "associatedMedia": "a.jpg | https://example.org/b.jpg"}, {"id": "s2"}]
    Path("dwca/occurrence.txt").write_text(lines(columns, rows))
    Path("dwca/meta.xml").write_text(meta(section("core", OCCURRENCE, "occurrence.txt", columns)))
    items, problems = listed("dwca")
    assert [item.uri for item in items] == ["dwca/a.jpg"]
    assert "https://example.org/b.jpg is on the web" in problems[0].reason


def test_associated_media_are_used_for_specimens_without_an_image_in_the_table_of_media() -> None:
    sound = {"coreid": "s3", "identifier": "song.wav", "type": "Sound"}
    specimens = [
        {"id": "s1", "associatedMedia": "a.jpg|more.jpg"},
        {"id": "s2", "associatedMedia": "media/loc.png ; http://example.org/mixed.jpg"},
        {"id": "s3", "associatedMedia": "c.jpg"},
        {"id": "s4", "associatedMedia": "https://example.org/photos/d.jpg"},
    ]
    rows = [{"coreid": "s1", "identifier": "a.jpg"}, sound, {"coreid": "s4", "identifier": "other/../e.jpg"}]
    archive(Path("dwca"), rows, specimens)
    findings = Findings()
    items, problems = listed("dwca", replace(PLAIN, findings=findings, lists_addresses=True))
    assert [(item.metadata["occurrenceID"], item.uri) for item in items] == [
        ("s1", "dwca/a.jpg"), ("s4", "dwca/e.jpg"), ("s2", "dwca/media/loc.png"),
        ("s2", "http://example.org/mixed.jpg"), ("s3", "dwca/c.jpg"),
    ]  # fmt: skip
    assert [problem.reason.partition(": ")[2] for problem in problems] == [
        "it is of the type sound; only images are read"
    ]
    (text,) = findings.texts()
    assert "associatedMedia" in text
    assert findings.count(text) == 2
    assert "'s1': more.jpg" in next(iter(findings.lines()))


def test_a_core_without_a_taxon_takes_it_from_the_current_or_latest_identification() -> None:
    media = [{"coreid": name, "identifier": f"{name}.jpg"} for name in ("s1", "s2", "s3")]
    folder = archive(Path("dwca"), media, [{"id": "s1", "recordedBy": "A"}, {"id": "s2"}, {"id": "s3"}])
    columns = ["coreid", "scientificName", "dateIdentified", "identificationIsCurrent"]
    said = [("s1", "Lynx lynx", "1990", "1"), ("s1", "Lynx pardinus", "2010", "0"), ("s2", "Vulpes vulpes", "1990", ""),
            ("s2", "Vulpes lagopus", "2010", ""), ("s9", "Canis lupus", "2010", "")]  # fmt: skip
    (folder / "identification.txt").write_text(lines(columns, [dict(zip(columns, row, strict=True)) for row in said]))
    extra = section("extension", IDENTIFICATION, "identification.txt", columns)
    (folder / "meta.xml").write_text((folder / "meta.xml").read_text().replace("</archive>", f"{extra}</archive>"))
    items, problems = listed("dwca")
    assert problems == []
    assert [item.metadata.get("scientificName") for item in items] == ["Lynx lynx", "Vulpes lagopus", None]
    assert items[0].metadata["recordedBy"] == "A"


@pytest.mark.parametrize(
    ("stated", "moment", "month"),
    [
        ({"eventDate": "2020-05-03T14:30:00Z"}, datetime(2020, 5, 3, 14, 30, tzinfo=UTC), 5),
        ({"eventDate": "2020-05-03", "eventTime": "14:30:00Z"}, datetime(2020, 5, 3, 14, 30, tzinfo=UTC), 5),
        ({"eventDate": "2020-05"}, None, 5),
        ({"eventDate": "2020-05-03/2020-05-09"}, None, 5),
        ({"eventDate": "2020-05-03/2020-06-09"}, None, None),
        ({"eventDate": "1905", "month": "7"}, None, 7),
        ({"eventDate": "spring", "month": "13"}, None, None),
    ],
)
def test_a_moment_is_read_if_it_is_stated_and_a_month_if_it_is_certain(
    stated: dict[str, str], moment: datetime | None, month: int | None
) -> None:
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}], [{"id": "s1", **stated}])
    (item,), _ = listed("dwca")
    assert (item.captured_at, item.place.month) == (moment, month)


def test_dates_and_coordinates_that_cannot_be_read_are_counted_once_per_specimen_and_not_replaced() -> None:
    media = [{"coreid": "s1", "identifier": f"{name}.jpg"} for name in "ab"]
    core = [{"id": "s1", "eventDate": "[1901]", "decimalLatitude": "50,5", "decimalLongitude": "4.35 O"}]
    archive(Path("dwca"), media, core)
    findings = Findings()
    items, _ = listed("dwca", replace(PLAIN, findings=findings, lists_addresses=True))
    assert [item.unread for item in items] == [{"captured_at", "position"}] * 2
    assert items[0].metadata["eventDate"] == "[1901]"
    assert [line.partition(";")[0] for line in findings.lines()] == [
        "values of eventDate cannot be read as a date", "positions (decimalLatitude, decimalLongitude) cannot be read"
    ]  # fmt: skip
    assert all(": 1 (the first: dwca, Occurrence 's1': " in line for line in findings.lines())


def test_the_date_of_a_specimen_is_in_the_order_of_its_column() -> None:
    core = [{"id": "s1", "eventDate": "03/04/1893"}, {"id": "s2", "eventDate": "31/12/1893"}]
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}], core)
    (item,), _ = listed("dwca")
    assert item.within == (date(1893, 4, 3), date(1893, 4, 3))
    archive(Path("open"), [{"coreid": "s1", "identifier": "a.jpg"}], core[:1])
    with pytest.raises(SourceError, match="give --day-first or --month-first"):
        listed("open")


def test_naive_times_get_the_time_zone_that_was_given() -> None:
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}], [{"id": "s1", "eventDate": "2020-05-03T14:30:00"}])
    (item,), _ = listed("dwca", replace(PLAIN, time_zone="+02:00"))
    assert item.captured_at is not None
    assert item.captured_at.isoformat() == "2020-05-03T14:30:00+02:00"


@pytest.mark.parametrize("place", [("91", "4"), ("0", "0"), ("nan", "4"), ("50.5", ""), ("50°30'", "4")])
def test_coordinates_that_cannot_be_are_left_out_of_the_place_and_kept_as_written(place: tuple[str, str]) -> None:
    core = {"id": "s1", "decimalLatitude": place[0], "decimalLongitude": place[1]}
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}], [core])
    (item,), problems = listed("dwca")
    assert (item.place.latitude, item.place.longitude, problems) == (None, None, [])
    assert item.metadata["decimalLatitude"] == place[0]


def test_commas_quotes_and_lines_inside_quotes_are_read_as_meta_xml_says() -> None:
    Path("dwca").mkdir()
    core, columns = ["id", "locality", "scientificName"], ["coreid", "identifier"]
    Path("dwca/o.csv").write_bytes(
        b'id,locality,scientificName\r\ns1,"Dinant, ""rocks""\r\nby the river",Vulpes vulpes\r\n'
    )
    Path("dwca/m.csv").write_text("coreid,identifier\ns1,a.jpg\n")
    how = {"fieldsTerminatedBy": ",", "fieldsEnclosedBy": "&quot;"}
    Path("dwca/meta.xml").write_text(
        meta(section("core", OCCURRENCE, "o.csv", core, **how), section("extension", SIMPLE, "m.csv", columns, **how))
    )
    (item,), problems = listed("dwca")
    assert problems == []
    assert item.metadata["locality"] == 'Dinant, "rocks"\r\nby the river'
    assert item.metadata["scientificName"] == "Vulpes vulpes"


def test_omissions_of_meta_xml_follow_the_standard_and_defaults_fill_empty_cells() -> None:
    Path("dwca").mkdir()
    Path("dwca/o.csv").write_text('s1,"a,b"\ns2,\n')
    Path("dwca/m.csv").write_text("s1,a.jpg\ns2,b.jpg\n")
    dwc, dct = "http://rs.tdwg.org/dwc/terms", "http://purl.org/dc/terms"
    Path("dwca/meta.xml").write_text(
        "<archive xmlns='http://rs.tdwg.org/dwc/text/'>"
        f"<core rowType='{OCCURRENCE}'><files><location>o.csv</location></files><id index='0'/>"
        f"<field index='1' term='{dwc}/locality' default='unstated'/><field term='{dwc}/country' default='Belgium'/></core>"
        f"<extension rowType='{SIMPLE}'><files><location>m.csv</location></files><coreid index='0'/>"
        f"<field index='1' term='{dct}/identifier'/></extension></archive>"
    )
    items, _ = listed("dwca")
    assert [(item.metadata["locality"], item.metadata["country"]) for item in items] == [
        ("a,b", "Belgium"),
        ("unstated", "Belgium"),
    ]


FILE = "<files><location>o.txt</location></files>"


def core(inside: str, attributes: str = "") -> str:
    return f"<archive><core {attributes}>{inside}</core></archive>"


# -- faults ------------------------------------------------------------------------------------------------------------


def test_broken_rows_are_reported_with_file_and_line_and_good_ones_are_listed() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    with (folder / "occurrence.txt").open("a") as file:
        file.write("s3\tshort\n\ts4" + "\t" * 11 + "\ns1" + "\t" * 12 + "\n\n")
    with (folder / "multimedia.txt").open("a") as file:
        file.write("s9\tb.jpg\ns2\n s1 \tc.jpg\ns1\td.jpg\tone too many\ns2\t\ns2\t../x.jpg\n")
    items, problems = listed("dwca")
    assert [item.uri for item in items] == ["dwca/a.jpg", "dwca/c.jpg"]
    assert [problem.reason for problem in problems] == [
        "occurrence.txt:4: it has 2 columns; meta.xml needs 13",
        "occurrence.txt:5: the id is empty, so that no image can refer to the row",
        "occurrence.txt:6: duplicate id 's1'; the first row with it is used",
        "multimedia.txt:3: its core id 's9' is not in occurrence.txt",
        "multimedia.txt:4: it has 1 columns; meta.xml needs 2",
        "multimedia.txt:6: it has 3 columns and the header has 2: a cell holds a separator",
        "multimedia.txt:7: it has neither accessURI nor identifier, which give the place of the image",
        "multimedia.txt:8: file '../x.jpg' is a path outside the folder dwca: name the folder that it is in with --base-folder, or give "
        "--allow-outside if you trust the file that names it",
    ]


def test_sounds_are_reported_and_not_listed() -> None:
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.wav", "type": "http://purl.org/dc/dcmitype/Sound"},
                           {"coreid": "s1", "identifier": "b.mp3", "format": "audio/mpeg"}])  # fmt: skip
    items, problems = listed("dwca")
    assert items == []
    assert ["images are read" in problem.reason for problem in problems] == [True, True]


def test_text_in_another_encoding_than_stated_is_read_as_latin_1() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    text = (folder / "occurrence.txt").read_text("utf-8").replace("A. Collector", "A. Müller")
    (folder / "occurrence.txt").write_bytes(text.encode("latin-1"))
    assert listed("dwca")[0][0].metadata["recordedBy"] == "A. Müller"
    Path("dwca/meta.xml").write_text(
        Path("dwca/meta.xml").read_text().replace('encoding="UTF-8" fields', 'encoding="utf-99" fields')
    )
    with pytest.raises(SourceError, match="has the encoding 'utf-99', which is not known; UTF-8 is usual"):
        listed("dwca")


@pytest.mark.parametrize("encoding", ["utf-16", "UTF-16LE", "cp1252", "Latin1", "utf-8-sig"])
def test_tables_in_other_encodings_are_read_as_stated(encoding: str) -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    text = (folder / "occurrence.txt").read_text("utf-8").replace("A. Collector", "A. Müller")
    (folder / "occurrence.txt").write_text(text, encoding)
    said = (folder / "meta.xml").read_text().replace('encoding="UTF-8" fields', f'encoding="{encoding}" fields', 1)
    (folder / "meta.xml").write_text(said)
    items, problems = listed("dwca")
    assert problems == []
    assert items[0].metadata["recordedBy"] == "A. Müller"


@pytest.mark.parametrize("encoding", ["utf-99", "hex", "zip", "undefined", "rot13", ""])
def test_encodings_that_are_not_text_are_reported(encoding: str) -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    said = (folder / "meta.xml").read_text().replace('encoding="UTF-8" fields', f'encoding="{encoding}" fields', 1)
    (folder / "meta.xml").write_text(said)
    with pytest.raises(SourceError, match=f"has the encoding '{encoding}', which is not"):
        listed("dwca")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<archive><core></archive>", r"meta\.xml of dwca cannot be read as XML: mismatched tag: line 1, column 17"),
        ("", "meta.xml of dwca is empty: copy the archive anew"),
        ("<eml/>", "begins with <eml>; the meta.xml of a Darwin Core archive begins with <archive>"),
        ("<archive/>", "must have one <core>; it has 0"),
        (core("<id index='0'/>"), "names no file"),
        (core("<files><location>../o.txt</location></files>"), r"names the file '\.\./o\.txt'; only names inside"),
        (core("<files><location>/etc/passwd</location></files>"), "only names inside the archive are taken"),
        (core(f"{FILE}<id index='x'/>"), "the index of id is 'x'"),
        (core(FILE), "has neither <id> nor occurrenceID, catalogNumber or taxonID"),
        (core(FILE, "ignoreHeaderLines='-1'"), "ignoreHeaderLines is '-1'"),
        (core(f"{FILE}<id index='0'/>", "linesTerminatedBy='|'"), r"linesTerminatedBy of o\.txt"),
        (core(f"{FILE}<id index='0'/>", "fieldsTerminatedBy='::'"), "fieldsTerminatedBy '::'"),
        (core(f"{FILE}<id index='0'/>"), "dwca has no images"),
    ],
)  # fmt: skip
def test_an_incomplete_meta_xml_is_reported(text: str, why: str) -> None:
    Path("dwca").mkdir()
    Path("dwca/meta.xml").write_text(text)
    Path("dwca/o.txt").touch()
    with pytest.raises(SourceError, match=why):
        listed("dwca")


def test_a_missing_meta_xml_or_table_is_reported() -> None:
    Path("empty").mkdir()
    with pytest.raises(SourceError, match=r"empty is not a Darwin Core archive: it lacks meta\.xml"):
        listed("empty")
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    with zipfile.ZipFile("dwca.zip", "w") as file:
        file.write("dwca/meta.xml", "meta.xml")
    with pytest.raises(SourceError, match=r"occurrence\.txt, which meta\.xml names, is not in the archive"):
        listed("dwca.zip")


def test_entities_in_meta_xml_are_refused_before_they_grow() -> None:
    Path("dwca").mkdir()
    bomb = '<!DOCTYPE archive [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
    )  # fmt: skip
    Path("dwca/meta.xml").write_text(f"{bomb}]><archive>&m;</archive>")
    assert SOURCE.takes("dwca")
    with pytest.raises(SourceError, match=r"meta\.xml of dwca is refused: it has a document type declaration, line 1"):
        listed("dwca")
    Path("dwca/meta.xml").write_text('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><archive>&x;</archive>')
    with pytest.raises(SourceError, match="document type declaration"):
        listed("dwca")


def test_archives_that_are_not_safe_are_refused_before_anything_is_read() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    packed(folder, Path("up.zip"))
    with zipfile.ZipFile("up.zip", "a") as file:
        file.writestr("../a.jpg", b"evil")
    with pytest.raises(SourceError, match=r"member '\.\./a\.jpg' would leave the folder"):
        listed("up.zip")
    (folder / "occurrence.txt").write_bytes(b"\0" * (8 << 20))
    packed(folder, Path("bomb.zip"))
    with pytest.raises(SourceError, match="fold, "):
        listed("bomb.zip")


def test_a_table_that_is_a_link_out_of_the_folder_is_not_read() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    (folder / "occurrence.txt").rename("private.txt")
    (folder / "occurrence.txt").symlink_to(Path("private.txt").absolute())
    with pytest.raises(SourceError, match=r"occurrence\.txt is a symbolic link that leaves the archive's folder"):
        listed("dwca")


@pytest.mark.parametrize("limit", [131_072, sys.maxsize])
def test_a_quotation_mark_that_is_never_closed_is_text_and_swallows_no_row(
    limit: int, request: pytest.FixtureRequest
) -> None:
    before = csv.field_size_limit(limit)  # the limit is process-wide: frictionless, for one, raises it
    request.addfinalizer(lambda: csv.field_size_limit(before))
    Path("dwca").mkdir()
    columns = ["coreid", "identifier"]
    Path("dwca/o.csv").write_text("id\ns1\n")
    Path("dwca/m.csv").write_text('coreid,identifier\ns1,a.jpg\ns1,"b.jpg\n' + "s1,c.jpg\n" * 20_000)
    how = {"fieldsTerminatedBy": ",", "fieldsEnclosedBy": "&quot;"}
    Path("dwca/meta.xml").write_text(
        meta(section("core", OCCURRENCE, "o.csv", ["id"], **how), section("extension", SIMPLE, "m.csv", columns, **how))
    )
    options = ListingOptions()
    items, _ = listed("dwca", options)
    assert [item.uri for item in items] == ["dwca/a.jpg", 'dwca/"b.jpg', "dwca/c.jpg"]
    assert options.findings.count(STRAY) == 1


def test_a_name_that_is_too_long_for_a_file_is_a_missing_image() -> None:
    archive(
        Path("dwca"), [{"coreid": "s1", "identifier": "x" * 5000 + ".jpg"}, {"coreid": "s1", "identifier": "b.jpg"}]
    )
    items, problems = listed("dwca")
    assert [item.uri[-6:] for item in items] == ["xx.jpg", "/b.jpg"]
    assert not problems


def test_a_file_that_is_one_endless_line_is_no_table() -> None:
    folder = archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}])
    (folder / "occurrence.txt").write_text("x" * (5 << 20))
    with pytest.raises(SourceError, match="line 1: a line of more than 4,194,304 characters"):
        listed("dwca")


def test_a_large_core_is_read_in_flat_memory() -> None:
    specimens = [{"id": f"s{n}", "scientificName": "Vulpes vulpes", "locality": "x" * 100} for n in range(5_000)]
    archive(Path("dwca"), [{"coreid": f"s{n}", "identifier": f"{n}.jpg"} for n in range(5_000)], specimens)
    del specimens
    tracemalloc.start()
    count = sum(isinstance(one, MediaItem) for one in SOURCE.items("dwca", PLAIN))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5_000
    assert peak < 2 << 20  # the same as for 1,000 rows, while the core table alone is 2.7 MB of Python objects


def test_an_archive_is_listed_without_heavy_libraries() -> None:
    archive(Path("dwca"), [{"coreid": "s1", "identifier": "a.jpg"}], SPECIMENS)
    code = (
        "import sys\nfrom bioclip_plugin.contracts.source import ListingOptions\n"
        "from bioclip_plugin.formats.darwin_core.read import DarwinCoreSource\n"
        "print(len(list(DarwinCoreSource().items('dwca', ListingOptions()))), "
        "[n for n in ('dwca', 'torch', 'pandas', 'pyarrow', 'sqlalchemy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "1 []"
