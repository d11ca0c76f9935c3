"""One labelled region as the two members of a shard: its image, at its own size up to a limit, and its JSON."""

from __future__ import annotations

import io
import json
import struct
from typing import TYPE_CHECKING, Any

from PIL import Image

from bioclip_core.images.decoding import orientation_of
from bioclip_core.taxonomy import RANKS
from bioclip_training.batches.regions import EncodedRegion
from bioclip_training.catalog.rows import Catalog

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Signatures of formats that keep every pixel (a TIFF may be lossy inside, and costs some bytes then).
_LOSSLESS = (
    b"\x89PNG",
    b"BM",
    b"GIF8",
    b"II*\x00",
    b"MM\x00*",
    b"P1",
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
    b"8BPS",
    b"qoif",
)


def image_member(region: EncodedRegion, *, max_side: int, quality: int) -> tuple[str, bytes]:
    """The extension and the bytes of the image member: ``jpg``, or ``png`` where the source lost nothing and nothing is reduced.

    A whole, upright JPEG within the limit is stored as the bytes it is; anything else is decoded as the main job does
    (upright, RGB, its box cut out), reduced to ``max_side`` pixels on its longest side, and encoded.

    Raises:
        ImageError: if it cannot be decoded, also where its bytes would have been kept.
    """
    size = region.size()
    pixels = region.pixels(longest=max_side)
    fits = max(size) <= max_side
    if fits and region.box is None and region.frame == 0 and _is_plain_jpeg(region.data):
        return "jpg", region.data
    if fits and region.data.startswith(_LOSSLESS):
        return "png", _encoded(pixels, "PNG")
    return "jpg", _encoded(pixels, "JPEG", quality=quality, subsampling=0)


def json_member(catalog: Catalog, row: int) -> bytes:
    """The sample's ranks and sources as JSON; captions are made of it at load."""
    taxon = catalog.taxon(row)
    cells: dict[str, Any] = {rank.value: taxon.lineage[rank.depth] for rank in RANKS}
    cells |= {
        "common_name": taxon.common_name,
        "split": catalog.column("split")[row],
        "group": catalog.group(row),
    }
    for name in ("uri", "sha256", "licence", "source", "source_id", "taxon_id"):
        cells[name] = catalog.column(name)[row] or ""
    if catalog.frame(row):
        cells["frame"] = catalog.frame(row)
    if (box := catalog.box(row)) is not None:
        cells["box"] = list(box)
    return json.dumps(cells, ensure_ascii=False).encode()


def _encoded(pixels_HWC: NDArray[np.uint8], format_: str, **options: Any) -> bytes:
    grey = bool((pixels_HWC[..., 0] == pixels_HWC[..., 1]).all() and (pixels_HWC[..., 1] == pixels_HWC[..., 2]).all())
    image = Image.fromarray(pixels_HWC[..., 0] if grey else pixels_HWC)
    if grey:
        options.pop("subsampling", None)
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether any reader sees the upright picture in the right colours: 8 bits, grey or three channels, orientation 1."""
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at, exif = 2, b""
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            exif = data[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame's header (T.81, B.2.2)
            precision, components = data[at + 4], data[at + 9]
            return precision == 8 and components in (1, 3) and orientation_of(exif) == 1
        at += 2 + length
    return False
