"""Images of all clients in front of one model: decoded apart, encoded together, answered one by one.

The encoder never waits for a batch to fill: when it is free, it takes all images that wait, up to its best batch. Interactive
images come before those of bulk requests. What a client no longer wants is dropped before the model sees it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bioclip_core.encoder import calls_at_once_of
from bioclip_core.errors import BioclipError
from bioclip_core.process.threads import FINISHING_S, Job, Workers, WorkersClosed, closed_in_turn
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.running.answering import Answering
from bioclip_plugin.running.clock import StageClock
from bioclip_plugin.running.encoding import Encoding
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.known import Known
from bioclip_plugin.running.reading import Reader, Reading
from bioclip_plugin.running.tasks import Task, new_task
from bioclip_plugin.serving.metrics import Metrics
from bioclip_plugin.serving.problems import Problem, problem_of

log = logging.getLogger(__name__)

Lane = Literal["interactive", "bulk"]
Wanted = Literal["answer", "features"]
_LOOK_S = 0.5
"""Time between two looks for decoders that take too long."""


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of one image: an answer, which may be a failure, and its features (R rows) if these were asked for."""

    answer: Answer
    features_RD: NDArray[np.float16] | None = None


@dataclass(eq=False)
class _Work:
    task: Task
    lane: Lane
    wanted: Wanted
    check: Callable[[], None]
    arrived_at: float = field(default_factory=time.monotonic)
    future: Future[Done] = field(default_factory=Future)

    @property
    def rows(self) -> int:
        return len(self.task.classified)


class Batcher:
    """One model for all requests. Any thread may submit; close it after use."""

    def __init__(self, engine: Engine, metrics: Metrics, *, most_waiting: int = 256) -> None:
        """Set up; the model opens with the first batch, or with :meth:`open`.

        Args:
            engine: the engine of a Session without a store.
            metrics: get the figures of batches and images.
            most_waiting: limit of the images that wait or are worked on.
        """
        self._engine, self._metrics, self._most = engine, metrics, most_waiting
        self._reader = Reader(engine, None, None)
        self._known = Known(None, None, None, repeat_done=False, rehash=False)
        self._encoding = self._new_encoding()
        self._answering = Answering(engine, repeat_done=True)
        self._decoders = Workers(engine.workers, "bioclip-serve-decode")
        self._answerer = Workers(1, "bioclip-serve-answer", must_finish=True)
        self._changed = threading.Condition()
        self._open: set[_Work] = set()
        self._undecoded: deque[_Work] = deque()
        self._decoding_bulk = 0
        self._lanes: dict[Lane, deque[_Work]] = {"interactive": deque(), "bulk": deque()}
        self._is_ending = self._is_closed = False
        self._seconds_per_image = 0.0
        self.failure: str | None = None
        """Reason why the model cannot be used, once that is known."""
        self._thread = threading.Thread(target=self._run, name="bioclip-serve", daemon=True)
        self._thread.start()
        metrics.watch_queue(lambda: len(self._open))

    def _new_encoding(self) -> Encoding:
        return Encoding(self._engine, self._known, StageClock(), classify=True)

    def open(self) -> None:
        """Open labels and model.

        Raises:
            BioclipError: if one of them cannot be used; :attr:`failure` is the reason from then on.
        """
        try:
            _ = self._engine.classifier, self._engine.encoder
        except BioclipError as error:
            self.failure = str(error)
            raise

    def submit(
        self,
        items: Sequence[MediaItem],
        *,
        lane: Lane = "interactive",
        wanted: Wanted = "answer",
        check: Callable[[MediaItem], None] | None = None,
    ) -> list[Future[Done]]:
        """Have images worked on; a future that is cancelled drops its image.

        Args:
            items: the images, with their bytes or their files.
            lane: ``bulk`` images wait for ``interactive`` ones.
            wanted: what is needed of them.
            check: called on a decoding thread before an image is decoded; its :class:`Problem` is the outcome.

        Raises:
            Problem: 503 if the model cannot be used, too many images wait already, or the server is ending.
        """
        if self.failure is not None:
            raise Problem(503, f"the model cannot be used: {self.failure}")
        works = [
            _Work(new_task(item, None, None), lane, wanted, lambda item=item: check(item) if check else None)  # type: ignore[misc]
            for item in items
        ]
        with self._changed:
            if self._is_ending:
                raise ending()
            if len(self._open) + len(works) > self._most and (self._open or len(works) > self._most):
                self._metrics.images.labels("refused").inc(len(works))
                raise Problem(
                    503,
                    f"{len(self._open)} images wait for the model, of at most {self._most}; send these {len(works)} again",
                    retry_after_s=self._wait_s(),
                )
            self._open.update(works)
            self._undecoded.extend(works if lane == "bulk" else ())
        for work in works:
            work.future.add_done_callback(lambda _, work=work: self._ended(work))  # type: ignore[misc]
            if lane == "interactive":
                self._decode(work)
        self._feed()
        return [work.future for work in works]

    @property
    def waiting(self) -> int:
        """Number of images that wait or are worked on."""
        return len(self._open)

    def end(self, wait_s: float) -> bool:
        """Take no more images, and let those that are not done after some seconds fail; True if all were done."""
        with self._changed:
            self._is_ending = True
            is_done = self._changed.wait_for(lambda: not self._open, wait_s)
        for work in list(self._open):
            self._fail(work, ending())
        return is_done

    def close(self, wait_s: float = FINISHING_S) -> bool:
        """End all threads; True if none is left at work."""
        self.end(0)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        until = time.monotonic() + wait_s
        self._decoders.close(wait_s=min(wait_s, 0.5))
        self._thread.join(max(until - time.monotonic(), 0))
        is_closed = closed_in_turn((self._encoding.workers, self._answerer), max(until - time.monotonic(), 0))
        self._reader.ahead.close(wait_s=0)
        return is_closed and not self._thread.is_alive()

    # Outcomes

    def _ended(self, work: _Work) -> None:
        with self._changed:
            self._open.discard(work)
            self._changed.notify_all()
        if work.future.cancelled():
            outcome = "cancelled"
        elif work.future.exception() is not None:
            outcome = "refused"
        else:
            outcome = "failed" if work.future.result().answer.failure is not None else "answered"
        self._metrics.images.labels(outcome).inc()

    def _fail(self, work: _Work, error: BaseException) -> None:
        if not isinstance(error, BioclipError):
            known = error if isinstance(error, Problem) else problem_of(error)
            if known is not error:
                log.error("%s: the model met an unexpected error", work.task.item.uri, exc_info=error)
            error = known
        with suppress(InvalidStateError):
            work.future.set_exception(error)

    def _finish(self, work: _Work, done: Done) -> None:
        with suppress(InvalidStateError):  # it was cancelled
            work.future.set_result(done)

    # Decoding

    def _feed(self) -> None:
        """Give the decoders bulk images, a few at a time, so that an interactive one never waits behind many."""
        while True:
            with self._changed:
                if not self._undecoded or self._decoding_bulk >= max(self._engine.workers, self._engine.batch_size):
                    return
                work = self._undecoded.popleft()
                if work.future.done():
                    continue
                self._decoding_bulk += 1
            self._decode(work)

    def _decode(self, work: _Work) -> None:
        try:
            job = self._decoders.submit_named(f"{work.task.item.uri}: decoding", self._read, work)
        except (WorkersClosed, BioclipError) as error:
            self._forget_bulk(work)
            self._fail(work, ending() if isinstance(error, WorkersClosed) else error)
            return
        job.future.add_done_callback(lambda _: self._was_read(work, job))

    def _read(self, work: _Work) -> Reading:
        if work.future.done():  # cancelled
            raise CancelledError
        work.check()
        return self._reader.read(work.task.item, [region.decoded_box for region in work.task.classified])

    def _was_read(self, work: _Work, job: Job[Reading]) -> None:
        """On any thread: take what was read, or the reason of its failure."""
        work.task.reading = job
        try:
            work.task.read_through(self._engine.request.item_timeout)
        except WorkersClosed:
            self._fail(work, ending())
        except CancelledError:
            pass
        except Exception as error:
            self._fail(work, error)
        if work.future.done() or work.task.failure is not None:
            self._forget_bulk(work)
            self._finish(work, Done(Answer(work.task.item, failure=work.task.failure)))
            self._feed()
            return
        with self._changed:
            self._lanes[work.lane].append(work)
            self._changed.notify_all()

    def _forget_bulk(self, work: _Work) -> None:
        if work.lane == "bulk":
            with self._changed:
                self._decoding_bulk -= 1

    # Encoding and answering

    def _run(self) -> None:
        """On the thread in front of the encoder: one batch after the other."""
        at_work: deque[tuple[Sequence[_Work], Job[None]]] = deque()
        while not self._is_closed:
            if batch := self._next_batch(may_wait=not at_work):
                job = self._begin(batch)
                if job is not None:
                    at_work.append((batch, job))
            # A GPU has two batches at once, of which one is copied while the other one is computed.
            while at_work and (len(at_work) >= self._calls_at_once() or not batch):
                self._end(*at_work.popleft())

    def _calls_at_once(self) -> int:
        return calls_at_once_of(self._engine.encoder) if "encoder" in vars(self._engine) else 1

    def _next_batch(self, *, may_wait: bool) -> list[_Work]:
        """Return the images that wait, up to a batch, interactive ones first."""
        size = self._engine.batch_size
        with self._changed:
            if may_wait and not any(self._lanes.values()) and not self._is_closed:
                self._changed.wait(_LOOK_S)
            batch: list[_Work] = []
            rows = 0
            for lane, waiting in self._lanes.items():
                while waiting and (not batch or rows + waiting[0].rows <= size):
                    work = waiting.popleft()
                    self._decoding_bulk -= lane == "bulk"
                    if not work.future.done():
                        batch.append(work)
                        rows += work.rows
        if self._open:
            self._decoders.give_up_after(self._engine.request.item_timeout)
        self._feed()
        return batch

    def _begin(self, batch: Sequence[_Work]) -> Job[None] | None:
        now = time.monotonic()
        for work in batch:
            self._metrics.waiting_seconds.observe(now - work.arrived_at)
        self._metrics.batch_images.observe(len(batch))
        try:
            job = self._encoding.submit([work.task for work in batch])
        except Exception as error:
            for work in batch:
                self._fail(work, error)
            return None
        if job is None:
            self._hand_on(batch)
        return job

    def _end(self, batch: Sequence[_Work], job: Job[None]) -> None:
        """Wait for a batch; if it failed as a whole, its images are tried one by one, so that one of them fails no other."""
        began_at = time.monotonic()
        try:
            job.result()
            for work in batch:
                self._encoding.finish(work.task)
        except Exception as error:
            self._known.committed([work.task for work in batch])
            if not isinstance(error, WorkersClosed):
                self._encoding = self._new_encoding()  # the other one hands an error on to all later batches
            if isinstance(error, (BioclipError, WorkersClosed)) or len(batch) == 1:
                for work in batch:
                    self._fail(work, ending() if isinstance(error, WorkersClosed) else error)
            else:
                self._again(batch)
            return
        seconds = time.monotonic() - began_at
        self._metrics.model_seconds.observe(seconds)
        self._seconds_per_image = seconds / len(batch)
        self._hand_on(batch)

    def _again(self, batch: Sequence[_Work]) -> None:
        """Have the images of a batch that failed decoded and encoded one by one."""
        for work in batch:
            if work.future.done():
                continue
            work.task = new_task(work.task.item, None, None)
            try:
                work.task.reading = self._decoders.submit(self._read, work)
                work.task.read_through(self._engine.request.item_timeout)
            except Exception as error:
                self._fail(work, error)
                continue
            if (job := self._begin([work])) is not None:
                self._end([work], job)

    def _hand_on(self, batch: Sequence[_Work]) -> None:
        try:
            self._answerer.submit(self._answer, batch)
        except WorkersClosed:
            for work in batch:
                self._fail(work, ending())

    def _answer(self, batch: Sequence[_Work]) -> None:
        """On a thread of its own: candidates for those that want them, and every outcome to its client."""
        try:
            self._answering.answer([work.task for work in batch if work.wanted == "answer"])
        except Exception as error:
            for work in batch:
                self._fail(work, error)
            return
        finally:
            self._known.committed([work.task for work in batch])
        for work in batch:
            task = work.task
            rows = [one.features for one in task.regions if one.features is not None]
            features = np.stack(rows) if work.wanted == "features" and rows and task.failure is None else None
            self._finish(work, Done(task.answer or Answer(task.item, failure=task.failure), features))

    def _wait_s(self) -> int:
        return max(1, min(60, round(len(self._open) * self._seconds_per_image)))


def ending() -> Problem:
    """Return the problem of a request that meets the end of the server."""
    return Problem(503, "the server is ending; send the request again when it is back", retry_after_s=5)
