"""The stage of the encoder: which regions it gets, in batches of which size, and what happens if its memory does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from bioclip_core.encoder import calls_at_once_of
from bioclip_core.errors import ModelError
from bioclip_core.process.memory_errors import free_device_memory, is_out_of_memory
from bioclip_core.process.threads import Job, Workers, WorkersClosed
from bioclip_plugin.contracts.contained_models import encode_each
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.running.clock import ENCODE, StageClock
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.known import Known
from bioclip_plugin.running.tasks import RegionWork, Task

log = logging.getLogger(__name__)


class Encoding:
    """Encodes the regions of tasks, on a thread of its own, in the order in which they were read."""

    def __init__(self, engine: Engine, known: Known, clock: StageClock, *, classify: bool) -> None:
        """Set up; the thread begins with the first batch.

        Args:
            engine: its encoder and labels are opened by the first batch.
            known: recalls features that exist, so that equal contents are encoded once.
            clock: gets the time of the encoder.
            classify: True if labels are needed afterwards.
        """
        self._engine, self._known, self._clock, self._classify = engine, known, clock, classify
        # It must finish: a thread in the middle of torch's work is no thread that an interpreter can leave behind.
        self.workers = Workers(1, "bioclip-encode", must_finish=True)
        self._last: Job[None] | None = None

    def submit(self, tasks: Sequence[Task]) -> Job[None] | None:
        """Have the features computed that tasks lack; return the work, None if there is nothing to compute.

        ``Task.encoding`` is set to the work after which :meth:`finish` may be called.
        """
        fresh = [task for task in tasks if task.was_read and task.failure is None]
        self._known.recall_features(fresh)
        missing: list[RegionWork] = []
        for task in fresh:
            for work, key in task.feature_keys():
                if work.features is None:
                    work.leader = leader = self._known.leader(key, work)
                    if leader is work:
                        missing.append(work)
                        continue
                work.crop = None
        if missing:
            self._last = self.workers.submit(self._encode, missing, self._last)
        for task in fresh:
            task.encoding = self._last  # it ends after those before it: every leader has its features then
        return self._last if missing else None

    def finish(self, task: Task) -> None:
        """Take the features, or the fault, of each region."""
        if task.encoding is None:
            return
        task.encoding.result()  # an encoder that ended with an error ends the stream
        task.encoding = None
        for work in task.classified:
            if (leader := work.leader) is None:
                continue
            work.leader = None
            if leader.fault and task.failure is None:
                task.failure = Failure("encode", leader.fault)
            work.features, work.fault = leader.features, leader.fault

    def _encode(self, missing: Sequence[RegionWork], before: Job[None] | None) -> None:
        self._check_open()
        if self._classify:
            _ = self._engine.classifier  # labels that cannot be used are reported before the model has worked for them
        encoder = self._engine.encoder
        self.workers.allow(calls_at_once_of(encoder))
        first = 0
        while first < len(missing):
            self._check_open()
            part = missing[first : first + self._engine.batch_size]
            crops_BHWC = np.stack([work.crop for work in part if work.crop is not None])
            error: BaseException | None = None
            try:
                with self._clock.busy(ENCODE, len(part)), self._engine.batches.timed(len(part)):
                    rows, faults = encode_each(encoder, crops_BHWC)
            except Exception as raised:
                if not is_out_of_memory(raised):
                    raise
                # Without its traceback, whose frames hold the tensors that there is no room for.
                error = raised.with_traceback(None)
                error.__context__ = error.__cause__ = None
            if error is not None:
                self._take_less(len(part), error)
                continue
            self._engine.batches.fitted()
            for number, (work, row) in enumerate(zip(part, rows, strict=True)):
                work.crop = None
                if number in faults:
                    work.fault = faults[number]
                else:
                    work.features, work.is_new = row, True
            first += len(part)
        if before is not None:
            before.result()

    def _check_open(self) -> None:
        """End work that was begun before the threads were closed, so that its regions are not taken for encoded ones."""
        if self.workers.is_closed:
            raise WorkersClosed("the encoder's thread was closed before the work was done")

    def _take_less(self, count: int, error: BaseException) -> None:
        """Halve the batch after the device ran out of memory.

        Raises:
            ModelError: if there is no room for one image.
        """
        device = self._engine.compute.device
        free_device_memory(device)
        if not self._engine.batches.halve(count):
            raise ModelError(
                f"{self._engine.model.name} on {device}: out of memory with one image at a time ({error}); close other "
                "programs that use it, take --device cpu, or a smaller model"
            ) from None
