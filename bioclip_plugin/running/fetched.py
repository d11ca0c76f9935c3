"""Images on the web: fetched ahead of the decoders, several hosts at a time, in the order of the listing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from bioclip_core.errors import BioclipError
from bioclip_core.findings import Findings
from bioclip_core.process.threads import FINISHING_S, Job, Workers, WorkersClosed
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.web import FETCH_STAGE, ON_THE_WEB, host_of, is_remote
from bioclip_plugin.running.tasks import Task

_AHEAD = 512  # items that may wait behind an image that is being fetched: files on the disk, so that no memory is held
_MOST_HOSTS = 64  # hosts with threads of their own at the same time; the images of further ones share some
_SHARED = ""

NOT_FETCHED = "the image is on the web, and nothing is fetched without --fetch FOLDER"
"""Reason of the failure of an image that is on the web, without a folder to fetch it into."""


class Fetching:
    """The way to images on the web for one Session or command, or the reason why they are not fetched."""

    per_host = 2
    """Number of images of one host that are fetched at the same time."""

    def __init__(self, findings: Findings | None = None) -> None:
        self._findings = findings if findings is not None else Findings()

    def refusal(self, item: MediaItem) -> str:
        """Return the reason why an image is not fetched; empty if it is. Images without a folder to go to are counted."""
        self._findings.add(ON_THE_WEB, item.uri)
        return NOT_FETCHED

    def fetch(self, item: MediaItem) -> MediaItem:
        """Return an item with the file that its address was fetched into, on any thread.

        Raises:
            BioclipError: if it could not be fetched.
        """
        raise BioclipError(f"{item.uri}: {NOT_FETCHED}")

    def failed(self, item: MediaItem, reason: str) -> None:
        """Count an image that could not be fetched, by its host."""
        self._findings.add(f"images could not be fetched from {host_of(item.uri)}", f"{item.uri}: {reason}")


class FetchStage:
    """The threads that fetch for one stream. Close them after use."""

    def __init__(self, fetching: Fetching, check_open: Callable[[], None]) -> None:
        """Set up; no thread begins before an image is to be fetched.

        Args:
            fetching: the way to the images.
            check_open: raises an error when the stream is closed.
        """
        self._fetching, self._check_open = fetching, check_open
        self._pools: dict[str, Workers] = {}
        self._waiting: Counter[str] = Counter()
        self._is_closed = False

    def ahead(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Yield the tasks in their order; those of images on the web with a file, or with the failure that it was not fetched."""
        queue: deque[tuple[Task, Job[MediaItem] | None]] = deque()
        for task in tasks:
            queue.append((task, self._begun(task) if task.is_to_read and is_remote(task.item) else None))
            while queue and (len(queue) > _AHEAD or (job := queue[0][1]) is None or job.done()):
                yield self._fetched(*queue.popleft())
        while queue:
            yield self._fetched(*queue.popleft())

    def _begun(self, task: Task) -> Job[MediaItem] | None:
        """Have a task's image fetched; one that is not fetched is a failure at once."""
        self._check_open()
        if reason := self._fetching.refusal(task.item):
            task.failure = Failure(FETCH_STAGE, reason)
            return None
        host = host_of(task.item.uri)
        pool = self._pool(host)
        self._waiting[host] += 1
        return pool.submit_named("", self._fetching.fetch, task.item)

    def _fetched(self, task: Task, job: Job[MediaItem] | None) -> Task:
        if job is None:
            return task
        try:
            task.item = job.result()
        except WorkersClosed:
            self._check_open()
            raise
        except BioclipError as error:
            task.failure = Failure(getattr(error, "stage", FETCH_STAGE), str(error))
            self._fetching.failed(task.item, str(error))
        finally:
            self._waiting[host_of(task.item.uri)] -= 1
        return task

    def _pool(self, host: str) -> Workers:
        """Return the threads of a host, so that one that makes us wait holds up no other."""
        if host not in self._pools and len(self._pools) >= _MOST_HOSTS:
            for idle in [name for name in self._pools if not self._waiting[name] and name != _SHARED]:
                self._pools.pop(idle).close(wait_s=0)
            host = host if len(self._pools) < _MOST_HOSTS else _SHARED
        if self._is_closed:
            raise WorkersClosed("these threads are closed")
        if host not in self._pools:
            self._pools[host] = Workers(self._fetching.per_host, "bioclip-fetch")
        return self._pools[host]

    def close(self, *, wait_s: float = FINISHING_S) -> None:
        """Take no more images; those that are being fetched are given up."""
        self._is_closed = True
        for pool in list(self._pools.values()):
            pool.close(wait_s=wait_s)
