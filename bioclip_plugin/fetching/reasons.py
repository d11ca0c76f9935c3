"""Errors of HTTP, TLS and the network as a reason in one line, with what follows from it."""

from __future__ import annotations

import email.utils
import errno
import http
import http.client
import os
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from urllib3 import exceptions

from bioclip_core.errors import one_line
from bioclip_plugin.fetching.errors import TryFailed

REDIRECTS = frozenset((301, 302, 303, 307, 308))
_AGAIN = frozenset((408, 420, 425, 429, 500, 502, 503, 504, *range(520, 531)))
_PAUSE = frozenset((420, 429, 503))  # 420: GBIF
_BLAME = frozenset((401, 403, 407, 429, 450, 451))
_CERTIFICATE = {
    9: "is not valid yet: is the clock of this machine right?",
    10: "has expired",
    18: "is signed by itself",
    19: "is signed by an unknown issuer",
    20: "is signed by an unknown issuer",
    21: "is signed by an unknown issuer",
    62: "is for another name",
    64: "is for another name",
}
"""Numbers of OpenSSL for what is wrong with a certificate."""
_TRUST = "; name a file with your organisation's certificates in SSL_CERT_FILE if it has its own"


def of_status(status: int, reason: str | None, headers: Mapping[str, str], now: datetime) -> TryFailed:
    """Return the failure that an HTTP status other than 200 is."""
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = one_line(reason or "")[:60]
    return TryFailed(
        f"{status} {phrase}".strip(),
        status=status,
        again=status in _AGAIN,
        blames_host=status in _BLAME or status in _AGAIN,
        wait_s=retry_after(headers.get("Retry-After"), now) if status in _AGAIN else None,
        pauses_host=status in _PAUSE,
        is_answer=status not in _PAUSE,
    )


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a host asks to wait, from a number of seconds or a date; None if it states neither."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:300]), 999_999_999.0)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def of_error(error: Exception, host: str, *, received: int, stated: int | None) -> TryFailed:
    """Return the failure that an error of urllib3, http.client or the socket is.

    Args:
        error: the error.
        host: the host, for messages about it.
        received: bytes of the body that came.
        stated: bytes that Content-Length states.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _of_certificate(one, host)
    if any(isinstance(one, exceptions.ProxyError) for one in chain):
        inner = next((one for one in chain if isinstance(one, OSError)), error)
        return TryFailed(f"the proxy gives no connection to {host} ({_plain(inner)})", again=True, blames_host=True)
    for one in chain:
        if isinstance(one, ssl.SSLError):
            return TryFailed(f"TLS fails with {host} ({_plain(one)})", again=True, blames_host=True)
    if any(isinstance(one, (exceptions.ReadTimeoutError, TimeoutError)) for one in chain):
        return TryFailed(f"{host} does not answer in time", again=True, blames_host=True)
    if any(
        isinstance(one, (exceptions.IncompleteRead, http.client.IncompleteRead, exceptions.InvalidChunkLength))
        for one in chain
    ):
        whole = f" of {stated:,}" if stated is not None else ""
        got = f"got {received:,}{whole} bytes" if received or stated else "it broke off before its end"
        return TryFailed(f"truncated: {got}", again=True)
    for one in chain:
        if isinstance(one, OSError) and one.errno is not None:
            return _of_system(one, host, received)
    if any(isinstance(one, http.client.RemoteDisconnected) for one in chain):
        return TryFailed(f"{host} closed the connection without an answer", again=True, blames_host=True)
    if any(isinstance(one, (http.client.HTTPException, exceptions.InvalidHeader)) for one in chain):
        return TryFailed(f"{host} does not answer in HTTP ({_plain(chain[-1])})", again=True, blames_host=True)
    return TryFailed(f"{host} could not be asked ({_plain(chain[-1])})", again=True, blames_host=True)


def _of_system(error: OSError, host: str, received: int) -> TryFailed:
    if error.errno == errno.ECONNREFUSED:
        return TryFailed(f"{host} refuses connections", again=True, blames_host=True)
    if error.errno in (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED):
        return TryFailed(f"{host} broke the connection" + (f" after {received:,} bytes" if received else ""),
                         again=True, blames_host=not received)  # fmt: skip
    return TryFailed(f"no connection to {host} ({_plain(error)})", again=True, blames_host=True)


def _of_certificate(error: ssl.SSLCertVerificationError, host: str) -> TryFailed:
    number = getattr(error, "verify_code", 0)
    wrong = (
        _CERTIFICATE.get(number) or f"cannot be verified ({getattr(error, 'verify_message', '') or 'no reason given'})"
    )
    trust = _TRUST if number in (18, 19, 20, 21) else ""
    return TryFailed(f"the certificate of {host} {wrong}{trust}", blames_host=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was made of."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [inner for inner in (one.__cause__, one.__context__, *one.args) if isinstance(inner, BaseException)]


def _plain(error: BaseException) -> str:
    """Return the text of an error without the objects that libraries quote in it."""
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ssl.SSLError):
        return error.strerror or os.strerror(error.errno)
    reason = getattr(error, "reason", None)
    if isinstance(error, ssl.SSLError) and isinstance(reason, str):
        reason = reason.lower().replace("_", " ")
    return one_line(reason if isinstance(reason, str) else str(error) or type(error).__name__)[:120]
