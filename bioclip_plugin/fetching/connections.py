"""Connections to the very IP addresses that were checked, which can be cut from any thread."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers, parse_url

from bioclip_core.errors import DataError
from bioclip_plugin.fetching.addresses import Address
from bioclip_plugin.fetching.errors import NotPublic, TryFailed
from bioclip_plugin.fetching.public import Found, is_link_local, is_public, look_up

_NEXT_AFTER_S = 5.0
"""Longest wait for one of several IP addresses of a host; IPv6 is often announced and does not work."""
_HOSTS_KEPT = 64
"""Hosts to which idle connections are kept."""

_current = threading.local()


class Line:
    """The connection of one request, which another thread may cut."""

    def __init__(self, ends_at: float) -> None:
        """Begin one that may last until a time of ``time.monotonic``."""
        self.ends_at = ends_at
        self.why_cut = ""
        """Reason for which it was cut; empty if it was not."""
        self.peer = ""
        """IP address of the host that was asked; empty if a proxy asks it."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def hold(self, connected: socket.socket) -> None:
        """Remember a socket: a duplicate, since TLS takes the descriptor away from the object that was connected."""
        duplicate = socket.fromfd(connected.fileno(), connected.family, connected.type)
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = duplicate
        if self.why_cut:
            self._shut()

    @property
    def is_held(self) -> bool:
        """True if a socket is known."""
        return self._socket is not None

    def cut(self, why: str) -> None:
        """End the connection; whatever waits for it fails at once."""
        self.why_cut = self.why_cut or why
        self._shut()

    def _shut(self) -> None:
        with self._lock, suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Line:
        _current.line = self
        return self

    def __exit__(self, *_: object) -> None:
        _current.line = None
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class _Response(http.client.HTTPResponse):
    """An answer that notices bytes behind its announced end, where the library would leave them for the next answer."""

    def __init__(self, sock: socket.socket, *given: Any, **named: Any) -> None:
        super().__init__(sock, *given, **named)
        self._sock_of_answer = sock
        self.has_more = False

    def _close_conn(self) -> None:
        if self.fp is not None and self.length == 0 and not self.chunked:
            self.has_more = self._finds_more()
        super()._close_conn()  # type: ignore[misc]

    def _finds_more(self) -> bool:
        """True if more has come already; does not wait for it."""
        before = self._sock_of_answer.gettimeout()
        try:
            self._sock_of_answer.settimeout(0)
            return bool(self.fp.peek(1).strip(b"\r\n"))
        except (OSError, ValueError):  # nothing has come
            return False
        finally:
            with suppress(OSError):
                self._sock_of_answer.settimeout(before)


class _Cuttable(HTTPConnection):
    """A connection whose socket the line of the request knows, and that goes to checked IP addresses unless to a proxy."""

    response_class = _Response
    allows_private = False
    peer = ""

    def _new_conn(self) -> socket.socket:
        if self.proxy is not None:
            connected = super()._new_conn()
            _hold(connected)
            return connected
        return self._connected(look_up(self._dns_host, self.port, private=self.allows_private))

    def _connected(self, found: list[Found]) -> socket.socket:
        limit_s = self.timeout if isinstance(self.timeout, (int, float)) else 60.0
        until = time.monotonic() + limit_s
        last: OSError = OSError("no address")
        for number, (family, ip) in enumerate(found):
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(left_s if number == len(found) - 1 else min(left_s, _NEXT_AFTER_S))
                _hold(sock)
                sock.connect((ip, self.port))
                peer = str(sock.getpeername()[0])
                if is_link_local(peer) or not (self.allows_private or is_public(peer)):
                    raise NotPublic(f"the connection to {self.host} leads to {peer}, which is", "")
                sock.settimeout(limit_s)
                self.peer = peer
                if (line := getattr(_current, "line", None)) is not None:
                    line.peer = peer
                return sock
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
        raise last

    def request(self, *given: Any, **named: Any) -> None:
        line: Line | None = getattr(_current, "line", None)
        if self.sock is not None and line is not None and not line.is_held:  # a connection that was kept
            line.hold(self.sock)
        if line is not None:
            line.peer = self.peer
        super().request(*given, **named)


class _CuttableTls(_Cuttable, HTTPSConnection):
    """The same with TLS: the certificate must be that of the name, not of the IP address."""


def _hold(sock: socket.socket) -> None:
    line: Line | None = getattr(_current, "line", None)
    if line is not None:
        line.hold(sock)


class Connections:
    """Pools of connections, direct and by proxies."""

    def __init__(self, *, private: bool, per_host: int) -> None:
        self._private, self._per_host = private, per_host
        self._managers: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def manager_for(self, address: Address) -> urllib3.PoolManager:
        """Return the pools for an address: those of the proxy that the environment names for it, or direct ones.

        Raises:
            TryFailed: for an address of a private network behind a proxy.
            DataError: for a proxy that cannot be used.
        """
        proxy = proxy_for(address)
        if proxy and not self._private:
            _check_by_name(address)
        with self._lock:
            key = (proxy, address.scheme)
            if key not in self._managers:
                self._managers[key] = self._manager(*key)
            return self._managers[key]

    def _manager(self, proxy: str, scheme: str) -> urllib3.PoolManager:
        settings: dict[str, Any] = {"num_pools": _HOSTS_KEPT, "maxsize": self._per_host}
        if scheme == "https":  # loading the certificates takes a while
            settings["ssl_context"] = tls_context()
        if not proxy:
            made = urllib3.PoolManager(**settings)
        else:
            url = parse_url(proxy)
            headers = make_headers(proxy_basic_auth=url.auth) if url.auth else None
            if url.scheme == "https":
                settings["proxy_ssl_context"] = tls_context()
            made = urllib3.ProxyManager(f"{url.scheme}://{url.netloc}", proxy_headers=headers, **settings)
        plain = type("Plain", (_Cuttable,), {"allows_private": self._private})
        tls = type("Tls", (_CuttableTls,), {"allows_private": self._private})
        made.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }
        return made

    def close(self) -> None:
        """Close idle connections; those in use are cut by their lines."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            manager.clear()


def proxy_for(address: Address) -> str:
    """Return the proxy that the environment (or the system) names for an address; empty for none.

    Raises:
        DataError: for a proxy of a kind that cannot be used.
    """
    proxies = getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(address.host_and_port):
        return ""
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        url = parse_url(proxy)
    except urllib3.exceptions.LocationParseError:
        url = None
    if url is None or url.scheme not in ("http", "https") or not url.host:
        raise DataError(
            f"the proxy for {address.scheme} addresses in the environment is not http://HOST:PORT: set "
            f"{address.scheme.upper()}_PROXY to one, or NO_PROXY for {address.host}"
        )
    return proxy


def is_inside(line: Line, address: Address) -> bool:
    """Return True if the host that answered is in a private network, which no host of the internet may lead to.

    Args:
        line: the line of the request.
        address: its address, which is looked up if a proxy asked for it.
    """
    if line.peer:
        return not is_public(line.peer)
    try:
        _check_by_name(address)
    except TryFailed:
        return True
    return False


def _check_by_name(address: Address) -> None:
    """Refuse a private address behind a proxy, as far as this machine can look it up; else the proxy decides."""
    try:
        look_up(address.host, address.port, private=False)
    except TryFailed as failed:
        if not failed.blames_host:  # it was found, and is private
            raise


def tls_context() -> ssl.SSLContext:
    """Return the rules for TLS: the machine's certificates, or those of SSL_CERT_FILE; certifi's where there are none."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not _has_folder_of_certificates():
        with suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _has_folder_of_certificates() -> bool:
    return bool(ssl.get_default_verify_paths().capath)
