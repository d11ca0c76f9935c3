"""Reviews as labels: imported from a file, read back as items of a catalog, and built into a catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_plugin.cli import run as command_line
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.shared.review_rows import NotTaken
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.labelled.sources import labelled_sources
from bioclip_plugin.reviews.importing import Imported, ImportOptions, import_reviews
from bioclip_plugin.reviews.names import NameBook, StoredNames
from bioclip_plugin.store import ReviewTarget, RunPlan, Store
from bioclip_plugin.store.records import DrawnItem
from bioclip_training.catalog.rows import LabelledItem
from bioclip_training.catalog.sources import SkippedRow

LYNX = Taxon.of(("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "lynx"))
FOX = Taxon.of(("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "vulpes"))
ANIMAL, OTHER = (Region(x, 0.1, 0.25, 0.5, "finder", "1", "animal", 0.9) for x in (0.1, 0.6))
PERSON = Region(0.1, 0.1, 0.5, 0.5, "finder", "1", "person", 0.9, classified=False)
PLAN = RunPlan(
    sources=("p",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={},
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


def listed(store: Store, *items: MediaItem) -> None:
    store.list_items(store.begin_run(PLAN), list(items), [None] * len(items))


def read(store: Store) -> tuple[list[LabelledItem], list[SkippedRow]]:
    (source,) = labelled_sources([store.shown_address.removeprefix("sqlite:///")])
    found = list(source.items())
    items = [item for item in found if isinstance(item, LabelledItem)]
    return items, [item for item in found if isinstance(item, SkippedRow)]


def test_an_event_of_one_taxon_labels_its_animals_and_no_empty_image(store: Store) -> None:
    listed(
        store,
        MediaItem("two.jpg", sequence="night", regions=(ANIMAL, OTHER), detected=True),
        MediaItem("empty.jpg", sequence="night", detected=True),
        MediaItem("person.jpg", sequence="night", regions=(PERSON,), detected=True),
        MediaItem("undetected.jpg", sequence="night"),
        MediaItem("reviewed.jpg", sequence="night"),
        MediaItem("elsewhere.jpg", sequence="day"),
        MediaItem("audited.jpg", sequence="night"),
    )
    # Boxes are stored with their answers; here a review of each takes their place.
    with store._database._engine.begin() as connection:
        for media, box in ((1, ANIMAL), (1, OTHER), (3, PERSON)):
            x, y, w, h = box.box
            values = (media, x, y, w, h, box.detector, box.detector_version, box.category, box.confidence)
            connection.exec_driver_sql(
                "INSERT INTO bioclip_regions (media, x, y, w, h, detector, detector_version, category, confidence) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values,
            )  # fmt: skip
    store.add_review(ReviewTarget("event", event="night"), "taxon", LYNX, reviewer="Ann")
    store.add_review(ReviewTarget("media", "reviewed.jpg"), "blank", reviewer="Ann")
    store.keep_audit_sample([DrawnItem(7, "another night", "", 0.5)])
    items, left_out = read(store)
    assert [(item.uri, item.box) for item in items] == [
        ("two.jpg", (0.1, 0.1, 0.25, 0.5)), ("two.jpg", (0.6, 0.1, 0.25, 0.5)), ("undetected.jpg", None),
    ]  # fmt: skip
    assert {item.cells["genus"] for item in items} == {"Lynx"}
    assert sorted((one.uri, one.kind) for one in left_out) == [
        ("audited.jpg", "audit sample"), ("empty.jpg", "no animal"), ("person.jpg", "no animal"), ("reviewed.jpg", "no taxon"),
    ]  # fmt: skip


def test_a_review_of_several_taxa_labels_nothing(store: Store) -> None:
    listed(store, MediaItem("a.jpg", sequence="night"), MediaItem("b.jpg"))
    when = datetime(2021, 1, 1, tzinfo=UTC)
    for taxon in (LYNX, FOX):
        store.add_review(ReviewTarget("event", event="night"), "taxon", taxon, reviewer="Ann", reviewed_at=when)
        store.add_review(ReviewTarget("media", "b.jpg"), "taxon", taxon, reviewer="Ann", reviewed_at=when)
    items, left_out = read(store)
    assert items == []
    assert {one.reason for one in left_out} == {"the review names several at once: Lynx lynx, Vulpes vulpes"}


def test_a_review_that_corrects_the_catalogue_is_not_outvoted_by_it(store: Store) -> None:
    listed(store, MediaItem("a.jpg", metadata={"genus": "Vulpes", "specificEpithet": "vulpes", "scientificName": "Vulpes vulpes",
                                               "catalogNumber": "7"}))  # fmt: skip
    store.add_review(ReviewTarget("media", "a.jpg"), "taxon", LYNX, reviewer="Ann")
    ((item,), _) = read(store)
    assert (item.cells["genus"], item.cells["species"], item.cells["catalogNumber"]) == ("Lynx", "lynx", "7")
    assert not {"specificEpithet", "scientificName"} & item.cells.keys()


def test_a_reviewed_image_belongs_to_the_deployment_that_the_runs_table_names(store: Store, tmp_path: Path) -> None:
    table = tmp_path / "cameras.csv"
    table.write_text("deploymentID,latitude,longitude\nNorth,51,4\n")
    plan = replace(PLAN, settings={"deployments": str(table)})
    items = [MediaItem("North/100MEDIA/a.jpg"), MediaItem("other/b.jpg"), MediaItem("other/c.jpg", deployment="South")]
    store.list_items(store.begin_run(plan), items, [None] * 3)
    for item in items:
        store.add_review(ReviewTarget("media", item.uri), "taxon", LYNX, reviewer="Ann")
    assert [item.cells["deployment"] for item in read(store)[0]] == ["North", "", "South"]
    table.unlink()
    options = ListingOptions()
    (source,) = labelled_sources([store.shown_address.removeprefix("sqlite:///")], options)
    for _ in range(2):  # as a catalog reads it
        found = [item for item in source.items() if isinstance(item, LabelledItem)]
    assert [item.cells["deployment"] for item in found] == ["", "", "South"]
    (line,) = options.findings.lines()
    assert "tables of deployments of a run cannot be used, so the deployments in them are unknown: 1" in line
    assert str(table) in line


def test_a_catalog_is_built_of_reviews_that_were_imported(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for n in range(5):
        Image.effect_noise((64, 64), 90 + n).convert("RGB").save(tmp_path / f"{n}.png")
    listed(store, *(MediaItem(str(tmp_path / f"{n}.png"), sequence=f"s{n}") for n in range(5)))
    store.keep_audit_sample([DrawnItem(5, "s4", "", 0.2)])
    table = tmp_path / "checked.csv"
    table.write_text(
        "image,scientificName,family,individualID\n0.png,Lynx lynx,Felidae,one\n1.png,Vulpes vulpes,Canidae,two\n"
        "2.png,blank,,\n3.png,Lynx lynx,Felidae,one\n4.png,Lynx lynx,Felidae,two\n"
    )
    refused: list[NotTaken] = []
    done: Imported = import_reviews(
        str(table), store, [], NameBook(StoredNames(store)), ImportOptions("Ann"), refused.append
    )
    assert (done.new, refused) == (5, [])
    output = str(tmp_path / "catalog.parquet")
    assert command_line(["catalog", "build", str(tmp_path / "results.db"), "--val", "0", "--output", output]) == 0
    left_out = (
        "reviews of the audit sample are left out, since models are measured on it and never trained: 1 (the first: "
    )
    assert left_out in " ".join(capsys.readouterr().out.split())
    rows = parquet.read_table(output).to_pylist()
    assert sorted((Path(row["uri"]).name, row["genus"], row["species"]) for row in rows) == [
        ("0.png", "Lynx", "lynx"), ("1.png", "Vulpes", "vulpes"), ("3.png", "Lynx", "lynx"),
    ]  # fmt: skip
    groups = {Path(row["uri"]).name: row["group"] for row in rows}
    assert groups["0.png"] == groups["3.png"] != groups["1.png"]


def test_two_people_who_review_at_one_moment_are_both_given(store: Store) -> None:
    listed(store, MediaItem("a.jpg"), MediaItem("b.jpg"))
    early, late = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 1, 2, tzinfo=UTC)
    for name, taxon, when in (("Ann", FOX, early), ("Bo", FOX, late), ("Ann", LYNX, late)):
        store.add_review(ReviewTarget("media", "a.jpg"), "taxon", taxon, reviewer=name, reviewed_at=when)
    store.add_review(ReviewTarget("media", "b.jpg"), "taxon", LYNX, reviewer="Ann", reviewed_at=early)
    store.add_review(ReviewTarget("media", "b.jpg"), "taxon", FOX, reviewer="unknown", reviewed_at=late)
    items, _ = read(store)
    said = [(item.uri, item.cells["genus"], item.evidence and item.evidence.by) for item in items]
    assert said == [("a.jpg", "Vulpes", "Bo"), ("a.jpg", "Lynx", "Ann"), ("b.jpg", "Lynx", "Ann")]


def test_a_review_of_the_future_is_not_the_newest(store: Store) -> None:
    listed(store, MediaItem("a.jpg"), MediaItem("b.jpg"))
    now, ahead, further = (datetime(year, 1, 1, tzinfo=UTC) for year in (2021, 2998, 2999))
    for image, taxon, when in (("a", FOX, ahead), ("a", LYNX, now), ("b", FOX, ahead), ("b", LYNX, further)):
        store.add_review(ReviewTarget("media", f"{image}.jpg"), "taxon", taxon, reviewer="Ann", reviewed_at=when)
    items, _ = read(store)
    # Of reviews by a clock that is wrong throughout, the order counts.
    assert [(item.uri, item.cells["genus"], str(item.evidence)) for item in items] == [
        ("a.jpg", "Lynx", "review by Ann of 2021-01-01T00:00:00Z"), ("b.jpg", "Lynx", "review by Ann"),
    ]  # fmt: skip


def test_a_blank_event_takes_its_images_out_except_those_that_were_reviewed(store: Store) -> None:
    listed(
        store,
        MediaItem("a.jpg", sequence="night"),
        MediaItem("b.jpg", sequence="night"),
        MediaItem("c.jpg", sequence="day"),
    )
    store.add_review(ReviewTarget("event", event="night"), "blank", reviewer="Ann")
    store.add_review(ReviewTarget("media", "b.jpg"), "taxon", LYNX, reviewer="Ann")
    items, left_out = read(store)
    assert [item.uri for item in items] == ["b.jpg"]
    (blank,) = left_out
    assert blank.item is not None
    assert blank.item.evidence is not None
    assert (blank.item.uri, str(blank.item.evidence)[:24], blank.item.evidence.verdict) == (
        "a.jpg",
        "review of its event by A",
        "blank",
    )


@pytest.mark.parametrize("fate", ["moved", "replaced", "gone"])
def test_a_review_counts_for_the_bytes_that_were_reviewed(store: Store, tmp_path: Path, fate: str) -> None:
    """The reviewed file is elsewhere, its name has another image, or there is no copy of it."""
    for n in range(2):
        Image.effect_noise((64, 64), 90 + n).convert("RGB").save(tmp_path / f"{n}.png")
    listed(store, *(MediaItem(str(tmp_path / f"{n}.png"), sequence=f"s{n}") for n in range(2)))
    with store._database._engine.begin() as connection:
        for n in range(2):
            sha256 = hashlib.sha256((tmp_path / f"{n}.png").read_bytes()).hexdigest()
            connection.exec_driver_sql("INSERT INTO bioclip_contents (sha256, frame, size) VALUES (?, 0, 1)", (sha256,))
            connection.exec_driver_sql("UPDATE bioclip_media SET content = ? WHERE id = ?", (n + 1, n + 1))
    store.add_review(ReviewTarget("media", str(tmp_path / "0.png")), "taxon", LYNX, reviewer="Ann")
    store.add_review(ReviewTarget("media", str(tmp_path / "1.png")), "blank", reviewer="Ann")
    (tmp_path / "new").mkdir()
    for n in range(2):
        (tmp_path / f"{n}.png").rename(tmp_path / "new" / f"{n}.png")
        if fate != "moved":
            Image.effect_noise((64, 64), 40 + n).convert("RGB").save(
                tmp_path / f"{n}.png" if fate == "replaced" else tmp_path / "new" / f"{n}.png"
            )
    table = tmp_path / "table.csv"
    table.write_text("image,scientificName\nnew/0.png,Vulpes vulpes\nnew/1.png,Vulpes vulpes\n")
    output = tmp_path / "catalog.parquet"
    done = command_line(
        [
            "catalog",
            "build",
            str(table),
            str(tmp_path / "results.db"),
            "--group-by",
            "image",
            "--val",
            "0",
            "--output",
            str(output),
        ]
    )
    rows = [(row["uri"], row["genus"]) for row in parquet.read_table(output).to_pylist()]
    assert (rows, done) == (
        ([("new/0.png", "Vulpes"), ("new/1.png", "Vulpes")], 3) if fate == "gone" else ([("new/0.png", "Lynx")], 0)
    )
    moved = [
        "catalog",
        "build",
        str(tmp_path / "results.db"),
        "--val",
        "0",
        "--replace-prefix",
        f"{tmp_path}={tmp_path / 'new'}",
    ]
    done = command_line([*moved, "--force", "--output", str(output)])
    if fate != "gone":
        assert done == 0
        assert parquet.read_table(output).column("uri").to_pylist() == ["new/0.png"]
