"""Addresses in one form, and addresses that are refused."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_plugin.fetching.addresses import read_address, shown
from bioclip_plugin.fetching.errors import AddressError


@pytest.mark.parametrize(
    ("written", "requested"),
    [
        ("HTTP://Example.ORG/A b.jpg", "http://example.org/A%20b.jpg"),
        ("https://example.org:443/a.jpg#part", "https://example.org/a.jpg"),
        ("https://example.org", "https://example.org/"),
        ("http://example.org:8080?x=1", "http://example.org:8080/?x=1"),
        ("https://example.org/a%20b.jpg", "https://example.org/a%20b.jpg"),
        ("https://example.org/100%.jpg", "https://example.org/100%25.jpg"),
        ("https://example.org/Fuß/Käfer.jpg?q=Größe", "https://example.org/Fu%C3%9F/K%C3%A4fer.jpg?q=Gr%C3%B6%C3%9Fe"),
        ("https://example.org/iiif/a%2Fb/full/!640,640/0/default.jpg", "https://example.org/iiif/a%2Fb/full/!640,640/0/default.jpg"),
        ("https://example.org/a.jpg?x=1&y=a+b|c", "https://example.org/a.jpg?x=1&y=a+b%7Cc"),
        ("https://bücher.example/a.jpg", "https://xn--bcher-kva.example/a.jpg"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("  https://example.org./a.jpg\n", "https://example.org/a.jpg"),
        ("https://[2001:DB8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
        ("https://example.org/a\\b", "https://example.org/a%5Cb"),
    ],
)  # fmt: skip
def test_an_address_has_one_form_and_is_quoted_once(written: str, requested: str) -> None:
    assert read_address(written).text == requested
    assert read_address(requested).text == requested


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("ftp://example.org/a.jpg", "ftp: addresses are not fetched"),
        ("file:///etc/passwd", "file: addresses are not fetched"),
        ("data:image/png;base64,AAAA", "data: addresses are not fetched"),
        ("s3://bucket/key", "s3: addresses are not fetched"),
        ("//example.org/a.jpg", "this is not fetched"),
        ("photos/a.jpg", "this is not fetched"),
        ("http:example.org/a", "not fetched"),
        ("https:///a.jpg", "the address has no host"),
        ("https://me:secret@example.org/a.jpg", "user name or password"),
        ("https://example.org@evil.example/", "user name or password"),
        ("https://example.org:99999/", "malformed"),
        ("https://example.org:0/", "the port 0"),
        ("https://exa mple.org/", "a host name that no host can have"),
        ("https://[fe80::1%25eth0]/", "IPv6 zone|malformed"),
        ("https://example.org/a\r\nHost: evil", "a line break"),
        ("https://example.org/" + "a" * 9_000, "the address has 9,020 characters"),
        ("https://" + "a" * 300 + ".org/", "a host name that no host can have"),
        ("https://\u2024.\u2024/", "host"),
        ("https://[::1", "malformed"),
    ],
)
def test_an_address_that_is_refused_has_its_reason_and_no_password_in_it(written: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason) as raised:
        read_address(written)
    assert "secret" not in str(raised.value)
    assert "secret" not in shown(written)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.text(max_size=40))
def test_whatever_an_address_says_it_becomes_plain_ascii_or_an_error_of_ours(path: str, query: str) -> None:
    try:
        read = read_address(f"https://example.org/{path}?{query}")
    except AddressError:
        return
    assert set(read.text) <= set(string.printable[:94])
    assert not re.search(r"%(?![0-9A-Fa-f]{2})", read.text)
    assert read_address(read.text) == read


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_whatever_the_host_says_nothing_but_an_error_of_ours_is_raised(host: str) -> None:
    try:
        read = read_address(f"http://{host}/a.jpg")
    except AddressError:
        return
    assert read.host.isascii()
    assert read_address(read.text) == read


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://example.org/a.jpg", "redirected from https to http"),
        ("javascript:alert(1)", "javascript: addresses are not fetched"),
        ("https://me:pw@example.org/", "user name or password"),
        ("https://[", "cannot be read"),
    ],
)
def test_a_redirect_leads_to_no_address_that_is_refused(location: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        read_address("https://museum.example/x/y.jpg").following(location)


def test_a_redirect_may_be_relative() -> None:
    at = read_address("https://museum.example/x/y.jpg?z=1")
    assert at.following("../other image.jpg").text == "https://museum.example/other%20image.jpg"
    assert at.following("//cdn.example/a").text == "https://cdn.example/a"
    assert at.following("?z=2").text == "https://museum.example/x/y.jpg?z=2"


def test_a_password_in_a_redirect_is_the_hosts_fault_and_not_the_tables() -> None:
    with pytest.raises(AddressError) as raised:
        read_address("https://example.org/a.jpg").following("https://me:secret@other.example/a.jpg")
    assert str(raised.value) == (
        "redirected to an address with a user name or password in it (other.example), which is refused; "
        "tell the host, or download the image"
    )
