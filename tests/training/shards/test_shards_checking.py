"""Checks of shards: every kind of damage is found and reported in one line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from stream_samples import open_catalog, rows_with_images

from bioclip_core.errors import SourceError
from bioclip_training.shards.checking import check_shards
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.writing import write_shards


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Twelve samples in three shards."""
    rows = rows_with_images(tmp_path / "images", 12, splits=("train", "train", "val"))
    catalog = open_catalog(tmp_path / "images", rows)
    write_shards(catalog, tmp_path / "shards", ShardOptions(samples_per_shard=4))
    return tmp_path / "shards"


def problems(folder: Path, *, decode: bool = False) -> list[str]:
    return [str(problem) for problem in check_shards(folder, decode=decode)]


def rewritten(tar: Path, change: dict[str, bytes | None]) -> None:
    """Replace the members with these endings, or remove them (None); only the first member of each ending changes."""
    with tarfile.open(tar) as opened:
        held = [(about.name, opened.extractfile(about).read()) for about in opened]  # type: ignore[union-attr]
    left = dict(change)
    with tarfile.open(tar, "w") as opened:
        for name, data in held:
            new: bytes | None = data
            for ending in list(left):
                if name.endswith(ending):
                    new = left.pop(ending)
            if new is not None:
                about = tarfile.TarInfo(name)
                about.size = len(new)
                opened.addfile(about, io.BytesIO(new))


def settle(folder: Path, tar: Path) -> None:
    """Make the manifest match the tar as it is now, so that only damage inside it can be found."""
    import hashlib

    manifest = json.loads((folder / "shards.json").read_text())
    for shard in manifest["shards"]:
        if shard["file"] == tar.name:
            shard["bytes"], shard["sha256"] = tar.stat().st_size, hashlib.sha256(tar.read_bytes()).hexdigest()
    (folder / "shards.json").write_text(json.dumps(manifest))


def test_whole_shards_have_no_problem(shards: Path) -> None:
    seen = []
    assert check_shards(shards, decode=True, progress=lambda shard: seen.append(shard.file)) == []
    assert seen == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]


def test_a_truncated_shard_is_found(shards: Path) -> None:
    tar = shards / "train-000001.tar"
    whole = tar.stat().st_size
    tar.write_bytes(tar.read_bytes()[:3000])
    found = problems(shards)
    assert found[0] == f"train-000001.tar: truncated: it has 3,000 bytes, and the manifest says {whole:,}"
    assert all(line.startswith("train-000001.tar: ") for line in found)
    assert any("the manifest says 4" in line for line in found)


def test_one_changed_bit_is_found_though_size_and_time_stay(shards: Path) -> None:
    import os

    tar = shards / "val-000000.tar"
    times = tar.stat()
    data = bytearray(tar.read_bytes())
    data[512 + 45] ^= 1  # among the pixels of the first image, after the tar header of 512 bytes
    tar.write_bytes(data)
    os.utime(tar, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert problems(shards) == ["val-000000.tar: damaged: its sha256 is not the one in the manifest"]
    decoded = problems(shards, decode=True)
    assert len(decoded) == 2
    assert ".png: " in decoded[1]


def test_missing_and_surplus_shards_are_found(shards: Path) -> None:
    (shards / "train-000000.tar").rename(shards / "train-000007.tar")
    (shards / "val-000001.tar.draft").write_bytes(b"")
    (shards / "unfinished").mkdir()
    assert problems(shards) == [
        "train-000000.tar: it is missing",
        "train-000007.tar: it is not in the manifest",
        "val-000001.tar.draft: it is not in the manifest",
        "unfinished: shards were begun here and not finished",
    ]


def test_a_sample_without_its_json_or_its_image_is_found(shards: Path) -> None:
    tar = shards / "train-000000.tar"
    rewritten(tar, {".json": None})
    settle(shards, tar)
    found = problems(shards)
    assert any("its image lacks a JSON member" in line for line in found)
    tar = shards / "train-000001.tar"
    rewritten(tar, {".png": None})
    settle(shards, tar)
    found = [line for line in problems(shards) if line.startswith("train-000001.tar")]
    assert any("its JSON member lacks an image" in line for line in found)
    assert any("it has 3 images, and the manifest says 4" in line for line in found)
    assert any("the index has it and the tar does not" in line for line in found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{no json", "it is not JSON"),
        (b'{"kingdom": ""}', "it lacks phylum, class, order, family, genus, species"),
        (b"[]", "it is not as it must be: expected 'object', got 'array'"),
        (json.dumps(dict.fromkeys("kingdom phylum class order family genus species".split(), "x") | {"split": "val"}).encode(),
         "its split is 'val', and the shard's 'train'"),
    ],
)  # fmt: skip
def test_json_that_says_too_little_is_found(shards: Path, text: bytes, reason: str) -> None:
    tar = shards / "train-000000.tar"
    rewritten(tar, {".json": text})
    settle(shards, tar)
    assert any(f".json: {reason}" in line for line in problems(shards))


def test_an_undecodable_image_is_found_when_asked(shards: Path) -> None:
    tar = shards / "train-000000.tar"
    rewritten(tar, {".png": b"no image"})
    settle(shards, tar)
    assert not any("not an image" in line for line in problems(shards))
    assert any("not an image that can be read" in line for line in problems(shards, decode=True))


def test_a_damaged_or_missing_index_is_found(shards: Path) -> None:
    index = shards / "index.parquet"
    index.write_bytes(index.read_bytes()[:200])
    found = problems(shards)
    assert [line.split(": ")[0] for line in found] == ["index.parquet"] * 2
    index.unlink()
    assert problems(shards) == ["index.parquet: it is missing, and without it no sample is found"]


def test_a_count_that_differs_is_found(shards: Path) -> None:
    manifest = json.loads((shards / "shards.json").read_text())
    manifest["shards"][0]["samples"] = 5
    (shards / "shards.json").write_text(json.dumps(manifest))
    assert problems(shards) == [
        "index.parquet: it has 12 samples, and the manifest 13",
        "train-000000.tar: it has 4 images, and the manifest says 5",
    ]


def test_many_damages_of_one_kind_are_counted(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path / "images", 12)
    write_shards(open_catalog(tmp_path / "images", rows), tmp_path / "shards", ShardOptions(samples_per_shard=12))
    tar = tmp_path / "shards" / "train-000000.tar"
    tar.write_bytes(b"\0" * 10240)
    settle(tmp_path / "shards", tar)
    found = problems(tmp_path / "shards")
    assert len(found) == 1 + 5 + 1
    assert found[0] == "train-000000.tar: it has 0 images, and the manifest says 12"
    assert found[-1] == "train-000000.tar: and 7 more like the last"


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "bioclip-shards", "version": 1}'])
def test_a_damaged_manifest_is_refused(shards: Path, text: str) -> None:
    (shards / "shards.json").write_text(text)
    with pytest.raises(SourceError, match=r"shards\.json"):
        check_shards(shards)


def test_shards_of_a_later_version_are_refused(shards: Path) -> None:
    manifest = json.loads((shards / "shards.json").read_text()) | {"version": 9}
    (shards / "shards.json").write_text(json.dumps(manifest))
    with pytest.raises(SourceError, match="version 9, and this program reads version 1"):
        check_shards(shards)
