"""Catalogs of other versions and of odd shapes: one image per species, one group, very many species."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from catalog_samples import LYNX, MOTH, build, save, source_of
from pyarrow import parquet

from bioclip_core.errors import SourceError
from bioclip_training.batches.data import open_images
from bioclip_training.catalog.fingerprints import Fingerprint, Look
from bioclip_training.catalog.overview import overview
from bioclip_training.catalog.rows import Catalog, LabelledItem
from bioclip_training.catalog.sources import LabelledSource
from bioclip_training.catalog.versions import CATALOG_VERSION, FACTS


def letters(number: int) -> str:
    """Return a number as a word of letters."""
    return "".join(chr(97 + int(digit)) for digit in f"{number:06d}") + "us"


def small(folder: Path) -> Path:
    save(folder, 1, 2)
    _, built = build(folder, source_of(folder, [{"image": "1.png", **LYNX}, {"image": "2.png", **MOTH}]))
    return built.catalog.rename(folder / "catalog.parquet")


def changed(file: Path, *, facts: dict[str, Any] | None = None, without: tuple[str, ...] = ()) -> Path:
    """Rewrite a catalog with other facts and without some columns."""
    table = parquet.read_table(file).drop_columns(list(without))
    stored = json.loads(table.schema.metadata[FACTS])
    stored = {name: value for name, value in {**stored, **(facts or {})}.items() if value is not None}
    parquet.write_table(table.replace_schema_metadata({FACTS: json.dumps(stored)}), file)
    return file


def test_a_catalog_says_its_version(tmp_path: Path) -> None:
    assert Catalog.open(small(tmp_path)).facts["format_version"] == CATALOG_VERSION


@pytest.mark.parametrize("version", [CATALOG_VERSION + 1, 99, "2027-01", 2.5])
def test_a_catalog_of_a_later_version_is_refused_in_one_line(version: object, tmp_path: Path) -> None:
    file = changed(small(tmp_path), facts={"format_version": version})
    with pytest.raises(SourceError) as refused:
        Catalog.open(file)
    said = str(refused.value)
    assert f"has format version {version!r}, and this version of bioclip-plugin reads up to {CATALOG_VERSION}" in said
    assert "update bioclip-plugin" in said
    assert "\n" not in said


def test_an_earlier_catalog_is_read_and_its_missing_columns_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = ("phash", "taxon_id", "changes", "frame", "bboxX", "bboxY", "bboxWidth", "bboxHeight", "evidence", "identified_by",
               "date_identified")  # fmt: skip
    file = changed(small(tmp_path), facts={"format_version": None}, without=lacking)
    with caplog.at_level(logging.WARNING, "bioclip_plugin.training"):
        catalog = Catalog.open(file)
    assert [taxon.scientific_name for taxon in catalog.taxa] == ["Lynx fictus", "Invenia alba"]
    assert (catalog.frame(0), catalog.box(0), catalog.column("taxon_id")) == (0, None, ["", ""])
    assert overview(catalog).rows == 2
    (record,) = caplog.records
    assert "is of an earlier version (format 1), which did not have taxon_id, phash, frame, bboxX" in record.message


def test_a_catalog_of_an_earlier_version_without_its_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="lacks genus"):
        Catalog.open(changed(small(tmp_path), facts={"format_version": None}, without=("genus",)))


def test_one_image_per_species_is_all_trained_on_and_said_so(tmp_path: Path) -> None:
    save(tmp_path, *range(30))
    rows = [
        {"image": f"{seed}.png", **LYNX, "specificEpithet": letters(seed), "eventID": f"e{seed}"} for seed in range(30)
    ]
    catalog, built = build(tmp_path, source_of(tmp_path, rows), group_by="eventID", val=0.5)
    counted = overview(catalog)
    assert dict(counted.splits) == {"train": (30, 30, 30)}
    assert len(counted.single) == 30
    images = open_images(built.catalog, "train")
    assert len(images) == 30
    with pytest.raises(SourceError, match="has nothing in its part 'dev'"):
        open_images(built.catalog, "dev")


def test_a_collection_of_one_group_is_all_trained_on_and_said_so(tmp_path: Path) -> None:
    save(tmp_path, *range(12))
    rows = [{"image": f"{seed}.png", **(LYNX if seed % 2 else MOTH), "eventID": "the night"} for seed in range(12)]
    catalog, _ = build(tmp_path, source_of(tmp_path, rows), group_by="eventID", val=0.9)
    counted = overview(catalog)
    assert dict(counted.splits) == {"train": (12, 1, 2)}
    assert [taxon.scientific_name for taxon in counted.single] == ["Lynx fictus", "Invenia alba"]
    assert len(catalog.rows_of("dev")) == 0
    assert len(catalog.rows_of("train")) == 12


def many_species(monkeypatch: pytest.MonkeyPatch, folder: Path, count: int) -> LabelledSource:
    """Return a source of one image per species, of which every second one lacks the order; no image is read."""

    def looked_at(path: Path, *_: object, **__: object) -> Fingerprint:
        return Fingerprint(hashlib.sha256(path.name.encode()).hexdigest(), (Look(b"", b""),), None)

    monkeypatch.setattr("bioclip_training.catalog.reading.fingerprint", looked_at)

    def items() -> Iterator[LabelledItem]:
        for number in range(count):
            cells = {"kingdom": "Animalia", "order": "" if number % 2 else "Fictales", "family": f"F{letters(number // 50)}idae",
                     "genus": f"G{letters(number // 5)}", "specificEpithet": letters(number), "eventID": f"e{number}"}  # fmt: skip
            yield LabelledItem(f"{number}.png", folder / f"{number}.png", cells, "many.csv")

    return LabelledSource("many.csv", "table", items, folder)


def test_very_many_species_take_time_and_memory_in_proportion_to_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few thousand of a hundred thousand: nothing may grow with the square of their number."""
    times, peaks = [], []
    for count in (10, 250, 1000):  # the first one imports libraries
        source = many_species(monkeypatch, tmp_path, count)
        began = time.process_time()
        tracemalloc.start()
        catalog, built = build(tmp_path, source, group_by="eventID", near_distance=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        times.append(time.process_time() - began)
    assert len(catalog.taxa) == 1000
    assert {taxon.order for taxon in catalog.taxa} == {"Fictales"}  # each family has a row with its order
    assert built.facts["names_apart"] == {"names": 0}
    assert peaks[2] < 4 * peaks[1] + 2_000_000  # four times as many; a number for every pair would be 8 MB
    assert times[2] < 10 * times[1] + 5
