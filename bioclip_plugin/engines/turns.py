"""Shards one after the other by one worker, as the engines do that work in their own process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from bioclip_core.errors import DataError
from bioclip_core.nouns import number_of
from bioclip_plugin.contracts.engine import ShardJob, ShardResult

POLL_S = 0.5
"""Time between two looks at a shard that another worker has."""


def in_turn(job: ShardJob, shards: Iterable[str], *, waits: bool) -> Iterator[ShardResult]:
    """Work on each shard that no other worker has. One that cannot be worked on does not keep the others from it.

    Shards that others had are looked at again after the others: a worker may have been lost meanwhile.

    Args:
        job: gives the worker, and reports a wait.
        shards: the shards, in the order of the work.
        waits: when only shards are left that others have, wait for them.

    Raises:
        DataError: at the end, with the reason of the first shard that cannot be worked on.
    """
    reasons: list[str] = []
    with closing(job.open_worker()) as worker:
        left, is_said = list(shards), False
        while left:
            taken = []
            for shard in left:
                try:
                    result = worker.work(shard, waits=False)
                except DataError as error:
                    reasons.append(str(error))
                    continue
                if result is None:
                    taken.append(shard)
                else:
                    yield result
            if len(taken) == len(left):
                if not waits:
                    break
                if not is_said:
                    job.report(f"Waiting for {number_of(len(left), 'shard')} that other workers have")
                is_said = True
                time.sleep(POLL_S)
            left = taken
    if reasons:
        raise DataError(first_of(reasons))


def first_of(reasons: list[str]) -> str:
    """Return the first reason, with the number of shards."""
    return f"{reasons[0]} (the first of {number_of(len(reasons), 'shard')})" if len(reasons) > 1 else reasons[0]
