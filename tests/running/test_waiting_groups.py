"""Groups of answers that wait for a slow store are committed together, and each answer comes after its own commit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bioclip_core.errors import StoreError
from bioclip_plugin import MediaItem, Session, create_plugin_manager
from bioclip_plugin.store import ItemRecord, Run, Store, group_commits
from bioclip_plugin.store.results import Results
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a green fish", "a blue fish")
COUNT = 60


def _items() -> list[MediaItem]:
    return [MediaItem(f"red/{n}", image=Image.new("RGB", (8, 8), (255 - n, 0, 0))) for n in range(COUNT)]


def _session(store: Path) -> Session:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    return Session(model="fake", labels=LABELS, store=store, plugins=manager, batch_size=2, workers=2)


class _SlowStore:
    """A store whose first commit ends once other groups wait for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pipeline: Any) -> None:
        self.groups: list[int] = []
        self.committed: set[str] = set()
        self.refused = ""
        together, commit, slow = group_commits.commit_each, Store.commit, self

        def slowly(store: Results, run: Run, batches: Sequence[Sequence[ItemRecord]]) -> list[Exception | None]:
            until = time.monotonic() + 20
            while not slow.groups and len(pipeline._committing._waiting) < 3 and time.monotonic() < until:
                time.sleep(0.001)
            slow.groups.append(len(batches))
            return together(store, run, batches)

        def noted(self: Store, run: Run, records: Sequence[ItemRecord]) -> None:
            names = {record.item.uri for record in records}
            if slow.refused in names:
                raise StoreError(f"{slow.refused} is refused")
            commit(self, run, records)
            slow.committed |= names

        monkeypatch.setattr(group_commits, "commit_each", slowly)
        monkeypatch.setattr(Store, "commit", noted)


def test_groups_that_wait_for_the_store_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _session(tmp_path / "r.db") as session:
        pipeline = session.pipeline(session.begin_run(["here"]))
        slow = _SlowStore(monkeypatch, pipeline)
        found = []
        for answer in pipeline.answers(_items()):
            assert answer.item.uri in slow.committed
            found.append(answer.item.uri)
        assert found == [f"red/{n}" for n in range(COUNT)]
        assert sum(slow.groups) == COUNT // 2
        assert max(slow.groups) >= 3
        assert session.store is not None
        assert session.store.verify(session.store.run()).problems == []


def test_a_group_that_is_refused_ends_the_stream_and_those_beside_it_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _session(tmp_path / "r.db") as session:
        pipeline = session.pipeline(session.begin_run(["here"]))
        slow = _SlowStore(monkeypatch, pipeline)
        slow.refused = "red/4"
        found: list[str] = []
        with pytest.raises(StoreError, match="red/4 is refused"):
            found.extend(answer.item.uri for answer in pipeline.answers(_items()))
        assert found == [f"red/{n}" for n in range(4)]
        assert max(slow.groups) >= 3
        assert {"red/2", "red/3", "red/6", "red/7"} <= slow.committed
        assert not {"red/4", "red/5"} & slow.committed
