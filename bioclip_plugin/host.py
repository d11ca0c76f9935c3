"""The Session of hosts: every option named, and a plugin manager made when none is given."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.fetching.options import FetchOptions
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.plugins import create_plugin_manager
from bioclip_plugin.running import session
from bioclip_plugin.running.web_options import WebOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.running.session import Classifiable
    from bioclip_plugin.searching.of_sessions import SessionSearch
    from bioclip_plugin.searching.results import Kind, NameFrom, Query, SearchResult

_DEFAULT = ClassifyRequest()


class Session(session.Session):
    """Classify images with one model and one label set, and keep the results in a store if one is given.

    ``Session(model="bioclip-2", store="results.db")``; the options are the fields of :class:`ClassifyRequest`, which
    explains each one. The model opens when the first image needs it. Close a Session after use, or use it in a ``with``
    statement.
    """

    def __init__(
        self,
        *,
        model: str = _DEFAULT.model,
        labels: str | os.PathLike[str] | Iterable[str] | None = _DEFAULT.labels,
        taxa: Iterable[str] = _DEFAULT.taxa,
        rank: str = _DEFAULT.rank,
        top: int = _DEFAULT.top,
        threshold: float = _DEFAULT.threshold,
        rules: Iterable[str] = _DEFAULT.rules,
        detector: str | None = _DEFAULT.detector,
        detection_threshold: float = _DEFAULT.detection_threshold,
        store: str | os.PathLike[str] | None = _DEFAULT.store,
        batch_size: int | None = _DEFAULT.batch_size,
        workers: int | None = _DEFAULT.workers,
        item_timeout: float = _DEFAULT.item_timeout,
        device: str = _DEFAULT.device,
        precision: str = _DEFAULT.precision,
        runtime: str = _DEFAULT.runtime,
        exact: bool = _DEFAULT.exact,
        fetch: str | os.PathLike[str] | None = None,
        fetch_options: FetchOptions | None = None,
        plugins: BioclipPluginManager | None = None,
    ) -> None:
        """Find the model and open the store.

        Args:
            fetch: folder that images on the web (``https://…``) are fetched into; None: they are failures.
            fetch_options: manners and limits of fetching.
            plugins: the manager whose models, sources and rules are used; None: a new one with every installed plugin,
                which closes with the Session.

        Raises:
            UsageError: for an option that cannot be used as given.
            ModelError, StoreError: if the model or the store cannot be opened. Labels are opened when first needed.
        """
        options = {
            "model": model,
            "labels": os.fspath(labels) if isinstance(labels, os.PathLike) else labels,
            "taxa": taxa,
            "rank": rank,
            "top": top,
            "threshold": threshold,
            "rules": rules,
            "detector": detector,
            "detection_threshold": detection_threshold,
            "store": os.fspath(store) if store is not None else None,
            "batch_size": batch_size,
            "workers": workers,
            "item_timeout": item_timeout,
            "device": device,
            "precision": precision,
            "runtime": runtime,
            "exact": exact,
        }
        web = _web_options(fetch, fetch_options)
        super().__init__(ClassifyRequest.from_mapping(options), plugins or create_plugin_manager(), web=web)
        self.fetching.is_in_python = True
        self._search: SessionSearch | None = None
        if plugins is None:
            self._closing.callback(self.plugins.close)

    def search(
        self,
        query: Query | Classifiable,
        *,
        kind: Kind | None = None,
        run: int | None = None,
        top: int = 20,
        region: int | None = None,
        name_from: NameFrom = "labels",
        within: NDArray[np.int64] | None = None,
    ) -> SearchResult:
        """Return the regions of a run that are most similar to an image, an item, a name or words, by their stored features.

        Equal contents are one hit, with the number of copies. The first search of a run builds or opens what is derived from
        its features; later ones take up what was stored since.

        Args:
            query: a text, which is the path of an image, an item of the run by its name or its key (``RUN-MEDIA-REGION``), a
                name in the label set, or words; or an image as :meth:`classify` takes it.
            kind: what a text is: ``image``, ``item``, ``name`` or ``words``; None: what it can only be.
            run: number of the run; None: the one that was begun last.
            top: largest number of hits.
            region: number of the region, from 1, of an item with several.
            name_from: what a name's vector is made of: ``labels``, its rows in the label set, or ``reviews``, the mean of the
                run's images that people reviewed as it.
            within: numbers of the regions of the store that may be hits, as a filter; None: all of the run.

        Raises:
            UsageError: without a store, if the Session is closed, and for a text that could be two of these, or is none.
            DataError: for a model with other weights than those of the run's features, with the models that the store has.
            NoTextTower: for words, if the model has no text tower.
            ImageError: for an image that cannot be read.
        """
        self._check_open()
        if self.store is None:
            raise UsageError("this Session is without a store; open it with store=... to search")
        with self._lock:
            if self._search is None:
                from bioclip_plugin.searching.of_sessions import SessionSearch

                self._search = SessionSearch(self.store, self.engine)
        search = self._search.search
        return search(query, kind=kind, run=run, top=top, region=region, name_from=name_from, within=within)


def _web_options(fetch: str | os.PathLike[str] | None, manners: FetchOptions | None) -> WebOptions:
    """Return the options of images on the web.

    Raises:
        UsageError: for values of another type.
    """
    if manners is None:
        manners = FetchOptions()
    elif not isinstance(manners, FetchOptions):
        shown = repr(manners)
        raise UsageError(
            f"fetch_options {shown if len(shown) <= 60 else f'{shown[:60]}…'}: give FetchOptions(…), for example "
            "FetchOptions(fetch_rate=1)"
        )
    folder: Any = fetch  # another type than a path is refused
    return WebOptions(**{one.name: getattr(manners, one.name) for one in fields(FetchOptions)}, fetch=folder)
