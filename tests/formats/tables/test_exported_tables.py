"""Tables that ``export`` wrote, classified again: the same images, frames, boxes, keys and kept columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.classify import Candidate
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.tables.read_exported import ExportedTableSource
from bioclip_plugin.formats.tables.write import CsvExporter, ParquetExporter
from bioclip_plugin.formats.tables.write_excel import ExcelExporter
from bioclip_plugin.formats.timelapse.read import TimelapseSource
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted
from bioclip_plugin.store import ItemRecord, RegionRecord, Run, RunPlan, Store

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
ANIMAL = Region(0.1, 0.2, 0.3, 0.4, "finder", "", "animal", 0.875)
FAINT = Region(0.1, 0.1, 0.2, 0.2, "finder", "", "animal", 0.05, classified=False)
PERSON = Region(0.5, 0.5, 0.25, 0.25, "finder", "", "person", 0.75, classified=False)
PLAN = RunPlan(
    sources=("photos",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={"model": {"name": "fake"}},
)  # fmt: skip
ITEMS = (
    MediaItem("p/two.jpg", captured_at=datetime(2031, 5, 6, 4, 30), place=Place("BE", None, 52.5, 5.5, 5), deployment="cam 1",
              sequence="night 3", regions=(ANIMAL, FAINT, PERSON), detected=True,
              metadata={"catalogNumber": "0007", "scientificName": "Lynx x", "room": "=7"}),
    MediaItem("p/blank.jpg", detected=True),
    MediaItem("p/whole.jpg"),
    MediaItem("p/v.mp4", frame=0, regions=(ANIMAL,), detected=True),
    MediaItem("p/v.mp4", frame=30, regions=(ANIMAL,), detected=True),
    MediaItem("p/broken.jpg"),
    MediaItem("list.csv#row=3"),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    run = store.begin_run(PLAN)
    best = Candidate(LYNX, "species", 0.75)
    records = []
    for listed in store.list_items(run, list(ITEMS), [None] * len(ITEMS)):
        item = listed.item
        if item.uri in ("p/broken.jpg", "list.csv#row=3"):
            stage = "list" if "#" in item.uri else "decode"
            records.append(ItemRecord(listed, item, failure=Failure(stage, "cut off")))
            continue
        boxes = item.regions or (() if item.detected else (None,))
        regions = tuple(
            RegionRecord(box, None, {"species": (best,)}, (), best)
            if box is None or box.classified
            else RegionRecord(box, None, None)
            for box in boxes
        )
        records.append(ItemRecord(listed, item, None, f"{item.uri}{item.frame}", 1, regions))
    store.commit(run, records)
    store.end_run(run, "finished", {})
    return store.run(run.id)


def listed(path: Path, **options: Any) -> list[MediaItem | Unlisted]:
    source = ExportedTableSource()
    assert source.takes(str(path))
    assert not TimelapseSource().takes(str(path))
    return list(source.items(str(path), ListingOptions(base_folder=Path(), **options)))


@pytest.mark.parametrize("exporter", [CsvExporter(), ParquetExporter(), ExcelExporter()], ids=lambda one: one.name)
def test_images_come_back_with_frames_boxes_keys_and_kept_columns(
    store: Store, run: Run, tmp_path: Path, exporter: Any
) -> None:
    path = tmp_path / f"out.{exporter.name}"
    exporter.write(path, Export(store, run, ExportOptions(keep_columns=("*",))))
    *items, unlisted = listed(path)
    assert [(item.uri, item.frame, item.detected) for item in items] == [
        (item.uri, item.frame, item.detected) for item in ITEMS[:-1]
    ]
    assert [item.regions for item in items] == [item.regions for item in ITEMS[:-1]]
    first = items[0]
    assert isinstance(first, MediaItem)
    assert (first.captured_at, first.place, first.deployment, first.sequence) == (
        ITEMS[0].captured_at, ITEMS[0].place, "cam 1", "night 3",
    )  # fmt: skip
    assert dict(first.metadata) == dict(ITEMS[0].metadata)
    assert isinstance(unlisted, Unlisted)
    assert (unlisted.uri, unlisted.reason) == ("list.csv#row=3", "cut off")


def test_a_table_of_images_keeps_keys_and_says_where_nothing_was_found(store: Store, run: Run, tmp_path: Path) -> None:
    CsvExporter().write(tmp_path / "out.csv", Export(store, run, ExportOptions(per="image")))
    items = [item for item in listed(tmp_path / "out.csv") if isinstance(item, MediaItem)]
    assert [(item.uri, item.detected) for item in items][:3] == [
        ("p/two.jpg", False),
        ("p/blank.jpg", True),
        ("p/whole.jpg", False),
    ]
    assert items[0].metadata["catalogNumber"] == "0007"


def test_a_bad_cell_skips_its_row_only(store: Store, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    CsvExporter().write(path, Export(store, run))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[1]["region_w"] = "2"
    rows[4]["frame"] = "first"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    found = listed(path)
    skipped = [one.reason for one in found if isinstance(one, Unlisted)]
    assert [text.partition(":")[0] for text in skipped] == ["row 2", "row 5", "cut off"]
    two = next(one for one in found if isinstance(one, MediaItem))
    assert two.regions == (ANIMAL, PERSON)


def test_names_begin_in_the_working_directory_if_they_are_not_beside_the_table(
    store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p").mkdir()
    Path("p/two.jpg").write_bytes(b"x")
    Path("elsewhere").mkdir()
    CsvExporter().write(Path("elsewhere/out.csv"), Export(store, run))
    first, second, *_ = ExportedTableSource().items("elsewhere/out.csv")
    assert isinstance(first, MediaItem)
    assert (first.uri, first.path) == ("p/two.jpg", Path("p/two.jpg"))
    assert second.uri == "elsewhere/p/blank.jpg"
