"""Making of the plugin manager: hook specifications, built-ins and installed plugins."""

from __future__ import annotations

import logging
import re
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

import pluggy

from bioclip_core import __version__
from bioclip_core.errors import BioclipError, PluginError
from bioclip_plugin import hookspecs
from bioclip_plugin.contracts.containing import Owner, reason_of
from bioclip_plugin.contracts.manager import BioclipPluginManager, LoadFailure

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "bioclip"


def create_plugin_manager(*, installed: bool = True) -> BioclipPluginManager:
    """Return a manager with the built-ins and, unless ``installed`` is False, every installed plugin.

    A plugin that cannot be used is left out as a whole, logged and kept in ``failures``. Register your own with
    ``register``, which raises a ``PluginError`` for one that cannot be used, and call ``check_pending`` afterwards: a
    misspelt hook is otherwise silently ignored.
    """
    from bioclip_plugin.builtins import NAMES, Builtins
    from bioclip_plugin.opening import BuiltInMedia
    from bioclip_plugin.running.hooks import HostHooks

    manager = BioclipPluginManager()
    manager.add_hookspecs(hookspecs)
    media, host_hooks, ours = BuiltInMedia(), HostHooks(manager), f"bioclip-plugin {__version__}"
    manager.register_built_in(Builtins(manager), "builtins", ours, NAMES)
    manager.register_built_in(media, "media", ours)
    manager.register_built_in(host_hooks, "host-hooks", ours)
    manager.check_pending()
    manager.on_close(media.close)
    manager.on_close(host_hooks.close)  # called before the media are closed: Sessions read them
    for point, distribution in installed_plugins(manager) if installed else ():
        load_plugin(manager, point, distribution)
    return manager


def installed_plugins(manager: BioclipPluginManager) -> list[tuple[EntryPoint, str]]:
    """Return the entry points of installed plugins with name and version of their distributions, in the order of these.

    A distribution whose metadata cannot be read is left out. Where a distribution is found twice, the first one counts, as
    for an import.
    """
    found: dict[str, list[tuple[EntryPoint, str]]] = {}
    for distribution in distributions():
        place = str(getattr(distribution, "_path", distribution))
        try:
            points = [point for point in distribution.entry_points if point.group == ENTRY_POINT_GROUP]
            if not points:
                continue
            about = distribution.metadata
            given = {field: about[field] for field in ("Name", "Version") if field in about}
            name, version = given.get("Name"), given.get("Version", "")
            if not name:
                raise PluginError("its metadata lack a name; install it again")
            key = re.sub(r"[-_.]+", "-", name).lower()
            found.setdefault(key, [(point, f"{name} {version}".strip()) for point in points])
        except Exception as error:
            if ENTRY_POINT_GROUP in _raw_entry_points(distribution):
                manager.leave_out(Path(place).stem, f"the distribution at {place} cannot be read: {reason_of(error)}")
    return [entry for key in sorted(found) for entry in found[key]]


def _raw_entry_points(distribution: Distribution) -> str:
    """Return the file of entry points, to see whether a broken distribution has a plugin at all."""
    try:
        return distribution.read_text("entry_points.txt") or ""
    except Exception:  # bytes that are not text: it may have one
        return ENTRY_POINT_GROUP


def load_plugin(manager: BioclipPluginManager, point: EntryPoint, distribution: str) -> None:
    """Load one plugin and check its hooks; an error in it is recorded and does not reach the host."""
    name = point.name
    if manager.has_plugin(name):
        first = manager.distributions.get(name) or "a plugin of the host"
        manager.failures.append(
            LoadFailure(
                name, distribution, f"a plugin of this name is registered already, by {first}; uninstall one of them"
            )
        )
        log.warning("plugin %s (%s) was skipped: %s", name, distribution, manager.failures[-1].reason)
        return
    owner = Owner(name, distribution)
    manager.distributions[name] = distribution
    try:
        plugin = owner.call("importing it", point.load)
        if plugin is None:
            raise PluginError(f"{point.value} is None; a plugin is needed")
        manager.register(plugin, name=name)
        manager.check_pending()
    except (BioclipError, pluggy.PluginValidationError) as error:
        manager.leave_out(name, " ".join(str(error).split()))
