"""Searches over the stored features of a run, on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from search_samples import BOX, DIMENSION, add, begin
from store_samples import FELIDAE, LYNX, QUICK

from bioclip_core.errors import DataError, UsageError
from bioclip_plugin.searching import searcher as searchers
from bioclip_plugin.searching.queries import item_query
from bioclip_plugin.searching.results import Query, SearchResult
from bioclip_plugin.searching.reviewed import reviewed_query
from bioclip_plugin.searching.searcher import Searcher
from bioclip_plugin.store import ReviewTarget, Run, Store


@pytest.fixture
def store(new_store_address: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(searchers, "_CHECK_EVERY_S", 1e-9)
    with Store.open(new_store_address(), retry=QUICK) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    """Features of six images on a line of angles, of which two are equal, and one box."""
    run = begin(store)
    add(store, run, ["a", "b", "c", "b=2", "e"], angles(0.0, 0.25, 0.4, 0.25, 1.5))
    add(store, run, ["f"], angles(0.3), region=BOX, first=6)
    return run


def angles(*given: float) -> np.ndarray:
    rows = np.zeros((len(given), DIMENSION), np.float16)
    rows[:, 0], rows[:, 1] = np.cos(given), np.sin(given)
    return rows


def at(angle: float) -> Query:
    return Query("image", angles(angle)[0], "an image")


def names(result: SearchResult) -> list[str]:
    return [hit.item.uri for hit in result.hits]


def numbers_of(store: Store, run: Run, name: str) -> tuple[int, int]:
    media = store.media_numbers([(name, 0)])[name, 0]
    _, (region,) = store.media_results(run, [media])[media]
    return media, region.region_id


def test_hits_are_in_the_order_of_their_cosines_and_equal_contents_are_one(store: Store, run: Run) -> None:
    found = Searcher(store, run).search(at(0.0), 4)
    assert names(found) == ["a", "b", "f", "c"]
    assert [hit.copies for hit in found.hits] == [0, 1, 0, 0]
    assert [hit.cosine for hit in found.hits] == pytest.approx([1.0, np.cos(0.25), np.cos(0.3), np.cos(0.4)], abs=1e-3)
    assert found.is_exact
    assert found.compared == 5
    assert found.notes == ()
    assert [hit.box and hit.box.box for hit in found.hits] == [None, None, BOX.box, None]
    assert found.hits[0].answer is not None
    assert found.hits[0].answer.rank == "family"
    shown = found.as_dict()["hits"][2]
    assert shown["region"] == [0.1, 0.2, 0.3, 0.4]
    assert shown["key"] == "-".join(map(str, (run.id, *numbers_of(store, run, "f"))))


def test_more_like_an_item_has_neither_the_item_nor_its_copies(store: Store, run: Run) -> None:
    searcher = Searcher(store, run)
    media, region = numbers_of(store, run, "b=2")
    found = searcher.search(item_query(searcher, media, region, "b=2"), 3)
    assert names(found) == ["f", "c", "a"]
    assert found.query == f"the stored feature of item {run.id}-{media}-{region} (b=2)"
    with pytest.raises(DataError, match=f"run {run.id} has no classified item {run.id}-{media}-{region + 1}"):
        item_query(searcher, media, region + 1)


def test_a_filter_says_which_regions_may_be_hits(store: Store, run: Run) -> None:
    searcher = Searcher(store, run)
    within = np.array([numbers_of(store, run, name)[1] for name in ("c", "b=2", "e")] + [10**9])
    found = searcher.search(at(0.0), 9, within=within)
    assert names(found) == ["b=2", "c", "e"]
    assert [hit.copies for hit in found.hits] == [0, 0, 0]
    assert found.compared == 3
    assert searcher.search(at(0.0), 9, within=within[:0]).hits == ()


def test_a_search_finds_what_was_stored_since_the_last_one(store: Store, run: Run) -> None:
    searcher = Searcher(store, run)
    assert names(searcher.search(at(1.0), 1)) == ["e"]
    time.sleep(0.01)  # a step of the clock of files
    add(store, run, ["g"], angles(1.0), first=7)
    assert names(searcher.search(at(1.0), 1)) == ["g"]


def test_only_the_regions_of_the_run_are_hits(store: Store, run: Run) -> None:
    other = begin(store, "others")
    add(store, other, ["c", "z"], angles(0.4, 0.01))
    assert names(Searcher(store, other).search(at(0.0))) == ["z", "c"]
    assert names(Searcher(store, run).search(at(0.0), 2)) == ["a", "b"]
    foreign = begin(store, "photos", feature_id="f9")
    add(store, foreign, ["a"], angles(1.0))
    assert names(Searcher(store, foreign).search(at(0.0))) == ["a"]


def test_regions_without_a_feature_are_counted(store: Store, run: Run) -> None:
    add(store, run, ["dark", "dark=2"], np.zeros((2, DIMENSION), np.float16), first=7)
    found = Searcher(store, run).search(at(0.0), 20)
    assert len(found.hits) == 5
    (note,) = found.notes
    assert note.startswith(f"2 regions of run {run.id} cannot be found, since no usable feature of it is stored")


def test_what_cannot_be_searched_is_refused(store: Store, run: Run) -> None:
    searcher = Searcher(store, run)
    with pytest.raises(DataError, match=r"the query has 3 numbers, and the features of run 1 have 8"):
        searcher.search(Query("words", np.ones(3), "words"))
    for top in (0, 10_001, True, 2.0):
        with pytest.raises(UsageError, match="give a whole number from 1 to 10,000"):
            searcher.search(at(0.0), top)  # type: ignore[arg-type]


def test_a_run_without_images_has_no_hits(store: Store) -> None:
    found = Searcher(store, begin(store, "nothing")).search(at(0.0))
    assert (found.hits, found.compared) == ((), 0)


def test_a_name_is_the_mean_of_the_regions_that_people_reviewed_as_it(store: Store, run: Run) -> None:
    searcher = Searcher(store, run)
    for name, taxon in (("a", LYNX), ("e", FELIDAE), ("c", None)):
        store.add_review(ReviewTarget("media", name), "taxon" if taxon else "blank", taxon, reviewer="one")
    store.add_review(ReviewTarget("region", "f", region=BOX), "taxon", LYNX, reviewer="one")
    store.add_review(ReviewTarget("media", "f"), "blank", reviewer="two")
    found = reviewed_query(store, searcher, "lynx fictus")
    assert found.described == "the name lynx fictus: mean of 2 reviewed regions of run 1"
    np.testing.assert_allclose(found.vector_D, angles(0.0, 0.3).astype(np.float32).mean(axis=0))
    assert reviewed_query(store, searcher, "Felidae").described.startswith(
        "the name Felidae: mean of 3 reviewed regions"
    )
    store.add_review(ReviewTarget("media", "a"), "blank", reviewer="two")  # replaces the first
    assert "mean of 1 reviewed region of" in reviewed_query(store, searcher, "Lynx").described
    with pytest.raises(
        DataError, match=r"no region of run 1 is reviewed as 'Canis' \(0 reviews in the store name it\)"
    ):
        reviewed_query(store, searcher, "Canis")
