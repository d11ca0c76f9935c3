"""Shards of a curation: they are like any other shards, and the leakage report goes with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from collections_of_discs import tiny_config
from PIL import Image
from published_numbers import CsvLayout, write_source
from pyarrow import parquet
from stated_stages import Stated
from tiny_stages import digests

from bioclip_core.errors import SourceError
from bioclip_training.batches.data import open_images
from bioclip_training.curation import catalog, shard_rows, sorted_runs
from bioclip_training.curation.catalog import CatalogStage
from bioclip_training.curation.configuration import Curation, ShardsConfig, SourceConfig, SplitsConfig
from bioclip_training.curation.imaging.images import ImagesStage, opened_sources
from bioclip_training.curation.kinds import KindsStage
from bioclip_training.curation.records import RecordsStage
from bioclip_training.curation.running import Outcome, run_stages
from bioclip_training.curation.shard_rows import CuratedCatalog, as_catalog
from bioclip_training.curation.shards import ShardsStage
from bioclip_training.curation.splits import SplitsStage
from bioclip_training.curation.stages import StageWork
from bioclip_training.loop.recipe import TrainConfig
from bioclip_training.loop.run import train
from bioclip_training.published import known
from bioclip_training.shards import journal
from bioclip_training.shards.checking import check_shards
from bioclip_training.shards.manifest import Manifest
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.writing import write_shards

LEAKS = {"image": {"records": 1, "items": 1, "excluded": True, "examples": [{"record": "x"}]}}
REPORT = {"evaluation_sets": {"rare": {"taxa": "exclude", "items": 3, "leaks": LEAKS}}}


@pytest.fixture(autouse=True)
def csv_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))


@dataclass(frozen=True)
class Reported(Stated):
    def run(self, work: StageWork) -> None:
        super().run(work)
        (work.folder / "leakage.json").write_text(json.dumps(REPORT))
        work.keep("leakage.json")


def made(folder: Path, count: int = 8) -> Path:
    """Write a source of images, one colour per species."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        name = f"{number}.png"
        (folder / "s").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + number, 30), (30 * number, 90, 250 - 20 * number)).save(folder / "s" / name)
        rows.append({"record_id": f"r{number}", "uri": name, "licence": "CC0"})
    rows[1] |= {"bboxX": 0.5, "bboxY": 0, "bboxWidth": 0.5, "bboxHeight": 1}
    return write_source(folder / "s", rows)


def run(folder: Path, source: Path, names: Mapping[str, Mapping[str, Any]] | None = None, **shards: Any) -> Outcome:
    labels = names or {
        f"r{n}": {
            "kingdom": "Plantae",
            "genus": "Rosa",
            "species": "ab"[n % 2] * 3,
            "scientific_name": f"Rosa {'ab'[n % 2] * 3}",
        }
        for n in range(7)
    }
    labels = {"r7": {"unresolved": "no name"}, **labels}
    config = Curation(
        folder / "out",
        {"s": SourceConfig(source)},
        splits=SplitsConfig(val=0.4),
        shards=ShardsConfig(samples_per_shard=3, **shards),
    )
    before = (
        RecordsStage(),
        Stated("names", labels),
        ImagesStage(),
        KindsStage(),
        Stated("duplicates"),
        Reported("leakage"),
    )
    splits = SplitsStage(needs=tuple(stage.name for stage in before))
    return run_stages(config, (*before, splits, CatalogStage(needs=(*splits.needs, "splits")), ShardsStage()))[-1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished curation: its source ``s`` and its output ``out``."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(known, "layouts", lambda: (CsvLayout(),))
        manifest = run(folder, made(folder)).manifest
    assert (manifest.rows_in, manifest.rows_out) == (7, 7)
    return folder


@pytest.fixture
def copied(world: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the output."""
    shutil.copytree(world / "out", tmp_path / "out")
    return tmp_path


def test_they_are_whole_and_give_the_images_and_names_of_the_records_in_a_split(world: Path) -> None:
    folder = world / "out/shards"
    assert check_shards(folder, decode=True) == []
    images = open_images(folder, "all")
    assert len(images) == 7
    assert [taxon.scientific_name for taxon in images.taxa] == ["Rosa aaa", "Rosa bbb"]
    rows = images.catalog.table.to_pylist()
    assert {row["uri"] for row in rows} == {f"s/{n}.png" for n in range(7)}
    assert {row["split"] for row in rows} == {"train", "val"}
    boxed = next(at for at, row in enumerate(rows) if row["uri"] == "s/1.png")
    assert images.catalog.encoded(boxed).size() == (20, 30)  # half of 41 pixels
    assert all(row["sha256"] and row["image_kind"] == "unknown" for row in rows)


def test_rows_that_are_sorted_on_disk_give_the_bytes_of_rows_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = made(tmp_path)
    again = [
        {"record_id": f"s{number}", "uri": f"{number % 8}.png"} for number in range(20)
    ]  # regions that are listed twice
    write_source(source, again)
    names = {f"s{n}": {"genus": "Rosa", "species": "abc"[n % 3], "common_name": "rose" * (n % 2)} for n in range(20)}
    for module, name, rows in (
        (catalog, "PART_ROWS", 7), (sorted_runs, "RUN_ROWS", 8), (sorted_runs, "PART_ROWS", 12), (sorted_runs, "_GROUP_ROWS", 2),
        (shard_rows, "_BATCH", 2), (journal, "GROUP_ROWS", 8),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, rows)
    outcome = run(tmp_path, source, names)
    assert outcome.manifest.rows_out == 20
    folder = tmp_path / "out/catalog"
    rows = as_catalog(parquet.read_table(folder).sort_by("key"))
    config = Curation(tmp_path / "out", {"s": SourceConfig(source)})
    found = Manifest.read(tmp_path / "out/shards").settings
    with opened_sources(config) as openers:
        whole = CuratedCatalog(folder, rows.combine_chunks(), openers)
        whole.__dict__["identity"], whole.leakage = found["catalog"], found["leakage"]
        write_shards(whole, tmp_path / "memory", ShardOptions(samples_per_shard=3))
    wanted = digests(tmp_path / "memory")
    written = digests(tmp_path / "out/shards")
    assert {name: written[name] for name in wanted} == wanted
    assert len(wanted) >= 2 + 20 // 3


def test_the_leakage_report_goes_with_them(world: Path) -> None:
    folder = world / "out/shards"
    found = {"rare": {"taxa": "exclude", "items": 3, "leaks": {"image": {"records": 1, "items": 1, "excluded": True}}}}
    assert Manifest.read(folder).settings["leakage"] == found
    assert open_images(folder, "all").catalog.leakage == found
    assert json.loads((folder / "leakage.json").read_text()) == REPORT


def test_the_trainer_takes_them_as_they_are_and_its_card_has_the_leakage(world: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=str(world / "out/shards"), start=tiny_config(tmp_path), output=str(tmp_path / "model"), steps=1, batch_size=4, warmup=1,
        dev_fraction=0.0, workers=1, device="cpu", precision="fp32", measure=False,
    )  # fmt: skip
    assert train(config, {}).steps == 1
    card = (tmp_path / "model/README.md").read_text("utf-8")
    assert "- Evaluation set rare: images that leak into it and were left out: 1." in card


def test_a_kill_between_two_shards_changes_no_byte(world: Path, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(copied / "out/shards")
    add = journal.Journal.add

    def killed(self: journal.Journal, record: journal.ShardRecord) -> None:
        add(self, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(journal.Journal, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            run(copied, world / "s")
    assert run(copied, world / "s").why_run == "it was interrupted"
    assert digests(copied / "out/shards") == digests(world / "out/shards")


def test_a_shard_that_is_gone_is_written_again(world: Path, copied: Path) -> None:
    tar = sorted((copied / "out/shards").glob("*.tar"))[0]
    tar.unlink()
    assert run(copied, world / "s").why_run == f"{tar.name} is missing"
    assert digests(copied / "out/shards") == digests(world / "out/shards")


def test_without_a_record_in_a_split_the_reason_is_where_to_look(world: Path, copied: Path) -> None:
    names = {f"r{n}": {"unresolved": "no name"} for n in range(8)}
    with pytest.raises(
        SourceError,
        match="is in a split, so that there is nothing to write; the column excluded and the report say why",
    ):
        run(copied, world / "s", names)


def test_shards_that_are_not_wanted_are_not_written(world: Path, copied: Path) -> None:
    outcome = run(copied, world / "s", write=False)
    assert outcome.manifest.notes == ("shards are not written: shards.write in the configuration",)
    assert not list((copied / "out/shards").glob("*.tar"))
