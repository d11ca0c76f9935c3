"""``shards check``, ``evaluate`` and ``classify`` on published shards."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from command_samples import Bioclip
from PIL import Image

RGB = {"red": (255, 0, 0), "green": (0, 255, 0)}
NAMES = {
    "red": "Fictia Fictozoa Fictida Fictales Warmidae Red fictus",
    "green": "Fictia Fictozoa Fictida Fictales Coldidae Green fictus",
}


def member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size = len(data)
    tar.addfile(about, io.BytesIO(data))


@pytest.fixture
def shards(bioclip: Bioclip) -> str:
    """Shards in TreeOfLife's layout: two red and two green images in train, and in val one of each."""
    for split, each in (("train", 2), ("val", 1)):
        Path("published", split).mkdir(parents=True)
        with tarfile.open(Path("published", split, "shard-000000.tar"), "w") as tar:
            for number in range(each):
                for colour, name in NAMES.items():
                    stream = io.BytesIO()
                    Image.new("RGB", (12, 10), RGB[colour]).save(stream, "PNG")
                    key = f"{split}{number}{colour}"
                    member(tar, f"{key}.png", stream.getvalue())
                    member(tar, f"{key}.taxonomic_name.txt", name.encode())
                    member(tar, f"{key}.scientific_name.txt", " ".join(name.split()[5:]).encode())
    return "published"


def test_published_shards_are_evaluated(bioclip: Bioclip, shards: str) -> None:
    said = bioclip("evaluate", "--data", shards, "--model", "fake", "--output", "out")
    assert said.code == 0, said.err
    assert "published: read as published shards: 6 images in 2 files, 6 with a taxon, split train, val" in said.out
    metrics = json.loads(Path("out/metrics.json").read_text("utf-8"))
    assert (metrics["images"]["n"], metrics["zero_shot"]["species"]["top1"]) == (2, 1.0)


def test_published_shards_are_classified(bioclip: Bioclip, shards: str) -> None:
    Path("labels.txt").write_text("red\ngreen\n", "utf-8")
    said = bioclip("classify", shards, "--model", "fake", "--labels", "labels.txt", "--json")
    assert said.code == 0, said.err
    assert sorted(json.loads(line)["uri"].rpartition("#")[2] for line in said.out.splitlines()) == [
        "train0green.png", "train0red.png", "train1green.png", "train1red.png", "val0green.png", "val0red.png",
    ]  # fmt: skip


def test_a_check_of_published_shards_says_what_they_hold(bioclip: Bioclip, shards: str) -> None:
    said = bioclip("shards", "check", shards, "--decode")
    assert said.code == 0, said.err
    assert "Published shards: 6 usable images in 2 files, " in said.out
    assert "6 with a taxon, 0 with a caption; every image decodes." in said.out


def test_a_check_of_published_shards_names_damaged_files_and_what_is_usable(bioclip: Bioclip, shards: str) -> None:
    tar = Path(shards, "train", "shard-000000.tar")
    with tarfile.open(tar) as whole:
        last = whole.getmembers()[-3]
    data = bytearray(tar.read_bytes())
    data[530:570] = bytes(40)  # in the first image
    tar.write_bytes(data[: last.offset_data + 10])
    Path(shards, "val", "shard-000001.tar").write_bytes(b"no tar" * 200)
    said = bioclip("shards", "check", shards, "--decode")
    assert said.code == 1
    assert "train/shard-000000.tar: shards are truncated: the samples before that are read: 1 (the first: " in said.out
    assert "train/shard-000000.tar: images cannot be decoded: 1 (the first: train0red.png" in said.out
    assert "; 2 images of it are usable" in said.out
    assert "val/shard-000001.tar: it cannot be read: 1 (the first: the shard " in said.out
    assert "Published shards: 4 usable images in 3 files" in said.out
    assert "4 problems in 2 files." in said.out
