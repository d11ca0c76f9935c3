"""Checks of Camtrap DP packages: each fault that is put into a good package is found, without false alarms."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from camtrap_samples import BOX, DEPLOYMENT, MEDIA, OBSERVATION, descriptor, package, photo, write_table

from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems

EVENT = OBSERVATION | {"observationID": "o9", "observationLevel": "event", "mediaID": "", "count": "2"}


def found(folder: Path) -> list[Problem]:
    return list(camtrap_dp_problems(folder))


def test_a_good_package_has_no_problem(tmp_path: Path) -> None:
    rows = [OBSERVATION, OBSERVATION | BOX | {"observationID": "o2"}, EVENT]
    assert found(package(tmp_path / "p", observations=rows)) == []


# Each fault: table, changed cells, the reported column, words of the message.
TRAPS: dict[str, tuple[str, dict[str, str], str, str]] = {
    "a drive letter": ("media", {"filePath": "C:\\photos\\a.jpg"}, "filePath", "drive of one computer"),
    "a drive letter with a slash": ("media", {"filePath": "C:/photos/a.jpg"}, "filePath", "drive of one computer"),
    "backslashes": ("media", {"filePath": "photos\\a.jpg"}, "filePath", "forward slashes"),
    "an absolute path": ("media", {"filePath": "/photos/a.jpg"}, "filePath", "relative path"),
    "a hidden file": ("media", {"filePath": ".photos/a.jpg"}, "filePath", "relative path"),
    "a home folder": ("media", {"filePath": "~/a.jpg"}, "filePath", "relative path"),
    "a parent folder": ("media", {"filePath": "media/../../a.jpg"}, "filePath", "'..' is not allowed"),
    "a file address": ("media", {"filePath": "file:///etc/passwd"}, "filePath", "http"),
    "a control character": ("media", {"filePath": "a\x1bb.jpg"}, "filePath", "control character"),
    "no path": ("media", {"filePath": ""}, "filePath", "required"),
    "no media type": ("media", {"fileMediatype": "jpeg"}, "fileMediatype", "media type"),
    "a word for true": ("media", {"filePublic": "yes"}, "filePublic", "true or false"),
    "an unknown capture method": ("media", {"captureMethod": "motion"}, "captureMethod", "activityDetection, timeLapse"),
    "a missing offset": ("media", {"timestamp": "2020-06-01T10:00:00"}, "timestamp", "offset from UTC is missing"),
    "fractions of a second": ("media", {"timestamp": "2020-06-01T10:00:00.5Z"}, "timestamp", "fractions of a second"),
    "a day alone": ("media", {"timestamp": "2020-06-01"}, "timestamp", "date and time"),
    "a day that is none": ("media", {"timestamp": "2020-02-30T10:00:00Z"}, "timestamp", "does not exist"),
    "a space between date and time": ("media", {"timestamp": "2020-06-01 10:00:00Z"}, "timestamp", "date and time"),
    "media of no deployment": ("media", {"deploymentID": "dX"}, "deploymentID", "no deployment has this"),
    "a latitude beyond the pole": ("deployments", {"latitude": "91"}, "latitude", "90 or less"),
    "a decimal comma": ("deployments", {"longitude": "4,774"}, "longitude", "must be a number"),
    "no latitude": ("deployments", {"latitude": ""}, "latitude", "required"),
    "an uncertainty of nothing": ("deployments", {"coordinateUncertainty": "0"}, "coordinateUncertainty", "1 or more"),
    "half a metre of uncertainty": ("deployments", {"coordinateUncertainty": "0.5"}, "coordinateUncertainty", "whole number"),
    "an end before the start": ("deployments", {"deploymentEnd": "2020-05-01T00:00:00Z"}, "deploymentEnd", "before the start"),
    "an unknown feature": ("deployments", {"featureType": "tree"}, "featureType", "must be one of roadPaved"),
    "a box that leaves at the right": ("observations", BOX | {"bboxX": "0.8"}, "bboxWidth", "above 1"),
    "a box that leaves below": ("observations", BOX | {"bboxY": "0.8"}, "bboxHeight", "above 1"),
    "a box of no width": ("observations", BOX | {"bboxWidth": "0"}, "bboxWidth", "more than 0"),
    "a box with NaN": ("observations", BOX | {"bboxX": "NaN"}, "bboxX", "finite number"),
    "a part of a box": ("observations", BOX | {"bboxWidth": ""}, "bboxX", "or none"),
    "an infinite box": ("observations", BOX | {"bboxX": "inf"}, "bboxX", "finite number"),
    "a probability above 1": ("observations", {"classificationProbability": "1.7"}, "classificationProbability", "1 or less"),
    "a probability that is NaN": ("observations", {"classificationProbability": "nan"}, "classificationProbability", "finite number"),
    "a count of none": ("observations", {"count": "0"}, "count", "1 or more"),
    "a count with decimals": ("observations", {"count": "1.0"}, "count", "whole number"),
    "an abbreviated name": ("observations", {"scientificName": "V. fictus"}, "scientificName", "abbreviated"),
    "a name with a qualifier": ("observations", {"scientificName": "Vulpes sp."}, "scientificName", "qualifier"),
    "a name that is not in taxonomic": ("observations", {"scientificName": "Vulpes alius"}, "scientificName", "taxonomic"),
    "a plant as an animal": ("observations", {"scientificName": "Quercus ficta"}, "observationType", "not an animal"),
    "a machine without a name": (
        "observations", {"classificationMethod": "machine", "classifiedBy": ""}, "classifiedBy", "needs the name",
    ),
    "a machine with a blank name": (
        "observations", {"classificationMethod": "machine", "classifiedBy": " "}, "classifiedBy", "needs the name",
    ),
    "an unknown method": ("observations", {"classificationMethod": "AI"}, "classificationMethod", "human, machine"),
    "an unknown type": ("observations", {"observationType": "plant"}, "observationType", "must be one of animal"),
    "an unknown sex": ("observations", {"sex": "unknown"}, "sex", "female, male"),
    "media that are not there": ("observations", {"mediaID": "mX"}, "mediaID", "no media file has this"),
    "no media": ("observations", {"mediaID": ""}, "mediaID", "needs its mediaID"),
    "an event that ends before it begins": (
        "observations", {"eventEnd": "2020-06-01T07:00:00Z"}, "eventEnd", "before the start",
    ),
    "an observation without offset": ("observations", {"eventStart": "2020-06-01T08:00:00"}, "eventStart", "offset"),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_in_a_cell_is_found_with_its_file_line_column_and_value(tmp_path: Path, trap: str) -> None:
    table, cells, column, words = TRAPS[trap]
    rows: dict[str, Any] = {"deployments": [DEPLOYMENT], "media": [MEDIA], "observations": [OBSERVATION]}
    if table == "observations" and "deploymentID" not in cells:
        rows[table] = [OBSERVATION | {"observationID": "o0"}, OBSERVATION | cells]
    else:
        rows[table] = [rows[table][0] | cells]
    problems = [one for one in found(package(tmp_path / "p", **rows)) if one.severity == "error"]
    (hit,) = [one for one in problems if words in one.message]
    assert hit.file == f"{table}.csv"
    line = 3 if table == "observations" else 2
    assert hit.record.startswith(f"line {line} (")
    assert hit.record.endswith(column)
    assert all(cell in hit.value for cell in [cells.get(column, "")] if cell.strip())
    assert len(problems) == 1, [str(one) for one in problems]


def test_duplicate_identifiers_are_found_in_each_table(tmp_path: Path) -> None:
    folder = package(tmp_path / "p", deployments=[DEPLOYMENT] * 2, media=[MEDIA] * 2, observations=[OBSERVATION] * 2)
    errors = [str(one) for one in found(folder) if one.severity == "error"]
    assert errors == [
        "deployments.csv: line 3 (d1) deploymentID: another deployment has this identifier (given: d1)",
        "media.csv: line 3 (m1) mediaID: another media file has this identifier (given: m1)",
        "observations.csv: line 3 (o1) observationID: another observation has this identifier (given: o1)",
    ]


def test_an_observation_in_another_deployment_than_its_image_is_found(tmp_path: Path) -> None:
    folder = package(
        tmp_path / "p",
        deployments=[DEPLOYMENT, DEPLOYMENT | {"deploymentID": "d2"}],
        observations=[OBSERVATION | {"deploymentID": "d2"}],
    )
    (problem,) = found(folder)
    assert (problem.message, problem.value) == ("its media file belongs to another deployment", "d2, d1")


def test_a_box_of_an_event_is_found(tmp_path: Path) -> None:
    (problem,) = found(package(tmp_path / "p", observations=[EVENT | BOX]))
    assert problem.message == "an observation of an event must not have a box"


DOUBTFUL: dict[str, tuple[str, dict[str, str]]] = {
    "the time is outside that of the deployment": ("media", {"timestamp": "2021-06-01T10:00:00Z"}),
    "contains invisible characters": ("media", {"filePath": "a\u202egpj.exe"}),
    "must be a JSON object": ("media", {"exifData": '{"ISO": 640'}),
    "height and depth exclude each other": ("deployments", {"cameraDepth": "2"}),
    "lacks a type for organisms that are not animals": (
        "observations",
        {"observationType": "unclassified", "scientificName": "Quercus ficta"},
    ),
    "an observation of type blank must not have a name": ("observations", {"observationType": "blank", "count": ""}),
    "a classification by a human needs the name": ("observations", {"classifiedBy": ""}),
}


@pytest.mark.parametrize("words", DOUBTFUL)
def test_a_doubtful_cell_is_a_warning_and_not_an_error(tmp_path: Path, words: str) -> None:
    table, cells = DOUBTFUL[words]
    rows = {"deployments": DEPLOYMENT, "media": MEDIA, "observations": OBSERVATION}
    tables: Any = {name: [row | cells if name == table else row] for name, row in rows.items()}
    (problem,) = found(package(tmp_path / "p", **tables))
    assert words in problem.message
    assert problem.severity == "warning"


def test_an_invisible_character_is_written_out_and_other_letters_are_good(tmp_path: Path) -> None:
    paths = ("a\u202egpj.jpg", "ä\u00a0\u3000猫\U0001f98a.jpg")
    media = [MEDIA | {"mediaID": f"m{n}", "filePath": path} for n, path in enumerate(paths, start=1)]
    (problem,) = found(package(tmp_path / "p", media=media))
    assert (problem.value, problem.severity) == ("a<U+202E>gpj.jpg", "warning")


def test_answers_that_an_export_skipped_are_one_warning(tmp_path: Path) -> None:
    left_out = {"name": "left-out", "path": "left_out.csv", "profile": "tabular-data-resource"}
    folder = package(tmp_path / "p", about=descriptor(resources=[*descriptor()["resources"], left_out]))
    rows = [("c.jpg", "decode", "no image"), ("a\x1b.jpg", "export", "it holds it"), ("b.jpg", "export", "no time")]
    cells = [dict(zip(("uri", "stage", "reason"), row, strict=True)) for row in rows]
    write_table(folder / "left_out.csv", ("uri", "stage", "reason"), cells)
    (problem,) = found(folder)
    assert problem.file == "left_out.csv"
    assert problem.severity == "warning"
    assert problem.message == "2 answered images are not in the package; the first one: it holds it"


def test_a_package_of_an_older_version_with_the_same_tables_is_checked_with_a_warning(tmp_path: Path) -> None:
    about = json.loads(json.dumps(descriptor()).replace("camtrap-dp/1.0.2/", "camtrap-dp/1.0/"))
    (problem,) = found(package(tmp_path / "p", about=about))
    assert (problem.record, problem.severity) == ("profile", "warning")


HEADERS = {
    "these columns are missing": lambda header: header[:-1],
    "the table does not have these columns": lambda header: [*header, "colour"],
    "these columns are duplicated": lambda header: [*header, header[0]],
    "not in the order": lambda header: [header[1], header[0], *header[2:]],
}


@pytest.mark.parametrize("words", HEADERS)
def test_a_header_that_is_not_the_schemas_is_found(tmp_path: Path, words: str) -> None:
    folder = package(tmp_path / "p", media=[], observations=[])
    lines = (folder / "media.csv").read_text().splitlines()
    (folder / "media.csv").write_text(",".join(HEADERS[words](lines[0].split(","))) + "\n")
    (problem,) = found(folder)
    assert words in problem.message
    assert (problem.file, problem.record) == ("media.csv", "line 1")


def test_rows_of_another_length_and_other_bytes_are_found(tmp_path: Path) -> None:
    folder = package(tmp_path / "p", observations=[])
    with (folder / "media.csv").open("ab") as file:
        file.write(b"m2,d1\r\n\r\nm3,d1,,2020-06-01T10:00:00Z,caf\xe9.jpg,true,,image/jpeg,,,\r\n")
    assert [(one.record, one.message) for one in found(folder)] == [
        ("line 3", "the line has 2 cells where the header has 11"),
        ("line 4", "the line is empty"),
        ("line 5 (m3) filePath", "the cell is not in UTF-8"),
    ]


def _project(**changes: Any) -> dict[str, Any]:
    return descriptor()["project"] | changes


DESCRIPTORS: dict[str, dict[str, Any]] = {
    "created: is missing": {"created": None},
    "created: must be a date and time with its offset": {"created": "2023-02-06T11:23:03"},
    "contributors: must be a list with at least one": {"contributors": []},
    "contributors[0]: must be a contributor with a title": {"contributors": [{"name": "Ada"}]},
    "contributors[0].role: must be one of contact": {"contributors": [{"title": "Ada", "role": "author"}]},
    "contributors[0].email": {"contributors": [{"title": "Ada", "email": "nowhere"}]},
    "project: is missing": {"project": None},
    "project.samplingDesign: must be one of simpleRandom": {"project": _project(samplingDesign="random")},
    "project.captureMethod: must be a list of activityDetection": {"project": _project(captureMethod=[])},
    "project.individualAnimals: must be true or false": {"project": _project(individualAnimals="no")},
    "project.observationLevel: must be a list of media": {"project": _project(observationLevel=["image"])},
    "spatial.type: must be one of Point": {"spatial": {"type": "Box"}},
    "spatial.coordinates: longitude must be -180 to 180": {"spatial": {"type": "Point", "coordinates": [51, 181]}},
    "spatial.coordinates: a ring must have": {
        "spatial": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1]]]}
    },
    "spatial.features: must be a list": {"spatial": {"type": "FeatureCollection", "features": 5}},
    "spatial.coordinates: must have longitude and latitude": {"spatial": {"type": "Point", "coordinates": [1, "x"]}},
    "spatial.type: ": {"spatial": {"type": ["Point"]}},
    "temporal.start: must be a day such as": {"temporal": {"start": "May", "end": "2020-07-01"}},
    "temporal: the start is after": {"temporal": {"start": "2020-08-01", "end": "2020-07-01"}},
    "taxonomic[3].scientificName: the name is duplicated": {
        "taxonomic": [*descriptor()["taxonomic"], {"scientificName": "Aves"}]
    },
    "taxonomic[3].taxonRank: must be one of kingdom": {
        "taxonomic": [*descriptor()["taxonomic"], {"scientificName": "Mammalia", "taxonRank": "klass"}]
    },
    "taxonomic[3].vernacularNames": {
        "taxonomic": [*descriptor()["taxonomic"], {"scientificName": "Mammalia", "vernacularNames": {"en": "mammals"}}]
    },
    "taxonomic[3].scientificName: the name is abbreviated": {
        "taxonomic": [*descriptor()["taxonomic"], {"scientificName": "V. vulpes"}]
    },
    "licenses: must have two licences": {"licenses": [{"name": "CC0-1.0", "scope": "data"}]},
    "licenses: must have one licence for the data": {"licenses": [{"name": "CC0-1.0", "scope": "data"}] * 2},
    "licenses[0].name: must be the identifier": {
        "licenses": [{"name": "Creative Commons!", "scope": "data"}, {"name": "CC0-1.0", "scope": "media"}]
    },
    "profile: version 0.6 is unknown": {"profile": "https://x.org/camtrap-dp/0.6/camtrap-dp-profile.json"},
    "name: must be a name of lower case": {"name": "My Package"},
    "coordinatePrecision: must be a number": {"coordinatePrecision": "0.01"},
    "relatedIdentifiers[0]: must have relationType": {"relatedIdentifiers": [{"relatedIdentifier": "x"}]},
    "relatedIdentifiers[0].relationType: must be a word of DataCite": {
        "relatedIdentifiers": [{"relationType": "is", "relatedIdentifier": "x", "relatedIdentifierType": "DOI"}]
    },
    "relatedIdentifiers[0].resourceTypeGeneral: must be a word of DataCite": {
        "relatedIdentifiers": [
            {
                "relationType": "Cites",
                "relatedIdentifier": "x",
                "relatedIdentifierType": "DOI",
                "resourceTypeGeneral": ["Text"],
            }
        ]
    },
    "sources[0]: must be a source with a title": {"sources": ["Agouti"]},
    "references: must be a list of texts": {"references": "Ada 2020"},
    "homepage: must be a web address": {"homepage": "here"},
}


@pytest.mark.parametrize("words", DESCRIPTORS)
def test_each_trap_in_the_descriptor_is_found(tmp_path: Path, words: str) -> None:
    folder = package(tmp_path / "p", about=descriptor(**DESCRIPTORS[words]))
    problems = found(folder)
    hit = [one for one in problems if f"{one.record}: {one.message}".startswith(words)]
    assert len(hit) == 1, [str(one) for one in problems]
    assert (hit[0].file, hit[0].severity) == ("datapackage.json", "error")
    assert len(problems) == 1, [str(one) for one in problems]


RESOURCES: dict[str, dict[str, Any]] = {
    "resources[1].profile: must be tabular-data-resource": {"profile": "data-resource"},
    "resources[1].schema: must be the address of the schema of media": {"schema": "media-table-schema.json"},
    "resources[1].schema: the schema is of version 1.0, but the profile of 1.0.2": {
        "schema": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/media-table-schema.json"
    },
    "resources[1].path: must be a path inside the package": {"path": "../media.csv"},
    "resources media: ": {"path": "elsewhere.csv"},
}


@pytest.mark.parametrize("words", RESOURCES)
def test_each_trap_in_a_resource_is_found(tmp_path: Path, words: str) -> None:
    about = descriptor()
    about["resources"][1] |= RESOURCES[words]
    problems = [f"{one.record}: {one.message}" for one in found(package(tmp_path / "p", observations=[], about=about))]
    assert any(one.startswith(words) for one in problems), problems


@pytest.mark.parametrize("name", [["x"], {"x": 1}, 7])
def test_a_resource_whose_name_is_not_a_text_is_found(tmp_path: Path, name: Any) -> None:
    about = descriptor()
    about["resources"].append({"name": name, "path": "more.csv"})
    folder = package(tmp_path / "p", about=about)
    (folder / "more.csv").write_text("a,b\n1,2\n")
    (problem,) = found(folder)
    assert problem.record == "resources[3].name"
    assert problem.message.startswith("must be a name of lower case letters")


def test_a_table_that_is_not_listed_is_found(tmp_path: Path) -> None:
    about = descriptor()
    about["resources"] = about["resources"][:2]
    messages = [one.message for one in found(package(tmp_path / "p", about=about))]
    assert "must have the table observations once, but has it 0 times" in messages


def test_broken_json_is_reported_with_its_place(tmp_path: Path) -> None:
    (problem,) = found(package(tmp_path / "p", about='{\n "resources": [1,, 2]\n}'))
    assert "line 2, column 18" in problem.message


def test_rows_of_other_tables_must_point_to_an_observation(tmp_path: Path) -> None:
    about = descriptor()
    about["resources"].append({"name": "candidates", "path": "candidates.csv"})
    folder = package(tmp_path / "p", about=about)
    (folder / "candidates.csv").write_text("observationID,position\no1,1\noX,1\n")
    (problem,) = found(folder)
    assert (problem.record, problem.message) == ("line 3 (oX) observationID", "no observation has this observationID")


def test_missing_media_files_are_one_warning_if_others_are_beside_the_package(tmp_path: Path) -> None:
    media = [
        MEDIA,
        MEDIA | {"mediaID": "m2", "filePath": "media/b.jpg"},
        MEDIA | {"mediaID": "m3", "filePath": "media/c.jpg"},
    ]
    folder = package(tmp_path / "p", media=media)
    assert found(folder) == []  # a package without its media is still a package
    photo(folder / "media/a.jpg")
    (problem,) = found(folder)
    assert problem.message.startswith("2 of 3 media files are not in")
    assert (problem.value, problem.severity) == ("media/b.jpg", "warning")


def test_a_problem_of_many_rows_is_counted_after_the_first_hundred(tmp_path: Path) -> None:
    rows = [OBSERVATION | {"observationID": f"o{n}", "count": "0"} for n in range(123)]
    problems = found(package(tmp_path / "p", observations=rows))
    assert len(problems) == 101
    assert problems[-1].message.startswith("and 23 more of this")


def test_a_zip_file_is_checked_like_its_folder(tmp_path: Path) -> None:
    folder = package(tmp_path / "p", observations=[OBSERVATION | {"count": "0"}])
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    assert [str(one) for one in found(tmp_path / "p.zip")] == [str(one) for one in found(folder)]
    assert len(found(folder)) == 1
