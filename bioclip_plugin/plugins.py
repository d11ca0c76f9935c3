"""Making of the plugin manager: hook specifications, built-ins and installed plugins."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points

from bioclip_core import __version__
from bioclip_core.errors import PluginError
from bioclip_plugin import hookspecs
from bioclip_plugin.contracts.manager import BioclipPluginManager, LoadFailure

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bioclip"


def create_plugin_manager(*, installed: bool = True) -> BioclipPluginManager:
    """Return a manager with the built-ins and, unless ``installed`` is False, every installed plugin.

    A plugin that fails to load is skipped, logged and kept in ``failures``. Register your own with ``register``, and
    call ``check_pending`` afterwards: a misspelt hook is otherwise silently ignored.

    Raises:
        PluginError: if two installed plugins have the same name.
    """
    from bioclip_plugin.builtins import Builtins
    from bioclip_plugin.opening import BuiltInMedia
    from bioclip_plugin.running.hooks import HostHooks

    manager = BioclipPluginManager()
    manager.add_hookspecs(hookspecs)
    media, host_hooks = BuiltInMedia(), HostHooks(manager)
    for name, plugin in (("builtins", Builtins(manager)), ("media", media), ("host-hooks", host_hooks)):
        manager.register(plugin, name=name)
        manager.distributions[name] = f"bioclip-plugin {__version__}"
    manager.on_close(media.close)
    manager.on_close(host_hooks.close)  # called before the media are closed: Sessions read them
    seen: dict[str, str] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP) if installed else ():
        distribution = point.dist.name if point.dist else "unknown"
        if point.name in seen:
            raise PluginError(
                f"two installed plugins are called {point.name!r}: {seen[point.name]} and {distribution}; uninstall one of them"
            )
        seen[point.name] = distribution
        _load(manager, point, distribution)
    manager.check_pending()
    return manager


def _load(manager: BioclipPluginManager, point: EntryPoint, distribution: str) -> None:
    """Load one plugin and check its hooks; an error in it is recorded and does not reach the host."""
    try:
        manager.register(point.load(), name=point.name)
        manager.check_pending()
        manager.distributions[point.name] = f"{distribution} {point.dist.version if point.dist else ''}".strip()
    except Exception as error:
        if manager.has_plugin(point.name):
            manager.unregister(name=point.name)
        reason = f"{type(error).__name__}: {error}"
        manager.failures.append(LoadFailure(point.name, distribution, reason))
        log.warning("plugin %s (%s) was skipped: %s", point.name, distribution, reason)
