"""Metadata of an item: JSON that is parsed when the first value is used."""

from __future__ import annotations

import json

import pytest

from bioclip_plugin.store.database.values import StoredJson

VALUES = {"width": 640, "dwc:locality": 'a "hedge"', "é": 1, "media": {"height": 480}, 'say "x"': None}


@pytest.mark.parametrize("ascii_only", [True, False])
def test_it_is_the_mapping_that_was_stored(ascii_only: bool) -> None:
    text = json.dumps(VALUES, ensure_ascii=ascii_only)
    assert {key: StoredJson(text)[key] for key in VALUES} == VALUES
    assert dict(StoredJson(text)) == VALUES
    assert StoredJson(text).get("height") is None  # the key occurs only in a nested object
    assert StoredJson(text).get("nowhere", 5) == 5
    assert "nowhere" not in StoredJson(text)


def test_an_absent_key_is_found_absent_without_parsing() -> None:
    assert StoredJson("{no json at all").get("width") is None
