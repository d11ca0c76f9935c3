"""IIIF image services: an image is asked for in a size that suffices, and never in a larger one than it has.

An address of the Image API ends with region, size, rotation, quality and format (``…/full/max/0/default.jpg``). Only whole,
unturned images in their full size are asked for in another size. The description of an image (``info.json``) is read for the
first image of a service, to learn whether the service enlarges images; where it may, or where it does not take every size, it
is read for each image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bioclip_core.errors import DataError
from bioclip_core.files.documents import read_document
from bioclip_plugin.fetching.errors import FetchError

if TYPE_CHECKING:
    from bioclip_plugin.fetching.pending import Fetched

SIZES = (512, 1024, 2048, 4096)
"""Sides that are asked for. Few, so that different models mostly use the same image."""
_ASPECT = 2
"""Ratio of an image's sides up to which the first size suffices, where its size is not known."""
_REFUSALS = frozenset((200, 400, 403, 404, 405, 406, 410, 415, 422, 500, 501))
"""Statuses with which servers refuse a size or have no description; 200 with something that is not an image or a description."""
_INFO_BYTES = 4_000_000
_IMAGE = re.compile(
    r"(?P<base>https?://.+)/full/(?:full|max)/0/(?P<last>(?:default|native|colou?r|gr[ae]y|bitonal)\.(?:jpe?g|png|tiff?|webp|jp2))",
    re.IGNORECASE,
)
_INFO = re.compile(r"(?P<base>https?://.+)/info\.json", re.IGNORECASE)
_BARE = re.compile(r"https?://(?:[^?#]*/iiif/|iiif[^/?#]*/)[^?#]*[^/?#]", re.IGNORECASE)
_FILE = re.compile(r"\.[A-Za-z0-9]{2,4}$")
_PARAMETERS = re.compile(r"/(?:default|native|colou?r|gr[ae]y|bitonal)(?:\.\w+)?$", re.IGNORECASE)
_MANIFEST = re.compile(r"iiif.*/(?:manifest|collection)(?:\.json)?/?$", re.IGNORECASE)
MANIFEST = "a IIIF manifest, which lists images, instead of an image; give the addresses of its images"

Takes = Literal["any", "width", "listed"]
"""Sizes that a service takes: any within a square, any width, or those that it lists."""


class Request(NamedTuple):
    """One address to ask for."""

    address: str
    is_document: bool = False
    is_last: bool = True
    """False if another address is asked for after a refusal."""


class Outcome(NamedTuple):
    """An image, and the address that gave it."""

    fetched: Fetched
    address: str


Steps = Generator[Request, "Fetched | FetchError", Outcome]
"""Asks for one address after the other, is sent what came, and returns the image."""


@dataclass(frozen=True, slots=True)
class Need:
    """The pixels that an image needs at least."""

    each: int
    """Of each side."""
    longer: int = 0
    """Of its longer side."""

    def size_for(self, width: int, height: int) -> int:
        """Return the smallest of :data:`SIZES` that suffices for an image; 0 if none does."""
        longer, shorter = max(width, height), min(width, height)
        return next((one for one in SIZES if one >= self.longer and one * shorter >= self.each * longer), 0)


@dataclass(frozen=True, slots=True)
class Service:
    """The image service behind an address."""

    base: str
    """Address of the image without its parameters."""
    last: str
    """Quality and format; empty where the address does not state them."""
    written: str
    """The address as it was given, if it gives an image; empty otherwise."""

    @property
    def name(self) -> str:
        """Address of the service, shared by its images."""
        return self.base.rpartition("/")[0]

    def sized(self, size: str, last: str = "default.jpg") -> str:
        """Return the address of the whole image in a size."""
        return f"{self.base}/full/{size}/0/{self.last or last}"

    def within(self, side: int) -> str:
        """Return the address of the whole image with sides of at most ``side`` pixels."""
        return self.sized(f"!{side},{side}")


@dataclass(frozen=True, slots=True)
class Info:
    """The part of an image's description that decides on a size."""

    width: int
    height: int
    version: int
    """Of the Image API: 1, 2 or 3."""
    takes: Takes
    enlarges: bool
    """True if the service may give an image in a larger size than it has."""
    sizes: tuple[tuple[int, int], ...]
    """Sizes that it lists, smallest first."""


class Services:
    """Services by their base: whether they take any size and never enlarge, so that images need no description."""

    def __init__(self) -> None:
        self._is_plain: dict[str, bool] = {}

    def is_plain(self, service: Service) -> bool:
        """Return True if images of a service may be asked for without their descriptions."""
        return self._is_plain.get(service.name, False)

    def learn(self, service: Service, info: Info | None) -> None:
        """Note what the description of one image says of its service; None: it has none."""
        self._is_plain[service.name] = info is None or (info.takes == "any" and not info.enlarges)


def service_of(address: str) -> Service | None:
    """Return the service of an address of the Image API; None for any other address, and for a part or size of an image.

    >>> service_of("https://example.org/iiif/2/a%2Fb/full/max/0/default.jpg").within(512)
    'https://example.org/iiif/2/a%2Fb/full/!512,512/0/default.jpg'
    >>> service_of("https://example.org/iiif/2/ab/full/!200,200/0/default.jpg"), service_of("https://example.org/a.jpg")
    (None, None)
    """
    if found := _IMAGE.fullmatch(address):
        return Service(found["base"], found["last"], address)
    if found := _INFO.fullmatch(address):
        return Service(found["base"], "", "")
    if _BARE.fullmatch(address) and not _FILE.search(address) and not _PARAMETERS.search(address):
        return Service(address, "", "")
    return None


def steps_of(address: str, need: Need | None, services: Services, is_cached: Callable[[str], bool]) -> Steps:
    """Return the requests for an image, one after the other.

    Args:
        address: its address.
        need: the pixels that are needed; None for the image as it is.
        services: what is known of services.
        is_cached: returns True for an address whose image is there already.
    """
    if _MANIFEST.search(address.partition("?")[0]):
        raise FetchError(MANIFEST)
    service = service_of(address)
    if service is None:
        return (yield from _plain(address))
    if need is None and service.written:
        return Outcome(_image((yield Request(address))), address)
    if need is not None and (there := _largest_there(service, need, is_cached)):
        return Outcome(_image((yield Request(there))), there)
    if need is not None and service.written and services.is_plain(service):
        return (yield from _undescribed(service, need))
    got = yield Request(f"{service.base}/info.json", is_document=True, is_last=not service.written)
    if isinstance(got, FetchError) and got.status not in _REFUSALS:
        raise got  # the host does not answer, and is not asked for more
    info = _info(got)
    if info is None and not service.written:
        raise got if isinstance(got, FetchError) else FetchError("the description of the image service cannot be used")
    services.learn(service, info)
    if info is not None:
        return (yield from _described(service, need, info))
    if need is None:
        return Outcome(_image((yield Request(address))), address)
    return (yield from _undescribed(service, need, has_info=False))


def _plain(address: str) -> Steps:
    """Ask for an address; if it is refused, without the escapes of HTML that some exports leave in it."""
    meant = address.replace("&amp;", "&")
    got = yield Request(address, is_last=meant == address)
    if isinstance(got, FetchError) and meant != address and got.status in _REFUSALS:
        return Outcome(_image((yield Request(meant))), meant)
    return Outcome(_image(got), address)


def _described(service: Service, need: Need | None, info: Info) -> Steps:
    """Ask for the smaller sizes that suffice, and else for the whole image."""
    for address in _smaller(service, need, info) if need is not None else ():
        got = yield Request(address, is_last=False)
        if not isinstance(got, FetchError):
            return Outcome(got, address)
        if got.status not in _REFUSALS:
            raise got
    whole = service.written or service.sized(
        "max" if info.version == 3 else "full", "native.jpg" if info.version == 1 else "default.jpg"
    )
    return Outcome(_image((yield Request(whole))), whole)


def _smaller(service: Service, need: Need, info: Info) -> Iterator[str]:
    """Yield the addresses of smaller sizes that suffice, the best one first; none for an image that is small itself."""
    longer = max(info.width, info.height)
    side = need.size_for(info.width, info.height)
    if side and side < longer and info.takes == "any":
        yield service.within(side)
    elif side and side < longer and info.takes == "width":
        yield service.sized(f"{max(1, info.width * side // longer)},")
    for width, height in info.sizes:
        if min(width, height) >= need.each and need.longer <= max(width, height) < longer:
            yield service.sized(f"{width},{height}" if info.version == 3 else f"{width},")
            return


def _undescribed(service: Service, need: Need, *, has_info: bool = True) -> Steps:
    """Ask for a size; and for a larger one if the image is so long that its shorter side is too small.

    Args:
        service: the service.
        need: the pixels that are needed.
        has_info: a description may be asked for after a refusal.
    """
    side = next((one for one in SIZES if one >= max(need.each * _ASPECT, need.longer)), 0)
    while side:
        address = service.within(side)
        got = yield Request(address, is_last=False)
        if isinstance(got, FetchError):
            if got.status not in _REFUSALS:
                raise got
            break
        width, height = _size_of(got.path)
        if min(width, height) >= need.each or max(width, height) < side:  # enough, or all that there is
            return Outcome(got, address)
        side = need.size_for(width, height) if min(width, height) else 0
    else:
        has_info = False
    info = _info((yield Request(f"{service.base}/info.json", is_document=True))) if has_info else None
    if info is not None:
        return (yield from _described(service, need, replace(info, takes="listed")))
    return Outcome(_image((yield Request(service.written))), service.written)


def _largest_there(service: Service, need: Need, is_cached: Callable[[str], bool]) -> str:
    """Return the largest sufficient form of an image that is there already; empty if there is none.

    All runs then use the same bytes. Otherwise runs of models with different inputs would change the content of an image in
    turns, and each would make the answers of the other out of date.
    """
    wholes = [service.written] if service.written else [service.sized(size) for size in ("max", "full")]
    sides = [side for side in reversed(SIZES) if side >= max(need.each * _ASPECT, need.longer)]
    return next((form for form in (*wholes, *map(service.within, sides)) if is_cached(form)), "")


def _image(got: Fetched | FetchError) -> Fetched:
    if isinstance(got, FetchError):
        raise got
    return got


def _size_of(path: Path) -> tuple[int, int]:
    """Return the size of an image by its header; zeros for one that cannot be opened, which reading it reports."""
    from bioclip_core.images.decoding import stored_size

    try:
        width, height, _ = stored_size(path)
    except Exception:
        return 0, 0
    return width, height


def _info(got: Fetched | FetchError) -> Info | None:
    """Return the description of an image; None if there is none that can be used.

    Raises:
        FetchError: if it is a manifest.
    """
    if isinstance(got, FetchError):
        return None
    try:
        found = read_document(got.path, dict[str, Any], name="info.json", max_bytes=_INFO_BYTES)
    except DataError:
        return None
    if str(found.get("type") or found.get("@type") or "").rpartition(":")[2] in ("Manifest", "Collection"):
        raise FetchError(MANIFEST)
    width, height, listed = found.get("width"), found.get("height"), found.get("sizes")
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        return None
    text = json.dumps([found.get(name) for name in ("@context", "type", "profile", "extraFeatures")])
    version = (
        3 if "image/3" in text or "ImageService3" in text else 1 if "image-api/1" in text or "image/1/" in text else 2
    )
    sizes = sorted(
        (one["width"], one["height"])
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and type(one.get("width")) is int and type(one.get("height")) is int
    )
    return Info(width, height, version, _takes(text), version < 3 and "sizeAboveFull" in text, tuple(sizes))


def _takes(text: str) -> Takes:
    """Return the sizes that a service takes, by its level and its further features."""
    if "sizeByConfinedWh" in text or not ("level0" in text or "level1" in text):
        return "any"
    return "width" if "level1" in text or "sizeByW" in text.replace("sizeByWh", "") else "listed"
