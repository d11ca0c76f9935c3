"""Labelled images of a catalog: splits, keys, and the opening of a region."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stream_samples import TAXA, colour_of, rows_with_images, write_catalog

from bioclip_core.errors import ImageError, SourceError
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.preprocessing import Preprocessing
from bioclip_training.batches.data import open_images
from bioclip_training.catalog.rows import CatalogRow


def test_a_part_has_its_own_rows_and_the_taxa_of_the_whole_collection(tmp_path: Path) -> None:
    rows = rows_with_images(tmp_path, 12, splits=("train", "val", "val", "val"))  # taxon n % 3, split n % 4
    images = open_images(write_catalog(tmp_path, rows), "train", dev_fraction=0.0)
    assert [images.key(index) for index in range(len(images))] == ["000.png", "004.png", "008.png"]
    assert [taxon.lineage for taxon in images.taxa] == sorted(taxon.lineage for taxon in TAXA)
    assert images.taxon_of_N.tolist() == [0, 1, 2]
    assert [images.group(index) for index in range(3)] == ["g0", "g4", "g8"]
    assert images.blocks == ((0, 3),)
    assert tuple(images.encoded(1).pixels()[3, 3]) == colour_of(4)


def test_dev_and_train_are_apart_and_all_is_everything(tmp_path: Path) -> None:
    file = write_catalog(tmp_path, rows_with_images(tmp_path, 40))
    parts = {part: open_images(file, part, dev_fraction=0.3) for part in ("train", "dev", "all")}
    keys = {part: {found.key(index) for index in range(len(found))} for part, found in parts.items()}
    assert keys["train"] | keys["dev"] == keys["all"]
    assert not keys["train"] & keys["dev"]
    assert 4 < len(keys["dev"]) < 20  # 12 are expected of 40
    assert len({found.identity for found in parts.values()}) == 1


def test_an_empty_part_is_refused_with_the_parts_there_are(tmp_path: Path) -> None:
    file = write_catalog(tmp_path, rows_with_images(tmp_path, 4, splits=("train", "val")))
    with pytest.raises(SourceError, match=r"'unseen': there are train 2 \(of which dev \d\), val 2, and all 4"):
        open_images(file, "unseen")
    with pytest.raises(SourceError, match="without rows"):
        open_images(write_catalog(tmp_path, []), "train")


def test_an_address_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        open_images(tmp_path / "gone.parquet", "train")
    with pytest.raises(SourceError, match=r"holds no shards.*shards write"):
        open_images(tmp_path, "train")


def test_frames_and_boxes_are_part_of_a_samples_name(tmp_path: Path) -> None:
    rows_with_images(tmp_path, 1)
    rows = [
        CatalogRow(uri="000.png", taxon=TAXA[0], split="train", box=(0.25, 0.5, 0.5, 0.125)),
        CatalogRow(uri="000.png", taxon=TAXA[1], split="train", frame=3),
    ]
    images = open_images(write_catalog(tmp_path, rows), "all")
    assert [images.key(0), images.key(1)] == ["000.png#xywh=0.25,0.5,0.5,0.125", "000.png#frame=3"]
    assert [images.group(0), images.group(1)] == ["row 0", "row 1"]
    with pytest.raises(ImageError, match="no frame 3"):
        images.encoded(1).pixels()


def test_a_missing_file_and_a_damaged_one_are_image_errors(tmp_path: Path) -> None:
    file = write_catalog(tmp_path, rows_with_images(tmp_path, 2))
    (tmp_path / "000.png").unlink()
    (tmp_path / "001.png").write_bytes((tmp_path / "001.png").read_bytes()[:60])
    images = open_images(file, "all")
    with pytest.raises(ImageError, match="does not exist"):
        images.encoded(0)
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        images.encoded(1).pixels()


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(37, 23), (23, 37), (1, 1), (1, 90), (200, 3)])
def test_a_region_that_is_small_enough_keeps_its_own_pixels(size: tuple[int, int]) -> None:
    image = noise(*size)
    region = EncodedRegion(encoded(image))
    assert (region.pixels(shorter=100, longest=400) == np.asarray(image)).all()
    assert (region.pixels() == np.asarray(image)).all()


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"shorter": 50}, (100, 50)),
        ({"longest": 50}, (50, 25)),
        ({"shorter": 50, "longest": 60}, (60, 30)),
        ({"longest": 33}, (33, 16)),  # 16.5 rounds to the even number
    ],
)
def test_a_larger_region_is_reduced_with_its_aspect(limits: dict[str, Any], expected: tuple[int, int]) -> None:
    region = EncodedRegion(encoded(Image.new("RGB", (400, 200), (10, 200, 90))))
    pixels = region.pixels(**limits)
    assert (pixels.shape[1], pixels.shape[0]) == expected
    assert (pixels == (10, 200, 90)).all()  # the padding is gone


def test_a_panorama_is_held_to_eight_times_the_wanted_side() -> None:
    region = EncodedRegion(encoded(Image.new("RGB", (4000, 20))))
    assert region.pixels(shorter=10).shape == (1, 80, 3)  # 80 wide, and 0.4 high rounded up


def test_a_region_is_upright_and_its_box_lies_in_the_upright_image() -> None:
    image = Image.new("RGB", (40, 20), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated clockwise for display: the stored left edge comes to the top
    data = encoded(image, "JPEG", quality=95, subsampling=0, exif=exif)
    assert EncodedRegion(data).pixels().shape == (40, 20, 3)
    upper = EncodedRegion(data, box=(0.0, 0.0, 1.0, 0.4)).pixels()
    assert upper.shape == (16, 20, 3)
    assert np.abs(upper.astype(int) - (255, 0, 0)).max() < 12


def test_the_model_input_is_that_of_the_main_job() -> None:
    from bioclip_core.images.decoding import decode_regions

    contract, data = Preprocessing(size=24, resize_mode="shortest"), encoded(noise(90, 60), "JPEG")
    box = (0.1, 0.1, 0.6, 0.7)
    assert (EncodedRegion(data, box).model_input(contract) == decode_regions(data, [box], contract)[0]).all()
    with pytest.raises(ImageError, match="fractions of the upright image"):
        EncodedRegion(data, (2.0, 0.0, 1.0, 1.0)).model_input(contract)
