"""The catalog: TreeOfLife's columns and ours, in parts of a fixed number of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from published_numbers import CsvLayout, write_source
from pyarrow import parquet
from stated_stages import Stated
from tiny_stages import digests

from bioclip_training.curation import catalog, sorted_runs
from bioclip_training.curation.catalog import CatalogStage
from bioclip_training.curation.configuration import Curation, SourceConfig, SplitsConfig
from bioclip_training.curation.kinds import KindsStage
from bioclip_training.curation.records import RecordsStage, key_of
from bioclip_training.curation.running import Outcome, run_stages
from bioclip_training.curation.splits import SplitsStage
from bioclip_training.curation.stages import Stage
from bioclip_training.published import known

TREE_OF_LIFE = (
    "split treeoflife_id eol_content_id eol_page_id bioscan_part bioscan_filename inat21_filename inat21_cls_name inat21_cls_num "
    "kingdom phylum class order family genus species common"
).split()


@pytest.fixture(autouse=True)
def csv_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))


def stages(**stated: dict[str, dict[str, Any]]) -> tuple[Stage, ...]:
    filters = Stated("filters", stated.pop("filters", {}), pa.schema([("key", pa.string()), ("empty", pa.float64())]))
    others = [Stated(name, stated.get(name, {})) for name in ("names", "images", "duplicates", "leakage")]
    return (RecordsStage(), *others, KindsStage(), filters, SplitsStage(), CatalogStage())


def run(
    folder: Path, records: dict[str, dict[str, Any]], **stated: dict[str, dict[str, Any]]
) -> tuple[Outcome, pa.Table]:
    rows = [{"record_id": name, "uri": f"{name}.jpg", **row} for name, row in records.items()]
    config = Curation(folder / "out", {"s": SourceConfig(write_source(folder / "s", rows))}, splits=SplitsConfig(val=0))
    outcome = run_stages(config, stages(**stated))[-1]
    return outcome, parquet.read_table(folder / "out/catalog")


def catalog_files(output: Path) -> dict[str, str]:
    return {name: digest for name, digest in digests(output).items() if name.startswith("catalog")}


def test_a_row_has_the_columns_of_treeoflife_first_and_what_each_stage_found(tmp_path: Path) -> None:
    outcome, table = run(
        tmp_path,
        {"a": {"eol_content_id": "7", "licence": "cc-by", "verbatim_name": "rosa Canina L.", "genus": "rosa", "latitude": "1.5"}, "b": {}},
        names={"a": {"genus": "Rosa", "species": "canina", "common_name": "dog rose", "changes": ["no author"], "outcome": "accepted"}},
        images={"a": {"sha256": "f" * 64, "phash": b"\x01\x02", "width": 8}},
        filters={"a": {"empty": 0.25}},
        leakage={"b": {"evaluation_set": "rare", "kind": "image", "evaluation_item": "x.jpg"}},
    )  # fmt: skip
    assert table.column_names[:17] == TREE_OF_LIFE
    rows = {row["record_id"]: row for row in table.to_pylist()}
    a, b = rows["a"], rows["b"]
    expected = {
        "split": "train", "eol_content_id": "7", "genus": "Rosa", "species": "canina", "common": "dog rose", "licence": "cc-by",
        "verbatim_name": "rosa Canina L.", "changes": ["no author"], "outcome": "accepted", "sha256": "f" * 64, "phash": b"\x01\x02",
        "width": 8, "latitude": 1.5, "filter_empty": 0.25, "leaks": [], "excluded": "", "image_kind": "unknown", "key": key_of("s", "a"),
        "group": key_of("s", "a"), "source": "s", "uri": "a.jpg",
    }  # fmt: skip
    assert {name: a[name] for name in expected} == expected
    assert (b["split"], b["excluded"], b["leaks"]) == ("", "leaks into rare by image", ["rare: image of x.jpg"])
    assert outcome.manifest.counts == {"s: in no split": 1, "s: train": 1}


def test_the_document_beside_it_says_what_it_has_and_is_written_again_when_it_is_gone(tmp_path: Path) -> None:
    stated = {"names": {"a": {"unresolved": "no name"}}}
    run(tmp_path, {name: {} for name in "abc"}, **stated)
    document = json.loads((tmp_path / "out/catalog.json").read_text())
    assert (document["rows"], document["splits"], document["sources"]) == (
        3,
        {"in no split": 1, "train": 2},
        ["s"],
    )
    assert [part["file"] for part in document["parts"]] == ["catalog/part-00000.parquet"]
    assert document["columns"]["changes"].startswith("list")
    before = catalog_files(tmp_path / "out")
    (tmp_path / "out/catalog.json").unlink()
    assert run(tmp_path, {name: {} for name in "abc"}, **stated)[0].why_run == "catalog.json is missing"
    assert catalog_files(tmp_path / "out") == before


def test_parts_have_a_fixed_number_of_rows_in_the_order_of_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_runs, "PART_ROWS", 130)
    monkeypatch.setattr(catalog, "PART_ROWS", 100)
    _, table = run(tmp_path, {f"r{n}": {} for n in range(250)})
    sizes = [parquet.read_metadata(path).num_rows for path in sorted((tmp_path / "out/catalog").glob("*.parquet"))]
    assert sizes == [100, 100, 50]
    keys = table["key"].to_pylist()
    assert keys == sorted(key_of("s", f"r{n}") for n in range(250))
