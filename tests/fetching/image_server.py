"""A server of images on this machine that misbehaves on request, for tests of fetching and of what uses it.

::

    with ImageServer() as server:
        server.add("/a.jpg", photo("a"))                                # bytes: a sound image
        server.add("/b.jpg", status(503, "Retry-After: 1"), photo("b"))  # answers in order; the last one is repeated
        server.add("/c.jpg", truncated(photo("c")))
        fetch(server.url("/a.jpg"))
        assert server.count("/a.jpg") == 1

Paths below ``/photos/`` need no :meth:`~ImageServer.add`: each is an image of its own. Everything else is 404.
"""

from __future__ import annotations

import gzip
import io
import socket
import ssl
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from bioclip_plugin.fetching.fetcher import Fetcher

OpenFetcher = Callable[..., Fetcher]
"""Type of the fixture that opens a fetcher with options."""


@dataclass
class Request:
    """A request as it came, with the connection to answer on."""

    path: str
    headers: dict[str, str]
    connection: socket.socket = field(repr=False)
    stopping: threading.Event = field(repr=False)
    at: float = field(default_factory=time.monotonic)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)


Answer = Callable[[Request], bool]
"""Function that answers a request and returns True if the connection can be used again."""


@lru_cache(maxsize=2048)
def photo(name: str = "photo", side: int = 24, form: str = "JPEG") -> bytes:
    """Return a small image; another one for each name."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).integers(0, 255, (side, side, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, form)
    return stream.getvalue()


def page(code: int, body: bytes = b"", *headers: str, kind: str = "image/jpeg", length: int | None = None) -> bytes:
    """Return an answer of HTTP as bytes."""
    stated = len(body) if length is None else length
    lines = [f"HTTP/1.1 {code} Reason", f"Content-Type: {kind}", f"Content-Length: {stated}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def image(data: bytes, *headers: str, kind: str = "image/jpeg") -> Answer:
    return raw(page(200, data, *headers, kind=kind))


def status(code: int, *headers: str, body: bytes = b"no") -> Answer:
    return raw(page(code, body, *headers, kind="text/plain"))


def redirect(to: str, code: int = 302) -> Answer:
    return status(code, f"Location: {to}")


def html() -> Answer:
    """A page for people with status 200, which says that it is a JPEG."""
    return raw(page(200, b"<!DOCTYPE html>\n<html><title>Log in</title></html>"))


def raw(data: bytes, *, keep: bool = True) -> Answer:
    def answer(request: Request) -> bool:
        request.send(data)
        return keep

    return answer


def truncated(data: bytes, *, sent: int | None = None) -> Answer:
    """Less than Content-Length states, then the connection ends."""
    return raw(page(200, data[: len(data) // 2 if sent is None else sent], length=len(data)), keep=False)


def longer(data: bytes, stated: int) -> Answer:
    """More than Content-Length states."""
    return raw(page(200, data, length=stated))


def without_length(data: bytes) -> Answer:
    return raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data, keep=False)


def chunked(data: bytes, *, whole: bool = True) -> Answer:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{len(data):x}\r\n".encode() + data + b"\r\n"
    return raw(start + b"0\r\n\r\n" if whole else start + b"ffff\r\nabc", keep=whole)


def gzipped(data: bytes) -> Answer:
    return image(gzip.compress(data), "Content-Encoding: gzip")


def silent() -> Answer:
    """Nothing, until the client has gone."""

    def answer(request: Request) -> bool:
        _wait_for_end(request)
        return False

    return answer


def dripping(data: bytes, every_s: float = 0.02) -> Answer:
    """One byte now and then, head included."""

    def answer(request: Request) -> bool:
        for byte in page(200, data):
            request.send(bytes([byte]))
            if request.stopping.wait(every_s):
                break
        return False

    return answer


def endless(start: bytes = b"", piece: bytes = bytes(1 << 16), length: int | None = None) -> Answer:
    """A body without an end."""

    def answer(request: Request) -> bool:
        stated = f"Content-Length: {length}\r\n" if length is not None else "Connection: close\r\n"
        request.send(f"HTTP/1.1 200 OK\r\n{stated}\r\n".encode() + start)
        while not request.stopping.is_set():
            request.send(piece)
        return False

    return answer


def hangs_up() -> Answer:
    """The connection ends without an answer."""
    return raw(b"", keep=False)


def unless_known(data: bytes, etag: str) -> Answer:
    """304 for a conditional request that knows the tag."""

    def answer(request: Request) -> bool:
        known = request.headers.get("if-none-match") == etag
        request.send(b"HTTP/1.1 304 Not Modified\r\n\r\n" if known else page(200, data, f"ETag: {etag}"))
        return True

    return answer


def _wait_for_end(request: Request) -> None:
    request.connection.settimeout(0.05)
    while not request.stopping.is_set():
        try:
            if not request.connection.recv(1024):
                return
        except TimeoutError:
            continue
        except OSError:
            return


class ImageServer:
    """A server on 127.0.0.1, one thread per connection."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, delay_s: float = 0.0) -> None:
        self.requests: list[Request] = []
        self.most_at_once = 0
        self.delay_s = delay_s
        """Seconds before each answer."""
        self.connections = 0
        self._tls = tls
        self._answers: dict[str, list[Answer]] = {}
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._now = 0
        self._open: set[socket.socket] = set()
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen; after :meth:`stop` at the same port."""
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener, self._stopping), daemon=True).start()

    def stop(self) -> None:
        """Go away: refuse connections, and break those that are open."""
        self._stopping.set()
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def add(self, path: str, *answers: Answer | bytes) -> str:
        """Set the answers of a path, in order; return its address."""
        self._answers[path] = [image(answer) if isinstance(answer, bytes) else answer for answer in answers]
        return self.url(path)

    def count(self, path: str | None = None) -> int:
        """Return how many requests came, for a path or at all."""
        return len(self.requests) if path is None else sum(request.path == path for request in self.requests)

    def counts(self) -> Counter[str]:
        return Counter(request.path for request in self.requests)

    def times(self) -> list[float]:
        return [request.at for request in self.requests]

    def _accept(self, listener: socket.socket, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, stopping), daemon=True).start()

    def _serve(self, connection: socket.socket, stopping: threading.Event) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with self._lock:
                self._open.add(connection)
                self.connections += 1
            try:
                while not stopping.is_set() and (request := _read(connection, stopping)) is not None:
                    if not self._answered(request):
                        break
            finally:
                with self._lock:
                    self._open.discard(connection)
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def _answered(self, request: Request) -> bool:
        with self._lock:
            self.requests.append(request)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            answer = self._answer(request.path)
        try:
            if self.delay_s:
                request.stopping.wait(self.delay_s)
            return answer(request)
        finally:
            with self._lock:
                self._now -= 1

    def _answer(self, path: str) -> Answer:
        answers = self._answers.get(path)
        if answers is None:
            return image(photo(path)) if path.startswith("/photos/") else status(404)
        number = self._asked[path]
        self._asked[path] += 1
        return answers[min(number, len(answers) - 1)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _read(connection: socket.socket, stopping: threading.Event) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return None
        data += piece
        if data.startswith(b"\x16"):  # TLS, to a server without
            connection.sendall(page(400))
            return None
    first, *lines = data.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers: dict[str, str] = defaultdict(str)
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Request(first.split(" ")[1], headers, connection, stopping)


class FastClock:
    """A clock for a fetcher that does not wait: time goes on as soon as somebody waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.waited_s = 0.0

    def seconds(self) -> float:
        return time.monotonic() + self.waited_s

    def now(self):  # type: ignore[no-untyped-def]
        from datetime import UTC, datetime, timedelta

        return datetime.now(UTC) + timedelta(seconds=self.waited_s)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            condition.wait()
            return
        condition.wait(0.001)  # lets others do what they have to do
        with self._lock:
            self.waited_s += seconds
