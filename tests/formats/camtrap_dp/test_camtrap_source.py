"""Camtrap DP packages as a source: media, places, events, boxes, and reviews."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from camtrap_samples import BOX, DEPLOYMENT, MEDIA, OBSERVATION, descriptor, package, photo

from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems
from bioclip_plugin.formats.camtrap_dp.read import CamtrapDpSource
from bioclip_plugin.items.media import MediaItem, Place, Unlisted
from bioclip_plugin.store.records import StatedReview

SOURCE = CamtrapDpSource()


def listed(folder: Path, **options: object) -> list[MediaItem | Unlisted]:
    return list(SOURCE.items(str(folder), ListingOptions(**options)))  # type: ignore[arg-type]


def reviews(folder: Path, **options: object) -> list[StatedReview]:
    return list(SOURCE.reviews(str(folder), ListingOptions(**options)))  # type: ignore[arg-type]


def only_item(folder: Path, **options: object) -> MediaItem:
    (item,) = listed(folder, **options)
    assert isinstance(item, MediaItem), item
    return item


def reasons(entries: list[MediaItem | Unlisted]) -> list[str]:
    return [entry.reason for entry in entries if isinstance(entry, Unlisted)]


def test_a_media_row_becomes_an_item_with_its_time_place_deployment_and_event(tmp_path: Path) -> None:
    folder = package(tmp_path / "p")
    photo(folder / "media/a.jpg")
    item = only_item(folder)
    assert item.path == folder / "media/a.jpg"
    assert item.captured_at == datetime(2020, 6, 1, 10, tzinfo=timezone(timedelta(hours=2)))
    assert item.place == Place(latitude=51.496, longitude=4.774, month=6)
    assert (item.deployment, item.sequence, item.regions, item.detected) == ("d1", "e1", (), False)
    assert item.metadata["camtrap_media"]["mediaID"] == "m1"
    assert item.metadata["camtrap_deployment"]["cameraID"] == "320"


def test_times_and_places_that_cannot_be_read_are_reported_and_not_replaced(tmp_path: Path) -> None:
    cells = {"timestamp": "2020-13-01T10:00:00+0200"}
    other = {"mediaID": "m2", "timestamp": "31/12/2020 3:10 PM", "filePath": "media/b.jpg"}
    folder = package(
        tmp_path / "p",
        media=[{**MEDIA, **cells}, {**MEDIA, **other}],
        deployments=[{**DEPLOYMENT, "latitude": "51.4 X"}],
    )
    photo(folder / "media/a.jpg")
    photo(folder / "media/b.jpg")
    findings = Findings()
    bad, good = (one for one in listed(folder, findings=findings) if isinstance(one, MediaItem))
    assert (bad.captured_at, bad.unread) == (None, {"captured_at", "position"})
    assert (good.captured_at, good.unread) == (datetime(2020, 12, 31, 15, 10), {"position"})
    place, time = sorted(findings.lines())
    assert place.startswith("positions (latitude, longitude) cannot be read")
    assert "deployment d1: '51.4 X'" in place
    assert time.startswith("values of timestamp cannot be read as a date")


@pytest.mark.parametrize("name", ["", "datapackage.json"])
def test_a_folder_and_its_descriptor_are_taken(tmp_path: Path, name: str) -> None:
    folder = package(tmp_path / "p")
    photo(folder / "media/a.jpg")
    assert SOURCE.takes(str(folder / name))
    assert len(listed(folder / name)) == 1


def test_other_folders_and_files_are_not_taken(tmp_path: Path) -> None:
    (tmp_path / "datapackage.json").write_text('{"resources": [{"name": "births", "path": "births.csv"}]}')
    (tmp_path / "list.json").write_text("[1, 2]")
    for name in ("", "list.json", "not-there"):
        assert not SOURCE.takes(str(tmp_path / name))


def test_a_zip_file_is_read_and_its_images_lie_in_a_temporary_folder(tmp_path: Path) -> None:
    folder = package(tmp_path / "p")
    photo(folder / "media/a.jpg")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, Path("inside") / path.relative_to(folder))
    assert SOURCE.takes(str(tmp_path / "p.zip"))
    item = only_item(tmp_path / "p.zip")
    assert item.path is not None
    assert item.path.read_bytes() == (folder / "media/a.jpg").read_bytes()
    assert tmp_path not in item.path.parents
    assert item.uri == str(tmp_path / "p.zip/inside/media/a.jpg")
    assert [review.target.uri for review in reviews(tmp_path / "p.zip")] == [item.uri]


def test_a_file_on_the_web_is_found_beside_the_package_and_never_fetched(tmp_path: Path) -> None:
    web = [
        MEDIA | {"mediaID": f"m{n}", "filePath": f"https://example.org/{n}", "fileName": name}
        for n, name in enumerate(["a.jpg", "b.jpg", "../../etc/passwd"])
    ]
    folder = package(tmp_path / "p", media=web, observations=[])
    photo(folder / "media/a.jpg")
    found, *missing = listed(folder)
    assert isinstance(found, MediaItem)
    assert found.path == folder / "media/a.jpg"
    assert [entry.uri for entry in missing] == ["https://example.org/1", "https://example.org/2"]
    assert all("not fetched" in reason for reason in reasons(missing))


def test_boxes_become_regions_and_those_of_people_and_vehicles_are_not_classified(tmp_path: Path) -> None:
    rows = [
        OBSERVATION | BOX | {"observationID": "o1"},
        OBSERVATION | BOX | {"observationID": "o2", "classificationMethod": "machine", "classifiedBy": "A model"},
        OBSERVATION | BOX | {"observationID": "o3", "bboxX": "0.5", "observationType": "human"},
        OBSERVATION | BOX | {"observationID": "o4", "bboxX": "0.6", "observationType": "vehicle"},
        OBSERVATION | {"observationID": "o5"},
    ]
    folder = package(tmp_path / "p", observations=rows)
    photo(folder / "media/a.jpg")
    said = [(region.xywh[0], region.category, region.classified) for region in only_item(folder).regions]
    assert said == [(0.1, "animal", True), (0.5, "person", False), (0.6, "vehicle", False)]


def test_an_image_without_observations_belongs_to_the_event_of_its_time_and_deployment(tmp_path: Path) -> None:
    def event(name: str, deployment: str, minutes: str) -> dict[str, str]:
        times = {"eventStart": f"2020-06-01T08:{minutes[:2]}:00Z", "eventEnd": f"2020-06-01T08:{minutes[3:]}:00Z"}
        about = {
            "observationID": name,
            "eventID": name,
            "deploymentID": deployment,
            "observationLevel": "event",
            "mediaID": "",
        }
        return OBSERVATION | about | times

    media = [MEDIA, MEDIA | {"mediaID": "m2", "timestamp": "2020-06-01T10:30:00+02:00", "filePath": "media/b.jpg"}]
    rows = [event("before", "d1", "00-05"), event("other", "d2", "29-31"), event("during", "d1", "29-31")]
    folder = package(
        tmp_path / "p", deployments=[DEPLOYMENT, DEPLOYMENT | {"deploymentID": "d2"}], media=media, observations=rows
    )
    photo(folder / "media/a.jpg")
    photo(folder / "media/b.jpg")
    assert [entry.sequence for entry in listed(folder) if isinstance(entry, MediaItem)] == ["before", "during"]


def test_a_time_without_an_offset_is_one_of_the_zone_that_is_given(tmp_path: Path) -> None:
    folder = package(tmp_path / "p", media=[MEDIA | {"timestamp": "2020-06-01T10:00:00"}])
    photo(folder / "media/a.jpg")
    assert only_item(folder).captured_at == datetime(2020, 6, 1, 10)
    there = only_item(folder, time_zone="Europe/Brussels").captured_at
    assert there is not None
    assert there.utcoffset() == timedelta(hours=2)


BAD_MEDIA = {
    "deploymentID 'dX' is not in the deployments": {"deploymentID": "dX"},
    "an absolute path": {"filePath": "/etc/passwd"},
    "outside the folder": {"filePath": "../outside.jpg"},
    "is an absolute path outside": {"filePath": "C:\\photos\\a.jpg"},
    "media/gone.jpg does not exist": {"filePath": "media/gone.jpg"},
    "duplicate mediaID 'm0'": {"mediaID": "m0"},
    "it has the file of media 'm0', which is used": {"mediaID": "m1"},
    "it lacks a mediaID": {"mediaID": ""},
    "x.jpg does not exist": {"filePath": "x" * 5000 + "x.jpg"},
    "contains a NUL": {"filePath": "media/\0.jpg"},
}


def test_a_quotation_mark_that_does_not_quote_swallows_no_row_and_is_an_error_of_the_package(tmp_path: Path) -> None:
    rows = [MEDIA | {"mediaID": f"m{n}", "filePath": f"media/{n}.jpg", "mediaComments": "x"} for n in range(6)]
    folder = package(tmp_path / "p", media=rows, observations=[])
    for row in rows:
        photo(folder / row["filePath"])
    table = folder / "media.csv"
    lines = table.read_text().splitlines()
    lines[2], lines[5] = lines[2].replace(",x", ',"Hof bei Köln'), lines[5].replace(",x", ',"Hof bei Köln')
    table.write_text("\n".join(lines) + "\n")
    options = ListingOptions()
    found = list(CamtrapDpSource().items(str(folder), options))
    assert [Path(entry.uri).name for entry in found if isinstance(entry, MediaItem)] == [f"{n}.jpg" for n in range(6)]
    assert (
        "rows have a quotation mark that does not quote; it is read as text: 2 (the first: media.csv, line 3: "
        in "".join(options.findings.lines())
    )
    problems = [str(problem) for problem in camtrap_dp_problems(folder) if "quotation mark" in str(problem)]
    assert len(problems) == 2


@pytest.mark.parametrize("reason", BAD_MEDIA)
def test_a_media_row_that_cannot_be_used_is_a_line_and_the_good_ones_go_on(tmp_path: Path, reason: str) -> None:
    folder = package(tmp_path / "p", media=[MEDIA | {"mediaID": "m0"}, MEDIA | BAD_MEDIA[reason]], observations=[])
    photo(folder / "media/a.jpg")
    good, bad = listed(folder)
    assert isinstance(good, MediaItem)
    assert isinstance(bad, Unlisted)
    assert reason in bad.reason
    assert "line 3" in bad.reason


BAD_OBSERVATIONS = {
    "mediaID 'mX' is not in the media": {"mediaID": "mX"},
    "deploymentID 'dX' is not in the deployments": {"deploymentID": "dX"},
    "a box is x, y, width, height between 0 and 1": BOX | {"bboxX": "0.9"},
    "is not four numbers": BOX | {"bboxWidth": "nan", "bboxX": "wide"},
    "duplicate observationID 'o0'": {"observationID": "o0"},
    "it lacks a mediaID and is not an observation of an event": {"mediaID": ""},
}


@pytest.mark.parametrize("reason", BAD_OBSERVATIONS)
def test_an_observation_that_cannot_be_used_is_a_line_and_the_image_is_listed(tmp_path: Path, reason: str) -> None:
    rows = [OBSERVATION | {"observationID": "o0"}, OBSERVATION | BAD_OBSERVATIONS[reason]]
    folder = package(tmp_path / "p", observations=rows)
    photo(folder / "media/a.jpg")
    entries = listed(folder)
    (said,) = reasons(entries)
    assert reason in said
    assert [entry.uri for entry in entries if isinstance(entry, Unlisted)] == [f"{folder}/observations.csv#line=3"]
    assert sum(isinstance(entry, MediaItem) for entry in entries) == 1


def test_a_symbolic_link_that_leaves_the_package_is_refused(tmp_path: Path) -> None:
    folder = package(tmp_path / "p")
    (folder / "media").mkdir()
    (folder / "media/a.jpg").symlink_to(photo(tmp_path / "secret.jpg"))
    assert "symbolic link" in reasons(listed(folder))[0]
    assert isinstance(listed(folder, allow_outside=True)[0], MediaItem)


def test_a_table_that_is_a_link_out_of_the_package_is_refused(tmp_path: Path) -> None:
    folder = package(tmp_path / "p")
    (folder / "media.csv").rename(tmp_path / "elsewhere.csv")
    (folder / "media.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(SourceError, match=r"media\.csv is a symbolic link that leaves the package"):
        listed(folder)


BAD_PACKAGES = {
    "Camtrap DP 0.6; supported are 1.0, 1.0.1, 1.0.2": descriptor(profile="https://x.org/camtrap-dp/0.6/camtrap-dp-profile.json"),
    "line 1, column 15": '{"resources": oh}',
    "does not name a version": {"profile": "camtrap-dp", "resources": []},
    "lacks the resource 'deployments'; it has none": descriptor(resources=[]),
    "is on the web": descriptor(resources=[{"name": n, "path": f"https://x.org/{n}"} for n in ("deployments", "media")]),
    "leaves the package": descriptor(resources=[{"name": n, "path": f"../{n}"} for n in ("deployments", "media")]),
    "cannot be read: No such file": descriptor(resources=[{"name": n, "path": f"{n}.gone"} for n in ("deployments", "media")]),
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD_PACKAGES)
def test_a_package_that_cannot_be_read_as_a_whole_says_why(tmp_path: Path, reason: str) -> None:
    about = BAD_PACKAGES[reason]
    folder = package(tmp_path / "p", about=about if isinstance(about, str) else json.dumps(about))
    with pytest.raises(SourceError, match=reason.replace(".", r"\.")):
        listed(folder)


def test_a_row_with_too_many_cells_or_other_bytes_is_a_line(tmp_path: Path) -> None:
    folder = package(tmp_path / "p")
    photo(folder / "media/a.jpg")
    with (folder / "media.csv").open("ab") as file:
        file.write(b"m2,d1," + b"," * 20 + b"\r\n" + b"m3,d1,,2020-06-01T10:00:00Z,caf\xe9.jpg,true,,image/jpeg,,,\r\n")
    said = reasons(listed(folder))
    assert "it has 23 cells where the header has 11" in said[0]
    assert "its filePath is not in UTF-8" in said[1]


def test_human_observations_become_reviews_of_images_boxes_and_events(tmp_path: Path) -> None:
    rows = [
        OBSERVATION,
        OBSERVATION | BOX | {"observationID": "o2", "observationType": "human", "scientificName": ""},
        OBSERVATION
        | {"observationID": "o3", "mediaID": "", "observationLevel": "event", "scientificName": "Aves", "count": "3"},
        OBSERVATION | {"observationID": "o4", "classificationMethod": "machine"},
        OBSERVATION | {"observationID": "o5", "observationType": "unclassified", "scientificName": ""},
        OBSERVATION | {"observationID": "o6", "observationType": "unknown", "scientificName": "", "classifiedBy": ""},
    ]
    folder = package(tmp_path / "p", observations=rows)
    photo(folder / "media/a.jpg")
    item = only_item(folder)
    image, box, event, unknown = reviews(folder)
    assert (image.target.kind, image.target.uri, image.verdict, image.reviewer) == (
        "media",
        item.uri,
        "taxon",
        "Ada Example",
    )
    assert image.taxon == Taxon("Animalia", genus="Vulpes", species="fictus", common_name="fox")
    assert image.reviewed_at == datetime.fromisoformat("2020-07-09T09:39:52Z")
    assert (image.details["count"], image.details["sex"], image.details["observationID"]) == (1, "female", "o1")
    assert (box.target.kind, box.verdict, box.taxon, box.target.region) == ("region", "person", None, item.regions[0])
    assert (event.target.kind, event.target.event, event.taxon) == ("event", item.sequence, Taxon(class_="Aves"))
    assert (unknown.verdict, unknown.reviewer) == ("unidentifiable", "not stated")


def test_reviews_have_the_same_uid_wherever_the_package_lies(tmp_path: Path) -> None:
    here, there = reviews(package(tmp_path / "here")), reviews(package(tmp_path / "there"))
    assert [one.uid for one in here] == [one.uid for one in there]
    other = package(tmp_path / "other", about=descriptor(id="another"))
    assert reviews(other)[0].uid != here[0].uid


@pytest.mark.parametrize(
    ("name", "rank", "taxon"),
    [
        ("Vulpes vulpes", "", Taxon(genus="Vulpes", species="vulpes")),
        ("Canis lupus familiaris", "subspecies", Taxon(genus="Canis", species="lupus")),
        ("Felidae", "", Taxon(family="Felidae")),
        ("Ardea", "genus", Taxon(genus="Ardea")),
        ("Carnivora", "order", Taxon(order="Carnivora")),
        ("Vulpes vulpes?", "", Taxon(genus="Vulpes")),
        ("Vulpes sp.", "species", Taxon(genus="Vulpes")),
        ("Vulpes vulpes", "genus", Taxon(genus="Vulpes")),
        ("Aves", "", Taxon(class_="Aves")),
        ("Unidentified bird", "", Taxon("Animalia")),
    ],
)
def test_a_name_is_a_taxon_of_its_rank(tmp_path: Path, name: str, rank: str, taxon: Taxon) -> None:
    listed_taxa = [{"scientificName": name, "taxonRank": rank}] if rank else []
    folder = package(
        tmp_path / "p", about=descriptor(taxonomic=listed_taxa), observations=[OBSERVATION | {"scientificName": name}]
    )
    found = reviews(folder)[0].taxon
    assert found is not None
    assert replace(found, common_name="") == taxon
