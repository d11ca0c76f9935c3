"""A fetcher that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from image_server import FastClock, OpenFetcher

from bioclip_plugin.fetching.fetcher import Fetcher
from bioclip_plugin.fetching.options import FetchOptions


@pytest.fixture(autouse=True)
def never_a_proxy(no_proxies: None) -> None:
    """No variable of the machine names a proxy."""


@pytest.fixture
def open_fetcher(tmp_path: Path) -> Iterator[OpenFetcher]:
    with ExitStack() as stack:

        def open_one(
            folder: Path | None = None, *, clock: Any = None, findings: Any = None, progress: Any = None, **options: Any
        ) -> Fetcher:
            settings = {"fetch_private": True, "fetch_rate": 10_000, "fetch_contact": "me@museum.example", **options}
            fetcher = Fetcher(
                folder or tmp_path / "cache", FetchOptions(**settings), findings, clock=clock or FastClock(), progress=progress
            )  # fmt: skip
            return stack.enter_context(fetcher)

        yield open_one
