"""Checks of the values that plugins give: items of a listing, answers, features, weights, decisions, names."""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from bioclip_core.files.documents import MAX_DEPTH
from bioclip_plugin.contracts.containing import Garbage, shown
from bioclip_plugin.items.deployments import Membership
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted, uri_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_NAME = re.compile(r"[^\s:/\\=,\-][^\s:/\\=,]{0,99}")
_MOST_SUFFIXES = 1000
_NORM_TOLERANCE = 0.01  # float16 rounds the norm of a feature by less than a thousandth
_OWN_ZONES = (type(None), timezone, ZoneInfo)
_OWN_VALUES = frozenset({str, int, float, bool, type(None)})
_UNREAD = frozenset({"captured_at", "position", "country"})


def checked_name(name: Any, kind: str) -> str:
    """Return the name of a registered object. One that is typed as an option must not hold blanks or ``:/\\=,``, or begin with a dash."""
    if isinstance(name, str) and name.isprintable():
        if kind == "source" and name.strip() == name and 0 < len(name) <= 100:
            return name
        if kind != "source" and _NAME.fullmatch(name):
            return name
    raise Garbage(
        f"the name of {'an' if kind[0] in 'aeiou' else 'a'} {kind} is {shown(name)}; it must be a text "
        + (
            "without spaces around it"
            if kind == "source"
            else "without spaces, colons, slashes, commas and equals signs"
        )
    )


def checked_suffixes(suffixes: Any) -> frozenset[str]:
    """Return suffixes of files in lower case."""
    if isinstance(suffixes, (str, bytes)) or not isinstance(suffixes, Iterable):
        raise Garbage(f"media_suffixes returned {shown(suffixes)}; a list such as ['.mp4'] is needed")
    found = set()
    for count, suffix in enumerate(suffixes, start=1):
        if not isinstance(suffix, str) or not re.fullmatch(r"\.[^\s./\\]+", suffix):
            raise Garbage(f"media_suffixes gave {shown(suffix)}; a suffix with its dot is needed, such as '.mp4'")
        found.add(suffix.lower())
        if count > _MOST_SUFFIXES:
            raise Garbage(f"media_suffixes gave more than {_MOST_SUFFIXES:,} suffixes")
    return frozenset(found)


# Items


def checked_entry(entry: Any) -> MediaItem | Unlisted:
    """Return a listed entry whose fields have the types that the rest of the program relies on."""
    if isinstance(entry, Unlisted):
        plain = Unlisted(entry.uri, entry.reason, entry.frame, entry.known)
        _check_text("uri", plain.uri)
        _check_frame(plain.frame)
        if not isinstance(plain.reason, str) or not plain.reason.strip():
            raise Garbage(f"listed {plain.uri} as Unlisted with the reason {shown(plain.reason)}; a sentence is needed")
        return plain if plain.known is None else replace(plain, known=checked_item(plain.known))
    return checked_item(entry)


def checked_item(given: Any) -> MediaItem:
    """Return an item of a plugin whose fields have the right types."""
    if not isinstance(given, MediaItem):
        raise Garbage(f"listed {shown(given)}; a MediaItem or an Unlisted is needed")
    item = given
    if type(given) is not MediaItem:  # a class of the plugin's own may do anything later
        item = MediaItem(**{entry.name: getattr(given, entry.name) for entry in fields(MediaItem)})
    if item.image is not None:
        _check_text("uri", item.uri)
        _check(f"the item {item.uri}", "image", item, _is_open_image(item.image))
    return checked_fields(item)


def checked_fields(item: MediaItem) -> MediaItem:
    """Return an item whose fields, apart from its image, have the right types: the item itself if none is to be changed."""
    _check_text("uri", item.uri)
    _check_frame(item.frame)
    where = f"the item {item.uri}"
    for name in ("deployment", "sequence"):
        _check(where, name, item, getattr(item, name) is None or isinstance(getattr(item, name), str))
    _check(where, "path", item, item.path is None or isinstance(item.path, (str, Path)))
    _check(where, "captured_at", item, item.captured_at is None or _is_moment(item.captured_at))
    _check_place(where, item.place)
    is_sequence = isinstance(item.regions, (tuple, list)) and all(_is_region(one) for one in list(item.regions))
    _check(where, "regions", item, is_sequence)
    _check(where, "metadata", item, isinstance(item.metadata, Mapping) and is_plain(dict(item.metadata)))
    _check(where, "data", item, item.data is None or isinstance(item.data, (bytes, bytearray, memoryview)))
    _check(where, "span", item, item.span is None or _is_pair(item.span, int))
    for name in ("detected", "is_part"):
        _check(where, name, item, isinstance(getattr(item, name), bool))
    _check(where, "unread", item, isinstance(item.unread, frozenset) and item.unread <= _UNREAD)
    _check(
        where, "absent", item, isinstance(item.absent, frozenset) and all(isinstance(one, str) for one in item.absent)
    )
    _check(where, "within", item, item.within is None or _is_pair(item.within, date))
    _check(where, "membership", item, item.membership is None or isinstance(item.membership, Membership))
    plain: dict[str, Any] = {}
    if item.path is not None and not isinstance(item.path, Path):
        plain["path"] = Path(item.path)
    if item.captured_at is not None and type(item.captured_at.tzinfo) not in _OWN_ZONES:
        plain["captured_at"] = _plain_moment(item.captured_at)
    if type(item.regions) is not tuple:
        plain["regions"] = tuple(item.regions)
    if item.data is not None and type(item.data) is not bytes:
        plain["data"] = bytes(item.data)
    if type(item.metadata) is not MappingProxyType:
        plain["metadata"] = MappingProxyType(dict(item.metadata))
    return replace(item, **plain) if plain else item


def _check(where: str, name: str, item: MediaItem, is_right: bool) -> None:
    if not is_right:
        raise Garbage(f"{where} has {name} {shown(getattr(item, name))}, which cannot be used; see MediaItem")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value.strip():
        raise Garbage(f"listed an item with the {name} {shown(value)}; a text is needed")


def _check_frame(frame: Any) -> None:
    if not isinstance(frame, int) or isinstance(frame, bool) or not 0 <= frame < 1 << 31:
        raise Garbage(f"listed an item with the frame {shown(frame)}; a whole number from 0 is needed")


def _check_place(where: str, place: Any) -> None:
    right = isinstance(place, Place)
    if right:
        right = all(part is None or isinstance(part, str) for part in (place.country, place.region))
        right = right and (place.latitude is None or is_number(place.latitude, -90, 90))
        right = right and (place.longitude is None or is_number(place.longitude, -180, 180))
        right = right and (place.month is None or place.month in range(1, 13))
    if not right:
        raise Garbage(f"{where} has the place {shown(place)}, which cannot be used; see Place")


def _is_region(value: Any) -> bool:
    return (
        isinstance(value, Region)
        and all(isinstance(text, str) for text in (value.detector, value.detector_version, value.category))
        and (value.confidence is None or is_number(value.confidence))
        and isinstance(value.classified, bool)
    )


def _plain_moment(moment: datetime) -> datetime:
    """Return a time whose zone is one of Python's: a zone of the plugin's own may raise later."""
    offset = moment.utcoffset()
    zone = moment.tzinfo
    if type(zone) not in _OWN_ZONES:
        zone = None if offset is None else timezone(offset)
    day = moment.year, moment.month, moment.day
    return datetime(*day, moment.hour, moment.minute, moment.second, moment.microsecond, zone, fold=moment.fold)


def _is_moment(value: Any) -> bool:
    if not isinstance(value, datetime) or value != value:
        return False
    value.utcoffset()  # a zone of the plugin's own may raise
    return True


def _is_pair(value: Any, kind: type) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(one, kind) for one in value)


def _is_open_image(image: Any) -> bool:
    return is_image(image) and not is_closed(image) and image.width > 0 and image.height > 0


def is_image(value: Any) -> bool:
    """True for an image of Pillow."""
    from PIL import Image

    return isinstance(value, Image.Image)


def is_closed(image: Image.Image) -> bool:
    """True for an image that was closed; its pixels are not loaded for it."""
    from PIL.ImageFile import ImageFile

    if isinstance(image, ImageFile) and getattr(image, "_im", None) is None:
        return getattr(image, "fp", None) is None and not getattr(image, "filename", "")
    try:
        return image.im is None
    except ValueError:  # Pillow's own marker of a closed image
        return True


def checked_picture(image: Any) -> Image.Image | None:
    """Return the image that a plugin opened, with its pixels loaded; None if the item is not the plugin's."""
    if image is None:
        return None
    if not is_image(image):
        raise Garbage(f"open_media returned {shown(image)}; an image of Pillow or None is needed")
    image.load()  # an image that fails only now is the plugin's too
    picture: Image.Image = image
    if not type(picture).__module__.startswith("PIL."):  # a class of the plugin's own may do anything
        from PIL import Image

        picture = Image.Image.copy(picture)
    if is_closed(picture):
        raise Garbage("open_media returned a closed image")
    if not (picture.width and picture.height):
        raise Garbage(f"open_media returned an image of {picture.width} x {picture.height} pixels")
    return picture


# Numbers


def is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """True for a finite number within the limits."""
    return (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and low <= float(value) <= high
    )


def is_plain(value: Any, depth: int = 0) -> bool:
    """True for values that can be stored as JSON: no depth without end, and keys that are texts."""
    if type(value) in _OWN_VALUES:
        return True
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(one, depth + 1) for key, one in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(is_plain(one, depth + 1) for one in value)
    return isinstance(str(value), str)  # other values are stored as text; one without a text raises here


def is_json(value: Any) -> bool:
    """True for plain values that JSON has."""
    try:
        return is_plain(value) and bool(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        return False


def checked_features(rows: Any, count: int | None, dimension: int | None, what: str) -> NDArray[np.float32]:
    """Return features as N×D floats; rows that are not finite or not normalised are left for :func:`faults_of_rows`."""
    import numpy as np

    wanted = f"{'N' if count is None else count} × {'D' if dimension is None else dimension} numbers"
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
        given = f"an array of shape {rows.shape} and type {rows.dtype}" if isinstance(rows, np.ndarray) else shown(rows)
        raise Garbage(f"{what} returned {given}; needed are {wanted} (float16 or float32)")
    if (count is not None and len(rows) != count) or (dimension is not None and rows.shape[1] != dimension):
        raise Garbage(f"{what} returned {rows.shape[0]} × {rows.shape[1]} numbers; needed are {wanted}")
    with np.errstate(all="ignore"):
        plain = np.ma.filled(rows.astype(np.float32), np.nan) if isinstance(rows, np.ma.MaskedArray) else rows
        return np.asarray(plain).astype(np.float32)  # a class of the plugin's own may do anything later


def faults_of_rows(rows_ND: NDArray[Any]) -> dict[int, str]:
    """Return the faults of features by their rows: numbers that are not finite, or a length that is not 1."""
    import numpy as np

    with np.errstate(all="ignore"):
        norms_N = np.linalg.norm(rows_ND.astype(np.float32), axis=1)
        bad_N = ~(np.abs(norms_N - 1) <= _NORM_TOLERANCE)
    return {
        int(row): (
            f"its features have the length {norms_N[row]:.3g}; needed are features of length 1 (L2-normalised)"
            if np.isfinite(norms_N[row])
            else "its features are not finite numbers"
        )
        for row in np.flatnonzero(bad_N)
    }


def checked_weights(weights: Any, count: int, what: str) -> NDArray[np.float32]:
    """Return one finite weight from 0 per label."""
    import numpy as np

    try:
        with np.errstate(all="ignore"):
            given = np.asarray(weights)
            weights_N = given.astype(np.float32, copy=False) if given.dtype.kind in "biuf" else None
    except (TypeError, ValueError):  # rows of several lengths
        weights_N = None
    if weights_N is None:
        raise Garbage(f"{what} gave {shown(weights)}; needed are {count} finite numbers from 0")
    if weights_N.shape != (count,) or not np.isfinite(weights_N).all() or bool((weights_N < 0).any()):
        kind = "" if weights_N.shape != (count,) else ", some of which are negative or not finite"
        raise Garbage(f"{what} gave {weights_N.shape} weights{kind}; needed are {count} finite numbers from 0")
    return weights_N


def checked_order(order: Any, count: int) -> NDArray[np.int64]:
    """Return the numbers of items in a plugin's order, each at most once."""
    import numpy as np

    needed = f"needed are different numbers from 0 to {count - 1}" if count else "there are no items, so none is needed"
    try:
        given = np.asarray(order if hasattr(order, "dtype") else list(order))
    except Exception as error:
        raise Garbage(f"order_for_review gave {shown(order)}; {needed}") from error
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise Garbage(f"order_for_review gave {shown(order)}; {needed}")
    numbers = given.astype(np.int64)
    outside = numbers[(numbers < 0) | (numbers >= count)]
    if len(outside):
        raise Garbage(f"order_for_review gave the item {int(outside[0])}; {needed}")
    if len(np.unique(numbers)) < len(numbers):
        twice = int(np.flatnonzero(np.bincount(numbers) > 1)[0])
        raise Garbage(f"order_for_review gave the item {twice} more than once; {needed}")
    return numbers


# Answers of hosts' hooks


def checked_answers(answers: Any, items: Any) -> list[Any]:
    """Return one answer per item, in the order of the items."""
    from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer

    found = _one_per_item("classify_images", answers, items)
    for answer in found:
        if not isinstance(answer, Answer) or not isinstance(answer.item, MediaItem):
            raise Garbage(f"classify_images returned {shown(answer)} for an item; an Answer is needed")
        failure, regions = answer.failure, answer.regions
        if failure is not None and not (
            isinstance(failure, Failure) and isinstance(failure.reason, str) and isinstance(failure.stage, str)
        ):
            raise Garbage(f"the answer for {answer.item.uri} has the failure {shown(failure)}; a Failure is needed")
        if not isinstance(regions, tuple) or not all(isinstance(region, RegionAnswer) for region in regions):
            raise Garbage(
                f"the answer for {answer.item.uri} has the regions {shown(regions)}; RegionAnswers are needed"
            )
        for region in regions:
            for candidate in (*region.candidates, *([] if region.consensus is None else [region.consensus])):
                check_candidate(candidate, f"the answer for {answer.item.uri}")
    for item, answer in zip(items, found, strict=False) if isinstance(items, Sequence) else ():
        expected = (
            (item.uri, item.frame)
            if isinstance(item, MediaItem)
            else (uri_of(item), 0)
            if isinstance(item, (str, Path))
            else None
        )
        if expected is not None and expected != (answer.item.uri, answer.item.frame):
            raise Garbage(
                f"classify_images returned an answer for {answer.item.uri} where that for {expected[0]} belongs"
            )
    return found


def checked_embeddings(features: Any, items: Any) -> list[Any]:
    """Return the features of each item (R×D), or None for an item without."""
    import numpy as np

    found = _one_per_item("embed_images", features, items)
    checked: list[Any] = []
    for number, rows in enumerate(found, start=1):
        if rows is not None:
            rows_RD = checked_features(rows, None, None, f"embed_images, item {number},")
            for fault in faults_of_rows(rows_RD).values():
                raise Garbage(f"embed_images, item {number}: {fault}")
            rows = rows_RD.astype(np.float16)
        checked.append(rows)
    return checked


def _one_per_item(what: str, results: Any, items: Any) -> list[Any]:
    if not isinstance(results, (list, tuple)):
        raise Garbage(f"{what} returned {shown(results)}; a list is needed")
    if hasattr(items, "__len__") and len(results) != len(items):
        raise Garbage(f"{what} returned {len(results)} results for {len(items)} items; one per item is needed")
    return list(results)


def check_candidate(candidate: Any, where: str) -> None:
    """Check that a candidate is one, with a rank that exists and a probability."""
    from bioclip_core.classify import Candidate
    from bioclip_core.taxonomy import RANKS, Taxon

    if not isinstance(candidate, Candidate) or not isinstance(candidate.taxon, Taxon):
        raise Garbage(f"{where} has the candidate {shown(candidate)}; a Candidate is needed")
    ranks = ("label", "group", *(rank.value for rank in RANKS))
    if candidate.rank not in ranks:
        raise Garbage(f"{where} has a candidate of the rank {shown(candidate.rank)}; there are {', '.join(ranks)}")
    probability = candidate.probability
    if not isinstance(probability, numbers.Real) or not 0 <= float(probability) <= 1 + 1e-6:
        raise Garbage(f"{where} has a candidate with the probability {shown(probability)}; it is between 0 and 1")
