"""Texts of any kind, written to our tables and read with our reader, come back as they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bioclip_core.classify import Candidate
from bioclip_core.tables.reading import open_table
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.shared.exported import guarded, unguarded
from bioclip_plugin.formats.tables.write import CsvExporter, ParquetExporter
from bioclip_plugin.formats.tables.write_excel import LONGEST_TEXT, ExcelExporter
from bioclip_plugin.formats.tables.write_json_lines import JsonLinesExporter
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.store.records import Run, StoredDecision, StoredItem, StoredRegion, Summary

if TYPE_CHECKING:
    from bioclip_plugin.store import Store

LYNX = Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus")
BEST = Candidate(LYNX, "species", 0.75)
MOMENT = datetime(2031, 1, 1, tzinfo=UTC)
RUN = Run(
    id=1, key="k", sources=("photos",), created_at=MOMENT, begun_at=MOMENT, ended_at=MOMENT, status="finished",
    resumed=False, settings={}, provenance={}, earlier_provenance=(), feature_set=1, answer_set=1, decision_set=1,
    feature_id="f", answer_id="a", rule_id="r", feature_settings={}, answer_settings={"rank": "species"}, rule_settings={},
    dimension=3, counts={},
)  # fmt: skip
# Texts that a store holds: without zero bytes and halves of characters.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12) | st.text(
    alphabet="\"'=\n\r,;\t+-@ a#", max_size=12
)
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class Rows(Export):
    """Export of one image per row, whose source states these values, as if they came from a store."""

    def __init__(self, rows: Sequence[dict[str, Any]], *kept: str) -> None:
        options = ExportOptions(keep_columns=kept or ("*",))
        super().__init__(cast("Store", self), RUN, options, with_deployments=False)
        object.__setattr__(self, "_rows", rows)

    def items_of(self, _run: Run, **_: Any) -> Iterator[StoredItem]:
        regions = [StoredRegion(None, 1, {"species": (BEST,)}, (), StoredDecision("taxon", BEST))]
        for number, row in enumerate(self._rows):  # type: ignore[attr-defined]
            yield StoredItem(MediaItem(f"{number}.jpg", metadata=row), "done", None, regions)

    def listed_items(self, run: Run) -> Iterator[MediaItem]:
        return (stored.item for stored in self.items_of(run))

    def reviews_of(self, *_: Any) -> Any:
        return {}

    def summary(self, _run: Run) -> Summary:
        return Summary(0, 0, 0, 0, 0)


def come_back(exporter: Any, rows: Sequence[dict[str, str]], folder: Path) -> list[dict[str, Any]]:
    """Return the values of ``rows`` as our reader finds them in an export."""
    path = folder / f"out.{exporter.name}"
    export = Rows(rows)
    exporter.write(path, export)
    assert list(exporter.check(path, export.options)) == []
    found = [row.cells for row in open_table(path)]
    assert len(found) == len(rows)
    return [{name: cells[name] for name in ("catalogNumber", "remark") if name in cells} for cells in found]


def stated(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the values without those that a table cannot tell from an empty cell."""
    return [{name: text for name, text in row.items() if text.strip()} for row in rows]


ROWS = st.lists(st.fixed_dictionaries({"catalogNumber": TEXTS, "remark": TEXTS}), min_size=3, max_size=8)
EASY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EASY
@example(
    rows=[
        {"catalogNumber": "'=1", "remark": '"'},
        {"catalogNumber": "'", "remark": "a\r\nb"},
        {"catalogNumber": '""', "remark": '\n"'},
    ]
)
@example(rows=[{"catalogNumber": "", "remark": ",\r"}, *[{"catalogNumber": "", "remark": ",\r0\n"}] * 2])
@given(rows=ROWS)
def test_texts_come_back_from_csv(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    found = come_back(CsvExporter(), rows, tmp_path)
    assert stated([{name: unguarded(text) for name, text in row.items()} for row in found]) == stated(rows)


@EASY
@given(rows=ROWS)
def test_texts_come_back_from_parquet(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    assert come_back(ParquetExporter(), rows, tmp_path) == stated(rows)


@EASY
@given(rows=ROWS)
def test_texts_come_back_from_a_workbook_but_control_characters(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    def held(text: str) -> str:  # Excel ends lines in its own way
        return CONTROLS.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))

    found = come_back(ExcelExporter(), rows, tmp_path)
    assert found == stated([{name: held(text) for name, text in row.items()} for row in rows])


@EASY
@given(rows=ROWS)
def test_texts_come_back_from_json_lines(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    export = Rows(rows)
    JsonLinesExporter().write(tmp_path / "out.jsonl", export)
    lines = (tmp_path / "out.jsonl").read_text("utf-8").split("\n")[:-1]
    assert [json.loads(line)["source"] for line in lines] == rows


@given(TEXTS)
def test_the_guard_against_formulas_is_taken_away_exactly_once(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in tuple("=+-@\t\r") or re.fullmatch(r"[+-][0-9.,]+(?:[eE][+-]?[0-9]+)?", text)


@pytest.mark.parametrize("number", ["-70.25", "+12", "-12", "-1,5", "-.5", "+1e-5", "-3.E+7"])
def test_a_number_with_its_sign_gets_no_apostrophe_and_neither_form_changes(number: str, tmp_path: Path) -> None:
    assert guarded(number) == number
    assert unguarded(f"'{number}") == number  # as older exports have it
    rows = [{"catalogNumber": number}, {"catalogNumber": f"'{number}"}, {"catalogNumber": f"''{number}"}]
    found = come_back(CsvExporter(), rows, tmp_path)
    assert [{name: unguarded(text) for name, text in row.items()} for row in found] == rows


@pytest.mark.parametrize("text", ["=7", "-1+1", "+A1", "@x", "\t1", "\r1", "--1", "-1 2", "-1\n", "-", "+1.2.3", "-١"])
def test_what_a_spreadsheet_computes_keeps_its_apostrophe(text: str) -> None:
    assert guarded(text) == f"'{text}"
    assert unguarded(guarded(text)) == text


def test_what_a_workbook_cannot_hold_is_reported(tmp_path: Path) -> None:
    export = Rows([{"catalogNumber": "a\x07b", "remark": "x" * (LONGEST_TEXT + 1)}], "remark")
    ExcelExporter().write(tmp_path / "out.xlsx", export)
    controls, cut = export.findings.lines()
    assert "control characters" in controls
    assert "catalogNumber 'a\\x07b'" in controls
    assert "32,767 characters" in cut


def test_values_of_several_types_are_text_in_one_column(tmp_path: Path) -> None:
    export = Rows([{"wet": True}, {"wet": 1}, {"wet": 0.5}, {"wet": "no"}, {"wet": None}, {"wet": [1]}], "wet")
    ParquetExporter().write(tmp_path / "out.parquet", export)
    assert [row.cells.get("wet") for row in open_table(tmp_path / "out.parquet")] == [
        "true",
        "1",
        "0.5",
        "no",
        None,
        "[1]",
    ]
