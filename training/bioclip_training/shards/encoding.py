"""Members of a shard for one labelled region: its image, at its own size up to a limit, and its JSON."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.images.decoding import orientation_of
from bioclip_core.images.regions import EncodedRegion
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.rows import Catalog

# Signatures of formats that keep every pixel (a TIFF may be lossy inside; storing it as PNG then only costs some bytes).
_LOSSLESS = (
    b"\x89PNG", b"BM", b"GIF8", b"II*\x00", b"MM\x00*", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"8BPS", b"qoif",
)  # fmt: skip


def image_member(region: EncodedRegion, *, max_side: int, quality: int) -> tuple[str, bytes]:
    """Return extension and bytes of the image member: ``png`` for a lossless source that is not reduced, else ``jpg``.

    A whole, upright JPEG within the limit keeps its bytes; anything else is decoded as by the main job (upright, RGB, its box
    cut out), reduced to ``max_side`` pixels on its longest side, and encoded.

    Raises:
        ImageError: if it cannot be decoded, even if its bytes would have been kept.
    """
    pixels = region.pixels(longest=max_side)
    fits = max(region.size()) <= max_side
    if fits and region.box is None and region.frame == 0 and _is_plain_jpeg(region.data):
        return "jpg", region.data
    if fits and region.data.startswith(_LOSSLESS):
        return "png", _encoded(pixels, "PNG")
    return "jpg", _encoded(pixels, "JPEG", quality=quality, subsampling=0)


def json_member(catalog: Catalog, row: int) -> bytes:
    """Return the sample's ranks and sources as JSON; captions are made from it when it is loaded."""
    taxon = catalog.taxon(row)
    cells: dict[str, Any] = {
        **{rank.value: taxon.lineage[rank.depth] for rank in RANKS},
        "common_name": taxon.common_name,
        "split": catalog.column("split")[row],
        "group": catalog.group(row),
        **{
            name: catalog.column(name)[row] or ""
            for name in ("uri", "sha256", "licence", "source", "source_id", "taxon_id")
        },
    }
    if frame := catalog.frame(row):
        cells["frame"] = frame
    if (box := catalog.box(row)) is not None:
        cells["box"] = list(box)
    return json.dumps(cells, ensure_ascii=False).encode()


def _encoded(pixels_HWC: NDArray[np.uint8], format_: str, **options: Any) -> bytes:
    is_grey = bool((pixels_HWC == pixels_HWC[..., :1]).all())
    if is_grey:
        options.pop("subsampling", None)
    stream = io.BytesIO()
    Image.fromarray(pixels_HWC[..., 0] if is_grey else pixels_HWC).save(stream, format_, **options)
    return stream.getvalue()


def _is_plain_jpeg(data: bytes) -> bool:
    """Return True if any reader shows the picture upright in the right colours: 8 bits, grey or three channels, orientation 1."""
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
