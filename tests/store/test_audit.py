"""The audit sample in the store: drawn once, and gone with its images alone."""

from __future__ import annotations

import pytest
from store_samples import PLAN, answer_all, list_uris
from upkeep_samples import broken_references, review

from bioclip_core.errors import StoreError
from bioclip_plugin.store import Store
from bioclip_plugin.store.database import versions
from bioclip_plugin.store.records import DrawnItem

DRAWN = [DrawnItem(1, "night \x00one", "ridge", 0.5), DrawnItem(2, "", "", 1.0)]


def test_an_audit_sample_is_drawn_once(store_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(store_address) as store:
        list_uris(store, store.begin_run(PLAN), "a.jpg", "b.jpg", "c.jpg")
        assert store.audit_items() == []
        store.keep_audit_sample(DRAWN)
        store.keep_audit_sample(DRAWN)  # a repeated transaction
        found = [
            (one.media_id, one.uri, one.frame, one.event, one.stratum, one.inclusion) for one in store.audit_items()
        ]
        assert found == [(1, "a.jpg", 0, "night one", "ridge", 0.5), (2, "b.jpg", 0, "", "", 1.0)]
        with pytest.raises(
            StoreError, match=r"^the audit sample was drawn on 2\d{3}-\d\d-\d\d \(2 images\) and is drawn only once"
        ):
            store.keep_audit_sample([*DRAWN, DrawnItem(3, "", "", 1.0)])
        assert len(store.audit_items()) == 2
        monkeypatch.setattr(versions, "lacks_audit", lambda _connection: True)  # older tables, which can only be read
        assert store.audit_items() == []


def test_images_of_the_audit_sample_go_with_their_run_unless_they_are_reviewed(store_address: str) -> None:
    with Store.open(store_address) as store:
        run = store.begin_run(PLAN)
        answer_all(store, run, list_uris(store, run, "a.jpg", "b.jpg"))
        store.keep_audit_sample(DRAWN)
        review(store, "b.jpg")
        store.end_run(run, "finished", {})
        assert store.delete_runs([run], dry_run=True).rows["audit_items"] == 1
        assert store.delete_run(run).rows["audit_items"] == 1
        assert [one.uri for one in store.audit_items()] == ["b.jpg"]
        assert broken_references(store) == []
