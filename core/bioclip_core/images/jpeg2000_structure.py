"""The structure of a JPEG 2000 codestream: its tiles, code-blocks and packets, counted before anything is decoded."""

from __future__ import annotations

import struct
from contextlib import suppress
from mmap import mmap

from bioclip_core.images.budget import (
    MAX_JPEG2000_BLOCKS,
    MAX_JPEG2000_PACKETS,
    MAX_JPEG2000_TILES,
    over_budget,
)

_SIZ, _COD, _COC, _SOT, _SOD, _EOC = 0x51, 0x52, 0x53, 0x90, 0x93, 0xD9
_MOST_MARKERS = 200_000  # of all headers of tiles
_MOST_LEVELS = 32


def check_codestream(data: bytes | mmap, start: int) -> int:
    """Refuse a codestream of which a decoder keeps more records than a photograph needs; return the code-blocks.

    Args:
        data: the bytes of the file.
        start: offset of the codestream; damage in it is left to the decoder.

    Raises:
        ImageError: if it has too many tiles, code-blocks or packets.
    """
    blocks = 0
    with suppress(struct.error, IndexError):
        right, bottom, left, top, tile_width, tile_height, tile_x, tile_y, components = struct.unpack_from(
            ">IIIIIIIIH", data, start + 8
        )
        if not (tile_width and tile_height and right > left and bottom > top):
            return 0
        tiles = -(-(right - tile_x) // tile_width) * -(-(bottom - tile_y) // tile_height)
        if tiles > MAX_JPEG2000_TILES:
            raise over_budget(f"its header announces {tiles:,} tiles", f"{MAX_JPEG2000_TILES:,}")
        size = (right - left, bottom - top)
        for layers, style in _styles(data, start):
            of_style, packets = _records(size, tiles, components, layers, style)
            blocks = max(blocks, of_style)
            for number, limit, name in (
                (of_style, MAX_JPEG2000_BLOCKS, "code-blocks"),
                (packets, MAX_JPEG2000_PACKETS, "packets"),
            ):
                if number > limit:
                    raise over_budget(
                        f"its header announces {size[0]:,} × {size[1]:,} pixels in {number:,} {name}", f"{limit:,}"
                    )
    return blocks


def _styles(data: bytes | mmap, start: int) -> list[tuple[int, bytes]]:
    """Return the different styles of coding (levels, sizes of code-blocks and precincts), each with its number of layers."""
    found: dict[tuple[int, bytes], None] = {}
    at, tile_part, layers, count = start + 2, start, 1, 0
    wide = struct.unpack_from(">H", data, start + 40)[0] > 256
    next_part = len(data)
    with suppress(struct.error, IndexError):
        while data[at] == 0xFF and data[at + 1] != _EOC:
            count += 1
            if count > _MOST_MARKERS:
                raise over_budget(f"it has more than {_MOST_MARKERS:,} markers", f"{_MOST_MARKERS:,}")
            marker = data[at + 1]
            if marker == _SOD:
                at = next_part
                continue
            (length,) = struct.unpack_from(">H", data, at + 2)
            if marker == _SOT:
                tile_part = at
                (part,) = struct.unpack_from(">I", data, at + 6)
                next_part = tile_part + part if part >= 14 else len(data)
            elif marker == _COD:
                (layers,) = struct.unpack_from(">H", data, at + 6)
                found[layers, bytes(data[at + 9 : at + 2 + length])] = None
            elif marker == _COC:
                found[layers, bytes(data[at + (7 if wide else 6) : at + 2 + length])] = None
            at += 2 + max(length, 2)
    return list(found)


def _records(size: tuple[int, int], tiles: int, components: int, layers: int, style: bytes) -> tuple[int, int]:
    """Return the code-blocks and packets of an image in one style of coding."""
    levels = min(style[0], _MOST_LEVELS)
    block = ((style[1] & 15) + 2, (style[2] & 15) + 2)
    blocks = packets = 0
    for resolution in range(levels + 1):
        stated = style[5 + resolution] if len(style) > 5 + resolution else 0xFF
        precinct = (stated & 15, stated >> 4)
        width, height = (max(1, side >> (levels - resolution)) for side in size)
        of_precincts = max(tiles, (width >> precinct[0]) * (height >> precinct[1]))
        packets += of_precincts
        # Above the lowest resolution a precinct covers three bands of half the size.
        is_lowest = resolution == 0
        across, down = (min(b, p if is_lowest else max(p - 1, 0)) for b, p in zip(block, precinct, strict=True))
        bands, half = (1, 0) if is_lowest else (3, 1)
        blocks += bands * max(of_precincts, ((width >> half) >> across) * ((height >> half) >> down))
    return blocks * components, packets * components * layers
