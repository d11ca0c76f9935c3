"""Encodings of text: those that a file can be in, among the codecs that Python knows."""

from __future__ import annotations

import codecs
import warnings
from functools import lru_cache

_NOT_OF_FILES = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
"""Codecs of host names and source code. Some of them refuse to replace bytes that they cannot read."""


@lru_cache(maxsize=64)
def encoding_fault(name: str) -> str:
    """Return why files cannot be in an encoding, as the end of a sentence; empty if they can.

    >>> encoding_fault("cp1252"), encoding_fault("utf-9"), encoding_fault("rot13")
    ('', 'which is not known', 'which is not an encoding of text')
    """
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError, OSError):  # ValueError: a NUL or half a surrogate pair in the name
        return "which is not known"
    if info.name.replace("_", "-") in _NOT_OF_FILES:
        return "which is not an encoding of text files"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe = "a,b\r\n".encode(name)
            for errors in ("replace", "surrogateescape"):
                codecs.getincrementaldecoder(name)(errors).decode(probe, True)
    except (LookupError, ValueError, TypeError, AssertionError):
        return "which is not an encoding of text"
    return ""
