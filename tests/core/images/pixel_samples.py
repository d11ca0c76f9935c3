"""A picture with every grey in it, and the files of many kinds that show it: TIFF, JPEG 2000, and TIFF written by hand."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.images.decoding import decode_regions, upright_size
from bioclip_core.preprocessing import Preprocessing

WIDTH, HEIGHT = 24, 16


def truth() -> NDArray[np.uint8]:
    """Return the picture: two ramps and noise, with a white and a black pixel, which a wrong scale shows first."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, WIDTH)
    picture[..., 1] = np.linspace(255, 0, HEIGHT)[:, None]
    picture[..., 2] = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH))
    picture[0, 0], picture[0, 1] = 255, 0
    return picture


TRUTH = truth()
GREY = TRUTH[..., 2]


def deep(picture: NDArray[np.uint8], bits: int) -> NDArray[np.unsignedinteger]:
    """Return the picture with samples of this many bits, over their full range."""
    kind = next(kind for kind, most in ((np.uint8, 8), (np.uint16, 16), (np.uint32, 32)) if bits <= most)
    return np.round(picture / 255 * (2**bits - 1)).astype(kind)


def inverted(samples: NDArray[np.unsignedinteger], bits: int) -> NDArray[np.unsignedinteger]:
    return (2**bits - 1 - samples.astype(np.int64)).astype(samples.dtype)


def tiff(samples: NDArray[np.generic], photometric: str, **options: object) -> bytes:
    """Return a TIFF as tifffile writes it, H×W or H×W×samples; ``planarconfig="separate"`` writes planes."""
    if options.get("planarconfig") == "separate" and samples.ndim == 3:
        samples = np.ascontiguousarray(np.moveaxis(samples, -1, 0))
    if samples.ndim == 2:
        options.pop("planarconfig", None)
    stream = io.BytesIO()
    tifffile.imwrite(stream, samples, photometric=photometric, metadata=None, **options)
    return stream.getvalue()


def jpeg2000(samples: NDArray[np.generic], bits: int, **options: object) -> bytes:
    """Return a lossless JPEG 2000 codestream, or a file with ``codecformat="jp2"``."""
    options = {"codecformat": "j2k", "reversible": True, "level": 0, **options}
    return bytes(imagecodecs.jpeg2k_encode(samples, bitspersample=bits, **options))


def decoded(data: bytes, frame: int = 0) -> NDArray[np.int_]:
    """Return the pixels of a file at their own size, as every part of the product decodes them."""
    width, height = upright_size(data, frame=frame)
    side = max(width, height)
    contract = Preprocessing(size=side, resize_mode="longest", interpolation="bilinear", decode="full")
    (square,) = decode_regions(data, [None], contract, frame=frame)
    left, top = (side - width) // 2, (side - height) // 2
    return square[top : top + height, left : left + width].astype(int)


def error_of(data: bytes, picture: NDArray[np.uint8], frame: int = 0) -> int:
    """Return the largest difference between the pixels of a file and a picture, in grey levels."""
    wanted = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
    return int(np.abs(decoded(data, frame) - wanted.astype(int)).max())


# -- TIFF by hand, for what tifffile does not write ----------------------------------------------------------------------

Tags = dict[int, tuple[int, Sequence[int]]]
_LETTERS = {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}


def tags_of(bits: Sequence[int], photometric: int | None, *, width: int = WIDTH, height: int = HEIGHT) -> Tags:
    """Return the tags of an uncompressed page of one strip: type and values by number."""
    tags: Tags = {
        256: (4, [width]), 257: (4, [height]), 258: (3, list(bits)), 259: (3, [1]), 277: (3, [len(bits)]), 278: (4, [height]),
    }  # fmt: skip
    return tags if photometric is None else {**tags, 262: (3, [photometric])}


def handmade(tags: Tags, strips: bytes | Sequence[bytes], *, order: str = "<", big: bool = False) -> bytes:
    """Return a TIFF or BigTIFF of one page with these tags."""
    pieces = [strips] if isinstance(strips, bytes) else list(strips)
    room, pointer, entry = (8, "Q", "HHQ") if big else (4, "I", "HHI")
    sizes = {**tags, 273: (4, [0] * len(pieces)), 279: (4, [len(piece) for piece in pieces])}
    start = 16 if big else 8
    behind = start + (8 if big else 2) + len(sizes) * (struct.calcsize("<" + entry) + room) + room

    def packed(kind: int, values: Sequence[int]) -> bytes:
        return struct.pack(order + _LETTERS[kind] * len(values), *values)

    lists = sum(len(packed(*value)) for value in sizes.values() if len(packed(*value)) > room)
    places = np.cumsum([behind + lists, *(len(piece) for piece in pieces)])[:-1].tolist()
    head, body = b"", b""
    for tag, (kind, values) in sorted({**sizes, 273: (4, places)}.items()):
        raw = packed(kind, values)
        if len(raw) > room:
            raw, body = struct.pack(order + pointer, behind + len(body)), body + raw
        head += struct.pack(order + entry, tag, kind, len(values)) + raw.ljust(room, b"\0")
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HI", 42, 8)
    count = struct.pack(order + ("Q" if big else "H"), len(sizes))
    return mark + first + count + head + bytes(room) + body + b"".join(pieces)


# -- JPEG 2000 by hand ---------------------------------------------------------------------------------------------------


def codestream(
    planes: Sequence[NDArray[np.generic]],
    *,
    bits: int = 8,
    steps: Sequence[tuple[int, int]] | None = None,
    stated: Sequence[int] | None = None,
) -> bytes:
    """Return a codestream of these components, each with its own size and depth, by joining codestreams of one component each.

    Args:
        planes: samples of each component.
        bits: depth with which they are encoded.
        steps: columns and rows of the image per sample of each component.
        stated: depth byte of each component (bits - 1, plus 128 for signed) if it is another one.
    """
    steps = steps or [(1, 1)] * len(planes)
    height, width = planes[0].shape
    bodies, markers = [], b""
    for number, plane in enumerate(planes):
        data, at = jpeg2000(np.ascontiguousarray(plane), bits, resolutions=1, mct=False), 2
        while data[at : at + 2] != b"\xff\x90":
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            kind, body = data[at : at + 2], data[at + 4 : at + 2 + size]
            if number == 0 and kind == b"\xff\x51":
                body = (
                    body[:2]
                    + struct.pack(">8I", width, height, 0, 0, width, height, 0, 0)
                    + struct.pack(">H", len(planes))
                )
                body += b"".join(bytes([stated[n] if stated else bits - 1, *step]) for n, step in enumerate(steps))
            if number == 0 and kind == b"\xff\x52":
                body = body[:1] + b"\x04" + body[2:4] + b"\x00" + body[5:]  # components one after the other, not mixed
            if number == 0 and kind != b"\xff\x64":
                markers += kind + struct.pack(">H", len(body) + 2) + body
            at += 2 + size
        length = int.from_bytes(data[at + 6 : at + 10], "big")
        bodies.append(data[data.index(b"\xff\x93", at) + 2 : at + length])
    body = b"".join(bodies)
    tile = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14 + len(body), 0, 1) + b"\xff\x93"
    return b"\xff\x4f" + markers + tile + body + b"\xff\xd9"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def jp2(
    stream: bytes,
    components: int,
    depth: int = 7,
    *,
    space: int = 16,
    more: bytes = b"",
    size: tuple[int, int] | None = None,
) -> bytes:
    """Return a JPEG 2000 file around a codestream; ``depth`` is its byte in the header, 255 if the components differ."""
    width, height = size or (WIDTH, HEIGHT)
    header = box(b"ihdr", struct.pack(">IIHBBBB", height, width, components, depth, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, space)) + more
    return box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", header) + box(b"jp2c", stream)


def ycbcr(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).convert("YCbCr"))
