"""TIFF files of every depth and layout: the pixels are those of the picture, or the file is refused with what it is."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pixel_samples import (
    GREY,
    HEIGHT,
    TRUTH,
    WIDTH,
    Tags,
    decoded,
    deep,
    error_of,
    handmade,
    tags_of,
    tiff,
    ycbcr,
)

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.images.tiff import is_read_right_by_pillow
from bioclip_core.images.tiff_header import layout_at
from bioclip_core.preprocessing import Preprocessing

LEVELS = 2  # of 255: the rounding of two conversions
OPAQUE = 200
_REVERSED = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)
_LAYOUTS: list[tuple[str, dict[str, object]]] = [
    ("contiguous", {}),
    ("planes", {"planarconfig": "separate"}),
    ("tiles", {"tile": (16, 16)}),
    ("tiled planes", {"planarconfig": "separate", "tile": (16, 16)}),
    ("strips", {"rowsperstrip": 5}),
    ("deflate", {"compression": "deflate"}),
    ("lzw", {"compression": "lzw", "predictor": True}),
    ("packbits", {"compression": "packbits"}),
    ("compressed planes", {"compression": "deflate", "planarconfig": "separate", "rowsperstrip": 5}),
    ("compressed tiles", {"compression": "lzw", "planarconfig": "separate", "tile": (16, 16), "predictor": True}),
]


def samples_of(
    colours: str, scaled: Callable[[NDArray[np.uint8]], NDArray[np.generic]], picture: NDArray[np.uint8] = TRUTH
) -> tuple[NDArray[np.generic], str]:
    """Return a picture's samples with these colours, and the photometric interpretation; grey is its blue."""
    blue = picture[..., 2]
    grey, colour, alpha = scaled(blue), scaled(picture), scaled(np.full_like(blue, OPAQUE))[..., None]
    if colours == "white is zero":
        return scaled(255 - blue), "miniswhite"
    if colours == "CMYK":
        return np.concatenate([scaled(255 - picture), scaled(np.zeros_like(blue))[..., None]], axis=-1), "separated"
    photometric = "minisblack" if colours.startswith("grey") else "rgb"
    if colours in ("grey", "RGB"):
        return grey if colours == "grey" else colour, photometric
    plain = grey[..., None] if colours.startswith("grey") else colour
    return np.concatenate([plain, *([alpha] * (2 if "two" in colours else 1))], axis=-1), photometric


_COLOURS = {
    "grey": None,
    "white is zero": None,
    "RGB": None,
    "CMYK": None,
    "grey with alpha": ["unassalpha"],
    "grey with an extra sample": ["unspecified"],
    "grey with two extra samples": ["unspecified", "unspecified"],
    "RGB with alpha": ["unassalpha"],
    "RGB with an extra sample": ["unspecified"],
    "RGB with two extra samples": ["unspecified", "unassalpha"],
}


def picture_of(colours: str) -> NDArray[np.uint8]:
    return GREY if colours.startswith(("grey", "white")) else TRUTH


# -- every combination -------------------------------------------------------------------------------------------------


def _depths() -> list[object]:
    """Return each depth with each byte order and layout in which tifffile writes it."""
    return [
        pytest.param(bits, options, order, id=f"{bits} {layout} {order}")
        for bits in (8, 10, 12, 15, 16, 32)
        for layout, options in _LAYOUTS
        for order in "<>"
        if bits in (8, 16, 32) or (order == "<" and "compression" not in options)
    ]


@pytest.mark.parametrize(("bits", "options", "order"), _depths())
def test_every_depth_layout_and_colour_gives_the_pixels_of_the_picture(
    bits: int, options: dict[str, object], order: str
) -> None:
    more = {} if bits in (8, 16, 32) else {"bitspersample": bits}
    for colours, extra in _COLOURS.items():
        samples, photometric = samples_of(colours, lambda picture: deep(picture, bits))
        if "separate" in str(options) and samples.ndim == 2:
            continue
        data = tiff(samples, photometric, byteorder=order, extrasamples=extra, **options, **more)
        assert error_of(data, picture_of(colours)) <= LEVELS, colours


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("layout", "options"),
    [one for one in _LAYOUTS if one[0] != "packbits"],
    ids=[n for n, _ in _LAYOUTS if n != "packbits"],
)
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_every_float_gives_the_pixels_of_the_picture(
    kind: str, layout: str, options: dict[str, object], order: str
) -> None:
    for colours, extra in _COLOURS.items():
        samples, photometric = samples_of(colours, lambda picture: (picture / 255).astype(kind))
        if "separate" in str(options) and samples.ndim == 2:
            continue
        data = tiff(samples, photometric, byteorder=order, extrasamples=extra, **options)
        assert error_of(data, picture_of(colours)) <= LEVELS, colours


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 10, 12, 15, 16, 32])
def test_colours_that_were_multiplied_by_alpha_are_divided_by_it(bits: int, planar: str) -> None:
    more = {} if bits in (8, 16, 32) else {"bitspersample": bits}
    for picture, photometric in ((TRUTH, "rgb"), (GREY[..., None], "minisblack")):
        alpha = deep(np.full((HEIGHT, WIDTH, 1), OPAQUE, np.uint8), bits)
        colours = np.round(deep(picture, bits).astype(float) * OPAQUE / 255).astype(alpha.dtype)
        samples = np.concatenate([colours, alpha], axis=-1)
        data = tiff(samples, photometric, planarconfig=planar, extrasamples=["assocalpha"], **more)
        assert error_of(data, picture.squeeze()) <= LEVELS


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_scaled_to_the_full_range(bits: int) -> None:
    steps = 255 // (2**bits - 1)
    grey, colour = (np.round(picture / steps).astype(np.uint8) for picture in (GREY, TRUTH))
    for samples, photometric, wanted in (
        (grey, "minisblack", grey * steps),
        (2**bits - 1 - grey, "miniswhite", grey * steps),
        (colour, "rgb", colour * steps),
        (np.dstack([grey, grey]), "minisblack", grey * steps),
    ):
        for planar in ("contig", "separate") if samples.ndim == 3 else ("contig",):
            data = tiff(samples, photometric, bitspersample=bits, planarconfig=planar)
            assert error_of(data, wanted) == 0


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_big_tiff_and_the_bits_of_bytes_in_reverse_order_are_understood(bits: int, big: bool, order: str) -> None:
    for picture, photometric, samples in ((GREY, 1, 1), (255 - GREY, 0, 1), (TRUTH, 2, 3)):
        values = deep(picture, bits).astype(f"{order}u{bits // 8}").tobytes()
        mirrored = _REVERSED[np.frombuffer(values, np.uint8)].tobytes()
        tags = tags_of([bits] * samples, photometric)
        wanted = GREY if samples == 1 else TRUTH
        assert error_of(handmade(tags, values, order=order, big=big), wanted) == 0
        assert error_of(handmade({**tags, 266: (3, [2])}, mirrored, order=order, big=big), wanted) == 0


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("bits", [10, 12, 15])
def test_packed_samples_may_be_compressed_and_their_bytes_have_no_order(bits: int, compression: int) -> None:
    ones = np.unpackbits(deep(TRUTH, bits).astype(">u2").view(np.uint8).reshape(HEIGHT, -1, 2), axis=-1)
    data = np.packbits(ones[..., 16 - bits :].reshape(HEIGHT, -1), axis=-1).tobytes()
    coded = {1: data, 5: imagecodecs.lzw_encode(data), 8: zlib.compress(data)}[compression]
    for order in "<>":
        tags = {**tags_of([bits] * 3, 2), 259: (3, [compression])}
        assert error_of(handmade(tags, coded, order=order), TRUTH) <= 1


# -- depth -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("bits", [10, 12, 14, 15])
def test_samples_of_fewer_bits_that_fill_two_bytes_each_are_scaled_by_their_own_depth(
    bits: int, compression: int
) -> None:
    data = deep(TRUTH, bits).astype("<u2").tobytes()
    tags = {**tags_of([bits] * 3, 2), 259: (3, [compression])}
    assert error_of(handmade(tags, zlib.compress(data) if compression == 8 else data), TRUTH) <= 1


@pytest.mark.parametrize("tag", [281, 341])
@pytest.mark.parametrize("bits", [10, 12, 15])
def test_a_tag_may_say_that_sixteen_bits_hold_fewer(bits: int, tag: int) -> None:
    data = deep(TRUTH, bits).astype("<u2").tobytes()
    assert error_of(handmade({**tags_of([16] * 3, 2), tag: (3, [2**bits - 1] * 3)}, data), TRUTH) <= 1
    # A tag that the values contradict is not believed.
    data = deep(TRUTH, 16).astype("<u2").tobytes()
    assert error_of(handmade({**tags_of([16] * 3, 2), tag: (3, [2**bits - 1] * 3)}, data), TRUTH) <= 1


def test_sixteen_bits_without_such_a_tag_are_sixteen_bits_however_dark_the_picture_is() -> None:
    data = deep(TRUTH, 12).astype("<u2").tobytes()
    assert decoded(handmade(tags_of([16] * 3, 2), data)).max() == 15


def test_signed_integers_use_their_positive_or_their_full_range() -> None:
    tags: Tags = {**tags_of([16], 1), 339: (3, [2])}
    half = np.round(GREY / 255 * 32767).astype("<i2")
    assert error_of(handmade(tags, half.tobytes()), GREY) <= 1
    full = (GREY.astype(int) * 257 - 32768).astype("<i2")
    assert error_of(handmade(tags, full.tobytes()), GREY) <= 1
    few = (GREY.astype(int) - 100).astype("<i2")  # neither: from the smallest to the largest value
    assert error_of(handmade(tags, few.tobytes()), GREY) <= 1


@pytest.mark.parametrize(("top", "wanted"), [(1.0, 255), (0.5, 128), (200.0, 200), (100 * 257.0, 100)])
def test_floats_of_several_channels_are_taken_on_the_scale_in_which_they_lie(top: float, wanted: int) -> None:
    samples = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    samples[..., 1], samples[0, 0] = top, np.nan
    pixels = decoded(tiff(samples, "rgb"))
    assert pixels[5, 5].tolist() == [0, wanted, 0]
    assert pixels[0, 0].tolist() == [0, 0, 0]


# -- colours -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_palette_of_eight_or_sixteen_bit_colours_is_applied(bits: int, top: int) -> None:
    colours = np.random.default_rng(3).integers(0, 256, (2**bits, 3))
    colours[1] = 255
    index = np.random.default_rng(4).integers(0, 2**bits, (HEIGHT, WIDTH)).astype("<u2" if bits == 16 else np.uint8)
    data = index.tobytes() if bits > 4 else (index[:, ::2] << 4 | index[:, 1::2]).tobytes()
    palette = (colours * (top // 255)).T.ravel().tolist()
    assert error_of(handmade({**tags_of([bits], 3), 320: (3, palette)}, data), colours[index].astype(np.uint8)) == 0


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize(("photometric", "bits"), [(8, 8), (8, 16), (9, 8), (9, 16)])
def test_lab_is_converted(photometric: int, bits: int, planar: int) -> None:
    made = ImageCms.profileToProfile(
        Image.fromarray(TRUTH), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert made is not None
    wanted = np.asarray(ImageCms.profileToProfile(
        made, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    ))  # fmt: skip
    lab = np.frombuffer(made.tobytes("raw", "LAB"), np.uint8).reshape(HEIGHT, WIDTH, 3)  # a and b signed
    if photometric == 9:
        lab = np.dstack([lab[..., 0], lab[..., 1:] ^ 0x80])
    samples = lab
    if bits == 16:
        light = lab[..., :1].astype(np.uint16) * (257 if photometric == 8 else 256)
        samples = np.concatenate([light, lab[..., 1:].astype(np.uint16) << 8], axis=-1).astype("<u2")
    strips = [samples.tobytes()] if planar == 1 else [samples[..., n].tobytes() for n in range(3)]
    assert error_of(handmade({**tags_of([bits] * 3, photometric), 284: (3, [planar])}, strips), wanted) <= 6


def test_a_missing_interpretation_is_what_libtiff_takes_it_for() -> None:
    assert error_of(handmade(tags_of([8], None), GREY.tobytes()), GREY) == 0
    assert error_of(handmade(tags_of([8] * 3, None), TRUTH.tobytes()), TRUTH) == 0


@pytest.mark.parametrize("mode", ["RGB", "YCbCr", "L", "CMYK"])
def test_jpeg_inside_of_a_tiff_keeps_its_colours(mode: str) -> None:
    smooth = Image.fromarray(TRUTH).resize((96, 64), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    smooth.convert(mode).save(stream, "TIFF", compression="jpeg", quality=98)
    wanted = np.asarray(smooth.convert("L") if mode == "L" else smooth)
    assert (
        np.abs(decoded(stream.getvalue()) - (wanted[..., None] if mode == "L" else wanted)).mean() < 3
    )  # JPEG's own error


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("step", [(1, 1), (2, 1), (2, 2)])
def test_ycbcr_is_converted_with_and_without_subsampled_chroma(step: tuple[int, int], compression: int) -> None:
    across, down = step
    y, *chroma = (ycbcr(TRUTH)[..., number] for number in range(3))
    few = [plane[::down, ::across] for plane in chroma]
    units = (
        y.reshape(HEIGHT // down, down, WIDTH // across, across).swapaxes(1, 2).reshape(*few[0].shape, across * down)
    )
    data = np.dstack([units, *few]).tobytes()
    wanted = np.dstack([y, *(plane.repeat(down, axis=0).repeat(across, axis=1) for plane in few)])
    coded = {1: data, 5: imagecodecs.lzw_encode(data), 8: zlib.compress(data)}[compression]
    tags = {**tags_of([8] * 3, 6), 259: (3, [compression]), 530: (3, step)}
    picture = np.asarray(Image.frombytes("YCbCr", (WIDTH, HEIGHT), wanted.tobytes()).convert("RGB"))
    if compression == 1 and step != (1, 1):
        assert refusal_of(handmade(tags, coded)) == (
            "not supported: 8-bit YCbCr TIFF; its chroma is subsampled; save it as RGB"
        )
    else:
        assert error_of(handmade(tags, coded), picture) <= LEVELS


def test_ycbcr_in_planes_and_without_its_subsampling_stated() -> None:
    picture = np.asarray(Image.frombytes("YCbCr", (WIDTH, HEIGHT), ycbcr(TRUTH).tobytes()).convert("RGB"))
    planes = [np.ascontiguousarray(ycbcr(TRUTH)[..., number]).tobytes() for number in range(3)]
    tags = {**tags_of([8] * 3, 6), 284: (3, [2]), 530: (3, [1, 1])}
    assert error_of(handmade(tags, planes), picture) <= LEVELS
    assert error_of(handmade(tags_of([8] * 3, 6), ycbcr(TRUTH).tobytes()), picture) <= LEVELS


def test_bilevel_fax_is_black_on_white() -> None:
    page = Image.fromarray(GREY > 127)
    for compression in ("group3", "group4", "tiff_ccitt"):
        stream = io.BytesIO()
        page.save(stream, "TIFF", compression=compression)
        assert error_of(stream.getvalue(), np.where(GREY > 127, 255, 0).astype(np.uint8)) == 0


def test_the_orientation_is_applied_to_what_our_own_reader_decodes() -> None:
    planes = [np.ascontiguousarray(deep(TRUTH, 16)[..., n]).tobytes() for n in range(3)]
    tags = {**tags_of([16] * 3, 2), 284: (3, [2]), 274: (3, [6])}
    data = handmade(tags, planes)
    assert upright_size(data) == (HEIGHT, WIDTH)
    assert np.abs(decoded(data) - np.rot90(TRUTH, -1).astype(int)).max() <= LEVELS


def test_the_profile_is_applied_to_what_our_own_reader_decodes() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    planes = [deep(np.full((HEIGHT, WIDTH), value, np.uint8), 16).tobytes() for value in (200, 30, 10)]
    tags = {**tags_of([16] * 3, 2), 284: (3, [2]), 34675: (1, list(swapped))}
    assert np.abs(decoded(handmade(tags, planes)) - (30, 200, 10)).max() <= LEVELS


# -- refused, truncated and damaged ------------------------------------------------------------------------------------


def refusal_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decoded(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ({**tags_of([8] * 3, 2), 259: (3, [34712])}, "8-bit RGB TIFF with JPEG 2000 compression"),
        ({**tags_of([16], 32803)}, "16-bit camera RAW (colour filter array) TIFF"),
        ({**tags_of([5, 6, 5], 2)}, "mixed-depth RGB TIFF"),
        ({**tags_of([8] * 3, 10)}, "8-bit ITULab TIFF"),
        ({**tags_of([64], 1), 339: (3, [6])}, "64-bit complex grey TIFF"),
        ({**tags_of([8] * 2, 2)}, "8-bit RGB TIFF"),
        ({**tags_of([8] * 4, 5), 332: (3, [2])}, "8-bit CMYK TIFF"),
        ({**tags_of([8], 1), 32997: (4, [7])}, "8-bit grey TIFF of several slices"),
        ({**tags_of([12], 1), 259: (3, [7])}, "12-bit grey TIFF with JPEG compression"),
    ],
)
def test_a_sound_file_of_another_kind_is_called_not_supported_and_named(tags: Tags, what: str) -> None:
    text = refusal_of(handmade(tags, bytes(WIDTH * HEIGHT * 8)))
    assert text.startswith(f"not supported: {what}; ")


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": (16, 16)}, {"compression": "deflate"}])
def test_a_truncated_file_of_a_kind_that_we_read_is_truncated_and_never_answered(options: dict[str, object]) -> None:
    data = tiff(
        np.random.default_rng(0).integers(0, 65536, (40, 50, 3), np.uint16), "rgb", planarconfig="separate", **options
    )
    assert refusal_of(data[: len(data) * 2 // 3]) == "the file is truncated: its data end before the image does"


def test_compressed_data_that_are_damaged_are_never_answered() -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (90, 90), np.uint16)
    data = bytearray(tiff(noise, "miniswhite", compression="deflate"))
    data[-9000:-8990] = b"0123456789"
    assert refusal_of(bytes(data)).startswith("the file is damaged: its Deflate data ")


def test_fewer_strips_than_the_image_needs_are_reported() -> None:
    tags = {**tags_of([16], 0), 278: (4, [4])}
    strip = bytes(4 * WIDTH * 2)
    assert refusal_of(handmade(tags, [strip] * 3)) == "the file is damaged: its header lists 3 of 4 strips"


def test_a_small_image_with_a_huge_announcement_needs_no_memory() -> None:
    program = """
import resource, struct, sys
sys.path[:0] = sys.argv[1:]
from bioclip_core.errors import ImageError
from pixel_samples import decoded, handmade, tags_of
resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))
planes = {284: (3, [2])}
for tags in (
    {**tags_of([16] * 3, 2, width=15_000, height=15_000), **planes},
    {**tags_of([16], 0, width=1, height=2**28), 278: (4, [1])},
    {**tags_of([16], 0), 322: (4, [60_000]), 323: (4, [60_000])},
    {**tags_of([8], 1), 322: (4, [30_000]), 323: (4, [30_000]), 259: (3, [8])},
    {**tags_of([16] * 60_000, 1)},
    {**tags_of([16], 0), 278: (4, [2**32 - 1]), 259: (3, [8])},
    {**tags_of([16], 3), 320: (3, [1])},
):
    try:
        decoded(handmade(tags, bytes(64)))
    except ImageError as error:
        print(error)
"""
    paths = ["tests/core/images"]
    done = subprocess.run([sys.executable, "-c", program, *paths], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 7


def test_metadata_that_cannot_be_read_change_nothing_even_if_warnings_are_errors(
    capfd: pytest.CaptureFixture[str],
) -> None:
    plain = {**tags_of([8] * 3, 2)}
    for more in (
        {305: (2, list(b"software" * 9)), 270: (2, list(b"description" * 9))},
        {34665: (4, [40])},
        {274: (3, [1, 1, 1]), 282: (4, [72, 72, 72])},
    ):
        data = bytearray(handmade({**plain, **more}, TRUTH.tobytes()))
        for place in range(10, len(data) - len(TRUTH.tobytes()), 1):  # lists of values beyond the end of the file
            tag, kind, count = struct.unpack_from("<HHI", data, place)
            if tag in (305, 270) and (kind, count > 50) == (2, True):
                struct.pack_into("<I", data, place + 8, 2**31)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert error_of(bytes(data), TRUTH) == 0
    assert capfd.readouterr().err == ""


def test_a_tag_that_the_pixels_need_and_that_cannot_be_read_is_damage() -> None:
    data = bytearray(handmade(tags_of([8] * 3, 2), TRUTH.tobytes()))
    place = data.index(struct.pack("<HHI", 258, 3, 3))
    struct.pack_into("<I", data, place + 8, 2**31)
    assert refusal_of(bytes(data)) == "the file is damaged: the values of tag 258 of its header cannot be read"
    # Its first value lies inside of the file, but not all that it announces.
    data = bytearray(handmade(tags_of([1], 1), bytes(WIDTH // 8 * HEIGHT)))
    struct.pack_into("<HHII", data, data.index(struct.pack("<HHI", 259, 3, 1)), 259, 3, 16_777_217, 4)
    for filtered in ("error", "ignore"):
        with warnings.catch_warnings():
            warnings.simplefilter(filtered)  # type: ignore[arg-type]
            assert refusal_of(bytes(data)) == (
                "the file is damaged: the values of tag 259 of its header lie behind its end"
            )


# -- the division of work ----------------------------------------------------------------------------------------------


def test_ordinary_files_stay_with_pillow_so_that_their_features_stay_valid() -> None:
    ordinary = [
        tiff(GREY, "minisblack"), tiff(255 - GREY, "miniswhite"), tiff(TRUTH, "rgb", compression="lzw", predictor=True),
        tiff(TRUTH, "rgb", planarconfig="separate"), tiff(deep(GREY, 16), "minisblack"), tiff(deep(TRUTH, 16), "rgb"),
        tiff((GREY / 255).astype("f4"), "minisblack"), tiff(np.dstack([TRUTH, GREY]), "rgb", extrasamples=["unassalpha"]),
    ]  # fmt: skip
    for data in ordinary:
        file = io.BytesIO(data)
        assert is_read_right_by_pillow(file, layout_at(file, 0))


def test_the_budget_of_pixels_holds_for_our_own_reader() -> None:
    data = tiff(deep(np.tile(GREY, (20, 20)), 16), "miniswhite")
    with pytest.raises(ImageError, match="480 × 320 pixels"):
        decode_regions(data, [None], Preprocessing(size=8), max_pixels=100_000)


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    kind=st.sampled_from(["u1", "u2", "u4", "f2", "f4", "f8"]),
    colours=st.sampled_from(["grey", "white is zero", "RGB", "CMYK", "RGB with alpha", "grey with two extra samples"]),
    planar=st.booleans(),
    tile=st.sampled_from([None, (16, 16), (32, 16)]),
    rows=st.integers(1, 40),
    compression=st.sampled_from([None, "lzw", "deflate", "zstd", "lzma", "packbits"]),
    predictor=st.booleans(),
    order=st.sampled_from("<>"),
    big=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_size_and_layout_gives_the_pixels_of_the_picture(
    width: int, height: int, kind: str, colours: str, planar: bool, tile: tuple[int, int] | None, rows: int,
    compression: str | None, predictor: bool, order: str, big: bool,
) -> None:  # fmt: skip
    random = np.random.default_rng(width * 41 + height)
    picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture[0, 0], picture[-1, -1] = 0, 255  # the scale of floats and of 32 bits depends on the largest value
    bits = 8 * int(kind[1])
    scaled = {"u": lambda part: deep(part, bits), "f": lambda part: (part / 255).astype(kind)}[kind[0]]
    extra = _COLOURS[colours]
    samples, photometric = samples_of(colours, scaled, picture)
    data = tiff(
        samples, photometric, planarconfig="separate" if planar else "contig", extrasamples=extra, byteorder=order,
        bigtiff=big, compression=compression,
        predictor=predictor and compression in ("lzw", "deflate", "zstd", "lzma") and (kind[0] == "u" or kind != "f2"),
        **({"tile": tile} if tile else {"rowsperstrip": rows}),
    )  # fmt: skip
    wanted = picture[..., 2] if colours.startswith(("grey", "white")) else picture
    assert error_of(data, wanted) <= LEVELS
