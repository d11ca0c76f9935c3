"""An open store on either database, with a run in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from store_samples import PLAN, QUICK

from bioclip_plugin.store import Run, Store


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    with Store.open(store_address, retry=QUICK) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    return store.begin_run(PLAN)
