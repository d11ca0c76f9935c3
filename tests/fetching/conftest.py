"""A server, and a fetcher that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from image_server import FastClock, ImageServer, OpenFetcher

from bioclip_plugin.fetching.fetcher import Fetcher
from bioclip_plugin.fetching.options import FetchOptions


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[ImageServer]:
    with ImageServer() as server:
        yield server


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
