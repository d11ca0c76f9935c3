"""The state of one server, which its routes share."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.requests import Request

from bioclip_core.errors import BioclipError
from bioclip_plugin.running.session import Session
from bioclip_plugin.serving.batching import Batcher
from bioclip_plugin.serving.limits import Limits, Room
from bioclip_plugin.serving.metrics import Metrics
from bioclip_plugin.serving.problems import Problem
from bioclip_plugin.serving.security import Access

if TYPE_CHECKING:
    from bioclip_plugin.store import Store


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Workbench:
    """Everything that one server has. Close it after use."""

    access: Access
    session: Session | None = None
    """A Session without a store, for images of clients; None if its model cannot be had."""
    why_no_model: str = "the server was started without a model"
    store: Store | None = None
    why_no_store: str = "the server was started without a store"
    media_roots: tuple[Path, ...] = ()
    """Folders whose files may be opened, resolved."""
    read_only: bool = False
    limits: Limits = field(default_factory=Limits)
    most_waiting: int = 256
    metrics: Metrics = field(default_factory=Metrics)
    room: Room = field(default_factory=Room)
    batcher: Batcher | None = None

    def __post_init__(self) -> None:
        self.media_roots = tuple(root.resolve() for root in self.media_roots)
        if self.session is not None and self.batcher is None:
            self.batcher = Batcher(self.session.engine, self.metrics, most_waiting=self.most_waiting)

    def open_model(self) -> None:
        """Open the model before the first image needs it; one that cannot be used is :attr:`why_no_model` from then on."""
        if self.batcher is None:
            return
        try:
            self.batcher.open()
        except BioclipError as error:
            self.why_no_model = str(error)
            log.warning("Images cannot be classified: %s", error)

    @property
    def can_classify(self) -> bool:
        """False once it is known that the model cannot be used."""
        return self.batcher is not None and self.batcher.failure is None

    def needed_session(self) -> tuple[Session, Batcher]:
        """Return the Session and what stands in front of its model.

        Raises:
            Problem: 503 if there is no model.
        """
        if self.session is None or self.batcher is None or self.batcher.failure is not None:
            raise Problem(503, f"images cannot be classified: {self.why_no_model}")
        return self.session, self.batcher

    def needed_store(self) -> Store:
        """Return the store.

        Raises:
            Problem: 503 if there is none.
        """
        if self.store is None:
            raise Problem(503, f"there are no stored results: {self.why_no_store}")
        return self.store

    def close(self, wait_s: float = 1.0) -> bool:
        """End the threads; True if none is left at work. The Session and the store are closed by who opened them."""
        return self.batcher is None or self.batcher.close(wait_s)


def workbench_of(request: Request) -> Workbench:
    """Return the state of the server that got a request."""
    return cast(Workbench, request.app.state.workbench)
