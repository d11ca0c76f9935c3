"""The built-in hook implementations; they only call core, training and the rooms of this package."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from bioclip_core.errors import UsageError
from bioclip_core.models import BIOCLIP_PREPROCESSING, ModelEntry, PublishedLabels
from bioclip_plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    import click
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_plugin.answers import Answer
    from bioclip_plugin.exports import Exporter
    from bioclip_plugin.media import MediaItem
    from bioclip_plugin.plugins import BioclipPluginManager
    from bioclip_plugin.request import ClassifyRequest
    from bioclip_plugin.rules import Rule
    from bioclip_plugin.session import Session
    from bioclip_plugin.sources import Source
    from bioclip_training.recipe import TrainConfig, TrainResult

_OPEN_SESSIONS = 4  # a host that alternates between more requests than this reopens models

_CITE_1 = "Stevens et al. 2024, BioCLIP: A Vision Foundation Model for the Tree of Life, CVPR"
_CITE_2 = "Gu et al. 2025, BioCLIP 2: Emergent Properties from Scaling Hierarchical Contrastive Learning"


class Builtins:
    """One a plugin manager, since the sessions that it keeps belong to that manager's plugins."""

    def __init__(self, manager: BioclipPluginManager) -> None:
        self._manager = manager
        self._sessions: OrderedDict[ClassifyRequest, Session] = OrderedDict()
        self._users: Counter[ClassifyRequest] = Counter()
        self._lock = threading.Lock()

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        register(
            ModelEntry(
                "bioclip-2", "hf-hub:imageomics/bioclip-2", "ViT-L/14 on TreeOfLife-200M; the default", "MIT", _CITE_2,
                preprocessing=BIOCLIP_PREPROCESSING, labels=PublishedLabels("imageomics/TreeOfLife-200M"),
            )
        )  # fmt: skip
        register(
            ModelEntry(
                "bioclip", "hf-hub:imageomics/bioclip", "ViT-B/16 on TreeOfLife-10M", "MIT", _CITE_1,
                preprocessing=BIOCLIP_PREPROCESSING, labels=PublishedLabels("imageomics/TreeOfLife-10M"),
            )
        )  # fmt: skip
        register(
            ModelEntry(
                "bioclip-2.5", "hf-hub:imageomics/bioclip-2.5-vith14", "ViT-H/14; bring a label set: labels build", "MIT", _CITE_2,
                preprocessing=BIOCLIP_PREPROCESSING,
            )
        )  # fmt: skip
        demo = files("bioclip_plugin") / "demo_model"
        register(
            ModelEntry(
                "demo", f"local-dir:{demo}", "a small model of an invented tree of life, inside the package", "MIT"
            )
        )

    @hookimpl(trylast=True)
    def register_sources(self, register: Callable[[Source], None]) -> None:
        from bioclip_plugin.sources import built_in_sources

        for source in built_in_sources(self._manager.media_suffixes()):
            register(source)

    @hookimpl
    def register_exporters(self, register: Callable[[Exporter], None]) -> None:
        from bioclip_plugin.exports import built_in_exporters

        for exporter in built_in_exporters():
            register(exporter)

    @hookimpl
    def register_rules(self, register: Callable[[type[Rule]], None]) -> None:
        from bioclip_plugin.rules import built_in_rules

        for rule in built_in_rules():
            register(rule)

    @hookimpl
    def register_commands(self, cli: click.Group) -> None:
        from bioclip_plugin.commands import add_built_in_commands

        add_built_in_commands(cli)

    @hookimpl(trylast=True)
    def classify_images(self, items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[Answer]:
        _refuse_one_name(items)
        with self._session(request) as session:
            return list(session.classify_stream(items))

    @hookimpl(trylast=True)
    def embed_images(
        self, items: Sequence[MediaItem | str], request: ClassifyRequest
    ) -> list[NDArray[np.float16] | None]:
        _refuse_one_name(items)
        with self._session(request) as session:
            return [embedded.features_RD for embedded in session.embed_stream(items)]

    @hookimpl(trylast=True)
    def train_model(self, config: TrainConfig) -> TrainResult:
        from bioclip_training.run import train

        return train(config, self._manager.models())

    @contextmanager
    def _session(self, request: ClassifyRequest) -> Iterator[Session]:
        """The open Session of a request; when there are too many, those used longest ago and by nobody now are closed."""
        from bioclip_plugin.session import Session

        with self._lock:
            session = self._sessions.pop(request, None) or Session.of(request, plugins=self._manager)
            self._sessions[request] = session
            self._users[request] += 1
        try:
            yield session
        finally:
            with self._lock:
                self._users[request] -= 1
                idle = [known for known in self._sessions if not self._users[known]]
                for known in idle[: max(0, len(self._sessions) - _OPEN_SESSIONS)]:
                    self._sessions.pop(known).close()

    def close(self) -> None:
        """Close every open Session."""
        with self._lock:
            while self._sessions:
                self._sessions.popitem()[1].close()


def _refuse_one_name(items: object) -> None:
    if isinstance(items, (str, bytes)):
        raise UsageError(f"items {items!r}: give a list of images, such as [{items!r}]")
