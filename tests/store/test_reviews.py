"""Reviews stay unchanged whatever later runs do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from store_samples import FELIDAE, LYNX, STAT, answer_all, list_uris, record, region_record

from bioclip_core.errors import StoreError
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import Review, ReviewTarget, Run, Store
from bioclip_plugin.store.records import StatedReview

BIRD = Region(0.1, 0.2, 0.3, 0.4, "finder", "2.0", "animal", 0.875)
WHEN = datetime(2024, 5, 6, 12, 0, tzinfo=timezone(timedelta(hours=2)))


def test_reviews_of_images_regions_and_events_come_back_unchanged(store: Store, run: Run) -> None:
    (listed,) = store.list_items(run, [MediaItem("a.jpg", regions=(BIRD,))], [STAT])
    store.commit(run, [record(listed, region_record(BIRD))])
    targets = [
        ReviewTarget("media", "a.jpg"),
        ReviewTarget("region", "a.jpg", region=BIRD),
        ReviewTarget("event", event="night 3"),
    ]
    first = store.add_review(targets[0], "blank", reviewer="Ann", reviewed_at=WHEN, comment="only\x00 grass")
    second = store.add_review(targets[1], "taxon", LYNX, reviewer="Bo", reviewed_at=WHEN)
    third = store.add_review(targets[2], "not_in_label_set", reviewer="Cy", reviewed_at=WHEN)
    utc = datetime(2024, 5, 6, 10, 0, tzinfo=UTC)
    assert list(store.reviews()) == [
        Review(first, targets[0], "blank", None, "Ann", utc, "only grass"),
        Review(second, targets[1], "taxon", LYNX, "Bo", utc, ""),
        Review(third, targets[2], "not_in_label_set", None, "Cy", utc, ""),
    ]


def test_a_region_that_only_the_reviewer_saw_can_be_reviewed(store: Store, run: Run) -> None:
    answer_all(store, run, list_uris(store, run, "a.jpg"))
    drawn = Region(0.5, 0.5, 0.1, 0.1)
    store.add_review(ReviewTarget("region", "a.jpg", region=drawn), "taxon", FELIDAE, reviewer="Ann")
    (review,) = store.reviews()
    assert (review.target.region, review.taxon) == (drawn, FELIDAE)
    assert store.verify(run).complete


def test_nothing_that_a_machine_does_touches_a_review(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    answer_all(store, run, [listed])
    store.add_review(ReviewTarget("region", "a.jpg"), "person", reviewer="Ann")
    before = list(store.reviews())
    answer_all(store, run, [listed])
    (changed,) = list_uris(store, run, "a.jpg", stat=(1, 2))
    assert not changed.done
    store.commit(run, [record(changed, region_record(), stat=(1, 2), sha256="other")])
    assert list(store.reviews()) == before


@pytest.mark.parametrize(
    ("target", "verdict", "taxon", "reviewer", "sentence"),
    [
        (ReviewTarget("media", "never-seen.jpg"), "blank", None, "Ann", "no image 'never-seen.jpg'"),
        (ReviewTarget("media", "a.jpg", frame=4), "blank", None, "Ann", "frame 4"),
        (ReviewTarget("media", "a.jpg"), "taxon", None, "Ann", "'taxon' needs a taxon"),
        (ReviewTarget("media", "a.jpg"), "blank", LYNX, "Ann", "'blank' takes no taxon"),
        (ReviewTarget("media", "a.jpg"), "maybe", None, "Ann", "allowed are taxon, blank"),
        (ReviewTarget("film", "a.jpg"), "blank", None, "Ann", "allowed are media, region, event"),  # type: ignore[arg-type]
        (ReviewTarget("media"), "blank", None, "Ann", "needs the image's uri"),
        (ReviewTarget("event"), "blank", None, "Ann", "needs the event's name"),
        (ReviewTarget("media", "a.jpg"), "blank", None, " ", "needs the reviewer's name"),
    ],
)
def test_a_review_that_says_nothing_usable_is_refused(
    store: Store, run: Run, target: ReviewTarget, verdict: str, taxon: object, reviewer: str, sentence: str
) -> None:
    list_uris(store, run, "a.jpg")
    with pytest.raises(StoreError, match=sentence):
        store.add_review(target, verdict, taxon, reviewer=reviewer)  # type: ignore[arg-type]
    assert list(store.reviews()) == []


def test_undone_reviews_are_given_only_where_they_are_asked_for(store: Store, run: Run) -> None:
    answer_all(store, run, list_uris(store, run, "a.jpg", "b.jpg"))
    image, other, event = (
        ReviewTarget("media", "a.jpg"),
        ReviewTarget("media", "b.jpg"),
        ReviewTarget("event", event="night 3"),
    )

    def say(uid: str, target: ReviewTarget, undoes: str = "") -> StatedReview:
        return StatedReview(target, "blank", None, "Ann", WHEN, details={"undoes": undoes} if undoes else {}, uid=uid)

    store.add_reviews(
        [
            say("1", image),
            say("2", other),
            say("3", event),
            say("4", image, "1"),
            say("5", event, "3"),
            say("6", event, "5"),
        ]
    )
    store.add_reviews([say("7", other, "1")])  # of another image, so that it undoes nothing
    assert [one.uid for one in store.reviews()] == ["2", "3"]
    assert [one.uid for one in store.reviews(undone=True)] == list("1234567")
    names = [("a.jpg", 0), ("b.jpg", 0)]
    assert {name: [one.uid for one in found] for name, found in store.reviews_of(names).items()} == {names[1]: ["2"]}
    assert [one.uid for one in store.reviews_of(names, undone=True)[names[0]]] == ["1", "4"]
