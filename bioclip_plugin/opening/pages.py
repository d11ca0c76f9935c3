"""TIFF files of several pages: which of them are pictures of their own, and a page as an image; only headers are read to know."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import MAX_DECODED_PIXELS
from bioclip_plugin.items.media import MediaItem, Unlisted

SUFFIXES = frozenset((".tif", ".tiff"))

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MOST_PAGES = 100_000  # a chain of pages that goes on longer is damaged

# TIFF 6.0, section 8: bits of NewSubfileType, values of the older SubfileType.
_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH = 254, 255, 256, 257
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}  # bytes of the types that these tags have


@dataclass(frozen=True, slots=True)
class Page:
    """What the header of one page says."""

    width: int
    height: int
    reduced: bool
    """An overview or a thumbnail of another page, or a mask."""
    offset: int = field(default=0, compare=False)
    """Of its header in the file."""


class DamagedChain(Exception):
    """The chain of page headers breaks off."""


def is_tiff(path: Path) -> bool:
    """Whether the name says so; other files are not opened to find out."""
    return path.suffix.lower() in SUFFIXES


def pages_of(item: MediaItem, path: Path) -> list[MediaItem | Unlisted] | None:
    """An item for each page that is a picture of its own; None for a file that is one picture, which stays as it is.

    Thumbnails, the smaller levels of a pyramid and masks are no pictures of their own, whether they are marked as such or
    are a power of two smaller than the first page. It costs opening the file and two short reads a page.
    """
    pages: list[Page] = []
    trouble = ""
    try:
        with path.open("rb") as file:
            for page in read_pages(file):
                pages.append(page)
    except DamagedChain as error:
        trouble = str(error)
    except OSError:
        return None  # said when it is read
    own = _pictures(pages)
    if not pages or (own == [0] and not trouble) or not own:
        return None
    found: list[MediaItem | Unlisted] = [replace(item, frame=number) for number in own]
    if trouble and len(pages) > 1:
        found.append(
            Unlisted(item.uri, f"the pages after the first {len(pages)} cannot be found: {trouble}", len(pages))
        )
    return found if len(found) > 1 or own != [0] else None


def _pictures(pages: list[Page]) -> list[int]:
    """Numbers of the pages that are pictures of their own."""
    full = [number for number, page in enumerate(pages) if not page.reduced]
    if len(full) < 2:
        return full
    first = pages[full[0]]
    return [full[0], *(number for number in full[1:] if not _is_smaller_copy(pages[number], first))]


def _is_smaller_copy(page: Page, first: Page) -> bool:
    """Whether a page has the size of a pyramid's level: the first page's halved again and again, however it was rounded."""
    for level in range(1, 16):
        scale = 1 << level
        if abs(page.width - first.width / scale) < 1 and abs(page.height - first.height / scale) < 1:
            return True
    return False


# -- headers -----------------------------------------------------------------------------------------------------------


def read_pages(file: BinaryIO) -> Iterator[Page]:
    """The pages of a TIFF or BigTIFF in the order of the file; none where it is no TIFF.

    Raises:
        DamagedChain: where a header lies outside the file or comes twice.
    """
    start = file.read(16)
    if start[:4] not in _MAGIC:
        return
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\x00", b"\x00+")
    (at,) = _unpacked(order + ("Q" if big else "I"), start[8:16] if big else start[4:8])
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= _MOST_PAGES:
            raise DamagedChain("a page follows that was there before" if at in seen else "there is no end to them")
        seen.add(at)
        page, at = _page(file, at, order, big)
        yield page


def _page(file: BinaryIO, at: int, order: str, big: bool) -> tuple[Page, int]:
    """The page whose header lies at an offset, and the offset of the next one."""
    file.seek(at)
    counter, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    (count,) = _unpacked(order + counter, file.read(struct.calcsize(order + counter)))
    size = struct.calcsize(order + entry)
    if not 1 <= count <= 65_535:
        raise DamagedChain(f"a header at byte {at:,} announces {count:,} entries")
    block = file.read(count * size + struct.calcsize(order + offset))
    (following,) = _unpacked(order + offset, block[count * size :])
    values: dict[int, int] = {}
    for tag, kind, number, raw in struct.iter_unpack(order + entry, block[: count * size]):
        if (
            tag in (_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH)
            and number == 1
            and kind in _SIZES
            and _SIZES[kind] <= len(raw)
        ):
            values[tag] = int.from_bytes(raw[: _SIZES[kind]], "little" if order == "<" else "big")
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
        order: Literal["little", "big"] = "little" if start[:2] == b"II" else "big"
        big = start[2:4] in (b"+\x00", b"\x00+")
        self._header = start[:8] + offset.to_bytes(8, order) if big else start[:4] + offset.to_bytes(4, order)
        stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        at, length = self._stream.tell(), len(self._header)
        data = self._stream.read(size)
        return self._header[at : at + len(data)] + data[max(0, length - at) :] if at < length else data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()


class _Tiff(TiffImageFile):
    """A TIFF that is loaded without Pillow's own limit, which belongs to the host; ours was checked before."""

    def load_prepare(self) -> None:
        size = getattr(self, "_tile_size", None)
        if size is not None and getattr(self, "_im", None) is None:
            self.im = Image.core.new(self.mode, size)  # type: ignore[attr-defined]
        super().load_prepare()


def open_page(item: MediaItem, path: Path) -> Image.Image | None:
    """A later page of a TIFF, upright, reading no more of the file than this page; None for anything else.

    Pages would otherwise be read with their whole file each: a hundred pages, a hundred times the file.

    Raises:
        ImageError: if there is no such page, or it cannot be decoded.
    """
    if item.frame == 0:
        return None
    try:
        stream: BinaryIO = io.BytesIO(item.data) if item.data is not None else path.open("rb")
    except OSError:
        return None  # said when it is read
    with stream:
        if stream.read(4) not in _MAGIC:
            return None
        stream.seek(0)
        return _loaded(stream, item.frame)


def _loaded(stream: BinaryIO, number: int) -> Image.Image:
    offsets = _offsets(stream, number + 1)
    if number >= len(offsets):
        raise ImageError(f"there is no page {number}: the file has {len(offsets)}, counted from 0")
    try:
        image = _Tiff(_Beginning(stream, offsets[number]))  # type: ignore[arg-type] # reads, seeks and tells like a file
        width, height = image.size
        if width * height > MAX_DECODED_PIXELS:
            raise ImageError(
                f"page {number} announces {width:,} × {height:,} pixels, over the budget of {MAX_DECODED_PIXELS / 1e6:,.0f} megapixels"
            )
        image.load()  # turns it upright
        page = image.copy()
    except ImageError:
        raise
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        raise ImageError(f"page {number} is damaged: {str(error).strip() or type(error).__name__}") from error
    profile = page.info.get("icc_profile")
    page.info = {"icc_profile": profile} if profile else {}
    if exif := _exif_of(image):
        page.info["exif"] = exif
    return page


def _offsets(stream: BinaryIO, count: int) -> list[int]:
    """Where the headers of the first pages lie: so many, or as many as can be found."""
    stream.seek(0)
    found: list[int] = []
    with suppress(DamagedChain):
        for page in islice(read_pages(stream), count):
            found.append(page.offset)
    return found


def _exif_of(image: Image.Image) -> bytes:
    """The page's own camera metadata without the orientation, which is applied."""
    try:
        exif = image.getexif()
        exif.pop(0x0112, None)
        return exif.tobytes() if exif.get_ifd(0x8769) or 0x0132 in exif else b""
    except Exception:  # rubbish in a block of metadata is no reason to lose the page
        return b""
