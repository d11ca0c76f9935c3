"""Addresses that begin with something else than http:// or https://, each with what it is and what to give in its place."""

from __future__ import annotations

import re

_COPY = "copy its file to a folder and give the path there, or its https:// address if it is public"
_IN_A_CLOUD = "is in a cloud store"
_ON_A_SERVER = "is on a file server"
_KINDS = {
    **dict.fromkeys(
        "s3 s3a s3n gs gcs az adl abfs abfss wasb wasbs hf oss cos obs swift".split(), (_IN_A_CLOUD, _COPY)
    ),
    **dict.fromkeys("ftp ftps sftp scp ssh smb cifs afp nfs rsync dav davs hdfs".split(), (_ON_A_SERVER, _COPY)),
    "file": ("is the address of a file", "give its path, without file://"),
    "data": ("is an image written as text", "save it as a file, and give its path"),
    "blob": (
        "is an address inside a browser, which no other program can open",
        "give the https:// address of the image, or save it as a file and give its path",
    ),
}
"""What an address of each scheme is, and what to do."""
_ADDRESS = re.compile(
    r"\s*([a-z][a-z0-9+.-]+)(?=:/)|\s*(blob)(?=:)|\s*(data)(?=:[\w+.-]*/?[\w+.-]*[;,])", re.IGNORECASE
)
_WEB = re.compile(r"\s*https?:/{2}[^/?#\s]", re.IGNORECASE)
_PASSWORD = re.compile(r"(:/{1,3})[^/?#\s]*@")
_SHOWN = 100


def scheme_of(text: str) -> str:
    """Return the scheme of an address that is not fetched; empty for other texts, also for addresses on the web.

    >>> scheme_of("S3://bucket/a.jpg"), scheme_of("blob:https://example.org/1"), scheme_of("http:///a.jpg")
    ('s3', 'blob', 'http')
    >>> scheme_of("https://example.org/a.jpg"), scheme_of("C:/a.jpg"), scheme_of("data: birds.jpg"), scheme_of("a.jpg")
    ('', '', '', '')
    """
    found = _ADDRESS.match(text[:_SHOWN])
    if found is None or _WEB.match(text):
        return ""
    return str(next(filter(None, found.groups()))).lower()


def refusal_of(text: str) -> str:
    """Return the sentence about an address that is not fetched: what it is, and what to do; empty for other texts.

    >>> refusal_of("ftp://me:secret@host/a.jpg").partition(": copy")[0]
    'ftp://host/a.jpg is on a file server, and ftp: addresses are not fetched'
    >>> refusal_of("https:///a.jpg")
    'https:///a.jpg has no host: an address on the web is https://HOST/PATH'
    """
    scheme = scheme_of(text)
    if not scheme:
        return ""
    shown = _PASSWORD.sub(r"\1", text.strip()[: 10 * _SHOWN])
    shown = "".join(letter if letter.isprintable() else "�" for letter in shown)
    shown = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"
    if scheme in ("http", "https"):
        return f"{shown} has no host: an address on the web is {scheme}://HOST/PATH"
    what, advice = _KINDS.get(scheme, ("is an address of another kind", _COPY))
    return f"{shown} {what}, and {scheme}: addresses are not fetched: {advice}"
