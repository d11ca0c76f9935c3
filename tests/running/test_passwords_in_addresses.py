"""A user name or password in an address is kept nowhere: neither in an item, nor in its metadata, nor in a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.running.given import item_of_image
from bioclip_plugin.running.listing import Listing

SECRET = "https://me:secret@museum.example/a.jpg"


def test_a_table_s_address_with_a_password_cannot_be_listed_and_its_row_is_kept_without_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"image,url,site\n{SECRET},{SECRET},A\nhttps://museum.example/x@y.jpg,,B\n")
    with Listing(
        [str(tmp_path / "t.csv")], create_plugin_manager(installed=False).sources(), ListingOptions()
    ) as listing:
        refused, taken = listing
    assert isinstance(refused, Unlisted)
    assert refused.uri == "https://…@museum.example/a.jpg"
    assert refused.reason.startswith("the address has a user name or password in it")
    assert "secret" not in repr(refused)
    assert refused.item.metadata.get("site", "A") == "A"
    assert isinstance(taken, MediaItem)
    assert taken.uri == "https://museum.example/x@y.jpg"


def test_a_host_s_address_with_a_password_is_a_failure_without_it() -> None:
    given = item_of_image(SECRET)
    assert isinstance(given, Unlisted)
    assert "secret" not in repr(given)


def test_an_address_with_a_password_is_refused_as_an_input() -> None:
    with pytest.raises(SourceError, match=r"^https://…@museum.example/a.jpg: the address has a user name") as raised:
        Listing([SECRET], create_plugin_manager(installed=False).sources(), ListingOptions())
    assert "secret" not in str(raised.value)
