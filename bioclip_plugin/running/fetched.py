"""Images on the web: fetched ahead of the decoders, from several hosts at a time, in the order of the listing."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError
from bioclip_core.findings import Findings
from bioclip_core.process.forks import renew_after_fork
from bioclip_core.process.quiet import quiet
from bioclip_core.process.threads import WorkersClosed
from bioclip_plugin.fetching.cache import sha256_of
from bioclip_plugin.fetching.errors import FetchError
from bioclip_plugin.fetching.iiif import Need, Outcome, Services, Steps, service_of, steps_of
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.licences import licence_of
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.web import (
    FETCH_STAGE,
    FETCHED_AS,
    NOT_FETCHED,
    NOT_FETCHED_IN_PYTHON,
    ON_THE_WEB,
    ON_THE_WEB_IN_PYTHON,
    address_of,
    host_of,
    is_remote,
)
from bioclip_plugin.running.tasks import Task
from bioclip_plugin.running.web_options import WebOptions

if TYPE_CHECKING:
    from bioclip_plugin.fetching.fetcher import Fetcher
    from bioclip_plugin.fetching.pending import Fetched, Pending

AHEAD = 512
"""Items that may wait behind an image that is being fetched: files on the disk, so that no pixels are held."""
_LOOK_EVERY_S = 0.1  # seconds between looks at images whose next address depends on the answer to the first
_EACH_SIDE = 2  # pixels of the image per pixel of the model's input

_OTHER_BYTES = (
    "images on the web have other bytes than when they were answered (another size, or changed); their answers in earlier runs are "
    "out of date, and the commands of these runs make them again"
)
_AS_GIVEN = "these are the bytes that the host gave; if it gives others now, add --fetch-again"
_FURTHER_PAGES = "TIFF files on the web have several pages, of which the first is classified"
_VIDEO = "videos on the web are not fetched; download it, and give its path in the place of its address"
_VIDEOS = frozenset(".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .asf .mts .m2ts .3gp .3g2 .flv .ogv".split())


class Fetching:
    """The way to images on the web for one Session or command, or the reason why they are not fetched.

    Its fetcher opens when the first image needs it. Close it after use.
    """

    def __init__(self, options: WebOptions | None = None, findings: Findings | None = None) -> None:
        """Set up; nothing is opened yet.

        Args:
            options: the folder, manners and limits; without a folder nothing is fetched.
            findings: counts images that are not fetched, and what is wrong with the folder.
        """
        self._options = options or WebOptions()
        self.is_in_python = False
        """True for a Session of a Python program: messages name its arguments instead of options of the command line."""
        self._own_findings = Findings()
        self._findings = findings if findings is not None else self._own_findings
        self._services = Services()
        self._fetcher: Fetcher | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the fetcher to the parent; a child opens its own."""
        self._lock, self._fetcher = threading.Lock(), None

    @property
    def has_folder(self) -> bool:
        """True if images on the web are fetched."""
        return self._options.fetch is not None

    def is_in_folder(self, path: Path) -> bool:
        """Return True for a file of the folder of fetched images."""
        return self._fetcher is not None and path.is_relative_to(self._fetcher.folder)

    def fetcher(self) -> Fetcher | None:
        """Return the fetcher, opened if there is a folder for it.

        Raises:
            DataError: if the folder cannot be used.
            WorkersClosed: after :meth:`close`.
        """
        from bioclip_plugin.fetching.fetcher import Fetcher

        with self._lock:
            if self._is_closed:
                raise WorkersClosed("images are not fetched any more")
            if self._fetcher is None and self._options.fetch is not None:
                self._fetcher = Fetcher(self._options.fetch, self._options, self._findings)
            return self._fetcher

    def begin(self, item: MediaItem, need: Need | None, findings: Findings | None = None) -> _Wanted:
        """Have the image of an item fetched.

        Args:
            item: an item on the web.
            findings: counts an image that is not fetched; None: those of this object.
            need: the pixels that are needed, for services that give images in several sizes; None for the image as it is.

        Raises:
            FetchError: if it is refused.
            DataError: if the folder cannot be used.
        """
        fetcher = self.fetcher()
        if fetcher is None:
            self.find(ON_THE_WEB_IN_PYTHON if self.is_in_python else ON_THE_WEB, item.uri, findings)
            raise FetchError(NOT_FETCHED_IN_PYTHON if self.is_in_python else NOT_FETCHED)
        address = address_of(item.uri)
        path = address.partition("?")[0].lower()
        if path[path.rfind(".") :] in _VIDEOS:
            raise FetchError(_VIDEO)
        return _Wanted(fetcher, steps_of(address, need, self._services, fetcher.cached), licence_of(item))

    def find(self, text: str, example: str, findings: Findings | None) -> None:
        """Count a finding, in the collection of a stream if it has one."""
        (self._findings if findings is None else findings).add(text, example)

    def note(self) -> str:
        """Return the state for a progress line: images fetched so far, and the host that is waited for."""
        fetcher = self._fetcher
        if fetcher is None:
            return ""
        return ", ".join(filter(None, (f"{fetcher.totals.fetched} fetched", fetcher.waiting_for())))

    def lines(self) -> Iterator[str]:
        """Yield the totals in words, with the reasons of failures by host, and what is wrong with the folder.

        Nothing is yielded if no image was on the web.
        """
        yield from self._own_findings.lines()
        if self._fetcher is not None:
            yield from self._fetcher.totals.lines(self._fetcher.folder)

    def close(self) -> None:
        """Close the fetcher: what waits fails, and connections are cut."""
        with self._lock:
            self._is_closed = True
        if self._fetcher is not None:
            self._fetcher.close()


class _Wanted:
    """An image that is being fetched, by one address or by several, each of which depends on the answer to the one before."""

    def __init__(self, fetcher: Fetcher, steps: Steps, licence: str) -> None:
        self._fetcher, self._steps, self._licence = fetcher, steps, licence
        self._pending: Pending | None = None
        self._outcome: Outcome | BaseException | None = None
        self._host, self._is_counted = "", False
        self._send(None)

    def is_done(self) -> bool:
        """Return True if the image is there or failed; ask for the next address if the last one was answered."""
        while self._pending is not None and self._pending.done():
            try:
                got: Fetched | FetchError = self._pending.result()
            except FetchError as error:
                got = error
            except BaseException as error:  # closed
                self._pending, self._outcome = None, error
                return True
            self._send(got)
        return self._pending is None

    def wait(self, seconds: float) -> None:
        """Wait until the present address is answered, or for some seconds."""
        if self._pending is not None:
            self._pending.wait(seconds)

    def result(self) -> Outcome:
        """Return the image, once it is there.

        Raises:
            FetchError: with the reason.
            WorkersClosed: if the fetcher was closed before.
        """
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome

    def _send(self, got: Fetched | FetchError | None) -> None:
        """Give the steps an answer, and ask for what they want next."""
        self._pending = None
        while self._pending is None:
            try:
                request = next(self._steps) if got is None else self._steps.send(got)
            except StopIteration as end:
                self._outcome = end.value
                return
            except (BioclipError, WorkersClosed) as error:
                self._outcome = error
                if isinstance(error, FetchError) and not self._is_counted:
                    self._fetcher.totals.failed(self._host, str(error))
                return
            self._host, self._is_counted = host_of(request.address), request.is_last and not request.is_document
            try:
                self._pending = self._fetcher.submit(
                    request.address,
                    licence=self._licence,
                    is_document=request.is_document,
                    is_last=request.is_last,
                )
            except FetchError as error:  # an address that is refused
                got = error

    def give_up(self) -> None:
        """Let the image go."""
        if self._pending is not None:
            self._fetcher.give_up([self._pending])


class FetchStage:
    """The images that one stream waits for. Close it after use."""

    def __init__(
        self,
        fetching: Fetching,
        need: Need | None,
        check_open: Callable[[], None],
        on_wait: Callable[[], None] | None,
        findings: Findings | None,
    ) -> None:
        """Set up; nothing is fetched yet.

        Args:
            fetching: the way to the images.
            need: the pixels that whole images need; None for images as they are.
            check_open: raises an error when the stream is closed.
            on_wait: called now and then while an image is waited for.
            findings: counts images that are not fetched.
        """
        self._fetching, self._need, self._check_open, self._on_wait = fetching, need, check_open, on_wait
        self._findings = findings
        self._queue: deque[tuple[Task, _Wanted | None]] = deque()

    def ahead(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Yield the tasks in their order; those of images on the web with a file, or with the failure that it was not fetched."""
        queue = self._queue
        for task in tasks:
            queue.append((task, self._begun(task) if task.is_to_read and is_remote(task.item) else None))
            while queue and (len(queue) > AHEAD or (wanted := queue[0][1]) is None or wanted.is_done()):
                yield self._fetched()
        while queue:
            yield self._fetched()

    def _begun(self, task: Task) -> _Wanted | None:
        """Have a task's image fetched; one that is refused is a failure at once."""
        self._check_open()
        # A part of an image needs more pixels than the whole, and its box may be of the image as it was when it was drawn.
        need = self._need if all(work.region is None for work in task.regions) else None
        try:
            return self._fetching.begin(task.item, need, self._findings)
        except FetchError as error:
            task.failure = Failure(FETCH_STAGE, str(error))
            return None

    def again(self, task: Task) -> bool:
        """Fetch an image again that could not be read, if its file is not what was fetched; True if the file is there.

        The failure of a file that is as it was fetched says what to do.
        """
        path = task.item.path
        failure = task.failure
        if (
            failure is None
            or failure.stage not in ("read", "decode")
            or task.was_given_up
            or path is None
            or not self._fetching.is_in_folder(path)
        ):
            return False
        try:
            is_whole = sha256_of(path) == path.stem
            os.utime(path)  # so that the fetcher compares it too
        except OSError:
            is_whole = False
        if is_whole:
            task.failure = replace(failure, reason=f"{failure.reason} ({_AS_GIVEN})")
            return False
        task.failure, task.item = None, replace(task.item, path=None)
        task.content_sha256 = task.listed.content_sha256 if task.listed is not None else None
        if (wanted := self._begun(task)) is not None:
            self._wait(wanted)
            self._take(task, wanted)
        return task.failure is None

    def _fetched(self) -> Task:
        """Take the oldest task, once its image is there."""
        task, wanted = self._queue[0]
        if wanted is not None:
            self._wait(wanted)
            self._take(task, wanted)
        self._queue.popleft()
        return task

    def _wait(self, wanted: _Wanted) -> None:
        while not wanted.is_done():
            wanted.wait(_LOOK_EVERY_S)
            for _, other in self._queue:
                if other is not None:
                    other.is_done()
            self._check_open()
            if self._on_wait is not None:
                self._on_wait()

    def _take(self, task: Task, wanted: _Wanted) -> None:
        try:
            fetched, address = wanted.result()
        except FetchError as error:
            task.failure = Failure(FETCH_STAGE, _reason(error, error.host or host_of(task.item.uri)))
        else:
            from bioclip_core.images.readers import is_key_of  # imports Pillow

            task.item = _with_file(task.item, fetched.path, address)
            if task.content_sha256 is not None and not is_key_of(task.content_sha256, fetched.sha256):
                self._fetching.find(_OTHER_BYTES, task.item.uri, self._findings)
            if fetched.path.suffix == ".tif" and not task.item.frame and _has_pages(fetched.path):
                self._fetching.find(_FURTHER_PAGES, task.item.uri, self._findings)

    def close(self) -> None:
        """Let go the images that nobody waits for any more."""
        while self._queue:
            wanted = self._queue.popleft()[1]
            if wanted is not None:
                wanted.give_up()


def _with_file(item: MediaItem, path: Path, address: str) -> MediaItem:
    """Return an item with its file; and with the address that gave it, if that is another one or may be another one next time."""
    metadata: Mapping[str, object] = item.metadata
    written = address_of(item.uri)
    if address != written or service_of(written) is not None:
        metadata = MappingProxyType({**metadata, FETCHED_AS: address})
    return replace(item, path=path, metadata=metadata)


def _has_pages(path: Path) -> bool:
    """Return True for a TIFF of several pages; False for one that cannot be opened, which reading it reports."""
    from PIL import Image

    try:
        with quiet(), Image.open(path) as image:
            return bool(getattr(image, "n_frames", 1) > 1)
    except Exception:
        return False


def _reason(error: FetchError, host: str) -> str:
    """Return the reason of a failure with the host, which tells the reasons of a run apart."""
    reason = str(error)
    if error.status is not None and reason.startswith(str(error.status)):
        return f"HTTP {reason} from {host}"
    return reason if host in reason or not host else f"{reason} ({host})"


def need_of(size: int, detector_side: int = 0) -> Need:
    """Return the pixels that a whole image needs for an input of ``size`` × ``size`` pixels, and for a detector before it."""
    return Need(_EACH_SIDE * size, detector_side)
