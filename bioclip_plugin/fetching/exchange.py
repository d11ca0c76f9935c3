"""One request and its answer: a redirect, "not changed", or a body that is checked while it is written."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError
from bioclip_core.process.quiet import quiet
from bioclip_plugin.fetching.addresses import Address
from bioclip_plugin.fetching.cache import Draft
from bioclip_plugin.fetching.errors import AddressError, TryFailed
from bioclip_plugin.fetching.kinds import START_BYTES, Kind, document_kind, has_end, image_kind
from bioclip_plugin.fetching.options import FetchOptions

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from bioclip_plugin.fetching.connections import Connections, Line

_CHUNK_BYTES = 1 << 16
_MAX_INFLATED_CHUNK = 1 << 20
_GZIP = frozenset(("gzip", "x-gzip"))
_ENCODINGS = _GZIP | {"", "identity", "none", "binary"}


@dataclass(frozen=True, slots=True)
class Body:
    """A whole image in a draft."""

    sha256: str
    size: int
    kind: Kind
    etag: str
    last_modified: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """Another address to ask."""

    to: Address


@dataclass(frozen=True, slots=True)
class NotChanged:
    """The image is as it was when it was fetched."""


@dataclass
class Question:
    """One request, and how far its answer has come."""

    address: Address
    agent: str
    """The User-Agent."""
    condition: dict[str, str]
    """Headers of a conditional request."""
    unended: dict[str, str]
    """The sha256 of an earlier answer to the same address that may have been cut."""
    is_document: bool = False
    """A JSON document is expected instead of an image."""
    answered: int | None = None
    """HTTP status, once it came."""
    received: int = 0
    """Bytes of the body that came."""
    stated: int | None = None
    """Bytes that Content-Length states."""

    def headers(self) -> dict[str, str]:
        """Return the headers to send."""
        accepted = "application/ld+json, application/json" if self.is_document else "image/*, */*;q=0.1"
        return {"User-Agent": self.agent, "Accept": accepted, "Accept-Encoding": "identity", **self.condition}


def ask(
    question: Question,
    connections: Connections,
    line: Line,
    options: FetchOptions,
    draft: Draft,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Body | Redirect | NotChanged:
    """Send one request and write the answer's body to a draft.

    Args:
        question: the request.
        connections: pools of connections.
        line: the connection's line, by which another thread may cut it.
        options: limits.
        draft: the file to write to.
        now: the clock, for dates in Retry-After.

    Raises:
        TryFailed: for everything else that can come back.
        OSError: if the draft cannot be written (:class:`~bioclip_plugin.fetching.cache.DiskFault`).
    """
    try:
        return _asked(question, connections, line, options, draft, now)
    except TryFailed as failed:
        failed.answered = question.answered
        raise


def _asked(
    question: Question,
    connections: Connections,
    line: Line,
    options: FetchOptions,
    draft: Draft,
    now: Callable[[], datetime],
) -> Body | Redirect | NotChanged:
    from bioclip_plugin.fetching import reasons

    try:
        with line, quiet():
            outcome = _outcome(question, connections, options, draft, now)
    except Exception as error:  # urllib3's, http.client's, ssl's and the system's
        if getattr(error, "is_of_disk", False):
            raise
        if line.why_cut:
            raise _cut(line) from None
        if isinstance(error, (TryFailed, BioclipError)):
            raise
        host = question.address.host_and_port
        raise reasons.of_error(error, host, received=question.received, stated=question.stated) from error
    if line.why_cut:  # a body without a stated length seems to end there
        raise _cut(line)
    return outcome


def _cut(line: Line) -> TryFailed:
    return TryFailed(line.why_cut, blames_host=True)


def _outcome(
    question: Question, connections: Connections, options: FetchOptions, draft: Draft, now: Callable[[], datetime]
) -> Body | Redirect | NotChanged:
    from urllib3 import Timeout

    from bioclip_plugin.fetching import reasons

    answer: BaseHTTPResponse | None = None
    try:
        answer = connections.manager_for(question.address).urlopen(
            "GET", question.address.text, headers=question.headers(), redirect=False, retries=False, preload_content=False,
            decode_content=False, timeout=Timeout(connect=options.fetch_connect_timeout, read=options.fetch_silence),
        )  # fmt: skip
        question.answered, question.stated = answer.status, answer.length_remaining
        if answer.status in reasons.REDIRECTS:
            return _redirect(question.address, answer)
        if answer.status == 304 and question.condition:
            return NotChanged()
        if answer.status not in (200, 203):  # 203: changed by a proxy
            raise reasons.of_status(answer.status, answer.reason, answer.headers, now())
        return _body(question, answer, options, draft)
    finally:
        _release(answer)


def _redirect(address: Address, answer: BaseHTTPResponse) -> Redirect:
    location = answer.headers.get("Location", "")
    if not location.strip():
        raise TryFailed(f"{answer.status} without an address to go to", status=answer.status)
    try:
        # Letters outside of ASCII came as bytes of an unknown encoding, which the library shows as Latin-1.
        quoted = "".join(letter if letter.isascii() else f"%{ord(letter) & 0xFF:02X}" for letter in location)
        return Redirect(address.following(quoted))
    except AddressError as error:
        raise TryFailed(str(error), status=answer.status) from None


def _release(answer: BaseHTTPResponse | None) -> None:
    """Keep the connection if the answer is read to its end or nearly so, else close it: what else it sends is of no use."""
    if answer is None:
        return
    connection, original = answer.connection, getattr(answer, "_original_response", None)
    with suppress(Exception):  # the answer is judged already
        if answer.length_remaining is not None and answer.length_remaining <= _CHUNK_BYTES:  # the page of a 404
            answer.read(_CHUNK_BYTES, decode_content=False)
        if original is not None and original.isclosed() and not original.has_more:
            answer.release_conn()
            return
    answer.close()
    if connection is not None:
        connection.close()
    answer.release_conn()


def _body(question: Question, answer: BaseHTTPResponse, options: FetchOptions, draft: Draft) -> Body:
    limit = options.fetch_max_mb * 1_000_000
    too_large = TryFailed(f"larger than {options.fetch_max_mb:,} MB, the limit (--fetch-max-mb)", status=200)
    encoding = answer.headers.get("Content-Encoding", "").strip().lower()
    stated = question.stated
    if stated is not None and stated > limit and encoding not in _GZIP:
        raise too_large
    digest, size, start, kind = hashlib.sha256(), 0, b"", None
    with draft.opened() as file:
        for chunk in _decoded(_chunks(question, answer), encoding):
            size += len(chunk)
            if size > limit or question.received > limit:
                raise too_large
            digest.update(chunk)
            if kind is None:
                start += chunk
                kind = _kind(start, question, encoding) if len(start) >= START_BYTES else None
            with draft.faults():
                file.write(chunk)
        if getattr(getattr(answer, "_original_response", None), "has_more", False):
            raise TryFailed(f"longer than announced: more than {stated or 0:,} bytes came", again=True)
        kind = kind or _kind(start, question, encoding)
        draft.flush(file)
    sha256 = digest.hexdigest()
    if stated is None and not answer.chunked:
        _check_end(question, draft, kind, sha256, size)
    return Body(sha256, size, kind, answer.headers.get("ETag", "")[:500], answer.headers.get("Last-Modified", "")[:100])


def _check_end(question: Question, draft: Draft, kind: Kind, sha256: str, size: int) -> None:
    """Refuse an image without an end, unless it comes equal twice: nothing tells it from one whose connection broke."""
    if question.unended.get("sha256") != sha256 and not has_end(draft.path, kind):
        question.unended["sha256"] = sha256
        raise TryFailed(
            f"truncated: {size:,} bytes, without a stated length and without the end of an image", again=True
        )


def _kind(start: bytes, question: Question, encoding: str) -> Kind:
    try:
        if question.is_document:
            return document_kind(start)
        return image_kind(start, question.address.target.partition("?")[0])
    except TryFailed as refused:
        refused.status = 200
        if encoding not in _ENCODINGS:
            raise TryFailed(f"it came compressed ({encoding[:20]}), which was not asked for") from None
        raise


def _chunks(question: Question, answer: BaseHTTPResponse) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK_BYTES, decode_content=False):
        question.received += len(chunk)
        yield chunk


def _decoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Undo gzip, which some servers apply unasked, in pieces of limited size; other bytes are taken as they are.

    The bytes decide, since some servers announce an encoding that they do not use.
    """
    decoder = None
    for number, chunk in enumerate(chunks):
        if number == 0 and encoding in _GZIP and chunk.startswith(b"\x1f\x8b"):
            decoder = zlib.decompressobj(31)
        if decoder is None:
            yield chunk
            continue
        while chunk:
            try:
                piece = decoder.decompress(chunk, _MAX_INFLATED_CHUNK)
            except zlib.error:
                raise TryFailed("the compression of the answer (gzip) is damaged", again=True) from None
            if piece:
                yield piece
            chunk = decoder.unconsumed_tail
            if decoder.eof:
                break
    if decoder is not None and not decoder.eof:
        raise TryFailed("truncated: the compression of the answer (gzip) does not end", again=True)
