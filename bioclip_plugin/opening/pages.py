"""TIFF files of several pages: which pages are pictures of their own, and a page as an image."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.findings import Findings
from bioclip_core.images.budget import BYTES_PER_PIXEL, MAX_DECODED_PIXELS, MAX_TIFF_PAGES
from bioclip_core.images.crops import Deferred, turned_upright
from bioclip_core.images.memory import image_memory, take_memory
from bioclip_core.images.needs import decoding_bytes, pillow_bytes
from bioclip_core.images.pyramids import unmarked_copies
from bioclip_core.images.reasons import reasons
from bioclip_core.images.tiff import metadata_of, opened_page
from bioclip_core.images.tiff_header import LENGTH, MAGIC, WIDTH, DamagedChain, directories, layout_at, offsets
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.opening.copies import Looks
from bioclip_plugin.opening.refusals import check_size

SUFFIXES = frozenset((".tif", ".tiff"))

_REDUCED = 2 / 3
"""Longest side of a smaller copy, as a share of the original's; the levels of a pyramid have a half or less."""


@dataclass(frozen=True, slots=True)
class Page:
    """The header of one page, as far as a listing needs it."""

    width: int
    height: int
    reduced: bool
    """True for an overview or a thumbnail of another page, or a mask, by its tags."""
    offset: int = field(default=0, compare=False)
    """Offset of the header in the file."""


def is_tiff(path: Path) -> bool:
    """True if the name has a TIFF's suffix; the file is not opened."""
    return path.suffix.lower() in SUFFIXES


def pages_of(item: MediaItem, path: Path, findings: Findings | None = None) -> list[MediaItem | Unlisted] | None:
    """Return an item for each page that is a picture of its own; None for a file with one picture, which stays as it is.

    Masks, and pages that are marked as reduced, are not pictures of their own, nor are the levels of an SVS file, nor pages
    whose pixels show that they are a smaller copy of another page: a thumbnail, or a level of a pyramid. Reads two short pieces
    per page, and pixels only of a page that is smaller than its neighbour or the first page and has the same shape.
    """
    pages: list[Page] = []
    trouble = ""
    try:
        with path.open("rb") as file:
            try:
                pages.extend(islice(read_pages(file), MAX_TIFF_PAGES))  # keeps the pages before the damage
            except DamagedChain as error:
                trouble = str(error)
            own, not_compared = _pictures(file, pages)
            further = _further(file, len(pages)) if len(pages) == MAX_TIFF_PAGES else ""
    except OSError:
        return None  # reported when the file is read
    if not_compared and findings is not None:
        findings.add(
            "pages of TIFF files are listed without a comparison with their neighbours, which would decode too many pixels",
            f"{item.uri}: {not_compared}",
        )
    found: list[MediaItem | Unlisted] = [replace(item, frame=number) for number in own]
    if own and trouble and len(pages) > 1:
        found.append(
            Unlisted(item.uri, f"the pages after the first {len(pages)} cannot be found: {trouble}", len(pages))
        )
    if further:
        found.append(Unlisted(item.uri, further, len(pages)))
    return found if len(found) > 1 or own not in ([], [0]) else None


def _further(file: BinaryIO, listed: int) -> str:
    """Return the reason for which the pages behind those that are listed are skipped; nothing if there are none."""
    count, trouble = 0, ""
    try:
        for _ in offsets(file):
            count += 1
    except DamagedChain as error:
        trouble = f"; those behind them cannot be found: {error}"
    if count == listed and not trouble:
        return ""
    return (
        f"the file has {count:,} pages{trouble}; the first {listed:,} are read: split the file to have the others read"
    )


def read_pages(file: BinaryIO) -> Iterator[Page]:
    """Yield the pages of a TIFF or BigTIFF in the order of the file; nothing for another kind of file.

    Raises:
        DamagedChain: where a header lies outside the file or is repeated.
    """
    for directory in directories(file):
        yield Page(directory.number(WIDTH), directory.number(LENGTH), directory.is_reduced(), directory.offset)


def _pictures(file: BinaryIO, pages: list[Page]) -> tuple[list[int], int]:
    """Return the numbers of the pages that are pictures of their own, and how many could not be compared with others."""
    copies = unmarked_copies(file) if len(pages) > 1 else set()
    full = [number for number, page in enumerate(pages) if not page.reduced and page.offset not in copies]
    looks = Looks(lambda number: loaded(file, number), lambda number: pages[number].width * pages[number].height)
    own = []
    for place, number in enumerate(full):
        others = {full[0], *full[max(0, place - 1) : place + 2]} - {number}
        larger = [other for other in sorted(others) if _may_be_smaller_copy(pages[number], pages[other])]
        shorter_side = min(pages[number].width, pages[number].height)
        if not any(looks.are_alike(number, other, shorter_side) for other in larger):
            own.append(number)
    return own, looks.not_compared


def _may_be_smaller_copy(page: Page, other: Page) -> bool:
    """True if a page is clearly smaller than another and has its shape, however the sides were rounded."""
    if (
        page.width < 1
        or page.height < 1
        or page.width > _REDUCED * other.width
        or page.height > _REDUCED * other.height
    ):
        return False
    least = max(other.width / (page.width + 1), other.height / (page.height + 1))
    return least <= min(other.width / max(page.width - 1, 0.5), other.height / max(page.height - 1, 0.5))


# -- a page as an image ------------------------------------------------------------------------------------------------


def open_page(item: MediaItem, path: Path) -> Image.Image | None:
    """Open a later page of a TIFF, upright, reading only this page of the file; None for anything else.

    Pages would otherwise be read with their whole file each: a hundred pages, a hundred times the file.

    Raises:
        ImageError: if the page does not exist or cannot be decoded.
    """
    if item.frame == 0:
        return None
    try:
        stream: BinaryIO = io.BytesIO(item.data) if item.data is not None else path.open("rb")
    except OSError:
        return None  # reported when the file is read
    with stream:
        if stream.read(4) not in MAGIC:
            return None
        return loaded(stream, item.frame)


def loaded(stream: BinaryIO, number: int) -> Image.Image:
    """Return a page, numbered from 0, upright, with its profile and camera metadata.

    Raises:
        ImageError: if the page does not exist or cannot be decoded.
    """
    try:
        with reasons(b""), image_memory():
            layout = layout_at(stream, number)
            image = opened_page(stream, layout)
            check_size(image.width, image.height, announcer=f"page {number + 1}")
            if isinstance(image, Deferred):
                take_memory(image.needed_bytes)
                picture = turned_upright(image.load(BYTES_PER_PIXEL * MAX_DECODED_PIXELS), image.orientation)
                profile = image.profile
            else:
                take_memory(decoding_bytes(image) + pillow_bytes(image.mode, *image.size))
                image.load()  # turns it upright
                picture, profile = image.copy(), image.info.get("icc_profile")
            exif = metadata_of(stream, layout.directory)
    except ImageError as error:
        text = str(error)
        if "page" not in text:
            named = text.replace("the file is", f"page {number + 1} is", 1)
            text = named if named != text else f"page {number + 1}: {text}"
        raise ImageError(text, stage=error.stage) from error
    picture.info = {name: value for name, value in (("icc_profile", profile), ("exif", exif)) if value}
    return picture
