"""A user name or password in an address is kept nowhere: neither in an item, nor in its metadata, nor in a message."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bioclip_core.errors import SourceError
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.running.given import item_of_image
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.sources.files import StandardInputSource

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


@pytest.mark.parametrize("address", [SECRET, "ftp://me:secret@museum.example/a.jpg", "s3://key:secret@bucket/a.jpg"])
def test_a_host_s_address_with_a_password_is_a_failure_without_it(address: str) -> None:
    given = item_of_image(address)
    assert isinstance(given, Unlisted)
    assert "secret" not in repr(given)


def test_a_list_s_address_of_another_scheme_with_a_password_is_refused_without_it() -> None:
    source = StandardInputSource(io.BytesIO(b"ftp://me:secret@museum.example/a.jpg\n"))
    with Listing(["-"], [source], ListingOptions()) as listing:
        (refused,) = listing
    assert isinstance(refused, Unlisted)
    assert "secret" not in repr(refused)


def test_an_address_with_a_password_is_refused_as_an_input() -> None:
    with pytest.raises(SourceError, match=r"^https://…@museum.example/a.jpg: the address has a user name") as raised:
        Listing([SECRET], create_plugin_manager(installed=False).sources(), ListingOptions())
    assert "secret" not in str(raised.value)
