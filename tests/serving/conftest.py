"""One Session of the demo model for the whole room, and an app with a client for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving_samples import TOKEN, client_of
from starlette.testclient import TestClient

from bioclip_plugin import Session
from bioclip_plugin.serving.limits import Limits
from bioclip_plugin.serving.security import Access
from bioclip_plugin.serving.state import Workbench


@pytest.fixture(scope="package")
def session() -> Iterator[Session]:
    with Session(model="demo", precision="fp32", runtime="torch") as opened:
        yield opened


@pytest.fixture
def bench(session: Session) -> Iterator[Workbench]:
    made = Workbench(Access(8710, TOKEN), session, limits=Limits(200_000, 1_000_000, 0.3, 2.0), most_waiting=20)
    yield made
    made.close()


@pytest.fixture
def client(bench: Workbench) -> Iterator[TestClient]:
    with client_of(bench) as made:
        yield made
