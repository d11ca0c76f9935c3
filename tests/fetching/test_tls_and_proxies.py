"""Certificates and proxies: what is verified, and what is said when it is not right."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from image_server import ImageServer, OpenFetcher, photo, redirect

from bioclip_plugin.fetching.errors import FetchError


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_server(certificate: trustme.LeafCert) -> ImageServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return ImageServer(context)


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authority's certificate as that of an organisation, named in the environment."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def test_an_organisation_s_own_certificates_are_named_in_the_environment(
    authority: trustme.CA, trusted: None, open_fetcher: OpenFetcher
) -> None:
    with tls_server(authority.issue_cert("localhost")) as server:
        fetched = open_fetcher().fetch(server.url("/photos/a.jpg", "localhost"))
        assert fetched.path.read_bytes() == photo("/photos/a.jpg")


def test_an_unknown_issuer_is_refused_with_what_to_do(authority: trustme.CA, open_fetcher: OpenFetcher) -> None:
    with tls_server(authority.issue_cert("localhost")) as server:
        with pytest.raises(FetchError, match=r"^the certificate of localhost:\d+ is signed by .*SSL_CERT_FILE"):
            open_fetcher().fetch(server.url("/photos/a.jpg", "localhost"))
        assert server.count() == 0


def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusted: None, open_fetcher: OpenFetcher
) -> None:
    with (
        tls_server(authority.issue_cert("museum.example")) as server,
        pytest.raises(FetchError, match=r"^the certificate of localhost:\d+ is for another name$"),
    ):
        open_fetcher().fetch(server.url("/photos/a.jpg", "localhost"))


def test_an_expired_certificate_is_refused(authority: trustme.CA, trusted: None, open_fetcher: OpenFetcher) -> None:
    expired = authority.issue_cert("localhost", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with (
        tls_server(expired) as server,
        pytest.raises(FetchError, match=r"^the certificate of localhost:\d+ has expired$"),
    ):
        open_fetcher().fetch(server.url("/photos/a.jpg", "localhost"))


def test_a_redirect_from_https_to_http_is_refused(
    authority: trustme.CA, trusted: None, server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    with tls_server(authority.issue_cert("localhost")) as secure:
        secure.add("/a.jpg", redirect(server.url("/photos/a.jpg")))
        with pytest.raises(FetchError, match="redirected from https to http"):
            open_fetcher().fetch(secure.url("/a.jpg", "localhost"))
    assert server.count() == 0


def test_a_server_without_tls_is_a_failure_in_one_line(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    with pytest.raises(FetchError, match=r"^TLS fails with 127.0.0.1:\d+ \(.*wrong version number.*\)$"):
        open_fetcher(fetch_tries=1).fetch(server.url("/photos/a.jpg").replace("http:", "https:"))


class Proxy:
    """A forwarding and tunnelling proxy; it records the first line and the credentials of each request."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.credentials: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, IndexError), client:
            data = client.recv(65536)
            first = data.split(b"\r\n")[0].decode()
            self.lines.append(first)
            self.credentials += [
                base64.b64decode(line.split()[-1]).decode()
                for line in data.decode("latin-1").split("\r\n")
                if line.lower().startswith("proxy-authorization")
            ]
            method, target, _ = first.split()
            place = target if method == "CONNECT" else target.split("/")[2]
            host, _, port = place.partition(":")
            with socket.create_connection((host if host == "localhost" else "127.0.0.1", int(port or 80))) as upstream:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    upstream.sendall(data.replace(f"http://{place}".encode(), b"", 1))
                back = threading.Thread(target=self._pump, args=(upstream, client), daemon=True)
                back.start()
                self._pump(client, upstream)

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.close()


def test_a_proxy_of_the_environment_is_used_with_its_password_which_is_shown_nowhere(
    server: ImageServer, proxy: Proxy, open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
    address = server.url("/photos/a.jpg", "museum.invalid")
    fetched = open_fetcher(fetch_private=False).fetch(address)
    assert fetched.path.read_bytes() == photo("/photos/a.jpg")
    assert proxy.lines == [f"GET {address} HTTP/1.1"]
    assert proxy.credentials == ["me:secret"]
    assert "secret" not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))


def test_a_proxy_carries_tls_to_the_host_whose_certificate_is_verified(
    authority: trustme.CA, trusted: None, proxy: Proxy, open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    with tls_server(authority.issue_cert("museum.invalid")) as server:
        good, bad = (server.url("/photos/a.jpg", host) for host in ("museum.invalid", "other.invalid"))
        assert open_fetcher(fetch_private=False).fetch(good).path.read_bytes() == photo("/photos/a.jpg")
        assert [line.rpartition(" ")[0] for line in proxy.lines] == [f"CONNECT museum.invalid:{server.port}"]
        with pytest.raises(FetchError, match=r"the certificate of other.invalid:\d+ is for another name"):
            open_fetcher(fetch_private=False).fetch(bad)


def test_a_private_address_is_not_asked_for_by_a_proxy_either(
    server: ImageServer, proxy: Proxy, open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    for host in ("127.0.0.1", "localhost", "2130706433", "169.254.169.254"):
        with pytest.raises(FetchError, match="not a public address"):
            open_fetcher(fetch_private=False).fetch(server.url("/photos/a.jpg", host))
    assert proxy.lines == []


def test_hosts_of_no_proxy_are_asked_directly(
    server: ImageServer, proxy: Proxy, open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1,intern.example")
    assert open_fetcher().fetch(server.url("/photos/a.jpg")).status == 200
    assert proxy.lines == []


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "http://", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("http_proxy", text.replace("//", "//me:secret@"))
    with pytest.raises(FetchError, match="the proxy for http addresses in the environment") as raised:
        open_fetcher().fetch("http://museum.example/a.jpg")
    assert "secret" not in str(raised.value)


def test_a_proxy_that_is_gone_is_named_as_the_reason(
    proxy: Proxy, open_fetcher: OpenFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.close()
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(FetchError, match=r"^the proxy gives no connection to museum.example \(Connection refused\)"):
        open_fetcher(fetch_tries=2).fetch("https://museum.example/a.jpg")
