"""Recorded hashes: images that changed since the catalog or the shards were written are found wherever they are read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

import bioclip_training
from bioclip_core.errors import ImageError, SourceError
from bioclip_core.taxonomy import Taxon
from bioclip_training.batches.data import open_images
from bioclip_training.catalog.first_look import LOOKED_AT, look_first
from bioclip_training.catalog.recorded import verified
from bioclip_training.catalog.rows import Catalog, CatalogRow, table_from
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.writing import write_shards

TAXA = [Taxon.of(["Fictia", "", "", "", "", "Lynx", name]) for name in ("fictus", "pictus")]


def collection(folder: Path, count: int = 12, record: Callable[[bytes], str] | None = None) -> Path:
    """Write images and their catalog with a recorded hash each."""
    record = record or (lambda data: hashlib.sha256(data).hexdigest())
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        file = folder / f"{number}.png"
        Image.new("RGB", (20, 16), (20 * number % 256, 90, number)).save(file)
        rows.append(
            CatalogRow(file.name, TAXA[number % 2], split="train", group=file.name, sha256=record(file.read_bytes()))
        )
    parquet.write_table(table_from(rows), folder / "catalog.parquet")
    return folder / "catalog.parquet"


def all_rows(catalog: Catalog) -> np.ndarray:
    return np.arange(len(catalog))


@given(st.binary(min_size=1, max_size=200), st.integers(0, 199), st.integers(1, 255))
def test_a_single_changed_byte_is_found(data: bytes, place: int, change: int) -> None:
    recorded = hashlib.sha256(data).hexdigest()
    assert verified(data, recorded) == data
    assert verified(data, recorded.upper()) == data
    other = bytearray(data)
    other[place % len(data)] ^= change
    with pytest.raises(ImageError, match=r"other bytes than when the catalog was built: sha256 .*, recorded") as found:
        verified(bytes(other), recorded)
    assert found.value.stage == "verify"
    assert recorded[:12] in str(found.value)


@pytest.mark.parametrize("recorded", ["", None, hashlib.md5(b"x").hexdigest(), "see the label", "0" * 63])
def test_a_cell_that_is_not_a_sha256_is_no_record(recorded: str | None) -> None:
    assert verified(b"bytes", recorded) == b"bytes"


def test_a_pointer_of_git_lfs_in_place_of_an_image_is_named_as_such() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    with pytest.raises(ImageError, match="git lfs pull"):
        verified(pointer, hashlib.sha256(b"image").hexdigest())


@pytest.mark.parametrize("change", ["another image", "encoded again", "cut off", "a flipped bit"])
def test_an_image_that_changed_is_refused_by_every_reader_of_a_catalog(tmp_path: Path, change: str) -> None:
    catalog = Catalog.open(collection(tmp_path))
    file, data = tmp_path / "3.png", (tmp_path / "3.png").read_bytes()
    changed = {
        "another image": (tmp_path / "4.png").read_bytes(),
        "cut off": data[:-20],
        "a flipped bit": data[:-1] + bytes([data[-1] ^ 1]),
    }
    if change in changed:
        file.write_bytes(changed[change])
    else:
        Image.open(file).save(file, compress_level=0)
    images = open_images(catalog.file, "train", dev_fraction=0)
    failed = {}
    for index in range(len(images)):
        try:
            images.encoded(index)
        except ImageError as error:
            failed[images.key(index)] = str(error)
    assert list(failed) == ["3.png"]
    written = write_shards(catalog, tmp_path / "shards", ShardOptions())
    assert [key for key, _ in written.skipped] == ["3.png"]
    assert "other bytes" in written.skipped[0][1]


def test_a_changed_byte_in_a_shard_spoils_its_own_image_only(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    write_shards(Catalog.open(collection(tmp_path)), folder, ShardOptions())
    images = open_images(folder, "train", dev_fraction=0)
    tar = folder / "train-000000.tar"
    data = bytearray(tar.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1  # of the first image in the tar
    tar.write_bytes(data)
    with pytest.raises(ImageError, match="when the shard was written"):
        images.encoded(0)
    for index in range(1, len(images)):
        images.encoded(index)
    assert images.look_first() == []


def test_shards_of_an_earlier_version_are_read_and_that_they_are_unverified_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    write_shards(Catalog.open(collection(tmp_path)), folder, ShardOptions())
    index = folder / "index.parquet"
    parquet.write_table(parquet.read_table(index).drop(["member_sha256"]), index)
    manifest = (folder / "shards.json").read_text("utf-8")
    was = manifest.split('"index_sha256": "')[1][:64]
    (folder / "shards.json").write_text(manifest.replace(was, hashlib.sha256(index.read_bytes()).hexdigest()), "utf-8")
    images = open_images(folder, "train", dev_fraction=0)
    assert images.look_first() == [f"{folder}: its images have no recorded sha256, so that they are read unverified"]
    assert images.encoded(0).data


RECORDS: dict[str, Callable[[bytes], str]] = {
    "none": lambda _data: "",
    "another kind of hash": lambda data: hashlib.md5(data).hexdigest(),
    "cut off": lambda data: hashlib.sha256(data).hexdigest()[:40],
}


@pytest.mark.parametrize("record", RECORDS)
def test_a_catalog_without_recorded_hashes_is_read_and_that_is_said(tmp_path: Path, record: str) -> None:
    catalog = Catalog.open(collection(tmp_path, record=RECORDS[record]))
    assert look_first(catalog, all_rows(catalog)) == [
        f"{catalog.file}: its images have no recorded sha256, so that they are read unverified"
    ]


@pytest.mark.parametrize(("changed", "refused"), [(0, False), (1, False), (6, False), (7, True), (12, True)])
def test_a_collection_of_which_more_than_half_changed_is_refused_at_once(
    tmp_path: Path, changed: int, refused: bool
) -> None:
    catalog = Catalog.open(collection(tmp_path))
    for number in range(changed):
        Image.open(tmp_path / f"{number}.png").save(tmp_path / f"{number}.png", compress_level=0)
    if not refused:
        assert look_first(catalog, all_rows(catalog)) == []
        return
    with pytest.raises(SourceError, match=f"^{changed} of 12 images of .* build the catalog again"):
        look_first(catalog, all_rows(catalog))


def test_the_first_look_reads_a_fixed_number_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, read = Catalog.open(collection(tmp_path, 3 * LOOKED_AT)), []
    monkeypatch.setattr(Catalog, "encoded", lambda _self, row: read.append(row))
    look_first(catalog, all_rows(catalog))
    assert (len(read), min(read), max(read)) == (LOOKED_AT, 0, 3 * LOOKED_AT - 1)


def test_images_that_moved_are_found_nearby_and_the_option_for_them_is_given(tmp_path: Path) -> None:
    built = collection(tmp_path / "old photos")
    (tmp_path / "work").mkdir()
    moved = tmp_path / "work" / "catalog.parquet"
    built.rename(moved)
    (tmp_path / "old photos").rename(tmp_path / "new photos")
    catalog = Catalog.open(moved)
    with pytest.raises(SourceError) as refused:
        look_first(catalog, all_rows(catalog))
    option = f"--replace-prefix '{tmp_path / 'work'}={tmp_path / 'new photos'}'"
    assert f"12 of 12 missing files are in {tmp_path / 'new photos'}; give {option}" in str(refused.value)
    again = Catalog.open(moved, replace_prefix=[option.split("'")[1]])
    assert look_first(again, all_rows(again)) == []


def test_a_file_of_the_same_name_with_other_bytes_is_not_proposed(tmp_path: Path) -> None:
    built = collection(tmp_path / "a" / "b" / "old")
    collection(tmp_path / "a" / "b" / "other", record=None)
    for number in range(12):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "a" / "b" / "other" / f"{number}.png")
        (tmp_path / "a" / "b" / "old" / f"{number}.png").unlink()
    catalog = Catalog.open(built)
    with pytest.raises(SourceError, match="give --replace-prefix OLD=NEW if the images moved"):
        look_first(catalog, all_rows(catalog))


def test_the_images_of_a_catalog_are_read_in_one_place_only() -> None:
    package = Path(bioclip_training.__path__[0])
    reads = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        if re.search(r"\bread_bytes\(|\.path\(row\).*(?:open|read)", file.read_text("utf-8"))
    }
    # The catalog itself and shards, verified; its building, which records; the search for moved files, verified; drawn scenes
    # without a catalog; images of published collections, evaluation sets and example folders, which are in no catalog.
    assert reads <= {
        "catalog/rows.py", "catalog/fingerprints.py", "catalog/first_look.py", "demo_checkpoint/evaluation.py",
        "shards/reading.py", "shards/checking_published.py", "published/opening.py", "published/tar_images.py",
        "biosphere/publishing/pictures.py", "biosphere/publishing/formats/target.py", "curation/imaging/support_set.py",
        "suites/features.py", "suites/reading_tasks.py",
    }  # fmt: skip
