"""The hooks that a host calls to classify or embed a batch, and the open Session of each request behind them."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from bioclip_core.process.forks import renew_after_fork
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.hookspecs import hookimpl
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.given import check_several

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.items.answers import Answer
    from bioclip_plugin.running.session import Session

_OPEN_SESSIONS = 4  # a host that alternates between more requests than this reopens models


class HostHooks:
    """Answer ``classify_images`` and ``embed_images`` for hosts, with one open Session per distinct request.

    One instance per plugin manager: the Sessions use that manager's plugins, and its ``close`` closes them.
    """

    def __init__(self, manager: BioclipPluginManager) -> None:
        self._manager = manager
        self._sessions: OrderedDict[ClassifyRequest, Session] = OrderedDict()
        self._users: Counter[ClassifyRequest] = Counter()
        self._inherited: list[Session] = []
        self._lock = threading.RLock()  # a rule or an observer of a plugin may call back
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the Sessions to the parent; the child opens its own."""
        self._lock = threading.RLock()
        self._inherited.extend(self._sessions.values())
        self._sessions, self._users = OrderedDict(), Counter()

    @hookimpl(trylast=True)
    def classify_images(self, items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[Answer]:
        with self._session(request, items) as session:
            return list(session.classify_stream(items))

    @hookimpl(trylast=True)
    def embed_images(
        self, items: Sequence[MediaItem | str], request: ClassifyRequest
    ) -> list[NDArray[np.float16] | None]:
        with self._session(request, items) as session:
            return [embedded.features_RD for embedded in session.embed_stream(items)]

    @contextmanager
    def _session(self, request: ClassifyRequest, items: object) -> Iterator[Session]:
        """Give the open Session of a request. Above the limit, those used longest ago and idle now are closed."""
        check_several(items)
        from bioclip_plugin.running.session import Session  # imports numpy, which --help does without

        with self._lock:
            session = self._sessions.pop(request, None) or Session(request, self._manager)
            self._sessions[request] = session
            self._users[request] += 1
        try:
            yield session
        finally:
            with self._lock:
                self._users[request] -= 1
                idle = [known for known in self._sessions if not self._users[known]]
                surplus = [self._sessions.pop(known) for known in idle[: max(0, len(self._sessions) - _OPEN_SESSIONS)]]
            _close(surplus)

    def close(self) -> None:
        """Close every open Session; the next call of a hook opens a new one."""
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions.clear()
        _close(sessions)


def _close(sessions: Sequence[Session]) -> None:
    """Close Sessions, without the lock: their rules may take long, and their observers may call the hooks."""
    with ExitStack() as stack:
        for session in sessions:
            stack.callback(session.close)
