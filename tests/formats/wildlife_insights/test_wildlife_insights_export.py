"""Wildlife Insights' batch upload as output: rows, the tables beside them, checks, and the way back through our reader."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.image_verdicts import Seen
from bioclip_plugin.formats.wildlife_insights.check import problems_of
from bioclip_plugin.formats.wildlife_insights.layout import COLUMNS, DEPLOYMENTS, IMAGES
from bioclip_plugin.formats.wildlife_insights.read import WildlifeInsightsSource
from bioclip_plugin.formats.wildlife_insights.write import WildlifeInsightsExporter
from bioclip_plugin.formats.wildlife_insights.write_identifications import identifications, named
from bioclip_plugin.items.media import MediaItem

Command = Callable[..., tuple[int, str, str]]
FOX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus", "Invented Fox")


def rows_of(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def survey(command: Command, colour_labels: str, tmp_path: Path) -> str:
    """A classified survey of two deployments, one image of which is missing."""
    for camera, colour in (("A", "red"), ("B", "green")):
        (tmp_path / "survey" / camera).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (60, 40), colour).save(tmp_path / "survey" / camera / f"{number}.jpg")
    lines = [
        "image,deployment,timestamp,latitude,longitude",
        "A/1.jpg,cam A,2024-06-01 22:00:00,50.5,4.25",
        "A/2.jpg,cam A,2024-06-03 22:00:00,50.5,4.25",
        "B/1.jpg,cam B,2024-06-02 10:00:00,,",
        "B/2.jpg,cam B,,,",
        "B/gone.jpg,cam B,2024-06-02 10:00:00,,",
    ]
    (tmp_path / "survey" / "table.csv").write_text("\n".join(lines))
    code, _, said = command(
        "classify", "survey/table.csv", "--model", "fake", "--labels", colour_labels, "--store", "r.db"
    )
    assert code == 3, said
    return colour_labels


def exported(command: Command, output: str, *options: str) -> str:
    code, out, said = command(
        "export", "--store", "r.db", "--format", "wildlife-insights", "--output", output, *options
    )
    assert code == 0, said
    return out + said


def test_images_deployments_cameras_and_the_project_are_written_and_nothing_is_invented(
    command: Command, survey: str
) -> None:
    said = exported(command, "survey/wi", "--title", "Park survey", "--licence", "CC-BY-4.0", "--base-folder", "survey")
    assert "images without an answer (failed, or not processed yet) are not written: 1" in said
    assert "deployments do not have coordinates; give them with --deployments: 1 (the first: cam B)" in said
    images = rows_of("survey/wi/images.csv")
    assert tuple(images[0]) == COLUMNS[IMAGES]
    assert [(one["location"], one["deployment_id"], one["genus"], one["timestamp"]) for one in images] == [
        ("A/1.jpg", "cam A", "Red", "2024-06-01 22:00:00"), ("A/2.jpg", "cam A", "Red", "2024-06-03 22:00:00"),
        ("B/1.jpg", "cam B", "Green", "2024-06-02 10:00:00"), ("B/2.jpg", "cam B", "Green", ""),
    ]  # fmt: skip
    assert {(one["project_id"], one["identified_by"], one["number_of_objects"]) for one in images} == {
        ("Park_survey", "Computer vision", "1")
    }
    assert len({one["image_id"] for one in images}) == 4
    first, second = rows_of("survey/wi/deployments.csv")
    assert tuple(first) == COLUMNS[DEPLOYMENTS]
    assert (first["latitude"], first["longitude"]) == ("50.5", "4.25")
    assert (first["start_date"], first["end_date"]) == ("2024-06-01 22:00:00", "2024-06-03 22:00:00")
    assert (first["feature_type"], first["sensor_height"], second["latitude"]) == ("", "", "")
    (project,) = rows_of("survey/wi/projects.csv")
    assert (project["project_name"], project["image_license"], project["country_code"]) == ("Park survey", "CC-BY", "")
    assert [one["camera_id"] for one in rows_of("survey/wi/cameras.csv")] == ["Unknown"]


def test_the_export_is_valid_and_comes_back_as_it_was(command: Command, survey: str) -> None:
    exported(command, "survey/wi", "--base-folder", "survey")
    assert WildlifeInsightsExporter().recognises(Path("survey/wi"))
    code, out, _ = command("validate", "survey/wi")
    assert code == 0, out
    assert "cells that the upload needs are empty" in out
    options = ListingOptions(base_folder=Path("survey"))
    found = [one for one in WildlifeInsightsSource().items("survey/wi", options) if isinstance(one, MediaItem)]
    assert [(one.uri, one.deployment, one.place.latitude) for one in found] == [
        ("survey/A/1.jpg", "cam A", 50.5), ("survey/A/2.jpg", "cam A", 50.5), ("survey/B/1.jpg", "cam B", None),
        ("survey/B/2.jpg", "cam B", None),
    ]  # fmt: skip
    assert [one.captured_at and one.captured_at.isoformat() for one in found] == [
        "2024-06-01T22:00:00", "2024-06-03T22:00:00", "2024-06-02T10:00:00", None,
    ]  # fmt: skip
    # The computer's identifications are no reviews.
    assert list(WildlifeInsightsSource().reviews("survey/wi", options)) == []


def test_a_table_of_deployments_gives_place_dates_and_whatever_the_upload_needs(
    command: Command, survey: str, tmp_path: Path
) -> None:
    (tmp_path / "dep.csv").write_text(
        "deploymentID,latitude,longitude,deploymentStart,deploymentEnd,cameraID,locationName,feature_type,sensor_height\n"
        "cam A,50.12345,4.2,2024-05-01T00:00:00,2024-07-01T00:00:00,C7,old oak,Trail game,Knee height\n"
        "cam B,51,4,2024-05-01T00:00:00,2024-07-01T00:00:00,,,,\n"
    )
    exported(command, "wi", "--deployments", "dep.csv", "--coordinate-precision", "2")
    first, second = rows_of("wi/deployments.csv")
    assert (first["placename"], first["latitude"], first["start_date"], first["camera_id"]) == (
        "old oak", "50.12", "2024-05-01 00:00:00", "C7",
    )  # fmt: skip
    assert (first["feature_type"], first["sensor_height"]) == ("Trail game", "Knee height")
    assert (second["placename"], second["longitude"]) == ("cam B", "4.0")
    assert [one["camera_id"] for one in rows_of("wi/cameras.csv")] == ["C7", "Unknown"]


def test_images_without_a_stated_deployment_have_that_of_their_folder(command: Command, survey: str) -> None:
    code, _, said = command(
        "classify", "survey/A", "survey/B", "--model", "fake", "--labels", survey, "--store", "other.db"
    )
    assert code == 0, said
    code, _, said = command("export", "--store", "other.db", "--format", "wildlife-insights", "--output", "wi")
    assert code == 0, said
    assert {one["deployment_id"] for one in rows_of("wi/images.csv")} == {"A", "B"}


def test_the_same_store_gives_the_same_bytes_and_reviews_replace_the_computers_identification(
    command: Command, survey: str, tmp_path: Path
) -> None:
    exported(command, "survey/one", "--base-folder", "survey")
    exported(command, "survey/two", "--base-folder", "survey")
    for name in COLUMNS:
        assert Path("survey/one", name).read_bytes() == Path("survey/two", name).read_bytes()
    (tmp_path / "reviews.csv").write_text(
        "image,review_verdict,scientificName,reviewer,count,sex,lifeStage,comment\n"
        "survey/A/1.jpg,taxon,Blue pictus,Ann,3,male,subadult,two lines\n"
        "survey/A/2.jpg,blank,,Ann,,,,\n"
        "survey/B/1.jpg,person,,Ann,,,,\n"
        "survey/B/2.jpg,unidentifiable,,Ann,,,,\n"
    )
    assert command("review", "import", "reviews.csv", "--store", "r.db")[0] == 0
    exported(command, "survey/three", "--base-folder", "survey")
    images = rows_of("survey/three/images.csv")
    assert [(one["identified_by"], one["genus"], one["common_name"], one["number_of_objects"]) for one in images] == [
        ("Ann", "Blue", "azure invention", "3"), ("Ann", "", "Blank", ""), ("Ann", "Homo", "Human", "1"),
        ("Ann", "", "Unknown", ""),
    ]  # fmt: skip
    assert (images[0]["sex"], images[0]["age"], images[0]["individual_animal_notes"]) == (
        "Male",
        "Juvenile",
        "two lines",
    )
    options = ListingOptions(base_folder=Path("survey"))
    back = list(WildlifeInsightsSource().reviews("survey/three", options))
    assert [(one.verdict, one.reviewer, one.taxon.scientific_name if one.taxon else "") for one in back] == [
        ("taxon", "Ann", "Blue pictus"), ("blank", "Ann", ""), ("person", "Ann", ""), ("unidentifiable", "Ann", ""),
    ]  # fmt: skip


def seen(taxon: Taxon | None, verdict: str = "") -> Seen:
    return Seen(verdict, Candidate(taxon, "species", 0.9) if taxon else None, None)


def test_the_words_are_those_of_wildlife_insights() -> None:
    assert named("blank", None).common_name == "Blank"
    assert named("person", None).lineage == ("Mammalia", "Primates", "Hominidae", "Homo", "sapiens")
    assert named("vehicle", None).common_name == "Vehicle"
    assert named("unknown", None).common_name == "No CV Result"
    assert named("taxon", Taxon("Plantae", genus="Acer", species="rubrum")).common_name == "No CV Result"
    family = named("taxon", Taxon("Animalia", "", "Mammalia", "Carnivora", "Canidae", "", "fictus"))
    assert (family.lineage, family.common_name) == (("Mammalia", "Carnivora", "Canidae", "", ""), "Canidae")
    own = named("", Taxon(*FOX.lineage, source_id="5a565886-156e-4b19-a017-6a5bbae4df0f"))
    assert own.wi_taxon_id == "5a565886-156e-4b19-a017-6a5bbae4df0f"


def test_equal_regions_are_one_row_with_their_number_and_blanks_are_left_out_beside_animals() -> None:
    rows = list(identifications([seen(FOX), seen(FOX), seen(None, "person"), seen(None, "blank")], []))
    assert [(one["common_name"], one["number_of_objects"]) for one in rows] == [("Invented Fox", "2"), ("Human", "1")]
    assert [one["common_name"] for one in identifications([seen(None, "blank")], [])] == ["Blank"]


# -- checks ------------------------------------------------------------------------------------------------------------


def folder(tmp_path: Path, **changes: str) -> Path:
    """Write valid tables, with some cells of the image's or the deployment's row changed."""
    image = dict.fromkeys(COLUMNS[IMAGES], "") | {
        "project_id": "p", "deployment_id": "D1", "image_id": "i1", "location": "a.jpg", "identified_by": "Ann",
        "genus": "Vulpes", "species": "fictus", "common_name": "Fox", "timestamp": "2024-06-01 22:00:00",
        "number_of_objects": "1",
    }  # fmt: skip
    deployment = dict.fromkeys(COLUMNS[DEPLOYMENTS], "") | {
        "project_id": "p", "deployment_id": "D1", "placename": "here", "camera_id": "c", "latitude": "1", "longitude": "2",
        "start_date": "2024-06-01 00:00:00", "end_date": "2024-06-02 00:00:00",
    }  # fmt: skip
    for name, value in changes.items():
        (image if name in image and not name.startswith("d_") else deployment)[name.removeprefix("d_")] = value
    tables: dict[str, list[dict[str, Any]]] = {
        "images.csv": [image],
        "deployments.csv": [deployment],
        "cameras.csv": [{"project_id": "p", "camera_id": "c"}],
        "projects.csv": [{"project_id": "p", "project_name": "P"}],
    }
    for name, rows in tables.items():
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS[name], restval="")
            writer.writeheader()
            writer.writerows(rows)
    return tmp_path


def errors(path: Path) -> list[tuple[str, str, str]]:
    return [(one.file, one.record, one.message) for one in problems_of(path) if one.severity == "error"]


def test_valid_tables_have_warnings_only(tmp_path: Path) -> None:
    found = list(WildlifeInsightsExporter().check(folder(tmp_path), ExportOptions()))
    assert {one.severity for one in found} == {"warning"}
    assert all("fill them in" in one.message for one in found)


@pytest.mark.parametrize(
    ("changes", "file", "message"),
    [
        ({"timestamp": "01/06/2024 22:00"}, "images.csv", "timestamp must be written as 2024-05-31 12:00:00"),
        ({"number_of_objects": "0"}, "images.csv", "number_of_objects must be a whole number from 1 to 175, or empty"),
        ({"sex": "male"}, "images.csv", "sex must be one of Male, Female, Unknown"),
        ({"age": "old"}, "images.csv", "age must be one of Adult, Juvenile, Unknown"),
        ({"uncertainty": "0.9"}, "images.csv", "uncertainty must be one of Absolutely sure, Pretty sure"),
        ({"deployment_id": "D2"}, "images.csv", "deployment_id is not in deployments.csv"),
        ({"project_id": "q"}, "images.csv", "project_id is not in projects.csv"),
        ({"location": ""}, "images.csv", "location is empty"),
        ({"common_name": "Blank"}, "images.csv", "Blank must not have a taxon"),
        ({"genus": "V."}, "images.csv", "genus must not be abbreviated"),
        ({"genus": ""}, "images.csv", "species is the epithet and needs a genus"),
        ({"genus": "", "species": "", "common_name": ""}, "images.csv", "it names neither a taxon nor Blank"),
        ({"d_latitude": "91"}, "deployments.csv", "latitude must be degrees from -90 to 90"),
        ({"d_longitude": "4,25"}, "deployments.csv", "longitude must be degrees from -180 to 180"),
        ({"d_start_date": "2024-06-01"}, "deployments.csv", "start_date must be written as"),
        ({"d_end_date": "2023-06-01 00:00:00"}, "deployments.csv", "end_date is before start_date"),
        ({"d_camera_id": "x"}, "deployments.csv", "camera_id is not in cameras.csv"),
    ],
)
def test_a_broken_rule_is_an_error_with_its_row(tmp_path: Path, changes: Any, file: str, message: str) -> None:
    assert [(name, row, text.startswith(message)) for name, row, text in errors(folder(tmp_path, **changes))] == [
        (file, "row 1", True)
    ]


def test_duplicates_are_errors_and_several_species_of_an_image_are_not(tmp_path: Path) -> None:
    path = folder(tmp_path) / "images.csv"
    (row,) = rows_of(path)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[IMAGES])
        writer.writerow({**row, "genus": "Lepus", "common_name": "Hare"})
        writer.writerow(row)
        writer.writerow({**row, "location": "b.jpg"})
        writer.writerow({**row, "image_id": "i2"})
    assert [(record, message.split(":")[0]) for _, record, message in errors(tmp_path)] == [
        ("row 3", "duplicate row"),
        ("row 4", "duplicate image_id, with another deployment or location"), ("row 4", "duplicate row"),
        ("row 5", "duplicate location, with another image_id"),
    ]  # fmt: skip


def test_a_table_of_images_alone_is_checked_with_the_tables_beside_it(tmp_path: Path) -> None:
    path = folder(tmp_path, deployment_id="D2") / "images.csv"
    assert WildlifeInsightsExporter().recognises(path)
    assert errors(path) == [("images.csv", "row 1", "deployment_id is not in deployments.csv")]
    assert not WildlifeInsightsExporter().recognises(tmp_path / "deployments.csv")


def test_missing_tables_and_columns_are_found(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "projects.csv").unlink()
    (tmp_path / "images.csv").write_text("project_id,deployment_id,image_id,location\np,D1,i1,a.jpg\n")
    found = {(one.file, one.message): one.value for one in problems_of(tmp_path)}
    assert ("projects.csv", "the table is missing, which a batch upload needs") in found
    assert found["images.csv", "columns are missing"] == "identified_by"
