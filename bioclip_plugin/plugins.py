"""The plugin manager: hook specifications, built-ins, installed plugins, and the registries that plugins add names to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pluggy

from bioclip_core.errors import PluginError
from bioclip_plugin import __version__, hookspecs

if TYPE_CHECKING:
    from bioclip_core.models import ModelEntry
    from bioclip_plugin.exports import Exporter
    from bioclip_plugin.media import MediaItem, Unlisted
    from bioclip_plugin.rules import Rule
    from bioclip_plugin.sources import ListingOptions, Source

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bioclip"
_BUILTINS, _MEDIA = "builtins", "media"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """An installed plugin that could not be loaded, and why."""

    name: str
    distribution: str
    reason: str


class BioclipPluginManager(pluggy.PluginManager):
    """A pluggy manager for project ``bioclip`` that remembers which installed plugins it had to leave out."""

    def __init__(self) -> None:
        super().__init__(hookspecs.PROJECT)
        self.failures: list[LoadFailure] = []
        self.distributions: dict[str, str] = {}

    def models(self) -> dict[str, ModelEntry]:
        """Registered models by name."""
        return _collected(self.hook.register_models, "model")

    def sources(self) -> list[Source]:
        """Registered sources in the order in which they are asked."""
        return list(_collected(self.hook.register_sources, "source").values())

    def exporters(self) -> dict[str, Exporter]:
        """Registered export formats by name."""
        return _collected(self.hook.register_exporters, "exporter")

    def rules(self) -> dict[str, type[Rule]]:
        """Registered rules by name, in the order of their registration."""
        return _collected(self.hook.register_rules, "rule")

    def media_suffixes(self) -> frozenset[str]:
        """Suffixes, in lower case, of files that plugins open or expand."""
        return frozenset(suffix.lower() for said in self.hook.media_suffixes() for suffix in said)

    def expand(self, item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
        """What an item is made of, by the first plugin that knows; None where it is one image."""
        parts: Iterable[MediaItem | Unlisted] | None = self.hook.expand_media(item=item, options=options)
        return parts

    def described(self) -> list[dict[str, str]]:
        """For ``plugins`` and provenance: name, distribution with version, and the hooks that each implements."""
        rows = []
        for name, plugin in self.list_name_plugin():
            hooks = sorted(caller.name for caller in self.get_hookcallers(plugin) or [])
            rows.append({"name": name, "distribution": self.distributions.get(name, ""), "hooks": ", ".join(hooks)})
        return rows


def create_plugin_manager(*, installed: bool = True) -> BioclipPluginManager:
    """A manager with the built-ins and, unless ``installed`` is False, every installed plugin.

    A plugin that fails to load is left out, logged and kept in ``failures``. Register your own with ``register``, and
    call ``check_pending`` afterwards: a misspelt hook is otherwise silently ignored.

    Raises:
        PluginError: if two installed plugins bear one name.
    """
    from bioclip_plugin.builtins import Builtins
    from bioclip_plugin.opening import BuiltInMedia

    manager = BioclipPluginManager()
    manager.add_hookspecs(hookspecs)
    manager.register(Builtins(manager), name=_BUILTINS)
    manager.register(BuiltInMedia(), name=_MEDIA)
    manager.distributions[_BUILTINS] = manager.distributions[_MEDIA] = f"bioclip-plugin {__version__}"
    if installed:
        _load_installed(manager)
    manager.check_pending()
    return manager


def _load_installed(manager: BioclipPluginManager) -> None:
    seen: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        distribution = point.dist.name if point.dist else "unknown"
        if point.name in seen:
            raise PluginError(
                f"two installed plugins are called {point.name!r}: {seen[point.name]} and {distribution}; uninstall one of them"
            )
        seen[point.name] = distribution
        _load(manager, point, distribution)


def _load(manager: BioclipPluginManager, point: Any, distribution: str) -> None:
    """Load one plugin and prove its hooks; whatever it raises is its own failure, not the host's."""
    try:
        plugin = point.load()
        manager.register(plugin, name=point.name)
        manager.check_pending()
        manager.distributions[point.name] = f"{distribution} {point.dist.version}"
    except Exception as error:
        if manager.has_plugin(point.name):
            manager.unregister(name=point.name)
        reason = f"{type(error).__name__}: {error}"
        manager.failures.append(LoadFailure(point.name, distribution, reason))
        log.warning("plugin %s (%s) was left out: %s", point.name, distribution, reason)


def _collected(hook: Callable[..., Any], what: str) -> dict[str, Any]:
    """What all plugins register under distinct names."""
    found: dict[str, Any] = {}

    def register(entry: _Named) -> None:
        if entry.name in found:
            raise PluginError(
                f"{what} {entry.name!r} is registered twice; names must differ, see: bioclip-plugin plugins"
            )
        found[entry.name] = entry

    hook(register=register)
    return found
