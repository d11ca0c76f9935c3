"""Threads that each compute with one core.

torch shares out every operation among its threads and waits for the slowest. A pass over chunks has hundreds of short
operations, and while other programs or threads want the cores, each of them may wait for its turn: the same chunks on threads of
their own take a seventh of the time then, and no more on a quiet machine.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from bioclip_core.process.forks import renew_after_fork
from bioclip_core.process.threads import Workers

Result = TypeVar("Result")

_own = threading.local()


def on_each(work: Callable[[int], Result], count: int, device: str) -> list[Result]:
    """Return the results of work for the numbers below ``count``, computed by as many threads as torch may use here.

    Args:
        work: called with each number; on a CPU by threads with one core each, which must not call this function.
        count: how many.
        device: on any other than the CPU, this thread does it all.
    """
    import torch

    threads = min(torch.get_num_threads(), count)
    if torch.get_num_threads() < 2 or device != "cpu":
        with torch.inference_mode():
            return [work(number) for number in range(count)]
    results: dict[int, Result] = {}
    numbers = itertools.count()

    def do_some() -> None:
        _take_one_core()
        with torch.inference_mode():
            while (number := next(numbers)) < count:
                results[number] = work(number)

    with _crews.at_work(torch.get_num_threads()) as workers:
        for job in [workers.submit(do_some) for _ in range(threads)]:
            job.result()
    return [results[number] for number in range(count)]


def threads_on(device: str) -> int:
    """Return the number of threads that :func:`on_each` uses."""
    import torch

    return torch.get_num_threads() if device == "cpu" else 1


class _Crews:
    """The threads of this process, by their number."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a finalizer may close a Session on a thread that has it
        self._of_number: dict[int, Workers] = {}
        self._at_work = 0
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Begin anew in a child, which has none of the threads."""
        self.lock = threading.RLock()
        self._of_number, self._at_work = {}, 0

    @contextmanager
    def at_work(self, number: int) -> Iterator[Workers]:
        """Give the threads, which are not ended meanwhile."""
        with self.lock:
            self._at_work += 1
            # Not called "bioclip-", as threads are that end with their stream.
            workers = self._of_number.setdefault(number, Workers(number, "one-core"))
        try:
            yield workers
        finally:
            with self.lock:
                self._at_work -= 1

    def dismiss(self) -> None:
        with self.lock:
            ended = {} if self._at_work else self._of_number
            self._of_number = self._of_number if self._at_work else {}
        for workers in ended.values():
            workers.close()


_crews = _Crews()


def dismiss() -> None:
    """End the threads, unless they compute at the moment; the next work has new ones."""
    _crews.dismiss()


def _take_one_core() -> None:
    """Let torch compute with this thread alone.

    torch keeps the number for each thread, and the last one that was set for threads that begin later. That one is set back.
    """
    import torch

    if getattr(_own, "is_alone", False):
        return
    with _crews.lock:
        others = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = threading.Thread(target=torch.set_num_threads, args=(others,), daemon=True)
        restoring.start()
        restoring.join()
    _own.is_alone = True
