"""Small files that announce a lot of work: written by hand, since no program writes them."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from bioclip_core.images.decoding import decode_regions
from bioclip_core.preprocessing import Preprocessing

CONTRACT = Preprocessing(size=8, resize_mode="squash", interpolation="bilinear")


def colours_of(data: bytes, frame: int = 0) -> list[int]:
    """Return the colour in the middle of a file."""
    (pixels,) = decode_regions(data, [None], CONTRACT, frame=frame)
    return [int(value) for value in pixels[4, 4]]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(width: int, height: int, scans: list[bytes], frame: int = 0xC2, before: bytes = b"") -> bytes:
    """Return a JPEG of three components without subsampling and with these scans, none of which has data.

    Args:
        scans: the content of each scan's header.
        frame: marker of the frame: 0xC0 for baseline, 0xC2 for progressive.
        before: bytes before the frame.
    """
    tables = segment(0xDB, bytes([0]) + bytes([1] * 64))
    for kind in (0x00, 0x10):
        tables += segment(0xC4, bytes([kind, 1, *[0] * 15, 0]))
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    start = segment(frame, struct.pack(">BHHB", 8, height, width, 3) + components)
    return b"\xff\xd8" + before + tables + start + b"".join(segment(0xDA, scan) for scan in scans) + b"\xff\xd9"


ALL_DC = bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0])
"""Header of a progressive scan of the first coefficient of all components."""


def one_ac(component: int = 1) -> bytes:
    """Return the header of a progressive scan of the other coefficients of a component."""
    return bytes([1, component, 0, 1, 63, 0])


def one_whole(component: int) -> bytes:
    """Return the header of a sequential scan of a single component."""
    return bytes([1, component, 0, 0, 63, 0])


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, bits: int = 8, colours: int = 0, before: bytes = b"", pixels: bytes = b"") -> bytes:
    """Return a PNG with these chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND")


def grey_png(before: bytes = b"") -> bytes:
    """Return a PNG of 8×8 pixels of grey 77 with these chunks before its pixels."""
    return png(8, 8, before=before, pixels=(b"\0" + bytes([77] * 8)) * 8)


def tiff(
    width: int,
    height: int,
    pieces: int,
    *,
    compression: int = 1,
    data: bytes = bytes(64),
    more: tuple[tuple[int, ...], ...] = (),
) -> bytes:
    """Return a grey TIFF whose strips all lie in one place.

    Args:
        width: in pixels.
        height: in pixels.
        pieces: number of strips.
        compression: its number.
        data: the bytes of a strip.
        more: further tags, each with number, type, count and value.
    """
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
    ]
    lists = 8 + 2 + 12 * (len(tags) + 3 + len(more)) + 4
    tags += [(273, 4, pieces, lists), (278, 4, 1, -(-height // pieces)), (279, 4, pieces, lists + 4 * pieces), *more]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    offsets, sizes = struct.pack("<I", lists + 8 * pieces) * pieces, struct.pack("<I", len(data)) * pieces
    return head + bytes(4) + offsets + sizes + data


def codestream(
    width: int,
    height: int,
    *,
    tile: int = 1 << 20,
    layers: int = 1,
    levels: int = 5,
    block: int = 6,
    precinct: int = 15,
) -> bytes:
    """Return the headers of a JPEG 2000 codestream of three components; sides of blocks and precincts are powers of two."""
    size = (
        struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, min(tile, width), min(tile, height), 0, 0, 3) + b"\7\1\1" * 3
    )
    sides = bytes([block - 2, block - 2])
    style = bytes([levels]) + sides + b"\0\1" + (bytes([precinct * 17] * (levels + 1)) if precinct < 15 else b"")
    coding = bytes([precinct < 15, 0]) + struct.pack(">H", layers) + b"\0" + style
    quantization = segment(0x5C, bytes([0x40, *[0x40] * (3 * levels + 1)]))
    return b"\xff\x4f" + segment(0x51, size) + segment(0x52, coding) + quantization
