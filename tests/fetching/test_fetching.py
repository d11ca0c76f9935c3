"""Images by address: what comes back, and what is kept of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from image_server import (
    Answer,
    ImageServer,
    OpenFetcher,
    Request,
    chunked,
    dripping,
    endless,
    gzipped,
    hangs_up,
    html,
    image,
    longer,
    photo,
    raw,
    redirect,
    silent,
    status,
    truncated,
    without_length,
)

from bioclip_plugin.fetching.errors import FetchError


def test_an_image_is_kept_under_its_sha256_and_the_manifest_says_where_it_came_from(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    data = photo("a")
    address = server.add("/a", image(data, 'ETag: "7"', kind="application/octet-stream"))
    fetcher = open_fetcher()
    fetched = fetcher.fetch(address, licence="CC BY 4.0")
    sha256 = hashlib.sha256(data).hexdigest()
    assert fetched.path == fetcher.folder / sha256[:2] / f"{sha256}.jpg"
    assert fetched.path.read_bytes() == data
    assert (fetched.sha256, fetched.bytes, fetched.media_type, fetched.status) == (sha256, len(data), "image/jpeg", 200)
    (_, record), *others = fetcher.manifest.records()
    assert not others
    assert (record.address, record.licence, record.etag, record.tries) == (address, "CC BY 4.0", '"7"', 1)
    assert list((fetcher.folder / "working").iterdir()) == []


def test_an_address_is_fetched_once_by_all_runs_and_equal_bytes_are_kept_once(
    server: ImageServer, open_fetcher: OpenFetcher, tmp_path: Path
) -> None:
    one, other = server.add("/1.jpg", photo("same")), server.add("/2.jpg", photo("same"))
    fetcher = open_fetcher()
    assert fetcher.fetch(one).path == fetcher.fetch(other).path
    assert fetcher.fetch(one).from_cache
    again = open_fetcher()
    assert again.fetch(one).from_cache
    assert server.counts() == {"/1.jpg": 1, "/2.jpg": 1}
    assert len(list(tmp_path.rglob("*.jpg"))) == 1


@pytest.mark.parametrize(
    ("answers", "requests"),
    [
        ([gzipped(photo("x"))], 1),
        ([chunked(photo("x"))], 1),
        ([without_length(photo("x"))], 1),
        ([truncated(photo("x")), photo("x")], 2),
        ([longer(photo("x"), 200), photo("x")], 2),
        ([hangs_up(), photo("x")], 2),
        ([chunked(photo("x"), whole=False), photo("x")], 2),
        ([without_length(photo("x")[:400]), photo("x")], 2),
        ([status(500), status(503), status(429, "Retry-After: 7"), photo("x")], 4),
    ],
    ids="gzip chunked without-length truncated longer hangs-up broken-chunk cut busy".split(),
)
def test_an_image_arrives_whole_whatever_came_before(
    server: ImageServer, open_fetcher: OpenFetcher, answers: list[Answer | bytes], requests: int
) -> None:
    address = server.add("/x.jpg", *answers)
    assert open_fetcher().fetch(address).path.read_bytes() == photo("x")
    assert server.count() == requests


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
def test_an_image_without_an_end_is_kept_if_it_comes_equal_twice(
    server: ImageServer, open_fetcher: OpenFetcher, form: str
) -> None:
    """Nothing tells a broken connection from the end where no length is stated."""
    whole = photo("x", 60, form)
    fetcher = open_fetcher()
    assert fetcher.fetch(server.add("/whole", without_length(whole))).path.read_bytes() == whole
    assert server.count("/whole") == 1
    fetched = fetcher.fetch(server.add("/cut", without_length(whole[:-300]), without_length(whole[:-200])))
    assert fetched.path.read_bytes() == whole[:-200]
    assert server.count("/cut") == 3


@pytest.mark.parametrize("answer", [dripping(photo("x")), without_length(photo("x")[:500]), silent()])
def test_a_request_that_takes_too_long_is_cut_and_nothing_of_it_is_kept(
    server: ImageServer, open_fetcher: OpenFetcher, answer: Answer, tmp_path: Path
) -> None:
    def slowly(request: Request) -> bool:
        answer(request)
        request.stopping.wait(5)
        return False

    fetcher = open_fetcher(fetch_time_limit=0.3)
    with pytest.raises(FetchError, match=r"^took longer than 0.3 s \(--fetch-time-limit\)$"):
        fetcher.fetch(server.add("/x.jpg", slowly))
    assert not list(tmp_path.rglob("*.jpg")) + list(tmp_path.rglob("*.part"))


def test_pages_of_failures_leave_the_connection_usable(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    fetcher = open_fetcher(fetch_per_host=1)
    for number in range(10):
        with pytest.raises(FetchError, match="404"):
            fetcher.fetch(server.add(f"/{number}", status(404, body=b"x" * 3000)))
    fetcher.fetch(server.add("/from", redirect("/photos/a.jpg")))
    assert server.connections == 1


def test_letters_of_a_redirect_stay_the_bytes_that_they_were(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    for number, letter in enumerate((b"\xe9", "é".encode())):
        server.add(
            f"/{number}",
            raw(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /photos/caf" + letter + b".jpg\r\n\r\n"),
        )
        open_fetcher().fetch(server.url(f"/{number}"))
    assert [request.path for request in server.requests[1::2]] == ["/photos/caf%E9.jpg", "/photos/caf%C3%A9.jpg"]


@pytest.mark.parametrize(
    ("answers", "reason", "requests"),
    [
        ([status(404)], "404 Not Found", 1),
        ([status(410)], "410 Gone", 1),
        ([status(503)], r"503 Service Unavailable \(tried 3 times\)", 3),
        ([truncated(photo("x"), sent=300)], r"truncated: got 300 of [\d,]+ bytes \(tried 3 times\)", 3),
        ([longer(photo("x"), 300)], r"longer than announced: more than 300 bytes came \(tried 3 times\)", 3),
        ([html()], "an HTML page instead of an image", 1),
        ([image(b'{"error": "no"}')], "JSON instead of an image", 1),
        ([image(b"\x8b\x02\x80" * 50, "Content-Encoding: br")], r"it came compressed \(br\)", 1),
        ([image(b"")], "an empty answer instead of an image", 3),
        ([image(b"%PDF-1.7 ...")], "the file is PDF, which is not read", 1),
        ([endless(photo("x"))], "larger than 1 MB, the limit", 1),
        ([endless(photo("x"), length=10**12)], "larger than 1 MB, the limit", 1),
        ([gzipped(photo("x") + bytes(5_000_000))], "larger than 1 MB, the limit", 1),
        ([redirect("/x.jpg")], "redirected in a circle", 1),
        ([redirect("")], "302 without an address to go to", 1),
        ([redirect("file:///etc/passwd")], "redirected to an address that is refused: file: addresses are not fetched", 1),
        ([raw(b"SSH-2.0-OpenSSH\r\n", keep=False)], "does not answer in HTTP", 3),
        ([hangs_up()], "closed the connection without an answer", 3),
    ],
)  # fmt: skip
def test_a_failure_has_its_reason_in_one_line_and_leaves_nothing(
    server: ImageServer, open_fetcher: OpenFetcher, answers: list[Answer], reason: str, requests: int, tmp_path: Path
) -> None:
    address = server.add("/x.jpg", *answers)
    fetcher = open_fetcher(fetch_tries=3, fetch_max_mb=1)
    with pytest.raises(FetchError, match=reason) as raised:
        fetcher.fetch(address)
    assert raised.value.stage == "fetch"
    assert server.count() == requests
    (_, record), *_ = fetcher.manifest.records()
    assert record.reason == str(raised.value)
    assert not list(tmp_path.rglob("*.jpg")) + list(tmp_path.rglob("*.part"))
