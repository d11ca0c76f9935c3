"""Session: a model, a label set and a store, opened once, used per image or per stream, from any number of threads."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

from bioclip_core.errors import UsageError
from bioclip_core.identity import settings_id
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.answers import Answer, Failure
from bioclip_plugin.items.media import MediaItem, Region, Unlisted, item_of
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.rules.settings import rule_settings
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.listing import Listing
from bioclip_plugin.running.pipeline import Pipeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from bioclip_plugin.contracts.source import ListingOptions
    from bioclip_plugin.running.rules_summary import Applied
    from bioclip_plugin.store import Run, Store

log = logging.getLogger(__name__)

Classifiable = "str | os.PathLike[str] | bytes | Image.Image | MediaItem"

_OWN_SOURCE = ("session",)


@dataclass(frozen=True, slots=True)
class StreamProgress:
    """How far a stream is."""

    answered: int
    """Items with an answer or a failure, of this call."""
    failed: int
    regions: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """One item's features: R rows, one a region; None with a failure."""

    item: MediaItem
    features_RD: NDArray[np.float16] | None
    failure: Failure | None = None


class Session:
    """Classify images with one model and one label set, keeping results in a store or nowhere.

    :class:`bioclip_plugin.Session` is this class with a plugin manager of its own. The model opens when the first image
    needs it. Close a Session after use, or use it in a ``with`` statement.
    """

    def __init__(self, request: ClassifyRequest, plugins: BioclipPluginManager) -> None:
        """Find the model and open the store.

        Raises:
            UsageError: for rules without a store.
            ModelError, StoreError: if the model or the store cannot be opened. Labels are opened when first needed.
        """
        self.request = request
        self.plugins = plugins
        self.engine = Engine(request, self.plugins)
        self.store: Store | None = None
        self._run: Run | None = None
        self._lock = threading.Lock()
        self._listings: list[Listing] = []
        if request.store is None and request.rules:
            raise UsageError(
                f'rules ({", ".join(request.rules)}) work on stored answers; give a store as well: store="results.db"'
            )
        for rule in self.engine.rules:
            rule.read()
        if request.store is not None:
            from bioclip_plugin.store import Store

            self.store = Store.open(request.store)
            self.engine.keep_precision(self.store.last_feature_settings(self.engine.model.weights_sha256))

    def classify(self, image: str | os.PathLike[str] | bytes | Image.Image | MediaItem) -> Answer:
        """Answer one image: a path, the bytes of a file, a PIL image or a media item.

        A file that cannot be read is an answer with a ``failure``, not an exception.
        """
        return next(iter(self.classify_stream([image])))

    def classify_stream(
        self,
        items: Iterable[str | os.PathLike[str] | bytes | Image.Image | MediaItem | Unlisted],
        *,
        progress: Callable[[StreamProgress], None] | None = None,
    ) -> Generator[Answer, None, None]:
        """One answer an item, in input order, in flat memory; with a store, done items are answered from it.

        Closing the generator cancels within a batch and keeps what is committed.
        """
        _ = self.engine.labels  # a missing label set is heard of before any image is read
        run = self._own_run()
        pipeline = Pipeline(self.engine, self.store, run, on_stored=self._tell)
        failed = regions = 0
        for answered, answer in enumerate(pipeline.answers(_as_item(item) for item in items), start=1):
            failed += answer.failure is not None
            regions += len(answer.regions)
            if progress:
                progress(StreamProgress(answered, failed, regions))
            yield answer

    def embed_stream(
        self, items: Iterable[str | os.PathLike[str] | bytes | Image.Image | MediaItem | Unlisted]
    ) -> Iterator[Embedded]:
        """Each item's features in input order; nothing is stored."""
        import numpy as np

        for answer, rows in Pipeline(self.engine, classify=False).features(_as_item(item) for item in items):
            yield Embedded(answer.item, np.stack(rows) if rows and answer.failure is None else None, answer.failure)

    def begin_run(self, sources: Sequence[str], listing: ListingOptions | None = None) -> Run:
        """Begin the run over these sources, or take it up where it was.

        Args:
            sources: the addresses as given.
            listing: how they are read, kept with the run's settings.

        Raises:
            UsageError: if the Session has no store.
        """
        from bioclip_plugin.store import RunPlan

        if self.store is None:
            raise UsageError("this Session has no store; open it with store=... to begin a run")
        ids = self.engine.identities
        rules = rule_settings(ids.answer_id, self.request.threshold, self.engine.rules, sources)
        settings = {**self.request.settings(), **(listing.settings() if listing else {})}
        return self.store.begin_run(
            RunPlan(
                sources=tuple(sources), settings=settings, feature_id=ids.feature_id,
                feature_settings=ids.feature_settings, dimension=self.engine.dimension, answer_id=ids.answer_id,
                answer_settings=ids.answer_settings, rule_id=settings_id(rules), rule_settings=rules,
                provenance={**self.engine.provenance(), "store": self.store.shown_address},
            )
        )  # fmt: skip

    def pipeline(self, run: Run, *, repeat_done: bool = True, rehash: bool = False) -> Pipeline:
        """The pipeline of a run that :meth:`begin_run` gave."""
        return Pipeline(self.engine, self.store, run, repeat_done=repeat_done, rehash=rehash, on_stored=self._tell)

    def listing(self, addresses: Sequence[str], options: ListingOptions | None = None) -> Listing:
        """Open a listing of files, folders and packages as the command line does it, for :meth:`classify_stream`.

        Close it after use, in a ``with`` statement; closing the Session closes it as well. An address that is gone or
        empty is answered from the store; without addresses the listing has every image of the store.

        Raises:
            SourceError: for an address that no source takes and of which the store has no image.
        """
        known = self.store.media_under if self.store is not None else None
        listing = Listing(addresses, self.plugins.sources(), options, self.plugins.expand, known)
        self._listings.append(listing)
        return listing

    def apply_rules(self, run: Run | None = None, *, progress: Callable[[int, int], None] | None = None) -> Applied:
        """Apply the request's rules to what a run has answered: regions that they have not decided yet, and their events.

        Args:
            run: one that :meth:`begin_run` gave; None: the Session's own, of images classified one by one.
            progress: called with the images that are done and with all of them.

        Raises:
            UsageError: without a store, and for times of one camera with and without a zone.
            StoreError: where a rule needs features and none are stored.
        """
        from bioclip_plugin.running.rules_pass import apply_rules

        run = run or self._own_run()
        if self.store is None or run is None:
            raise UsageError("this Session has no store; open it with store=... to apply rules")
        return apply_rules(self.store, run, self.engine.rules, lambda: self.engine, progress)

    def close(self) -> None:
        """End the Session's own run, rules applied, and give back the store's connections."""
        self._close(apply_rules=True)

    def _close(self, *, apply_rules: bool) -> None:
        with self._lock:
            for listing in self._listings:
                listing.close()
            if self.store is not None:
                try:
                    if self._run is not None:
                        if self.engine.rules and apply_rules:  # after an error it is the error that is to be heard of
                            self.apply_rules(self._run)
                        self.store.end_run(self._run, "finished", {})
                        self._run = None
                finally:
                    self.store.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(apply_rules=kind is None)

    def _own_run(self) -> Run | None:
        """The run that images classified one by one belong to."""
        if self.store is None:
            return None
        with self._lock:
            if self._run is None:
                self._run = self.begin_run(_OWN_SOURCE)
            return self._run

    def _tell(self, run: Run, answers: Sequence[Answer]) -> None:
        """Tell observers; what one of them raises is logged and never stops the run."""
        try:
            self.plugins.hook.answers_stored(run=run, answers=answers)
        except Exception:
            log.exception("an answers_stored hook failed; the answers are stored")


def _as_item(image: str | os.PathLike[str] | bytes | Image.Image | MediaItem | Unlisted) -> MediaItem | Unlisted:
    if isinstance(image, MediaItem):
        return _checked(image)
    if isinstance(image, Unlisted):
        return image
    if isinstance(image, (str, Path)):
        return item_of(image)
    if isinstance(image, bytes):
        return MediaItem(uri=f"memory:{uuid4()}", data=image)
    if isinstance(image, os.PathLike):
        return item_of(os.fspath(image))
    if hasattr(image, "getexif") and hasattr(image, "mode"):
        return replace(MediaItem(uri=f"memory:{uuid4()}"), image=image)
    raise UsageError(f"{type(image).__name__} is not an image: give a path, bytes, a PIL image or a MediaItem")


def _checked(item: MediaItem) -> MediaItem:
    """A host's item with what is easily given otherwise: a path as text.

    Raises:
        UsageError: for a time or a region that is none.
    """
    if item.captured_at is not None and not isinstance(item.captured_at, datetime):
        raise UsageError(f"{item.uri}: captured_at {item.captured_at!r}: give a datetime")
    for region in item.regions:
        if not isinstance(region, Region):
            raise UsageError(f"{item.uri}: region {region!r}: give a Region(x, y, w, h), from 0 to 1")
    return item if item.path is None or isinstance(item.path, Path) else replace(item, path=Path(item.path))
