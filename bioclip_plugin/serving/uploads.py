"""Images in requests: the body itself, parts of a form, or the names of items in the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from bioclip_core.errors import UsageError, one_line
from bioclip_core.files.documents import convert_document, parse_document
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.serving.limits import MB, announced_bytes, read_body
from bioclip_plugin.serving.media import item_named
from bioclip_plugin.serving.problems import Problem
from bioclip_plugin.serving.state import Workbench

MOST_IMAGES = 64
"""Images of one request."""
MOST_REGIONS = 100
"""Regions of one image."""
IMAGE_PART = "image"
_LONGEST_NAME = 200
_BATCH_UPLOADS = 4
"""Largest body of a batch, in largest images."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One image of a request."""

    name: str
    """As the client calls it; shown to it again, and used for nothing else."""
    item: MediaItem


class _InMemory(MultiPartParser):
    """Parts of a form in memory, where the whole body is already: no file of a client is written to the disk."""

    spool_max_size = 1 << 62


@asynccontextmanager
async def images_of(request: Request, bench: Workbench, *, several: bool) -> AsyncIterator[list[Incoming]]:
    """Give the images of a request, which hold their share of the memory in this block.

    Raises:
        Problem: for a body that is too large, too slow, of another kind or cannot be read.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = kind == "multipart/form-data"
    most = MB if kind == "application/json" else bench.limits.upload_bytes * (_BATCH_UPLOADS if several else 1)
    if not (is_form or kind in ("application/json", "application/octet-stream") or kind.startswith("image/")):
        raise Problem(
            415,
            f"Content-Type {kind[:80] or 'is missing'}: send an image (image/jpeg or application/octet-stream), a form "
            f"(multipart/form-data) with parts named {IMAGE_PART}, or JSON with an item",
        )
    async with bench.room.take(announced_bytes(request, most) * (2 if is_form else 1)):
        body = await read_body(request, most, bench.limits)
        if kind == "application/json":
            found = await run_in_threadpool(_named_items, bench, body, several=several)
        elif is_form:
            found = await _parts(request, body, several=several)
        else:
            boxes = regions_of(request.query_params.get("regions"))
            found = [_upload(request.query_params.get("name", "upload"), body, boxes)]
        del body
        for one in found:
            if one.item.data is not None and not one.item.data:
                raise Problem(422, f"{one.name}: the image is empty")
        yield found


def regions_of(given: Any) -> tuple[Region, ...]:
    """Return the regions that a client states: a list of [x, y, width, height] between 0 and 1, or its JSON text.

    Raises:
        Problem: 422 for anything else.
    """
    if given is None or given == "":
        return ()
    try:
        if isinstance(given, str):
            boxes = parse_document(given, list[list[float]], name="the text", error=UsageError)
        else:
            boxes = convert_document(given, list[list[float]], name="the list", error=UsageError)
        if len(boxes) > MOST_REGIONS or any(len(box) != 4 for box in boxes):
            raise UsageError(f"needed are at most {MOST_REGIONS} boxes of four numbers")
        return tuple(Region(x, y, w, h) for x, y, w, h in boxes)
    except UsageError as error:
        raise Problem(
            422, f"regions: {error}; give [[x, y, width, height], …], from 0 to 1 of the upright image"
        ) from None


def _upload(name: str, data: bytes, regions: Sequence[Region]) -> Incoming:
    shown = one_line(name)[:_LONGEST_NAME]
    return Incoming(shown, MediaItem(uri=f"upload:{shown}", data=data, regions=tuple(regions)))


async def _parts(request: Request, body: bytes, *, several: bool) -> list[Incoming]:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        parser = _InMemory(request.headers, whole(), max_files=MOST_IMAGES, max_fields=8, max_part_size=MB)
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(422, f"the form cannot be read: {error.message}") from None
    try:
        return await _images_of_form(form, several=several)
    finally:
        await form.close()


async def _images_of_form(form: FormData, *, several: bool) -> list[Incoming]:
    parts = form.getlist(IMAGE_PART)
    files = [part for part in parts if isinstance(part, UploadFile)]
    if len(files) != len(parts) or not files:
        raise Problem(422, f"the form has no file named {IMAGE_PART}")
    if len(files) > 1 and not several:
        raise Problem(422, f"the form has {len(files)} images; send several to the route that ends with /batch")
    stated = form.get("regions")
    regions = regions_of(stated if isinstance(stated, str) else None)
    if regions and len(files) > 1:
        raise Problem(422, "regions belong to one image; send an image with regions alone")
    return [_upload(part.filename or "upload", await part.read(), regions) for part in files]


def _named_items(bench: Workbench, body: bytes, *, several: bool) -> list[Incoming]:
    document = parse_document(body, dict[str, Any], name="the body", error=UsageError)
    key = "items" if several else "item"
    if key not in document or set(document) - {key, "regions"}:
        raise Problem(422, f'needed is an object with "{key}", and "regions" if only these are to be named')
    named = document[key] if several else [document[key]]
    if not isinstance(named, list) or not named or len(named) > MOST_IMAGES:
        raise Problem(422, f"items: needed is a list of 1 to {MOST_IMAGES} items")
    if not all(isinstance(name, str) for name in named):
        raise Problem(422, f"{key}: an item is named RUN-MEDIA-REGION, such as 1-42-7")
    regions = regions_of(document.get("regions"))
    if regions and several:
        raise Problem(422, "regions belong to one image; send an item with regions alone")
    found = [Incoming(name, item_named(bench, name)) for name in named]
    return [replace(one, item=replace(one.item, regions=regions)) if regions else one for one in found]


def form_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form as browsers send it without files; the last one of a name counts."""
    try:
        return dict(parse_qsl(body.decode("utf-8"), max_num_fields=8))
    except ValueError:
        return {}
