"""Listing, committing and reading back: stored results come back unchanged and once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from store_samples import (
    BY_RANK,
    CONSENSUS,
    FELIDAE,
    LYNX,
    PLAN,
    STAT,
    answer_all,
    failed,
    features,
    list_uris,
    record,
    region_record,
)

from bioclip_core.classify import Candidate
from bioclip_core.errors import StoreError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import WHOLE_BOX, MediaItem, Place, Region, Unlisted
from bioclip_plugin.store import Run, Store

BIRD = Region(0.1, 0.2, 0.3, 0.4, "finder", "2.0", "animal", 0.875)
CAR = Region(0.5, 0.5, 0.25, 0.25, "finder", "2.0", "vehicle", 0.5)


def test_items_get_positions_in_the_order_of_their_listing(store: Store, run: Run) -> None:
    listed = list_uris(store, run, "b.jpg", "a.jpg") + list_uris(store, run, "c.jpg")
    assert [(one.item.uri, one.position, one.done) for one in listed] == [
        ("b.jpg", 1, False), ("a.jpg", 2, False), ("c.jpg", 3, False),
    ]  # fmt: skip
    assert [one.item.uri for one in store.items_of(run)] == ["b.jpg", "a.jpg", "c.jpg"]


def test_a_listing_that_grew_keeps_positions_and_appends(store: Store, run: Run) -> None:
    list_uris(store, run, "b.jpg", "d.jpg")
    again = list_uris(store, run, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert [(one.item.uri, one.position) for one in again] == [("a.jpg", 3), ("b.jpg", 1), ("c.jpg", 4), ("d.jpg", 2)]
    assert store.verify(run).problems == []


def test_an_answer_comes_back_as_it_was_committed(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, region_record(flags=("prior_ignored", "other")))])
    (stored,) = store.answers(run, [listed.media_id])[listed.media_id]
    assert stored.region is None
    assert stored.by_rank == BY_RANK
    assert stored.flags == ("prior_ignored", "other")
    assert (stored.decided, stored.consensus) == (True, CONSENSUS)


def test_a_family_filed_under_species_keeps_both_ranks(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    answer_all(store, run, [listed])
    (stored,) = store.answers(run, [listed.media_id])[listed.media_id]
    assert [candidate.rank for candidate in stored.by_rank["species"]] == ["species", "family"]
    assert stored.by_rank["species"][1].taxon == FELIDAE


def test_custom_labels_and_groups_keep_their_words(store: Store, run: Run) -> None:
    cat, pet = Taxon(common_name="cat"), Taxon(common_name="pet")
    by_rank = {"label": (Candidate(cat, "label", 0.5),), "group": (Candidate(pet, "group", 0.5),)}
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, region_record(by_rank=by_rank, consensus=Candidate(pet, "group", 0.5)))])
    (stored,) = store.answers(run, [listed.media_id])[listed.media_id]
    assert stored.by_rank == by_rank
    assert stored.consensus == Candidate(pet, "group", 0.5)


def test_hemihomonyms_stay_apart(store: Store, run: Run) -> None:
    plant, animal = Taxon("Plantae", genus="Ficus"), Taxon("Animalia", genus="Ficus")
    by_rank = {"genus": (Candidate(plant, "genus", 0.5), Candidate(animal, "genus", 0.25))}
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, region_record(by_rank=by_rank, consensus=None))])
    (stored,) = store.answers(run, [listed.media_id])[listed.media_id]
    assert [candidate.taxon.kingdom for candidate in stored.by_rank["genus"]] == ["Plantae", "Animalia"]
    assert (stored.decided, stored.consensus) == (True, None)


def test_names_that_differ_only_in_the_end_of_a_rank_stay_separate(store: Store, run: Run) -> None:
    one, other = Taxon(genus="Ab", species="c"), Taxon(genus="A", species="bc")
    by_rank = {"species": (Candidate(one, "species", 0.5), Candidate(other, "species", 0.25))}
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, region_record(by_rank=by_rank, consensus=None))])
    (stored,) = store.answers(run, [listed.media_id])[listed.media_id]
    assert stored.by_rank == by_rank


def test_regions_come_back_with_detector_and_in_the_order_given(store: Store, run: Run) -> None:
    (listed,) = store.list_items(run, [MediaItem("a.jpg", regions=(CAR, BIRD))], [STAT])
    store.commit(run, [record(listed, region_record(CAR), region_record(BIRD))])
    (item,) = store.items_of(run)
    assert [stored.region for stored in item.regions] == [CAR, BIRD]
    assert item.item.regions == (CAR, BIRD)


def test_an_item_without_any_region_is_done(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "empty.jpg")
    store.commit(run, [record(listed)])
    (item,) = store.items_of(run)
    assert (item.status, item.regions, item.failure) == ("done", [], None)
    assert list_uris(store, run, "empty.jpg")[0].done
    assert store.verify(run).complete


def test_features_come_back_by_content_and_box(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    boxed = region_record(BIRD, features=features(0.25, 0.75, -1, 0))
    store.commit(run, [record(listed, region_record(), boxed, sha256="s1")])
    whole, box = ("s1", 0, WHOLE_BOX), ("s1", 0, (1000, 2000, 3000, 4000))
    found = store.features(run, [whole, box, ("s1", 1, WHOLE_BOX), ("s2", 0, WHOLE_BOX)])
    assert found.keys() == {whole, box}
    assert found[box].dtype == np.float16
    assert found[box].tolist() == [0.25, 0.75, -1.0, 0.0]
    assert found[whole].tolist() == [0.5, -0.5, 0.5, 0.5]
    assert store.features(run.feature_set, [whole])[whole].tolist() == [0.5, -0.5, 0.5, 0.5]


def test_two_files_with_the_same_bytes_share_features_and_have_answers_of_their_own(store: Store, run: Run) -> None:
    first, second = list_uris(store, run, "a.jpg", "b.jpg")
    other = {"species": (Candidate(LYNX, "species", 0.5),)}
    twin = record(second, region_record(features=None, by_rank=other), sha256="same")
    store.commit(run, [record(first, region_record(), sha256="same"), twin])
    answers = store.answers(run, [first.media_id, second.media_id])
    assert answers[first.media_id][0].by_rank == BY_RANK
    assert answers[second.media_id][0].by_rank == other
    assert list(store.features(run, [("same", 0, WHOLE_BOX)])) == [("same", 0, WHOLE_BOX)]
    assert store.verify(run).complete


def test_committing_a_batch_twice_is_committing_it_once(store: Store, run: Run) -> None:
    listed = list_uris(store, run, "a.jpg", "b.jpg", "c.jpg")
    batch = [record(listed[0], region_record(), region_record(BIRD)), failed(listed[1]), record(listed[2])]
    store.commit(run, batch)
    before = list(store.items_of(run))
    store.commit(run, batch)
    assert list(store.items_of(run)) == before
    assert store.verify(run).problems == []
    assert store.summary(run).regions == 2


def test_a_big_batch_goes_in_as_a_small_one_does(store: Store, run: Run) -> None:
    listed = list_uris(store, run, *(f"{n:04d}.jpg" for n in range(700)))
    store.commit(run, [record(one, region_record(features=features(one.position / 1024, 0, 0, 0))) for one in listed])
    items = list(store.items_of(run))
    assert [item.item.uri for item in items] == [f"{n:04d}.jpg" for n in range(700)]
    assert all(item.regions[0].by_rank == BY_RANK for item in items)
    key = ("sha-0699.jpg", 0, WHOLE_BOX)
    assert store.features(run, [key])[key].tolist() == [700 / 1024, 0, 0, 0]
    assert store.verify(run).complete


def test_a_page_of_items_begins_behind_a_position_and_ends_at_a_limit(store: Store, run: Run) -> None:
    list_uris(store, run, *(f"{n:04d}.jpg" for n in range(1201)))
    assert [item.item.uri for item in store.items_of(run, after=2, limit=3)] == ["0002.jpg", "0003.jpg", "0004.jpg"]
    assert sum(1 for _ in store.items_of(run)) == 1201
    assert sum(1 for _ in store.items_of(run, limit=600)) == 600
    assert list(store.items_of(run, limit=0)) == []


def test_a_done_item_with_the_same_file_is_done_again_and_knows_its_content(store: Store, run: Run) -> None:
    answer_all(store, run, list_uris(store, run, "a.jpg"))
    (again,) = list_uris(store, run, "a.jpg")
    assert (again.done, again.content_sha256) == (True, "sha-a.jpg")


def test_in_another_run_it_is_not_done_but_content_and_answers_are_known(store: Store, run: Run) -> None:
    answer_all(store, run, list_uris(store, run, "a.jpg"))
    other = store.begin_run(replace(PLAN, rule_id="r2"))
    (listed,) = list_uris(store, other, "a.jpg")
    assert (listed.done, listed.content_sha256) == (False, "sha-a.jpg")
    (stored,) = store.answers(other, [listed.media_id])[listed.media_id]
    assert (stored.by_rank, stored.decided) == (BY_RANK, False)
    decision = Candidate(LYNX, "species", 0.75)
    store.commit(other, [record(listed, region_record(features=None, by_rank=None, consensus=decision))])
    assert store.answers(other, [listed.media_id])[listed.media_id][0].consensus == decision
    assert store.answers(run, [listed.media_id])[listed.media_id][0].consensus == CONSENSUS
    assert store.verify(other).complete
    assert store.verify(run).complete


def test_a_vanished_file_keeps_its_content_and_its_stat(store: Store, run: Run) -> None:
    answer_all(store, run, list_uris(store, run, "a.jpg"))
    other = store.begin_run(replace(PLAN, rule_id="r2"))
    (listed,) = list_uris(store, other, "a.jpg", stat=None)
    assert listed.content_sha256 == "sha-a.jpg"
    store.commit(other, [record(listed, region_record(features=None, by_rank=None), stat=None)])
    (back,) = list_uris(store, other, "a.jpg")
    assert back.done


@pytest.mark.parametrize("stat", [(101, STAT[1]), (STAT[0], STAT[1] + 1)])
def test_a_changed_file_is_to_do_again_in_every_run_and_no_other_file_is(
    store: Store, run: Run, stat: tuple[int, int]
) -> None:
    listed = list_uris(store, run, "a.jpg", "b.jpg")
    answer_all(store, run, listed)
    other = store.begin_run(replace(PLAN, answer_id="a2", rule_id="r2"))
    answer_all(store, other, list_uris(store, other, "a.jpg", "b.jpg"))
    (changed,) = list_uris(store, run, "a.jpg", stat=stat)
    assert (changed.done, changed.content_sha256) == (False, None)
    for one in (run, other):
        assert listed[0].media_id not in store.answers(one, [listed[0].media_id])
        assert store.answers(one, [listed[1].media_id])[listed[1].media_id][0].by_rank == BY_RANK
        assert (store.summary(one).todo, store.summary(one).done) == (1, 1)
        assert store.verify(one).problems == []


def test_other_bytes_under_an_unchanged_stat_replace_the_old_answers(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, region_record(), region_record(BIRD))])
    other = store.begin_run(replace(PLAN, answer_id="a2", rule_id="r2"))
    answer_all(store, other, list_uris(store, other, "a.jpg"))
    fresh = {"species": (Candidate(LYNX, "species", 0.5),)}
    store.commit(run, [record(listed, region_record(by_rank=fresh), sha256="rehashed")])
    (stored,) = store.answers(run, [listed.media_id])[listed.media_id]
    assert stored.by_rank == fresh
    assert store.answers(other, [listed.media_id]) == {}
    assert store.summary(other).todo == 1
    assert store.verify(run).complete


def test_other_stated_regions_make_an_item_to_do_again(store: Store, run: Run) -> None:
    (listed,) = store.list_items(run, [MediaItem("a.jpg", regions=(BIRD,))], [STAT])
    store.commit(run, [record(listed, region_record(BIRD))])
    same = replace(BIRD, confidence=0.5)
    assert store.list_items(run, [MediaItem("a.jpg", regions=(same,))], [STAT])[0].done
    (other,) = store.list_items(run, [MediaItem("a.jpg", regions=(BIRD, CAR))], [STAT])
    assert (other.done, other.content_sha256) == (False, "sha-a.jpg")
    store.commit(run, [record(other, region_record(BIRD, by_rank=None, features=None), region_record(CAR))])
    (whole,) = list_uris(store, run, "a.jpg")
    assert not whole.done
    store.commit(run, [record(whole, region_record())])
    (item,) = store.items_of(run)
    assert [stored.region for stored in item.regions] == [None]
    assert store.verify(run).complete


def test_an_item_listed_twice_is_one_row_with_the_regions_of_both(store: Store, run: Run) -> None:
    items = [MediaItem("a.jpg", regions=(BIRD,)), MediaItem("b.jpg"), MediaItem("a.jpg", regions=(CAR, BIRD))]
    first, _, second = store.list_items(run, items, [STAT] * 3)
    assert first.media_id == second.media_id
    assert first.position == second.position
    assert first.item.regions == (BIRD, CAR)
    assert store.summary(run).listed == 2


def test_frames_of_a_file_are_items_of_their_own(store: Store, run: Run) -> None:
    first, second = store.list_items(run, [MediaItem("a.tif"), MediaItem("a.tif", frame=1)], [STAT, STAT])
    store.commit(run, [record(first, region_record(), sha256="s"), record(second, region_record(), sha256="s")])
    assert [item.item.frame for item in store.items_of(run)] == [0, 1]
    assert len(store.features(run, [("s", 0, WHOLE_BOX), ("s", 1, WHOLE_BOX)])) == 2


def test_bytes_in_hand_are_never_taken_for_known(store: Store, run: Run) -> None:
    answer_all(store, run, list_uris(store, run, "a.jpg"))
    (listed,) = store.list_items(run, [MediaItem("a.jpg", data=b"others")], [None])
    assert (listed.done, listed.content_sha256) == (False, None)


def test_capture_metadata_of_an_earlier_reading_fill_gaps_of_the_source(store: Store, run: Run) -> None:
    zone = timezone(timedelta(hours=5, minutes=45))
    taken = datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=zone)
    place = Place("NP", "Nowhere", 27.5, 86.25, 5)
    item = MediaItem("a.jpg", 0, captured_at=taken, place=place, deployment="d1", sequence="s1", metadata={"iso": 200})
    item = MediaItem("a.jpg", None, 0, taken, place, "d1", "s1", (), {"iso": 200})
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [record(listed, region_record(), item=item)])
    (again,) = store.list_items(run, [MediaItem("a.jpg", deployment="d2", metadata={"camera": "c"})], [STAT])
    assert again.item.captured_at == taken
    assert again.item.captured_at.utcoffset() == timedelta(hours=5, minutes=45)
    assert (again.item.place, again.item.sequence, again.item.deployment) == (place, "s1", "d2")
    assert again.item.metadata == {"iso": 200, "camera": "c"}
    assert again.done
    (stored,) = store.items_of(run)
    assert (stored.item.deployment, stored.item.metadata) == ("d2", {"iso": 200, "camera": "c"})


def test_a_naive_capture_time_stays_naive(store: Store, run: Run) -> None:
    taken = datetime(2024, 5, 6, 7, 8, 9)
    store.list_items(run, [MediaItem("a.jpg", captured_at=taken)], [STAT])
    (stored,) = store.items_of(run)
    assert stored.item.captured_at == taken
    assert stored.item.captured_at.tzinfo is None


def test_a_failure_has_its_reason_and_counts_its_attempts(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [failed(listed)])
    (again,) = list_uris(store, run, "a.jpg")
    assert not again.done
    store.commit(run, [failed(again, "it is still empty")])
    (failure,) = store.failures(run)
    assert (failure.item.uri, failure.failure, failure.attempts) == ("a.jpg", Failure("decode", "it is still empty"), 2)
    assert store.failure_counts(run) == {("decode", "it is still empty"): 1}
    (item,) = store.items_of(run)
    assert (item.status, item.failure) == ("failed", Failure("decode", "it is still empty"))


def test_failures_that_differ_only_in_names_and_numbers_are_counted_together(store: Store, run: Run) -> None:
    reasons = ["row 3: file 'a.jpg' is in /x/y", "row 40: file 'b c.jpg' is in /z", "the file is empty (0 bytes)"]
    for number, reason in enumerate(reasons):
        (listed,) = list_uris(store, run, f"{number}.jpg")
        store.commit(run, [failed(listed, reason)])
    assert store.failure_counts(run) == {("decode", f"{reasons[0]} (and the like)"): 2, ("decode", reasons[2]): 1}


def test_an_answer_removes_the_failure_and_a_failure_the_regions(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    store.commit(run, [failed(listed)])
    store.commit(run, [record(listed, region_record())])
    assert list(store.failures(run)) == []
    assert store.verify(run).complete
    store.commit(run, [failed(listed)])
    assert next(store.items_of(run)).regions == []
    assert store.verify(run).problems == []


def test_an_entry_that_cannot_be_listed_is_a_failure_until_the_run_is_resumed(store: Store, run: Run) -> None:
    entries = [MediaItem("a.jpg"), Unlisted("private", "no right to read this folder")]
    item, folder = store.list_items(run, entries, [STAT, None])
    assert item.failure is None
    assert folder.failure == Failure("list", "no right to read this folder")
    answer_all(store, run, [item])
    summary = store.summary(run)
    assert (summary.listed, summary.done, summary.failed) == (2, 1, 1)
    assert store.verify(run).complete
    store.begin_run(PLAN)
    assert (store.summary(run).listed, store.summary(run).failed) == (1, 0)
    assert store.verify(run).complete


def test_media_are_found_by_folder_and_not_by_prefix(store: Store, run: Run) -> None:
    list_uris(store, run, "p/a.jpg", "p/q/b.jpg", "pq/c.jpg", "P/d.jpg", "/abs/e.jpg", "p_/f.jpg", "s3://p/g.jpg")

    def under(address: str | None) -> list[str]:
        return [item.uri for item in store.media_under(address)]

    assert under("p") == under("p/") == ["p/a.jpg", "p/q/b.jpg"]
    assert under("p_") == ["p_/f.jpg"]
    assert under("p/a.jpg") == ["p/a.jpg"]
    assert under("/abs") == ["/abs/e.jpg"]
    assert under(".") == ["p/a.jpg", "p/q/b.jpg", "pq/c.jpg", "P/d.jpg", "p_/f.jpg"]
    assert len(under(None)) == 7
    assert under("nowhere") == []


def test_text_that_databases_refuse_is_made_fit(store: Store, run: Run) -> None:
    odd = MediaItem(
        "a\x00b\udc80.jpg", metadata={"maker\x00": "x\x00\udcffy", "ratio": float("nan")}, deployment="d\x00"
    )
    (listed,) = store.list_items(run, [odd], [STAT])
    store.commit(run, [record(listed, region_record())])
    (stored,) = store.items_of(run)
    assert stored.item.uri == "ab\\udc80.jpg"
    assert stored.item.deployment == "d"
    assert stored.item.metadata == {"maker": "x\\udcffy", "ratio": None}
    assert store.list_items(run, [odd], [STAT])[0].done


def test_uris_that_no_index_takes_are_cut_and_stay_apart(store: Store, run: Run) -> None:
    rng = np.random.default_rng(1)
    start = "".join(map(chr, rng.integers(0x4E00, 0x9FFF, 2000)))
    first, second = list_uris(store, run, start + "1", start + "2")
    assert first.media_id != second.media_id
    answer_all(store, run, [first, second])
    assert all(one.done for one in list_uris(store, run, start + "1", start + "2"))


@pytest.mark.parametrize("probability", [float("nan"), float("inf")])
def test_a_probability_that_is_no_number_is_refused_and_nothing_of_its_batch_is_kept(
    store: Store, run: Run, probability: float
) -> None:
    good, bad = list_uris(store, run, "good.jpg", "bad.jpg")
    wrong = {"species": (Candidate(LYNX, "species", probability),)}
    with pytest.raises(StoreError, match=r"bad\.jpg: 'Lynx fictus' has the probability"):
        store.commit(run, [record(good, region_record()), record(bad, region_record(by_rank=wrong))])
    with pytest.raises(StoreError, match=r"bad\.jpg"):
        store.commit(run, [record(bad, region_record(consensus=Candidate(LYNX, "species", probability)))])
    assert store.summary(run).todo == 2


def test_features_that_are_no_numbers_or_of_another_shape_are_refused(store: Store, run: Run) -> None:
    (listed,) = list_uris(store, run, "a.jpg")
    with pytest.raises(StoreError, match="not numbers"):
        store.commit(run, [record(listed, region_record(features=features(float("nan"), 0, 0, 0)))])
    with pytest.raises(ValueError, match=r"this run stores float16 \(4,\)"):
        store.commit(run, [record(listed, region_record(features=features(1, 0)))])
    with pytest.raises(ValueError, match="float32"):
        store.commit(run, [record(listed, region_record(features=features().astype(np.float32)))])
    assert store.summary(run).todo == 1


def test_a_mended_row_leaves_no_older_value_beside_the_new_one(store: Store, run: Run) -> None:
    older = {"eventDate": "12.V.1893", "country": "Deutschland", "catalogNumber": "K2", "camera_make": "Reconyx"}
    store.list_items(run, [MediaItem("a.jpg", metadata=older)], [None])
    absent = frozenset(("eventDate", "country"))
    mended = MediaItem("a.jpg", captured_at=datetime(2021, 2, 2, 10), metadata={"catalogNumber": "K2"}, absent=absent)
    (listed,) = store.list_items(run, [mended], [None])
    assert dict(listed.item.metadata) == {"catalogNumber": "K2", "camera_make": "Reconyx"}
    (item,) = store.items_of(run)
    assert dict(item.item.metadata) == {"catalogNumber": "K2", "camera_make": "Reconyx"}
    assert item.item.captured_at == datetime(2021, 2, 2, 10)
