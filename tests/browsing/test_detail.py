"""One item in full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_samples import CONSENSUS, FELIDAE, LYNX, PLAN, QUICK, STAT, failed, record, region_record

from bioclip_plugin.browsing.detail import GoneError, detail_of
from bioclip_plugin.browsing.keys import ItemKey
from bioclip_plugin.browsing.view import RunView
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import ReviewTarget, Store
from bioclip_plugin.store.records import StatedReview, StoredDecision

BOX, FAINT = (
    Region(0.1, 0.1, 0.2, 0.2, "finder", "2", "animal", 0.9),
    Region(0.0, 0.8, 0.1, 0.1, "finder", "2", "animal", 0.05, classified=False),
)


@pytest.fixture
def view(tmp_path: Path) -> Iterator[RunView]:
    with Store.open(tmp_path / "store.db", retry=QUICK) as store:
        run = store.begin_run(PLAN)
        items = [
            MediaItem(
                f"{name}.jpg",
                captured_at=datetime(2026, 5, 1, 6, minute),
                sequence="s1",
                metadata={"camera_make": "Invented"},
            )
            for name, minute in (("b", 3), ("a", 1))
        ]
        items += [MediaItem("c.jpg", regions=(BOX, FAINT), detected=True), MediaItem("d.jpg")]
        listed = store.list_items(run, items, [STAT] * 4)
        none = region_record(FAINT, features=None, by_rank=None, consensus=None)
        records = [record(one, region_record()) for one in listed[:2]]
        store.commit(run, [*records, record(listed[2], region_record(BOX), none), failed(listed[3])])
        region = next(iter(store.items_of(run))).regions[0].region_id
        store.deciding(run).write(
            {region: StoredDecision("taxon", CONSENSUS, None, ({"rule": "invented", "did": "nothing"},))}
        )
        with RunView.open(store) as opened:
            yield opened


def test_an_item_has_its_candidates_trail_metadata_reviews_and_event(view: RunView) -> None:
    said = [
        StatedReview(ReviewTarget("media", "b.jpg"), "taxon", LYNX, "Ada", datetime(2026, 6, 1, tzinfo=UTC), uid="1"),
        StatedReview(ReviewTarget("media", "b.jpg"), "blank", None, "Ben", datetime(2026, 6, 2, tzinfo=UTC), uid="2"),
        StatedReview(ReviewTarget("media", "b.jpg"), "blank", None, "Ben", None, details={"undoes": "2"}, uid="3"),
    ]
    view._store.add_reviews(said)
    assert view.refresh()
    detail = detail_of(view._store, view, view.now.key_of(0))
    assert [one.name for one in detail.candidates["species"]] == ["Lynx fictus", "Felidae"]
    assert detail.trail == ({"rule": "invented", "did": "nothing"},)
    assert dict(detail.item.metadata) == {"camera_make": "Invented"}
    assert [(one.uid, one.id in detail.in_force) for one in detail.reviews] == [("1", True), ("2", False), ("3", False)]
    assert detail.entry.reviewed_taxon is not None
    assert detail.entry.reviewed_taxon.name == "Lynx fictus"
    assert detail.siblings == (view.now.key_of(1), view.now.key_of(0)), "in the order of their times"
    assert (detail.siblings_total, detail.provenance["host"]) == (2, "one")


def test_an_image_of_several_boxes_has_them_all_and_its_own_items_as_siblings(view: RunView) -> None:
    detail = detail_of(view._store, view, view.now.key_of(2))
    assert [one.region for _, one in detail.boxes] == [BOX, FAINT]
    assert detail.siblings == (view.now.key_of(2),)
    assert detail.entry.taxon is not None
    assert detail.entry.taxon.lineage == FELIDAE.lineage


def test_a_failed_image_has_no_candidates(view: RunView) -> None:
    detail = detail_of(view._store, view, view.now.key_of(3))
    assert (detail.status, detail.candidates, detail.entry.failure) == ("failed", {}, "decode: it is empty")


def test_an_item_that_the_run_does_not_have_is_gone(view: RunView) -> None:
    with pytest.raises(GoneError, match="1-99-0"):
        detail_of(view._store, view, ItemKey(1, 99, 0))
    key = view.now.key_of(0)
    assert detail_of(view._store, view, key).entry.key == key
    with view._store._database._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM bioclip_listing WHERE position = 1")
    with pytest.raises(GoneError, match="classified again"):
        detail_of(view._store, view, key)
