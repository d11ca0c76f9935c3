"""Addresses of images on the web: which items have one, and the part of an address that a server is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from bioclip_core.files.moved import replacement_of
from bioclip_plugin.fetching.schemes import refusal_of, scheme_of
from bioclip_plugin.items.media import MediaItem, Unlisted

FETCH_STAGE = "fetch"
"""The stage of failures of images on the web."""
FETCHED_AS = "fetched_as"
"""Name in an item's metadata of the address that gave the image, where it may be another one than the uri: a size of IIIF."""
NOT_FETCHED = "the image is on the web, and nothing is fetched without --fetch FOLDER"
"""Reason of the failure of an image that is on the web, without a folder to fetch it into."""
NOT_FETCHED_IN_PYTHON = "the image is on the web, and nothing is fetched without Session(fetch=FOLDER)"
"""The same for a Session of a Python program, which has no command line."""
ON_THE_WEB = "images are on the web, and are fetched only with --fetch FOLDER"
"""Text of the finding about images that a command does not fetch."""
ON_THE_WEB_IN_PYTHON = "images are on the web, and are fetched only with Session(fetch=FOLDER)"

_WEB = re.compile(r"\s*https?://[^/\s?#]", re.IGNORECASE)
_BETWEEN = re.compile(r"(?:\s*[|;,]\s*|\s+)(?=https?://[^/\s?#])", re.IGNORECASE)
_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]+://)[^/?#\s]*@", re.IGNORECASE)
WITH_PASSWORD = (
    "the address has a user name or password in it, which would be written into results: remove it from the table"
)
"""Reason for which such an address is neither fetched nor kept."""


def is_web_address(text: str) -> bool:
    """Return True for an ``http`` or ``https`` address with a host.

    >>> is_web_address("HTTPS://example.org/a.jpg"), is_web_address("gs://bucket/a.jpg"), is_web_address("http:///a.jpg")
    (True, False, False)
    """
    return bool(_WEB.match(text))


def addresses_in(text: str) -> list[str]:
    """Return the parts of a text of addresses, or of names and addresses: a separator counts only in front of an address.

    >>> addresses_in("https://example.org/a,b.jpg; https://example.org/c.jpg")
    ['https://example.org/a,b.jpg', 'https://example.org/c.jpg']
    >>> addresses_in("a, b.jpg, https://example.org/c.jpg")
    ['a, b.jpg', 'https://example.org/c.jpg']
    """
    return [part for part in _BETWEEN.split(text.strip()) if part]


def file_needed(address: str) -> str:
    """Return the sentence about an address where only a file can be used: what it is, and the way to a file.

    >>> file_needed("https://example.org/x/a.jpg?b=/c").partition(": ")[2]
    'download it, and replace its beginning, such as --replace-prefix https://example.org/x=FOLDER'
    """
    if refusal := refusal_of(address):
        return refusal
    place = address_of(address).partition("?")[0]
    advice = replacement_of(place if place.count("/") > 2 else f"{place}/")
    return (
        f"{without_password(address)} is on the web, and a file is needed (only classify and embed fetch, with --fetch FOLDER): "
        f"download it, and {advice}"
    )


def is_remote(item: MediaItem) -> bool:
    """Return True for an item that has an address on the web, and neither a file nor bytes."""
    if not is_web_address(item.uri) or item.is_in_memory:
        return False
    return item.path is None or item.path == Path(item.uri)


def address_of(uri: str) -> str:
    """Return the address that a server is asked for: a uri without its fragment, which servers never see.

    >>> address_of("https://example.org/a%20b.jpg#occurrence=7")
    'https://example.org/a%20b.jpg'
    """
    return uri.partition("#")[0]


def shared_uri(address: str, name: str, key: str) -> str:
    """Return the uri of an image for one more specimen that it shows: its address, and the specimen in the fragment.

    >>> shared_uri("https://example.org/a.jpg", "occurrence", "MB 7")
    'https://example.org/a.jpg#occurrence=MB%207'
    """
    return f"{address}{'&' if '#' in address else '#'}{name}={quote(key, safe=':/')}"


def host_of(address: str) -> str:
    """Return the host of an address in lower case, with its port; empty for an address that cannot be read.

    >>> host_of("https://Images.example.org:8443/a.jpg"), host_of("https://[::1")
    ('images.example.org:8443', '')
    """
    try:
        return urlsplit(address).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def without_password(text: str) -> str:
    """Return a text without user names and passwords of the addresses in it.

    >>> without_password("https://me:secret@example.org/a@b.jpg"), without_password("https://example.org/a@b.jpg")
    ('https://…@example.org/a@b.jpg', 'https://example.org/a@b.jpg')
    """
    return _PASSWORD.sub(r"\1…@", text) if "@" in text else text


def kept_secret(entry: MediaItem | Unlisted) -> MediaItem | Unlisted:
    """Return an entry, or one that cannot be listed in place of an item whose address has a password in it."""
    uri = without_password(entry.uri)
    if uri == entry.uri or not (is_web_address(entry.uri) or scheme_of(entry.uri)):
        return entry
    known = entry.item if isinstance(entry, Unlisted) else entry
    metadata = {
        name: without_password(value) if isinstance(value, str) else value for name, value in known.metadata.items()
    }
    return Unlisted(uri, WITH_PASSWORD, known.frame, replace(known, uri=uri, path=None, metadata=metadata))
