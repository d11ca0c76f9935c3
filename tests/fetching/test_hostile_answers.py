"""Answers that no server should give: an image or a failure in one line, and never anything else."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_server import FastClock, ImageServer, Request, page, photo

from bioclip_plugin.fetching.cache import sha256_of
from bioclip_plugin.fetching.errors import FetchError
from bioclip_plugin.fetching.fetcher import Fetcher
from bioclip_plugin.fetching.options import FetchOptions

WHOLE = photo("whole")
HEADS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 200", b"HTTP/1.1 302 Found", b"HTTP/1.1 103 Early Hints",
        b"HTTP/1.1 100 Continue", b"HTTP/1.1 999 No", b"HTTP/1.1 99999 No", b"HTTP/9.9 200 OK", b"ICY 200 OK",
        b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 206 Partial", b"HTTP/1.1 -1 x", b"HTTP/1.1 204 No Content", b"",
    ]
)  # fmt: skip
LENGTHS = b"0|-5|10|99999999999999999999|x|7, 8".split(b"|")
LINES = st.lists(
    st.sampled_from(
        [
            *(b"Content-Length: " + length for length in (*LENGTHS, str(len(WHOLE)).encode())),
            b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Content-Encoding: gzip", b"Content-Encoding: br",
            b"Content-Encoding: \xff", b"Location: /x.jpg", b"Location: http://[", b"Location: \x00", b"Retry-After: \xe9",
            b"ETag: \xff\xfe\x00", b"Connection: close", b"no colon", b": empty", b"X: " + b"y" * 70_000,
        ]
    ),
    max_size=5,
)  # fmt: skip
ZIPPED = gzip.compress(WHOLE)
BODIES = st.one_of(
    st.sampled_from(
        [WHOLE, WHOLE[:300], WHOLE * 2, ZIPPED, ZIPPED[:-9], b"5\r\nabcde\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\nx", b""]
    ),
    st.binary(max_size=80),
)


@pytest.fixture(scope="module")
def hostile() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=HEADS, lines=LINES, body=BODIES)
def test_whatever_is_answered_there_is_an_image_or_a_failure_in_one_line(
    hostile: ImageServer, tmp_path_factory: pytest.TempPathFactory, head: bytes, lines: list[bytes], body: bytes
) -> None:
    def answer(request: Request) -> bool:
        request.send(b"\r\n".join([head, *lines]) + b"\r\n\r\n" + body)
        return False

    options = FetchOptions(fetch_private=True, fetch_rate=10_000, fetch_contact="me", fetch_tries=2, fetch_max_mb=1)
    with Fetcher(tmp_path_factory.mktemp("cache"), options, clock=FastClock()) as fetcher:
        reason, fetched = "", None
        try:
            fetched = fetcher.submit(hostile.add("/x.jpg", answer)).result(20)
        except FetchError as error:
            reason = str(error)
        if fetched is None:
            assert reason
            assert "please report it" not in reason
            assert "\n" not in reason
        else:
            assert sha256_of(fetched.path) == fetched.sha256 == fetched.path.stem
        assert not list((fetcher.folder / "working").iterdir())


def test_a_second_answer_in_the_first_one_is_not_taken_for_that_of_the_next_address(
    hostile: ImageServer, tmp_path: Path
) -> None:
    """A server that sends too much would give the next address of the same connection a foreign image."""
    hostile.add(
        "/first.jpg", lambda request: request.send(page(200, photo("first")) + page(200, photo("foreign"))) or True
    )
    options = FetchOptions(fetch_private=True, fetch_rate=10_000, fetch_contact="me", fetch_tries=1, fetch_per_host=1)
    with Fetcher(tmp_path / "cache", options, clock=FastClock()) as fetcher:
        with pytest.raises(FetchError, match="longer than announced"):
            fetcher.fetch(hostile.url("/first.jpg"))
        for number in range(3):
            path = f"/photos/{number}.jpg"
            assert fetcher.fetch(hostile.url(path)).path.read_bytes() == photo(path)
