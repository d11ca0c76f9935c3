"""Runs exported as Camtrap DP packages: their rows, their descriptor, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from camtrap_samples import (
    BOX,
    DEPLOYMENT,
    FOX,
    HARE,
    MEDIA,
    OAK,
    OBSERVATION,
    PERSON,
    best,
    descriptor,
    exported,
    package,
    photo,
    read_table,
    store_run,
    taken,
    write_table,
)

from bioclip_core.classify import Candidate
from bioclip_core.errors import UsageError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Selection
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.read import CamtrapDpSource
from bioclip_plugin.formats.camtrap_dp.schema import TABLES
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import ReviewTarget, StatedReview, StoredDecision

COLUMNS = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
D1 = dict(zip(COLUMNS, ("d1", "50.12345", "4.98765", "2020-05-30T04:57:37Z", "2020-07-01T11:41:41Z"), strict=True))
FOUND = Region(0.1, 0.2, 0.3, 0.4, "md", "5a", "animal", 0.9)
SOMEBODY = Region(0.5, 0.5, 0.2, 0.2, "md", "5a", "person", 0.83, classified=False)
CAR = Region(0.6, 0.5, 0.2, 0.2, "md", "5a", "vehicle", 0.7, classified=False)
WEAK = Region(0.7, 0.5, 0.2, 0.2, "md", "5a", "animal", 0.05, classified=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'results.db'}") as opened:
        yield opened


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(tmp_path / "cameras.csv", COLUMNS, [D1])
    return tmp_path / "cameras.csv"


def telling(row: dict[str, str], *names: str) -> tuple[str, ...]:
    return tuple(row[name] for name in names)


def test_each_region_is_an_observation_and_each_image_a_medium(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(
        store, (taken("photos/cam/a.jpg", 5, FOUND), [best(FOX, 0.8)]), (taken("photos/cam/b.jpg", 6), [None])
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="Europe/Brussels")
    first, second = read_table(folder, "media")
    assert telling(first, "deploymentID", "timestamp", "filePath", "filePublic", "fileName", "fileMediatype") == (
        "d1", "2020-06-01T10:05:30Z", "a.jpg", "true", "a.jpg", "image/jpeg",
    )  # fmt: skip
    boxed, unknown = read_table(folder, "observations")
    assert boxed["mediaID"] == first["mediaID"]
    assert unknown["mediaID"] == second["mediaID"]
    assert telling(
        boxed,
        "observationLevel",
        "observationType",
        "scientificName",
        "count",
        "bboxX",
        "bboxY",
        "bboxWidth",
        "bboxHeight",
    ) == ("media", "animal", "Vulpes fictus", "1", "0.1", "0.2", "0.3", "0.4")
    assert telling(boxed, "eventStart", "eventEnd", "classificationMethod", "classifiedBy", "classificationProbability") == (
        "2020-06-01T10:05:30Z", "2020-06-01T10:05:30Z", "machine", "fake (bioclip-plugin 0.1.0)", "0.8",
    )  # fmt: skip
    assert telling(unknown, "observationType", "scientificName", "count", "classificationProbability") == (
        "unknown",
        "",
        "",
        "",
    )


def test_every_table_has_the_columns_of_its_schema_in_their_order(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, problems = exported(store, run, tmp_path / "out", deployments=table, time_zone="UTC")
    assert problems == []
    for name in ("deployments", "media", "observations"):
        assert (folder / f"{name}.csv").read_text("utf-8").splitlines()[0].split(",") == list(TABLES[name])


def test_candidates_and_the_run_stand_in_linked_tables(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX, 0.8)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="UTC")
    (observation,) = read_table(folder, "observations")
    rows = read_table(folder, "candidates")
    assert [
        telling(row, "observationID", "position", "scientificName", "taxonRank", "probability", "family")
        for row in rows
    ] == [
        (observation["observationID"], "1", "Vulpes fictus", "species", "0.8", "Canidae"),
        (observation["observationID"], "2", "Lepus fictus", "species", "0.125", "Leporidae"),
    ]
    (about,) = read_table(folder, "runs")
    assert rows[0]["runID"] == about["runID"]
    assert telling(about, "model", "weightsSHA256", "labelSet", "answerID") == ("fake", "w1", "l1", "a1")
    resources = {one["name"]: one for one in json.loads((folder / "datapackage.json").read_text())["resources"]}
    assert resources["candidates"]["profile"] == "tabular-data-resource"
    assert resources["candidates"]["schema"]["foreignKeys"][0]["reference"]["resource"] == "observations"
    only, _ = exported(store, run, tmp_path / "top", deployments=table, time_zone="UTC", top=1)
    assert len(read_table(only, "candidates")) == 1


def test_people_vehicles_and_blanks_are_observations_and_weak_boxes_are_not(
    store: Store, table: Path, tmp_path: Path
) -> None:
    run = store_run(
        store,
        (taken("photos/a.jpg", 1, SOMEBODY, CAR), []),
        (taken("photos/b.jpg", 2, detected=True), []),
        (taken("photos/c.jpg", 3, WEAK), []),
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    rows = read_table(folder, "observations")
    said = [
        telling(row, "observationType", "scientificName", "classifiedBy", "classificationProbability") for row in rows
    ]
    blank = ("blank", "", "fake (bioclip-plugin 0.1.0)", "")  # a file does not say who found nothing
    weak = ("blank", "", "md 5a", "")
    assert said == [("human", "Homo sapiens", "md 5a", "0.83"), ("vehicle", "", "md 5a", "0.7"), blank, weak]
    assert [row["bboxX"] for row in rows] == ["0.5", "0.6", "", ""]


@pytest.mark.parametrize("show", [False, True])
def test_images_of_people_are_not_public_unless_asked(store: Store, table: Path, tmp_path: Path, show: bool) -> None:
    run = store_run(
        store,
        (taken("photos/box.jpg", 1, FOUND, SOMEBODY), [best(FOX)]),
        (taken("photos/named.jpg", 2), [best(PERSON)]),
        (taken("photos/said.jpg", 3), [best(FOX)]),
        (taken("photos/event.jpg", 4, sequence="e1"), [best(FOX)]),
        (taken("photos/fox.jpg", 5), [best(FOX)]),
    )
    store.add_review(ReviewTarget("media", uri="photos/said.jpg"), "person", None, reviewer="Ada")
    store.add_review(ReviewTarget("event", event="e1"), "person", None, reviewer="Ada")
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, show_people=show)
    public = {row["fileName"]: row["filePublic"] for row in read_table(folder, "media")}
    hidden = "true" if show else "false"
    assert public == dict.fromkeys(["box.jpg", "named.jpg", "said.jpg", "event.jpg"], hidden) | {"fox.jpg": "true"}


def test_a_person_hides_the_image_whatever_a_rule_decides_and_however_uncertain_the_detector_is(
    store: Store, table: Path, tmp_path: Path
) -> None:
    faint = replace(SOMEBODY, confidence=0.1)
    run = store_run(
        store,
        (taken("photos/person.jpg", 1, SOMEBODY), [StoredDecision("unknown", None)]),
        (taken("photos/faint.jpg", 2, faint), [StoredDecision("blank", None)]),
        (taken("photos/faint_and_undecided.jpg", 3, faint), []),
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    public = {row["fileName"]: row["filePublic"] for row in read_table(folder, "media")}
    assert public == dict.fromkeys(["person.jpg", "faint.jpg", "faint_and_undecided.jpg"], "false")
    kinds = [row["observationType"] for row in read_table(folder, "observations")]
    assert kinds == ["blank"] * 3, (
        "neither boxes below the threshold are observations, nor a person that a rule left open"
    )


def test_a_person_whose_region_is_not_selected_still_hides_the_image(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg", 1, FOUND, SOMEBODY), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", selection=Selection(taxa=("Vulpes",)), deployments=table)
    assert [row["scientificName"] for row in read_table(folder, "observations")] == ["Vulpes fictus"]
    assert [row["filePublic"] for row in read_table(folder, "media")] == ["false"]


def test_a_selection_leaves_out_other_images(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg", 1), [best(FOX)]), (taken("photos/b.jpg", 2), [best(HARE, 0.9)]))
    folder, _ = exported(store, run, tmp_path / "out", selection=Selection(min_probability=0.85), deployments=table)
    assert [row["fileName"] for row in read_table(folder, "media")] == ["b.jpg"]
    with pytest.raises(UsageError, match="nothing to export"):
        exported(store, run, tmp_path / "none", selection=Selection(since=date(2030, 1, 1)), deployments=table)


def test_plants_go_out_as_unclassified_with_a_warning_and_never_as_animals(
    store: Store, table: Path, tmp_path: Path
) -> None:
    nameless = Taxon(genus="Ficta", species="incerta")
    run = store_run(
        store,
        (taken("photos/a.jpg", 1), [best(OAK)]),
        (taken("photos/b.jpg", 2), [best(nameless)]),
        (taken("photos/c.jpg", 3, FOUND), [best(nameless)]),  # a detector saw an animal
        (taken("photos/d.jpg", 4), [best(Taxon(class_="Aves"))]),
    )
    folder, problems = exported(store, run, tmp_path / "out", deployments=table)
    said = [telling(row, "observationType", "scientificName") for row in read_table(folder, "observations")]
    assert said == [
        ("unclassified", "Quercus ficta"), ("unclassified", "Ficta incerta"), ("animal", "Ficta incerta"), ("animal", "Aves"),
    ]  # fmt: skip
    assert [one.severity for one in problems] == ["warning", "warning"]
    assert "lacks a type for organisms that are not animals" in problems[0].message


def test_names_are_complete_and_all_of_them_are_in_taxonomic(store: Store, table: Path, tmp_path: Path) -> None:
    alone = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "", "fictus")
    run = store_run(
        store, (taken("photos/a.jpg", 1), [best(FOX)]), (taken("photos/b.jpg", 2), [best(alone)]),
    )  # fmt: skip
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    assert [row["scientificName"] for row in read_table(folder, "observations")] == ["Vulpes fictus", "Canidae"]
    assert json.loads((folder / "datapackage.json").read_text())["taxonomic"] == [
        {
            "scientificName": "Canidae", "taxonRank": "family", "kingdom": "Animalia", "phylum": "Chordata", "class": "Mammalia",
            "order": "Carnivora", "family": "Canidae",
        },
        {
            "scientificName": "Vulpes fictus", "taxonRank": "species", "kingdom": "Animalia", "phylum": "Chordata",
            "class": "Mammalia", "order": "Carnivora", "family": "Canidae", "genus": "Vulpes",
        },
    ]  # fmt: skip


def test_a_custom_label_is_a_tag_and_not_a_name(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [Candidate(Taxon(common_name="a red | fish"), "label", 0.9)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    (row,) = read_table(folder, "observations")
    assert telling(row, "observationType", "scientificName", "observationTags") == (
        "unclassified",
        "",
        "label:a red / fish",
    )


# -- times, places, deployments ----------------------------------------------------------------------------------------


def test_times_without_an_offset_need_a_time_zone(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg", aware=False), [best(FOX)]))
    with pytest.raises(UsageError, match=r"1 images have a time without an offset .*photos/a\.jpg.* --time-zone"):
        exported(store, run, tmp_path / "refused", deployments=table)
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="Europe/Brussels")
    assert read_table(folder, "media")[0]["timestamp"] == "2020-06-01T10:00:30+02:00"
    assert read_table(folder, "observations")[0]["eventStart"] == "2020-06-01T10:00:30+02:00"


def test_an_unknown_time_zone_is_refused(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg", aware=False), [best(FOX)]))
    with pytest.raises(UsageError, match="time zone 'Mars/Olympus' is not known"):
        exported(store, run, tmp_path / "out", deployments=table, time_zone="Mars/Olympus")


def test_deployments_without_a_place_are_listed_with_the_option_to_give(store: Store, tmp_path: Path) -> None:
    run = store_run(
        store,
        (taken("photos/a.jpg", 1), [best(FOX)]),
        (taken("photos/b.jpg", 2), [best(FOX)]),
        (taken("photos/c.jpg", 3, deployment="d2"), [best(FOX)]),
    )
    with pytest.raises(UsageError, match=r"2 deployments: d1 \(2 images\), d2 \(1 images\); .*latitude.*--deployments"):
        exported(store, run, tmp_path / "out")


def test_images_of_no_deployment_are_refused_unless_their_folder_names_it(
    store: Store, table: Path, tmp_path: Path
) -> None:
    write_table(table, COLUMNS, [D1, D1 | {"deploymentID": "d2"}])
    run = store_run(store, (taken("photos/d2/a.jpg", deployment=None), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="UTC")
    assert read_table(folder, "media")[0]["deploymentID"] == "d2"
    lost = store_run(store, (taken("photos/elsewhere/a.jpg", deployment=None), [best(FOX)]))
    with pytest.raises(UsageError, match="1 images belong to no deployment"):
        exported(store, lost, tmp_path / "refused", deployments=table, time_zone="UTC")


def test_a_deployment_can_be_derived_from_its_images(store: Store, tmp_path: Path) -> None:
    place = Place(latitude=50.5, longitude=-4.25)
    run = store_run(
        store, (taken("photos/a.jpg", 1, place=place), [best(FOX)]), (taken("photos/b.jpg", 9, place=place), [best(FOX)]),
    )  # fmt: skip
    folder, _ = exported(store, run, tmp_path / "out")
    (row,) = read_table(folder, "deployments")
    assert telling(row, "deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd") == (
        "d1", "50.5000000", "-4.2500000", "2020-06-01T10:01:30Z", "2020-06-01T10:09:30Z",
    )  # fmt: skip


def test_places_are_rounded_and_the_uncertainty_grows(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="UTC", coordinate_precision=2)
    (row,) = read_table(folder, "deployments")
    # Half a step of 0.01° north and east: 0.00707° of 111.32 km.
    assert telling(row, "latitude", "longitude", "coordinateUncertainty") == ("50.12", "4.99", "788")
    about = json.loads((folder / "datapackage.json").read_text())
    assert about["coordinatePrecision"] == 0.01
    assert about["spatial"] == {"type": "Point", "coordinates": [4.99, 50.12]}
    assert "50.12345" not in "".join(path.read_text("utf-8") for path in folder.iterdir())


def test_cameras_of_the_table_that_saw_nothing_are_deployments_too(store: Store, table: Path, tmp_path: Path) -> None:
    write_table(table, COLUMNS, [D1, D1 | {"deploymentID": "d2", "longitude": "6", "latitude": "51"}])
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="UTC")
    assert [row["deploymentID"] for row in read_table(folder, "deployments")] == ["d1", "d2"]
    about = json.loads((folder / "datapackage.json").read_text())
    assert about["spatial"]["coordinates"] == [
        [[4.98765, 50.12345], [6, 50.12345], [6, 51], [4.98765, 51], [4.98765, 50.12345]]
    ]
    assert about["temporal"] == {"start": "2020-05-30", "end": "2020-07-01"}


BAD_CELLS = {
    "latitude '91': must be 90 or less": {"latitude": "91"},
    "longitude 'west': must be a number": {"longitude": "west"},
    "deploymentStart '2020-05-30T04:57:37' lacks an offset from UTC": {"deploymentStart": "2020-05-30T04:57:37"},
    "deploymentEnd 'June': must be a date and time": {
        "deploymentStart": "2020-05-30T04:57:37Z",
        "deploymentEnd": "June",
    },
    "deploymentID '': the cell is required": {"deploymentID": ""},
    "is before deploymentStart": {"deploymentStart": "2021-05-30T04:57:37Z", "deploymentEnd": "2020-07-01T11:41:41Z"},
}


@pytest.mark.parametrize("words", BAD_CELLS)
def test_a_table_of_deployments_with_a_bad_cell_is_refused_with_line_and_value(
    store: Store, table: Path, tmp_path: Path, words: str
) -> None:
    write_table(table, COLUMNS, [D1 | BAD_CELLS[words]])
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    with pytest.raises(UsageError, match=rf"cameras\.csv, line 2: .*{words}"):
        exported(store, run, tmp_path / "out", deployments=table)


def test_a_table_of_deployments_must_have_its_columns_and_each_name_once(
    store: Store, table: Path, tmp_path: Path
) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    write_table(table, COLUMNS, [D1, D1])
    with pytest.raises(UsageError, match="line 3: duplicate deploymentID 'd1'"):
        exported(store, run, tmp_path / "twice", deployments=table, time_zone="UTC")
    table.write_text("camera;lat\nd1;5\n")
    with pytest.raises(UsageError, match=r"lacks deploymentID, latitude.*it has camera, lat"):
        exported(store, run, tmp_path / "columns", deployments=table)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        exported(store, run, tmp_path / "gone", deployments=tmp_path / "gone.csv")


def test_a_day_in_a_table_of_deployments_is_its_midnight_in_the_time_zone_given(
    store: Store, table: Path, tmp_path: Path
) -> None:
    write_table(table, COLUMNS, [D1 | {"deploymentStart": "2020-05-30", "deploymentEnd": "2020-07-01"}])
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table, time_zone="+02:00")
    (row,) = read_table(folder, "deployments")
    assert telling(row, "deploymentStart", "deploymentEnd") == (
        "2020-05-30T00:00:00+02:00",
        "2020-07-01T00:00:00+02:00",
    )


def test_a_table_of_deployments_may_use_semicolons_and_other_letter_case(
    store: Store, table: Path, tmp_path: Path
) -> None:
    table.write_text("﻿Deployment_ID;Latitude;LONGITUDE;deploymentstart;deploymentend;cameraTilt\nd1;5;6;2020-05-30T00:00Z;2020-07-01T00:00Z;-15.0\n", "utf-8")  # fmt: skip # noqa: E501
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    (row,) = read_table(folder, "deployments")
    assert telling(row, "deploymentID", "latitude", "deploymentStart", "cameraTilt") == (
        "d1",
        "5",
        "2020-05-30T00:00:00Z",
        "-15",
    )


# -- paths and skipped rows --------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_common_folder_or_to_the_one_given(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("/data/x/cam1/a.jpg", 1), [best(FOX)]), (taken("/data/x/cam2/b.jpg", 2), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    assert [row["filePath"] for row in read_table(folder, "media")] == ["cam1/a.jpg", "cam2/b.jpg"]
    folder, _ = exported(store, run, tmp_path / "given", deployments=table, base_folder=Path("/data"))
    assert [row["filePath"] for row in read_table(folder, "media")] == ["x/cam1/a.jpg", "x/cam2/b.jpg"]
    with pytest.raises(UsageError, match=r"/data/x/cam1/a\.jpg is not in the base folder"):
        exported(store, run, tmp_path / "refused", deployments=table, base_folder=Path("/elsewhere"))


def test_images_that_the_package_cannot_hold_are_listed_with_the_reason(
    store: Store, table: Path, tmp_path: Path
) -> None:
    run = store_run(
        store,
        (taken("photos/good.jpg"), [best(FOX)]),
        (taken("photos/broken.jpg", 1), "it is empty"),
        (MediaItem("photos/timeless.jpg", deployment="d9"), [best(FOX)]),
        (taken("photos/a..b.jpg", 2), [best(FOX)]),
        (Unlisted("list.csv#row=7", "row 7 names no image"), []),
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    assert [row["fileName"] for row in read_table(folder, "media")] == ["good.jpg", "broken.jpg"]
    assert len(read_table(folder, "observations")) == 1
    assert [telling(row, "uri", "stage", "reason") for row in read_table(folder, "left_out")] == [
        ("broken.jpg", "decode", "it is empty"),
        ("timeless.jpg", "export", "neither its time nor its deployment is known; Camtrap DP requires that"),
        ("a..b.jpg", "export", "'..' is not allowed in a path"),
        ("list.csv#row=7", "list", "row 7 names no image"),
    ]


def test_only_control_characters_in_a_name_skip_an_answer_with_a_warning(
    store: Store, table: Path, tmp_path: Path
) -> None:
    names = ("a.jpg", "b\u202egpj.jpg", "c\x1b.jpg", "d\u2028.jpg")
    run = store_run(store, *((taken(f"photos/{name}", n), [best(FOX)]) for n, name in enumerate(names)))
    folder, problems = exported(store, run, tmp_path / "out", deployments=table, base_folder=Path("photos"))
    assert [row["filePath"] for row in read_table(folder, "media")] == [names[0], names[1], names[3]]
    assert [one.message for one in problems if one.file == "left_out.csv"] == [
        "1 answered images are not in the package; the first one: the path contains a control character"
    ]


def test_an_image_without_a_time_was_taken_at_some_time_of_its_deployment(
    store: Store, table: Path, tmp_path: Path
) -> None:
    run = store_run(
        store,
        (MediaItem("photos/a.png", deployment="d1", sequence="track"), [StoredDecision("taxon", best(FOX), "track")]),
        (MediaItem("photos/b.png"), "photos/b.png is empty"),  # of the only deployment
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    (deployment,) = read_table(folder, "deployments")
    starts, ends = deployment["deploymentStart"], deployment["deploymentEnd"]
    assert deployment["timestampIssues"] == "true"
    said = "The time of recording is unknown: the timestamp is the start of the deployment."
    assert [telling(row, "fileName", "timestamp", "mediaComments") for row in read_table(folder, "media")] == [
        ("a.png", starts, said),
        ("b.png", starts, said),
    ]
    assert [
        telling(row, "observationLevel", "eventStart", "eventEnd") for row in read_table(folder, "observations")
    ] == [
        ("media", starts, ends),
        ("event", starts, ends),
    ]


def test_skipped_files_do_not_reveal_folders_of_this_computer(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(
        store,
        (taken("/home/ada/photos/cam/good.jpg"), [best(FOX)]),
        (taken("/home/ada/photos/cam/broken.jpg", 1), "/home/ada/photos/cam/broken.jpg is empty"),
        (Unlisted("/home/ada/lists/list.csv#row=7", "row 7 names no image"), []),
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    assert "/home/ada" not in "".join(path.read_text("utf-8") for path in folder.iterdir())
    assert [row["uri"] for row in read_table(folder, "left_out")] == ["broken.jpg", "list.csv#row=7"]


def test_the_frames_of_a_video_are_observations_of_one_medium(store: Store, table: Path, tmp_path: Path) -> None:
    frames = [taken("photos/a.mp4", minute, frame=number) for number, minute in enumerate((1, 2, 3))]
    run = store_run(store, *((frame, [best(FOX if n else PERSON)]) for n, frame in enumerate(frames)))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    (medium,) = read_table(folder, "media")
    assert telling(medium, "fileMediatype", "timestamp", "filePublic") == ("video/mp4", "2020-06-01T10:01:30Z", "false")
    rows = read_table(folder, "observations")
    assert {row["mediaID"] for row in rows} == {medium["mediaID"]}
    assert [row["eventStart"] for row in rows] == [f"2020-06-01T10:0{n}:30Z" for n in (1, 2, 3)]


# -- people ------------------------------------------------------------------------------------------------------------


def test_reviews_are_written_beside_the_machine_s_answers(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg", 1, FOUND, sequence="e1"), [best(FOX)]))
    box = ReviewTarget("region", uri="photos/a.jpg", region=FOUND)
    details = {"count": 2, "sex": "female", "lifeStage": "pup", "behavior": "running"}
    said = datetime(2021, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
    store.add_reviews(
        [
            StatedReview(box, "taxon", HARE, "Ada Example", said, "surely", details),
            StatedReview(ReviewTarget("media", uri="photos/a.jpg"), "unidentifiable", None, "Bob", said),
            StatedReview(ReviewTarget("media", uri="photos/a.jpg"), "not_in_label_set", None, "Bob", said),
        ]
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    machine, hare, unknown, missing = read_table(folder, "observations")
    assert telling(machine, "classificationMethod", "scientificName") == ("machine", "Vulpes fictus")
    assert telling(hare, "classificationMethod", "classifiedBy", "classificationTimestamp", "scientificName", "observationType") == (
        "human", "Ada Example", "2021-01-02T03:04:05Z", "Lepus fictus", "animal",
    )  # fmt: skip
    assert telling(hare, "count", "sex", "lifeStage", "behavior", "observationTags", "observationComments", "eventID", "bboxWidth") == (
        "2", "female", "", "running", "lifeStage:pup", "surely", "e1", "0.3",
    )  # fmt: skip
    assert telling(unknown, "observationType", "classifiedBy") == ("unknown", "Bob")
    assert telling(missing, "observationType", "observationTags") == ("unclassified", "not in label set")


def decision(taxon: Taxon | None, event: str, verdict: str = "taxon", probability: float = 0.8) -> StoredDecision:
    trail = ({"rule": "sequences", "did": "answered together"},)
    return StoredDecision(verdict, best(taxon, probability) if taxon else None, event, trail)  # type: ignore[arg-type]


def test_events_that_rules_decided_are_observations_of_the_event(store: Store, table: Path, tmp_path: Path) -> None:
    other = Region(0.5, 0.2, 0.3, 0.4, "md", "5a", "animal", 0.9)
    run = store_run(
        store,
        (taken("photos/a.jpg", 1, FOUND), [decision(FOX, "e1", probability=0.7)]),
        (taken("photos/b.jpg", 2, FOUND, other), [decision(FOX, "e1", probability=0.9)] * 2),
        (taken("photos/c.jpg", 3), [decision(None, "e1", "blank")]),
        (taken("photos/d.jpg", 7), [decision(None, "e2", "unknown")]),
    )
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    rows = read_table(folder, "observations")
    events = [row for row in rows if row["observationLevel"] == "event"]
    names = (
        "eventID",
        "mediaID",
        "observationType",
        "scientificName",
        "count",
        "classificationProbability",
        "eventStart",
        "eventEnd",
    )
    assert [telling(row, *names) for row in events] == [
        ("e1", "", "animal", "Vulpes fictus", "2", "0.9", "2020-06-01T10:01:30Z", "2020-06-01T10:03:30Z"),
        ("e2", "", "unknown", "", "", "", "2020-06-01T10:07:30Z", "2020-06-01T10:07:30Z"),
    ]
    assert [row["eventID"] for row in rows if row["observationLevel"] == "media"] == ["e1"] * 4 + ["e2"]
    decisions = read_table(folder, "decisions")
    assert len(decisions) == 5
    assert json.loads(decisions[0]["trail"]) == [{"rule": "sequences", "did": "answered together"}]
    assert json.loads((folder / "datapackage.json").read_text())["project"]["observationLevel"] == ["media", "event"]


def test_a_reviewed_event_has_no_observation_by_the_machine(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(
        store,
        (taken("photos/a.jpg", 1, sequence="e1"), [decision(FOX, "e1")]),
        (taken("photos/b.jpg", 4, sequence="e1"), [decision(FOX, "e1")]),
        (taken("photos/c.jpg", 9, sequence="e2"), [decision(FOX, "e2")]),
    )
    store.add_review(ReviewTarget("event", event="e1"), "taxon", HARE, reviewer="Ada")
    store.add_review(ReviewTarget("event", event="of another run"), "blank", None, reviewer="Ada")
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    rows = [row for row in read_table(folder, "observations") if row["observationLevel"] == "event"]
    assert [
        telling(row, "eventID", "classificationMethod", "scientificName", "eventStart", "eventEnd") for row in rows
    ] == [
        ("e1", "human", "Lepus fictus", "2020-06-01T10:01:30Z", "2020-06-01T10:04:30Z"),
        ("e2", "machine", "Vulpes fictus", "2020-06-01T10:09:30Z", "2020-06-01T10:09:30Z"),
    ]


# -- the package -------------------------------------------------------------------------------------------------------


def test_the_same_store_gives_the_same_bytes(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(
        store, (taken("photos/a.jpg", 1, FOUND, SOMEBODY), [best(FOX)]), (taken("photos/b.jpg", 2), [best(OAK)])
    )
    store.add_review(ReviewTarget("media", uri="photos/a.jpg"), "taxon", HARE, reviewer="Ada")
    one, _ = exported(store, run, tmp_path / "one", deployments=table)
    two, _ = exported(store, run, tmp_path / "two", deployments=table)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def test_title_contributor_and_licence_are_as_given(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, _ = exported(
        store, run, tmp_path / "out", deployments=table, title="Ponds 2020: foxes!", contributor="Institute of Ponds", licence="CC-BY-4.0",
    )  # fmt: skip
    about: dict[str, Any] = json.loads((folder / "datapackage.json").read_text())
    assert (about["title"], about["name"], about["project"]["title"]) == (
        "Ponds 2020: foxes!",
        "ponds-2020-foxes",
        "Ponds 2020: foxes!",
    )
    assert about["contributors"] == [{"title": "Institute of Ponds", "role": "contact"}]
    assert about["licenses"] == [{"name": "CC-BY-4.0", "scope": "data"}, {"name": "CC-BY-4.0", "scope": "media"}]
    assert about["created"] == run.ended_at.isoformat(timespec="seconds").replace("+00:00", "Z")  # type: ignore[union-attr]


def test_without_options_the_descriptor_has_defaults_and_no_licence(store: Store, table: Path, tmp_path: Path) -> None:
    run = store_run(store, (taken("photos/a.jpg"), [best(FOX)]))
    folder, _ = exported(store, run, tmp_path / "out", deployments=table)
    about = json.loads((folder / "datapackage.json").read_text())
    assert "licenses" not in about
    assert about["contributors"] == [{"title": "fake (bioclip-plugin 0.1.0)", "role": "contributor"}]
    assert about["project"] == {
        "title": "Camera trap classifications", "samplingDesign": "opportunistic", "captureMethod": ["activityDetection"],
        "individualAnimals": False, "observationLevel": ["media"],
    }  # fmt: skip


def test_faulty_cells_of_a_package_become_tags_and_do_not_stop_the_export(tmp_path: Path, store: Store) -> None:
    source = package(
        tmp_path / "p",
        deployments=[DEPLOYMENT | {"featureType": "tree", "cameraTilt": "steep"}],
        media=[MEDIA | {"favorite": "yes", "captureMethod": "motion", "mediaID": " m1 ", "exifData": "{"}],
        observations=[
            OBSERVATION | {"scientificName": "V. fictus", "sex": "unknown", "count": "many", "eventStart": "early"}
        ],
    )
    photo(source / "media/a.jpg")
    run = store_run(store, *((item, [best(FOX)]) for item in CamtrapDpSource().items(str(source), ListingOptions())))
    store.add_reviews(list(CamtrapDpSource().reviews(str(source), ListingOptions())))
    folder, problems = exported(store, run, tmp_path / "out")
    assert problems == []
    (human,) = [row for row in read_table(folder, "observations") if row["classificationMethod"] == "human"]
    assert telling(human, "scientificName", "sex", "count", "eventStart", "observationTags") == (
        "", "", "", "2020-06-01T10:00:00+02:00", "scientificName:V. fictus | count:many | sex:unknown",
    )  # fmt: skip
    (deployment,) = read_table(folder, "deployments")
    assert telling(deployment, "featureType", "cameraTilt", "deploymentTags") == (
        "",
        "",
        "cameraTilt:steep | featureType:tree",
    )
    (medium,) = read_table(folder, "media")
    assert telling(medium, "mediaID", "captureMethod", "favorite", "exifData") == ("m1", "", "", "")


def test_two_packages_whose_deployments_have_one_name_are_not_mixed(tmp_path: Path, store: Store) -> None:
    items = []
    for name, latitude in (("one", "51"), ("two", "52")):
        source = package(
            tmp_path / name,
            deployments=[DEPLOYMENT | {"latitude": latitude}],
            media=[MEDIA | {"mediaID": name}],
            observations=[],
            about=descriptor(id=name),
        )
        photo(source / "media/a.jpg")
        items += list(CamtrapDpSource().items(str(source), ListingOptions()))
    run = store_run(store, *((item, [best(FOX)]) for item in items))
    with pytest.raises(UsageError, match="two packages have a deployment 'd1' and describe it differently"):
        exported(store, run, tmp_path / "out")


def test_observations_of_a_package_are_written_again_unchanged(tmp_path: Path, store: Store) -> None:
    rows = [
        OBSERVATION | {"observationComments": "a, \"b\"\nc", "individualID": "Reinaert"},
        OBSERVATION | BOX | {"observationID": "o2", "count": "3", "classificationTimestamp": "", "bboxX": "0.12345"},
        OBSERVATION | {"observationID": "o3", "observationLevel": "event", "mediaID": "", "eventEnd": "2020-06-01T08:05:00Z"},
        # an event whose images are not in the package
        OBSERVATION | {"observationID": "o4", "eventID": "e9", "observationLevel": "event", "mediaID": ""},
    ]  # fmt: skip
    source = package(
        tmp_path / "p", observations=rows, media=[MEDIA | {"filePublic": "false", "exifData": '{"GPS": [51.4961234]}'}]
    )
    photo(source / "media/a.jpg")
    listed = list(CamtrapDpSource().items(str(source), ListingOptions()))
    run = store_run(store, *((item, [best(FOX)]) for item in listed))
    store.add_reviews(list(CamtrapDpSource().reviews(str(source), ListingOptions())))
    folder, problems = exported(store, run, tmp_path / "out", show_people=True)
    assert problems == []
    people = {
        row["observationID"]: row
        for row in read_table(folder, "observations")
        if row["classificationMethod"] == "human"
    }
    empty = dict.fromkeys(TABLES["observations"], "")
    assert people == {row["observationID"]: empty | row for row in rows}
    assert read_table(folder, "media")[0]["filePublic"] == "false"  # as its owner set it
    assert read_table(folder, "deployments") == read_table(source, "deployments")
    about = json.loads((folder / "datapackage.json").read_text())
    assert about["project"]["individualAnimals"] is True
    less, _ = exported(store, run, tmp_path / "less", selection=Selection(min_probability=0.5))
    assert {row["observationID"] for row in read_table(less, "observations")} >= {"o1", "o2", "o3"}
    assert "o4" not in {row["observationID"] for row in read_table(less, "observations")}
    assert json.loads(read_table(folder, "media")[0]["exifData"]) == {"GPS": [51.4961234]}
    hidden, _ = exported(store, run, tmp_path / "hidden", coordinate_precision=1)
    assert "51.496" not in "".join(path.read_text("utf-8") for path in hidden.iterdir())
    assert about["relatedIdentifiers"][0]["relatedIdentifier"] == "urn:uuid:7cca70f5-0000-4000-8000-8f070937d7ab"
