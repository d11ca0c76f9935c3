"""Decoding: the same pixels as open_clip's transforms with a fraction of the work, upright and cropped."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from bioclip_core.errors import ImageError, UsageError
from bioclip_core.images import decoding
from bioclip_core.images.crops import upright_box
from bioclip_core.images.decoding import (
    decode_regions,
    orientation_of,
    prepare,
    read_bytes,
    stored_size,
    upright_size,
)
from bioclip_core.preprocessing import Interpolation, Preprocessing, ResizeMode

SQUASH = Preprocessing(size=64, resize_mode="squash", interpolation="bilinear")
FULL = replace(SQUASH, decode="full")
ORIENTATION_TAG = 0x0112


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Make an image similar to a photograph: broad shapes, and noise of a few levels."""
    random = np.random.default_rng(seed)
    shapes = Image.fromarray(random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8))
    pixels = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((pixels + random.integers(-6, 7, (height, width, 1))).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int16]:
    return np.abs(one.astype(np.int16) - other.astype(np.int16))


@pytest.fixture(scope="module")
def twelve_megapixels() -> bytes:
    return encoded(photo(4000, 3000), "JPEG", quality=90)


# -- the contract's resize modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (301, 302), (64, 64), (40, 31), (900, 70)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
def test_a_whole_image_is_resized_as_open_clip_resizes_it(
    mode: ResizeMode, interpolation: Interpolation, size: tuple[int, int]
) -> None:
    from open_clip.transform import image_transform

    image = photo(*size)
    theirs = image_transform(
        64, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode=mode, interpolation=interpolation, fill_color=7
    )(image)
    contract = Preprocessing(size=64, resize_mode=mode, interpolation=interpolation, fill=7)
    (ours,) = prepare(image, [None], contract)
    expected = (theirs.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    assert ours.shape == (64, 64, 3)
    # One level: we resize only the part that is kept, so the fixed-point sums may round the other way.
    assert distance(ours, expected).max() <= 1


def test_nearest_takes_the_pixel_in_the_middle_of_each_cell() -> None:
    image = Image.fromarray(np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4))
    (ours,) = prepare(image, [None], Preprocessing(size=2, resize_mode="squash", interpolation="nearest"))
    # Cells of 2×2 pixels: the middle is between pixels 0 and 1, and counts as pixel 1.
    assert ours[:, :, 0].tolist() == [[80, 112], [208, 240]]


def test_a_box_is_cut_out_to_fractions_of_a_pixel() -> None:
    image = Image.fromarray(np.repeat(np.array([[0, 100, 200, 250]], np.uint8), 2, axis=0))
    (ours,) = prepare(
        image, [(0.375, 0.0, 0.25, 1.0)], Preprocessing(size=1, resize_mode="squash", interpolation="bilinear")
    )
    # From 1.5 to 2.5 of 4 pixels; the middle is the border between 100 and 200.
    assert ours[0, 0].tolist() == [150, 150, 150]


def test_longest_pads_with_the_fill_of_the_contract() -> None:
    contract = Preprocessing(size=4, resize_mode="longest", interpolation="bilinear", fill=9)
    (ours,) = prepare(Image.new("RGB", (40, 20), (200, 100, 50)), [None], contract)
    assert ours[0].tolist() == [[9, 9, 9]] * 4
    assert ours[1:3].tolist() == [[[200, 100, 50]] * 4] * 2
    assert ours[3].tolist() == [[9, 9, 9]] * 4


def test_a_strip_of_one_pixel_needs_no_gigabytes_in_shortest_mode() -> None:
    (ours,) = prepare(Image.new("L", (60_000, 1), 50), [None], Preprocessing(size=224, resize_mode="shortest"))
    assert ours.shape == (224, 224, 3)
    assert (ours == 50).all()


@pytest.mark.parametrize("box", [(1.0, 0, 0.5, 0.5), (0, 0, 0, 0.5), (float("nan"), 0, 1, 1), (-0.5, 0, 0.5, 1)])
def test_a_box_outside_the_image_is_refused_with_the_allowed_values(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(UsageError, match="fractions of the upright image"):
        prepare(Image.new("RGB", (10, 10)), [box], SQUASH)


# -- reduced decoding --------------------------------------------------------------------------------------------------


def test_a_box_of_five_percent_of_twelve_megapixels_is_the_crop_of_full_decode(twelve_megapixels: bytes) -> None:
    contract = Preprocessing(size=224, resize_mode="squash", interpolation="bilinear")
    boxes = [(0.31, 0.47, 0.05, 0.05), (0.31, 0.47, 0.2236, 0.2236)]  # 5% of each side, and 5% of the area
    for box in boxes:
        (ours,) = decode_regions(twelve_megapixels, [box], contract)
        (full,) = decode_regions(twelve_megapixels, [box], replace(contract, decode="full"))
        # 200×150 and 894×671 pixels: the first is decoded in full. The second must not fall below 448, so it is too.
        assert distance(ours, full).max() <= 1  # another decoder of the same library


def test_a_whole_photo_decoded_at_a_quarter_differs_by_less_than_a_level_on_average(twelve_megapixels: bytes) -> None:
    contract = Preprocessing(size=224, resize_mode="squash", interpolation="bilinear")
    (ours,) = decode_regions(twelve_megapixels, [None], contract)
    (full,) = decode_regions(twelve_megapixels, [None], replace(contract, decode="full"))
    assert distance(ours, full).mean() < 0.5  # measured 0.2; 0 would mean that the reduced decoding was not used
    assert distance(ours, full).max() > 0


def test_the_smallest_of_several_boxes_decides_the_fraction(twelve_megapixels: bytes) -> None:
    small = (0.6, 0.2, 0.05, 0.05)
    together = decode_regions(twelve_megapixels, [None, small], SQUASH)
    (alone,) = decode_regions(twelve_megapixels, [small], SQUASH)
    assert distance(together[1], alone).max() == 0


@pytest.mark.parametrize(("width", "height"), [(4001, 2999), (1025, 1023), (2048, 1537)])
def test_boxes_of_a_jpeg_with_odd_sides_do_not_shift_when_it_is_reduced(width: int, height: int) -> None:
    data = encoded(photo(width, height), "JPEG", quality=95)
    box = (0.5, 0.5, 0.5, 0.5)
    (ours,) = decode_regions(data, [box], SQUASH)
    (full,) = decode_regions(data, [box], FULL)
    # Noise averages out; a shift by one reduced pixel would give 3 to 6 levels on this picture.
    assert distance(ours, full).mean() < 1.0


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (1001, 767)])
def test_a_reduced_jpeg_2000_is_not_shifted_against_the_full_one(width: int, height: int) -> None:
    data = encoded(photo(width, height), "JPEG2000")
    (ours,) = decode_regions(data, [(0.25, 0.25, 0.75, 0.75)], SQUASH)
    (full,) = decode_regions(data, [(0.25, 0.25, 0.75, 0.75)], FULL)
    assert distance(ours, full).max() > 0
    assert distance(ours, full).mean() < 2.5  # without the half-pixel of the low-pass filter it is 5 or more


def test_a_greyscale_and_a_cmyk_jpeg_are_reduced_too() -> None:
    for mode in ("L", "CMYK"):
        data = encoded(photo(1200, 900).convert(mode), "JPEG", quality=95)
        (ours,) = decode_regions(data, [None], SQUASH)
        (full,) = decode_regions(data, [None], FULL)
        assert 0 < distance(ours, full).mean() < 1.0


# -- orientation -------------------------------------------------------------------------------------------------------


def with_orientation(image: Image.Image, orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    return encoded(image, kind, exif=exif)


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright_before_anything_is_cut(orientation: int, mode: ResizeMode) -> None:
    image = photo(301, 200)
    data = with_orientation(image, orientation, "PNG")
    contract = Preprocessing(size=48, resize_mode=mode, interpolation="bicubic")
    boxes = [None, (0.1, 0.2, 0.35, 0.55)]
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert upright_size(data) == turned.size
    for ours, expected in zip(decode_regions(data, boxes, contract), prepare(turned, boxes, contract), strict=True):
        # Two levels: resizing before rotation sums rows before columns, and each pass rounds.
        assert distance(ours, expected).max() <= 2


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP"])
def test_orientation_six_is_read_from_each_kind_of_file(kind: str) -> None:
    image = Image.new("RGB", (80, 40), "black")
    image.paste("white", (0, 0, 40, 40))
    (ours,) = decode_regions(with_orientation(image, 6, kind), [None], replace(SQUASH, size=4))
    # Rotated clockwise by 90°, so the left edge becomes the upper one.
    assert (ours[0] > 240).all()
    assert (ours[3] < 15).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_of_the_stored_pixels_becomes_the_same_place_in_the_upright_image(
    orientation: int, kind: str, tmp_path: Path
) -> None:
    image = Image.new("RGB", (160, 80), "black")
    image.paste("white", (16, 8, 64, 40))
    (tmp_path / "a").write_bytes(data := with_orientation(image, orientation, kind))
    assert stored_size(tmp_path / "a") == (160, 80, orientation)
    box = upright_box((0.1, 0.1, 0.3, 0.4), orientation)
    (ours,) = decode_regions(data, [box], replace(SQUASH, size=8))
    assert (ours[2:-2, 2:-2] > 240).all()


def test_only_the_beginning_of_a_large_file_is_read_for_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_orientation(photo(301, 200), 6, "JPEG") + bytes(1 << 20))
    read: list[tuple[int, int] | None] = []

    def counted(path: Path, span: tuple[int, int] | None = None) -> bytes:
        read.append(span)
        return read_bytes(path, span)

    monkeypatch.setattr(decoding, "read_bytes", counted)
    assert stored_size(path) == (301, 200, 6)
    assert read == [(0, 1 << 18)]
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match="not an image"):
        stored_size(tmp_path / "b.jpg")
    with pytest.raises(ImageError, match="does not exist"):
        stored_size(tmp_path / "c.jpg")


def test_an_image_in_memory_is_turned_upright_and_not_changed() -> None:
    image = Image.open(io.BytesIO(with_orientation(photo(60, 40), 8, "PNG")))
    (ours,) = prepare(image, [None], SQUASH)
    (expected,) = prepare(ImageOps.exif_transpose(image), [None], SQUASH)
    assert distance(ours, expected).max() <= 2
    assert image.size == (60, 40)
    assert image.getexif()[ORIENTATION_TAG] == 8


def test_an_orientation_that_does_not_exist_is_taken_for_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 9
    assert orientation_of(exif.tobytes()) == 1
    exif[ORIENTATION_TAG] = 7
    assert orientation_of(exif.tobytes()) == 7


# -- colours -----------------------------------------------------------------------------------------------------------


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_a_profile_that_is_not_srgb_is_converted() -> None:
    # sRGB with red and green swapped, so that the right conversion is known.
    swapped = srgb_profile().replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    image = Image.new("RGB", (64, 64), (200, 30, 10))
    (ours,) = decode_regions(encoded(image, icc_profile=swapped), [None], SQUASH)
    assert distance(ours, np.full_like(ours, (30, 200, 10))).max() <= 2  # rounding through 16-bit XYZ


def test_an_srgb_profile_and_one_of_another_colour_space_change_no_pixel() -> None:
    image = photo(64, 64)
    (plain,) = decode_regions(encoded(image), [None], SQUASH)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (srgb_profile(), lab):
        (tagged,) = decode_regions(encoded(image, icc_profile=profile), [None], SQUASH)
        assert distance(plain, tagged).max() == 0


def test_a_profile_of_rubbish_changes_nothing() -> None:
    image = photo(64, 64)
    (plain,) = decode_regions(encoded(image), [None], SQUASH)
    (tagged,) = decode_regions(encoded(image, "PNG", icc_profile=b"rubbish" * 40), [None], SQUASH)
    assert distance(plain, tagged).max() == 0


# -- process state -----------------------------------------------------------------------------------------------------


def test_decoding_leaves_pillow_as_it_was_and_says_nothing_about_ninety_five_megapixels() -> None:
    program = """
import io, warnings
warnings.simplefilter("error")
from PIL import Image, ImageFile
limit, truncated = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
from bioclip_core.images.decoding import decode_regions
from bioclip_core.preprocessing import Preprocessing
for kind, side, options in (("TIFF", 13500, {"compression": "packbits"}), ("TIFF", 9800, {}), ("PNG", 9800, {"compress_level": 1})):
    stream = io.BytesIO()
    Image.new("L", (side, side), 77).save(stream, kind, **options)
    (pixels,) = decode_regions(stream.getvalue(), [None], Preprocessing(size=8))
    assert (pixels == 77).all()
assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (limit, truncated)
"""
    # 13,500² pixels exceed the limit at which Pillow refuses, 9,800² the one at which it warns.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_decode_side_by_side_to_the_same_pixels() -> None:
    files = [encoded(photo(300, 200, seed), kind) for seed, kind in enumerate(("JPEG", "PNG", "TIFF", "WEBP"))]
    alone = [decode_regions(data, [None], SQUASH)[0] for data in files]
    wrong: list[int] = []

    def work(which: int) -> None:
        for _ in range(5):
            if distance(decode_regions(files[which], [None], SQUASH)[0], alone[which]).max():
                wrong.append(which)

    threads = [threading.Thread(target=work, args=(n % 4,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- real files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def camera_trap_samples() -> Path:
    return Path(os.environ["BIOCLIP_DATA"]) / "data" / "camera_trap_samples"


@pytest.mark.shared_data
def test_the_rotated_elephants_are_the_elephants(camera_trap_samples: Path) -> None:
    boxes = [None, (0.2, 0.3, 0.4, 0.4)]
    upright = decode_regions((camera_trap_samples / "african_elephants.jpg").read_bytes(), boxes, SQUASH)
    turned = decode_regions(
        (camera_trap_samples / "african_elephants_with_exif_orientation.jpg").read_bytes(), boxes, SQUASH
    )
    for one, other in zip(upright, turned, strict=True):
        assert distance(one, other).mean() < 2.0  # the rotated file was compressed one more time


@pytest.mark.shared_data
def test_the_cmyk_and_the_grey_elephants_look_like_the_elephants(camera_trap_samples: Path) -> None:
    (colour,) = decode_regions((camera_trap_samples / "african_elephants.jpg").read_bytes(), [None], SQUASH)
    (cmyk,) = decode_regions((camera_trap_samples / "african_elephants_cmyk.jpg").read_bytes(), [None], SQUASH)
    (grey,) = decode_regions((camera_trap_samples / "african_elephants_bw.jpg").read_bytes(), [None], SQUASH)
    # the CMYK file passed through a printer's colours; an inverted one would differ by 80 or more
    assert distance(colour, cmyk).mean() < 25
    luma = colour.astype(float) @ [0.299, 0.587, 0.114]
    assert np.corrcoef(luma.ravel(), grey[:, :, 0].ravel())[0, 1] > 0.98
