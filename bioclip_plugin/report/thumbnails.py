"""Small pictures of an image for the report: the whole of it and close-ups of its boxes, upright, people blurred."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.images.crops import WHOLE, Box, upright
from bioclip_core.images.decoding import decode_regions, orientation_of, prepare, upright_size
from bioclip_core.preprocessing import preprocessing_of
from bioclip_plugin.items.media import MediaItem, path_of, uri_of
from bioclip_plugin.report.people import People
from bioclip_plugin.running.tasks import bytes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from bioclip_plugin.contracts.manager import BioclipPluginManager

QUALITY = 55
CLOSE_UP_ASPECT = 4 / 3  # of the gallery's cards
_MARGIN = 1.5  # a close-up shows so many times its box
_LEAST_SHARE = 0.08  # of the image's width or height, so that a tiny box is seen with its surroundings
_WORTH_IT = 0.6  # a close-up of more than this share of the image shows what the whole image shows
_BLOCKS = 5  # that are left of the longer side of a blurred box: a face is less than one
_BLOCKS_EVERYWHERE = 8
_BLUR_BEYOND = 0.05  # of the box's sides: a detector cuts off hats and hands


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One small picture."""

    data: bytes
    """WebP, or JPEG where Pillow was built without it."""
    width: int
    height: int
    shows: Box = WHOLE
    """Which part of the upright image."""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """The pictures of one image, or why there are none."""

    whole: Thumbnail | None
    close_ups: tuple[Thumbnail | None, ...] = ()
    """One a box; None where the whole image shows it as well."""
    reason: str = ""

    @property
    def bytes(self) -> int:
        """Of all pictures together."""
        return sum(len(one.data) for one in (self.whole, *self.close_ups) if one is not None)


class Illustrator:
    """Makes thumbnails; safe to use from several threads."""

    def __init__(self, size: int, plugins: BioclipPluginManager | None = None, base_folder: Path | None = None) -> None:
        """Make thumbnails whose longer side has ``size`` pixels.

        Args:
            plugins: whose ``open_media`` gives the pictures of what is no photo: raw files, frames of films.
            base_folder: where relative names begin; None: the working directory.
        """
        self._size = size
        self._plugins = plugins
        self._suffixes = plugins.media_suffixes() if plugins else frozenset()
        self._base = base_folder

    def draw(self, item: MediaItem, boxes: Sequence[Box | None], people: People) -> Thumbnails:
        """The thumbnails of an image; a reason instead where it cannot be had, whatever went wrong."""
        try:
            source = self._opened(item)
            return self._drawn(source, item.frame, boxes, people)
        except BioclipError as error:
            return Thumbnails(None, reason=str(error))
        except Exception as error:  # a plugin's opener may raise anything, and one image is no reason to have no report
            return Thumbnails(None, reason=f"it cannot be shown: {type(error).__name__}: {error}")

    def _opened(self, item: MediaItem) -> bytes | Image.Image:
        """The file's bytes, or the picture that a plugin made of it."""
        path = item.path or path_of(item.uri)
        if self._base is not None:
            path = self._base / path
        if self._plugins is not None and path.suffix.lower() in self._suffixes:
            if not path.exists():
                raise ImageError("the file does not exist (any more)", stage="read")
            picture: Image.Image | None = self._plugins.hook.open_media(item=replace(item, path=path))
            if picture is not None:
                return picture
        # Without a path the uri is looked at, which may name a member of a shard.
        return bytes_of(replace(item, uri=uri_of(path), path=path if item.path else None))

    def _drawn(
        self, source: bytes | Image.Image, frame: int, boxes: Sequence[Box | None], people: People
    ) -> Thumbnails:
        size = _size_of(source, frame)
        crops = [close_up_of(box, *size) if box is not None else None for box in boxes]
        wanted: list[Box] = [WHOLE, *(crop for crop in crops if crop is not None)]
        contract = preprocessing_of(self._size, options={"resize_mode": "longest", "interpolation": "bilinear"})
        pixels = (
            decode_regions(source, wanted, contract, frame=frame)
            if isinstance(source, bytes)
            else prepare(source, wanted, contract)
        )
        made = {crop: _thumbnail(one, crop, size, people) for crop, one in zip(wanted, pixels, strict=True)}
        return Thumbnails(made[WHOLE], tuple(made[crop] if crop else None for crop in crops))


def close_up_of(box: Box, width: int, height: int) -> Box | None:
    """The part of a width×height image around a box that its close-up shows; None where that is most of the image."""
    x, y, w, h = box
    across = max(w * width, h * height * CLOSE_UP_ASPECT) * _MARGIN
    across = max(across, _LEAST_SHARE * max(width, height * CLOSE_UP_ASPECT))
    cut_w, cut_h = min(1.0, across / width), min(1.0, across / CLOSE_UP_ASPECT / height)
    if cut_w * cut_h > _WORTH_IT:
        return None
    left = min(max(x + w / 2 - cut_w / 2, 0.0), 1.0 - cut_w)
    top = min(max(y + h / 2 - cut_h / 2, 0.0), 1.0 - cut_h)
    return left, top, cut_w, cut_h


def _size_of(source: bytes | Image.Image, frame: int) -> tuple[int, int]:
    if isinstance(source, bytes):
        return upright_size(source, frame=frame)
    block = source.info.get("exif")
    width, height = upright(*source.size, orientation_of(block) if isinstance(block, bytes) else 1)
    return int(width), int(height)


def _thumbnail(pixels: NDArray[np.uint8], crop: Box, size: tuple[int, int], people: People) -> Thumbnail:
    """One decoded square without its padding, blurred where people are, as a small file that carries no metadata."""
    from PIL import Image

    square = len(pixels)
    width, height = crop[2] * size[0], crop[3] * size[1]
    ratio = max(width, height) / square
    across, down = max(1, round(width / ratio)), max(1, round(height / ratio))
    left, top = (square - across) // 2, (square - down) // 2
    picture = Image.fromarray(pixels).crop((left, top, left + across, top + down))
    for box, blocks in _blurred(people, crop):
        _pixelate(picture, box, blocks)
    return Thumbnail(_encoded(picture), across, down, crop)


def _blurred(people: People, crop: Box) -> list[tuple[Box, int]]:
    """The parts of a crop that are blurred, as fractions of it."""
    if people.everywhere:
        return [(WHOLE, _BLOCKS_EVERYWHERE)]
    found = []
    for x, y, w, h in people.boxes:
        left, right = x - w * _BLUR_BEYOND, x + w * (1 + _BLUR_BEYOND)
        top, bottom = y - h * _BLUR_BEYOND, y + h * (1 + _BLUR_BEYOND)
        inside = (
            (left - crop[0]) / crop[2],
            (top - crop[1]) / crop[3],
            (right - left) / crop[2],
            (bottom - top) / crop[3],
        )
        found.append((inside, _BLOCKS))
    return found


def _pixelate(picture: Image.Image, box: Box, blocks: int) -> None:
    """Leave ``blocks`` colours of the longer side of a box; the grid is the whole box's, also where it is cut off."""
    from PIL import Image

    x, y, w, h = box
    across, down = w * picture.width, h * picture.height
    side = max(across, down, 1.0) / blocks
    left, top = max(0, int(x * picture.width)), max(0, int(y * picture.height))
    right, bottom = (
        min(picture.width, int((x + w) * picture.width) + 1),
        min(picture.height, int((y + h) * picture.height) + 1),
    )
    if left >= right or top >= bottom:
        return
    part = picture.crop((left, top, right, bottom))
    few = (max(1, round(part.width / side)), max(1, round(part.height / side)))
    picture.paste(part.resize(few, Image.Resampling.BOX).resize(part.size, Image.Resampling.BICUBIC), (left, top))


def _encoded(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    if mime_type() == "image/webp":
        picture.save(out, "WEBP", quality=QUALITY, method=4)
    else:
        picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()


def mime_type() -> str:
    """Of the pictures that are made here."""
    from PIL import features

    return "image/webp" if features.check("webp") else "image/jpeg"
