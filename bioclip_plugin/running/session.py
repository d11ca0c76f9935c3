"""Session: a model, a label set and a store, opened once, used per image or per stream, from any number of threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from bioclip_core.classifying import crew
from bioclip_core.errors import UsageError
from bioclip_core.findings import Findings
from bioclip_core.identity import settings_id
from bioclip_core.process.forks import renew_after_fork
from bioclip_core.progress import Progress, logged
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.items.answers import Answer, Failure
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.deployment_tables import DeploymentTable
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.items.request import DETECTION_THRESHOLD, ClassifyRequest
from bioclip_plugin.rules.settings import rule_settings
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.fetched import Fetching
from bioclip_plugin.running.given import check_several, item_of_image
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.running.pipeline import CLOSED, Pipeline
from bioclip_plugin.running.web_options import WebOptions
from bioclip_plugin.store.records import Run, RunPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from bioclip_plugin.running.rules_summary import Applied
    from bioclip_plugin.store import Store

    Classifiable = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8] | MediaItem

log = logging.getLogger(__name__)

_OWN_SOURCE = ("session",)


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """Counts of one call of :meth:`Session.classify_stream`."""

    answered: int
    """Items with an answer or a failure."""
    failed: int
    regions: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """Features of one item: R rows, one per region; None with a failure."""

    item: MediaItem
    features_RD: NDArray[np.float16] | None
    failure: Failure | None = None


class Session:
    """Classify images with one model and one label set, and keep the results in a store if the request names one.

    :class:`bioclip_plugin.Session` is this class with a plugin manager of its own. The model opens when the first image
    needs it. Close a Session after use, or use it in a ``with`` statement.
    """

    def __init__(
        self, request: ClassifyRequest, plugins: BioclipPluginManager, *, web: WebOptions | None = None
    ) -> None:
        """Find the model and open the store.

        Args:
            request: model, labels and settings.
            plugins: their models, sources and rules are used.
            web: the folder that images on the web are fetched into, and the manners; None: they are failures.

        Raises:
            UsageError: for rules without a store.
            ModelError, StoreError: if the model or the store cannot be opened. Labels are opened when first needed.
        """
        self.request = request
        self.plugins = plugins
        self.engine = Engine(request, plugins)
        self.store: Store | None = None
        self._run: Run | None = None
        self._lock, self._run_lock = threading.RLock(), threading.RLock()  # plugins and finalizers may call back
        self._closing = ExitStack()
        self.web = web or WebOptions()
        self.fetching = Fetching(self.web)
        """The way to images on the web, closed with the Session."""
        self._closing.callback(self.fetching.close)
        self._is_closed = self._was_cut_short = False
        self._opened_in = os.getpid()
        self._pipelines: WeakSet[Pipeline] = WeakSet()
        # The garbage collector empties a WeakSet before it calls finalizers, of which one may close the Session.
        self._streaming: set[Pipeline] = set()
        renew_after_fork(self)
        if request.store is None and request.rules:
            raise UsageError(
                f'rules ({", ".join(request.rules)}) work on stored answers; give a store as well: store="results.db"'
            )
        for rule in self.engine.rules:
            rule.read()
        _ = self.engine.detector  # one that cannot be used is reported now
        if request.store is not None:
            from bioclip_plugin.store import Store

            self.store = Store.open(request.store, writes=True)
            self._closing.callback(self.store.close)
            self.engine.keep_precision(self.store.last_feature_settings(self.engine.model.weights_sha256))

    def __reduce__(self) -> str:
        raise UsageError(
            "a Session cannot be sent to another process or copied: it holds a model, threads and a store; send its request, and "
            "open a Session there"
        )

    def classify(self, image: Classifiable) -> Answer:
        """Answer one image: a path, the bytes of a file, a PIL image, a media item, or an array of height × width × 3 (uint8).

        A file that cannot be read is an answer with a ``failure``, not an exception.
        """
        (answer,) = self.classify_stream([image])
        return answer

    def calibrate(self, images: Iterable[Classifiable | Unlisted]) -> None:
        """Make the int8 model of this Session's checkpoint from images like those that it will be asked about.

        For ``precision="int8"``; 16 to 128 images are enough. The model is kept in the user's cache, with its agreement, and
        nothing is done if it is there already. A line on the log says why a model was not made, or is of no use in this Session.

        Raises:
            UsageError: if the Session is closed.
        """
        self._check_open()
        check_several(images)
        if reason := self.engine.why_not_calibrated():
            log.warning("calibrate() has no effect: %s", reason)
            return
        for _ in self.with_int8_model(map(item_of_image, images)):
            pass

    def with_int8_model(self, items: Iterable[MediaItem | Unlisted]) -> Iterator[MediaItem | Unlisted]:
        """Return the items, after the int8 model was made from some of them, if the request asks for one and none is kept.

        Raises:
            UsageError: if the Session is closed.
        """
        from bioclip_plugin.running.calibrating import with_int8_model

        self._check_open()
        return with_int8_model(self.engine, items, labels=True, fetching=self.fetching)

    def classify_stream(
        self, items: Iterable[Classifiable | Unlisted], *, progress: Callable[[StreamProgress], None] | None = None
    ) -> Generator[Answer, None, None]:
        """Yield one answer per item, in input order, in flat memory; with a store, done items are answered from it.

        An argument that is not an image, and an error of the iterator, are raised after the items before them are answered.
        Closing the generator cancels within a batch and keeps what is committed. After the Session is closed, in another
        thread too, the next item is a UsageError.

        Raises:
            UsageError: if the Session is closed.
        """
        self._check_open()
        return self._stream(items, progress)

    def _stream(
        self, items: Iterable[Classifiable | Unlisted], progress: Callable[[StreamProgress], None] | None
    ) -> Generator[Answer, None, None]:
        self._check_open()
        check_several(items)
        _ = self.engine.labels  # a missing label set is reported before any image is read
        pipeline = self._noted(
            Pipeline(self.engine, self.store, self._own_run(), on_stored=self.notify, fetching=self.fetching)
        )
        failed = regions = 0
        self._streaming.add(pipeline)
        try:
            for answered, answer in enumerate(pipeline.answers(map(item_of_image, items)), start=1):
                failed += answer.failure is not None
                regions += len(answer.regions)
                if progress:
                    progress(StreamProgress(answered, failed, regions))
                yield answer
        finally:
            self._was_cut_short |= pipeline.was_cut_short
            self._streaming.discard(pipeline)

    def embed_stream(self, items: Iterable[Classifiable | Unlisted]) -> Iterator[Embedded]:
        """Yield the features of each item in input order; nothing is stored.

        Raises:
            UsageError: if the Session is closed.
        """
        self._check_open()
        return self._embedded(items)

    def _embedded(self, items: Iterable[Classifiable | Unlisted]) -> Iterator[Embedded]:
        import numpy as np

        check_several(items)
        pipeline = self._noted(Pipeline(self.engine, classify=False, fetching=self.fetching))
        for answer, rows in pipeline.features(map(item_of_image, items)):
            yield Embedded(answer.item, np.stack(rows) if rows and answer.failure is None else None, answer.failure)

    def begin_run(
        self,
        sources: Sequence[str],
        listing: ListingOptions | None = None,
        deployments: DeploymentOptions | None = None,
        *,
        keeps_listing: bool = False,
    ) -> Run:
        """Begin the run over these sources, or continue it.

        Args:
            sources: the addresses as given.
            listing: options for the sources, kept with the settings of the run.
            deployments: options that say which deployment an image belongs to, for the rules; kept likewise.
            keeps_listing: keep the failures of an earlier listing; by default they are forgotten, since the sources are listed again.

        Raises:
            UsageError: if the Session was opened without a store, or the table of deployments cannot be used.
        """
        self._check_open()
        return self._begun(sources, listing, deployments, keeps_listing=keeps_listing)

    def run_key(
        self,
        sources: Sequence[str],
        listing: ListingOptions | None = None,
        deployments: DeploymentOptions | None = None,
    ) -> str:
        """Return the key of the run that :meth:`begin_run` would begin or continue.

        Raises:
            UsageError: as :meth:`begin_run`.
        """
        self._check_open()
        return self._planned(sources, listing, deployments).key

    def _begun(
        self,
        sources: Sequence[str],
        listing: ListingOptions | None = None,
        deployments: DeploymentOptions | None = None,
        *,
        keeps_listing: bool = False,
    ) -> Run:
        plan = replace(self._planned(sources, listing, deployments), keeps_listing=keeps_listing)
        assert self.store is not None
        return self.store.begin_run(plan)

    def _planned(
        self, sources: Sequence[str], listing: ListingOptions | None, deployments: DeploymentOptions | None
    ) -> RunPlan:
        if self.store is None:
            raise UsageError("this Session is without a store; open it with store=... to begin a run")
        ids, options = self.engine.identities, deployments or DeploymentOptions()
        if options.deployments is not None:
            DeploymentTable(options.deployments)  # a faulty table is reported before any image is read
        threshold = self._threshold(listing)
        settings = {
            **(listing.settings() if listing else {}), **options.settings(), "detection_threshold": threshold
        }  # fmt: skip
        rules = rule_settings(
            ids.answer_id,
            self.request.threshold,
            self.engine.rules,
            sources,
            settings,
            self.engine.detection_settings(threshold),
        )
        settings |= self.web.settings()
        return RunPlan(
            sources=tuple(sources),
            settings={**self.request.settings(), **settings},
            feature_id=ids.feature_id,
            feature_settings=ids.feature_settings,
            dimension=self.engine.dimension,
            answer_id=ids.answer_id,
            answer_settings=ids.answer_settings,
            rule_id=settings_id(rules),
            rule_settings=rules,
            provenance={**self.engine.provenance(), "store": self.store.shown_address},
        )

    def _threshold(self, listing: ListingOptions | None) -> float:
        """Return the confidence from which boxes are classified: the request's, unless only the listing states one.

        Raises:
            UsageError: if both state one and they differ, or if the Session has a detector, whose boxes need it too.
        """
        mine, given = self.request.detection_threshold, listing.detection_threshold if listing else DETECTION_THRESHOLD
        if given in (mine, DETECTION_THRESHOLD):
            return mine
        if mine != DETECTION_THRESHOLD or self.engine.detector is not None:
            raise UsageError(
                f"detection_threshold is {mine:g} in the request and {given:g} in the options of the listing; give it to the "
                "Session only"
            )
        return given

    def pipeline(
        self,
        run: Run,
        *,
        repeat_done: bool = True,
        rehash: bool = False,
        findings: Findings | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Pipeline:
        """Return the pipeline of a run that :meth:`begin_run` gave.

        Args:
            run: the run.
            repeat_done: answer done items again, from the store.
            rehash: read every file again.
            findings: counts times that cannot be right, and images on the web that are not fetched.
            on_wait: called now and then while an image on the web is waited for.
        """
        self._check_open()
        return self._noted(
            Pipeline(
                self.engine,
                self.store,
                run,
                repeat_done=repeat_done,
                rehash=rehash,
                on_stored=self.notify,
                findings=findings,
                fetching=self.fetching,
                on_wait=on_wait,
            )
        )

    def listing(self, addresses: Sequence[str], options: ListingOptions | None = None) -> Listing:
        """Open a listing of files, folders and packages as the command line does it, for :meth:`classify_stream`.

        Close it after use, in a ``with`` statement; closing the Session closes it as well. An address that is gone or
        empty is answered from the store; without addresses the listing has every image of the store.

        Raises:
            SourceError: for an address that no source takes and that is unknown to the store.
            UsageError: if the Session is closed.
        """
        self._check_open()
        known = self.store.media_under if self.store is not None else None
        chosen = replace(options or ListingOptions(), detection_threshold=self._threshold(options))
        listing = Listing(addresses, self.plugins.sources(), chosen, self.plugins.expand, known)
        self._closing.callback(listing.close)
        return listing

    def apply_rules(self, run: Run | None = None, *, progress: Progress | None = None) -> Applied:
        """Apply the request's rules to the answers of a run: to regions that they have not decided yet, and their events.

        Args:
            run: one that :meth:`begin_run` gave; None: the Session's own, of images classified one by one.
            progress: called with the images done and with all of them; None: a line is logged every few seconds.

        Raises:
            UsageError: without a store, if the Session is closed, and if the table of deployments is gone or is not the one
                that the run began with.
            StoreError: where a rule needs features and none are stored.
        """
        self._check_open()
        return self._ruled(run or self._own_run(), progress)

    def _ruled(self, run: Run | None, progress: Progress | None) -> Applied:
        from bioclip_plugin.running.rules_pass import apply_rules

        if self.store is None or run is None:
            raise UsageError("this Session is without a store; open it with store=... to apply rules")
        return apply_rules(
            self.store,
            run,
            self.engine.rules,
            lambda: self.engine,
            progress or logged(log, "Applying rules: %d of %d images"),
        )

    def close(self, *, progress: Progress | None = None) -> None:
        """End the streams, apply the rules to the Session's own run, end it, and give back the store's connections.

        Streams of other threads end with a UsageError at their next item; what they have answered is committed, and the run
        is recorded as interrupted with what is left to do. Closing again is harmless, from any thread, from the loop of a
        stream and from an observer; only the first call does the work. In a forked child it does nothing to the parent.

        Args:
            progress: as for :meth:`apply_rules`.
        """
        self._close(apply_rules=True, progress=progress)

    def _close(self, *, apply_rules: bool, progress: Progress | None = None) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            closing = self._closing.pop_all()
        if os.getpid() != self._opened_in:
            return
        unfinished = [pipeline for pipeline in {*self._pipelines, *self._streaming} if pipeline.is_running]
        with closing:  # each step is taken though one before it fails
            closing.callback(crew.dismiss)
            closing.callback(self._end_runs, unfinished)
            with ExitStack() as ending:
                for pipeline in unfinished:
                    ending.callback(pipeline.close)
            if self._run is not None and self.engine.rules and apply_rules:
                self._ruled(self._run, progress)

    def _end_runs(self, unfinished: Sequence[Pipeline]) -> None:
        if self.store is None:
            return
        with ExitStack() as ending:
            for run in {pipeline.run.id: pipeline.run for pipeline in unfinished if pipeline.run}.values():
                ending.callback(self._end_interrupted, self.store, run)
            if self._run is not None:
                self._end_run(self._run, unfinished)

    @staticmethod
    def _end_interrupted(store: Store, run: Run) -> None:
        if store.run(run.id).status == "running":  # begun by the caller, who has not ended it
            store.end_run(run, "interrupted", {})

    def _end_run(self, run: Run, unfinished: Sequence[Pipeline]) -> None:
        """End the Session's own run: as interrupted if a stream was cut short and left something to do."""
        assert self.store is not None
        is_stopped = any(not pipeline.has_drawn_all for pipeline in unfinished) or (
            (
                bool(unfinished)
                or any(pipeline.was_cut_short for pipeline in list(self._pipelines))
                or self._was_cut_short
            )
            and self.store.summary(run).todo > 0
        )
        self.store.end_run(run, "interrupted" if is_stopped else "finished", {})
        self._run = None

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(apply_rules=kind is None)  # after an error, a failing rule would hide it

    def _own_run(self) -> Run | None:
        """Return the run that images classified one by one belong to."""
        if self.store is None:
            return None
        with self._run_lock:
            if self._run is None:
                run = self._begun(_OWN_SOURCE)
                if self._is_closed:  # meanwhile, in another thread
                    self.store.end_run(run, "interrupted", {})
                    raise UsageError(CLOSED)
                self._run = run
            return self._run

    def _noted(self, pipeline: Pipeline) -> Pipeline:
        """Note a pipeline, which ends with the Session."""
        with self._lock:
            self._check_open()
            self._pipelines.add(pipeline)
        return pipeline

    def _check_open(self) -> None:
        """Refuse work after :meth:`close`, and in a forked child if the model was opened before the fork.

        Raises:
            UsageError: in these cases.
        """
        if os.getpid() != self._opened_in:
            raise UsageError(
                f"this Session was opened in process {self._opened_in} and cannot be used in the forked process "
                f"{os.getpid()}: open a Session in each process (a web server: after it has forked its workers)"
            )
        if self._is_closed:
            raise UsageError(CLOSED)

    def after_fork(self) -> None:
        """In a child: an unused Session works with connections of its own; of another one only the error is left."""
        self._lock, self._run_lock = threading.RLock(), threading.RLock()
        self.engine.lock = threading.RLock()
        if not self.engine.is_open and self._run is None and not len(self._pipelines):
            self._opened_in = os.getpid()
        self._run = None
        self._pipelines, self._streaming = WeakSet(), set()

    def notify(self, run: Run, answers: Sequence[Answer]) -> None:
        """Call the observers; an error in one of them is logged and never stops the run."""
        try:
            self.plugins.hook.answers_stored(run=run, answers=answers)
        except Exception:
            log.exception("an answers_stored hook failed; the answers are stored")
