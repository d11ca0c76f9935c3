"""Kinds of files by their first bytes: images are kept, everything else is refused by its name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bioclip_core.images.unsupported import unsupported_kind
from bioclip_plugin.fetching.errors import TryFailed

START_BYTES = 1024
"""Bytes that decide the kind of a file."""

_IMAGES = (
    (b"\xff\xd8\xff", ".jpg", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", ".png", "image/png"),
    (b"GIF87a", ".gif", "image/gif"),
    (b"GIF89a", ".gif", "image/gif"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", ".jp2", "image/jp2"),
    (b"\xff\x4f\xff\x51", ".j2k", "image/x-jpeg2000-codestream"),
    (b"8BPS\x00\x01", ".psd", "image/vnd.adobe.photoshop"),
    (b"qoif", ".qoi", "image/qoi"),
    (b"II*\x00", ".tif", "image/tiff"),
    (b"MM\x00*", ".tif", "image/tiff"),
    (b"II+\x00", ".tif", "image/tiff"),
    (b"MM\x00+", ".tif", "image/tiff"),
    (b"FUJIFILMCCD-RAW", ".raf", "image/x-fuji-raf"),
    (b"IIRO", ".orf", "image/x-olympus-orf"),
    (b"IIRS", ".orf", "image/x-olympus-orf"),
    (b"MMOR", ".orf", "image/x-olympus-orf"),
    (b"IIU\x00", ".rw2", "image/x-panasonic-rw2"),
    (b"FOVb", ".x3f", "image/x-sigma-x3f"),
    (b"\x00MRM", ".mrw", "image/x-minolta-mrw"),
)
_HEIF = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_RAW_IN_TIFF = frozenset(
    ".3fr .arw .cr2 .dcr .dng .erf .fff .iiq .kdc .mef .mos .nef .nrw .pef .rwl .sr2 .srf .srw".split()
)
"""Suffixes of RAW files that begin like a TIFF; they are known by their name only."""
_PNM = re.compile(rb"P[1-6]\s")
_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|title|script|meta|div|h1)\b", re.I | re.S)
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype\s+svg[^>]*>\s*)?<(\w+:)?svg\b", re.I | re.S)
_OTHERS = (
    (b"\x1aE\xdf\xa3", "a video"),
    (b"FLV\x01", "a video"),
    (b"\x00\x00\x01\xba", "a video"),
    (b"\x00\x00\x01\xb3", "a video"),
    (b"0&\xb2u\x8ef\xcf\x11", "a video"),
    (b"OggS", "a sound or a video"),
    (b"ID3", "a sound"),
    (b"fLaC", "a sound"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of image."""

    suffix: str
    media_type: str


def image_kind(start: bytes, path: str = "") -> Kind:
    """Return the kind of an image from its first bytes.

    Args:
        start: the first bytes, at least :data:`START_BYTES` of them or all.
        path: path of its address, which tells RAW files from TIFF.

    Raises:
        TryFailed: for anything that is not an image.
    """
    for signature, suffix, media_type in _IMAGES:
        if start.startswith(signature):
            named = PurePosixPath(path).suffix.lower()
            return (
                Kind(named, "image/x-raw") if suffix == ".tif" and named in _RAW_IN_TIFF else Kind(suffix, media_type)
            )
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return Kind(".webp", "image/webp")
    if start.startswith(b"BM") and start[6:10] == b"\0\0\0\0":
        return Kind(".bmp", "image/bmp")
    if _PNM.match(start):
        return Kind(".ppm", "image/x-portable-anymap")
    if start[4:8] == b"ftyp":
        return _of_brand(start)
    if start.startswith(b"II\x1a\x00\x00\x00HEAPCCDR"):
        return Kind(".crw", "image/x-canon-crw")
    raise _refusal(start)


def has_end(file: Path, kind: Kind) -> bool:
    """True if the image ends as its kind does, or its kind has no end that can be told.

    Raises:
        OSError: if the file cannot be read.
    """
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - START_BYTES))
        tail = opened.read()
        opened.seek(0)
        head = opened.read(12)
    if kind.suffix == ".jpg":
        return b"\xff\xd9" in tail
    if kind.suffix == ".png":
        return b"IEND" in tail
    if kind.suffix == ".gif":
        return b"\x3b" in tail[-16:]
    if kind.suffix == ".webp":
        return size >= int.from_bytes(head[4:8], "little") + 8
    return True


def document_kind(start: bytes) -> Kind:
    """Return the kind of a JSON document from its first bytes.

    Raises:
        TryFailed: for anything else.
    """
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"{":
        raise TryFailed("the description of the image service is not JSON", status=200)
    return Kind(".json", "application/json")


def _of_brand(start: bytes) -> Kind:
    """Return the kind of a file of boxes, which says by its brands what it is."""
    end = min(max(int.from_bytes(start[:4], "big"), 16), 64)
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return Kind(".avif", "image/avif")
    if brands & _HEIF:
        return Kind(".heic", "image/heic")
    if b"crx " in brands:
        return Kind(".cr3", "image/x-canon-cr3")
    raise TryFailed("a video instead of an image")


def _refusal(start: bytes) -> TryFailed:
    """Return the error for something that is not an image; a page in its place may be how a host blocks."""
    text = start.removeprefix(b"\xef\xbb\xbf")
    if not start:
        return TryFailed("an empty answer instead of an image", again=True)
    if _SVG.match(text):
        return TryFailed("an SVG drawing instead of an image of pixels")
    if _HTML.match(text):
        return TryFailed("an HTML page instead of an image", blames_host=True, is_answer=True)
    if name := unsupported_kind(start):
        return TryFailed(f"the file is {name}, which is not read")
    for signature, what in _OTHERS:
        if start.startswith(signature):
            return TryFailed(f"{what} instead of an image")
    if start.startswith(b"RIFF"):
        return TryFailed(f"{'a video' if start[8:12] == b'AVI ' else 'a sound'} instead of an image")
    if _is_text(text):
        what = "JSON" if text.lstrip()[:1] in (b"{", b"[") else "XML" if text.lstrip()[:1] == b"<" else "text"
        return TryFailed(f"{what} instead of an image", blames_host=True, is_answer=True)
    return TryFailed(f"the file is of no known kind of image (it begins with {start[:4].hex(' ')})")


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # not a letter that was cut
            return False
        text = start[: error.start].decode()
    return all(letter.isprintable() or letter.isspace() for letter in text)
