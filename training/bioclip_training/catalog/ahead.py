"""Work that threads do a little ahead of its consumer, with results in the order of the items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from bioclip_core.process.threads import Job, Workers

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def threads_for(workers: int | None) -> int:
    """Return the number of threads for an option ``workers``, of which None is one per core, at most 16."""
    return workers or min(16, os.cpu_count() or 1)


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int, ahead: int, *, name: str
) -> Generator[_Result, None, None]:
    """Yield the result of each item, in their order.

    Args:
        work: called in threads.
        ahead: number of items that may be in work or wait for the consumer.
        name: prefix of the threads' names.
    """
    waiting: deque[Job[_Result]] = deque()
    with Workers(threads, name) as pool:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
