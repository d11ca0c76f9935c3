"""Bad image files: an answer if the image can be read, otherwise a failure with a clear reason."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from bioclip_core.errors import ImageError
from bioclip_core.images import decoding, reasons
from bioclip_core.images.decoding import decode_regions, read_bytes
from bioclip_core.images.readers import content_key
from bioclip_core.images.unexpected import contained
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.process.threads import GivenUp, WorkersClosed

CONTRACT = Preprocessing(size=8, resize_mode="squash", interpolation="bilinear")
RED = (200, 30, 10)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def red(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, RED).convert(mode)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))


def colour_of(data: bytes, frame: int = 0) -> list[int]:
    """Return the colour of a one-coloured image file."""
    (pixels,) = decode_regions(data, [None], CONTRACT, frame=frame)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[0, 0]).all()
    return [int(value) for value in pixels[0, 0]]


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode_regions(data, [None], CONTRACT)
    assert caught.value.stage == "decode"
    return str(caught.value)


def read_reason_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_bytes(path)
    assert caught.value.stage == "read"
    return str(caught.value)


def png(width: int, height: int) -> bytes:
    """Return a PNG whose header announces more pixels than its data hold."""
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(100)),
        b"IEND",
    )
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_vanished_file_is_reported_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(red()))
    assert read_bytes(path) == path.read_bytes()
    path.unlink()
    assert read_reason_of(path) == "the file does not exist (any more)"


def test_a_file_without_bytes_is_reported_as_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert read_reason_of(tmp_path / "a.jpg") == "the file is empty (0 bytes)"


def test_a_folder_with_the_name_of_an_image_is_reported_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    assert read_reason_of(tmp_path / "a.jpg") == "it is a folder, not a file"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_with_the_name_of_an_image_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert read_reason_of(tmp_path / "a.jpg") == "it is a device or a pipe, not a file"


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_file_without_permission_is_reported_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    path.chmod(0)
    program = (
        "import os, sys\nfrom bioclip_core.errors import ImageError\nfrom bioclip_core.images.decoding import read_bytes\n"
        "folder = os.open(sys.argv[1], os.O_RDONLY)\nos.fchdir(folder)\n"
        "os.setuid(65534) if os.getuid() == 0 else None\n"  # root ignores permissions
        "try: read_bytes('a.jpg')\nexcept ImageError as error: print(error.stage, error)\n"
    )
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("read no permission to read the file", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf_8_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png"))
    path.write_bytes(encoded(red()))
    assert colour_of(read_bytes(path)) == list(RED)


def test_a_name_with_a_nul_is_a_reason_and_no_crash() -> None:
    assert "cannot be the name of a file" in read_reason_of(Path("a\0b.jpg"))


# -- files that are not images -----------------------------------------------------------------------------------------


def test_a_text_named_jpg_is_shown_by_its_beginning() -> None:
    assert reason_of(b"<!DOCTYPE html>\n<html>") == (
        'not an image that can be read (starts with the text "<!DOCTYPE html>")'
    )


def test_bytes_of_no_known_kind_are_shown() -> None:
    assert reason_of(bytes(range(128, 160))) == (
        "not an image that can be read (starts with the bytes 80 81 82 83 84 85 86 87)"
    )


def test_postscript_starts_no_program() -> None:
    assert "not an image that can be read" in reason_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def jpeg_of(marker: int, bits: int) -> bytes:
    """Return a JPEG whose frame has another process or depth."""
    data = bytearray(encoded(noise(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = marker, bits
    return bytes(data)


def psd(bits: int, mode: int, version: int = 1) -> bytes:
    return b"8BPS" + struct.pack(">H6xHIIHH", version, 3, 16, 24, bits, mode) + bytes(14 + 3 * 16 * 24 * bits // 8)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jpeg_of(0xC1, 12), "12-bit JPEG"),
        (jpeg_of(0xC3, 16), "16-bit lossless JPEG"),
        (jpeg_of(0xF7, 8), "JPEG-LS"),
        (psd(16, 3), "16-bit RGB PSD"),
        (psd(32, 1), "32-bit grey PSD"),
        (psd(8, 3, version=2), "PSB (large Photoshop)"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (bytes(128) + b"DICM" + bytes(50), "DICOM"),
        (b"PF\n2 2\n-1.0\n" + bytes(48), "colour PFM"),
        (b"BM" + struct.pack("<IHHIIiiHHI", 400, 0, 0, 54, 40, 24, 16, 1, 24, 4) + bytes(400), "BMP with JPEG pixels"),
    ],
)
def test_a_kind_that_no_reader_opens_is_named_and_not_called_damaged(data: bytes, what: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_regions(data, [None], CONTRACT)
    assert str(caught.value) == f"not supported: {what}"


# -- bombs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [b"", b"\xff", b"\xe0", b"\xe0\x00", b"\xe0\x00\x02\xff", b"\xc9\x00\x10"])
def test_a_jpeg_that_ends_within_a_marker_is_reported(ends: bytes) -> None:
    assert "the file is" in reason_of(b"\xff\xd8\xff" + ends)


def test_a_fault_in_naming_a_kind_does_not_replace_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_data: bytes) -> str:
        raise IndexError("index out of range")

    monkeypatch.setattr(reasons, "unsupported_kind", fails)
    assert reason_of(bytes([7]) * 20) == "not an image that can be read (starts with the bytes 07 07 07 07 07 07 07 07)"


def test_a_file_for_which_there_is_no_memory_is_a_failure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(red()))

    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decoding.Decoded, "crops", fails)
    assert reason_of(path.read_bytes()) == "there is not enough memory to decode it"
    monkeypatch.setattr(Path, "open", fails)
    assert read_reason_of(path) == "there is not enough memory to read it"


def test_a_fault_of_ours_is_a_failure_of_the_image_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "bioclip_plugin")
    reason = r"^the file cannot be read: TypeError \(bioclip_core\.images\.readers:\d+\); please report it$"
    with pytest.raises(ImageError, match=reason), contained("a.jpg"):
        content_key(None, True)  # type: ignore[arg-type]
    assert "Traceback" in caplog.text
    for signal in (KeyboardInterrupt, WorkersClosed, GivenUp):
        with pytest.raises(signal), contained():
            raise signal


def test_a_png_that_announces_three_hundred_megapixels_is_refused_by_its_header() -> None:
    assert reason_of(png(20_000, 15_000)) == (
        "its header announces 20,000 × 15,000 pixels, which is over the budget of 256 megapixels for this kind of file"
    )


def test_a_jpeg_that_announces_more_than_a_thousand_megapixels_is_refused_by_its_header() -> None:
    data = bytearray(encoded(red(), "JPEG"))
    start_of_frame = data.index(b"\xff\xc0")
    data[start_of_frame + 5 : start_of_frame + 9] = struct.pack(">HH", 40_000, 40_000)
    assert "40,000 × 40,000" in reason_of(bytes(data))


def test_a_jpeg_of_three_hundred_megapixels_is_opened_because_a_fraction_of_it_is_decoded() -> None:
    data = bytearray(encoded(red(), "JPEG"))
    start_of_frame = data.index(b"\xff\xc0")
    data[start_of_frame + 5 : start_of_frame + 9] = struct.pack(">HH", 15_000, 20_000)
    # The decoder fills the missing part, so this still is an image.
    (pixels,) = decode_regions(bytes(data), [None], CONTRACT)
    assert pixels.shape == (8, 8, 3)


def test_the_budget_can_be_lowered() -> None:
    data = encoded(red(size=(400, 300)))
    with pytest.raises(ImageError, match="400 × 300 pixels"):
        decode_regions(data, [None], CONTRACT, max_pixels=100_000)


# -- damaged files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP"])
def test_half_a_file_is_reported_as_truncated(kind: str) -> None:
    data = encoded(noise(), kind)
    assert reason_of(data[: len(data) // 2]).startswith("the file is truncated: its data end before the image does")


@pytest.mark.parametrize("kind", ["WEBP", "JPEG2000"])
def test_half_a_file_whose_reader_cannot_tell_is_reported_as_damaged(kind: str) -> None:
    data = encoded(noise(), kind)
    assert reason_of(data[: len(data) // 2]).startswith("the file is damaged: ")


def test_a_png_with_a_broken_header_is_reported_as_damaged() -> None:
    data = bytearray(encoded(red()))
    data[18] ^= 0xFF
    assert reason_of(bytes(data)).startswith("the file is damaged: ")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG2000"])
def test_a_file_damaged_at_any_place_gives_an_image_or_a_reason(kind: str) -> None:
    data = encoded(red(size=(64, 48)), kind)
    random = np.random.default_rng(1)
    outcomes: set[object] = set()
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 6):
            damaged[place] = random.integers(0, 256)
        try:
            (pixels,) = decode_regions(bytes(damaged), [None], CONTRACT, max_pixels=1_000_000)
            outcomes.add(pixels.shape)
        except ImageError:
            outcomes.add(ImageError)
    assert ImageError in outcomes
    assert outcomes <= {ImageError, (8, 8, 3)}


@pytest.mark.parametrize(
    "block", [b"\xff" * 200, b"II*\x00\x08\x00\x00\x00\xff\xff" + b"\x12\x01" * 30, b"MM\x00*\xff\xff\xff\xff", b""]
)
def test_an_exif_block_of_rubbish_does_not_lose_the_image(block: bytes, recwarn: pytest.WarningsRecorder) -> None:
    red_jpeg = colour_of(encoded(red(), "JPEG"))
    assert colour_of(encoded(red(), "JPEG", exif=b"Exif\x00\x00" + block)) == red_jpeg
    assert not recwarn.list


# -- unusual images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK"])
def test_colours_survive_every_way_of_writing_them(mode: str) -> None:
    assert colour_of(encoded(red(mode), "TIFF")) == list(RED)


def test_a_cmyk_jpeg_is_not_inverted() -> None:
    assert np.abs(np.subtract(colour_of(encoded(red("CMYK"), "JPEG", quality=100)), RED)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_is_the_same_grey_in_all_three_channels(mode: str) -> None:
    assert colour_of(encoded(red(mode))) == [79, 79, 79]  # 0.299 · 200 + 0.587 · 30 + 0.114 · 10 = 78.6


def test_black_and_white_stay_black_and_white() -> None:
    assert colour_of(encoded(Image.new("1", (40, 30), 1))) == [255, 255, 255]


@pytest.mark.parametrize("transparency", [0, bytes(256)])
def test_a_palette_with_transparency_keeps_its_colours_without_a_warning(
    transparency: int | bytes, recwarn: pytest.WarningsRecorder
) -> None:
    image = Image.new("P", (40, 30), 0)
    image.putpalette([*RED, 0, 0, 255])
    assert colour_of(encoded(image, transparency=transparency)) == list(RED)
    assert not recwarn.list


def test_alpha_is_dropped_and_not_mixed_with_a_background() -> None:
    assert colour_of(encoded(Image.new("RGBA", (40, 30), (*RED, 0)))) == list(RED)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind: str) -> None:
    assert colour_of(encoded(Image.fromarray(np.full((30, 40), 100 * 257, np.uint16)), kind)) == [100, 100, 100]


def test_sixteen_bits_in_the_other_byte_order_are_the_same_grey() -> None:
    assert colour_of(encoded(Image.new("I;16B", (40, 30), 100 * 257), "TIFF")) == [100, 100, 100]


@pytest.mark.parametrize(("value", "grey"), [(0.5, 128), (200.0, 200), (100 * 257.0, 100)])
def test_floats_are_taken_on_the_scale_in_which_they_lie(value: float, grey: int) -> None:
    assert colour_of(encoded(Image.fromarray(np.full((30, 40), value, np.float32)), "TIFF")) == [grey] * 3


def test_floats_on_no_known_scale_are_stretched_from_smallest_to_largest_and_nan_is_black() -> None:
    values = np.zeros((8, 8), np.float32)
    values[0], values[1], values[2, :] = -50.0, 1000.0, np.nan
    (pixels,) = decode_regions(encoded(Image.fromarray(values), "TIFF"), [None], CONTRACT)
    # 8×8 to 8×8 does not resize: (0 + 50) / 1050 of 255 is 12.1.
    assert pixels[:4, 0, 0].tolist() == [0, 255, 0, 12]


def test_an_image_of_nothing_but_nan_is_black() -> None:
    assert colour_of(encoded(Image.fromarray(np.full((30, 40), np.nan, np.float32)), "TIFF")) == [0, 0, 0]


def test_lab_becomes_rgb() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(red(), srgb, lab, outputMode="LAB")
    assert image is not None
    assert np.abs(np.subtract(colour_of(encoded(image, "TIFF")), RED)).max() <= 2  # 8 bits of L, a, b


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "MPO"])
def test_an_image_of_several_frames_gives_the_first_and_any_that_is_asked_for(kind: str) -> None:
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    for frame, expected in enumerate(([255, 0, 0], [0, 255, 0], [0, 0, 255])):
        assert np.abs(np.subtract(colour_of(data, frame), expected)).max() <= 1  # one level of JPEG error
    missing = (
        "there is no page 4: the file has 3 pages" if kind == "TIFF" else "there is no frame 3: the file has 3, counted"
    )
    with pytest.raises(ImageError, match=missing):
        decode_regions(data, [None], CONTRACT, frame=3)


@pytest.mark.shared_data
def test_the_truncated_elephants_are_a_failure_as_they_are_for_pillow() -> None:
    path = Path(os.environ["BIOCLIP_DATA"]) / "data" / "camera_trap_samples" / "african_elephants_truncated_file.jpg"
    assert reason_of(read_bytes(path)).startswith("the file is truncated: its data end before the image does")
    with Image.open(path) as image, pytest.raises(OSError, match="truncated"):
        image.load()
