"""Addresses of the model hub that the environment states and that nobody can connect to."""

from __future__ import annotations

import pytest

from bioclip_core.hub import _hub_answers


@pytest.mark.parametrize("address", ["https://[::1", "https://hub.example:many", f"https://{'a' * 70}.example"])
def test_a_malformed_address_of_the_hub_is_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert not _hub_answers()
