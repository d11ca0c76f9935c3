"""Look-ups for imports of reviews, on either database."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from store_samples import FELIDAE, LYNX, PLAN, STAT, answer_all, list_uris, record, region_record

from benchmarks.store_plans import plan, queries
from bioclip_core.errors import StoreError
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Region
from bioclip_plugin.store import ReviewTarget, Run, Store, reviews
from bioclip_plugin.store.records import StatedReview

BOX = Region(0.1, 0.2, 0.3, 0.4, "finder", "2", "animal", 0.875)
WHEN = datetime(2031, 5, 6, tzinfo=UTC)


def stated(uri: str, uid: str, region: Region | None = None, **changes: object) -> StatedReview:
    target = ReviewTarget("region" if region else "media", uri, region=region)
    return StatedReview(target, "taxon", LYNX, "Ann", WHEN, uid=uid, **changes)  # type: ignore[arg-type]


@pytest.fixture
def answered(store: Store, run: Run) -> Run:
    items = [
        MediaItem("a.jpg", regions=(BOX,), sequence="night"), MediaItem("b.jpg", sequence="night", detected=True),
        MediaItem("c.jpg", frame=3),
    ]  # fmt: skip
    a, b, c = store.list_items(run, items, [STAT] * 3)
    store.commit(run, [record(a, region_record(BOX)), record(b), record(c, region_record())])
    return run


def test_the_regions_of_known_images_come_back_and_unknown_images_do_not(store: Store, answered: Run) -> None:
    assert store.regions_of([("a.jpg", 0), ("b.jpg", 0), ("c.jpg", 3), ("c.jpg", 0), ("d.jpg", 0)]) == {
        ("a.jpg", 0): [BOX], ("b.jpg", 0): [], ("c.jpg", 3): [None],
    }  # fmt: skip


def test_images_are_found_by_name_and_frame(store: Store, answered: Run) -> None:
    found = store.items_named([("c.jpg", 3), ("c.jpg", 0), ("a.jpg", 0), ("d.jpg", 0)])
    assert {name: (item.uri, item.frame, item.sequence) for name, item in found.items()} == {
        ("c.jpg", 3): ("c.jpg", 3, None), ("a.jpg", 0): ("a.jpg", 0, "night"),
    }  # fmt: skip
    assert store.items_named([]) == {}


def test_the_images_of_an_event_say_whether_a_detector_found_nothing(store: Store, answered: Run) -> None:
    found = store.items_of_events(["night", "day"])
    assert {event: [(item.uri, blank) for item, blank in items] for event, items in found.items()} == {
        "night": [("a.jpg", False), ("b.jpg", True)]
    }
    assert store.known_events({"night", "day"}) == {"night"}


def test_taxa_are_found_by_any_of_their_names_without_case(store: Store, answered: Run) -> None:
    assert store.taxa_named(["lynx FICTUS"]) == [LYNX]
    assert store.taxa_named(["Invented Lynx"]) == [LYNX]
    assert set(store.taxa_named(["felidae"])) == {LYNX, FELIDAE}
    assert store.taxa_named(["fictus", ""]) == []


def test_many_reviews_are_written_at_once_and_each_once(store: Store, answered: Run) -> None:
    said = [stated("a.jpg", "1", BOX), stated("a.jpg", "2", details={"count": 2}), stated("a.jpg", "1", BOX)]
    assert store.add_reviews(said) == 2
    assert store.add_reviews([*said, stated("b.jpg", "3")]) == 1
    assert [(one.uid, one.target.region, dict(one.details)) for one in store.reviews()] == [
        ("1", BOX, {}), ("2", None, {"count": 2}), ("3", None, {}),
    ]  # fmt: skip
    assert [one.uid for one in store.reviews_of([("a.jpg", 0)])["a.jpg", 0]] == ["1", "2"]


def test_one_review_of_an_unknown_image_keeps_all_of_them_out(store: Store, answered: Run) -> None:
    with pytest.raises(StoreError, match=r"no image 'z\.jpg'"):
        store.add_reviews([stated("a.jpg", "1"), stated("z.jpg", "2")])
    assert list(store.reviews()) == []


def test_a_page_may_hold_the_candidates_of_some_ranks_only(store: Store, answered: Run) -> None:
    whole, asked = (
        [list(item.regions) for item in store.items_of(answered, ranks=ranks)] for ranks in (None, ("family",))
    )
    assert [set(region.by_rank) for regions in whole for region in regions] == [{"species", "family"}] * 2
    assert [set(region.by_rank) for regions in asked for region in regions] == [{"family"}] * 2
    assert [region.decision for regions in asked for region in regions] == [
        region.decision for regions in whole for region in regions
    ]


def test_metadata_that_were_never_read_are_still_equal(store: Store, run: Run) -> None:
    metadata = {"camera": "x", "exposure": [1, 2]}
    store.list_items(run, [MediaItem("a.jpg", metadata=metadata)], [STAT])
    (stored,) = store.items_of(run)
    assert stored.item.metadata == metadata
    assert (dict(stored.item.metadata), stored.item.metadata["camera"], len(stored.item.metadata)) == (metadata, "x", 2)


def test_events_are_looked_up_by_indexes_in_a_large_store(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without them, a table of 100,000 reviews of events would read all decisions 200 times."""
    store.list_items(run, [MediaItem(f"{n}.jpg", sequence=f"sequence {n // 2}") for n in range(6)], [STAT] * 6)
    assert store.known_events(["sequence 1", "other"]) == {"sequence 1"}
    assert not store._database.read(reviews.lacks_event_indexes)
    monkeypatch.setattr(reviews, "SEARCHED_WITHOUT_INDEXES", 5)
    assert store._database.read(reviews.lacks_event_indexes)
    with Store.open(store._database.url.render_as_string(hide_password=False)) as again:
        assert again.known_events(["sequence 1", "other"]) == {"sequence 1"}
        assert set(again.items_of_events(["sequence 2"])) == {"sequence 2"}
        assert not again._database.read(reviews.lacks_event_indexes)


def test_the_reviewed_images_of_a_run_come_in_its_order_and_those_of_events_on_request(
    store: Store, answered: Run
) -> None:
    assert list(store.reviewed_items(answered)) == []
    night = [item for item in store.items_of(answered) if item.item.sequence == "night"]
    store.add_reviews([stated("b.jpg", "1")])
    assert list(store.reviewed_items(answered)) == night[1:]
    assert list(store.reviewed_items(answered, ["night"])) == night
    of_family = list(store.items_of(answered, limit=2, ranks=("family",)))
    assert list(store.reviewed_items(answered, ["night"], ranks=("family",))) == of_family
    store.add_reviews([stated("a.jpg", "2", BOX), stated("a.jpg", "3")])
    assert list(store.reviewed_items(answered)) == night


def whole_reads(lines: list[str]) -> list[str]:
    """Return the lines of plans that read a large table from end to end, or all of a run or of a layer."""
    large = r"bioclip_(listing|media|contents|regions|listed_regions|features|answers|candidates|decisions|detections|failures)"
    layers = r"(run|(answer|feature|decision|detector)_set)=\?"
    return [line for line in lines if re.search(rf"SCAN {large}\b|{large} .*\({layers}\)", line)]


def plans(store: Store, work: Callable[[], object]) -> list[str]:
    with queries() as seen:
        work()
    # The largest value of an index is at its end.
    return [line for query in seen if "max(" not in query[0] for line in store._database.read(plan, query)]


def test_no_lookup_of_a_batch_reads_all_of_a_layer(tmp_path: Path) -> None:
    """For its joins SQLite knows no numbers of rows: it would read ten million vectors for each batch of sixteen images."""
    settings = {"detection": {"detector_id": "d", "detector": {}, "threshold": 0.2}}
    with Store.open(tmp_path / "results.db") as store:
        run = store.begin_run(replace(PLAN, rule_settings=settings))
        answer_all(store, run, list_uris(store, run, "a.jpg", "b.jpg"))
        store.keep_boxes(run, {("sha-a.jpg", 0): (STAT[0], ())})
        key = ("sha-a.jpg", 0, WHOLE_BOX)
        assert (set(store.features(run, [key])), len(store.answers(run, [1])[1])) == ({key}, 1)
        assert store.found_boxes(run, [("sha-a.jpg", 0)]) == {("sha-a.jpg", 0): ()}
        for lookup in (
            lambda: store.features(run, [key]),
            lambda: store.answers(run, [1, 2]),
            lambda: store.found_boxes(run, [("sha-a.jpg", 0)]),
            lambda: list_uris(store, run, "a.jpg", "c.jpg", stat=(1, 2)),
            lambda: answer_all(store, run, list_uris(store, run, "b.jpg")),
            lambda: list(store.items_of(run)),
            lambda: store.deciding(run).images([1]),
            lambda: store.regions_of([("a.jpg", 0)]),
            lambda: store.contents_of([("a.jpg", 0)]),
        ):
            lines = plans(store, lookup)
            assert lines
            assert whole_reads(lines) == []


def test_a_search_for_reviewed_images_begins_at_the_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joined with its reviews, SQLite reads the whole listing of a run: a million rows for one review."""
    monkeypatch.setattr(reviews, "SEARCHED_WITHOUT_INDEXES", 0)
    with Store.open(tmp_path / "results.db") as store:
        run = store.begin_run(PLAN)
        answer_all(store, run, list_uris(store, run, "a.jpg", "b.jpg"))
        store.add_reviews([stated("a.jpg", "1")])
        assert [item.item.uri for item in store.reviewed_items(run, ["night"])] == ["a.jpg"]
        lines = plans(store, lambda: list(store.reviewed_items(run, ["night"])))
    assert len(lines) >= 8
    assert whole_reads(lines) == []
