"""Wildlife Insights' images as input: the file of each row, places, identifications and reviews."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.wildlife_insights.read import WildlifeInsightsSource
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.listing import Listing, source_of
from bioclip_plugin.store import open_store

SOURCES = create_plugin_manager(installed=False).sources()
HEADER = (
    "project_id,deployment_id,image_id,filename,location,is_blank,identified_by,wi_taxon_id,class,order,family,genus,"
    "species,common_name,timestamp,number_of_objects"
)
FOX = "Mammalia,Carnivora,Canidae,Vulpes,fictus,Invented Fox"
HARE = "Mammalia,Lagomorpha,Leporidae,Lepus,fictus,Invented Hare"
BUCKET = "gs://p1__main/deployment"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def row(image: str, *, deployment: str = "D1", filename: str = "", location: str = "", **cells: Any) -> str:
    about = {"blank": "0", "by": "Ann", "taxon": FOX, "at": "2024-06-01 22:00:00", "count": "1", **cells}
    return f"7,{deployment},{image},{filename},{location},{about['blank']},{about['by']},id,{about['taxon']},{about['at']},{about['count']}"


def table(*rows: str, name: str = "wi/images.csv", header: str = HEADER) -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("\n".join((header, *rows)) + "\n")
    return name


def listed(address: str, **options: Any) -> list[MediaItem | Unlisted]:
    with Listing([address], SOURCES, ListingOptions(**options)) as listing:
        return list(listing)


def uris(address: str, **options: Any) -> list[str]:
    return [one.uri for one in listed(address, **options) if isinstance(one, MediaItem)]


@pytest.mark.parametrize(
    "there",
    [
        "wi/deployment/2241000/prod/directUpload/5fda.JPG",
        "wi/2241000/prod/directUpload/5fda.JPG",
        "wi/D1/5fda.JPG",
        "wi/5fda.JPG",
        "wi/D1/IMG_0001.JPG",
        "wi/IMG_0001.JPG",
    ],
)
def test_the_file_of_an_image_is_found_where_downloads_have_it(there: str) -> None:
    touch(there)
    address = table(row("i1", filename="IMG_0001.JPG", location=f"{BUCKET}/2241000/prod/directUpload/5fda.JPG"))
    assert uris(address) == [there]


def test_each_row_has_the_image_of_its_own_deployment_and_a_shared_bare_name_is_given_to_none() -> None:
    touch("wi/IMG_0001.JPG", "wi/D2/IMG_0001.JPG")
    address = table(
        row("i1", deployment="D1", filename="IMG_0001.JPG", location=f"{BUCKET}/1/a.JPG"),
        row("i2", deployment="D2", filename="IMG_0001.JPG", location=f"{BUCKET}/2/b.JPG"),
    )
    missing, found = listed(address)
    assert found.uri == "wi/D2/IMG_0001.JPG"
    assert isinstance(missing, Unlisted)
    assert missing.known is not None
    assert missing.known.deployment == "D1"
    assert missing.reason == (
        "row 1: several images are called IMG_0001.JPG, and none is in a folder of its own; nothing is fetched: download "
        f"{BUCKET}/1/a.JPG to wi/deployment/1/a.JPG"
    )


def test_two_files_that_fit_one_row_are_refused_with_their_names() -> None:
    touch("wi/D1/IMG_0001.JPG", "wi/D1/a.JPG")
    (refused,) = listed(table(row("i1", filename="IMG_0001.JPG", location=f"{BUCKET}/1/a.JPG")))
    assert isinstance(refused, Unlisted)
    assert "the files wi/D1/a.JPG and wi/D1/IMG_0001.JPG both fit" in refused.reason


def test_time_deployment_place_and_names_fill_the_item() -> None:
    touch("wi/D1/a.JPG")
    Path("wi/deployments.csv").write_text("deployment_id,latitude,longitude\nD1,-5.69,-77.64\nD2,1,2\n")
    (item,) = listed(table(row("i1", filename="a.JPG", sequence="s")))
    assert isinstance(item, MediaItem)
    assert (item.captured_at, item.deployment) == (datetime(2024, 6, 1, 22), "D1")
    assert (item.place.latitude, item.place.longitude) == (-5.69, -77.64)
    assert item.metadata["scientificName"] == "Vulpes fictus"
    assert item.metadata["image_id"] == "i1"


def test_several_species_of_an_image_are_one_item_with_all_identifications() -> None:
    touch("wi/D1/a.JPG", "wi/D1/b.JPG")
    address = table(
        row("i1", filename="a.JPG"),
        row("i1", filename="a.JPG", taxon=HARE, count="3"),
        row("i2", filename="b.JPG"),
        row("i1", filename="a.JPG", taxon=HARE, count="4"),
        row("i3"),
    )
    findings = Findings()
    first, second, again, nameless = listed(address, findings=findings)
    assert isinstance(first, MediaItem)
    assert [one["commonname"] for one in first.metadata["identifications"]] == ["Invented Fox", "Invented Hare"]
    assert second.uri == "wi/D1/b.JPG"
    assert isinstance(nameless, Unlisted)
    assert nameless.reason == "row 5: location and filename are empty; one of them must name the image"
    assert isinstance(again, Unlisted)
    assert again.reason == (
        "row 4: its image is that of row 1, which is not above it; its identification is read as a review only"
    )
    assert not findings


def test_identifications_by_people_are_reviews_and_those_of_the_computer_are_not() -> None:
    touch(*(f"wi/D1/{name}.JPG" for name in "abcdefg"))
    nothing = ",,,,"
    address = table(
        row("a", filename="a.JPG", count="2"),
        row("a", filename="a.JPG", taxon=HARE),
        row("b", filename="b.JPG", taxon=f"{nothing},Blank", blank="1"),
        row("c", filename="c.JPG", taxon="Mammalia,Primates,Hominidae,Homo,sapiens,Human-Camera Trapper"),
        row("d", filename="d.JPG", taxon=f"{nothing},Vehicle"),
        row("e", filename="e.JPG", taxon=f"{nothing},No CV Result"),
        row("f", filename="f.JPG", by="Computer vision"),
        row("g", filename="g.JPG", taxon=f"{nothing},Invented Owl"),
    )
    reviews = list(WildlifeInsightsSource().reviews(address, ListingOptions()))
    assert [(one.target.uri, one.verdict) for one in reviews] == [
        ("wi/D1/a.JPG", "taxon"), ("wi/D1/a.JPG", "taxon"), ("wi/D1/b.JPG", "blank"), ("wi/D1/c.JPG", "person"),
        ("wi/D1/d.JPG", "vehicle"), ("wi/D1/e.JPG", "unidentifiable"), ("wi/D1/g.JPG", "taxon"),
    ]  # fmt: skip
    assert reviews[0].taxon == Taxon(
        "Animalia", "", "Mammalia", "Carnivora", "Canidae", "Vulpes", "fictus", "Invented Fox"
    )
    assert (reviews[0].reviewer, reviews[0].details) == ("Ann", {"count": 2})
    assert reviews[-1].taxon == Taxon("Animalia", common_name="Invented Owl")
    assert reviews[-1].details["verbatimName"] == "Invented Owl"
    assert len({one.uid for one in reviews}) == len(reviews)
    again = list(WildlifeInsightsSource().reviews(address, ListingOptions()))
    assert [one.uid for one in again] == [one.uid for one in reviews]


def test_a_folder_with_its_tables_is_classified_and_its_reviews_are_stored(
    command: Callable[..., tuple[int, str, str]], colour_labels: str
) -> None:
    for name in ("a", "b"):
        Path("wi/D1").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), "red").save(f"wi/D1/{name}.JPG")
    Path("wi/deployments.csv").write_text("deployment_id,latitude,longitude\nD1,-5.69,-77.64\n")
    table(row("a", filename="a.JPG", taxon="Mammalia,Carnivora,Warmidae,Red,fictus,scarlet"), name="wi/images_1.csv")
    table(row("b", filename="b.JPG", by="Computer vision"), name="wi/images_2.csv")
    assert source_of("wi", SOURCES).name == WildlifeInsightsSource.name
    code, _, said = command("classify", "wi", "--model", "fake", "--labels", colour_labels, "--store", "r.db")
    assert code == 0, said
    with open_store("r.db") as store:
        run = store.runs()[-1]
        items = [one.item for one in store.items_of(run)]
        assert [one.uri for one in items] == ["wi/D1/a.JPG", "wi/D1/b.JPG"]
        (review,) = store.reviews()
    assert (review.reviewer, review.taxon and review.taxon.scientific_name) == ("Ann", "Red fictus")


def test_tables_of_wildlife_insights_are_known_by_their_columns() -> None:
    assert WildlifeInsightsSource().takes(table(row("i1", filename="a.JPG"), name="wi/anything.csv"))
    touch("photos/a.JPG")
    for address in ("photos", "photos/a.JPG", "nothing"):
        assert not WildlifeInsightsSource().takes(address)
    assert not WildlifeInsightsSource().takes(table("7,D1,x", header="project_id,deployment_id,location"))


def test_coordinates_of_a_deployment_that_cannot_be_read_are_reported_and_not_replaced() -> None:
    touch("wi/a.JPG", "wi/b.JPG")
    address = table(row("i1", filename="a.JPG"), row("i2", filename="b.JPG", deployment="D2"))
    Path("wi/deployments.csv").write_text(
        'deployment_id,latitude,longitude\nD1,-5.69 X,-77.64\nD2,"5,69 S","77,64 W"\n', "utf-8"
    )
    findings = Findings()
    first, second = listed(address, findings=findings)
    assert isinstance(first, MediaItem)
    assert isinstance(second, MediaItem)
    assert (first.place.latitude, first.unread) == (None, {"position"})
    assert (second.place.latitude, second.place.longitude, second.unread) == (-5.69, -77.64, frozenset())
    (line,) = findings.lines()
    assert "wi/deployments.csv, row 1: '-5.69 X', '-77.64'" in line


def test_rows_without_their_files_are_not_gathered_in_memory() -> None:
    address = table(*(row(f"i{number}", filename=f"{number}.JPG") for number in range(3_000)))
    entries = iter(WildlifeInsightsSource().items(address, ListingOptions()))
    first = next(entries)
    tracemalloc.start()
    assert sum(1 for _ in entries) == 2_999
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(first, Unlisted | MediaItem)
    assert peak < 1_000_000  # 3,000 entries with their metadata are 6 MB
