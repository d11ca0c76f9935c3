"""Strategies of plugins: one for each plugin with the hook ``order_for_review``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.contracts.review_items import ReviewItems

_HOOK = "order_for_review"


@dataclass(frozen=True, slots=True)
class OfPlugin:
    """The order of one plugin."""

    name: str
    """``plugin:`` and the plugin's name."""
    sentence: str
    _call: Any

    def order(self, items: ReviewItems, batch: int, seed: int) -> NDArray[np.int64]:  # noqa: ARG002 - the plugin has its own
        """Return the plugin's first items without a review; none if it has no opinion on these items.

        Raises:
            PluginError: with the plugin's name, if it fails or gives numbers that cannot be used.
        """
        numbers = self._call(items=items)
        if numbers is None:
            return np.empty(0, dtype=np.int64)
        waiting: NDArray[np.int64] = numbers[~items.reviewed_N[numbers]]
        return waiting[:batch]


def strategies_of(manager: BioclipPluginManager) -> list[OfPlugin]:
    """Return the strategies of the registered plugins, by their names."""
    implementations = getattr(manager.hook, _HOOK).get_hookimpls()
    plugins = {one.plugin_name: one.plugin for one in implementations if not (one.wrapper or one.hookwrapper)}
    found = []
    for name in sorted(plugins):
        others = [plugin for other, plugin in plugins.items() if other != name]
        sentence = f"The items in the order of the plugin {name}."
        found.append(OfPlugin(f"plugin:{name}", sentence, manager.subset_hook_caller(_HOOK, others)))
    return found
