"""Parquet tables whose image column holds the images themselves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.tables.read import TableSource
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.store import Store

Command = Callable[..., tuple[int, str, str]]

RED, BLUE = (255, 0, 0), (0, 0, 255)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def file_of(colour: tuple[int, int, int], kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(buffer, kind)
    return buffer.getvalue()


def table(path: Path, **columns: Any) -> str:
    parquet.write_table(pa.table(columns), path)
    return str(path)


def listed(path: str) -> tuple[list[MediaItem | Unlisted], list[str]]:
    options = ListingOptions()
    entries = list(TableSource().items(path, options))
    return entries, list(options.findings.lines())


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), STRUCT])
def test_an_image_in_the_table_is_an_item_named_after_its_row(tmp_path: Path, kind: pa.DataType) -> None:
    files: list[Any] = [file_of(RED), file_of(BLUE, "JPEG"), file_of(RED)]
    if kind == STRUCT:
        files = [{"bytes": data, "path": None} for data in files]
    path = table(
        tmp_path / "t, u|v.parquet",
        image=pa.array(files, kind),
        eventDate=["2024-05-01 10:00", "2024-05-02 10:00", None],
    )
    items, lines = listed(path)
    assert [item.uri for item in items] == [f"{path}#row={row}" for row in (1, 2, 3)]
    assert [getattr(item, "data", None) for item in items] == [file_of(RED), file_of(BLUE, "JPEG"), file_of(RED)]
    assert isinstance(items[0], MediaItem)
    assert (items[0].path, "image" in items[0].metadata, items[0].captured_at is not None) == (None, False, True)
    assert lines == []


def test_a_path_in_a_struct_without_bytes_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(file_of(BLUE))
    path = table(tmp_path / "t.parquet", image=pa.array([{"bytes": None, "path": "blue.png"}], STRUCT))
    (item,) = listed(path)[0]
    assert (item.uri, getattr(item, "data", None)) == (str(tmp_path / "blue.png"), None)


@pytest.mark.parametrize(
    ("cell", "kind", "reason"),
    [
        (b"", pa.binary(), "it has no bytes"),
        ({"bytes": None, "path": None}, STRUCT, "needed are bytes or path"),
        ({"height": 3}, pa.struct([("height", pa.int64())]), "it has the fields height"),
        ([b"one", b"two"], pa.list_(pa.binary()), "it is a list of images as bytes: give each image a row of its own"),
        ([[1, 2], [3, 4]], pa.list_(pa.list_(pa.uint8())), "it is a list of numbers: give each image a row of its own"),
        (None, pa.binary(), "column 'image' is empty"),
    ],
)
def test_a_cell_that_is_neither_an_image_nor_its_name_is_skipped_with_its_row(
    tmp_path: Path, cell: Any, kind: pa.DataType, reason: str
) -> None:
    path = table(tmp_path / "t.parquet", image=pa.array([cell], kind), note=["x"])
    (entry,) = listed(path)[0]
    assert isinstance(entry, Unlisted)
    assert entry.uri == f"{path}#row=1"
    assert entry.reason.startswith("row 1: ")
    assert reason in entry.reason


def test_bytes_of_other_columns_are_reported_and_not_kept(tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(file_of(BLUE))
    path = table(tmp_path / "t.parquet", image=["blue.png"], thumbnail=pa.array([b"\x00" * 9]), note=["x"])
    (item,), lines = listed(path)
    assert isinstance(item, MediaItem)
    assert dict(item.metadata) == {"note": "x"}
    assert lines == [f"values of other columns are bytes, which are not kept: 1 (the first: {path}, row 1: thumbnail)"]


def test_images_in_a_table_are_classified_stored_and_exported_once(
    command: Command, colour_labels: str, tmp_path: Path
) -> None:
    broken = b"no image at all"
    cells = [{"bytes": data, "path": "x.png"} for data in (file_of(RED), file_of(BLUE), broken, file_of(RED))]
    table(tmp_path / "t.parquet", image=pa.array(cells, STRUCT), label=[0, 1, 2, 3])
    arguments = ("classify", "t.parquet", "--model", "fake", "--labels", colour_labels, "--store", "r.db")
    code, out, _ = command(*arguments)
    assert code == 3
    assert "4 images, 3 done, 1 failed" in out
    with Store.open("r.db") as store:
        items = list(store.items_of(store.run()))
        assert store.verify(store.run()).complete
    named = {one.item.uri: one.regions[0].consensus.name if one.regions else None for one in items}  # type: ignore[union-attr]
    assert named == {
        "t.parquet#row=1": "Red fictus", "t.parquet#row=2": "Blue pictus", "t.parquet#row=3": None, "t.parquet#row=4": "Red fictus",
    }  # fmt: skip
    assert "4 images, 3 done, 1 failed" in command(*arguments)[1]


def test_a_catalog_says_that_it_needs_files(command: Command, tmp_path: Path) -> None:
    table(tmp_path / "t.parquet", image=pa.array([file_of(RED)]), genus=["Acer"], split=["train"])
    code, _, err = command("catalog", "build", "t.parquet", "--output", "c.parquet")
    assert (code, "the image is in the table itself; a catalog needs files" in err) == (1, True)
