"""The plugin manager: the names that plugins register, and the installed plugins that were skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from bioclip_core.errors import PluginError

if TYPE_CHECKING:
    from bioclip_core.models import ModelEntry
    from bioclip_plugin.contracts.exporter import Exporter
    from bioclip_plugin.contracts.rule import Rule
    from bioclip_plugin.contracts.source import ListingOptions, Source
    from bioclip_plugin.items.media import MediaItem, Unlisted


PROJECT = "bioclip"
"""Name of the project in pluggy: the mark of its hooks."""


class _Named(Protocol):
    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """An installed plugin that could not be loaded, with the reason."""

    name: str
    distribution: str
    reason: str


class BioclipPluginManager(pluggy.PluginManager):
    """A pluggy manager for the project ``bioclip`` that remembers the installed plugins that were skipped."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.failures: list[LoadFailure] = []
        self.distributions: dict[str, str] = {}
        self._closers: list[Callable[[], None]] = []

    def on_close(self, close: Callable[[], None]) -> None:
        """Call ``close`` in :meth:`close`: for a plugin that keeps models, files or databases open."""
        self._closers.append(close)

    def close(self) -> None:
        """Close what plugins keep open for the hooks: Sessions with their models and stores, and video files.

        The manager can be used again afterwards. Every closer runs; the last error is raised.
        """
        with ExitStack() as stack:
            for close in self._closers:
                stack.callback(close)

    def models(self) -> dict[str, ModelEntry]:
        """Return the registered models by name."""
        return _collected(self.hook.register_models, "model")

    def sources(self) -> list[Source]:
        """Return the registered sources in the order in which they are asked."""
        return list(_collected(self.hook.register_sources, "source").values())

    def exporters(self) -> dict[str, Exporter]:
        """Return the registered export formats by name."""
        return _collected(self.hook.register_exporters, "exporter")

    def rules(self) -> dict[str, type[Rule]]:
        """Return the registered rules by name, in the order of their registration."""
        return _collected(self.hook.register_rules, "rule")

    def media_suffixes(self) -> frozenset[str]:
        """Return the suffixes, in lower case, of files that plugins open or expand."""
        return frozenset(suffix.lower() for suffixes in self.hook.media_suffixes() for suffix in suffixes)

    def expand(self, item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
        """Return the parts of an item, by the first plugin that lists them; None for a single image."""
        parts: Iterable[MediaItem | Unlisted] | None = self.hook.expand_media(item=item, options=options)
        return parts

    def described(self) -> list[dict[str, str]]:
        """Return name, distribution with version, and hooks of each plugin, for ``plugins`` and provenance."""
        rows = []
        for name, plugin in self.list_name_plugin():
            hooks = sorted(caller.name for caller in self.get_hookcallers(plugin) or [])
            rows.append({"name": name, "distribution": self.distributions.get(name, ""), "hooks": ", ".join(hooks)})
        return rows


def _collected(hook: Callable[..., Any], kind: str) -> dict[str, Any]:
    """Return what all plugins register, under distinct names."""
    found: dict[str, Any] = {}

    def register(entry: _Named) -> None:
        if entry.name in found:
            raise PluginError(
                f"{kind} {entry.name!r} is registered twice; names must differ, see: bioclip-plugin plugins"
            )
        found[entry.name] = entry

    hook(register=register)
    return found
