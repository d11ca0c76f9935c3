"""Pyramid and tiled TIFFs: a region comes from the smallest level that suffices and from the tiles under it, and shows the same."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioclip_core.errors import ImageError
from bioclip_core.images import regions_alone
from bioclip_core.images.boxes import Box
from bioclip_core.images.decoding import decode_regions
from bioclip_core.images.pyramids import levels_of, unmarked_copies
from bioclip_core.images.readers import content_key, has_smaller_levels, is_key_of, is_marked
from bioclip_core.preprocessing import Preprocessing

REDUCED = Preprocessing(size=32)
FULL = replace(REDUCED, decode="full")
SAME = 1  # of 255: Pillow takes the sides of a part as 32-bit floats
LIKE = 6  # of 255: a level was averaged and rounded before
BOXES: list[Box | None] = [
    None,
    (0.1, 0.2, 0.05, 0.1),
    (0.4, 0.45, 0.5, 0.5),
    (0.97, 0.95, 0.03, 0.05),
    (-0.1, -0.1, 0.3, 0.3),
]


def picture(width: int = 403, height: int = 301, dtype: type = np.uint8) -> NDArray[np.generic]:
    """Return waves in three colours: smooth, and different at every place."""
    rows, columns = np.mgrid[:height, :width]
    waves = [
        np.sin(columns / 29) + np.cos(rows / 33),
        np.sin((rows + columns) / 57) * 2,
        np.cos(columns / 43 - rows / 51) * 2,
    ]
    return ((np.stack(waves, axis=-1) + 2) / 4 * np.iinfo(dtype).max).round().astype(dtype)


def halved(image: NDArray[np.generic]) -> NDArray[np.generic]:
    rows, columns = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    four = [image[down:rows:2, across:columns:2].astype(float) for down in (0, 1) for across in (0, 1)]
    return (sum(four) / 4).round().astype(image.dtype)  # type: ignore[union-attr]


def levels(image: NDArray[np.generic], count: int = 3) -> list[NDArray[np.generic]]:
    sizes = [image]
    while len(sizes) < count:
        sizes.append(halved(sizes[-1]))
    return sizes


def with_sub_pages(sizes: Sequence[NDArray[np.generic]], **options: object) -> bytes:
    """Return a pyramid as OME-TIFF has it: the levels inside the page."""
    stream = io.BytesIO()
    layout = {key: options.pop(key) for key in ("bigtiff", "byteorder") if key in options}
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, **options}
    with tifffile.TiffWriter(stream, **layout) as file:
        file.write(sizes[0], subifds=len(sizes) - 1, **options)
        for size in sizes[1:]:
            file.write(size, subfiletype=1, **options)
    return stream.getvalue()


def with_pages_behind(sizes: Sequence[NDArray[np.generic]], **options: object) -> bytes:
    """Return a pyramid as a cloud-optimized GeoTIFF has it: the levels behind the page."""
    stream = io.BytesIO()
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None, **options}
    with tifffile.TiffWriter(stream) as file:
        for number, size in enumerate(sizes):
            file.write(size, subfiletype=int(number > 0), **options)
    return stream.getvalue()


def slide(sizes: Sequence[NDArray[np.generic]], label: NDArray[np.generic]) -> bytes:
    """Return a pyramid as Aperio's scanners write it: levels without a mark, and a label that is marked as reduced."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for number, size in enumerate(sizes):
            text = f"Aperio Image Library v11.2.1\r\n{size.shape[1]}x{size.shape[0]} (64x64) JPEG/RGB"
            file.write(size, photometric="rgb", tile=(64, 64), description=text, metadata=None)
            if not number:
                text = "Aperio Image Library v11.2.1\r\n403x301 -> 100x75 - |AppMag = 20"
                file.write(255 - levels(sizes[0])[-1], photometric="rgb", description=text, metadata=None)
        text = f"Aperio Image Library v11.2.1\r\nlabel {label.shape[1]}x{label.shape[0]}"
        file.write(label, photometric="rgb", subfiletype=1, description=text, metadata=None)
    return stream.getvalue()


def crop(data: bytes, box: Box | None, preprocessing: Preprocessing = REDUCED) -> NDArray[np.int_]:
    return decode_regions(data, [box], preprocessing)[0].astype(int)


def error(data: bytes, box: Box | None) -> int:
    """Return the largest difference from the full decoding, in grey levels."""
    return int(np.abs(crop(data, box) - crop(data, box, FULL)).max())


def scales(data: bytes) -> list[float]:
    return [level.scale for level in levels_of(io.BytesIO(data))]


SIZES = levels(picture())
DEEP = levels(picture(dtype=np.uint16))
PYRAMIDS = {
    "sub-pages": lambda: with_sub_pages(SIZES),
    "sub-pages in a BigTIFF of the other byte order": lambda: with_sub_pages(SIZES, bigtiff=True, byteorder=">"),
    "sub-pages of JPEG": lambda: with_sub_pages(
        SIZES, compression="jpeg", subsampling=(1, 1), compressionargs={"level": 95}
    ),
    "sub-pages in strips": lambda: with_sub_pages(SIZES, tile=None, rowsperstrip=17, compression="lzw"),
    "sub-pages in planes of 16 bits": lambda: with_sub_pages(
        [np.ascontiguousarray(np.moveaxis(size, -1, 0)) for size in DEEP],
        planarconfig="separate",
        compression="deflate",
    ),
    "pages behind": lambda: with_pages_behind(SIZES, compression="deflate", predictor=True),
    "pages of 16 bits behind": lambda: with_pages_behind(DEEP),
    "a slide": lambda: slide(SIZES, SIZES[-1]),
}


@pytest.mark.parametrize("kind", PYRAMIDS)
def test_regions_of_a_pyramid_show_what_they_show_in_the_full_page(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PYRAMIDS[kind]()
    assert scales(data) == [1, 2, 4]
    decoded: list[tuple[float, float]] = []
    one = regions_alone.decoded_part
    monkeypatch.setattr(
        regions_alone,
        "decoded_part",
        lambda part, *rest: (decoded.append((part.picture.width, part.picture.height)), one(part, *rest))[1],
    )
    assert [error(data, box) <= LIKE for box in BOXES] == [True] * 5
    assert [403 / width for width, _ in decoded] == [4, 1, 2, 1, 1]
    together = decode_regions(data, BOXES, REDUCED)
    assert all(np.array_equal(alone, crop(data, box)) for alone, box in zip(together, BOXES, strict=True))


def test_the_exact_way_never_uses_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    brighter = [np.minimum(size, 245) + 10 for size in SIZES]  # levels that show that they were used
    data, full = with_sub_pages([SIZES[0], *brighter[1:]]), with_sub_pages(SIZES[:1])
    assert np.array_equal(crop(data, None, FULL), crop(full, None, FULL))
    assert np.abs(crop(data, None) - crop(full, None)).max() > LIKE


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(-0.2, 0.95), st.floats(-0.2, 0.95), st.floats(0.02, 1.2), st.floats(0.02, 1.2)).filter(
        lambda box: box[0] + box[2] > 0.01 and box[1] + box[3] > 0.01
    ),
    st.sampled_from(range(1, 9)),
    st.sampled_from(("shortest", "squash", "longest")),
    st.sampled_from(("lzw", "jpeg", None)),
)
def test_tiles_under_a_region_give_the_pixels_of_the_whole_page(
    box: Box, orientation: int, mode: str, compression: str | None
) -> None:
    data = TILED[compression, orientation]
    reduced = replace(REDUCED, resize_mode=mode)
    (part,) = decode_regions(data, [box], reduced)
    (whole,) = decode_regions(data, [box], replace(reduced, decode="full"))
    assert np.abs(part.astype(int) - whole.astype(int)).max() <= SAME


TILED = {
    (compression, orientation): with_sub_pages(
        [picture(150, 110)], compression=compression, tile=(16, 32), extratags=[(274, 3, 1, orientation, True)]
    )
    for compression in ("lzw", "jpeg", None)
    for orientation in range(1, 9)
}


def test_only_the_tiles_under_a_region_are_decoded() -> None:
    """A page of 1.2 gigapixels, whose tiles lie in one place: more than may be decoded as a whole."""
    alone = with_sub_pages([picture(256, 256)], tile=(256, 256), compression="jpeg")
    data = bytearray(alone)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        (place,), (size,) = tags["TileOffsets"].value, tags["TileByteCounts"].value
        across = 136
        for tag, side in (("ImageWidth", 256 * across), ("ImageLength", 256 * across)):
            data[tags[tag].offset + 8 : tags[tag].offset + 12] = side.to_bytes(4, "little")
            data[tags[tag].offset + 2 : tags[tag].offset + 4] = (4).to_bytes(2, "little")
        for tag, value in (("TileOffsets", place), ("TileByteCounts", size)):
            entry = tags[tag].offset
            values = np.full(across**2, value, "<u4").tobytes()
            data[entry + 2 : entry + 12] = (
                np.array([4], "<u2").tobytes() + np.array([across**2, len(data)], "<u4").tobytes()
            )
            data += values
    with pytest.raises(ImageError, match="over the budget"):
        decode_regions(bytes(data), [None], REDUCED)
    found = decode_regions(
        bytes(data), [(65 / across, 80 / across, 1 / across, 1 / across)], replace(REDUCED, size=256)
    )[0]
    around = decode_regions(alone, [None], replace(REDUCED, size=256, decode="full"))[0]
    assert np.array_equal(found, around)


# -- what is not a level ---------------------------------------------------------------------------------------------------


def test_reduced_pages_that_show_something_else_are_not_levels() -> None:
    others = {
        "another shape": picture(100, 100),
        "another depth": DEEP[2],
        "grey": SIZES[2][..., 0],
        "larger": picture(806, 602),
    }
    for name, other in others.items():
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream) as file:
            file.write(SIZES[0], photometric="rgb", metadata=None)
            file.write(other, photometric="rgb" if other.ndim == 3 else "minisblack", subfiletype=1, metadata=None)
        assert scales(stream.getvalue()) == [1], name


def pages(*sizes: tuple[NDArray[np.generic], int], **options: object) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for size, kind in sizes:
            file.write(size, photometric="rgb", subfiletype=kind, metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "options", [{"tile": (64, 64)}, {"rowsperstrip": 16}, {"tile": (64, 64), "compression": "deflate"}]
)
def test_thumbnails_behind_all_pictures_are_not_levels_of_the_last_one(options: dict[str, object]) -> None:
    """Model: scanning programs that write the pictures first, and then a reduced page for each."""
    other = levels(np.ascontiguousarray(picture()[::-1]))
    data = pages((SIZES[0], 0), (other[0], 0), (SIZES[2], 1), **options)
    assert [level.scale for level in levels_of(io.BytesIO(data), 1)] == [1, 4]
    whole = decode_regions(pages((other[0], 0), **options), BOXES, REDUCED)
    assert np.array_equal(decode_regions(data, BOXES, REDUCED, frame=1), whole)
    both = pages((SIZES[0], 0), (other[0], 0), (SIZES[2], 1), (other[2], 1), **options)
    found = decode_regions(both, BOXES, REDUCED, frame=1)
    assert np.abs(np.array(found).astype(int) - np.array(whole)).max() <= LIKE
    assert not np.array_equal(found, whole)  # its own level is used


def test_levels_of_a_rough_picture_that_took_every_nth_pixel_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model: overviews of maps and satellite images made without averaging."""
    rng = np.random.default_rng(0)
    rough = np.clip(picture().astype(int) + rng.normal(0, 40, (301, 403, 3)), 0, 255).astype(np.uint8)
    data = with_sub_pages([rough, rough[::2, ::2], rough[::4, ::4]])
    used: list[float] = []
    one = regions_alone.decoded_part
    monkeypatch.setattr(
        regions_alone, "decoded_part", lambda part, *rest: (used.append(part.level.scale), one(part, *rest))[1]
    )
    crop(data, None)
    assert used == [4]


def test_a_mask_and_the_levels_of_the_next_picture_are_not_levels() -> None:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for size, kind in ((SIZES[0], 0), (SIZES[1], 1), (SIZES[2][..., 0] > 99, 5), (SIZES[0], 0), (SIZES[2], 1)):
            file.write(size, photometric="rgb" if kind < 2 else "mask", subfiletype=kind, metadata=None)
    assert scales(stream.getvalue()) == [1, 2]


def test_a_label_with_the_shape_of_the_slide_is_not_a_level() -> None:
    data = slide([SIZES[0]], SIZES[2])
    assert scales(data) == [1]


def test_the_levels_and_the_thumbnail_of_a_slide_are_not_pictures_of_their_own() -> None:
    data = slide(SIZES, picture(80, 90))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offsets = [page.offset for page in file.pages]
    assert unmarked_copies(io.BytesIO(data)) == set(offsets[1:4])
    assert unmarked_copies(io.BytesIO(with_pages_behind(SIZES))) == set()


def test_floats_are_stretched_over_the_whole_page_and_have_no_levels() -> None:
    floats = [size.astype(np.float32) * 7 for size in SIZES]
    assert scales(with_sub_pages(floats)) == [1]


def test_a_damaged_sub_page_costs_the_level_and_not_the_image() -> None:
    data = with_sub_pages(SIZES)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tag = file.pages[0].tags["SubIFDs"]
        broken = bytearray(data)
        broken[tag.valueoffset : tag.valueoffset + 8] = (1 << 30).to_bytes(4, "little") * 2
    assert scales(bytes(broken)) == [1]
    assert np.array_equal(crop(bytes(broken), None), crop(with_sub_pages(SIZES[:1]), None))


def test_a_truncated_file_is_refused_whatever_its_regions_are() -> None:
    data = with_sub_pages(SIZES[:1], compression="lzw")
    for box in BOXES:
        with pytest.raises(ImageError, match="truncated"):
            decode_regions(data[: len(data) * 2 // 3] if data.find(b"II") == 0 else data, [box], REDUCED)


def test_a_truncated_level_is_not_used() -> None:
    data = with_pages_behind(SIZES)
    assert np.abs(crop(data[:-200], None) - crop(data, None, FULL)).max() <= LIKE


@pytest.mark.parametrize(
    ("scale", "width", "height"), [(2, 202, 151), (2, 201, 150), (4, 100, 75), (4, 101, 76), (16, 25, 18)]
)
def test_sides_of_a_level_may_be_rounded_in_either_direction(scale: int, width: int, height: int) -> None:
    assert scales(with_sub_pages([picture(), picture(width, height)])) == [1, scale]


def test_the_profile_and_the_orientation_are_those_of_the_page() -> None:
    tags = [(274, 3, 1, 6, True)]
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        options = {"photometric": "rgb", "tile": (64, 64), "metadata": None}
        file.write(SIZES[0], subifds=2, extratags=tags, iccprofile=PROFILE, **options)
        file.write(SIZES[1], subfiletype=1, **options)
        file.write(SIZES[2], subfiletype=1, extratags=tags, **options)
    data = stream.getvalue()
    assert [error(data, box) <= LIKE for box in BOXES] == [True] * 5
    assert np.abs(crop(data, None) - crop(with_sub_pages(SIZES), None)).max() > 20


def _profile() -> bytes:
    from PIL import ImageCms

    plain = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = (plain.index(name, 128) for name in (b"rXYZ", b"bXYZ"))
    plain[red : red + 4], plain[blue : blue + 4] = plain[blue : blue + 4], plain[red : red + 4]
    return bytes(plain)


PROFILE = _profile()
"""sRGB with red and blue exchanged."""


# -- the identity ------------------------------------------------------------------------------------------------------------


def test_the_key_of_a_pyramid_is_marked_and_those_of_other_files_stay() -> None:
    sha256 = "f" * 64
    plain, pyramid = with_sub_pages(SIZES[:1]), with_sub_pages(SIZES)
    assert not has_smaller_levels(plain)
    assert has_smaller_levels(pyramid)
    assert not has_smaller_levels(b"II*\0")
    keys = [content_key(sha256, own, levelled) for own in (False, True) for levelled in (False, True)]
    assert len(set(keys)) == 4
    assert keys[0] == sha256
    assert [is_marked(key) for key in keys] == [False, False, True, True]
    assert all(is_key_of(key, sha256) for key in keys)
    assert not is_key_of(keys[1], "e" * 64)
