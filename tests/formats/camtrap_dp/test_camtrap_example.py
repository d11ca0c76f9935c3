"""The official Camtrap DP example in and out, and a reef-fish run, checked by frictionless with the standard's own schemas."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from camtrap_samples import FOX, OAK, best, descriptor, exported, read_table, store_run, taken, write_table

from bioclip_plugin import Session
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems
from bioclip_plugin.formats.camtrap_dp.check_descriptor import descriptor_problems
from bioclip_plugin.formats.camtrap_dp.read import CamtrapDpSource
from bioclip_plugin.formats.camtrap_dp.schema import MISSING, TABLES
from bioclip_plugin.formats.camtrap_dp.write import CamtrapDpExporter
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import Place, Region
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import ReviewTarget, StoredDecision

pytestmark = pytest.mark.shared_data

REFERENCES = {
    "https://specs.frictionlessdata.io/schemas/data-package.json": "data-package.json",
    "http://json.schemastore.org/geojson.json": "geojson.json",
}


@pytest.fixture
def shared() -> Path:
    return Path(os.environ["BIOCLIP_DATA"])


@pytest.fixture
def example(shared: Path) -> Path:
    return shared / "data/camtrap_dp_example"


def frictionless_problems(folder: Path, shared: Path, tmp_path: Path) -> list[str]:
    """Return the errors of a package according to frictionless, with the standard's schemas from the disk, offline."""
    from frictionless import FrictionlessException, Package, system

    local = tmp_path / "camtrap-dp/1.0.2"  # the profile requires the version in the schemas' addresses
    local.mkdir(parents=True)
    for path in (shared / "reference/camtrap-dp").iterdir():
        text = path.read_text("utf-8")
        for address, name in REFERENCES.items():
            text = text.replace(f'"$ref": "{address}"', f'"$ref": "{(local / name).as_uri()}"')
        (local / path.name).write_text(text, "utf-8")
    about = json.loads((folder / "datapackage.json").read_text("utf-8"))
    about["profile"] = str(local / "camtrap-dp-profile.json")
    for resource in about["resources"]:
        if isinstance(resource.get("schema"), str):
            resource["schema"] = str(local / resource["schema"].rsplit("/", 1)[1])
    try:
        with system.use_context(trusted=True, onerror="ignore"):
            report = Package.from_descriptor(about, basepath=str(folder)).validate()
    except FrictionlessException as error:  # this is how it refuses a descriptor
        return [str(error)]
    rows = report.flatten(["type", "rowNumber", "fieldName", "message"])
    return [*(str(row) for row in rows), *(str(error) for error in report.errors)]


def errors(folder: Path) -> list[str]:
    return [str(one) for one in camtrap_dp_problems(folder) if one.severity == "error"]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with Session(model="demo", store=str(tmp_path / "results.db")) as opened:
        yield opened


def classify(session: Session, source: Any, address: Path) -> None:
    run = session.begin_run([str(address)])
    for _ in session.pipeline(run).answers(source.items(str(address), ListingOptions())):
        pass
    assert session.store is not None
    session.store.end_run(run, "finished", {})


def export(session: Session, folder: Path, **options: Any) -> Path:
    assert session.store is not None
    folder.mkdir()
    CamtrapDpExporter().write(folder, Export(session.store, session.store.run(), ExportOptions(**options)))
    return folder


def test_our_tables_are_those_of_the_standard(shared: Path) -> None:
    for name, columns in TABLES.items():
        schema = json.loads((shared / f"reference/camtrap-dp/{name}-table-schema.json").read_text("utf-8"))
        assert set(schema["missingValues"]) == MISSING
        assert [(column.name, column.kind) for column in columns.values()] == [
            (field["name"], field["type"]) for field in schema["fields"]
        ]
        for column, field in zip(columns.values(), schema["fields"], strict=True):
            limits = field["constraints"]
            ours = (column.required, column.least, column.most, list(column.allowed))
            assert ours == (limits["required"], *map(limits.get, ("minimum", "maximum")), limits.get("enum", [])), (
                column
            )


def test_the_descriptor_has_the_required_members_and_words_of_the_standard(shared: Path) -> None:
    profile = json.loads((shared / "reference/camtrap-dp/camtrap-dp-profile.json").read_text("utf-8"))["allOf"][1]
    assert {one.record for one in descriptor_problems({})} == set(profile["required"])
    parts = profile["properties"]
    good = descriptor(
        relatedIdentifiers=[{"relationType": "Cites", "relatedIdentifier": "x", "relatedIdentifierType": "DOI"}]
    )
    assert list(descriptor_problems(good)) == []
    for name in parts["project"]["required"]:
        without = {key: value for key, value in good["project"].items() if key != name}
        assert [one.record for one in descriptor_problems(good | {"project": without})] == [f"project.{name}"]
    for path in (
        "project.samplingDesign", "contributors.role", "taxonomic.taxonRank", "licenses.scope",
        "relatedIdentifiers.relationType", "relatedIdentifiers.relatedIdentifierType", "relatedIdentifiers.resourceTypeGeneral",
    ):  # fmt: skip
        member, key = path.split(".")
        schema = parts[member].get("items", parts[member])
        for word, count in [*((word, 0) for word in schema["properties"][key]["enum"]), ("invented", 1)]:
            changed = json.loads(json.dumps(good))
            (changed[member] if isinstance(changed[member], dict) else changed[member][0])[key] = word
            found = [one.record for one in descriptor_problems(changed) if one.record.endswith(f".{key}")]
            assert len(found) == count, word


def test_the_official_example_has_no_error_and_a_doubt_about_three_cut_cells(example: Path) -> None:
    problems = list(camtrap_dp_problems(example))
    assert [(one.file, one.message, one.severity) for one in problems] == [
        ("media.csv", "must be a JSON object", "warning")
    ] * 3  # their JSON continues after its last bracket
    assert all(one.record.endswith("exifData") for one in problems)


def test_the_official_example_is_read_with_its_boxes_and_reviews(example: Path) -> None:
    items = list(CamtrapDpSource().items(str(example), ListingOptions()))
    found = [item for item in items if hasattr(item, "regions")]
    assert (len(items), len(found)) == (423, 10)
    assert {item.sequence for item in found} == {"7245a2aa"}
    assert all(len(item.regions) == 1 and item.place.latitude == 50.699 for item in found)
    reviews = list(CamtrapDpSource().reviews(str(example), ListingOptions()))
    with (example / "observations.csv").open(encoding="utf-8", newline="") as file:
        human = [row for row in csv.DictReader(file) if row["classificationMethod"] == "human"]
    assert [one.details["observationID"] for one in reviews] == [row["observationID"] for row in human]
    assert Counter(one.verdict for one in reviews) == {
        "taxon": 344, "blank": 115, "person": 33, "vehicle": 21, "unidentifiable": 14,
    }  # fmt: skip


def test_the_official_example_is_classified_and_exported_and_valid_again_with_its_reviews(
    example: Path, shared: Path, session: Session, tmp_path: Path
) -> None:
    source = CamtrapDpSource()
    classify(session, source, example)
    assert session.store is not None
    reviews = list(source.reviews(str(example), ListingOptions()))
    assert session.store.add_reviews(reviews) == len(reviews)
    assert session.store.add_reviews(reviews) == 0
    folder = export(session, tmp_path / "out", show_people=True)
    assert errors(folder) == []
    assert frictionless_problems(folder, shared, tmp_path / "schemas") == []

    before = {row["observationID"]: row for row in read_table(example, "observations")}
    after = read_table(folder, "observations")
    human = {row["observationID"]: row for row in after if row["classificationMethod"] == "human"}
    assert human == {name: row for name, row in before.items() if row["classificationMethod"] == "human"}
    ours = [row for row in after if row["classificationMethod"] == "machine"]
    boxes = [row for row in before.values() if row["bboxX"] and row["eventID"] == "7245a2aa"]
    assert [row["mediaID"] for row in ours] == [row["mediaID"] for row in boxes]
    assert all(abs(float(a["bboxX"]) - float(b["bboxX"])) < 1e-4 for a, b in zip(ours, boxes, strict=True))

    media = {row["mediaID"]: row for row in read_table(example, "media")}
    exported_media = read_table(folder, "media")
    assert {row["mediaID"] for row in exported_media} == set(media)  # including those on the web
    for row in exported_media:
        stated = media[row["mediaID"]]
        assert {key: row[key] for key in row if key != "exifData"} == {
            key: stated[key] for key in row if key != "exifData"
        }
    assert read_table(folder, "deployments") == read_table(example, "deployments")
    about, stated = (json.loads((one / "datapackage.json").read_text("utf-8")) for one in (folder, example))
    assert [about[key] for key in ("title", "contributors", "licenses")] == [
        stated[key] for key in ("title", "contributors", "licenses")
    ]
    names = {entry["scientificName"]: entry for entry in about["taxonomic"]}
    assert all(
        names[entry["scientificName"]] == entry for entry in stated["taxonomic"] if entry["scientificName"] in names
    )


@pytest.mark.parametrize("timed", [True, False])
def test_a_reef_fish_run_is_valid_for_frictionless_and_for_us(
    shared: Path, session: Session, tmp_path: Path, timed: bool
) -> None:
    reef = shared / "data/reef_fish"
    with (reef / "collection.csv").open(encoding="utf-8", newline="") as file:
        fish = list(islice(csv.DictReader(file), 0, 1300, 32))
    images = [
        {"image": str(reef / row["image"]), "eventID": row["eventID"]}
        | ({"captured_at": f"2010-03-{1 + number % 28:02d} 12:{number:02d}:05"} if timed else {})
        | ({"deploymentID": f"reef-{number % 3}"} if timed else {})
        for number, row in enumerate(fish)
    ]
    write_table(tmp_path / "fish.csv", list(images[0]), images)
    columns = ["deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd", "cameraDepth"]
    cameras = [
        dict(
            zip(
                columns,
                (f"reef-{n}", f"21.9{n}", f"120.7{n}", "2010-03-01T00:00:00", "2010-03-31T00:00:00", "4"),
                strict=True,
            )
        )
        for n in range(3 if timed else 1)
    ]
    write_table(tmp_path / "cameras.csv", columns, cameras)
    classify(session, TableSource(), tmp_path / "fish.csv")
    folder = export(
        session, tmp_path / "out", deployments=tmp_path / "cameras.csv", time_zone="Asia/Taipei", base_folder=reef,
        coordinate_precision=1, title="Reef fish", contributor="Nobody", licence="CC-BY-4.0",
    )  # fmt: skip
    assert list(camtrap_dp_problems(folder, reef)) == []
    assert frictionless_problems(folder, shared, tmp_path / "schemas") == []
    assert len(read_table(folder, "media")) == len(fish)
    assert len(read_table(folder, "observations")) == len(fish)
    assert read_table(folder, "media")[0]["timestamp"] == f"2010-03-01T{'12:00:05' if timed else '00:00:00'}+08:00"
    assert {row["timestampIssues"] for row in read_table(folder, "deployments")} == {"" if timed else "true"}
    assert len(read_table(folder, "candidates")) == 5 * len(fish)


def test_a_package_with_events_people_plants_and_reviews_is_valid_for_frictionless(
    shared: Path, tmp_path: Path
) -> None:
    person = Region(0.5, 0.5, 0.2, 0.2, "md", "5a", "person", 0.83, classified=False)
    fox, place = Region(0.1, 0.2, 0.3, 0.4, "md", "5a", "animal", 0.9), Place(latitude=50.5, longitude=-4.25)
    together = StoredDecision("taxon", best(FOX), "e1", ({"rule": "sequences", "did": "answered together"},))
    with Store.open(str(tmp_path / "results.db")) as store:
        run = store_run(
            store,
            (taken("photos/a.jpg", 1, fox, person, place=place, sequence="e1"), [together]),
            (taken("photos/b.jpg", 2, place=place, sequence="e2"), [best(OAK)]),
            (taken("photos/c.jpg", 3, deployment="d2", place=Place(latitude=51.5, longitude=-4)), "it is empty"),
            (taken("photos/d.jpg", 4, place=place, detected=True), []),
        )
        store.add_review(ReviewTarget("event", event="e2"), "taxon", FOX, reviewer='=Ada "the\nfirst", 1')
        store.add_review(ReviewTarget("region", uri="photos/a.jpg", region=fox), "blank", None, reviewer="Ada")
        folder, _ = exported(store, run, tmp_path / "out", coordinate_precision=0)
    assert {row["observationLevel"] for row in read_table(folder, "observations")} == {"media", "event"}
    assert frictionless_problems(folder, shared, tmp_path / "schemas") == []


def test_frictionless_with_these_schemas_does_find_faults(example: Path, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("datapackage.json", "deployments.csv", "media.csv", "observations.csv"):
        (folder / name).write_bytes((example / name).read_bytes())
    assert frictionless_problems(folder, shared, tmp_path / "good") == []
    rows = read_table(folder, "observations")
    rows[0]["count"] = "0"
    write_table(folder / "observations.csv", list(rows[0]), rows)
    assert "constraint" in " ".join(frictionless_problems(folder, shared, tmp_path / "cell"))
    about = json.loads((folder / "datapackage.json").read_text("utf-8"))
    about["project"]["samplingDesign"] = "random"
    (folder / "datapackage.json").write_text(json.dumps(about), "utf-8")
    assert "samplingDesign" in " ".join(frictionless_problems(folder, shared, tmp_path / "profile"))
