"""Small pictures for reports: padding cut away, encoded as WebP without metadata."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

QUALITY = 55


def without_padding(pixels: NDArray[np.uint8], width: float, height: float) -> Image.Image:
    """Return the middle of a decoded square that shows a region of this width and height, without its padding."""
    ratio = max(width, height) / len(pixels)
    across, down = max(1, round(width / ratio)), max(1, round(height / ratio))
    left, top = (len(pixels) - across) // 2, (len(pixels) - down) // 2
    return Image.fromarray(pixels).crop((left, top, left + across, top + down))


def encoded(picture: Image.Image) -> bytes:
    """Return the bytes of a small file: WebP, or JPEG where Pillow was built without it."""
    out = io.BytesIO()
    if mime_type() == "image/webp":
        picture.save(out, "WEBP", quality=QUALITY, method=4)
    else:
        picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def mime_type() -> str:
    """Return the media type of thumbnails."""
    return "image/webp" if features.check("webp") else "image/jpeg"
