"""Search by pgvector on a real server: the same results as by the matrix, exact or by its index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from search_samples import DIMENSION, add, begin, unit_rows
from store_samples import QUICK

from bioclip_core.errors import StoreError
from bioclip_plugin.searching import pgvector, searcher
from bioclip_plugin.searching.results import Query, SearchResult
from bioclip_plugin.searching.searcher import MatrixFeatures, Searcher
from bioclip_plugin.store import Run, Store, half_vectors

ROWS = 300


@pytest.fixture
def store(postgres_server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(searcher, "_CHECK_EVERY_S", 1e-9)
    database = postgres_server.empty_database()  # type: ignore[attr-defined]
    with Store.open(postgres_server.address(database), retry=QUICK) as opened:  # type: ignore[attr-defined]
        yield opened
    postgres_server.free.append(database)  # type: ignore[attr-defined]


@pytest.fixture
def run(store: Store) -> Run:
    run = begin(store)
    add(store, run, [f"{number:03}" for number in range(ROWS)], unit_rows(ROWS))
    return run


def queries() -> list[Query]:
    return [Query("image", row, "an image") for row in unit_rows(6, seed=20).astype(np.float32) * 2]


def keys(found: SearchResult) -> list[tuple[int, int]]:
    return [(hit.media, hit.region) for hit in found.hits]


def by_matrix(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> Searcher:
    with monkeypatch.context() as patch:
        patch.setattr(searcher, "why_not_pgvector", lambda *_: "a test says so")
        return Searcher(store, run)


def test_results_are_those_of_the_matrix(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, matrix = Searcher(store, run), by_matrix(store, run, monkeypatch)
    within = store.region_rows(run).region_M[::7]
    for query in queries():
        for chosen in (None, within):
            found, expected = ours.search(query, 8, within=chosen), matrix.search(query, 8, within=chosen)
            assert (found.method, found.is_exact, found.notes) == ("pgvector", True, ())
            assert keys(found) == keys(expected)
            assert [hit.cosine for hit in found.hits] == pytest.approx([hit.cosine for hit in expected.hits], abs=1e-9)
            assert found.compared == expected.compared
    media, region = keys(found)[0]
    np.testing.assert_array_equal(ours.feature_of(media, region), matrix.feature_of(media, region))


def test_a_large_store_is_searched_by_the_index_and_says_so(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = by_matrix(store, run, monkeypatch)
    monkeypatch.setattr(half_vectors, "INDEX_FROM", ROWS)
    monkeypatch.setattr(pgvector, "_NARROW", 20)
    ours, rows, hits = Searcher(store, run), store.region_rows(run).region_M, []
    indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'bioclip_halfvecs_1'"
    assert any("hnsw" in name for (name,) in store.half_vectors_of(lambda one: one.exec_driver_sql(indexes).all()))
    for query in queries():
        for chosen in (None, rows[::3]):
            found = ours.search(query, 10, within=chosen)
            assert not found.is_exact
            hits.append(len(set(keys(found)) & set(keys(matrix.search(query, 10, within=chosen)))))
        narrow = ours.search(query, 10, within=rows[::20])
        assert narrow.is_exact
        assert keys(narrow) == keys(matrix.search(query, 10, within=rows[::20]))
    assert sum(hits) / (10 * len(hits)) >= 0.99


def test_an_index_that_gives_too_little_is_left_for_exact_search(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_vectors, "INDEX_FROM", ROWS)
    monkeypatch.setattr(pgvector, "_LONGEST_LIST", 5)
    found = Searcher(store, run).search(queries()[0], 10)
    assert (len(found.hits), found.is_exact) == (10, True)


def test_the_table_follows_the_store(store: Store, run: Run) -> None:
    ours, other = Searcher(store, run), begin(store, "others")
    add(store, other, ["new"], unit_rows(1, seed=20))
    gone = begin(store, "gone", feature_id="f2")
    add(store, gone, ["z"], unit_rows(1))
    Searcher(store, gone)
    table = half_vectors.table_of(ours.feature_set)
    count = f"SELECT count(*) FROM {table}"
    assert Searcher(store, other).search(queries()[0], 1).hits[0].cosine == pytest.approx(1, abs=1e-3)
    assert store.half_vectors_of(lambda one: one.exec_driver_sql(count).scalar()) == ROWS + 1
    for each in (other, gone, run):
        store.end_run(each, "finished", {})
    store.delete_runs([other, gone])
    assert len(ours.search(queries()[0], 400).hits) == ROWS
    assert store.half_vectors_of(lambda one: one.exec_driver_sql(count).scalar()) == ROWS
    tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'bioclip_halfvecs%%'"
    assert store.half_vectors_of(lambda one: one.exec_driver_sql(tables, ()).scalar()) == 1
    assert len(Searcher(store, run, rebuild=True).search(queries()[0], 400).hits) == ROWS


@pytest.mark.parametrize("reason", ["the server does not have the extension pgvector", "permission denied"])
def test_a_database_that_cannot_search_is_said_and_the_matrix_is_used(
    store: Store, run: Run, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> str:
        if reason == "permission denied":
            raise StoreError(reason)
        return reason

    monkeypatch.setattr(half_vectors, "why_no_pgvector", refuse)
    ours = Searcher(store, run)
    assert isinstance(ours.features, MatrixFeatures)
    assert tmp_path / "cache" in ours.features.matrix.folder.parents
    found = ours.search(queries()[0], 3)
    assert len(found.hits) == 3
    assert found.notes == (f"the database cannot search by itself ({reason}): a matrix in the user's cache is used",)


def test_what_pgvector_cannot_hold_is_a_reason(store: Store) -> None:
    assert pgvector.why_not_pgvector(store, begin_set(store)) == ""
    said = store.write_half_vectors(half_vectors.why_no_pgvector, 5_000)
    assert said == "its index takes 4,000 numbers per feature, and these have 5,000"


def begin_set(store: Store) -> half_vectors.StoredFeatureSet:
    run = begin(store)
    (found,) = (one for one in store.feature_sets() if one.number == run.feature_set)
    assert found.dimension == DIMENSION
    return found
