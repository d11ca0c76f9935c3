"""Parquet files whose few bytes stand for much: cells are bounded before they are expanded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_core.tables import parquet_limits
from bioclip_core.tables.parquet_limits import ExpandsError, check_whole, expansion_of
from bioclip_core.tables.reading import open_table

_ROWS = 60


def _written(path: Path, columns: dict[str, Any], **settings: Any) -> Path:
    parquet.write_table(pa.table(columns), path, compression="zstd", **settings)
    return path


def _repeated(value: Any, rows: int = _ROWS) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, "int32"), pa.array([value]))


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_a_long_value_of_a_dictionary_exists_once_and_its_rows_are_skipped(tmp_path: Path, is_dictionary: bool) -> None:
    column = _repeated("x" * 2_000_000)
    column = column if is_dictionary else column.cast(pa.string())
    path = _written(tmp_path / "t.parquet", {"image": ["a.jpg"] * _ROWS, "note": column})
    assert path.stat().st_size < 10_000
    before = pa.default_memory_pool().max_memory() if is_dictionary else 0
    rows = list(open_table(path))
    assert [row.number for row in rows] == list(range(1, _ROWS + 1))
    assert {row.fault for row in rows} == {"its note has 2,000,000 characters; a cell may have up to 1,048,576"}
    if is_dictionary:
        assert pa.default_memory_pool().max_memory() < max(before, 100_000_000)


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_rows_share_a_long_value_within_the_limit(tmp_path: Path, is_dictionary: bool) -> None:
    column = _repeated("x" * 1_000_000, 5_000)  # 5 GB if each row had its own
    if not is_dictionary:
        schema = pa.schema({"note": pa.string()})
        with parquet.ParquetWriter(tmp_path / "t.parquet", schema, compression="zstd") as writer:
            writer.write_table(pa.table({"note": column.slice(0, 200).cast(pa.string())}))
        rows = list(open_table(tmp_path / "t.parquet"))
    else:
        rows = list(open_table(_written(tmp_path / "t.parquet", {"note": column})))
    assert len({id(row.cells["note"]) for row in rows}) <= 2
    assert len(rows[-1].cells["note"]) == 1_000_000


def test_only_the_rows_with_a_long_cell_are_skipped(tmp_path: Path) -> None:
    texts = ["first", "x" * (1 << 20), "y" * ((1 << 20) + 1), None]
    found = list(open_table(_written(tmp_path / "t.parquet", {"image": list("abcd"), "note": texts})))
    assert [bool(row.fault) for row in found] == [False, False, True, False]
    assert found[3].cells == {"image": "d"}


@pytest.mark.parametrize("settings", [{}, {"use_dictionary": False}])
def test_a_column_that_expands_without_measure_is_refused_by_its_footer(
    tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_limits, "MAX_CHUNK_BYTES", 1_000_000)
    path = _written(tmp_path / "t.parquet", {"image": ["a.jpg"], "x": ["x" * 2_000_000]}, **settings)
    with pytest.raises(
        SourceError, match=r"t\.parquet is refused: its column x expands from [\d,]+ to 2,000,0\d\d bytes"
    ):
        list(open_table(path))


def test_lists_and_many_columns_that_expand_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_limits, "_MAX_GROUP_BYTES", 1_000_000)
    numbers = _written(tmp_path / "n.parquet", {"l": [[7] * 200_000]})
    texts = _written(tmp_path / "t.parquet", {"l": [["x" * 20_000] * 200]})
    many = _written(tmp_path / "m.parquet", {f"c{place}": ["x" * 100_000] for place in range(20)})
    for path, column in ((numbers, "l"), (texts, "l"), (many, "the columns of one row group")):
        with pytest.raises(SourceError, match=column):
            list(open_table(path))


def test_images_in_a_dictionary_are_read_few_at_a_time(tmp_path: Path) -> None:
    images = [{"bytes": b"x" * 8_000_000, "path": "p"}] * 30
    path = _written(tmp_path / "t.parquet", {"image": pa.array(images)})
    assert expansion_of(path, 16).batch_rows == 8
    assert sum(len(row.cells["image"]["bytes"]) for row in open_table(path)) == 240_000_000


def test_a_table_with_short_cells_is_read_as_before(tmp_path: Path) -> None:
    columns = {"image": [f"{n}.jpg" for n in range(20_000)], "taxon": pa.array(["a", "b"] * 10_000).dictionary_encode()}
    path = _written(tmp_path / "t.parquet", columns)
    way = expansion_of(path, 4096)
    assert (way.batch_rows, way.dictionaries, way.whole_bytes) == (4096, [], 0)
    assert [row.cells["taxon"] for row in open_table(path)][:3] == ["a", "b", "a"]


def test_a_file_that_is_read_as_a_whole_may_not_expand_above_the_memory(tmp_path: Path) -> None:
    path = _written(tmp_path / "t.parquet", {"image": _repeated("x" * 1_000_000, 2_000)})
    with pytest.raises(ExpandsError, match="its cells expand to 2,000,000,000 bytes"):
        check_whole(path)
