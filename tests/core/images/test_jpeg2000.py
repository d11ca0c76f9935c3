"""JPEG 2000 files and codestreams of every depth: the pixels are those of the picture, or the file is refused with what it is."""

from __future__ import annotations

import struct
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pixel_samples import (
    GREY,
    HEIGHT,
    TRUTH,
    WIDTH,
    box,
    codestream,
    decoded,
    deep,
    error_of,
    jp2,
    jpeg2000,
    ycbcr,
)

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import decode_regions
from bioclip_core.images.jpeg2000 import opened_jpeg2000
from bioclip_core.preprocessing import Preprocessing

PLANES = [np.ascontiguousarray(TRUTH[..., number]) for number in range(3)]
ALPHA = np.full_like(GREY, 130)


def refusal_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(data)
    return str(caught.value)


def samples_of(colours: str, bits: int, signed: bool) -> tuple[NDArray[np.generic], NDArray[np.uint8]]:
    """Return samples of this depth, and the picture that they show."""
    picture = GREY[..., None] if "grey" in colours else TRUTH
    shown = np.dstack([picture, ALPHA]) if "alpha" in colours else picture
    samples = deep(shown, bits).squeeze()
    steps = 255 / (2**bits - 1)
    wanted = np.round(np.round(picture / steps) * steps).astype(np.uint8).squeeze()
    if signed:
        samples = (samples.astype(int) - 2 ** (bits - 1)).astype(np.int8 if bits <= 8 else np.int16)
    return samples, wanted


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("container", ["j2k", "jp2"])
@pytest.mark.parametrize("bits", [1, 4, 8, 9, 10, 12, 15, 16])
def test_every_depth_and_sign_gives_the_pixels_of_the_picture(bits: int, container: str, signed: bool) -> None:
    for colours in ("grey", "RGB", "grey with alpha", "RGB with alpha"):
        samples, wanted = samples_of(colours, bits, signed)
        assert error_of(jpeg2000(samples, bits, codecformat=container), wanted) <= 1, colours


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_lossy_file_keeps_its_colours(bits: int) -> None:
    smooth = np.asarray(Image.fromarray(TRUTH).resize((120, 80), Image.Resampling.BICUBIC))
    data = jpeg2000(deep(smooth, bits), bits, reversible=False, level=60)
    assert np.abs(decoded(data) - smooth).mean() < 1


@pytest.mark.parametrize("colours", ["grey", "RGB"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_without_imagecodecs_a_file_is_right_or_refused_with_the_extra(
    bits: int, colours: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, wanted = samples_of(colours, bits, signed=False)
    data = jpeg2000(samples, bits)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    if bits == 8 or colours == "grey":
        assert error_of(data, wanted) <= 1
    else:
        assert refusal_of(data) == (
            f"not supported: {bits}-bit RGB JPEG 2000; imagecodecs, which reads it, is not installed: "
            "pip install 'bioclip-plugin[tiff]'"
        )


def test_the_depth_of_the_codestream_counts_if_the_file_states_another() -> None:
    assert error_of(jp2(jpeg2000(deep(TRUTH, 12), 12), 3, depth=7), TRUTH) <= 1
    assert error_of(jp2(jpeg2000(deep(GREY, 12), 12), 1, depth=7, space=17), GREY) <= 1
    assert error_of(jp2(jpeg2000(deep(GREY, 9), 9), 1, depth=8, space=17), GREY) <= 1


def test_depths_that_differ_are_listed_in_a_box_of_their_own() -> None:
    depths = [7, 7, 7, 0]
    alpha = np.where(GREY > 127, 128, 127).astype(np.uint8)  # of one bit, as the difference from the middle
    order = box(b"bpcc", bytes(depths)) + box(b"cdef", struct.pack(">13H", 4, 0, 0, 1, 1, 0, 2, 2, 0, 3, 3, 1, 0))
    stream = codestream([*PLANES, alpha], stated=depths)
    assert error_of(jp2(stream, 4, 255, more=order), TRUTH) == 0


@pytest.mark.parametrize("bits", [8, 12])
def test_a_palette_is_applied(bits: int) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (256, 3))
    entries = deep(colours.astype(np.uint8), bits).astype(">u2" if bits > 8 else np.uint8).tobytes()
    more = box(b"pclr", struct.pack(">HB", 256, 3) + bytes([bits - 1] * 3) + entries)
    more += box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3)))
    assert error_of(jp2(codestream([GREY]), 1, more=more), colours[GREY].astype(np.uint8)) <= 1


@pytest.mark.parametrize(
    ("order", "channels"),
    [
        ("BGR", [(0, 0, 3), (1, 0, 2), (2, 0, 1)]),
        ("ARGB", [(0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)]),
        ("RGBA", [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0)]),
    ],
)
def test_channels_are_put_into_the_order_that_the_file_states(order: str, channels: list[tuple[int, ...]]) -> None:
    planes = [dict(zip("RGBA", [*PLANES, ALPHA], strict=True))[name] for name in order]
    definition = box(b"cdef", struct.pack(">H", len(channels)) + b"".join(struct.pack(">3H", *one) for one in channels))
    assert error_of(jp2(codestream(planes), len(planes), more=definition), TRUTH) == 0


def test_the_stated_order_counts_before_ycbcr_is_converted() -> None:
    y, cb, cr = (np.ascontiguousarray(ycbcr(TRUTH)[..., number]) for number in range(3))
    definition = box(b"cdef", struct.pack(">10H", 3, 0, 0, 3, 1, 0, 2, 2, 0, 1))
    assert error_of(jp2(codestream([cr, cb, y]), 3, space=18, more=definition), TRUTH) <= 4  # 8 bits of each


def test_alpha_before_grey_is_not_taken_for_it() -> None:
    definition = box(b"cdef", struct.pack(">7H", 2, 0, 1, 0, 1, 0, 1))
    assert error_of(jp2(codestream([ALPHA, GREY]), 2, space=17, more=definition), GREY) == 0


def test_cmyk_and_a_fifth_component() -> None:
    inks = [255 - plane for plane in PLANES]
    assert error_of(jp2(codestream([*inks, np.zeros_like(GREY)]), 4, space=12), TRUTH) <= 1
    assert error_of(jp2(codestream([*PLANES, GREY, GREY]), 5), TRUTH) == 0


def test_a_profile_says_that_four_components_are_inks() -> None:
    planes = [*(255 - plane for plane in PLANES), np.zeros_like(GREY)]
    file = jp2(codestream(planes), 4)
    profile = b"\x02\x00\x00" + bytes(16) + b"CMYK" + bytes(20)
    enumerated = box(b"colr", struct.pack(">BBBI", 1, 0, 0, 16))
    file = file.replace(enumerated, box(b"colr", profile))
    growth = len(profile) - 7
    at = file.index(b"jp2h") - 4
    file = file[:at] + struct.pack(">I", struct.unpack_from(">I", file, at)[0] + growth) + file[at + 4 :]
    assert error_of(file, TRUTH) <= 1


@pytest.mark.parametrize("bits", [8, 12])
def test_ycbcr_is_converted_at_full_chroma(bits: int) -> None:
    planes = [deep(np.ascontiguousarray(ycbcr(TRUTH)[..., number]), bits) for number in range(3)]
    assert error_of(jp2(codestream(planes, bits=bits), 3, bits - 1, space=18), TRUTH) <= 4  # 8 bits of each


@pytest.mark.parametrize("step", [(2, 2), (2, 1)])
@pytest.mark.parametrize("container", ["j2k", "jp2"])
def test_ycbcr_is_converted_from_subsampled_chroma(container: str, step: tuple[int, int]) -> None:
    smooth = np.asarray(Image.fromarray(TRUTH).resize((3, 2)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    y, *chroma = (ycbcr(smooth)[..., number] for number in range(3))
    planes = [y, *(plane[:: step[1], :: step[0]] for plane in chroma)]
    stream = codestream(planes, steps=[(1, 1), step, step])
    data = stream if container == "j2k" else jp2(stream, 3, space=18)
    assert np.abs(decoded(data) - smooth.astype(int)).mean() < 6  # colours of neighbours are mixed


def test_kinds_that_no_reader_gets_right_are_refused_and_named() -> None:
    half = PLANES[1][::2, ::2]
    subsampled = jp2(codestream([PLANES[0], half, half], steps=[(1, 1), (2, 2), (2, 2)]), 3)
    assert refusal_of(subsampled) == (
        "not supported: 8-bit RGB JPEG 2000 with subsampled components; save it without subsampling"
    )
    assert refusal_of(jp2(codestream(PLANES), 3, space=14)) == "not supported: 8-bit CIELab JPEG 2000; save it as RGB"


def test_a_header_that_contradicts_the_codestream_is_damage() -> None:
    assert refusal_of(jp2(codestream(PLANES), 3, size=(30, 20))) == (
        "the file is damaged: its header announces 30 × 20 pixels and its codestream 24 × 16"
    )


@pytest.mark.parametrize("colours", ["grey", "RGB"])
@pytest.mark.parametrize("bits", [8, 12])
def test_half_a_file_is_never_answered(bits: int, colours: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    samples = deep(noise[..., 0] if colours == "grey" else noise, bits)
    for container in ("j2k", "jp2"):
        data = jpeg2000(samples, bits, codecformat=container)
        for share in (0.3, 0.6, 0.95):
            assert refusal_of(data[: int(len(data) * share)]).startswith(
                ("the file is damaged", "the file is truncated")
            )


def test_a_small_file_with_a_huge_announcement_is_refused_by_its_header() -> None:
    data = bytearray(jpeg2000(deep(TRUTH, 12), 12))
    struct.pack_into(">II", data, 8, 15_000, 15_000)
    struct.pack_into(">II", data, 24, 15_000, 15_000)
    assert "15,000 × 15,000 pixels of 3 components" in refusal_of(bytes(data))
    with pytest.raises(ImageError, match="24 × 16 pixels"):
        decode_regions(jpeg2000(deep(TRUTH, 12), 12), [None], Preprocessing(size=8), max_pixels=100)


def test_ordinary_files_stay_with_pillow_so_that_their_features_stay_valid() -> None:
    for data in (
        jpeg2000(TRUTH, 8),
        jpeg2000(GREY, 8, codecformat="jp2"),
        jpeg2000(deep(GREY, 16), 16, codecformat="jp2"),
    ):
        assert opened_jpeg2000(data) is None
