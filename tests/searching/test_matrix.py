"""The matrix beside a store: what it holds, how it follows the store, and what it does with damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from search_samples import BOX, DIMENSION, add, begin, unit_rows
from store_samples import QUICK

from bioclip_core.errors import BioclipError
from bioclip_plugin.searching import matrix as matrices
from bioclip_plugin.searching.matrix import Matrix, open_matrix, refreshed
from bioclip_plugin.store import Run, Store
from bioclip_plugin.store.feature_rows import StoredFeatureSet, packed_box


def feature_set(store: Store, run: Run) -> StoredFeatureSet:
    return next(one for one in store.feature_sets() if one.number == run.feature_set)


@pytest.fixture
def store(new_store_address: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    with Store.open(new_store_address(), retry=QUICK) as opened:
        yield opened


def row_of(matrix: Matrix, store: Store, run: Run, name: str) -> np.ndarray:
    rows = store.region_rows(run)
    at = rows.media_M.tolist().index(store.media_numbers([(name, 0)])[name, 0])
    place = matrix.rows(rows.content_M[at : at + 1], rows.box_M[at : at + 1])[0]
    assert place >= 0
    return matrix.vectors_ND[place]


def test_each_content_and_box_has_one_row(store: Store) -> None:
    run, vectors = begin(store), unit_rows(4)
    add(store, run, ["a", "b", "b=2"], vectors[[0, 1, 1]])
    add(store, run, ["c"], vectors[2:3], region=BOX)
    found = open_matrix(store, feature_set(store, run))
    assert found.vectors_ND.shape == (3, DIMENSION)
    assert sorted(found.box_N.tolist()) == sorted([packed_box((0, 0, 10_000, 10_000))] * 2 + [packed_box(BOX.box)])
    for name, at in (("a", 0), ("b", 1), ("b=2", 1), ("c", 2)):
        np.testing.assert_array_equal(row_of(found, store, run, name), vectors[at])
    assert found.rows(np.array([10**9]), found.box_N[:1]).tolist() == [-1]
    assert found.rows(found.content_N[:1], np.array([5])).tolist() == [-1]


def test_new_features_are_appended_and_rows_keep_their_places(store: Store) -> None:
    run, vectors = begin(store), unit_rows(5)
    add(store, run, ["a", "b"], vectors[:2])
    first = open_matrix(store, feature_set(store, run))
    assert refreshed(first, store) is first
    add(store, run, ["c", "d"], vectors[2:4])
    second = refreshed(first, store)
    assert len(first) == 2
    assert len(second) == 4
    np.testing.assert_array_equal(second.vectors_ND[:2], first.vectors_ND)
    np.testing.assert_array_equal(row_of(second, store, run, "d"), vectors[3])
    assert {path.name for path in second.folder.glob("vectors*")} == {"vectors-1.f16"}


def test_removed_features_are_never_found_and_a_number_given_again_is_another_content(store: Store) -> None:
    kept, gone = begin(store, "kept"), begin(store, "gone")
    vectors = unit_rows(4)
    add(store, kept, ["a"], vectors[:1])
    add(store, gone, ["b"], vectors[1:2])
    first = open_matrix(store, feature_set(store, kept))
    assert len(first) == 2
    for run in (kept, gone):
        store.end_run(run, "finished", {})
    store.delete_run(gone)
    after = refreshed(first, store)
    assert after.removed.tolist() == [1]
    assert after.rows(first.content_N, first.box_N).tolist() == [0, -1]
    later = begin(store, "later")  # SQLite gives its content the number of the deleted one
    add(store, later, ["c"], vectors[2:3])
    last = refreshed(after, store)
    np.testing.assert_array_equal(row_of(last, store, later, "c"), vectors[2])
    assert last.removed.tolist() == [1]


def test_a_matrix_with_many_removed_rows_is_rebuilt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "_REMOVED_AT_MOST", 0)
    kept, gone, vectors = begin(store, "kept"), begin(store, "gone"), unit_rows(2)
    add(store, kept, ["a"], vectors[:1])
    add(store, gone, ["b"], vectors[1:])
    first = open_matrix(store, feature_set(store, kept))
    for run in (kept, gone):
        store.end_run(run, "finished", {})
    store.delete_run(gone)
    after = refreshed(first, store)
    assert len(after) == 1
    assert len(after.removed) == 0
    assert not list(after.folder.glob("vectors-1.*"))


@pytest.mark.parametrize("harm", ["cut", "changed", "no keys", "no vectors", "no JSON", "other set", "newer"])
def test_a_damaged_matrix_is_built_anew_and_said(store: Store, harm: str) -> None:
    run, vectors = begin(store), unit_rows(3)
    add(store, run, ["a", "b", "c"], vectors)
    found = open_matrix(store, feature_set(store, run))
    whole, folder = np.array(found.vectors_ND), found.folder
    del found
    file, keys, words = folder / "vectors-1.f16", folder / "keys-1.i64", folder / "matrix.json"
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-2])
    elif harm == "changed":
        file.write_bytes(file.read_bytes()[:-2] + b"\0\0")
    elif harm in ("no keys", "no vectors"):
        (keys if harm == "no keys" else file).unlink()
    else:
        text = words.read_text()
        words.write_text({"no JSON": text[:20], "other set": text.replace('"f1"', '"f2"'),
                          "newer": text.replace('"format": 1', '"format": 99')}[harm])  # fmt: skip
    again = open_matrix(store, feature_set(store, run))
    np.testing.assert_array_equal(again.vectors_ND, whole)
    (note,) = again.notes
    assert "was built anew: " in note
    assert open_matrix(store, feature_set(store, run)).notes == ()


def test_what_a_killed_program_appended_is_overwritten(store: Store) -> None:
    run, vectors = begin(store), unit_rows(3)
    add(store, run, ["a"], vectors[:1])
    first = open_matrix(store, feature_set(store, run))
    with (first.folder / "vectors-1.f16").open("ab") as file:
        file.write(b"half a r")
    add(store, run, ["b"], vectors[1:2])
    second = refreshed(first, store)
    assert second.notes == ()
    np.testing.assert_array_equal(row_of(second, store, run, "b"), vectors[1])


def test_features_without_a_direction_are_counted_and_longer_ones_normalised(store: Store) -> None:
    run, vectors = begin(store), unit_rows(3)
    vectors[0], vectors[1] = 0, vectors[1] * np.float16(4)
    add(store, run, ["a", "b", "c"], vectors)
    found = open_matrix(store, feature_set(store, run))
    assert (len(found), found.unusable) == (2, 1)
    lengths = np.linalg.norm(np.array(found.vectors_ND, np.float32), axis=1)
    assert np.abs(lengths - 1).max() <= found.deviation < 2e-3


def test_rebuilding_reads_everything_again(store: Store) -> None:
    run, vectors = begin(store), unit_rows(2)
    add(store, run, ["a", "b"], vectors)
    reports: list[tuple[int, int]] = []
    first = open_matrix(store, feature_set(store, run), progress=lambda done, total: reports.append((done, total)))
    again = open_matrix(store, feature_set(store, run), rebuild=True, progress=lambda *report: reports.append(report))
    assert reports == [(2, 2), (2, 2)]
    np.testing.assert_array_equal(again.vectors_ND, first.vectors_ND)
    assert again.notes == ()


def test_a_full_disk_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(store)
    add(store, run, ["a"], unit_rows(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matrices.Appending, "add", full)
    with pytest.raises(BioclipError, match=r"the search matrix in .* cannot be written: .*make room"):
        open_matrix(store, feature_set(store, run))


def test_beside_a_folder_that_cannot_be_written_the_matrix_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    with Store.open(tmp_path / "results.db") as store:
        monkeypatch.setattr(matrices.os, "access", lambda *_, **__: False)
        run = begin(store)
        add(store, run, ["a"], unit_rows(1))
        found = open_matrix(store, feature_set(store, run))
        assert tmp_path / "cache" in found.folder.parents
        (note,) = found.notes
        assert "since the folder of the store cannot be written" in note
