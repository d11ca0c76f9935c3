"""Conversion between files and uris."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bioclip_plugin.items.media import path_of, uri_of


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        (b"ant 1.jpg", "ant 1.jpg"),
        ("Käfer.jpg".encode(), "Käfer.jpg"),
        (b"100% wool.jpg", "100% wool.jpg"),
        (b"x\xe9.jpg", "x%E9.jpg"),
        (b"x%E9.jpg", "x%25E9.jpg"),
        (b"a%25.jpg", "a%2525.jpg"),
    ],
)
def test_a_name_has_one_uri_that_leads_back_to_it(name: bytes, uri: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.touch()
    assert uri_of(path) == f"{tmp_path}/{uri}"
    assert path_of(uri_of(path)) == path


def test_names_that_differ_in_one_raw_byte_and_its_escape_are_two_files(tmp_path: Path) -> None:
    raw, written = tmp_path / os.fsdecode(b"x\xe9.jpg"), tmp_path / "x%E9.jpg"
    raw.touch()
    written.touch()
    assert uri_of(raw) != uri_of(written)
    assert (path_of(uri_of(raw)), path_of(uri_of(written))) == (raw, written)
