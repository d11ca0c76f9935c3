"""A store with invented features of several contents, boxes and copies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from store_samples import PLAN, STAT, record, region_record

from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.store import Run, Store

DIMENSION = 8
BOX = Region(0.1, 0.2, 0.3, 0.4, "detector", "1", "animal", 0.9)


def unit_rows(count: int, seed: int = 7, dimension: int = DIMENSION) -> np.ndarray[Any, np.dtype[np.float16]]:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def begin(store: Store, *sources: str, feature_id: str = "f1") -> Run:
    plan = replace(PLAN, sources=sources or ("photos",), feature_id=feature_id, dimension=DIMENSION, rule_id="r" + feature_id,
                   answer_id="a" + feature_id)  # fmt: skip
    return store.begin_run(plan)


def add(
    store: Store, run: Run, names: Sequence[str], rows: Any, *, region: Region | None = None, first: int = 1
) -> None:
    """Commit images whose contents are named like them, without a number behind ``=``: ``b=2`` is a copy of ``b``."""
    listed = store.list_items(run, [MediaItem(name) for name in names], [STAT] * len(names), first)
    store.commit(
        run,
        [
            record(
                one,
                region_record(region, features=row),
                sha256=hashlib.sha256(name.partition("=")[0].encode()).hexdigest(),
            )
            for one, name, row in zip(listed, names, rows, strict=True)
        ],
    )
