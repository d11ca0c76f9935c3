"""Catalogs whose columns other programs wrote: other types of text and numbers are read, other kinds of values are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.catalog.versions import FACTS

LYNX = Taxon.of(["Animalia", "", "", "", "", "Lynx", "fictus"])


def with_column(folder: Path, name: str, values: Any) -> Path:
    table = table_from([CatalogRow("a.jpg", LYNX, split="train"), CatalogRow("b.jpg", LYNX, split="val")])
    table = table.set_column(table.column_names.index(name), name, values)
    parquet.write_table(table, folder / "c.parquet")
    return folder / "c.parquet"


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["Fictia", None]),
        pa.array(["Fictia", ""], pa.large_string()),
        pa.array(["Fictia", ""]).dictionary_encode(),
    ],
    ids=["missing", "large", "dictionary"],
)
def test_text_of_other_programs_is_read(tmp_path: Path, values: Any) -> None:
    catalog = Catalog.open(with_column(tmp_path, "kingdom", values))
    assert catalog.column("kingdom") == ["Fictia", ""]
    assert [taxon.kingdom for taxon in catalog.taxa] == ["", "Fictia"]


def test_a_column_without_any_value_is_empty(tmp_path: Path) -> None:
    assert Catalog.open(with_column(tmp_path, "kingdom", pa.nulls(2))).column("kingdom") == ["", ""]


@pytest.mark.parametrize("name", ["uri", "kingdom", "frame", "bboxX", "changes"])
@pytest.mark.parametrize(
    "values", [[{"a": 1}] * 2, [[1]] * 2, [b"\xff"] * 2, [2**62] * 2, [True] * 2, ["x" * 9] * 2, [0.5] * 2],
    ids=["objects", "lists", "bytes", "numbers", "bools", "text", "fractions"],
)  # fmt: skip
def test_a_column_of_another_kind_is_read_as_meant_or_named(tmp_path: Path, name: str, values: list[Any]) -> None:
    path, said = with_column(tmp_path, name, pa.array(values)), ""
    try:
        catalog = Catalog.open(path)
    except SourceError as error:
        said = str(error)
    else:
        assert len(catalog.taxa) > 0
        assert len(catalog.column("uri")) == 2
    assert not said or f"c.parquet cannot be used: column {name}: " in said
    assert "\n" not in said


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = table_from([CatalogRow("a.jpg", LYNX)])
    parquet.write_table(table.append_column("uri", table.column("uri")), tmp_path / "c.parquet")
    with pytest.raises(SourceError, match="cannot be read: Multiple matches"):
        Catalog.open(tmp_path / "c.parquet")


def test_text_that_is_not_utf_8_is_refused_when_the_catalog_is_opened(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff\xfe", b"a"]).buffers())
    path = with_column(tmp_path, "kingdom", bad)
    with pytest.raises(SourceError, match=r"c\.parquet cannot be read"):
        Catalog.open(path)


@pytest.mark.parametrize("text", ["[]", "{", "[" * 9999, '{"a": 1, "a": 2}'])
def test_metadata_that_is_not_an_object_is_one_line(tmp_path: Path, text: str) -> None:
    table = table_from([CatalogRow("a.jpg", LYNX)])
    parquet.write_table(table.replace_schema_metadata({FACTS: text.encode()}), tmp_path / "c.parquet")
    with pytest.raises(SourceError, match="the metadata of the catalog "):
        _ = Catalog.open(tmp_path / "c.parquet").facts
