"""Limits of requests: bytes and pixels of uploads, the time that a client may take, and the memory of all uploads at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from bioclip_core.errors import ImageError
from bioclip_core.images.loading import opened_file
from bioclip_core.images.reasons import reasons
from bioclip_plugin.serving.problems import Problem

MB = 1_000_000
SILENCE_S = 20.0
"""Time for which a client may send nothing."""
LONGEST_UPLOAD_S = 300.0
"""Time that a whole upload may take."""
ROOM_BYTES = 1_000 * MB
"""Limit of the bodies that are in memory at the same time."""
_ROOM_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request."""

    upload_bytes: int = 64 * MB
    pixels: int = 100 * MB
    silence_s: float = SILENCE_S
    longest_s: float = LONGEST_UPLOAD_S


class Room:
    """The memory of all bodies at once, taken before a body is read."""

    def __init__(self, total: int = ROOM_BYTES, wait_s: float = _ROOM_WAIT_S) -> None:
        self._total, self._taken, self._wait_s = total, 0, wait_s
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Hold so many bytes in this block.

        Raises:
            Problem: 503 if there is no room for too long.
        """
        size = min(size, self._total)
        try:
            async with asyncio.timeout(self._wait_s), self._changed:
                await self._changed.wait_for(lambda: self._taken + size <= self._total)
                self._taken += size
        except TimeoutError:
            raise Problem(503, "too many uploads at once; send this one again", retry_after_s=5) from None
        try:
            yield
        finally:
            async with self._changed:
                self._taken -= size
                self._changed.notify_all()


def announced_bytes(request: Request, most: int) -> int:
    """Return the length of the body that the client announces, the limit if it announces none.

    Raises:
        Problem: 413 for a longer one, 400 for a text that is not a number.
    """
    stated = request.headers.get("content-length")
    if stated is None:
        return most
    if not (stated.isascii() and stated.isdigit()):
        raise Problem(400, "Content-Length is not a number")
    if int(stated) > most:
        raise too_large(most)
    return int(stated)


def too_large(most: int) -> Problem:
    """Return the problem of a body above a limit."""
    return Problem(413, f"the request has more than {most / MB:g} MB, the limit here", limit_bytes=most)


async def read_body(request: Request, most: int, limits: Limits) -> bytes:
    """Return the body of a request.

    Raises:
        Problem: 413 for more bytes than the limit, announced or not; 408 for a client that is too slow.
        ClientDisconnect: if the client goes away.
    """
    announced_bytes(request, most)
    parts: list[bytes] = []
    size, began_at = 0, time.monotonic()
    stream = aiter(request.stream())
    while True:
        left_s = limits.longest_s - (time.monotonic() - began_at)
        try:
            async with asyncio.timeout(max(0.0, min(limits.silence_s, left_s))):
                part = await anext(stream)
        except StopAsyncIteration:
            return b"".join(parts)
        except TimeoutError:
            problem = Problem(408, f"the body did not arrive: {size:,} bytes in {time.monotonic() - began_at:.0f} s")
            problem.headers = {"Connection": "close"}
            raise problem from None
        size += len(part)
        if size > most:
            raise too_large(most)
        parts.append(part)


def check_pixels(data: bytes, limits: Limits) -> None:
    """Check the size that the header of an image announces; what has no header is left to the decoder.

    Raises:
        Problem: 413 for more pixels than the limit.
    """
    try:
        with reasons(data):
            image = opened_file(data, 0)
            width, height = int(image.width), int(image.height)
    except ImageError:
        return
    if width * height > limits.pixels:
        raise Problem(
            413,
            f"the image has {width:,} × {height:,} pixels; the limit here is {limits.pixels / 1e6:g} megapixels",
            limit_pixels=limits.pixels,
        )


async def until_gone(request: Request) -> None:
    """Return when the client has gone away; its body must have been read."""
    try:
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except ClientDisconnect:
        return
