"""One fuzz target per reader: whatever the bytes, a result or one line of reason, without warnings and in bounded work."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from mutations import mutated, mutated_json, mutated_table
from rounds import bounded, fuzz
from samples import (
    CAMTRAP_TABLES,
    DESCRIPTOR,
    DOCUMENTS,
    META_XML,
    OCCURRENCES,
    TABLES,
    archives,
    images,
    picture,
    saved,
)

from bioclip_core.files.archives import open_archive
from bioclip_core.files.documents import parse_document
from bioclip_core.findings import Findings
from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.tables.reading import open_table
from bioclip_plugin import MediaItem, create_plugin_manager
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.metadata import with_metadata
from bioclip_plugin.running.listing import Listing

# A file that is left to the garbage collector is a warning in the host's process.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")

_MOST_ENTRIES = 200
_PREPROCESSING = Preprocessing(size=16)


def test_fuzz_images() -> None:
    """Size, pixels (whole and a region) and camera metadata of mutated images of every format."""

    def target(data: bytes) -> None:
        with bounded():
            upright_size(data)
        with bounded():
            crops = decode_regions(data, [None, (0.25, 0.25, 0.5, 0.5)], _PREPROCESSING)
            assert [crop.shape for crop in crops] == [(16, 16, 3)] * 2
        with bounded():
            assert with_metadata(MediaItem("a"), data).uri == "a"

    fuzz(target, mutated(images()), count=900, name="images")


def test_fuzz_tables(tmp_path: Path) -> None:
    """Rows of mutated text tables, workbooks and Parquet files."""
    frame = pd.DataFrame(
        {"image": ["a.png", "b.png"], "latitude": [50.1, None], "date": pd.to_datetime(["2024-06-01", None])}
    )
    parquet, workbook = io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    book = openpyxl.Workbook()
    for row in (["image", "latitude", "date"], ["a.png", 50.1, "2024-06-01"]):
        book.active.append(row)
    book.save(workbook)

    def target(data: bytes) -> None:
        name = "t.parquet" if data[:4] == b"PAR1" else "t.xlsx" if data[:2] == b"PK" else "t.csv"
        (tmp_path / name).write_bytes(data)
        with bounded():
            for row in islice(open_table(tmp_path / name, findings=Findings()), 1000):
                assert all(isinstance(key, str) for key in row.cells)

    binary = mutated([parquet.getvalue(), workbook.getvalue()])
    fuzz(target, mutated_table(TABLES) | mutated_table(TABLES) | binary, count=600, name="tables")


def test_fuzz_documents() -> None:
    """Documents as any type."""

    def target(data: bytes) -> None:
        for kind in (dict[str, Any], list[Any], object):
            with bounded():
                json.dumps(parse_document(data, kind, name="document")).encode()

    fuzz(
        target,
        mutated_json(DOCUMENTS) | mutated([json.dumps(one).encode() for one in DOCUMENTS]),
        count=600,
        name="documents",
    )


def test_fuzz_archives(tmp_path: Path) -> None:
    """Members of mutated archives, unpacked: nothing is written outside the folder."""
    file, folder = tmp_path / "a.zip", tmp_path / "inside" / "deep"

    def target(data: bytes) -> None:
        file.write_bytes(data)
        folder.mkdir(parents=True)
        try:
            with bounded(), open_archive(file) as archive:
                archive.extract(folder)
            assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "inside"}
            assert [path.name for path in (tmp_path / "inside").iterdir()] == ["deep"]
            assert all(path.resolve().is_relative_to(folder.resolve()) for path in folder.rglob("*"))
        finally:
            shutil.rmtree(tmp_path / "inside")

    fuzz(target, mutated(archives()), count=600, name="archives")


def _in_package(name: str) -> Callable[[Path, bytes], Path]:
    def laid(folder: Path, data: bytes) -> Path:
        (folder / "datapackage.json").write_text(json.dumps(DESCRIPTOR))
        for table, content in CAMTRAP_TABLES.items():
            (folder / table).write_bytes(content)
        (folder / name).write_bytes(data)
        return folder

    return laid


def _in_archive(name: str) -> Callable[[Path, bytes], Path]:
    def laid(folder: Path, data: bytes) -> Path:
        (folder / "meta.xml").write_bytes(META_XML)
        (folder / "occurrence.csv").write_bytes(OCCURRENCES)
        (folder / name).write_bytes(data)
        return folder

    return laid


def _named(name: str) -> Callable[[Path, bytes], Path]:
    def laid(folder: Path, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return laid


SOURCES: dict[str, tuple[Any, Callable[[Path, bytes], Path]]] = {
    "json": (mutated_json(DOCUMENTS), _named("r.json")),
    "table": (mutated_table(TABLES), _named("t.csv")),
    "descriptor": (mutated_json([DESCRIPTOR]), _in_package("datapackage.json")),
    "media": (mutated_table([CAMTRAP_TABLES["media.csv"]]), _in_package("media.csv")),
    "observations": (mutated_table([CAMTRAP_TABLES["observations.csv"]]), _in_package("observations.csv")),
    "meta": (mutated([META_XML]), _in_archive("meta.xml")),
    "occurrences": (mutated_table([OCCURRENCES]), _in_archive("occurrence.csv")),
    "archive": (mutated(archives(), most=3), _named("a.zip")),
    "shard": (mutated(archives()[4:5], most=3), _named("a.tar")),
}


@pytest.mark.parametrize("name", SOURCES)
def test_fuzz_sources(name: str, tmp_path: Path) -> None:
    """Listing, reviews and validation of mutated files of every format."""
    cases, laid = SOURCES[name]
    plugins = create_plugin_manager(installed=False)
    exporters = list(plugins.exporters().values())
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "b.png")

    def target(data: bytes) -> None:
        folder = tmp_path / "files"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        saved_images(folder)
        path = laid(folder, data)
        with bounded(), Listing([str(path)], plugins.sources(), ListingOptions(), plugins.expand) as listing:
            for entry in islice(listing, _MOST_ENTRIES):
                assert entry.uri
                entry.uri.encode()
            with bounded():
                for review in islice(listing.reviews(), _MOST_ENTRIES):
                    assert review.verdict
        for exporter in exporters:
            with bounded():
                if exporter.recognises(path):
                    for problem in islice(exporter.check(path, ExportOptions()), _MOST_ENTRIES):
                        assert str(problem)

    fuzz(target, cases, count=150, name=f"source-{name}")


def saved_images(folder: Path) -> None:
    """Write the two images that the samples name."""
    for name, data in _PICTURES:
        (folder / name).write_bytes(data)


_PICTURES = tuple((name, saved(picture(), "PNG")) for name in ("a.png", "b.png"))
