"""Encodings of files among Python's codecs, by what the codecs do."""

from __future__ import annotations

import encodings
import pkgutil
from contextlib import suppress

import pytest

from bioclip_core.cells.encodings import encoding_fault

TAKEN = "utf-8 UTF8 utf-8-sig cp1252 Windows-1252 latin-1 mac-roman utf-16 utf-16-le utf-32 shift_jis gb18030 cp037"
REFUSED = "idna punycode undefined rot13 hex base64 zip bz2 uu quopri unicode_escape utf-9 ../x"


@pytest.mark.parametrize("name", TAKEN.split())
def test_encodings_of_files_are_taken(name: str) -> None:
    assert encoding_fault(name) == ""


@pytest.mark.parametrize(
    "name", [*REFUSED.split(), "", "a\0", "\ud800", "x" * 100_000], ids=lambda name: ascii(name)[:9]
)
def test_codecs_that_are_not_encodings_of_files_are_refused(name: str) -> None:
    assert encoding_fault(name).startswith("which is not")


def test_a_codec_that_is_taken_reads_any_bytes_or_says_unicode_error() -> None:
    names = [module.name for module in pkgutil.iter_modules(encodings.__path__)]
    taken = [name for name in names if not encoding_fault(name)]
    assert len(taken) > 50
    for name in taken:
        for errors in ("replace", "surrogateescape"):
            with suppress(UnicodeError):  # readers catch it
                assert isinstance(bytes(range(256)).decode(name, errors), str)
