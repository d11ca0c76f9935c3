"""Parts of TIFF pages as small TIFF files of their own: the tiles or strips under a region, still compressed."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from bioclip_core.images import tiff_header as header
from bioclip_core.images.budget import MAX_TIFF_PIECES, MAX_TIFF_VALUES
from bioclip_core.images.tiff_header import PageLayout
from bioclip_core.images.tiff_samples import grid_of

_KEPT = frozenset((
    header.WIDTH, header.LENGTH, header.BITS, header.COMPRESSION, header.PHOTOMETRIC, header.FILL_ORDER, header.SAMPLES,
    header.ROWS_PER_STRIP, header.MAX_SAMPLE, header.PLANAR, header.PREDICTOR, header.PALETTE, header.TILE_WIDTH, header.TILE_LENGTH,
    header.INK_SET, header.EXTRA_SAMPLES, header.SAMPLE_FORMAT, header.S_MAX_SAMPLE, header.SUBSAMPLING,
    292, 293, 347, 529, 531, 532,
))  # fmt: skip
"""Tags that the pixels need: not the orientation and the profile, which are those of the whole picture."""
_OLD_JPEG = 6
"""Compression whose tables lie anywhere in the file."""

Entry = tuple[int, int, bytes]
"""Type, count and bytes of a tag's values."""


def part_of(file: BinaryIO, page: PageLayout, sides: tuple[int, int, int, int]) -> tuple[bytes, tuple[int, int]] | None:
    """Return the tiles or strips under a part of a page as a TIFF of one page, and the column and row at which they begin.

    Args:
        file: the TIFF.
        page: the layout of the page.
        sides: left, upper, right, lower of the part in pixels of the page.

    Returns:
        None for a page whose tiles or strips are not all listed, not all in the file, or cannot be cut out.
    """
    if page.compression == _OLD_JPEG or not all(sides[n] < sides[n + 2] for n in (0, 1)):
        return None
    grid = grid_of(page)
    columns = range(sides[0] // grid.columns, min(grid.across, -(-sides[2] // grid.columns)))
    rows = range(sides[1] // grid.height, min(grid.down, -(-sides[3] // grid.height)))
    planes = page.samples if page.planar else 1
    count = grid.across * grid.down
    if planes * count > MAX_TIFF_PIECES or not columns or not rows:
        return None
    tags = (header.TILES, header.TILE_BYTES) if page.is_tiled else (header.STRIPS, header.STRIP_BYTES)
    offsets, sizes = (page.directory.array(file, tag, planes * count) for tag in tags)
    if len(offsets) < planes * count or len(sizes) < planes * count:
        return None
    if bool((offsets.astype("u8") + sizes.astype("u8") > file.seek(0, io.SEEK_END)).any()):
        return None  # a truncated file is refused as a whole, whatever its regions are
    wanted = [
        plane * count + row * grid.across + column for plane in range(planes) for row in rows for column in columns
    ]
    width = min(page.width, columns.stop * grid.columns) - columns.start * grid.columns
    height = min(page.height, rows.stop * grid.height) - rows.start * grid.height
    entries: dict[int, Entry] = {}
    for tag in _KEPT & page.directory.entries.keys():
        kind, number, _ = page.directory.entries[tag]
        data = page.directory.data(file, tag, number) if number <= MAX_TIFF_VALUES else None
        if data is None:
            return None
        entries[tag] = kind, number, data
    entries |= {tag: _numbers(page, [side]) for tag, side in ((header.WIDTH, width), (header.LENGTH, height))}
    pieces = [(int(offsets[number]), int(sizes[number])) for number in wanted]
    return _file_of(file, page, entries, tags, pieces), (columns.start * grid.columns, rows.start * grid.height)


def _numbers(page: PageLayout, values: Sequence[int]) -> Entry:
    kind, letter = (16, "u8") if page.directory.big else (4, "u4")
    return kind, len(values), np.array(values, page.directory.order + letter).tobytes()


def _file_of(
    file: BinaryIO,
    page: PageLayout,
    entries: dict[int, Entry],
    tags: tuple[int, int],
    pieces: list[tuple[int, int]],
) -> bytes:
    """Return a TIFF with these tags and pieces of the file; pieces that lie in one place are copied once."""
    order, big = page.directory.order, page.directory.big
    places: dict[tuple[int, int], int] = {}
    data: list[bytes] = []
    room, pointer, layout = (8, "Q", order + "HHQ") if big else (4, "I", order + "HHI")
    start = 16 if big else 8
    behind = start + (8 if big else 2) + (len(entries) + 2) * (struct.calcsize(layout) + room) + room
    lists = [len(_numbers(page, [0] * len(pieces))[2])] * len(tags)
    end = behind + sum(size for size in [*lists, *(len(raw) for _, _, raw in entries.values())] if size > room)
    for offset, size in pieces:
        if offset and size and (offset, size) not in places:
            file.seek(min(offset, 2**62))
            data.append(file.read(size))
            places[offset, size] = end
            end += len(data[-1])
    entries = {
        **entries,
        tags[0]: _numbers(page, [places.get(piece, 0) for piece in pieces]),
        tags[1]: _numbers(page, [size for _, size in pieces]),
    }
    head, body = b"", b""
    for tag, (kind, count, raw) in sorted(entries.items()):
        if len(raw) > room:
            raw, body = struct.pack(order + pointer, behind + len(body)), body + raw
        head += struct.pack(layout, tag, kind, count) + raw.ljust(room, b"\0")
    mark = b"II" if order == "<" else b"MM"
    first = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    number = struct.pack(order + ("Q" if big else "H"), len(entries))
    return b"".join([mark, first, number, head, bytes(room), body, *data])
