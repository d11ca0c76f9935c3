"""Combinations read in several processes, since parsing is Python and holds the interpreter."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path

from bioclip_training.curation.naming.combinations import Combinations, Reading, Written
from bioclip_training.curation.naming.reading import NameReader, Unlisted
from bioclip_training.taxonomy.resolving import TaxonomyIndex

_CHUNK = 2_000
_FEW = 12_000
"""Combinations that are read here: starting processes takes longer."""
_AHEAD = 3
"""Chunks per process that wait, so that memory does not grow with the combinations."""


def read_all(
    combinations: Combinations,
    taxonomy: Path | None,
    unlisted: Unlisted,
    processes: int,
    progress: Callable[[int], None],
) -> Iterator[Reading]:
    """Yield the reading of each combination, in their order.

    Args:
        combinations: what to read.
        taxonomy: file that names are resolved with.
        unlisted: label of a name that the taxonomy does not list.
        processes: number of processes; one, or few combinations, are read in this one.
        progress: called with the number of combinations read so far.
    """
    done = 0
    if processes < 2 or len(combinations) <= _FEW:
        chunks = _here(combinations, taxonomy, unlisted)
    else:
        chunks = _in_processes(combinations, taxonomy, unlisted, processes)
    for chunk in chunks:
        yield from chunk
        done += len(chunk)
        progress(done)


def _here(combinations: Combinations, taxonomy: Path | None, unlisted: Unlisted) -> Iterator[list[Reading]]:
    with TaxonomyIndex.open(taxonomy) if taxonomy is not None else nullcontext() as index:
        reader = NameReader(index, unlisted)
        for chunk in combinations.chunks(_CHUNK):
            yield [reader.read(written) for written in chunk]


def _in_processes(
    combinations: Combinations, taxonomy: Path | None, unlisted: Unlisted, processes: int
) -> Iterator[list[Reading]]:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_watch_parent) as pool:
        chunks = combinations.chunks(_CHUNK)

        def submitted(count: int) -> list[Future[list[Reading]]]:
            return [pool.submit(_read, taxonomy, unlisted, chunk) for chunk in islice(chunks, count)]

        waiting = submitted(processes * _AHEAD)
        while waiting:
            yield waiting.pop(0).result()
            waiting += submitted(1)


def _watch_parent() -> None:
    """End this process when the one that started it is killed; a pool alone would wait for work forever."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _read(taxonomy: Path | None, unlisted: Unlisted, chunk: list[Written]) -> list[Reading]:
    reader = _reader(taxonomy, unlisted)
    return [reader.read(written) for written in chunk]


@lru_cache(maxsize=1)
def _reader(taxonomy: Path | None, unlisted: Unlisted) -> NameReader:
    """Return the reader of this process, which remembers names from chunk to chunk."""
    return NameReader(TaxonomyIndex.open(taxonomy) if taxonomy is not None else None, unlisted)
