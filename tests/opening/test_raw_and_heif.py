"""RAW and HEIF: upright, with the camera's metadata, without changes to the host's Pillow, and a clear message without the extra."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import rawpy
from opening_samples import write_dng
from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_plugin.items.media import item_of
from bioclip_plugin.items.metadata import read_metadata
from bioclip_plugin.opening import BuiltInMedia
from bioclip_plugin.opening.raw_messages import silence

CORNERS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
"""Upper left, upper right, lower left and lower right colour of the upright picture."""


def four_colours(size: tuple[int, int] = (160, 120)) -> np.ndarray:
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    for n, colour in enumerate(CORNERS):
        rows = slice(0, height // 2) if n < 2 else slice(height // 2, None)
        pixels[rows, slice(0, width // 2) if n % 2 == 0 else slice(width // 2, None)] = colour
    return pixels


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """Return the colours of the four corners, with each channel rounded to 0 or 255."""
    width, height = image.size
    places = [
        (width // 6, height // 6),
        (width * 5 // 6, height // 6),
        (width // 6, height * 5 // 6),
        (width * 5 // 6, height * 5 // 6),
    ]
    return [tuple(255 if value > 127 else 0 for value in image.getpixel(place)) for place in places]  # type: ignore[union-attr,misc]


def opened(path: Path) -> Image.Image:
    image = BuiltInMedia().open_media(item_of(path))
    assert image is not None
    return image


# -- RAW ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orientation", "order"), [(1, (0, 1, 2, 3)), (3, (3, 2, 1, 0)), (6, (2, 0, 3, 1)), (8, (1, 3, 0, 2))]
)
def test_a_raw_photograph_is_developed_and_turned_upright_once(
    tmp_path: Path, orientation: int, order: tuple[int, ...]
) -> None:
    image = opened(write_dng(tmp_path / "a.dng", four_colours(), orientation=orientation))
    assert image.mode == "RGB"
    assert image.size == ((160, 120) if orientation < 5 else (120, 160))
    assert corners(image) == [CORNERS[n] for n in order]
    assert 0x0112 not in image.getexif()


def test_a_raw_photograph_keeps_the_metadata_of_its_camera(tmp_path: Path) -> None:
    image = opened(write_dng(tmp_path / "a.dng", four_colours()))
    found = read_metadata(image.info["exif"].removeprefix(b"Exif\x00\x00"))
    assert (found.camera_make, found.camera_model) == ("Nobody", "Trail 1")
    assert str(found.captured_at) == "2021-05-31 08:25:38"


@pytest.mark.parametrize("content", [b"", b"no raw at all", b"II*\x00\x08\x00\x00\x00\x00\x00"])
def test_a_raw_file_that_is_none_is_one_clear_failure(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nef"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"truncated, or not a RAW file|is empty"):
        opened(path)


def test_a_truncated_raw_file_is_a_failure_or_a_picture_and_never_more(tmp_path: Path) -> None:
    path = write_dng(tmp_path / "a.dng", four_colours())
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(ImageError, match="cannot be developed: it is truncated"):
        opened(path)


def test_damaged_raw_files_print_nothing_and_are_failures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_dng(tmp_path / "whole.dng", four_colours()).read_bytes()
    path = tmp_path / "cut.dng"
    for share in (0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ImageError, match="cannot be developed"):
            opened(path)
    assert capfd.readouterr() == ("", "")


def test_the_installed_rawpy_can_be_silenced(tmp_path: Path) -> None:
    """A version with objects of another layout is left alone: then its layout must be looked up."""
    with rawpy.imread(str(write_dng(tmp_path / "whole.dng", four_colours()))) as raw:
        assert silence(raw)


# -- HEIF --------------------------------------------------------------------------------------------------------------


def write_heif(path: Path, *, orientation: int = 1) -> Path:
    image = Image.fromarray(four_colours())
    exif = Image.Exif()
    exif[0x0110], exif[0x0132] = "Trail 1", "2021:05:31 08:25:38"
    if orientation != 1:
        exif[0x0112] = orientation
    pillow_heif.from_pillow(image).save(path, quality=95, exif=exif.tobytes())
    return path


def test_a_heif_photograph_is_opened_upright_with_its_metadata(tmp_path: Path) -> None:
    image = opened(write_heif(tmp_path / "a.heic"))
    assert image.size == (160, 120)
    assert corners(image) == list(CORNERS)
    found = read_metadata(image.info["exif"].removeprefix(b"Exif\x00\x00"))
    assert (found.camera_model, str(found.captured_at)) == ("Trail 1", "2021-05-31 08:25:38")


@pytest.mark.parametrize(
    ("orientation", "order"), [(3, (3, 2, 1, 0)), (6, (2, 0, 3, 1)), (8, (1, 3, 0, 2)), (2, (1, 0, 3, 2))]
)
def test_a_heif_photographs_orientation_is_applied_once(
    tmp_path: Path, orientation: int, order: tuple[int, ...]
) -> None:
    image = opened(write_heif(tmp_path / "a.heic", orientation=orientation))
    assert image.size == ((160, 120) if orientation < 5 else (120, 160))
    assert corners(image) == [CORNERS[n] for n in order]
    assert image.getexif().get(0x0112, 1) == 1


def test_heif_bytes_at_hand_are_opened_whatever_their_name(tmp_path: Path) -> None:
    data = write_heif(tmp_path / "a.heic").read_bytes()
    image = BuiltInMedia().open_media(replace(item_of("memory:1"), data=data))
    assert image is not None
    assert corners(image) == list(CORNERS)


def test_a_jpeg_that_is_called_heic_is_left_to_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    Image.new("RGB", (20, 20)).save(path, "JPEG")
    assert BuiltInMedia().open_media(item_of(path)) is None


def test_a_damaged_heif_file_is_one_clear_failure(tmp_path: Path) -> None:
    path = write_heif(tmp_path / "a.heic")
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ImageError, match="HEIF file is damaged"):
        opened(path)


def test_nothing_is_registered_with_the_hosts_pillow(tmp_path: Path) -> None:
    path = write_heif(tmp_path / "a.heic")
    code = (
        "import sys; from PIL import Image; Image.init(); before = sorted(Image.OPEN)\n"
        "from bioclip_plugin.items.media import item_of; from bioclip_plugin.opening import BuiltInMedia\n"
        "assert BuiltInMedia().open_media(item_of(sys.argv[1])).size == (160, 120)\n"
        "assert sorted(Image.OPEN) == before"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "module", "extra"), [("a.dng", "rawpy", "raw"), ("a.heic", "pillow_heif", "heif")])
def test_without_the_extra_the_failure_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    path = write_dng(tmp_path / name, four_colours()) if extra == "raw" else write_heif(tmp_path / name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=rf"pip install 'bioclip-plugin\[{extra}\]'") as error:
        opened(path)
    assert error.value.stage == "open"


def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        opened(tmp_path / "gone.nef")
    assert BuiltInMedia().open_media(item_of(tmp_path / "gone.heic")) is None


def test_folders_learn_the_suffixes_and_an_ordinary_photograph_is_not_touched(tmp_path: Path) -> None:
    media = BuiltInMedia()
    assert {".mp4", ".avi", ".nef", ".cr2", ".dng", ".heic", ".tif"} <= set(media.media_suffixes())
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in media.media_suffixes())
    assert media.open_media(item_of(tmp_path / "not_even_there.jpg")) is None
