"""Files that announce more work than a photograph takes are refused by their header or structure, before pixels are decoded."""

from __future__ import annotations

import io
import re
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hostile_samples import (
    ALL_DC,
    CONTRACT,
    chunk,
    codestream,
    colours_of,
    encoded,
    grey_png,
    jpeg,
    one_ac,
    one_whole,
    png,
    segment,
    tiff,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from bioclip_core.errors import ImageError
from bioclip_core.images import budget, png_chunks, structure
from bioclip_core.images.decoding import decode_regions
from bioclip_core.images.jpeg2000_structure import check_codestream
from bioclip_core.images.jpeg_structure import jpeg_structure
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.images.structure import check_structure
from bioclip_core.images.tiff import metadata_of
from bioclip_core.images.tiff_header import directories
from bioclip_core.preprocessing import Preprocessing


def refused(data: bytes, reason: str, frame: int = 0) -> None:
    with pytest.raises(ImageError, match=re.escape(reason)):
        decode_regions(data, [None], CONTRACT, frame=frame)


# -- JPEG --------------------------------------------------------------------------------------------------------------


def test_hundreds_of_scans_of_a_large_jpeg_are_refused() -> None:
    data = jpeg(15_900, 15_900, [ALL_DC, *[one_ac()] * 300])
    refused(data, "it has 301 scans of up to 15,900 × 15,900 pixels, 1,197,800,632 blocks in all")
    refused(data, "which is over the budget of 200,000,000 blocks")


def test_hundreds_of_scans_of_a_small_jpeg_are_read() -> None:
    data = jpeg(64, 64, [ALL_DC, *[one_ac()] * 300])
    assert jpeg_structure(data).scans == 301
    assert colours_of(data)


def test_the_usual_ten_scans_of_250_megapixels_are_within_the_budget() -> None:
    usual = [ALL_DC, one_ac(1), one_ac(3), one_ac(2), one_ac(1), one_ac(1), ALL_DC, one_ac(3), one_ac(2), one_ac(1)]
    structure = jpeg_structure(jpeg(15_900, 15_900, usual))
    structure.check()
    assert structure.scans == 10


def test_scans_behind_other_segments_and_restart_markers_are_counted() -> None:
    image = Image.effect_noise((64, 64), 90).convert("RGB")
    data = encoded(image, "JPEG", progressive=True, quality=95, restart_marker_blocks=2, comment=b"x" * 70)
    assert jpeg_structure(data).scans == 10
    assert jpeg_structure(data).coefficient_bytes == 2 * (64 * 64 + 2 * 32 * 32)
    baseline = encoded(image, "JPEG", quality=95, restart_marker_blocks=2)
    assert jpeg_structure(baseline) == type(jpeg_structure(b""))(64, 64, 1, 96 + budget.JPEG_BLOCKS_PER_SCAN)


def test_a_sequential_jpeg_of_one_scan_per_component_is_limited_like_a_progressive_one() -> None:
    """Its decoder keeps all coefficients, whatever the fraction at which it is decoded: 5.8 GB."""
    data = jpeg(31_000, 31_000, [one_whole(number) for number in (1, 2, 3)], frame=0xC0)
    refused(data, "its header announces 31,000 × 31,000 pixels, which is over the budget of 256 megapixels")


@pytest.mark.parametrize("flood", [segment(0xFE), segment(0xE1, b"Exif\0\0"), segment(0xC4), segment(0xDD, b"\0\1")])
def test_a_flood_of_segments_is_refused(flood: bytes) -> None:
    refused(jpeg(8, 8, [ALL_DC], before=flood * 20_100), "it has more than 20,000 segments beside its scans")


@pytest.mark.parametrize("junk", [b"\xff", b"\xff\0", b"\xff\xd0\0"])
def test_a_megabyte_of_bytes_between_segments_is_refused(junk: bytes) -> None:
    refused(jpeg(8, 8, [ALL_DC], before=junk * (1 << 21)), "bytes between the segments of its header")


def test_the_scans_of_a_later_frame_of_a_jpeg_are_counted_too() -> None:
    small = Image.new("RGB", (32, 32), (10, 200, 30))
    data = encoded(small, "MPO", save_all=True, append_images=[small])
    assert colours_of(data, frame=1)[1] > 150
    second = data.rindex(b"\xff\xd8")
    with_scans = data[:second] + jpeg(15_900, 15_900, [ALL_DC, *[one_ac()] * 300])
    refused(with_scans, "it has 301 scans", frame=1)
    assert colours_of(with_scans)[1] > 150


# -- PNG ---------------------------------------------------------------------------------------------------------------


def test_text_chunks_that_unpack_to_gigabytes_are_not_unpacked() -> None:
    bomb = zlib.compress(bytes(8_000_000), 9)
    texts = chunk(b"zTXt", b"Comment\0\0" + bomb) + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    assert colours_of(grey_png(texts)) == [77, 77, 77]


def test_thousands_of_text_chunks_do_not_cost_the_picture() -> None:
    assert colours_of(grey_png(chunk(b"tEXt", b"k\0" + bytes(900)) * 8_000)) == [77, 77, 77]


def test_a_flood_of_chunks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_chunks, "MAX_PNG_CHUNKS", 5_000)
    refused(grey_png(chunk(b"IDAT") * 5_001), "it has more than 5,000 chunks")


def test_a_colour_profile_of_several_megabytes_in_a_png_is_used() -> None:
    """Pillow refuses such a file."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = struct.pack(">I", len(profile) + 3_000_000) + profile[4:] + bytes(3_000_000)
    file, found = png_chunks.sound_png(grey_png(chunk(b"iCCP", b"icc\0\0" + zlib.compress(large))))
    assert found == large
    assert b"iCCP" not in file.read()


def test_a_colour_profile_that_unpacks_to_tens_of_megabytes_is_refused() -> None:
    bomb = zlib.compress(bytes(18_000_000), 9)
    refused(
        grey_png(chunk(b"iCCP", b"icc\0\0" + bomb)),
        "its colour profile has more bytes, which is over the budget of 16,777,216",
    )


def test_a_png_of_more_samples_than_its_filters_can_undo_in_seconds_is_refused() -> None:
    refused(
        png(15_900, 15_900, bits=16, colours=6), "2,022,480,000 bytes without compression, which is over the budget"
    )


def test_an_image_of_one_column_is_refused() -> None:
    """Pillow keeps 8 bytes for each of its 255 million rows."""
    refused(
        png(1, 255_000_000), "announces 1 × 255,000,000 pixels; images with sides of up to 1,000,000 pixels are read"
    )


def test_a_png_without_its_text_is_the_same_file_to_its_reader() -> None:
    image = Image.effect_noise((40, 30), 90).convert("P")
    plain = encoded(image, "PNG", transparency=3)
    with_text = plain[:33] + chunk(b"tEXt", b"a\0b") + plain[33:60] + plain[60:]
    file, _ = png_chunks.sound_png(with_text)
    assert file.read() == plain
    file.seek(-12, io.SEEK_END)
    assert (file.read(8), file.tell()) == (plain[-12:-4], len(plain) - 4)
    for at in range(0, len(plain), 7):
        file.seek(at)
        assert file.read(50) == plain[at : at + 50]


# -- GIF, WebP, BMP, Photoshop -----------------------------------------------------------------------------------------


def gif(before: bytes = b"", frames: int = 1) -> bytes:
    plain = encoded(Image.new("P", (8, 8), 5), "GIF")
    start = plain.index(b",")
    return plain[:start] + before + plain[start:-1] * frames + b";"


def test_a_qoi_file_that_python_would_decode_for_many_seconds_is_refused_and_a_small_one_is_read() -> None:
    def qoi(pixels: int) -> bytes:
        return (
            b"qoif" + struct.pack(">II", pixels, 1) + b"\x03\x00" + b"\xfe\x01\x02\x03" * pixels + b"\0" * 7 + b"\x01"
        )

    refused(
        qoi(900_000),
        "it is a QOI file of 3,600,022 bytes, which is over the budget of 3,145,728 bytes; convert it to PNG",
    )
    (crop,) = decode_regions(qoi(8), [None], Preprocessing(size=8))
    assert crop.max() <= 3


def test_a_gif_with_megabytes_of_comment_is_refused() -> None:
    comment = b"!\xfe" + (b"\xff" + bytes(255)) * 5_000 + b"\0"
    refused(gif(comment), "it has 1,275,000 bytes of comments")
    assert colours_of(gif(b"!\xfe\x05hello\0"))


def test_a_gif_with_a_flood_of_extensions_or_junk_is_refused() -> None:
    refused(gif(b"!\xf9\0" * 100_001), "blocks of comments and extensions")
    refused(gif(b"\0" * (1 << 20 | 1)), "1,048,577 bytes between its blocks")


def test_the_frames_before_a_frame_count() -> None:
    assert colours_of(gif(frames=40), frame=39)
    large = bytearray(gif(frames=40))
    large[6:10] = struct.pack("<HH", 16_000, 15_000)
    refused(bytes(large), "frame 39 is decoded after all earlier frames of 16,000 × 15,000 pixels", frame=39)


def test_a_run_length_encoded_bmp_is_limited_by_pixels_and_bytes() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 8_000, 8_000, 1, 8, 1, 0, 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + bytes(1024)
    refused(
        data,
        "its header announces 8,000 × 8,000 pixels with run-length encoding, which is over the budget of 32 megapixels",
    )
    small = data.replace(struct.pack("<ii", 8_000, 8_000), struct.pack("<ii", 100, 100)) + bytes(9 << 20)
    refused(small, "bytes with run-length encoding")


def test_a_photoshop_file_with_a_flood_of_resources_is_refused() -> None:
    resources = (b"8BIM" + struct.pack(">HBBI", 1000, 0, 0, 0)) * 20_001
    data = (
        b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 3) + bytes(4) + struct.pack(">I", len(resources)) + resources
    )
    refused(data, "it has more than 20,000 image resources")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([b"GIF89a", b"BM", b"8BPS", b"RIFF0000WEBPVP8X"]), st.binary(max_size=80), st.integers(0, 3))
def test_the_structure_of_any_bytes_can_be_checked(start: bytes, rest: bytes, frame: int) -> None:
    with suppress(ImageError):
        check_structure(start + rest, frame)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120))
def test_the_structure_of_any_jpeg_and_png_can_be_followed(rest: bytes) -> None:
    jpeg_structure(b"\xff\xd8\xff" + rest)
    with suppress(ImageError):
        file, _ = png_chunks.sound_png(png_chunks.SIGNATURE + rest)
        assert file.read().startswith(png_chunks.SIGNATURE)


# -- PBM, PGM, PPM -----------------------------------------------------------------------------------------------------

SAMPLES = np.random.default_rng(2).integers(0, 65536, (9, 10, 3))


def netpbm(kind: int, largest: int, samples: np.ndarray) -> bytes:
    header = f"P{kind}\n# by hand\n{samples.shape[1]} {samples.shape[0]}\n"
    values = samples % (largest + 1)
    if kind in (1, 4):
        bits = samples % 2
        packed = np.packbits(bits.astype(np.uint8), axis=1).tobytes()
        return header.encode() + (packed if kind == 4 else b"".join(str(bit).encode() for bit in bits.ravel()))
    header += f"{largest}\n"
    if kind in (2, 3):
        return header.encode() + b"\n# more\n".join(str(value).encode() for value in values.ravel())
    return header.encode() + values.astype(np.uint8 if largest < 256 else ">u2").tobytes()


@pytest.mark.parametrize("largest", [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", range(1, 7))
def test_portable_bitmaps_have_the_pixels_that_pillow_reads(kind: int, largest: int) -> None:
    data = netpbm(kind, largest, SAMPLES if kind in (3, 6) else SAMPLES[..., 0])
    contract = CONTRACT.__class__(size=10, resize_mode="longest", interpolation="nearest")
    (ours,) = decode_regions(data, [None], contract)
    with Image.open(io.BytesIO(data)) as image:
        values = np.asarray(image)
        if image.mode.startswith("I"):
            values = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        pillow = np.asarray(Image.fromarray(values).convert("RGB"))
    assert (ours[:9] == pillow).all()


@pytest.mark.parametrize("kind", range(1, 7))
def test_a_truncated_portable_bitmap_is_a_failure(kind: int) -> None:
    data = netpbm(kind, 255, SAMPLES if kind in (3, 6) else SAMPLES[..., 0])
    refused(data[:-10], "the file is truncated: its data end before the image does")


def test_a_plain_text_image_of_many_numbers_is_refused() -> None:
    refused(
        b"P3 9000 9000 255 1 2 3",
        "9,000 × 9,000 pixels in plain text, 243,000,000 numbers, which is over the budget of 24,000,000",
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P2 1 1 255 -1", "a value is not within 0 to 255"),
        (b"P2 1 1 255 256", "a value is not within 0 to 255"),
        (b"P2 1 1 255 x", "something else than numbers"),
        (b"P2 1 1 255 " + b"9" * 5_000, "something else than numbers"),
        (b"P1 1 1 7", "another letter than 0 and 1"),
        (b"P5 #" + bytes(100_000) + b"\n1 1 255 0", "its header lacks a number"),
        (b"P5 0 1 255 0", "it announces 0 × 1 pixels"),
        (b"P5 1 1 65536 0", "values of up to 65,536"),
    ],
)
def test_a_damaged_portable_bitmap_says_what_is_wrong(data: bytes, reason: str) -> None:
    refused(data, reason)


# -- TIFF --------------------------------------------------------------------------------------------------------------


def test_a_tiff_of_hundreds_of_thousands_of_strips_is_refused() -> None:
    refused(
        tiff(8, 300_000, 300_000), "its header announces 300,000 strips or tiles, which is over the budget of 250,000"
    )
    assert colours_of(tiff(8, 5_000, 5_000)) == [0, 0, 0]


def test_tiles_of_one_pixel_are_refused() -> None:
    tiles = ((322, 4, 1, 1), (323, 4, 1, 1))
    refused(tiff(2_000, 2_000, 1, more=tiles), "its header announces 4,000,000 strips or tiles")


def test_a_tag_with_millions_of_values_is_refused() -> None:
    refused(
        tiff(8, 8, 1, data=bytes(2_000_000), more=((338, 3, 900_000, 200),)),
        "its header announces 900,000 values of tag 338",
    )


def test_a_tag_of_one_value_that_announces_millions_does_not_cost_the_picture() -> None:
    assert colours_of(tiff(8, 8, 1, data=bytes(2_000_000), more=((283, 5, 16_777_217, 200),))) == [0, 0, 0]


@pytest.mark.parametrize(("bits", "limit"), [(64, "1,024,000,000 bytes"), (32, "128 megapixels")])
def test_floating_point_samples_of_a_tiff_have_a_lower_limit(bits: int, limit: str) -> None:
    """They take longer."""
    data = tiff(15_900, 15_900, 15_900, compression=8, more=((339, 3, 1, 3),))
    data = data.replace(struct.pack("<HHII", 258, 3, 1, 8), struct.pack("<HHII", 258, 3, 1, bits))
    refused(data, f"which is over the budget of {limit}")


def test_scans_of_a_jpeg_in_a_tiff_are_counted_for_each_strip_that_uses_it() -> None:
    strip = jpeg(16_000, 500, [ALL_DC, *[one_ac()] * 80])
    refused(tiff(16_000, 15_000, 30, compression=7, data=strip), "it has 81 scans")


# -- JPEG 2000 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("announced", "reason"),
    [
        (codestream(30_000, 30_000, tile=20), "its header announces 2,250,000 tiles"),
        (codestream(15_900, 15_900, block=2), "code-blocks, which is over the budget of 4,000,000"),
        (codestream(15_900, 15_900, precinct=3), "code-blocks, which is over the budget of 4,000,000"),
        (codestream(15_900, 15_900, tile=256, layers=5_000), "packets, which is over the budget of 8,000,000"),
        (codestream(15_900, 15_900, tile=256, layers=65_535, levels=32), "packets, which is over the budget"),
    ],
)
def test_jpeg_2000_with_more_records_than_a_photograph_needs_is_refused(announced: bytes, reason: str) -> None:
    refused(announced + segment(0x90, bytes(8)) + b"\xff\x93", reason)


@pytest.mark.parametrize(
    "usual",
    [
        codestream(15_900, 15_900),
        codestream(15_900, 15_900, tile=1024, layers=12, precinct=8),
        codestream(15_900, 15_900, tile=256, layers=8, block=5),
        codestream(31_000, 31_000, tile=1024, layers=25, levels=6, precinct=8),
    ],
)
def test_the_profiles_of_museums_are_within_the_budget(usual: bytes) -> None:
    assert 0 < check_codestream(usual, 0) <= budget.MAX_JPEG2000_BLOCKS


def test_a_style_in_the_header_of_a_tile_counts_too() -> None:
    fine = codestream(15_900, 15_900)
    header = segment(0x52, bytes([0, 0, 0, 1, 0, 5, 0, 0, 0, 1]))
    part = segment(0x90, struct.pack(">HIBB", 0, 14 + len(header), 0, 1)) + header + b"\xff\x93"
    with pytest.raises(ImageError, match="code-blocks"):
        check_codestream(fine + part, 0)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_any_codestream_can_be_followed(rest: bytes) -> None:
    for start in (b"\xff\x4f\xff\x51", codestream(300, 300)):
        with suppress(ImageError):
            check_codestream(start + rest, 0)


# -- metadata ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0xE1, 0xED])
def test_megabytes_of_exif_or_photoshop_segments_are_refused(kind: int) -> None:
    refused(
        jpeg(8, 8, [ALL_DC], before=segment(kind, b"Exif\0\0" + bytes(60_000)) * 160), "segments of EXIF and Photoshop"
    )


def test_metadata_of_thousands_of_texts_in_one_place_are_not_copied() -> None:
    text = b"x" * 1_000_000
    texts = tuple((40_000 + number, 2, len(text), 0) for number in range(500))
    data = tiff(8, 8, 1, data=bytes(64) + text, more=(*texts, (306, 2, 20, 0)))
    file = io.BytesIO(data)
    assert metadata_of(file, next(directories(file))) == b""


def test_a_region_for_training_may_be_larger_than_the_input_of_any_model() -> None:
    data = encoded(Image.new("RGB", (4_000, 30), (200, 30, 10)), "PNG")
    assert EncodedRegion(data).pixels().shape == (30, 4_000, 3)


# -- WebP and QOI ------------------------------------------------------------------------------------------------------


def webp_header(kind: bytes, width: int, height: int) -> bytes:
    """Return the beginning of a WebP: extended, lossless or lossy."""
    chunk = {
        b"VP8X": bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
        b"VP8L": b"\x2f" + (width - 1 | height - 1 << 14).to_bytes(4, "little"),
        b"VP8 ": b"\x50\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
    }[kind] + bytes(10)
    chunk = kind + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize("kind", [b"VP8X", b"VP8L", b"VP8 "])
def test_a_webp_of_more_than_a_hundred_megapixels_is_refused_whatever_the_hosts_limit(
    kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (None, 1_000, Image.MAX_IMAGE_PIXELS):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        reason = (
            "its header announces 13,300 × 13,390 pixels of a WebP file, which is over the budget of 100 megapixels"
        )
        refused(webp_header(kind, 13_300, 13_390), reason)
    check_structure(webp_header(kind, 10_000, 10_000), 0)


@pytest.mark.parametrize(("mode", "options"), [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {})])
def test_the_size_of_a_webp_is_that_of_pillow(
    mode: str, options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(Image.new(mode, (37, 51), (1, 2, 3, 99)[: len(mode)]), "WEBP", **options)
    colours_of(data)
    monkeypatch.setattr(structure, "MAX_WEBP_PIXELS", 37 * 51 - 1)
    refused(data, "its header announces 37 × 51 pixels of a WebP file")


def test_a_qoi_of_runs_is_refused_by_its_pixels() -> None:
    data = b"qoif" + struct.pack(">IIBB", 13_300, 13_390, 3, 0) + b"\xfd" * 100 + bytes(7) + b"\1"
    refused(
        data, "its header announces 13,300 × 13,390 pixels of a QOI file, which is over the budget of 64 megapixels"
    )
