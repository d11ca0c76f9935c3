"""One fuzz target per reader: whatever the bytes, a result or one line of reason, without warnings and in bounded work."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import camtrap_samples
import numpy as np
import openpyxl
import pandas as pd
import pytest
from core_samples import DigestEncoder
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

from bioclip_core.classify import Classifier
from bioclip_core.files.archives import open_archive
from bioclip_core.files.documents import parse_document
from bioclip_core.findings import Findings
from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.labels.building import build_label_set
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import find_model
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.tables.reading import open_table
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import MediaItem, create_plugin_manager
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.metadata import with_metadata
from bioclip_plugin.rules.geofence_map import read_geofence
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.store import Store

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

    fuzz(target, mutated(images()), count=300, name="images")


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
    fuzz(target, mutated_table(TABLES) | mutated_table(TABLES) | binary, count=200, name="tables")


def test_fuzz_documents() -> None:
    """Documents as any type."""

    def target(data: bytes) -> None:
        for kind in (dict[str, Any], list[Any], object):
            with bounded():
                json.dumps(parse_document(data, kind, name="document")).encode()

    fuzz(
        target,
        mutated_json(DOCUMENTS) | mutated([json.dumps(one).encode() for one in DOCUMENTS]),
        count=200,
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

    fuzz(target, mutated(archives()), count=200, name="archives")


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

    fuzz(target, cases, count=60, name=f"source-{name}")


def saved_images(folder: Path) -> None:
    """Write the two images that the samples name."""
    for name, data in _PICTURES:
        (folder / name).write_bytes(data)


_PICTURES = tuple((name, saved(picture(), "PNG")) for name in ("a.png", "b.png"))


@cache
def _label_set(folder: str) -> dict[str, bytes]:
    made = Path(folder) / "made"
    taxa = [
        Taxon(*"Animalia Chordata Mammalia Carnivora Canidae Vulpes".split(), name)
        for name in ("vulpes", "lagopus", "zerda")
    ]
    build_label_set(taxa, DigestEncoder(8), made)
    return {file.name: file.read_bytes() for file in made.iterdir()}


@pytest.mark.parametrize("name", ["label_set.json", "embeddings.npy", "taxa.parquet"])
def test_fuzz_manifests(name: str, tmp_path: Path) -> None:
    """A label set with one damaged file: refused, or exactly the answers of the sound one."""
    good = _label_set(str(tmp_path))
    feature_BD = np.full((1, 8), 8**-0.5, np.float16)
    right = Classifier(LabelSet.open(tmp_path / "made"), "cpu").classify(feature_BD, rank="species", top=3)
    folder = tmp_path / "damaged"

    def target(data: bytes) -> None:
        folder.mkdir(exist_ok=True)
        for file, content in {**good, name: data}.items():
            (folder / file).write_bytes(content)
        with bounded():
            found = Classifier(LabelSet.open(folder), "cpu").classify(feature_BD, rank="species", top=3)
            assert found == right

    cases = mutated([good[name]], most=2)
    if name == "label_set.json":
        cases |= mutated_json([json.loads(good[name])])
    fuzz(target, cases, count=60, name=f"manifest-{name.split('.', maxsplit=1)[0]}")


MODEL = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic",
                       "resize_mode": "shortest"},
}  # fmt: skip


def test_fuzz_model_configs(tmp_path: Path) -> None:
    """The config of a model's folder: found with a usable preprocessing and dimension, or refused."""
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"weights")

    def target(data: bytes) -> None:
        (tmp_path / "open_clip_config.json").write_bytes(data)
        with bounded():
            found = find_model(str(tmp_path), {})
            assert 1 <= found.preprocessing.size <= 10_000
            json.dumps(found.preprocessing.identity())

    fuzz(target, mutated_json([MODEL]), count=125, name="model-configs")


def test_fuzz_geofences(tmp_path: Path) -> None:
    """Maps of where taxa live."""
    sample = {
        "mammalia;carnivora;felidae;felis;catus": {"allow": {"DEU": [], "USA": ["CA", "NY"]}, "block": {"AUS": []}}
    }

    def target(data: bytes) -> None:
        (tmp_path / "map.json").write_bytes(data)
        with bounded():
            fence = read_geofence(tmp_path / "map.json")
            fence.verdict(
                Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Felis", "catus"), "DEU", None
            )

    fuzz(target, mutated_json([sample]), count=125, name="geofences")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_fuzz_stores(tmp_path: Path) -> None:
    """A damaged SQLite file: what can be read of it, or one line."""
    good = tmp_path / "good.db"
    fox = camtrap_samples.best(Taxon("Animalia", "Chordata", "Mammalia", "Carnivora", "Canidae", "Vulpes", "vulpes"))
    with Store.open(good) as store:
        camtrap_samples.store_run(
            store, (camtrap_samples.taken("a.png"), [fox]), (camtrap_samples.taken("b.png", 5), "damaged")
        )
    with closing(sqlite3.connect(good)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    file = tmp_path / "bad.db"

    def target(data: bytes) -> None:
        for left in tmp_path.glob("bad.db*"):
            left.unlink()
        file.write_bytes(data)
        with bounded(), Store.open(file, create=False) as store:
            for run in store.runs():
                for item in islice(store.items_of(run), _MOST_ENTRIES):
                    assert item.item.uri is not None
                store.verify(run)

    fuzz(target, mutated([good.read_bytes()], most=3), count=30, name="stores")
