"""CSV, Parquet, Excel and JSON lines: the model's answer, the rules' decision and the review side by side."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pyarrow import parquet

from bioclip_core.classify import Candidate
from bioclip_core.errors import BioclipError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.tables import write_excel as excel
from bioclip_plugin.formats.tables.columns import COLUMNS
from bioclip_plugin.formats.tables.write import CsvExporter, ParquetExporter
from bioclip_plugin.formats.tables.write_excel import ExcelExporter
from bioclip_plugin.formats.tables.write_json_lines import JsonLinesExporter
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store import ItemRecord, RegionRecord, ReviewTarget, Run, RunPlan, Store

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus", "invented lynx")
FELIDAE = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae")
BOX = Region(0.1, 0.2, 0.3, 0.4, "finder", "2", "animal", 0.875)
PERSON = Region(0.5, 0.5, 0.25, 0.25, "finder", "2", "person", 0.75, classified=False)
EXPORTERS = (CsvExporter(), ParquetExporter(), ExcelExporter(), JsonLinesExporter())
WHEN = datetime(2031, 5, 6, 12, tzinfo=UTC)
PLAN = RunPlan(
    sources=("photos",), settings={}, feature_id="f", feature_settings={"weights_sha256": "w"}, dimension=4, answer_id="a",
    answer_settings={"rank": "species"}, rule_id="r", rule_settings={}, provenance={"model": {"name": "fake"}},
)  # fmt: skip
BY_RANK = {
    "species": (Candidate(LYNX, "species", 0.75), Candidate(FELIDAE, "family", 0.125)),
    "family": (Candidate(FELIDAE, "family", 0.875),),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "results.db") as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    """A run with an image of an animal and a person, an image that the detector found empty, a failed one and an open one."""
    run = store.begin_run(PLAN)
    items = [
        MediaItem("=two.jpg", captured_at=datetime(2031, 5, 6, 4, 30), place=Place(latitude=52.123456, longitude=5.5),
                  deployment="cam 1", sequence="night 3", regions=(BOX, PERSON), detected=True, metadata={"a": 1}),
        MediaItem("blank.jpg", detected=True), MediaItem("broken.jpg"), MediaItem("later.jpg"),
    ]  # fmt: skip
    two, blank, broken, _ = store.list_items(run, items, [None] * 4)
    answered = RegionRecord(BOX, None, BY_RANK, (), Candidate(FELIDAE, "family", 0.875))
    store.commit(
        run,
        [
            ItemRecord(
                two, two.item, content_sha256="a", content_size=1, regions=(answered, RegionRecord(PERSON, None, None))
            ),
            ItemRecord(blank, blank.item, content_sha256="b", content_size=1),
            ItemRecord(broken, broken.item, failure=Failure("decode", "it is cut off")),
        ],
    )
    store.end_run(run, "interrupted", {})
    return store.run(run.id)


def written(exporter: Any, store: Store, run: Run, path: Path, **options: Any) -> Path:
    exporter.write(path, Export(store, run, ExportOptions(**options)))
    return path


def rows(store: Store, run: Run, tmp_path: Path, **options: Any) -> list[dict[str, str]]:
    with written(CsvExporter(), store, run, tmp_path / "out.csv", **options).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_persons_and_blanks_are_rows_too_and_have_no_answer(store: Store, run: Run, tmp_path: Path) -> None:
    animal, person, blank, broken, later = rows(store, run, tmp_path)
    assert (animal["detection_category"], animal["detection_confidence"], animal["detector"]) == (
        "animal",
        "0.875",
        "finder",
    )
    assert (person["detection_category"], person["scientific_name"], person["region_x"]) == ("person", "", "0.5")
    assert (blank["flags"], broken["failure_reason"], later["status"]) == ("no_regions", "it is cut off", "todo")


def test_a_decision_is_beside_the_answer_with_the_effect_of_each_rule(store: Store, run: Run, tmp_path: Path) -> None:
    trail = [
        {"rule": "geofence", "did": "rolled up", "from": "Lynx fictus", "why": "not in NL"},
        {"rule": "unknown", "did": "kept"},
    ]
    with store._database._engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE bioclip_decisions SET verdict = 'taxon', event = '+night', trail = ?", (json.dumps(trail),)
        )
    row = rows(store, run, tmp_path)[0]
    assert (row["scientific_name"], row["consensus_scientific_name"]) == ("Lynx fictus", "Felidae")
    assert (row["decision"], row["event"]) == ("taxon", "'+night")
    assert row["rule_trail"] == "geofence: rolled up from Lynx fictus (not in NL); unknown: kept"
    path = written(JsonLinesExporter(), store, run, tmp_path / "out.jsonl")
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert first["decision"] == {"verdict": "taxon", "event": "+night", "trail": trail}


def test_the_newest_review_is_beside_the_answer_and_replaces_nothing(store: Store, run: Run, tmp_path: Path) -> None:
    before = rows(store, run, tmp_path)
    target = ReviewTarget("region", "=two.jpg", region=BOX)
    store.add_review(target, "taxon", LYNX, reviewer="Ann", reviewed_at=WHEN)
    store.add_review(target, "blank", reviewer="Bo", reviewed_at=WHEN.replace(hour=11))
    store.add_review(
        ReviewTarget("media", "blank.jpg"), "unidentifiable", reviewer="Cy", reviewed_at=WHEN, comment="fog"
    )
    after = rows(store, run, tmp_path)
    said = [name for name in COLUMNS if name.startswith("review")]
    assert [{**row, **dict.fromkeys(said, "")} for row in after] == before
    assert [after[0][name] for name in said] == ["taxon", "Lynx fictus", "Ann", "2031-05-06T12:00:00+00:00", ""]
    assert [after[1][name] for name in said] == [""] * 5
    assert (after[2]["review_verdict"], after[2]["review_comment"]) == ("unidentifiable", "fog")


def test_a_review_of_the_image_is_shown_for_regions_without_their_own(store: Store, run: Run, tmp_path: Path) -> None:
    store.add_review(ReviewTarget("region", "=two.jpg", region=BOX), "taxon", LYNX, reviewer="Ann", reviewed_at=WHEN)
    store.add_review(ReviewTarget("media", "=two.jpg"), "person", reviewer="Bo", reviewed_at=WHEN.replace(year=2032))
    assert [row["reviewer"] for row in rows(store, run, tmp_path)[:2]] == ["Ann", "Bo"]


def test_all_formats_hold_the_same_table(store: Store, run: Run, tmp_path: Path) -> None:
    expected = rows(store, run, tmp_path)
    table = parquet.read_table(written(ParquetExporter(), store, run, tmp_path / "out.parquet")).to_pylist()
    book = openpyxl.load_workbook(written(ExcelExporter(), store, run, tmp_path / "out.xlsx"))
    header, *cells = book.worksheets[0].iter_rows(values_only=True)
    assert tuple(header) == COLUMNS
    sheet = [dict(zip(COLUMNS, row, strict=True)) for row in cells]
    assert sheet == table
    assert [row["uri"] for row in sheet] == [row["uri"].removeprefix("'") for row in expected]
    assert [row["probability"] for row in sheet] == [
        float(row["probability"]) if row["probability"] else None for row in expected
    ]


def test_no_cell_of_a_workbook_is_a_formula_and_none_breaks_it(store: Store, run: Run, tmp_path: Path) -> None:
    said = {"reviewer": "#REF!", "comment": "=cmd()\x07" + "x" * 40_000}
    store.add_review(ReviewTarget("media", "blank.jpg"), "blank", reviewed_at=WHEN, **said)
    sheet = openpyxl.load_workbook(written(ExcelExporter(), store, run, tmp_path / "out.xlsx")).worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n"}
    comment = sheet.cell(4, COLUMNS.index("review_comment") + 1).value
    assert isinstance(comment, str)
    assert (comment[:8], len(comment)) == ("=cmd()\N{REPLACEMENT CHARACTER}x", excel.LONGEST_TEXT)


def test_more_rows_than_excel_opens_are_refused_before_and_while_writing(
    store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excel, "MOST_ROWS", 4)
    with pytest.raises(BioclipError, match="at most 3 rows below the header, and this run has at least 4"):
        written(ExcelExporter(), store, run, tmp_path / "out.xlsx")
    everything = Export(store, run, selection=Selection(min_probability=0.0))
    monkeypatch.setattr(excel, "MOST_ROWS", 1)
    with pytest.raises(BioclipError, match="csv or parquet"):
        ExcelExporter().write(tmp_path / "out.xlsx", everything)
    assert not list(tmp_path.glob("out.xlsx*"))


@pytest.mark.parametrize("exporter", EXPORTERS, ids=lambda exporter: exporter.name)
def test_the_same_store_gives_the_same_bytes_which_pass_the_check(
    store: Store, run: Run, tmp_path: Path, exporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = written(exporter, store, run, tmp_path / "first")
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda: 2e9)
        second = written(exporter, store, run, tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()
    assert exporter.recognises(first)
    assert list(exporter.check(first, ExportOptions())) == []
    assert not any(other.recognises(first) for other in EXPORTERS if other is not exporter)


def test_a_row_with_too_few_cells_is_found_behind_one_of_several_lines(tmp_path: Path) -> None:
    width = len(COLUMNS)
    path = tmp_path / "out.csv"
    rows = [",".join(COLUMNS), '"two\nlines, one cell"' + "," * (width - 1), "," * (width - 1), "," * (width - 2)]
    path.write_text("\r\n".join([*rows, '"a"', ""]))
    problems = list(CsvExporter().check(path, ExportOptions()))
    assert [(one.record, one.message.split(";")[0]) for one in problems] == [
        ("line 5", f"it has {width - 1} cells"),
        ("line 6", "it has 1 cells"),
    ]


def test_times_and_places_follow_the_options(store: Store, run: Run, tmp_path: Path) -> None:
    row = rows(store, run, tmp_path, time_zone="Europe/Brussels", coordinate_precision=1, top=1)[0]
    assert (row["captured_at"], row["latitude"], row["other_candidates"]) == ("2031-05-06T04:30:00+02:00", "52.1", "")


def test_a_file_that_is_not_a_workbook_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "out.xlsx"
    path.write_bytes(b"PK\x03\x04 not really")
    (problem,) = ExcelExporter().check(path, ExportOptions())
    assert "cannot be read as a workbook" in problem.message
    assert not ExcelExporter().recognises(path)


def test_a_workbook_without_our_columns_is_a_problem(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["uri", "name"])  # type: ignore[union-attr]
    book.save(tmp_path / "other.xlsx")
    (problem,) = ExcelExporter().check(tmp_path / "other.xlsx", ExportOptions())
    assert "columns are missing: frame" in problem.message


def test_candidates_of_other_ranks_are_not_even_read(store: Store, run: Run) -> None:
    whole = next(store.items_of(run)).regions[0]
    asked = next(store.items_of(run, ranks=("species",))).regions[0]
    assert set(whole.by_rank) == {"species", "family"}
    assert dict(asked.by_rank) == {"species": whole.by_rank["species"]}
    assert replace(asked, by_rank=whole.by_rank) == whole
