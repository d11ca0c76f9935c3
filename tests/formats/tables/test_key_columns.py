"""Keys and kept columns: what came in with an image is in the table, under a name that clashes with none of ours."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pyarrow import parquet

from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.shared.table_files import header_of
from bioclip_plugin.formats.tables.columns import COLUMNS, KEY_COLUMNS
from bioclip_plugin.formats.tables.write import CsvExporter, ParquetExporter
from bioclip_plugin.formats.tables.write_excel import ExcelExporter
from bioclip_plugin.formats.timelapse.layout import is_timelapse
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, Run, RunPlan, Store

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
HARE = Taxon("Animalia", "Chordata", "Mammalia", "Lagomorpha", "Leporidae", "Lepus", "fictus", "invented hare")
BOXES = (
    Region(0.1, 0.2, 0.3, 0.4, "finder", "2", "animal", 0.875),
    Region(0.5, 0.5, 0.25, 0.25, "finder", "2", "animal", 0.75),
)
PLAN = RunPlan(
    sources=("photos",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={"model": {"name": "fake"}},
)  # fmt: skip
SHEET = {
    "catalogNumber": "B 10 0001",
    "institutionCode": "HB",
    "Barcode": "0012",
    "room": "7",
    "scientificName": "Lynx x",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


def run_of(store: Store, *given: tuple[MediaItem, tuple[Taxon, ...]]) -> Run:
    """Return a run whose items have one box per taxon."""
    run = store.begin_run(PLAN)
    items = [item for item, _ in given]
    records = []
    for listed, (item, taxa) in zip(store.list_items(run, items, [None] * len(items)), given, strict=True):
        regions = tuple(
            RegionRecord(
                box, None, {"species": (Candidate(taxon, "species", 0.75),)}, (), Candidate(taxon, "species", 0.75)
            )
            for box, taxon in zip(BOXES, taxa, strict=False)
        )
        records.append(ItemRecord(listed, item, content_sha256=item.uri, content_size=1, regions=regions))
    store.commit(run, records)
    store.end_run(run, "finished", {})
    return store.run(run.id)


def one(store: Store, uri: str = "cam1/a.jpg", **about: Any) -> Run:
    return run_of(store, (MediaItem(uri, regions=BOXES[:1], detected=True, **about), (LYNX,)))


def rows(store: Store, run: Run, path: Path, **options: Any) -> list[dict[str, str]]:
    exporter, export = CsvExporter(), Export(store, run, ExportOptions(**options))
    exporter.write(path, export)
    assert exporter.recognises(path)
    assert list(exporter.check(path, export.options)) == []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_keys_of_a_collection_are_in_every_table(store: Store, tmp_path: Path) -> None:
    run = one(store, metadata=SHEET | {"Occurrence_ID": "urn:1", "image_id": 12})
    (row,) = rows(store, run, tmp_path / "out.csv")
    keys = {name: row[name] for name in KEY_COLUMNS if row[name]}
    assert keys == {
        "institutionCode": "HB", "catalogNumber": "B 10 0001", "barcode": "0012", "occurrenceID": "urn:1", "mediaID": "12",
    }  # fmt: skip
    ParquetExporter().write(tmp_path / "out.parquet", Export(store, run))
    ExcelExporter().write(tmp_path / "out.xlsx", Export(store, run))
    (typed,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    header, cells = openpyxl.load_workbook(tmp_path / "out.xlsx").worksheets[0].iter_rows(values_only=True)
    assert dict(zip(header, cells, strict=True)) == typed
    assert {name: typed[name] for name in keys} == keys


@pytest.mark.parametrize(
    ("metadata", "key"),
    [
        ({"camtrap_media": {"mediaID": "m7"}}, ("mediaID", "m7")),
        ({"media": {"identifier": "urn:m"}}, ("mediaID", "urn:m")),
        ({"RelativePath": "cam1\\night", "File": "a.jpg"}, ("RelativePath", "cam1\\night")),
        ({"dwc:materialSampleID": "s"}, ("materialSampleID", "s")),
    ],
)
def test_keys_of_other_programs_are_found(
    store: Store, tmp_path: Path, metadata: Mapping[str, Any], key: tuple[str, str]
) -> None:
    (row,) = rows(store, one(store, metadata=metadata), tmp_path / "out.csv")
    assert row[key[0]] == key[1]


def test_kept_columns_follow_in_the_order_in_which_they_are_named(store: Store, tmp_path: Path) -> None:
    (row,) = rows(store, one(store, metadata=SHEET), tmp_path / "out.csv", keep_columns=("room,Barcode",))
    assert list(row)[len(COLUMNS) :] == ["room", "source_Barcode"]
    assert (row["room"], row["source_Barcode"]) == ("7", "0012")


def test_a_kept_column_never_takes_the_name_of_ours_nor_of_a_review(store: Store, tmp_path: Path) -> None:
    stated = {"status": "loan", "scientificName": "Lynx x", "verdict": "blank", "path": "p", "sex": "m", "a,b": "1"}
    (row,) = rows(store, one(store, metadata=stated), tmp_path / "out.csv", keep_columns=("*",))
    assert set(list(row)[len(COLUMNS) :]) == {
        "source_status", "source_scientificName", "source_verdict", "source_path", "source_sex", "a,b",
    }  # fmt: skip
    assert (row["status"], row["source_status"]) == ("done", "loan")
    (row,) = rows(store, one(store, metadata=stated), tmp_path / "out.csv", keep_columns=("a,b",))
    assert row["a,b"] == "1"


def test_no_two_columns_have_one_name(store: Store, tmp_path: Path) -> None:
    run = one(store, metadata={"scientificName": "a", "source_scientificName": "b"})
    ParquetExporter().write(tmp_path / "out.parquet", Export(store, run, ExportOptions(keep_columns=("*",))))
    (row,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert (row["source_scientificName"], row["source_source_scientificName"]) == ("a", "b")


def test_a_column_that_filled_a_field_is_kept_under_its_own_name(store: Store, tmp_path: Path) -> None:
    run = one(store, sequence="night 3", place=Place(latitude=1.5), captured_at=datetime(2031, 5, 6, 4, 30))
    (row,) = rows(store, run, tmp_path / "out.csv", keep_columns=("decimalLatitude", "eventDate"))
    assert (row["decimalLatitude"], row["eventDate"]) == ("1.5", "2031-05-06T04:30:00")


def test_all_columns_of_all_images_are_kept_with_nested_ones(store: Store, tmp_path: Path) -> None:
    run = run_of(
        store,
        (MediaItem("a.jpg", regions=BOXES[:1], metadata={"box": {"n": 1}, "tags": ["x", 2]}), (LYNX,)),
        (MediaItem("b.jpg", regions=BOXES[:1], metadata={"wet": True}), (LYNX,)),
    )
    first, second = rows(store, run, tmp_path / "out.csv", keep_columns=("all",))
    assert (first["box.n"], first["tags"], first["wet"], second["wet"]) == ("1", '["x", 2]', "", "true")


def test_a_column_that_no_image_has_is_refused_with_those_there_are(store: Store, tmp_path: Path) -> None:
    run = one(store, metadata=SHEET)
    with pytest.raises(DataError, match=r"'raum': no image of this run has such a column; there are: .*room"):
        rows(store, run, tmp_path / "out.csv", keep_columns=("raum,room",))


def test_one_row_per_image_has_the_best_name_and_all_counts(store: Store, tmp_path: Path) -> None:
    person = Region(0.5, 0.5, 0.25, 0.25, "finder", "2", "person", 0.9, classified=False)
    run = store.begin_run(PLAN)
    items = [
        MediaItem("p/cam1/a.jpg", regions=(BOXES[0], person), detected=True, sequence="s1"),
        MediaItem("p/cam2/b.jpg", detected=True), MediaItem("p/c.jpg"),
    ]  # fmt: skip
    two, blank, _ = store.list_items(run, items, [None] * 3)
    answered = RegionRecord(
        BOXES[0], None, {"species": (Candidate(LYNX, "species", 0.75),)}, (), Candidate(LYNX, "species", 0.75)
    )
    store.commit(
        run,
        [
            ItemRecord(
                two, two.item, content_sha256="a", content_size=1, regions=(answered, RegionRecord(person, None, None))
            ),
            ItemRecord(blank, blank.item, content_sha256="b", content_size=1),
        ],
    )
    first, second, third = rows(store, store.run(run.id), tmp_path / "out.csv", per="image")
    assert [(row["uri"], row["status"], row["decision"]) for row in (first, second, third)] == [
        ("p/cam1/a.jpg", "done", "taxon"), ("p/cam2/b.jpg", "done", "blank"), ("p/c.jpg", "todo", ""),
    ]  # fmt: skip
    assert (first["scientific_name"], first["individuals"], first["counts"], first["regions"], first["event"]) == (
        "Lynx fictus", "1", "Lynx fictus: 1; person: 1", "2", "s1",
    )  # fmt: skip
    assert [(row["RelativePath"], row["File"]) for row in (first, third)] == [("cam1", "a.jpg"), ("", "c.jpg")]


def test_timelapse_finds_images_below_the_given_folder(store: Store, tmp_path: Path) -> None:
    run = one(store, uri="p/site 1/cam1/a.jpg")
    (row,) = rows(store, run, tmp_path / "out.csv", base_folder=Path("p"))
    assert (row["RelativePath"], row["File"]) == ("site 1\\cam1", "a.jpg")


def test_an_image_outside_the_given_folder_is_reported(store: Store, tmp_path: Path) -> None:
    run = run_of(
        store, (MediaItem("p/a.jpg", regions=BOXES[:1]), (LYNX,)), (MediaItem("q/b.jpg", regions=BOXES[:1]), (LYNX,))
    )
    export = Export(store, run, ExportOptions(base_folder=Path("p"), per="image"))
    CsvExporter().write(tmp_path / "out.csv", export)
    assert list(export.findings.lines()) == [
        "images are not in the base folder; their RelativePath and File are empty: 1 (the first: q/b.jpg)"
    ]


def test_one_row_per_event_has_its_time_and_the_most_individuals(store: Store, tmp_path: Path) -> None:
    def item(number: int, event: str | None, *taxa: Taxon, **about: Any) -> tuple[MediaItem, tuple[Taxon, ...]]:
        at = datetime(2031, 5, 6, 4, number, tzinfo=UTC)
        return MediaItem(
            f"{number}.jpg",
            captured_at=at,
            sequence=event,
            deployment="cam1",
            regions=BOXES[: len(taxa)],
            detected=True,
            **about,
        ), taxa

    run = run_of(
        store, item(1, "e1", LYNX, metadata={"catalogNumber": "1", "guid": "g"}), item(2, "e2", HARE),
        item(4, "e1", LYNX, LYNX, metadata={"catalogNumber": "2", "guid": "g"}), item(3, "e1"), item(5, None, HARE),
    )  # fmt: skip
    found = rows(store, run, tmp_path / "out.csv", per="event")
    assert [(row["event"], row["images"], row["counts"]) for row in found] == [
        ("e1", "3", "Lynx fictus: 2"), ("e2", "1", "Lepus fictus: 1"), ("", "1", "Lepus fictus: 1"),
    ]  # fmt: skip
    first = found[0]
    assert (first["starts_at"], first["ends_at"]) == ("2031-05-06T04:01:00+00:00", "2031-05-06T04:04:00+00:00")
    assert (first["deployment"], first["decision"], first["scientific_name"]) == ("cam1", "taxon", "Lynx fictus")
    assert (first["individuals"], first["first_image"], first["catalogNumber"], first["guid"]) == (
        "2",
        "1.jpg",
        "",
        "g",
    )
    assert sum(int(row["images"]) for row in found) == 5
    export = Export(store, run, ExportOptions(per="event"))
    CsvExporter().write(tmp_path / "out.csv", export)
    (line,) = export.findings.lines()
    assert line.startswith("images belong to no event, and each has a row of its own")
    assert line.endswith("1 (the first: 5.jpg)")


def test_a_table_of_ours_is_not_taken_for_one_of_timelapse(store: Store, tmp_path: Path) -> None:
    for per in ("region", "image", "event"):
        rows(store, one(store), tmp_path / "out.csv", per=per)
        assert not is_timelapse(header_of(str(tmp_path / "out.csv")))


def test_a_table_without_the_keys_is_still_recognised(tmp_path: Path) -> None:
    older = [name for name in COLUMNS if name not in KEY_COLUMNS]
    (tmp_path / "old.csv").write_text(",".join(older) + "\r\n")
    assert CsvExporter().recognises(tmp_path / "old.csv")
    assert list(CsvExporter().check(tmp_path / "old.csv", ExportOptions())) == []
