"""The detector in front of the model: chosen by name, asked in batches on a thread of its own, its boxes checked and counted.

A decoding thread that has decoded an image hands over the pixels and waits, while it holds its share of the memory, until the
batch of its image is done; then it cuts the crops. Images are taken as they come, in any order, so that an image which waits for
memory never waits for one that waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import BioclipError, ImageError, PluginError, UsageError
from bioclip_core.findings import Findings
from bioclip_core.identity import settings_id
from bioclip_core.nouns import number_of
from bioclip_core.process.threads import Job, Patience, Workers, WorkersClosed, is_wanted, not_counted
from bioclip_plugin.contracts.contained_detectors import ContainedDetector, UnusableDetection, checked_detections
from bioclip_plugin.contracts.containing import reason_of, shown
from bioclip_plugin.contracts.detector import Detection, Detector, OptionalDetector
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.formats.shared.detections import box_of, confidence_of
from bioclip_plugin.items.answers import DETECT_STAGE
from bioclip_plugin.items.categories import is_named
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.running.clock import DETECT, StageClock
from bioclip_plugin.store.records import Content, FoundBox

log = logging.getLogger(__name__)

DETECT_VERSION = 1
"""Increased when the pixels that detectors get, or the boxes that are kept of theirs, change."""
MOST_AT_ONCE = 8
"""Images in one batch of a detector, and the most threads that wait for it beside those that decode."""
_REMEMBERED = 4_096  # contents whose boxes may not be committed yet
_LOOK_S = 0.5  # after which a waiting thread looks whether its image is still wanted, and the detector alive
_KEEP_S = 2.0  # after which boxes are stored, though the model still waits for more crops
_REASONS = 3  # of an image without any usable box
_PLAIN_WORDS = ("animal", "person", "vehicle")

Found = tuple[Detection, ...]
Pixels = NDArray[np.uint8]


class ChosenDetector:
    """The detector of a request, with its identity; its weights are opened by its first call."""

    def __init__(self, detector: Detector) -> None:
        """Read the identity.

        Raises:
            BioclipError: if the detector cannot be used as it is installed, with what to do.
        """
        self.detector = detector
        self.name, self.version, self.side = detector.name, detector.version, detector.side
        identity, again = dict(detector.identity()), dict(detector.identity())
        if identity != again:
            part = next((name for name in {**identity, **again} if identity.get(name) != again.get(name)), "")
            raise PluginError(
                f"{self.described}: identity() says something else each time it is asked ({part}: {shown(identity.get(part))}, then "
                f"{shown(again.get(part))}), so that its boxes could never be found again; it must name the weights and settings, "
                "without the time or a random number"
            )
        self.settings: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "side": self.side,
            "identity": identity,
            "detect_version": DETECT_VERSION,
        }
        self.lock = threading.Lock()
        self.sharing = threading.Lock()
        """Guards what the streams of a Session share, which are given equal images at the same time."""
        self.waiting: dict[Content, _Waiting] = {}
        self.recent: OrderedDict[Content, Found] = OrderedDict()
        self.is_open = False
        """True once it was called, so that a forked child cannot use it."""

    @cached_property
    def id(self) -> str:
        """Hash of everything that determines the boxes."""
        return settings_id(self.settings)

    @property
    def described(self) -> str:
        """The detector for messages, with the plugin that it comes from."""
        owner = f"{self.detector.owner}: " if isinstance(self.detector, ContainedDetector) else ""
        return f"{owner}the detector {self.name}"

    def provenance(self) -> dict[str, Any]:
        """Return facts for the record of a run."""
        texts = {name: str(getattr(self.detector, name, "")) for name in ("description", "licence")}
        return {"detector_id": self.id, **self.settings, **{name: text for name, text in texts.items() if text}}

    def detect(self, images: Sequence[Pixels], device: str) -> list[list[Detection]]:
        """Return the boxes of each image; one call at a time, however many streams there are.

        Raises:
            BioclipError: if it fails, or gives something else.
        """
        what = f"detect of the detector {self.name}"
        self.is_open = True
        try:
            if isinstance(self.detector, ContainedDetector):
                return [list(boxes) for boxes in self.detector.detect(images, device)]
            return checked_detections(self.detector.detect(images, device), len(images), what)
        except BioclipError:
            raise
        except BaseException as error:  # on the detector's thread a KeyboardInterrupt is its own
            owner = f"{self.detector.owner}: " if isinstance(self.detector, ContainedDetector) else ""
            raise ImageError(f"{owner}{what} failed: {reason_of(error)}", stage=DETECT_STAGE) from error


def choose_detector(given: str, plugins: BioclipPluginManager) -> ChosenDetector:
    """Return the detector that ``--detector`` names: NAME, or NAME:WEIGHTS.

    Raises:
        UsageError: for an unknown name, with the names that there are, and for one whose packages are missing.
        BioclipError: if the detector cannot be used as it is installed.
    """
    name = given.partition(":")[0]
    detector = plugins.detector(name)
    if isinstance(detector, OptionalDetector) and (missing := detector.missing()):
        raise UsageError(f"detector {name!r} needs packages that are not installed: {missing}")
    return ChosenDetector(detector if given == name else plugins.detector(given))


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """A detector and the threshold from which its boxes are classified: a part of what makes a run."""

    chosen: ChosenDetector
    threshold: float

    def as_rule_settings(self) -> dict[str, Any]:
        """Return the settings that enter the identity of decisions."""
        return {"detector_id": self.chosen.id, "detector": self.chosen.settings, "threshold": self.threshold}

    def with_boxes(self, item: MediaItem, found: Sequence[FoundBox]) -> MediaItem:
        """Return an item with the boxes of the detector as its regions."""
        return replace(item, regions=tuple(map(self._region, found)), detected=True)

    def _region(self, found: FoundBox) -> Region:
        x, y, w, h, category, confidence = found
        word = category.lower()
        return Region(
            x,
            y,
            w,
            h,
            self.chosen.name,
            self.chosen.version,
            word if word in _PLAIN_WORDS else category,
            confidence,
            is_named(word) and confidence >= self.threshold,
        )


def is_detected(item: MediaItem) -> bool:
    """True if an item has boxes of its own, or a detector of another program found nothing in it."""
    return bool(item.regions) or item.detected


class _Waiting:
    """An image that waits for the detector of a stream, with the outcome that it gets."""

    def __init__(self, stream: Detecting, content: Content, size: int, uri: str, pixels: Pixels) -> None:
        self.stream, self.content, self.size, self.uri = stream, content, size, uri
        self.pixels: Pixels | None = pixels
        self.is_alone = False
        self.found: Found | None = None
        self.reason = ""
        self.done = threading.Event()

    def succeed(self, found: Found) -> None:
        if not self.done.is_set():
            self.found, self.pixels = found, None
            self.done.set()

    def fail(self, reason: str) -> None:
        if not self.done.is_set():
            self.reason, self.pixels = reason, None
            self.done.set()

    @property
    def is_lost(self) -> bool:
        """True if it has no boxes and gets none: another stream with an equal image asks for itself."""
        return self.found is None and (self.done.is_set() or self.stream.is_closed)


class Detecting:
    """The detector of one pipeline, on a thread of its own."""

    def __init__(
        self,
        settings: DetectorSettings,
        device: Callable[[], str],
        *,
        limit_s: float,
        findings: Findings | None,
        stored: Callable[[Sequence[Content]], Mapping[Content, Sequence[FoundBox]]] | None,
        keep: Callable[[Mapping[Content, tuple[int, Found]]], None] | None = None,
        clock: StageClock | None = None,
    ) -> None:
        """Set up; nothing is begun yet.

        Args:
            settings: detector and threshold.
            device: returns the device, when the first image is there.
            limit_s: seconds per image after which a call is given up.
            findings: counts boxes that cannot be used.
            stored: returns the boxes of contents that are known already.
            keep: stores sizes and boxes of contents, before their batch is committed.
            clock: gets the time of the detector.
        """
        self._keep, self._unkept, self._kept_at, self._process = (
            keep,
            dict[Content, tuple[int, Found]](),
            0.0,
            os.getpid(),
        )
        self.settings, self._chosen = settings, settings.chosen
        self._device, self._limit_s, self._findings, self._stored = device, limit_s, findings, stored
        self._clock = clock or StageClock()
        self._workers = Workers(1, "bioclip-detect")
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._batch: list[_Waiting] = []
        self._job: Job[None] | None = None
        self._began_at: float | None = None
        self._patience = Patience()
        self._most = MOST_AT_ONCE
        self.is_closed = False

    def known(self, content: Content) -> Found | None:
        """Return the boxes of an image whose content was seen before, in a stream of this Session or by an earlier run."""
        with self._chosen.sharing:
            if content in self._chosen.recent:
                return self._chosen.recent[content]
        if self._stored is None:
            return None
        found = self._stored([content]).get(content)
        return None if found is None else tuple(Detection(*box) for box in found)

    def found_in(self, content: Content, size: int, uri: str, pixels: Pixels) -> Found:
        """Return the boxes of an image, once the batch that it is in is done.

        Equal images are looked at once, also those of other streams of the Session.

        Raises:
            ImageError: with the stage ``detect``, if there are none, with the reason.
        """
        while True:
            waiting = self._joined(content, size, uri, pixels)
            if isinstance(waiting, tuple):
                return waiting
            with not_counted():
                while not waiting.done.wait(_LOOK_S) and not waiting.is_lost:
                    if not is_wanted():
                        raise ImageError(
                            "it is not wanted any more, while it waits for the detector", stage=DETECT_STAGE
                        )
                    waiting.stream.look_after()
            shared = self._chosen
            with shared.sharing:
                if shared.waiting.get(content) is waiting:
                    del shared.waiting[content]
                    if waiting.found is not None:
                        shared.recent[content] = waiting.found
                        while len(shared.recent) > _REMEMBERED:
                            shared.recent.popitem(last=False)
            if waiting.found is not None:
                return waiting.found
            if waiting.stream is self or not waiting.stream.is_closed:
                raise ImageError(waiting.reason, stage=DETECT_STAGE)

    def _joined(self, content: Content, size: int, uri: str, pixels: Pixels) -> _Waiting | Found:
        """Return the image of this content that waits already, in whatever stream, or a new one; or its boxes."""
        with self._lock:
            if self.is_closed:
                raise WorkersClosed("the detector is closed")
            with self._chosen.sharing:
                if content in self._chosen.recent:
                    return self._chosen.recent[content]
                waiting = self._chosen.waiting.get(content)
                if waiting is not None and not waiting.is_lost:
                    return waiting
                waiting = self._chosen.waiting[content] = _Waiting(self, content, size, uri, pixels)
            self._queue.append(waiting)
            self._begin()
        return waiting

    def close(self, *, wait_s: float) -> None:
        """Take no more images; those that wait fail."""
        with self._lock:
            self.is_closed = True
            left = [*self._queue, *self._batch]
            self._queue.clear()
        for waiting in left:
            waiting.fail("the detector was closed before it was asked")
        self._keep_found(after_s=0.0)
        self._workers.close(wait_s=wait_s)

    # On the detector's thread

    def _begin(self) -> None:
        """Submit the next batch, if there are images and none is at work; the lock is held."""
        while self._queue and self._queue[0].done.is_set():  # by a call that was given up and ended after all
            self._queue.popleft()
        if self._batch or not self._queue or self.is_closed:
            return
        batch = [self._queue.popleft()]
        while not batch[0].is_alone and self._queue and len(batch) < self._most and not self._queue[0].is_alone:
            batch.append(self._queue.popleft())
        self._batch, self._began_at, self._patience = batch, None, Patience()
        what = f"the detector {self._chosen.name}: {number_of(len(batch), 'image')}, the first is {batch[0].uri},"
        try:
            self._job = self._workers.submit_named(what, self._work, batch)
        except BaseException as error:  # too many threads hang already
            self._batch = []
            for waiting in batch:
                waiting.fail(reason_of(error))

    def _work(self, batch: list[_Waiting]) -> None:
        try:
            self._detect_locked(batch)
        finally:
            with self._lock:
                if self._batch is batch:  # otherwise it was given up
                    for waiting in batch:
                        waiting.fail("the detector ended without an answer")
                    self._batch = []
                    self._begin()
        if not self.is_closed:
            self._keep_found(after_s=_KEEP_S)

    def _keep_found(self, *, after_s: float) -> None:
        """Store the boxes whose batches are not committed yet: the work of a detector is worth more than a transaction."""
        with self._lock:
            is_due = time.monotonic() - self._kept_at >= after_s and os.getpid() == self._process
            if self._keep is None or not self._unkept or not is_due:
                return
            found, self._unkept, self._kept_at = self._unkept, {}, time.monotonic()
        try:
            self._keep(found)
        except BioclipError as error:  # the commit of their batch says the same, if it cannot be done either
            log.debug("boxes are not stored before their batch: %s", error)

    def _detect_locked(self, batch: list[_Waiting]) -> None:
        try:
            device = self._device()
        except Exception as error:
            for waiting in batch:
                waiting.fail(reason_of(error))
            return
        since, held = time.monotonic(), self._chosen.lock
        while not (lock := self._chosen.lock).acquire(timeout=_LOOK_S):
            if not is_wanted():
                return
            if lock is held and time.monotonic() - since > self._limit_s * MOST_AT_ONCE:
                self._chosen.lock = threading.Lock()  # it hangs in a stream that was closed, where nobody waits for it
        try:
            self._began_at = time.monotonic()
            self._detect(batch, device)
        finally:
            lock.release()

    def _detect(self, batch: Sequence[_Waiting], device: str) -> None:
        """Give each image its boxes; if the batch fails, each image is tried alone."""
        try:
            images = [waiting.pixels for waiting in batch if waiting.pixels is not None]
            if len(images) < len(batch):  # another thread has tried them alone
                return
            with self._clock.busy(DETECT):
                boxes = self._chosen.detect(images, device)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].fail(reason_of(error))
                return
            for waiting in batch:
                if not is_wanted():
                    return
                self._detect([waiting], device)
            if all(waiting.found is not None for waiting in batch):  # it is the batch that was too much
                self._most = max(1, len(batch) // 2)
                smaller = f"smaller from now on: {number_of(self._most, 'image')}"
                log.warning("%s; its batches are %s", reason_of(error), smaller)
            return
        for waiting, found in zip(batch, boxes, strict=True):
            self._take(waiting, found)

    def _take(self, waiting: _Waiting, boxes: Sequence[Detection]) -> None:
        kept: dict[tuple[Any, ...], Detection] = {}
        faults: list[str] = []
        for box in boxes:
            if isinstance(box, UnusableDetection):
                faults.append(box.fault)
                continue
            try:
                usable = Detection(*box_of(list(box[:4])), box.category, confidence_of(box.confidence))
                key = (Region(*usable[:4]).box, usable.category.lower())
                if key in kept:
                    place = " ".join(f"{float(side):.4g}" for side in box[:4])
                    self._count("boxes that the detector {} gave twice were used once", f"{waiting.uri}: {place}")
                if key not in kept or usable.confidence > kept[key].confidence:
                    kept[key] = usable
            except UsageError as error:
                faults.append(str(error))
        for fault in faults:
            self._count("boxes of the detector {} cannot be used", f"{waiting.uri}: {fault}")
        if faults and not kept:  # no box would mean that there is nothing
            more = f"; and {len(faults) - _REASONS} more" if len(faults) > _REASONS else ""
            reasons = "; ".join(faults[:_REASONS])
            waiting.fail(f"{self._chosen.described}: none of its boxes can be used: {reasons}{more}")
        else:
            found = tuple(kept.values())
            with self._lock:
                if self._keep is not None:
                    self._unkept[waiting.content] = waiting.size, found
            waiting.succeed(found)

    def _count(self, what: str, example: str) -> None:
        if self._findings is not None:
            self._findings.add(what.format(self._chosen.name), example)
        else:
            log.warning("%s: %s", what.format(self._chosen.name), example)

    # On the threads that wait

    def look_after(self) -> None:
        """Give up a call that does not end: its images are tried one by one, and one that is alone fails."""
        with self._lock:
            batch, began_at, job = self._batch, self._began_at, self._job
            limit_s = self._limit_s * len(batch)
            if not batch or began_at is None or job is None:
                return
            if not self._patience.is_over(time.monotonic() - began_at, limit_s):
                return
            self._batch = []
            self._chosen.lock = threading.Lock()  # the thread that is given up keeps the other
            left = [waiting for waiting in batch if not waiting.done.is_set()]
            for waiting in left:
                if len(batch) > 1:
                    waiting.is_alone = True
                else:
                    waiting.fail(
                        f"{self._chosen.described} did not end within {limit_s:g} s and was given up; leave the image "
                        "out, or give it more time (item_timeout)"
                    )
            self._queue.extendleft(reversed(left) if len(batch) > 1 else ())
            try:
                self._workers.give_up(job)
            except BioclipError as error:  # too many threads hang already
                for waiting in [*self._queue]:
                    waiting.fail(str(error))
                self._queue.clear()
            self._begin()
