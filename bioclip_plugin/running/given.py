"""Images as a host has them: paths, bytes, PIL images, arrays and tensors, made into media items or refused in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.checking import checked_entry, checked_fields
from bioclip_plugin.contracts.containing import Garbage, reason_of, shown
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, item_of
from bioclip_plugin.items.web import is_web_address, kept_secret

if TYPE_CHECKING:
    from PIL import Image

TAKEN = "a path, bytes, a PIL image or a MediaItem, or an array of height × width × 3 (uint8)"

_CHANNELS = (1, 3, 4)
_SINGLE = (str, bytes, bytearray, memoryview, os.PathLike, MediaItem, Unlisted, Mapping)
_Entry = TypeVar("_Entry", MediaItem, MediaItem | Unlisted)


def item_of_image(image: Any) -> MediaItem | Unlisted:
    """Return a host's image as an item.

    Raises:
        UsageError: for anything else, and for an array whose axes or numbers could be read in several ways.
    """
    if isinstance(image, MediaItem):
        return _usable(checked_fields, _converted(image))
    if isinstance(image, Unlisted):
        return _usable(checked_entry, image)
    if isinstance(image, str) and is_web_address(image):
        return kept_secret(MediaItem(uri=image))
    if isinstance(image, (str, os.PathLike)):
        return kept_secret(item_of(image))
    if isinstance(image, (bytes, bytearray, memoryview)):
        return MediaItem(uri=_new_name(), data=bytes(image))
    if isinstance(image, Mapping) and {"bytes", "path"} & set(image):
        return _of_struct(image)
    if (picture := _picture(image)) is not None:
        return MediaItem(uri=_new_name(), image=picture)
    if callable(getattr(image, "read", None)):
        raise UsageError(f"{type(image).__name__} is an open file: give its path, or its bytes: file.read()")
    if isinstance(image, (list, tuple)):
        raise UsageError(f"{type(image).__name__} is not an image: give one image, or all of them to classify_stream")
    raise UsageError(f"{type(image).__name__} is not an image: give {TAKEN}")


def check_several(items: Any) -> None:
    """Check that a batch is iterable and not a single image, whose bytes, letters or rows would be taken for images.

    Raises:
        UsageError: if it is not.
    """
    if isinstance(items, _SINGLE) or _is_pil(items):
        given = repr(items) if isinstance(items, (str, bytes)) and len(items) < 80 else type(items).__name__
        raise UsageError(f"items {given}: give a list of images, such as [{given}]")
    if _is_array(items) and len(items.shape) < 4:
        raise UsageError(
            f"items: an array of shape {_shape(items)} is one image; give a list of images, or an array of N × height × width × 3"
        )
    if not hasattr(items, "__iter__") and not hasattr(items, "__getitem__"):
        raise UsageError(f"items {shown(items)}: give a list or a generator of images")


def _new_name() -> str:
    return f"memory:{uuid4()}"


def _of_struct(image: Mapping[str, Any]) -> MediaItem:
    """Return the item of an image as Hugging Face datasets write it: its bytes, else its path."""
    data, path = image.get("bytes"), image.get("path")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return MediaItem(uri=_new_name(), data=bytes(data))
    if isinstance(path, (str, os.PathLike)) and str(path):
        return item_of(path)
    raise UsageError("an image with bytes and path: both are empty; one of them is needed")


def _picture(image: Any) -> Image.Image | None:
    """Return a PIL image, or that of an array; None for anything else."""
    if _is_pil(image):
        picture: Image.Image = image
        return picture
    return _of_array(image) if _is_array(image) else None


def _is_pil(image: Any) -> bool:
    return hasattr(image, "getexif") and hasattr(image, "mode")  # without importing Pillow


def _is_array(image: Any) -> bool:
    return hasattr(image, "shape") and hasattr(image, "dtype") and not isinstance(image, type)


def _shape(array: Any) -> str:
    return " × ".join(map(str, array.shape)) or "()"


def _of_array(array: Any) -> Image.Image:
    """Return the image of an array or tensor.

    Raises:
        UsageError: if it is not height × width (× 1, 3 or 4) of uint8.
    """
    import numpy as np
    from PIL import Image

    kind, shape = f"{type(array).__module__.partition('.')[0]}.{type(array).__name__}", tuple(array.shape)
    given = f"{kind} of shape {_shape(array)} and type {str(array.dtype).removeprefix('torch.')}"
    if len(shape) == 4:
        raise UsageError(f"{given} is several images: give them one by one, or to classify_stream")
    if len(shape) == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
        turned = "image.permute(1, 2, 0)" if kind == "torch.Tensor" else "image.transpose(1, 2, 0)"
        raise UsageError(f"{given} has its channels first: needed is height × width × channels, {turned}")
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in _CHANNELS)) or 0 in shape:
        raise UsageError(
            f"{given} is not an image: needed is height × width × 3 (RGB), × 4 (with alpha), or height × width (grey)"
        )
    if str(array.dtype).removeprefix("torch.") != "uint8":
        raise UsageError(f"{given}: needed are whole numbers from 0 to 255 (uint8), neither scaled nor normalised")
    if hasattr(array, "detach"):  # a tensor, which may be on another device
        array = array.detach().cpu().numpy()
    pixels = np.ascontiguousarray(array)
    return Image.fromarray(pixels[:, :, 0] if len(shape) == 3 and shape[2] == 1 else pixels)


def _usable(check: Callable[[Any], _Entry], entry: Any) -> _Entry:
    """Return an item of a host whose fields have the right types, by the check that entries of plugins pass.

    Raises:
        UsageError: if they have not.
    """
    try:
        return check(entry)
    except Garbage as error:
        raise UsageError(str(error)) from None
    except Exception as error:  # a zone, a mapping or a value of the host's own
        raise UsageError(f"an item {shown(entry.uri)} with fields that cannot be read: {reason_of(error)}") from error


def _converted(item: MediaItem) -> MediaItem:
    """Return an item of a host with bytes of a buffer, and an image of an array.

    Raises:
        UsageError: for a time, a region, data or an image of the wrong type.
    """
    if item.captured_at is not None and not isinstance(item.captured_at, datetime):
        raise UsageError(f"{item.uri}: captured_at {item.captured_at!r}: give a datetime")
    for region in item.regions if isinstance(item.regions, (tuple, list)) else ():
        if not isinstance(region, Region):
            raise UsageError(f"{item.uri}: region {region!r}: give a Region(x, y, w, h), from 0 to 1")
    if item.data is not None and not isinstance(item.data, bytes):
        if not isinstance(item.data, (bytearray, memoryview)):
            raise UsageError(f"{item.uri}: data of type {type(item.data).__name__}: give the bytes of a file")
        item = replace(item, data=bytes(item.data))
    if item.image is not None and not _is_pil(item.image):
        try:
            picture = _picture(item.image)
        except UsageError as error:
            raise UsageError(f"{item.uri}: {error}") from None
        if picture is None:
            raise UsageError(f"{item.uri}: image of type {type(item.image).__name__}: give a PIL image or an array")
        item = replace(item, image=picture)
    return item
