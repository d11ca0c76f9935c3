"""Search with the model of a Session: one searcher per run, kept for further searches."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from bioclip_core.errors import UsageError
from bioclip_plugin.searching.asking import Asking
from bioclip_plugin.searching.queries import check_model, image_query
from bioclip_plugin.searching.results import KINDS, NAMES_FROM, Kind, NameFrom, Query, SearchResult, check_top
from bioclip_plugin.searching.searcher import Searcher

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.running.engine import Engine
    from bioclip_plugin.store import Store


class SessionSearch:
    """Searches over the runs of a store with one model. Several threads may use it."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store, self._engine = store, engine
        self._lock = threading.Lock()
        self._searchers: dict[int, Searcher] = {}

    def search(
        self,
        query: Any,
        *,
        kind: Kind | None = None,
        run: int | None = None,
        top: int = 20,
        region: int | None = None,
        name_from: NameFrom = "labels",
        within: NDArray[np.int64] | None = None,
    ) -> SearchResult:
        """Search; the arguments are those of ``Session.search``."""
        check_top(top)
        if kind is not None and kind not in KINDS:
            raise UsageError(f"kind {kind!r}: give one of {', '.join(KINDS)}, or none")
        if name_from not in NAMES_FROM:
            raise UsageError(f"name_from {name_from!r}: give one of {', '.join(NAMES_FROM)}")
        searcher = self.searcher(run)
        return searcher.search(self._query(searcher, query, kind, region, name_from), top, within=within)

    def searcher(self, run: int | None = None) -> Searcher:
        """Return the searcher of a run (None: the latest one)."""
        chosen = self._store.run(run)
        with self._lock:
            if chosen.id not in self._searchers:
                self._searchers[chosen.id] = Searcher(self._store, chosen)
            return self._searchers[chosen.id]

    def _query(
        self, searcher: Searcher, query: Any, kind: Kind | None, region: int | None, name_from: NameFrom
    ) -> Query:
        if isinstance(query, Query):
            return query
        if isinstance(query, (str, os.PathLike)):
            asking = Asking(self._store, searcher, lambda: self._engine)
            return asking.query(os.fspath(query), kind, region, name_from)
        if kind not in (None, "image"):
            raise UsageError(f"kind {kind}: give the query as a text")
        check_model(self._engine, searcher, self._store.runs())
        return image_query(self._engine, query)
