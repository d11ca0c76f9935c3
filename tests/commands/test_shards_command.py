"""``shards write`` and ``shards check`` from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from command_samples import Bioclip
from PIL import Image
from pyarrow import parquet

from bioclip_core.taxonomy import Taxon
from bioclip_training.catalog.rows import CatalogRow, table_from

LYNX = Taxon.of(["Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Lynx", "fictus"], "invented lynx")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Catalog of eight images: six are in train, and one of these is empty."""
    rows = []
    for number in range(8):
        name = f"{number}.jpg"
        Image.fromarray(np.full((30, 40, 3), 25 * number, dtype=np.uint8)).save(tmp_path / name)
        rows.append(CatalogRow(uri=name, taxon=LYNX, group=name, split="val" if number > 5 else "train"))
    (tmp_path / "2.jpg").write_bytes(b"")
    parquet.write_table(table_from(rows), tmp_path / "catalog.parquet")
    return tmp_path / "catalog.parquet"


def test_shards_are_written_and_checked_and_written_only_once(bioclip: Bioclip, catalog: Path) -> None:
    said = bioclip("shards", "write", catalog, "--output", "made", "--samples-per-shard", 3)
    assert said.code == 3
    assert "7 samples in 3 shards" in said.out
    assert "(train 5, val 2)" in said.out
    assert "1 image skipped, since not usable (made/skipped.csv):\n  2.jpg: the file is empty" in said.out
    assert "bioclip-plugin shards check made" in said.out
    whole = bioclip("shards", "check", "made", "--decode")
    assert (whole.code, "All is whole: 7 samples in 3 shards" in whole.out) == (0, True)
    again = bioclip("shards", "write", catalog, "--output", "made", "--samples-per-shard", 3)
    assert "nothing was left to do" in again.out


def test_one_split_can_be_written_alone(bioclip: Bioclip, catalog: Path) -> None:
    said = bioclip("shards", "write", catalog, "--output", "made", "--split", "val", "--size-mb", 1, "--workers", 1)
    assert (said.code, "2 samples in 1 shard," in said.out) == (0, True)
    refused = bioclip("shards", "write", catalog, "--output", "other", "--split", "tset")
    assert refused.code == 1
    assert re.search(r"it has train 6 \(of which dev \d\), val 2", refused.err)


def test_damage_is_a_line_each_and_exit_code_1(bioclip: Bioclip, catalog: Path) -> None:
    bioclip("shards", "write", catalog, "--output", "made")
    tar = Path("made/train-000000.tar")
    tar.write_bytes(tar.read_bytes()[:4000])
    Path("made/val-000000.tar").unlink()
    said = bioclip("shards", "check", "made")
    assert said.code == 1
    assert "train-000000.tar: truncated: it has 4,000 bytes" in said.out
    assert "val-000000.tar: it is missing" in said.out
    assert "This makes the shards again: bioclip-plugin shards write CATALOG --output made --force" in said.out
    refused = bioclip("shards", "write", catalog, "--output", "made")
    assert (refused.code, "--force" in refused.err) == (1, True)
    assert bioclip("shards", "write", catalog, "--output", "made", "--force").code == 3
    assert bioclip("shards", "check", "made").code == 0


def test_other_settings_need_force(bioclip: Bioclip, catalog: Path) -> None:
    bioclip("shards", "write", catalog, "--output", "made")
    refused = bioclip("shards", "write", catalog, "--output", "made", "--max-side", 20)
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert "max_side 512 and not 20" in refused.err
    assert (
        bioclip("shards", "write", catalog, "--output", "made", "--max-side", 20, "--quality", 80, "--force").code == 3
    )


def test_two_ways_to_end_a_tar_are_refused(bioclip: Bioclip, catalog: Path) -> None:
    refused = bioclip("shards", "write", catalog, "--output", "made", "--samples-per-shard", 3, "--size-mb", 1)
    assert (refused.code, "leave the other out" in refused.err) == (2, True)


@pytest.mark.parametrize(("name", "reason"), [("gone.parquet", "does not exist"), ("0.jpg", "cannot be read")])
def test_a_file_that_is_not_a_catalog_is_refused_in_one_line(
    bioclip: Bioclip, catalog: Path, name: str, reason: str
) -> None:
    refused = bioclip("shards", "write", name, "--output", "made")
    assert (refused.code, len(refused.err.splitlines()), reason in refused.err) == (1, 1, True)
    assert not Path("made").exists()


def test_a_folder_without_shards_cannot_be_checked(bioclip: Bioclip, tmp_path: Path) -> None:
    Path("empty").mkdir()
    for folder in ("empty", "gone"):
        refused = bioclip("shards", "check", folder)
        assert (refused.code, "shards write CATALOG" in refused.err) == (1, True)


def test_an_interrupted_writing_says_how_to_go_on(
    bioclip: Bioclip, catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bioclip_training.shards.tar import ShardFile

    whole = ShardFile.finish

    def interrupted(self: ShardFile) -> None:
        if self.file.name == "train-000001.tar":
            raise KeyboardInterrupt
        whole(self)

    monkeypatch.setattr(ShardFile, "finish", interrupted)
    said = bioclip("shards", "write", catalog, "--output", "made", "--samples-per-shard", 2)
    assert (said.code, "The same command continues." in said.out) == (130, True)
    assert "not finished" in bioclip("shards", "check", "made").err
    monkeypatch.undo()
    monkeypatch.chdir(catalog.parent)
    went_on = bioclip("shards", "write", catalog, "--output", "made", "--samples-per-shard", 2)
    assert (went_on.code, "an earlier call had done" in went_on.out) == (3, True)
    assert bioclip("shards", "check", "made", "--decode").code == 0
