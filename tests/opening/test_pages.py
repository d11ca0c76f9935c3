"""TIFF files of several pages: each page is an item, a pyramid is one item, and damage is a failure of its page."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from opening_samples import coloured, rgb_page, tiff_bytes
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.findings import Findings
from bioclip_core.images import tiff_header
from bioclip_core.images.readers import is_file_read_by_us
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, item_of
from bioclip_plugin.opening import BuiltInMedia, copies
from bioclip_plugin.opening.pages import Page, open_page, pages_of, read_pages

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def expanded(path: Path) -> list[MediaItem | Unlisted] | None:
    found = BuiltInMedia().expand_media(item_of(path), ListingOptions())
    return None if found is None else list(found)


def written(path: Path, *pages: tuple[list[tuple[int, int, object]], bytes]) -> Path:
    path.write_bytes(tiff_bytes(pages))  # type: ignore[arg-type]
    return path


def test_each_page_is_an_item_with_its_number_and_its_own_picture(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.tif", *(rgb_page(coloured(colour, (40, 30 + n))) for n, colour in enumerate((RED, GREEN, BLUE)))
    )
    items = expanded(path)
    assert items == [replace(item_of(path), frame=number) for number in range(3)]
    media = BuiltInMedia()
    for item, colour in zip(items[1:], (GREEN, BLUE), strict=True):
        image = media.open_media(item)  # type: ignore[arg-type]
        assert image is not None
        assert image.getpixel((0, 0)) == colour
    assert media.open_media(items[0]) is None  # type: ignore[arg-type]  # the first is read as any file


def test_a_file_that_pillow_saved_with_several_pages_is_several_items(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    first, *more = (Image.new("L", (20 + n, 20), 50 * n) for n in range(4))
    first.save(path, save_all=True, append_images=more, compression="tiff_lzw")
    items = expanded(path)
    assert [item.frame for item in items or ()] == [0, 1, 2, 3]
    image = open_page(replace(item_of(path), frame=3), path)
    assert image is not None
    assert (image.size, image.getpixel((0, 0))) == ((23, 20), 150)


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "CMYK", "1"])
def test_a_file_of_one_page_stays_as_it_is(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (20, 20)).save(path)
    assert expanded(path) is None
    assert BuiltInMedia().open_media(item_of(path)) is None


def test_a_pyramid_is_one_picture_whether_its_levels_are_marked_or_not(tmp_path: Path) -> None:
    for name, mark in (("marked", 1), ("unmarked", None)):
        levels = [
            rgb_page(coloured(RED, size), subfile=mark if n else 0)
            for n, size in enumerate(((65, 49), (33, 25), (16, 12)))
        ]
        assert expanded(written(tmp_path / f"{name}.tif", *levels)) is None


def test_a_thumbnail_or_a_mask_is_no_picture_of_its_own(tmp_path: Path) -> None:
    whole = rgb_page(coloured(RED))
    assert expanded(written(tmp_path / "thumbnail.tif", whole, rgb_page(coloured(RED, (9, 7)), subfile=1))) is None
    assert expanded(written(tmp_path / "mask.tif", whole, rgb_page(coloured(RED), subfile=4))) is None
    old = rgb_page(coloured(RED, (9, 7)))
    old[0].append((255, 3, [2]))
    assert expanded(written(tmp_path / "old.tif", whole, old)) is None


def test_if_a_thumbnail_comes_first_the_picture_after_it_is_the_item(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", rgb_page(coloured(RED, (9, 7)), subfile=1), rgb_page(coloured(GREEN)))
    (item,) = expanded(path) or ()
    assert isinstance(item, MediaItem)
    assert item.frame == 1


def test_pages_of_one_size_and_odd_sizes_are_all_pictures(tmp_path: Path) -> None:
    sizes = [(64, 48), (64, 48), (48, 64), (60, 45)]
    path = written(tmp_path / "a.tif", *(rgb_page(coloured(RED, size)) for size in sizes))
    assert [item.frame for item in expanded(path) or ()] == [0, 1, 2, 3]


# -- smaller copies and versos -----------------------------------------------------------------------------------------


def scene(seed: int, size: tuple[int, int] = (400, 300)) -> NDArray[np.uint8]:
    """Return a picture with broad shapes, on the white of a sheet with a black margin."""
    random = np.random.default_rng(seed)
    shapes = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    sheet = Image.new("RGB", size, "white")
    inner = (size[0] * 3 // 10, size[1] * 3 // 10)
    sheet.paste(shapes.resize(inner), (size[0] // 3, size[1] // 3))
    sheet.paste("black", (0, 0, size[0] // 12, size[1]))
    return np.asarray(sheet)


def text_page(seed: int, size: tuple[int, int] = (400, 300)) -> NDArray[np.uint8]:
    """Return lines of grey writing on white: two such pages differ in nothing else."""
    page = np.full((size[1], size[0], 3), 250, np.uint8)
    random = np.random.default_rng(seed)
    for line in range(20, size[1] - 20, 14):
        for column in range(20, size[0] - 20, 6):
            page[line : line + 7, column : column + 4] = random.choice((60, 250), p=(0.5, 0.5))
    return page


def reduced(pixels: NDArray[np.uint8], size: tuple[int, int], how: Image.Resampling) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(pixels).resize(size, how))


def frames(path: Path, *pages: NDArray[np.uint8], marks: tuple[int | None, ...] = ()) -> list[int]:
    written(path, *(rgb_page(page, subfile=mark) for page, mark in zip_longest(pages, marks)))
    items = expanded(path)
    return [0] if items is None else [item.frame for item in items]


@pytest.mark.parametrize("make", [scene, text_page])
def test_a_verso_of_half_the_size_is_a_page_of_its_own(tmp_path: Path, make: Callable[..., NDArray[np.uint8]]) -> None:
    for size in ((200, 150), (100, 75), (133, 100)):
        assert frames(tmp_path / "a.tif", make(1), make(2, size)) == [0, 1]
    blank = np.full((150, 200, 3), 250, np.uint8)
    assert frames(tmp_path / "a.tif", make(1), blank) == [0, 1]
    assert frames(tmp_path / "a.tif", blank.repeat(2, axis=0).repeat(2, axis=1), make(1, (200, 150))) == [0, 1]


@pytest.mark.parametrize(
    ("make", "how"),
    [(scene, how) for how in Image.Resampling]
    # Writing of which every fourth pixel is taken is another writing.
    + [(text_page, how) for how in Image.Resampling if how != Image.Resampling.NEAREST],
)
def test_a_smaller_copy_is_not_however_it_was_made(
    tmp_path: Path, make: Callable[..., NDArray[np.uint8]], how: Image.Resampling
) -> None:
    whole = make(1)
    for size in ((200, 150), (100, 75), (133, 100)):
        copy = reduced(whole, size, how)
        assert frames(tmp_path / "after.tif", whole, copy) == [0]
        assert frames(tmp_path / "before.tif", copy, whole) == [1]
        assert frames(tmp_path / "between.tif", whole, copy, make(2)) == [0, 2]


def test_a_thumbnail_that_was_compressed_is_a_copy(tmp_path: Path) -> None:
    whole = Image.fromarray(scene(3))
    stream = io.BytesIO()
    whole.resize((120, 90)).save(stream, "JPEG", quality=40)
    thumbnail = Image.open(stream)
    for first, second, wanted in ((whole, thumbnail, None), (thumbnail, whole, [1])):
        first.save(tmp_path / "a.tif", save_all=True, append_images=[second], compression="jpeg")
        items = expanded(tmp_path / "a.tif")
        assert (items and [item.frame for item in items]) == wanted


def test_a_page_that_is_marked_as_reduced_is_none_whatever_it_shows(tmp_path: Path) -> None:
    assert frames(tmp_path / "a.tif", scene(1), scene(2, (200, 150)), marks=(0, 1)) == [0]
    assert frames(tmp_path / "a.tif", scene(2, (200, 150)), scene(1), marks=(1, 0)) == [1]


def test_a_pyramid_without_marks_is_one_picture_and_its_verso_another(tmp_path: Path) -> None:
    levels = [scene(1), *(reduced(scene(1), size, Image.Resampling.BOX) for size in ((200, 150), (100, 75), (50, 38)))]
    assert frames(tmp_path / "a.tif", *levels) == [0]
    assert frames(tmp_path / "a.tif", *levels, scene(2, (200, 150))) == [0, 4]


def test_a_pyramid_in_sub_headers_is_one_picture(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(scene(1), photometric="rgb", metadata=None, subifds=2)
        for size in ((200, 150), (100, 75)):
            level = reduced(scene(1), size, Image.Resampling.BOX)
            writer.write(level, photometric="rgb", metadata=None, subfiletype=1)
    assert expanded(tmp_path / "a.tif") is None


def test_pages_of_other_depths_are_compared_and_opened_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    whole, other = scene(1), scene(2, (200, 150))
    copy = reduced(whole, (200, 150), Image.Resampling.BOX)
    with tifffile.TiffWriter(path) as writer:
        for picture in (whole, copy, other):
            planes = np.moveaxis(picture.astype(np.uint16) * 257, -1, 0)
            writer.write(planes, photometric="rgb", planarconfig="separate", metadata=None)
    items = expanded(path) or []
    assert [item.frame for item in items] == [0, 2]
    image = open_page(items[1], path)  # type: ignore[arg-type]
    assert image is not None
    assert np.abs(np.asarray(image).astype(int) - other).max() <= 1


def test_a_page_that_cannot_be_decoded_is_a_page_and_a_failure_of_its_own(tmp_path: Path) -> None:
    bad = rgb_page(scene(1, (200, 150)))
    broken = ([*bad[0][:3], (259, 3, [7]), *bad[0][4:]], b"no jpeg")
    path = written(tmp_path / "a.tif", rgb_page(scene(1)), broken)
    assert [item.frame for item in expanded(path) or ()] == [0, 1]


def test_an_unsupported_page_is_named_from_one_and_not_called_damaged(tmp_path: Path) -> None:
    page = rgb_page(scene(1))
    odd = ([*page[0][:3], (259, 3, [34712]), *page[0][4:]], b"no jpeg 2000")
    path = written(tmp_path / "a.tif", rgb_page(scene(2)), odd)
    with pytest.raises(ImageError, match="page 2: not supported: 8-bit RGB TIFF with JPEG 2000 compression; "):
        open_page(replace(item_of(path), frame=1), path)


def test_the_pages_of_a_big_tiff_are_found(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    first, second = Image.new("RGB", (20, 30)), Image.new("RGB", (31, 30))
    first.save(path, save_all=True, append_images=[second], big_tiff=True)
    assert path.read_bytes()[2] == 43
    with path.open("rb") as file:
        assert list(read_pages(file)) == [Page(20, 30, False), Page(31, 30, False)]


def test_a_chain_of_pages_that_breaks_off_gives_those_before_and_a_reason(tmp_path: Path) -> None:
    data = bytearray(tiff_bytes([rgb_page(coloured(RED)), rgb_page(coloured(GREEN))]))
    count = struct.unpack_from("<H", data, 8)[0]
    second = struct.unpack_from("<I", data, 10 + 12 * count)[0]
    count = struct.unpack_from("<H", data, second)[0]
    for pointer, reason in ((len(data) + 100, "ends before"), (8, "was there before")):
        struct.pack_into("<I", data, second + 2 + 12 * count, pointer)
        path = tmp_path / "a.tif"
        path.write_bytes(bytes(data))
        *items, trouble = expanded(path) or ()
        assert [item.frame for item in items] == [0, 1]
        assert isinstance(trouble, Unlisted)
        assert trouble.frame == 2
        assert reason in trouble.reason


def test_a_damaged_page_is_its_own_failure(tmp_path: Path) -> None:
    bad = rgb_page(coloured(GREEN))
    path = written(
        tmp_path / "a.tif",
        rgb_page(coloured(RED)),
        ([*bad[0][:3], (259, 3, [7]), *bad[0][4:]], b"no jpeg"),
        rgb_page(coloured(BLUE)),
    )
    items = expanded(path) or ()
    assert len(items) == 3
    media = BuiltInMedia()
    with pytest.raises(ImageError, match="page 2 is damaged"):
        media.open_media(items[1])  # type: ignore[arg-type]
    image = media.open_media(items[2])  # type: ignore[arg-type]
    assert image is not None
    assert image.getpixel((0, 0)) == BLUE


def test_a_page_that_is_not_there_says_how_many_there_are(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", rgb_page(coloured(RED)), rgb_page(coloured(GREEN)))
    with pytest.raises(ImageError, match="no page 6: the file has 2 pages"):
        BuiltInMedia().open_media(replace(item_of(path), frame=5))


def test_a_page_over_the_budget_is_refused_from_its_header(tmp_path: Path) -> None:
    huge = rgb_page(coloured(RED))
    entries = [(tag, kind, [20_000] if tag in (256, 257) else values) for tag, kind, values in huge[0]]
    path = written(tmp_path / "a.tif", rgb_page(coloured(RED)), (entries, huge[1]))
    with pytest.raises(ImageError, match="20,000 × 20,000 pixels"):
        BuiltInMedia().open_media(replace(item_of(path), frame=1))


@pytest.mark.parametrize(
    "content", [b"", b"II", b"no tiff at all", b"II*\x00\xff\xff\xff\x7f", b"II*\x00\x08\x00\x00\x00"]
)
def test_a_tif_that_is_not_one_is_listed_and_fails_when_it_is_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    assert expanded(path) is None


def test_only_whole_files_are_expanded_and_other_suffixes_are_not_opened(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", rgb_page(coloured(RED)), rgb_page(coloured(GREEN)))
    item, media, options = item_of(path), BuiltInMedia(), ListingOptions()
    for one in (replace(item, frame=1), replace(item, regions=(Region(0, 0, 1, 1),)), replace(item, data=b"x")):
        assert media.expand_media(one, options) is None
    assert media.expand_media(item_of(path.rename(tmp_path / "a.jpg")), options) is None


def test_listing_reads_headers_and_no_pixels(tmp_path: Path) -> None:
    class Counting(io.BytesIO):
        read_so_far = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.read_so_far += len(data)
            return data

    data = tiff_bytes([rgb_page(np.zeros((500, 500, 3), np.uint8))] * 4)
    file = Counting(data)
    assert len(list(read_pages(file))) == 4
    assert file.read_so_far < 1_000 < len(data)


def test_a_page_keeps_the_metadata_of_its_camera_without_the_orientation(tmp_path: Path) -> None:
    entries, strip = rgb_page(coloured(GREEN), orientation=6)
    entries += [(306, 2, b"2021:05:31 08:25:38\x00")]
    path = written(tmp_path / "a.tif", rgb_page(coloured(RED)), (entries, strip))
    image = open_page(replace(item_of(path), frame=1), path)
    assert image is not None
    assert image.size == (48, 64)
    exif = image.getexif()
    assert exif[306] == "2021:05:31 08:25:38"
    assert 0x0112 not in exif


def test_a_file_that_is_gone_is_not_expanded(tmp_path: Path) -> None:
    assert pages_of(item_of(tmp_path / "gone.tif"), tmp_path / "gone.tif") is None


def test_pages_that_would_take_too_long_to_compare_are_listed_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [(65, 49), (33, 25), (16, 12)]
    path = written(tmp_path / "a.tif", *(rgb_page(coloured(RED, size)) for size in sizes))
    assert expanded(path) is None
    monkeypatch.setattr(copies, "MAX_COMPARED_PIXELS", 2_000)
    findings = Findings()
    found = pages_of(item_of(path), path, findings)
    assert [item.frame for item in found or () if isinstance(item, MediaItem)] == [0, 1]
    assert "without a comparison with their neighbours" in "".join(findings.lines())


def bare_pages(count: int, last: int = 0) -> bytes:
    """Return a TIFF of grey pages of 8 × 8 pixels, which share their samples; the last is followed by the header at an offset."""
    tags = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, 64)]
    size = 2 + len(tags) * 12 + 4
    pages = [b"II*\0" + struct.pack("<I", 8 + 64) + bytes(64)]
    for number in range(count):
        pages.append(struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags))
        pages.append(struct.pack("<I", last if number == count - 1 else 8 + 64 + (number + 1) * size))
    return b"".join(pages)


def test_the_walk_over_the_pages_of_a_file_is_linear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []
    offsets = tiff_header.offsets
    monkeypatch.setattr(tiff_header, "offsets", lambda file: (walks.append(1), offsets(file))[1])
    path = tmp_path / "a.tif"
    path.write_bytes(bare_pages(300))
    for number in range(1, 300):
        image = open_page(replace(item_of(path), frame=number), path)
        assert image is not None
        assert not is_file_read_by_us(path, number)
    assert len(walks) == 1
    path.write_bytes(bare_pages(2))  # another file in its place
    with pytest.raises(ImageError, match="there is no page 3: the file has 2 pages"):
        open_page(replace(item_of(path), frame=2), path)


@pytest.mark.parametrize(
    ("count", "last", "reason"),
    [
        (2_500, 0, "the file has 2,500 pages; the first 1,000 are read: split the file to have the others read"),
        (
            1_200,
            72,
            "the file has 1,200 pages; those behind them cannot be found: a page follows that was there before; the",
        ),
        (1_000, 0, ""),
    ],
)
def test_of_a_file_with_very_many_pages_the_first_are_listed_and_the_others_counted(
    tmp_path: Path, count: int, last: int, reason: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(bare_pages(count, last))
    *items, end = expanded(path) or ()
    if not reason:
        assert (len(items), end.frame, type(end)) == (999, 999, MediaItem)
        return
    assert [item.frame for item in items] == list(range(1_000))
    assert isinstance(end, Unlisted)
    assert end.frame == 1_000
    assert end.reason.startswith(reason)
