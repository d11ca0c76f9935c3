"""Thumbnails of an image for the report: the whole image and close-ups of its boxes, upright, people blurred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.files.moved import MovedNames
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import exists
from bioclip_core.images.boxes import Box
from bioclip_core.images.crops import WHOLE, upright
from bioclip_core.images.decoding import decode_regions, orientation_of, prepare, upright_size
from bioclip_core.images.memory import image_memory
from bioclip_core.images.thumbnails import encoded, without_padding
from bioclip_core.images.unexpected import unexpected
from bioclip_core.preprocessing import preprocessing_of
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.fetching.kept import KeptImages
from bioclip_plugin.items.media import MediaItem, path_of, uri_of
from bioclip_plugin.items.web import FETCHED_AS, address_of, is_web_address
from bioclip_plugin.report.people import People
from bioclip_plugin.running.reading import bytes_of

CLOSE_UP_ASPECT = 4 / 3  # aspect of the gallery's cards
_MARGIN = 1.5  # width of a close-up in widths of its box
_LEAST_SHARE = 0.08  # smallest share of the image's width or height, so that a tiny box is seen with its surroundings
_WORTH_IT = 0.6  # a close-up of more than this share of the image shows the same as the whole image
_BLOCKS = 5  # blocks along the longer side of a blurred box: a face is smaller than one
_BLOCKS_EVERYWHERE = 8
_BLUR_BEYOND = 0.05  # share of the box's sides that is blurred around it: a detector cuts off hats and hands


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One small picture."""

    data: bytes
    """WebP, or JPEG where Pillow was built without it."""
    width: int
    height: int
    shows: Box = WHOLE
    """The visible part of the upright image."""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """The pictures of one image, or the reason why there are none."""

    whole: Thumbnail | None
    close_ups: tuple[Thumbnail | None, ...] = ()
    """One per box; None if the whole image shows the box as well."""
    reason: str = ""

    @property
    def bytes(self) -> int:
        """Size of all pictures together."""
        return sum(len(one.data) for one in (self.whole, *self.close_ups) if one is not None)


class Illustrator:
    """Maker of thumbnails, safe to use from several threads."""

    def __init__(
        self,
        size: int,
        plugins: BioclipPluginManager | None = None,
        base_folders: Sequence[Path] = (Path(),),
        moved: MovedNames | None = None,
        kept: KeptImages | None = None,
    ) -> None:
        """Make thumbnails whose longer side has ``size`` pixels.

        Args:
            plugins: their ``open_media`` opens files that are not photos: raw files, frames of films.
            base_folders: folders where relative names may begin, in the order in which they are tried.
            moved: new beginnings of file names; None: all files are where they were.
            kept: the folder of images that were on the web.
        """
        self._size, self._plugins, self._bases = size, plugins, base_folders
        self._moved, self._kept = moved, kept
        self._suffixes = plugins.media_suffixes() if plugins else frozenset()

    def draw(self, item: MediaItem, boxes: Sequence[Box | None], people: People) -> Thumbnails:
        """Return the thumbnails of an image, or the reason for any error."""
        try:
            with image_memory():
                return self._drawn(self._opened(item), item.frame, boxes, people)
        except BioclipError as error:
            return Thumbnails(None, reason=str(error))
        except Exception as error:  # one image must not prevent the report
            return Thumbnails(None, reason=str(unexpected(error, item.uri)))

    def _opened(self, item: MediaItem) -> bytes | Image.Image:
        """Return the file's bytes, or the picture that a plugin made of it."""
        if new := self._moved and self._moved.new_name(item.uri):
            item = replace(item, uri=new, path=None)
        elif is_web_address(item.uri):
            item = replace(item, path=self._kept_path_of(item))
        path = self._path_of(item)
        if self._plugins is not None and path.suffix.lower() in self._suffixes:
            if not exists(path):
                raise ImageError(f"the file does not exist (any more){near_hint(path)}", stage="read")
            picture: Image.Image | None = self._plugins.hook.open_media(item=replace(item, path=path))
            if picture is not None:
                return picture
        # Without a path the uri is used, which may name a member of a shard.
        return bytes_of(replace(item, uri=uri_of(path), path=path if item.path else None))

    def _kept_path_of(self, item: MediaItem) -> Path:
        """Return the file of an image that was on the web.

        Raises:
            ImageError: if it is not in the folder.
        """
        for address in (item.metadata.get(FETCHED_AS), address_of(item.uri)):
            if (
                self._kept is not None
                and isinstance(address, str)
                and (path := self._kept.path_of(address)) is not None
            ):
                return path
        raise ImageError("the image is on the web, and not in the folder of fetched images (any more)", stage="read")

    def _path_of(self, item: MediaItem) -> Path:
        """Return the item's file in the first folder that has it, else where it was expected first."""
        places = [base / (item.path or path_of(item.uri)) for base in self._bases]
        return next((place for place in places if exists(place)), places[0])

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
    """Return the part of a width×height image that a box's close-up shows; None if that is most of the image."""
    x, y, w, h = box
    across = max(w * width, h * height * CLOSE_UP_ASPECT) * _MARGIN
    across = max(across, _LEAST_SHARE * max(width, height * CLOSE_UP_ASPECT))
    cut_w, cut_h = min(1.0, across / width), min(1.0, across / CLOSE_UP_ASPECT / height)
    if cut_w * cut_h > _WORTH_IT:
        return None
    return (
        min(max(x + w / 2 - cut_w / 2, 0.0), 1.0 - cut_w),
        min(max(y + h / 2 - cut_h / 2, 0.0), 1.0 - cut_h),
        cut_w,
        cut_h,
    )


def _size_of(source: bytes | Image.Image, frame: int) -> tuple[int, int]:
    if isinstance(source, bytes):
        return upright_size(source, frame=frame)
    block = source.info.get("exif")
    width, height = upright(*source.size, orientation_of(block) if isinstance(block, bytes) else 1)
    return int(width), int(height)


def _thumbnail(pixels: NDArray[np.uint8], crop: Box, size: tuple[int, int], people: People) -> Thumbnail:
    """Return a decoded square without its padding, with people blurred, as a small file without metadata."""
    picture = without_padding(pixels, crop[2] * size[0], crop[3] * size[1])
    for box, blocks in _blurred(people, crop):
        _pixelate(picture, box, blocks)
    return Thumbnail(encoded(picture), picture.width, picture.height, crop)


def _blurred(people: People, crop: Box) -> list[tuple[Box, int]]:
    """Return the parts of a crop to blur, as fractions of it, each with its number of blocks."""
    if people.everywhere:
        return [(WHOLE, _BLOCKS_EVERYWHERE)]
    left, top, width, height = crop
    around = 1 + 2 * _BLUR_BEYOND
    return [
        (
            (
                (x - w * _BLUR_BEYOND - left) / width,
                (y - h * _BLUR_BEYOND - top) / height,
                w * around / width,
                h * around / height,
            ),
            _BLOCKS,
        )
        for x, y, w, h in people.boxes
    ]


def _pixelate(picture: Image.Image, box: Box, blocks: int) -> None:
    """Reduce a box to ``blocks`` colours along its longer side; the grid is that of the whole box, even if it is cut off."""
    x, y, w, h = box
    side = max(w * picture.width, h * picture.height, 1.0) / blocks
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
