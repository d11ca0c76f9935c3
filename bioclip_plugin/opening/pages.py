"""TIFF files of several pages: which pages are pictures of their own, and a page as an image; listing reads headers only."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image, TiffImagePlugin

from bioclip_core.errors import ImageError
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.opening.refusals import check_size, reason_of

SUFFIXES = frozenset((".tif", ".tiff"))

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MOST_PAGES = 100_000  # a longer chain of pages is damaged

# TIFF 6.0, section 8: bits of NewSubfileType, values of the older SubfileType.
_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH = 254, 255, 256, 257
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of the types that these tags have


@dataclass(frozen=True, slots=True)
class Page:
    """The header of one page."""

    width: int
    height: int
    reduced: bool
    """True for an overview or a thumbnail of another page, or a mask."""
    offset: int = field(default=0, compare=False)
    """Offset of the header in the file."""


class DamagedChain(Exception):
    """The chain of page headers breaks off."""


def is_tiff(path: Path) -> bool:
    """True if the name has a TIFF's suffix; the file is not opened."""
    return path.suffix.lower() in SUFFIXES


def pages_of(item: MediaItem, path: Path) -> list[MediaItem | Unlisted] | None:
    """Return an item for each page that is a picture of its own; None for a file with one picture, which stays as it is.

    Thumbnails, the smaller levels of a pyramid and masks are not pictures of their own, whether they are marked as such or
    are a power of two smaller than the first page. Reads two short pieces per page.
    """
    pages: list[Page] = []
    trouble = ""
    try:
        with path.open("rb") as file:
            pages.extend(read_pages(file))  # keeps the pages before the damage
    except DamagedChain as error:
        trouble = str(error)
    except OSError:
        return None  # reported when the file is read
    full = [number for number, page in enumerate(pages) if not page.reduced]
    own = [number for number in full if number == full[0] or not _is_smaller_copy(pages[number], pages[full[0]])]
    found: list[MediaItem | Unlisted] = [replace(item, frame=number) for number in own]
    if own and trouble and len(pages) > 1:
        found.append(
            Unlisted(item.uri, f"the pages after the first {len(pages)} cannot be found: {trouble}", len(pages))
        )
    return found if len(found) > 1 or own not in ([], [0]) else None


def _is_smaller_copy(page: Page, first: Page) -> bool:
    """True if a page has the size of a pyramid's level: the first page's halved again and again, however it was rounded."""
    return any(
        abs(page.width - first.width / scale) < 1 and abs(page.height - first.height / scale) < 1
        for scale in (1 << level for level in range(1, 16))
    )


# -- headers -----------------------------------------------------------------------------------------------------------


def _layout_of(start: bytes) -> tuple[Literal["<", ">"], bool]:
    """Return the byte order and whether the offsets are those of a BigTIFF."""
    return "<" if start[:2] == b"II" else ">", start[2:4] in (b"+\x00", b"\x00+")


def read_pages(file: BinaryIO) -> Iterator[Page]:
    """Yield the pages of a TIFF or BigTIFF in the order of the file; nothing for another kind of file.

    Raises:
        DamagedChain: where a header lies outside the file or is repeated.
    """
    start = file.read(16)
    if start[:4] not in _MAGIC:
        return
    order, big = _layout_of(start)
    (at,) = _unpacked(order + ("Q" if big else "I"), start[8:16] if big else start[4:8])
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= _MOST_PAGES:
            raise DamagedChain("a page follows that was there before" if at in seen else "there is no end to them")
        seen.add(at)
        page, at = _page(file, at, order, big)
        yield page


def _page(file: BinaryIO, at: int, order: str, big: bool) -> tuple[Page, int]:
    """Return the page whose header lies at an offset, and the offset of the next one."""
    file.seek(at)
    counter, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    (count,) = _unpacked(order + counter, file.read(struct.calcsize(order + counter)))
    if not 1 <= count <= 65_535:
        raise DamagedChain(f"a header at byte {at:,} announces {count:,} entries")
    size = count * struct.calcsize(order + entry)
    block = file.read(size + struct.calcsize(order + offset))
    (following,) = _unpacked(order + offset, block[size:])
    values = {
        tag: int.from_bytes(raw[: _SIZES[kind]], "little" if order == "<" else "big")
        for tag, kind, number, raw in struct.iter_unpack(order + entry, block[:size])
        if tag in (_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH) and number == 1 and _SIZES.get(kind, 9) <= len(raw)
    }
    marked = values.get(_SUBFILE, 0) & (_REDUCED | _MASK) or values.get(_OLD_SUBFILE) == _OLD_REDUCED
    return Page(values.get(_WIDTH, 0), values.get(_LENGTH, 0), bool(marked), at), following


def _unpacked(layout: str, data: bytes) -> tuple[int, ...]:
    try:
        return struct.unpack(layout, data)
    except struct.error:
        raise DamagedChain("the file ends before its header does") from None


# -- a page as an image ------------------------------------------------------------------------------------------------


class _Beginning:
    """A TIFF that begins with another of its pages: Pillow reads every header on its way to a page, a thousand for the last."""

    def __init__(self, stream: BinaryIO, offset: int) -> None:
        self._stream = stream
        stream.seek(0)
        start = stream.read(16)
        order, big = _layout_of(start)
        self._header = start[: 8 if big else 4] + struct.pack(order + ("Q" if big else "I"), offset)
        self.seek, self.tell, self.fileno, self.close = stream.seek, stream.tell, stream.fileno, stream.close
        stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        at, length = self._stream.tell(), len(self._header)
        data = self._stream.read(size)
        return self._header[at : at + len(data)] + data[max(0, length - at) :] if at < length else data


class _Tiff(TiffImagePlugin.TiffImageFile):
    """A TIFF that is loaded without Pillow's own limit, which belongs to the host; ours is checked before."""

    def load_prepare(self) -> None:
        size = getattr(self, "_tile_size", None)
        if size is not None and getattr(self, "_im", None) is None:
            self.im = Image.core.new(self.mode, size)  # type: ignore[attr-defined]
        super().load_prepare()


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
        if stream.read(4) not in _MAGIC:
            return None
        return _loaded(stream, item.frame)


def _loaded(stream: BinaryIO, number: int) -> Image.Image:
    stream.seek(0)
    found: list[Page] = []
    with suppress(DamagedChain):  # the pages before the damage are readable
        found.extend(islice(read_pages(stream), number + 1))
    if number >= len(found):
        raise ImageError(f"there is no page {number}: the file has {len(found)}, counted from 0")
    try:
        image = _Tiff(_Beginning(stream, found[number].offset))  # type: ignore[arg-type] # reads, seeks and tells like a file
        check_size(*image.size, announcer=f"page {number}")
        image.load()  # turns it upright
        picture = image.copy()
    except ImageError:
        raise
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise ImageError(f"page {number} is damaged: {reason_of(error)}") from error
    picture.info = {name: value for name, value in picture.info.items() if name == "icc_profile" and value}
    if exif := _exif_of(image):
        picture.info["exif"] = exif
    return picture


def _exif_of(image: Image.Image) -> bytes:
    """Return the page's own camera metadata without the orientation, which is applied."""
    try:
        exif = image.getexif()
        exif.pop(0x0112, None)
        return exif.tobytes() if exif.get_ifd(0x8769) or 0x0132 in exif else b""
    except Exception:  # damaged metadata do not cost the page
        return b""
