"""Shards: their content, reproducible bytes, reading in every way, and resuming after a kill."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stream_samples import TAXA, colour_of, open_catalog, rows_with_images

from bioclip_core.errors import ImageError, SourceError, UsageError
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.taxonomy import RANKS
from bioclip_training.batches.data import open_images
from bioclip_training.batches.stream import TrainingStream
from bioclip_training.catalog.rows import CatalogRow
from bioclip_training.shards.encoding import image_member
from bioclip_training.shards.manifest import Manifest
from bioclip_training.shards.options import ShardOptions
from bioclip_training.shards.writing import Written, write_shards

SPLITS = ("train", "train", "val")


def write(folder: Path, rows: list[CatalogRow], output: Path, force: bool = False, **options: Any) -> Written:
    catalog = open_catalog(folder, rows)
    return write_shards(catalog, output, ShardOptions(**{"samples_per_shard": 4, **options}), force=force)


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.tar*"))}


def members(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as opened:
        return {about.name: opened.extractfile(about).read() for about in opened}  # type: ignore[union-attr]


@pytest.fixture
def rows(tmp_path: Path) -> list[CatalogRow]:
    """30 rows with images: 20 train and 10 val."""
    return rows_with_images(tmp_path, 30, splits=SPLITS)


def test_each_split_has_tars_of_its_own_and_the_manifest_counts_them(tmp_path: Path, rows: list[CatalogRow]) -> None:
    written = write(tmp_path, rows, tmp_path / "shards", samples_per_shard=8)
    manifest = Manifest.read(tmp_path / "shards")
    assert manifest == written.manifest
    assert [(shard.file, shard.split, shard.samples) for shard in manifest.shards] == [
        ("train-000000.tar", "train", 8), ("train-000001.tar", "train", 8), ("train-000002.tar", "train", 4),
        ("val-000000.tar", "val", 8), ("val-000001.tar", "val", 2),
    ]  # fmt: skip
    assert manifest.samples_of_splits() == {"train": 20, "val": 10}
    assert {shard.file: shard.sha256 for shard in manifest.shards} == digests(tmp_path / "shards")
    assert [taxon.lineage for taxon in manifest.taxa] == sorted(taxon.lineage for taxon in TAXA)
    assert not (tmp_path / "shards" / "unfinished").exists()


def test_a_sample_is_an_image_and_a_json_member_with_the_ranks(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards")
    for tar in sorted((tmp_path / "shards").glob("*.tar")):
        held = members(tar)
        names = list(held)
        for image, text in zip(names[::2], names[1::2], strict=True):
            assert image.removesuffix(".png") == text.removesuffix(".json")
            assert image.count(".") == 1
            cells = json.loads(held[text])
            number = int(cells["uri"].removesuffix(".png"))
            assert np.asarray(Image.open(io.BytesIO(held[image])).convert("RGB"))[0, 0].tolist() == list(
                colour_of(number)
            )
            assert [cells[rank.value] for rank in RANKS] == list(TAXA[number % 3].lineage)
            assert (cells["common_name"], cells["split"]) == (TAXA[number % 3].common_name, SPLITS[number % 3])
            assert (cells["group"], cells["licence"], cells["source_id"]) == (f"g{number}", "CC0", f"id{number}")
            assert tar.name.startswith(cells["split"])


def test_the_same_catalog_gives_the_same_bytes_with_any_number_of_threads(
    tmp_path: Path, rows: list[CatalogRow]
) -> None:
    write(tmp_path, rows, tmp_path / "one", workers=1)
    write(tmp_path, rows, tmp_path / "two", workers=5)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    with tarfile.open(tmp_path / "one" / "train-000000.tar") as tar:
        assert {(about.mtime, about.uid, about.gid, about.uname, about.mode) for about in tar} == {(0, 0, 0, "", 0o644)}


def test_samples_are_mixed_and_not_in_the_order_of_the_catalog(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards", samples_per_shard=100)
    images = open_images(tmp_path / "shards", "all")
    keys = [images.key(index) for index in range(20)]
    assert keys != sorted(keys)
    ranks = np.argsort(np.argsort(keys))
    assert abs(np.corrcoef(ranks, np.arange(20))[0, 1]) < 0.6


@pytest.mark.parametrize("part", ["train", "dev", "val", "all"])
def test_shards_and_catalog_have_the_same_parts_images_and_labels(
    tmp_path: Path, rows: list[CatalogRow], part: str
) -> None:
    rows[4] = CatalogRow(uri="004.png", taxon=TAXA[1], split="train")  # without a group, the row is its own group
    rows[9] = CatalogRow(uri="009.png", taxon=TAXA[0], group="g9", split="train", box=(0.5, 0.25, 0.5, 0.5))
    write(tmp_path, rows, tmp_path / "shards")
    of_files = open_images(tmp_path / "catalog.parquet", part, dev_fraction=0.3)
    of_shards = open_images(tmp_path / "shards", part, dev_fraction=0.3)
    contract = Preprocessing(size=12, resize_mode="squash")
    samples = [
        {
            found.key(n): (found.group(n), int(found.taxon_of_N[n]), found.encoded(n).model_input(contract).tobytes())
            for n in range(len(found))
        }
        for found in (of_files, of_shards)
    ]  # fmt: skip
    assert samples[0] == samples[1]
    assert of_files.taxa == of_shards.taxa


def test_blocks_are_the_shards_of_a_part(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards", samples_per_shard=8)
    assert open_images(tmp_path / "shards", "val").blocks == ((0, 8), (8, 10))
    assert open_images(tmp_path / "shards", "all").blocks == ((0, 8), (8, 16), (16, 20), (20, 28), (28, 30))


def test_one_split_alone_keeps_the_taxa_of_all(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards", splits=("val",))
    images = open_images(tmp_path / "shards", "val")
    assert len(images) == 10
    assert len(images.taxa) == 3
    assert {images.taxa[taxon].lineage for taxon in images.taxon_of_N} == {TAXA[2].lineage}
    with pytest.raises(SourceError, match=r"'train': there are val 10, and all 10"):
        open_images(tmp_path / "shards", "train")


def test_the_stream_reads_shards(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards", samples_per_shard=2)
    images = open_images(tmp_path / "shards", "train", dev_fraction=0.0)
    contract = Preprocessing(size=12, resize_mode="squash")
    source = TrainingStream(
        images,
        batch_size=10,
        preprocessing=contract,
        augmentation="none",
        captions={"taxonomic": 1.0},
        workers=2,
    )
    batches = source.batches(0)
    epoch = [next(batches), next(batches)]
    batches.close()
    assert len({key for batch in epoch for key in batch.keys}) == 20
    for batch in epoch:
        for key, pixels in zip(batch.keys, batch.images_BHWC, strict=True):
            assert (pixels == colour_of(int(key.removesuffix(".png")))).all()


def test_webdataset_reads_them_too(tmp_path: Path, rows: list[CatalogRow]) -> None:
    import webdataset

    write(tmp_path, rows, tmp_path / "shards", samples_per_shard=8)
    urls = [str(file) for file in sorted((tmp_path / "shards").glob("train-*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    assert len(found) == 20
    for sample in found:
        number = int(sample["json"]["uri"].removesuffix(".png"))
        assert sample["png"].convert("RGB").getpixel((2, 2)) == colour_of(number)


class Stopped(Exception):
    """Error that ends writing part way."""


@pytest.mark.parametrize("rows_done", [1, 5, 9, 21, 29])
def test_a_stopped_writing_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, rows: list[CatalogRow], rows_done: int
) -> None:
    (tmp_path / "003.png").write_bytes(b"no image")
    catalog, options = open_catalog(tmp_path, rows), ShardOptions(samples_per_shard=4)

    def stop(done: int, _total: int) -> None:
        if done == rows_done:
            raise Stopped

    with pytest.raises(Stopped):
        write_shards(catalog, tmp_path / "shards", options, progress=stop)
    assert not list((tmp_path / "shards").glob(".*.part"))
    with pytest.raises(SourceError, match="not finished"):
        open_images(tmp_path / "shards", "train")
    resumed = write_shards(catalog, tmp_path / "shards", options)
    at_once = write_shards(catalog, tmp_path / "again", options)
    assert rows_done - 8 <= resumed.resumed_at < rows_done
    assert digests(tmp_path / "shards") == digests(tmp_path / "again")
    assert resumed.manifest == at_once.manifest
    assert resumed.skipped == at_once.skipped
    assert not any(thread.name.startswith("bioclip-shards") for thread in threading.enumerate())


def test_half_finished_work_of_a_killed_run_is_done_again(tmp_path: Path, rows: list[CatalogRow]) -> None:
    catalog, options = open_catalog(tmp_path, rows), ShardOptions(samples_per_shard=4)
    expected = write_shards(catalog, tmp_path / "whole", options)

    def stop(done: int, _total: int) -> None:
        if done == 15:
            raise Stopped

    with pytest.raises(Stopped):
        write_shards(catalog, tmp_path / "shards", options, progress=stop)
    (tmp_path / "shards" / "unfinished" / "train-000002.json").unlink()  # renamed, then killed before it was recorded
    (tmp_path / "shards" / ".train-000003.tar.1.part").write_bytes(b"half of a tar")
    (tmp_path / "shards" / "train-000001.tar").unlink()
    resumed = write_shards(catalog, tmp_path / "shards", options)
    assert resumed.resumed_at == 4
    assert resumed.manifest == expected.manifest
    assert digests(tmp_path / "shards") == digests(tmp_path / "whole")


def test_finished_shards_are_not_touched_again(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards")
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "shards").iterdir()}
    again = write(tmp_path, rows, tmp_path / "shards")
    assert again.resumed_at == 30
    assert before == {file.name: file.stat().st_mtime_ns for file in (tmp_path / "shards").iterdir()}


def test_other_settings_are_refused_unless_forced(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards")
    (tmp_path / "shards" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"max_side 512 and not 64.*--force"):
        write(tmp_path, rows, tmp_path / "shards", max_side=64)
    with pytest.raises(UsageError, match="another catalog"):
        write(tmp_path, rows[:29], tmp_path / "shards")
    write(tmp_path, rows, tmp_path / "shards", samples_per_shard=20, force=True)
    assert sorted(digests(tmp_path / "shards")) == ["train-000000.tar", "val-000000.tar"]
    assert (tmp_path / "shards" / "notes.txt").read_text() == "mine"


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, rows: list[CatalogRow]) -> None:
    for force in (False, True):
        with pytest.raises(UsageError, match="holds other files than shards"):
            write(tmp_path, rows, tmp_path, force=force)
    assert (tmp_path / "000.png").exists()


def test_a_bad_image_is_left_out_and_listed(tmp_path: Path, rows: list[CatalogRow]) -> None:
    (tmp_path / "000.png").unlink()
    (tmp_path / "001.png").write_bytes((tmp_path / "001.png").read_bytes()[:50])
    written = write(tmp_path, rows, tmp_path / "shards")
    assert (written.manifest.samples, written.manifest.skipped) == (28, 2)
    assert {key for key, _ in written.skipped} == {"000.png", "001.png"}
    lines = (tmp_path / "shards" / "skipped.csv").read_text("utf-8").splitlines()
    assert lines[0] == "key,reason"
    assert sorted(line.split(",")[0] for line in lines[1:]) == ["000.png", "001.png"]
    assert write(tmp_path, rows, tmp_path / "shards").skipped == written.skipped


def test_a_split_whose_images_are_all_bad_has_no_tar(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 6, splits=("train", "val"))
    for row in rows[1::2]:
        (tmp_path / row.uri).unlink()
    written = write(tmp_path, rows, tmp_path / "shards")
    assert written.manifest.samples_of_splits() == {"train": 3}
    assert written.manifest.skipped == 3


def test_a_split_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, rows: list[CatalogRow]) -> None:
    with pytest.raises(SourceError, match=r"no split unseen; it has train 20 \(of which dev \d\), val 10"):
        write(tmp_path, rows, tmp_path / "shards", splits=("unseen",))
    assert not (tmp_path / "shards").exists()


def test_splits_of_any_words_have_file_names_of_their_own(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 8, splits=("", "a/b", "a b", "été"))
    names = {shard.split: shard.file for shard in write(tmp_path, rows, tmp_path / "shards").manifest.shards}
    assert names == {"": "samples-000000.tar", "a b": "a_b-000000.tar", "a/b": "a_b1-000000.tar", "été": "t-000000.tar"}


def test_a_region_listed_twice_is_two_samples(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 2)
    written = write(tmp_path, [*rows, rows[0]], tmp_path / "shards")
    assert written.manifest.samples == 3
    assert len(members(tmp_path / "shards" / "train-000000.tar")) == 6


def test_a_tar_is_closed_when_it_has_reached_its_size(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 10)
    for row in rows:
        noise = np.random.default_rng(int(row.uri[:3])).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / row.uri)  # about 5 kB that cannot be compressed
    manifest = write(tmp_path, rows, tmp_path / "shards", samples_per_shard=None, shard_bytes=16_000).manifest
    assert [shard.samples for shard in manifest.shards] == [3, 3, 3, 1]


@pytest.mark.parametrize(
    "options",
    [{"samples_per_shard": None}, {"shard_bytes": 5}, {"max_side": 3}, {"quality": 99}, {"samples_per_shard": 0}],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ShardOptions(**options)


def test_a_truncated_shard_gives_an_image_error_for_each_lost_image(tmp_path: Path, rows: list[CatalogRow]) -> None:
    write(tmp_path, rows, tmp_path / "shards", samples_per_shard=100)
    tar = tmp_path / "shards" / "train-000000.tar"
    tar.write_bytes(tar.read_bytes()[:5000])
    images = open_images(tmp_path / "shards", "train", dev_fraction=0.0)
    assert images.encoded(0).size() == (20, 16)
    with pytest.raises(ImageError, match=r"train-000000.tar: the file that holds it is truncated"):
        images.encoded(19)
    tar.unlink()
    with pytest.raises(ImageError, match=r"shard train-000000.tar: the file does not exist"):
        images.encoded(0)


# -- storage of an image -----------------------------------------------------------------------------------------------


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8))


def saved(image: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


PLAIN_JPEGS = [
    saved(noise(60, 40), "JPEG"),
    saved(noise(60, 40), "JPEG", progressive=True),
    saved(noise(60, 40), "JPEG", exif=turned(1)),
    saved(noise(60, 40).convert("L"), "JPEG"),
]


@pytest.mark.parametrize("data", PLAIN_JPEGS)
def test_a_whole_small_upright_jpeg_keeps_its_bytes(data: bytes) -> None:
    assert image_member(EncodedRegion(data), max_side=64, quality=92) == ("jpg", data)


@pytest.mark.parametrize(
    ("data", "box", "size"),
    [
        (saved(noise(60, 40), "JPEG", exif=turned(6)), None, (40, 60)),
        (saved(noise(60, 40).convert("CMYK"), "JPEG"), None, (60, 40)),
        (saved(noise(60, 40), "JPEG"), (0.5, 0.5, 0.5, 0.5), (30, 20)),
        (saved(noise(128, 96), "JPEG"), None, (64, 48)),
        (saved(noise(128, 96), "PNG"), None, (64, 48)),
    ],
)
def test_an_image_that_must_be_rotated_converted_cut_or_reduced_becomes_a_plain_jpeg(
    data: bytes, box: Any, size: tuple[int, int]
) -> None:
    extension, stored = image_member(EncodedRegion(data, box), max_side=64, quality=92)
    image = Image.open(io.BytesIO(stored))
    assert (extension, image.format, image.mode, image.size) == ("jpg", "JPEG", "RGB", size)
    assert image.getexif().get(0x0112, 1) == 1
    expected = EncodedRegion(data, box).pixels(longest=64).astype(int)
    assert np.abs(np.asarray(image).astype(int) - expected).mean() < 6  # noise is the worst case for a JPEG
    again = image_member(EncodedRegion(data, box), max_side=64, quality=30)[1]
    assert len(again) < len(stored)


@pytest.mark.parametrize("format_", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_small_lossless_image_stays_lossless(format_: str, mode: str) -> None:
    image = noise(60, 40).convert(mode)
    extension, stored = image_member(EncodedRegion(saved(image, format_)), max_side=64, quality=50)
    read = Image.open(io.BytesIO(stored))
    assert (extension, read.format, read.mode) == ("png", "PNG", mode)
    assert (np.asarray(read) == np.asarray(image)).all()


def test_a_truncated_jpeg_is_not_stored(tmp_path: Path) -> None:
    data = saved(noise(60, 40), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        image_member(EncodedRegion(data[: len(data) // 2]), max_side=64, quality=92)


@pytest.mark.shared_data
def test_real_camera_trap_photos_of_all_kinds_lie_upright_and_in_colour_in_shards(tmp_path: Path) -> None:
    folder = Path(os.environ["BIOCLIP_DATA"]).resolve() / "data" / "camera_trap_samples"
    rows = [CatalogRow(uri=str(file), taxon=TAXA[0], split="train") for file in sorted(folder.glob("*.jpg"))]
    written = write(tmp_path, rows, tmp_path / "shards", max_side=256)
    assert [Path(key).name for key, _ in written.skipped] == ["african_elephants_truncated_file.jpg"]
    images = open_images(tmp_path / "shards", "all")
    of_files = open_images(tmp_path / "catalog.parquet", "all")
    place = {of_files.key(index): index for index in range(len(of_files))}
    sizes = {}
    for index in range(len(images)):
        stored = images.encoded(index).pixels()
        expected = of_files.encoded(place[images.key(index)]).pixels(longest=256)
        sizes[Path(images.key(index)).stem] = (stored.shape[1], stored.shape[0])
        # a JPEG of quality 92 deviates by 1 to 3 grey values on photographs of grass; a wrong rotation or colour by tens
        assert np.abs(stored.astype(int) - expected).mean() < 4
    assert sizes["african_elephants"] == sizes["african_elephants_cmyk"] == (256, 192)
    assert sizes["african_elephants_with_exif_orientation"] == (256, 192)  # stored as 1536×2048, rotated by its EXIF
    assert len(sizes) == 13
