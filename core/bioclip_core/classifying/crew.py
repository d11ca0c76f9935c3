"""Threads that each compute with one core.

torch shares out every operation among its threads and waits for the slowest. A pass over chunks has hundreds of short
operations, and while other programs or threads want the cores, each of them may wait for its turn: the same chunks on threads of
their own take a seventh of the time then, and no more on a quiet machine.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from bioclip_core.process.threads import Workers

Result = TypeVar("Result")

_lock = threading.Lock()
_own = threading.local()
_crews: dict[tuple[int, int], Workers] = {}


def on_each(work: Callable[[int], Result], count: int, device: str) -> list[Result]:
    """Return the results of work for the numbers below ``count``, computed by as many threads as torch may use here.

    Args:
        work: called with each number; on a CPU by threads with one core each, which must not call this function.
        count: how many.
        device: on any other than the CPU, this thread does it all.
    """
    import torch

    threads = min(torch.get_num_threads(), count)
    if threads < 2 or device != "cpu":
        with torch.inference_mode():
            return [work(number) for number in range(count)]
    results: dict[int, Result] = {}
    numbers = itertools.count()

    def do_some() -> None:
        _take_one_core()
        with torch.inference_mode():
            while (number := next(numbers)) < count:
                results[number] = work(number)

    workers = _workers(torch.get_num_threads())
    jobs = [workers.submit(do_some) for _ in range(threads)]
    for job in jobs:
        job.result()
    return [results[number] for number in range(count)]


def threads_on(device: str) -> int:
    """Return the number of threads that :func:`on_each` uses."""
    import torch

    return torch.get_num_threads() if device == "cpu" else 1


def _workers(count: int) -> Workers:
    with _lock:  # a forked child has a crew of its own
        # They stay, unlike those called "bioclip-", which end with their stream.
        return _crews.setdefault((os.getpid(), count), Workers(count, "one-core"))


def _take_one_core() -> None:
    """Let torch compute with this thread alone.

    torch keeps the number for each thread, and the last one that was set for threads that begin later. That one is set back.
    """
    import torch

    if getattr(_own, "is_alone", False):
        return
    with _lock:
        others = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = threading.Thread(target=torch.set_num_threads, args=(others,), daemon=True)
        restoring.start()
        restoring.join()
    _own.is_alone = True
