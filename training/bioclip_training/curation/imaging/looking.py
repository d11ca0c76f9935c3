"""One image read once: hashes of its bytes, its size, and the look of each of its regions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bioclip_core.errors import BioclipError, UsageError
from bioclip_core.images.crops import checked
from bioclip_core.images.decoding import sized_regions
from bioclip_core.images.memory import image_memory
from bioclip_core.images.unexpected import contained
from bioclip_training.catalog.fingerprints import LOOK_AT, Look, whole_look_of
from bioclip_training.catalog.rows import Box
from bioclip_training.published.parquet_images import StoredImage


@dataclass(frozen=True, slots=True)
class SeenRegion:
    """The look of a region of an image."""

    look: Look = field(default_factory=Look)
    inner: bytes = b""
    """Hashes of its inner parts; empty for a region of one colour."""
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class SeenImage:
    """What reading an image gives."""

    regions: tuple[SeenRegion, ...]
    sha256: str = ""
    md5: str = ""
    width: int | None = None
    """Width of the upright image in pixels."""
    height: int | None = None
    bytes: int | None = None
    stored_md5: str = ""
    """md5 of the bytes as the source holds them, if those are pixels."""

    @classmethod
    def unread(cls, reason: str, count: int) -> SeenImage:
        """Return the result for an image that cannot be read."""
        return cls((SeenRegion(unreadable=reason),) * count)


def seen(read: Callable[[], StoredImage], boxes: Sequence[Box | None], name: str = "") -> SeenImage:
    """Read and decode an image once. Every region is decoded, so that a damaged image is found now and not in training.

    Args:
        read: returns the image as its source holds it.
        boxes: normalised x, y, width, height of the upright image; None is the whole image.
        name: the image, for the log.

    Returns:
        The image; one that cannot be read or decoded has the reason in its regions.
    """
    try:
        with contained(name), image_memory():
            data, cell = read()
            hashes = hashlib.sha256(data).hexdigest(), _md5(data)
            stored = "" if cell is data else _md5(cell)
            del cell
            try:
                with contained(name):
                    regions, (width, height) = _regions(data, boxes)
                    return SeenImage(regions, *hashes, width, height, len(data), stored)
            except BioclipError as error:
                unread = (SeenRegion(unreadable=str(error)),) * len(boxes)
                return SeenImage(unread, *hashes, bytes=len(data), stored_md5=stored)
    except BioclipError as error:
        return SeenImage.unread(str(error), len(boxes))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _regions(data: bytes, boxes: Sequence[Box | None]) -> tuple[tuple[SeenRegion, ...], tuple[int, int]]:
    """Return the regions, and the size of the upright image."""
    faults: dict[int, str] = {}
    for number, box in enumerate(boxes):
        try:
            checked(box)
        except UsageError as error:
            faults[number] = str(error)
    usable = [box for number, box in enumerate(boxes) if number not in faults]
    decoded, size = sized_regions(data, usable or [None], LOOK_AT)  # an image without a usable box may be damaged, too
    crops = iter(decoded)
    found = []
    for number in range(len(boxes)):
        if number in faults:
            found.append(SeenRegion(unreadable=faults[number]))
            continue
        found.append(SeenRegion(*whole_look_of(next(crops))))
    return tuple(found), size
