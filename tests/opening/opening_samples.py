"""Videos, TIFFs and a RAW file made by the tests, in which the colour of a frame or page tells its number."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEP = 24


def colour_of_frame(number: int) -> tuple[int, int, int]:
    """Return the colour of a frame: red encodes the last digit of its number, green the tens."""
    return 16 + STEP * (number % 10), 16 + STEP * (number // 10), 0


def frame_number(image: Image.Image) -> int:
    """Return the number of a frame by the colour of its middle. Compression moves the colour by less than half a step."""
    red, green, _ = np.asarray(image.convert("RGB"))[image.height // 2, image.width // 2].astype(int)
    return round((red - 16) / STEP) + 10 * round((green - 16) / STEP)


def picture(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the pixels of a frame: its number as a colour, and a blue bar along the upper edge that shows its orientation."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:] = colour_of_frame(number)
    pixels[: size[1] // 8] = (0, 0, 255)
    return pixels


def write_video(
    path: Path,
    count: int,
    *,
    rate: int = 10,
    codec: str = "libx264",
    milliseconds: Sequence[int] | None = None,
    size: tuple[int, int] = (96, 64),
    says: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    rotation: int | None = None,
) -> Path:
    """Write a video of ``count`` frames at a fixed rate, or each at its own time."""
    with av.open(str(path), "w", options=dict(options or {})) as container:
        container.metadata.update(says or {})
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt, stream.gop_size = "yuv420p", 5
        stream.bit_rate = 4_000_000
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file with a second of silence and without a picture."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut(path: Path, to: Path, share: float) -> Path:
    """Write the first part of a file."""
    data = path.read_bytes()
    to.write_bytes(data[: int(len(data) * share)])
    return to


# -- TIFF and RAW, written by hand where Pillow would not -----------------------------------------------------------------

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 10: "ii"}
Entry = tuple[int, int, Sequence[Any]]
"""Tag, type and values of a TIFF entry; a rational is a pair."""


def tiff_bytes(pages: Sequence[tuple[list[Entry], bytes]]) -> bytes:
    """Return a little-endian TIFF. Each page has its entries (without the offset of its strip) and the bytes of its one strip."""
    out = bytearray(b"II*\x00" + struct.pack("<I", 8))
    for number, (entries, strip) in enumerate(pages):
        rows = sorted([*entries, (273, 4, [0]), (279, 4, [len(strip)])])
        start = len(out)
        behind = start + 2 + 12 * len(rows) + 4
        head, body = struct.pack("<H", len(rows)), b""
        for tag, kind, values in rows:
            raw = b"".join(
                struct.pack("<" + _FORMATS[kind], *(value if isinstance(value, tuple) else (value,)))
                for value in values
            )
            if tag == 273:
                raw = b"STRP"
            if len(raw) > 4:
                head += struct.pack("<HHII", tag, kind, len(values), behind + len(body))
                body += raw + b"\x00" * (len(raw) % 2)
            else:
                head += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\x00")
        place = behind + len(body)
        after = place + len(strip) + len(strip) % 2
        following = after if number + 1 < len(pages) else 0
        block = head + struct.pack("<I", following) + body
        out += block.replace(b"STRP", struct.pack("<I", place)) + strip + b"\x00" * (len(strip) % 2)
    return bytes(out)


def rgb_page(
    pixels: NDArray[np.uint8], *, subfile: int | None = None, orientation: int = 1
) -> tuple[list[Entry], bytes]:
    """Return an uncompressed page of 8-bit RGB."""
    height, width, _ = pixels.shape
    entries: list[Entry] = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [8, 8, 8]), (259, 3, [1]), (262, 3, [2]), (274, 3, [orientation]),
        (277, 3, [3]), (278, 4, [height]), (284, 3, [1]),
    ]  # fmt: skip
    if subfile is not None:
        entries.append((254, 4, [subfile]))
    return entries, pixels.tobytes()


def coloured(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def write_dng(path: Path, pixels: NDArray[np.uint8], *, orientation: int = 1) -> Path:
    """Write a RAW photograph of these colours: 16 bits, one value per pixel behind a red-green-green-blue mosaic."""
    height, width, _ = pixels.shape
    mosaic = np.empty((height, width), "<u2")
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = pixels[row::2, column::2, channel].astype(np.uint16) * 257
    to_camera = (
        3.2406,
        -1.5372,
        -0.4986,
        -0.9689,
        1.8758,
        0.0415,
        0.0557,
        -0.2040,
        1.0570,
    )  # conversion to XYZ: the camera sees sRGB
    entries: list[Entry] = [
        (254, 4, [0]), (256, 4, [width]), (257, 4, [height]), (258, 3, [16]), (259, 3, [1]), (262, 3, [32803]),
        (271, 2, b"Nobody\x00"), (272, 2, b"Trail 1\x00"), (274, 3, [orientation]), (277, 3, [1]), (278, 4, [height]),
        (284, 3, [1]), (306, 2, b"2021:05:31 08:25:38\x00"), (33421, 3, [2, 2]), (33422, 1, [0, 1, 1, 2]),
        (50706, 1, [1, 4, 0, 0]), (50707, 1, [1, 1, 0, 0]), (50708, 2, b"Nobody Trail 1\x00"), (50714, 3, [0]),
        (50717, 4, [65535]), (50721, 10, [(round(value * 10_000), 10_000) for value in to_camera]),
        (50728, 5, [(1, 1)] * 3), (50778, 3, [21]),
    ]  # fmt: skip
    path.write_bytes(tiff_bytes([(entries, mosaic.tobytes())]))
    return path
