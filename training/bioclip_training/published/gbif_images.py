"""Where the images of a GBIF download lie: in a folder, under names that follow from their addresses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import pyarrow as pa

NAMINGS = ("address", "md5", "sha1")
"""How a file is named: by the last part of its address, or by the hash of the address."""

LAST_PART = r"([^/?#]*)/?(?:[?#].*)?$"
"""Pattern of the last part of an address, for SQL."""


def file_names(folder: str, urls: pa.Array, naming: str) -> pa.Array:
    """Return the file of each address, relative to the source.

    Args:
        folder: of the images, relative to the source.
        urls: addresses.
        naming: one of :data:`NAMINGS`; a hash is followed by the suffix of the address, or by ``.jpg``.
    """
    named = _NAMED[naming]
    return pa.array([f"{folder}/{named(url)}" for url in urls.to_pylist()], pa.string())


def _last_part(url: str) -> str:
    path = urlsplit(url).path if "//" in url else url
    return unquote(PurePosixPath(path).name)


def _hashed(name: str) -> Callable[[str], str]:
    def named(url: str) -> str:
        suffix = PurePosixPath(_last_part(url)).suffix or ".jpg"
        return hashlib.new(name, url.encode(), usedforsecurity=False).hexdigest() + suffix

    return named


_NAMED: Mapping[str, Callable[[str], str]] = {"address": _last_part, "md5": _hashed("md5"), "sha1": _hashed("sha1")}
