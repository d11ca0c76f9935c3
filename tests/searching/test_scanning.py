"""Every scanner gives the same rows in the same order as brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
from search_samples import unit_rows

from bioclip_plugin.searching import scanning
from bioclip_plugin.searching.scanning import Scanner, nearest

SCANNERS: tuple[Scanner, ...] = ("usearch", "torch", "numpy")


def brute(rows_ND: np.ndarray, query_D: np.ndarray, allowed: np.ndarray | None, count: int) -> np.ndarray:
    rows = np.arange(len(rows_ND)) if allowed is None else allowed
    wide = rows_ND[rows].astype(np.float64)
    cosines = wide @ query_D.astype(np.float64) / np.linalg.norm(wide, axis=1)
    return rows[np.lexsort((rows, -cosines))[:count]]


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("share", [None, 0.01, 0.2, 0.6])
def test_neighbours_are_those_of_brute_force(scanner: Scanner, share: float | None) -> None:
    rows_ND = unit_rows(3_000, dimension=48)
    rng = np.random.default_rng(5)
    allowed = None if share is None else np.flatnonzero(rng.random(len(rows_ND)) < share)
    for number in range(4):
        query_D = unit_rows(1, seed=100 + number, dimension=48)[0].astype(np.float32) * 3
        found = nearest(rows_ND, query_D, 12, allowed=allowed, deviation=1e-3, scanner=scanner)
        assert found.rows_K.tolist() == brute(rows_ND, query_D, allowed, 12).tolist()
        assert found.scanner == scanner
        assert np.all(np.diff(found.cosine_K) <= 0)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_many_nearly_equal_rows_are_ordered_as_in_float64(scanner: Scanner) -> None:
    near = unit_rows(1, seed=1, dimension=32).repeat(400, axis=0)
    near[:, 5] += np.arange(400, dtype=np.float16) * np.float16(1e-4)
    near[[7, 90]] = near[300]  # equal ones: the earlier row first
    rows_ND = np.concatenate([near, unit_rows(200, dimension=32)])
    query_D = near[300].astype(np.float32)
    found = nearest(rows_ND, query_D, 5, deviation=0.05, scanner=scanner)
    assert found.rows_K.tolist() == brute(rows_ND, query_D, None, 5).tolist()


@pytest.mark.parametrize("scanner", SCANNERS)
def test_more_is_asked_for_than_there_is(scanner: Scanner) -> None:
    rows_ND = unit_rows(4)
    query_D = unit_rows(1, seed=3)[0]
    assert len(nearest(rows_ND, query_D, 10, scanner=scanner).rows_K) == 4
    allowed = np.array([1, 3])
    assert sorted(nearest(rows_ND, query_D, 10, allowed=allowed, scanner=scanner).rows_K.tolist()) == [1, 3]
    assert len(nearest(rows_ND, query_D, 10, allowed=allowed[:0], scanner=scanner).rows_K) == 0
    assert len(nearest(rows_ND[:0], query_D, 10, scanner=scanner).rows_K) == 0


def test_the_scanner_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows_ND = unit_rows(4)
    assert scanning.scanner_for(rows_ND) == "usearch"
    monkeypatch.setattr(scanning, "has_usearch", lambda: False)
    monkeypatch.setitem(scanning.sys.modules, "torch", None)
    assert scanning.scanner_for(rows_ND) == "torch"
    monkeypatch.delitem(scanning.sys.modules, "torch")
    assert scanning.scanner_for(rows_ND) == "numpy"
    assert nearest(rows_ND, rows_ND[2], 1).rows_K.tolist() == [2]
