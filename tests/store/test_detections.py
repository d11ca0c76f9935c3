"""Boxes of the pipeline's detector in the store: by content, for every run of the same detector, removed when none needs them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from old_stores import restore
from store_samples import PLAN, QUICK, STAT, list_uris, record, region_record

from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.items.request import DETECTION
from bioclip_plugin.store import Run, Store

ANIMAL = (0.1, 0.2, 0.30000000000000004, 0.4, "animal", 0.9)
FAINT = (0.0, 0.0, 1.0, 1.0, "Wildebeest", 0.01)


def planned(rule: str, detector: str = "d1", threshold: float = 0.2) -> Any:
    detection = {"detector_id": detector, "detector": {"name": "keen"}, "threshold": threshold}
    return replace(PLAN, rule_id=rule, rule_settings={"rules": [], DETECTION: detection})


def found_by(store: Store, run: Run, uri: str, *found: Any, sha256: str | None = None) -> None:
    (listed,) = list_uris(store, run, uri)
    boxes = tuple(region_record(Region(*box[:4], "keen", "1", box[4], box[5])) for box in found)
    store.commit(run, [record(listed, *boxes, sha256=sha256, found=tuple(found), by_detector=True)])


def rows(store: Store, *names: str) -> list[int]:
    sizes = {table.name: table.rows for table in store.info().tables}
    return [sizes[name] for name in names]


def test_boxes_are_found_by_content_and_detector_alone(store: Store) -> None:
    run = store.begin_run(planned("r1"))
    found_by(store, run, "a.jpg", ANIMAL, FAINT, sha256="c1")
    found_by(store, run, "b.jpg", sha256="c2")
    keys = [("c1", 0), ("c2", 0), ("c3", 0), ("c1", 1)]
    assert store.found_boxes(run, keys) == {("c1", 0): (ANIMAL, FAINT), ("c2", 0): ()}
    other = store.begin_run(planned("r2", threshold=0.9))
    assert store.found_boxes(other, keys) == store.found_boxes(run, keys)
    assert store.found_boxes(store.begin_run(planned("r3", detector="d2")), keys) == {}
    assert store.found_boxes(store.begin_run(replace(PLAN, rule_id="r4")), keys) == {}
    assert store.verify(run).problems == []


def test_an_image_without_boxes_is_blank_and_done_and_stays_so(store: Store) -> None:
    run = store.begin_run(planned("r1"))
    found_by(store, run, "a.jpg", ANIMAL)
    found_by(store, run, "b.jpg")
    again = list_uris(store, store.begin_run(planned("r1")), "a.jpg", "b.jpg")
    assert [one.done for one in again] == [True, True]
    assert [(item.item.detected, len(item.regions)) for item in store.items_of(run)] == [(True, 1), (True, 0)]
    (own,) = store.list_items(run, [MediaItem("b.jpg", regions=(Region(0, 0, 1, 1),))], [STAT])
    assert not own.done, "now the source states a box"
    (back,) = list_uris(store, run, "b.jpg")
    assert not back.done


def test_boxes_go_with_the_last_run_that_needs_them(store: Store) -> None:
    first, second = store.begin_run(planned("r1")), store.begin_run(planned("r2", threshold=0.5))
    for run in (first, second):
        found_by(store, run, "a.jpg", ANIMAL)
        found_by(store, run, "b.jpg")
    other = store.begin_run(planned("r3", detector="d2"))
    found_by(store, other, "a.jpg", FAINT)
    for run in (first, second, other):
        store.end_run(run, "finished", {})
    assert rows(store, "detector_sets", "detections") == [2, 3]
    store.delete_run(first)
    assert rows(store, "detector_sets", "detections") == [2, 3]
    counted = store.delete_runs([second], dry_run=True).rows
    removed = store.delete_run(second).rows
    assert (counted["detections"], removed["detections"]) == (2, 2)
    assert rows(store, "detector_sets", "detections", "contents") == [1, 1, 1]
    assert store.verify(other).problems == []
    assert store.compact().rows == {}
    store.delete_run(other)
    assert rows(store, "detector_sets", "detections", "contents") == [0, 0, 0]


def test_lost_boxes_are_named(store: Store) -> None:
    run = store.begin_run(planned("r1"))
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, by_detector=True)])
    assert store.verify(run).problems == ["1 images lost the boxes of the detector: a.jpg"]


def test_a_store_of_an_earlier_version_that_cannot_be_written_is_read_as_it_is(
    tmp_path: Path, monkeypatch: Any
) -> None:
    restore(str(tmp_path / "r.db"))
    monkeypatch.setattr(
        "bioclip_plugin.store.database.connection.why_read_only", lambda *_, **__: "its disk is read-only"
    )
    with Store.open(tmp_path / "r.db", retry=QUICK) as store:
        assert store.version() == "0002"
        assert [store.verify(run).problems for run in store.runs()] == [[]] * len(store.runs())
        assert "detections" not in {table.name for table in store.info().tables}
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection:
        assert connection.execute("SELECT version_num FROM bioclip_alembic_version").fetchone() == ("0002",)


def test_a_box_keeps_the_confidence_of_each_run_in_a_store_of_version_0003_that_cannot_be_written(
    tmp_path: Path, monkeypatch: Any
) -> None:
    with Store.open(tmp_path / "r.db", retry=QUICK) as store:
        for rule, confidence in (("r1", 0.9), ("r2", 0.4)):
            found_by(store, store.begin_run(planned(rule)), "a.jpg", (*ANIMAL[:5], confidence))
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection, connection:
        connection.execute("UPDATE bioclip_alembic_version SET version_num = '0003'")  # with the same tables on SQLite
    monkeypatch.setattr(
        "bioclip_plugin.store.database.connection.why_read_only", lambda *_, **__: "its disk is read-only"
    )
    with Store.open(tmp_path / "r.db", retry=QUICK) as store:
        assert store.version() == "0003"
        found = [item.regions[0].region for run in store.runs() for item in store.items_of(run)]
        assert [region and region.confidence for region in found] == [0.9, 0.4]
