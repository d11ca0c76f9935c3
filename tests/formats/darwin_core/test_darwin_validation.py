"""Checks of Darwin Core archives: every fault, put into a good archive by hand, is found with file, line and value."""

from __future__ import annotations

import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from darwin_samples import AUDUBON, archive, packed, picture
from darwin_store import EXPORTER, FOX, WOLF, answered, exported, specimen

from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.darwin_core.check import MOST, check_archive
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import Store

BOX = Region(0.1, 0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    with Store.open(folder / "results.db") as store:
        answered(store, [(specimen("a.jpg"), [(None, FOX, 0.9)]), (MediaItem("b.jpg"), [(BOX, WOLF, 0.8)])])
        return exported(store, folder / "out")


@pytest.fixture
def good(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "archive"))


def found(path: Path) -> list[Problem]:
    return list(check_archive(path))


def errors(path: Path) -> list[str]:
    return [str(problem) for problem in found(path) if problem.severity == "error"]


def cell(folder: Path, file: str, line: int, term: str, value: str) -> None:
    """Put a value into one cell of a table. Lines count from 1, the header."""
    rows = [text.split("\t") for text in (folder / file).read_text("utf-8").split("\n")]
    rows[line - 1][rows[0].index(term)] = value
    (folder / file).write_text("\n".join("\t".join(row) for row in rows), "utf-8")


def replaced(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text("utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), "utf-8")


def test_our_own_archive_is_good_as_folder_zip_tar_and_by_its_meta_xml(good: Path, tmp_path: Path) -> None:
    packed(good, tmp_path / "a.zip", "top")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(good, "top")
    for path in (good, good / "meta.xml", tmp_path / "a.zip", tmp_path / "a.tgz"):
        assert found(path) == []
        assert list(EXPORTER.check(path, ExportOptions())) == []
    assert EXPORTER.recognises(tmp_path / "a.zip")
    picture(tmp_path / "photo.jpg")
    assert not EXPORTER.recognises(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    ("file", "line", "term", "value", "said"),
    [
        ("occurrence.txt", 2, "id", "", "occurrence.txt: line 2: its id is empty"),
        ("occurrence.txt", 3, "id", "s1", "line 3: the id is already in occurrence.txt:2; it must be unique (given: s1)"),
        ("occurrence.txt", 2, "decimalLatitude", "50.1", "one of decimalLatitude and decimalLongitude is empty (given: 50.1)"),
        ("occurrence.txt", 2, "eventDate", "3 May 1905", "eventDate must be a date as 2024-05-31"),
        ("occurrence.txt", 2, "eventDate", "2024-02-30", "eventDate must be a date"),
        ("occurrence.txt", 2, "countryCode", "Belgium", "countryCode must be two capital letters"),
        ("identification.txt", 2, "coreid", "s9", "line 2: coreid points nowhere: occurrence.txt does not have this id (given: s9)"),
        ("identification.txt", 2, "identificationID", "", "identificationID is empty"),
        ("identification.txt", 2, "dateIdentified", "yesterday", "dateIdentified must be a date"),
        ("identification.txt", 2, "scientificName", "", "scientificName is empty"),
        ("identification.txt", 2, "scientificName", "V. fictus", "scientificName is abbreviated; it must be whole (given: V. fictus)"),
        ("identification.txt", 2, "scientificName", "Vulpes cf. fictus", "scientificName holds a qualifier"),
        ("identification.txt", 2, "scientificName", "Vulpes sp.", "scientificName holds a qualifier"),
        ("identification.txt", 2, "scientificName", "Vulpes", "taxonRank is species and scientificName has one word (given: Vulpes)"),
        ("identification.txt", 2, "scientificName", "Lynx fictus", "genus is not the one in scientificName 'Lynx fictus' (given: Vulpes)"),
        ("identification.txt", 2, "specificEpithet", "lynx", "specificEpithet is not the one in scientificName"),
        ("identification.txt", 2, "taxonRank", "genus", "taxonRank is genus and there is a specificEpithet (given: fictus)"),
        ("identification.txt", 2, "taxonRank", "spezies", "taxonRank is empty or not a rank (given: spezies)"),
        ("identification.txt", 2, "identificationReferences", "urn:uuid:" + "0" * 36, "identificationReferences points nowhere"),
        ("multimedia.txt", 4, "isROIOf", "m9", "line 4: isROIOf points nowhere: the multimedia table does not have this id (given: m9)"),
        ("multimedia.txt", 4, "isROIOf", "", "the fractions of a region of interest without isROIOf"),
        ("multimedia.txt", 4, "xFrac", "1.2", "xFrac must be a fraction from 0 to 1 (given: 1.2)"),
        ("multimedia.txt", 4, "xFrac", "nan", "xFrac must be a fraction from 0 to 1 (given: nan)"),
        ("multimedia.txt", 4, "widthFrac", "0", "widthFrac must be above 0"),
        ("multimedia.txt", 4, "widthFrac", "0.95", "the region of interest reaches beyond the image (given: 0.1 0.2 0.95 0.4)"),
        ("multimedia.txt", 4, "heightFrac", "", "heightFrac must be a fraction"),
        ("multimedia.txt", 3, "accessURI", "/etc/passwd", "multimedia.txt: line 3: accessURI leaves the archive; a path inside it"),
        ("multimedia.txt", 3, "accessURI", "a/../../b.jpg", "line 3: accessURI leaves the archive"),
        ("multimedia.txt", 3, "accessURI", "..\\b.jpg", "line 3: accessURI leaves the archive"),
        ("multimedia.txt", 3, "accessURI", "~/b.jpg", "line 3: accessURI leaves the archive"),
        ("multimedia.txt", 3, "accessURI", "C:\\b.jpg", "line 3: accessURI leaves the archive"),
        ("multimedia.txt", 3, "accessURI", "file:///b.jpg", "line 3: accessURI leaves the archive"),
        ("candidates.tsv", 2, "probability", "1.7", "candidates.tsv: line 2: probability must be a number from 0 to 1 (given: 1.7)"),
        ("candidates.tsv", 2, "probability", "0.01", "candidates.tsv: line 3: candidates must be in order, the most probable first"),
        ("candidates.tsv", 2, "identificationID", "x", "the archive does not have this identification (given: x)"),
        ("candidates.tsv", 1, "level", "depth", "candidates.tsv: line 1: the columns must be occurrenceID"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_found_with_its_line_and_value(
    good: Path, file: str, line: int, term: str, value: str, said: str
) -> None:
    cell(good, file, line, term, value)
    assert any(said in one for one in errors(good)), errors(good)


def test_the_same_identification_twice_and_the_same_image_of_a_specimen_twice_are_errors(good: Path) -> None:
    for file in ("identification.txt", "multimedia.txt"):
        text = (good / file).read_text()
        (good / file).write_text(text + text.split("\n")[1] + "\n")
    assert [one.split(" is already")[0] for one in errors(good)] == [
        "identification.txt: line 4: identificationID", "multimedia.txt: line 5: identifier",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("latitude", "longitude", "said"),
    [
        ("91", "4", "error: decimalLatitude must be a number from -90 to 90 (given: 91)"),
        ("50", "-180.5", "error: decimalLongitude must be a number from -180 to 180 (given: -180.5)"),
        ("50°30'", "4", "error: decimalLatitude must be a number"),
        ("0", "0.0", "warning: decimalLatitude and decimalLongitude are both 0"),
    ],
)
def test_places_that_cannot_be_are_found(good: Path, latitude: str, longitude: str, said: str) -> None:
    cell(good, "occurrence.txt", 2, "decimalLatitude", latitude)
    cell(good, "occurrence.txt", 2, "decimalLongitude", longitude)
    (problem,) = found(good)
    assert f"{problem.severity}: {problem}".replace("occurrence.txt: line 2: ", "").startswith(said)


@pytest.mark.parametrize(
    "date",
    ["1905", "1905-06", "1905-06-03", "1905-06-03T04:05:06Z", "1905-06-03/1905-07-01", "1905-06-03/09", "1905/1906"],
)
def test_dates_of_all_precisions_and_spans_are_good(good: Path, date: str) -> None:
    cell(good, "occurrence.txt", 2, "eventDate", date)
    assert found(good) == []


def test_columns_that_do_not_fit_meta_xml_are_found(good: Path) -> None:
    replaced(good, "identification.txt", "scientificName\ttaxonRank", "taxonRank\tscientificName")
    assert errors(good)[:2] == [
        "identification.txt: line 1: column 6 is 'scientificName' in meta.xml and has another heading in the file (given: taxonRank)",
        "identification.txt: line 1: column 7 is 'taxonRank' in meta.xml and has another heading in the file (given: scientificName)",
    ]


def test_rows_of_another_width_and_text_of_another_encoding_are_found(good: Path) -> None:
    replaced(good, "identification.txt", "\tspecies\t", "\tspec\ties\t")
    text = (good / "occurrence.txt").read_text()
    (good / "occurrence.txt").write_bytes(text.replace("MachineObservation", "Mach\xefne").encode("latin-1") + b"s7\n")
    said = errors(good)
    assert "occurrence.txt: line 3: it holds bytes that are not UTF-8; write the file anew in UTF-8" in said
    assert "occurrence.txt: line 4: it has 1 columns; meta.xml needs 19" in said
    assert "identification.txt: line 2: it has 20 columns and the header has 19: a cell holds a separator" in said


def test_missing_and_broken_files_are_found(good: Path, tmp_path: Path) -> None:
    (good / "identification.txt").unlink()
    (good / "eml.xml").write_text("<eml>")
    said = errors(good)
    assert "identification.txt: identification.txt, which meta.xml names, is not in the archive" in said
    assert any(one.startswith("eml.xml: eml.xml cannot be read as XML") for one in said)
    (good / "eml.xml").unlink()
    assert any(
        "the file that describes the data set is not in the archive (given: eml.xml)" in one for one in errors(good)
    )
    (good / "eml.xml").write_text('<!DOCTYPE e [<!ENTITY a "aaaa">]><e>&a;</e>')
    assert any("has a document type declaration" in one for one in errors(good))
    replaced(good, "meta.xml", "</core>", "")
    (only,) = found(good)
    assert "cannot be read as XML: mismatched tag: line" in only.message
    (good / "meta.xml").unlink()
    assert "it lacks meta.xml" in errors(good)[0]
    assert "is not a zip or tar archive" in errors(picture(tmp_path / "photo.jpg"))[0]


def test_an_archive_that_is_not_safe_is_one_problem(good: Path, tmp_path: Path) -> None:
    path = packed(good, tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("/etc/evil", b"x")
    (only,) = found(path)
    assert "has an absolute path" in only.message


def test_other_peoples_archives_are_checked_by_the_same_rules(tmp_path: Path) -> None:
    media = [{"coreid": "s1", "identifier": "m1", "accessURI": "a.jpg", "type": "Photo"},
             {"coreid": "s2", "identifier": "m1", "accessURI": "a.jpg"}]  # fmt: skip
    folder = archive(
        tmp_path / "dwca", media, [{"id": "s1", "basisOfRecord": "Stuffed", "countryCode": "BE"}], media_type=AUDUBON
    )
    assert [f"{problem.severity}: {problem}" for problem in found(folder)] == [
        "warning: occurrence.txt: line 2: basisOfRecord is not one of Event, FossilSpecimen, HumanObservation, LivingSpecimen, "
        "MachineObservation, MaterialCitation, MaterialEntity, MaterialSample, Observation, Occurrence, PreservedSpecimen, Taxon "
        "(given: Stuffed)",
        "warning: multimedia.txt: line 2: type is not a word of Dublin Core's types, such as StillImage (given: Photo)",
        "error: multimedia.txt: line 3: coreid points nowhere: occurrence.txt does not have this id (given: s2)",
    ]


def test_thousands_of_the_same_problem_are_counted(tmp_path: Path) -> None:
    specimens = [{"id": f"s{n}", "eventDate": "once"} for n in range(MOST + 5)]
    folder = archive(tmp_path / "dwca", [{"coreid": "s1", "identifier": "a.jpg"}], specimens)
    problems = found(folder)
    assert len(problems) == MOST + 1
    assert problems[-1].message == "5 more errors, of 1,005"


def test_a_large_archive_is_checked_in_flat_memory(tmp_path: Path) -> None:
    specimens = [{"id": f"s{n}", "locality": "x" * 200} for n in range(10_000)]
    folder = archive(
        tmp_path / "dwca", [{"coreid": f"s{n}", "identifier": f"{n}.jpg"} for n in range(10_000)], specimens
    )
    del specimens
    tracemalloc.start()
    assert found(folder) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20  # the table alone is 2 MB, and 8 MB as Python objects


@pytest.mark.parametrize(
    "name", ["https://example.org/../a.jpg", "a/../b.jpg", "..a.jpg", "urn:uuid:1", "H:100", "a/b.jpg"]
)
def test_other_names_of_images_are_good(tmp_path: Path, name: str) -> None:
    assert errors(archive(tmp_path / "a", [{"coreid": "s1", "identifier": name}], [{"id": "s1"}])) == []


def test_a_path_out_of_the_archive_among_the_associated_media_is_found(tmp_path: Path) -> None:
    specimens = [{"id": "s1", "associatedMedia": "a.jpg | https://example.org/b.jpg | ../../etc/passwd"}]
    (error,) = errors(archive(tmp_path / "a", [{"coreid": "s1", "identifier": "a.jpg"}], specimens))
    assert "associatedMedia leaves the archive" in error
    assert "(given: ../../etc/passwd)" in error
