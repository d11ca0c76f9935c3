"""Regions of a JPEG decoded without Pillow's copy of the rest: the same pixels, and the same reasons for files that cannot be read."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from bioclip_core.errors import ImageError
from bioclip_core.images import jpeg_windows, regions_alone
from bioclip_core.images.boxes import Box
from bioclip_core.images.decoding import decode_regions
from bioclip_core.preprocessing import Preprocessing

REDUCED = Preprocessing(size=32)
SAME = 1  # of 255: Pillow takes the sides of a window as 32-bit floats
BOXES: list[Box] = [(0.1, 0.2, 0.1, 0.15), (0.8, 0.85, 0.3, 0.3), (-0.1, 0.4, 0.3, 0.2)]


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Use windows for small pictures too, and return a list that counts them."""
    used: list[object] = []
    decode = jpeg_windows._decoder()
    assert decode is not None
    monkeypatch.setattr(jpeg_windows, "_LEAST_PIXELS", 1)
    monkeypatch.setattr(
        jpeg_windows, "_decoder", lambda: lambda *args, **more: (used.append(more), decode(*args, **more))[1]
    )
    return used


def photo(width: int = 403, height: int = 299) -> Image.Image:
    """Return noise of several sizes, as a photograph has it."""
    rng = np.random.default_rng(0)
    layers = [
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).resize((width, height)) for side in (5, 23, 90)
    ]
    return Image.blend(Image.blend(layers[0], layers[1], 0.4), layers[2], 0.3)


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    (image or photo()).save(stream, "JPEG", **{"quality": 90, **options})
    return stream.getvalue()


def without_windows(
    data: bytes, boxes: list[Box], monkeypatch: pytest.MonkeyPatch, contract: Preprocessing = REDUCED
) -> np.ndarray:
    with monkeypatch.context() as patch:
        patch.setattr(regions_alone, "jpeg_regions", lambda *_: None)
        return np.array(decode_regions(data, boxes, contract)).astype(int)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return jpeg(exif=exif)


def profiled() -> bytes:
    return jpeg(icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())


KINDS: dict[str, Callable[[], bytes]] = {
    "4:2:0": jpeg,
    "4:4:4": lambda: jpeg(subsampling=0),
    "4:2:2": lambda: jpeg(subsampling=1),
    "4:1:1": lambda: jpeg(subsampling="4:1:1"),
    "progressive": lambda: jpeg(progressive=True),
    "RGB without transform": lambda: jpeg(keep_rgb=True),
    "with a profile": profiled,
    "odd sides": lambda: jpeg(photo(401, 303)),
    **{f"orientation {number}": (lambda number=number: turned(number)) for number in range(2, 9)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [8, 32])
def test_windows_have_the_pixels_that_pillow_decodes(
    kind: str, size: int, every_size: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, contract = KINDS[kind](), replace(REDUCED, size=size)
    for box in BOXES:
        found = np.array(decode_regions(data, [box], contract)).astype(int)
        assert np.abs(found - without_windows(data, [box], monkeypatch, contract)).max() <= SAME
    assert len(every_size) == len(BOXES)


def test_several_regions_share_one_decoding(every_size: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg()
    found = np.array(decode_regions(data, BOXES, REDUCED)).astype(int)
    assert np.abs(found - without_windows(data, BOXES, monkeypatch)).max() <= SAME
    assert len(every_size) == 1


@pytest.mark.parametrize(
    "data",
    [jpeg(photo().convert("L")), jpeg(photo().convert("CMYK"))],
    ids=["grey", "CMYK"],
)
def test_other_colours_are_left_to_pillow(data: bytes, every_size: list[object]) -> None:
    decode_regions(data, BOXES[:1], REDUCED)
    assert not every_size


def test_the_whole_image_and_the_exact_way_are_left_to_pillow(every_size: list[object]) -> None:
    decode_regions(jpeg(), [None], REDUCED)
    decode_regions(jpeg(), BOXES[:1], replace(REDUCED, decode="full"))
    assert not every_size


def test_a_truncated_file_is_refused_with_the_same_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg()
    for part in (data[: len(data) // 2], data[:-200]):
        reasons = []
        for decode in (decode_regions, lambda *args: without_windows(args[0], args[1], monkeypatch)):
            with pytest.raises(ImageError) as caught:
                decode(part, BOXES[:1], REDUCED)
            reasons.append(str(caught.value))
        assert reasons[0] == reasons[1]
        assert "truncated" in reasons[0]


def test_a_file_that_pillow_reads_in_spite_of_a_fault_is_read(
    every_size: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes in front of a marker, which libjpeg-turbo warns of: simplejpeg refuses them."""
    data = jpeg()
    at = data.index(b"\xff\xda")
    broken = data[:at] + b"\0\0\0" + data[at:]
    found = np.array(decode_regions(broken, BOXES[:1], REDUCED)).astype(int)
    assert np.array_equal(found, without_windows(broken, BOXES[:1], monkeypatch))
    assert every_size


def test_an_image_over_the_budget_is_refused(every_size: list[object]) -> None:
    with pytest.raises(ImageError, match="over the budget"):
        decode_regions(jpeg(), BOXES[:1], REDUCED, max_pixels=100_000)
    assert not every_size


def test_another_decoder_in_pillow_or_no_simplejpeg_leaves_everything_to_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jpeg_windows, "_decoder", lambda: None)
    assert jpeg_windows.jpeg_regions(jpeg(), BOXES[:1], REDUCED, 1_000_000) is None


def test_the_next_image_does_not_change_regions_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decodings share memory."""
    first, second = jpeg(), jpeg(Image.new("RGB", (403, 299)))
    kept = jpeg_windows.jpeg_regions(first, BOXES[:1], REDUCED, 1_000_000)
    jpeg_windows.jpeg_regions(second, BOXES[:1], REDUCED, 1_000_000)
    assert kept is not None
    crop = kept[0].crops(BOXES[:1], REDUCED)[0].astype(int)
    assert np.abs(crop - without_windows(first, BOXES[:1], monkeypatch)[0]).max() <= SAME


def test_memory_is_used_again_and_the_threads_keep_a_limited_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_windows, "_kept", [])
    monkeypatch.setattr(jpeg_windows, "_MOST_KEPT_BYTES", 100)
    with jpeg_windows._memory(40) as one, jpeg_windows._memory(40) as two:
        assert one is not two
    with jpeg_windows._memory(30) as again:
        assert again is two
    with jpeg_windows._memory(70), jpeg_windows._memory(101):
        pass
    assert [kept.size for kept in jpeg_windows._kept] == [70]


def test_threads_decode_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [jpeg(), jpeg(photo(500, 400)), jpeg(Image.new("RGB", (403, 299), "red"))]
    expected = [without_windows(data, BOXES, monkeypatch) for data in files]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda data: np.array(decode_regions(data, BOXES, REDUCED)).astype(int), 8 * files))
    assert all(np.abs(one - expected[number % 3]).max() <= SAME for number, one in enumerate(found))
