"""Only public addresses, however they are written and wherever a name or a redirect leads."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from image_server import ImageServer, OpenFetcher, photo, redirect

from bioclip_plugin.fetching import public
from bioclip_plugin.fetching.errors import FetchError
from bioclip_plugin.fetching.public import is_public


@pytest.mark.parametrize(
    "number",
    "8.8.8.8 193.0.6.139 2606:4700::6810:84e5 ::ffff:8.8.8.8 64:ff9b::808:808 100.63.0.1 172.32.0.1".split(),
)
def test_addresses_of_the_internet_are_public(number: str) -> None:
    assert is_public(number)


@pytest.mark.parametrize(
    "number",
    "127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 100.127.0.1 "
    "192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 fe80::1 fe80::1%eth0 "
    "fc00::1 fd12::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1 64:ff9b:1::808:808 2002:7f00:1:: "
    "2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 fec0::1 100::1 not-a-number".split(),
)  # fmt: skip
def test_addresses_of_private_networks_and_tunnels_to_them_are_not_public(number: str) -> None:
    assert not is_public(number)


@pytest.mark.parametrize(
    "host", "127.0.0.1 localhost LOCALHOST. 2130706433 0x7f.1 0x7f000001 0177.0.0.1 127.1 0 [::1] [::ffff:127.0.0.1] １２７.0.0.1".split()
)  # fmt: skip
def test_this_machine_is_not_asked_however_its_address_is_written(
    server: ImageServer, open_fetcher: OpenFetcher, host: str
) -> None:
    with pytest.raises(FetchError, match=r"not a public address; --fetch-private|cannot be looked up|no host can have"):
        open_fetcher(fetch_private=False, fetch_tries=1).fetch(server.url("/photos/a.jpg", host))
    assert server.connections == 0


def answering(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> None:
    """Let the name server give these numbers, other ones each time."""
    real = socket.getaddrinfo

    def look_up(host: str, port: Any, *given: Any, **named: Any) -> Any:
        if host not in answers:
            return real(host, port, *given, **named)
        numbers = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [answer for number in numbers for answer in real(number, port, *given, **named)]

    monkeypatch.setattr(public.socket, "getaddrinfo", look_up)


def test_a_name_that_leads_to_a_private_address_among_others_is_refused(
    monkeypatch: pytest.MonkeyPatch, open_fetcher: OpenFetcher
) -> None:
    answering(monkeypatch, {"museum.example": [["93.184.216.34", "10.0.0.7"]]})
    with pytest.raises(FetchError, match=r"^museum.example is 10.0.0.7, which is not a public address"):
        open_fetcher(fetch_private=False).fetch("http://museum.example/a.jpg")


def test_a_name_is_looked_up_once_and_that_very_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    """The second answer of the name server would lead to this machine (DNS rebinding)."""
    answering(monkeypatch, {"rebinding.example": [["192.88.98.1"], ["127.0.0.1"]]})
    asked: list[tuple[str, int]] = []

    def connect(self: socket.socket, place: Any) -> None:
        asked.append(place)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(FetchError, match="refuses connections"):
        open_fetcher(fetch_private=False, fetch_tries=1).fetch(f"http://rebinding.example:{server.port}/photos/a.jpg")
    assert asked == [("192.88.98.1", server.port)]


def test_a_connection_that_ends_at_a_private_address_is_not_used(
    monkeypatch: pytest.MonkeyPatch, server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    """As behind a translation of addresses on the way."""
    answering(monkeypatch, {"museum.example": [["193.0.6.139"]]})
    real = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: real(self, ("127.0.0.1", place[1])))
    with pytest.raises(FetchError, match=r"leads to 127.0.0.1, which is not a public address"):
        open_fetcher(fetch_private=False).fetch(f"http://museum.example:{server.port}/photos/a.jpg")
    assert server.count() == 0


def test_a_redirect_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    address = server.add("/a.jpg", redirect("http://169.254.169.254/latest/meta-data/"))
    answering(monkeypatch, {"museum.example": [["127.0.0.1"]]})
    real = public.is_public
    monkeypatch.setattr(public, "is_public", lambda number: number == "127.0.0.1" or real(number))
    monkeypatch.setattr("bioclip_plugin.fetching.connections.is_public", lambda number: True)
    fetcher = open_fetcher(fetch_private=False)
    with pytest.raises(
        FetchError, match=r"^169.254.169.254 is not a public .*\(redirected there by museum\.example:\d+\)$"
    ):
        fetcher.fetch(address.replace("127.0.0.1", "museum.example"))
    assert server.count() == 1


def test_a_host_with_a_dead_address_is_reached_by_its_other_one(
    monkeypatch: pytest.MonkeyPatch, server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    answering(monkeypatch, {"two.example": [["::1", "127.0.0.1"]]})
    assert open_fetcher().fetch(server.url("/photos/a.jpg", "two.example")).path.read_bytes() == photo("/photos/a.jpg")


def test_a_name_without_an_address_says_so(monkeypatch: pytest.MonkeyPatch, open_fetcher: OpenFetcher) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(public.socket, "getaddrinfo", look_up)
    with pytest.raises(FetchError, match=r"^the name gone.example cannot be looked up \(Name or service not known\)$"):
        open_fetcher().fetch("https://gone.example/a.jpg")


def private_second_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let museum.example be public and this machine's other addresses private, as far as the fetcher knows."""
    answering(monkeypatch, {"museum.example": [["127.0.0.1"]], "inside.example": [["127.0.0.2"]]})
    real = public.is_public
    for module in ("public", "connections"):
        path = f"bioclip_plugin.fetching.{module}.is_public"
        monkeypatch.setattr(path, lambda number: number == "127.0.0.1" or real(number))


@pytest.mark.parametrize("to", ["127.0.0.2", "inside.example", "[::1]", "2130706434"])
def test_a_public_host_does_not_redirect_into_an_allowed_private_network(
    monkeypatch: pytest.MonkeyPatch, server: ImageServer, open_fetcher: OpenFetcher, to: str
) -> None:
    private_second_machine(monkeypatch)
    address = server.add("/a.jpg", redirect("/b.jpg"))
    server.add("/b.jpg", redirect(server.url("/admin", to)))
    with pytest.raises(FetchError, match=r"not a public address, and a public host redirects to it, which is refused"):
        open_fetcher(fetch_private=True).fetch(address.replace("127.0.0.1", "museum.example"))
    assert [request.path for request in server.requests] == ["/a.jpg", "/b.jpg"]


def test_a_private_host_redirects_to_private_and_public_ones(
    monkeypatch: pytest.MonkeyPatch, server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    fetcher = open_fetcher(fetch_private=True)
    inside = server.add("/a.jpg", redirect(server.url("/photos/a.jpg", "localhost")))
    assert fetcher.fetch(inside).path.read_bytes() == photo("/photos/a.jpg")
    answering(monkeypatch, {"inside.example": [["127.0.0.1"]]})
    again = server.add("/c.jpg", redirect(server.url("/photos/b.jpg", "inside.example")))
    assert fetcher.fetch(again).path.read_bytes() == photo("/photos/b.jpg")


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_link_local_addresses_are_refused_also_in_private_networks(open_fetcher: OpenFetcher, host: str) -> None:
    with pytest.raises(FetchError, match="is a link-local address"):
        open_fetcher(fetch_private=True).fetch(f"http://{host}/latest/meta-data/")
