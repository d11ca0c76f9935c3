"""Who may use the server: Host, Origin and Sec-Fetch-Site of every request, and a token, or the cookie that a link is swapped for.

Any web page may send requests to this machine, and a name of its own may be made to point here (DNS rebinding). Cookies do not know
ports, and all ports of one host are one site: another local program's page is held off by its Origin, not by SameSite.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
import stat
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bioclip_core.errors import DataError
from bioclip_core.process import system
from bioclip_plugin.serving.options import ServeOptions
from bioclip_plugin.serving.problems import HEADERS, Problem, response_of

ENTER = "/enter"
"""The page that takes a link's code or the token."""
OPEN_PATHS = frozenset({ENTER, "/health"})
"""Paths that need no token."""
LEAST_TOKEN = 20
"""Fewest characters of a token from a file."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})


@dataclass(slots=True)
class Access:
    """The secrets of one start, and the names under which the server may be addressed."""

    port: int
    token: str | None
    """None lets everybody in who passes the other checks."""
    names: frozenset[str] = frozenset({"localhost"})
    """Names that a Host header may have, in lower case."""
    takes_addresses: bool = False
    """True if any IP address may be addressed, and not only those of this machine alone: a page of another name never has one."""
    _session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _code: str | None = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, options: ServeOptions, port: int) -> Access:
        """Return the access that the options want, with a new token, or the one of the token file.

        Raises:
            DataError: for a token file that cannot be used.
        """
        names = {"localhost", *(name.lower().rstrip(".") for name in options.allowed_hosts)}
        if not options.is_loopback:
            names |= {options.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        token = None if options.no_token else token_of(options.token_file)
        return cls(port, token, frozenset(names), takes_addresses=not options.is_loopback)

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies of one host are shared by all its ports."""
        return f"bioclip-{self.port}"

    def link(self, host: str) -> str:
        """Return the address to open in a browser, with the code that is taken once."""
        address = f"http://{host_in_address(host)}:{self.port}"
        return address if self.token is None else f"{address}{ENTER}?code={self._code}"

    def take_code(self, code: str) -> bool:
        """Return True for the link's code, the first time."""
        with self._lock:
            if self._code is None or not _is_same(code, self._code):
                return False
            self._code = None
            return True

    def is_token(self, token: str) -> bool:
        """Return True for the token."""
        return self.token is not None and _is_same(token, self.token)

    def set_cookie(self, headers: MutableHeaders) -> None:
        """Give a browser the cookie, which ends with the server's start and the browser's session."""
        headers.append("Set-Cookie", f"{self.cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/")

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Check one request.

        Raises:
            Problem: 400 for another Host, 403 for a foreign page, 401 without token or cookie.
        """
        host = self._checked_host(headers)
        _check_origin(method, host, headers)
        if self.token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return
        if path in OPEN_PATHS:
            return
        held = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        if _is_same(held, self._session):
            if method not in _SAFE and "origin" not in headers and "sec-fetch-site" not in headers:
                raise Problem(
                    403, "a cookie alone is not enough without Origin: a program sends Authorization: Bearer TOKEN"
                )
            return
        problem = Problem(
            401,
            "the token is missing or wrong: open the link that the server printed, or send Authorization: Bearer TOKEN",
        )
        problem.headers = {"WWW-Authenticate": 'Bearer realm="bioclip-plugin"'}
        raise problem

    def _checked_host(self, headers: Headers) -> str:
        given = headers.getlist("host")
        host = given[0].lower() if len(given) == 1 else ""
        name = _name_of(host)
        if name is not None:
            address = _address(name)
            known = name in self.names if address is None else address.is_loopback or self.takes_addresses
            if known:
                return host
        raise Problem(
            400, "the Host of the request is not this server; another name is allowed with --allowed-host NAME"
        )


def _check_origin(method: str, host: str, headers: Headers) -> None:
    """Refuse what a page of another origin has sent; following a link to a page is allowed."""
    origin = headers.get("origin")
    if origin is not None and not _is_own_origin(origin, host):
        raise Problem(403, "the request comes from a page of another origin")
    site = headers.get("sec-fetch-site")
    is_visit = method in ("GET", "HEAD") and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "navigate",
        "document",
    )
    if site is not None and site not in _OWN_SITES and not is_visit:
        raise Problem(403, "the request comes from a page of another site")


def _is_own_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host


def _name_of(host: str) -> str | None:
    """Return the name in a Host header without its port; None for a text that is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    if parts.netloc != host or parts.username is not None or not parts.hostname:
        return None
    return parts.hostname.rstrip(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(name)
    return None


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def host_in_address(host: str) -> str:
    """Return a host as an address for a browser writes it; one that stands for every address becomes this machine's name."""
    if host in ("", "0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def token_of(file: Path | None) -> str:
    """Return the token of a file, made with a new one if it does not exist; a new one without a file.

    Raises:
        DataError: for a file that others may read, or that holds no token.
    """
    if file is None:
        return secrets.token_urlsafe(32)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _token_in(file)
    except OSError as error:
        raise DataError(f"--token-file {file} cannot be written: {error.strerror}; give another place") from None
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{token}\n")
    return token


def _token_in(file: Path) -> str:
    try:
        mode, text = file.stat().st_mode, file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--token-file {file} cannot be read: {error}") from None
    if not system.is_windows() and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise DataError(f"--token-file {file}: other users may read it; take that away: chmod 600 {file}")
    token = text.strip()
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise DataError(
            f"--token-file {file} holds no token: it needs one line of {LEAST_TOKEN} characters or more, without blanks; remove the file, "
            "and a new one is made"
        )
    return token


class Guard:
    """Middleware that lets through what :meth:`Access.check` allows, and gives every response its headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then hand it on; connections other than HTTP are refused."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        try:
            self._access.check(scope["method"], scope["path"], headers)
        except Problem as problem:
            await response_of(problem, headers.get("accept", ""))(scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))


def _with_headers(send: Send, wanted: Mapping[str, str] = HEADERS) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in wanted.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers
