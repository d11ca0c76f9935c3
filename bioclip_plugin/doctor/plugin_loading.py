"""Loading of installed plugins for a check: each is a step that can be left out, and one that breaks Python's modules is named."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import TYPE_CHECKING

from bioclip_core.errors import PluginError
from bioclip_core.nouns import number_of
from bioclip_plugin.doctor.report import Step

if TYPE_CHECKING:
    from bioclip_plugin.contracts.manager import BioclipPluginManager

_OURS = frozenset({"bioclip_core", "bioclip_plugin", "bioclip_training", "pluggy"})
_REPLACED_BY_OTHERS = frozenset({"distutils"})
"""Modules of Python that well-known packages take away and bring along themselves."""


def load_installed(manager: BioclipPluginManager, without: frozenset[str]) -> Iterator[Step]:
    """Load the installed plugins into a manager, each as a step; those whose steps are left out are not loaded.

    Raises:
        PluginError: if a plugin breaks ``sys.modules``; the step is then that of this plugin.
    """
    from bioclip_plugin.plugins import installed_plugins, load_plugin

    for point, distribution in installed_plugins(manager):
        step = _step(point, distribution)
        if step.key in without:
            continue
        yield step
        before = dict(sys.modules)
        load_plugin(manager, point, distribution)
        _check_modules(before)


def _step(point: EntryPoint, distribution: str) -> Step:
    return Step(
        f"loading the plugin {point.name} ({distribution})",
        f"plugin {point.name}",
        code=f"plugins.crash.{point.name}",
        advice=f"upgrade it, or uninstall it: pip uninstall {distribution.partition(' ')[0]}",
    )


def _check_modules(before: Mapping[str, ModuleType]) -> None:
    gone = [name for name, module in before.items() if _is_broken(name, module)]
    if gone:
        shown = next((name for name in gone if name.partition(".")[0] in ("json", *_OURS)), gone[0])
        raise PluginError(f"it takes {number_of(len(gone), 'module')} out of sys.modules, such as {shown}")


def _is_broken(name: str, before: ModuleType) -> bool:
    """True for a module of Python that is gone, and for one of ours that is gone or another one."""
    top, now = name.partition(".")[0], sys.modules.get(name)
    if before is None:  # its import was forbidden already
        return False
    if top in _OURS:
        return now is not before
    return now is None and top in sys.stdlib_module_names and top not in _REPLACED_BY_OTHERS
