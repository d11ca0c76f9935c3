"""The settings of a run beside those of its earlier part: those that must be equal, and those that may differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from bioclip_core.files.documents import as_recorded
from bioclip_training.loop.recipe import TrainConfig

MAY_DIFFER = frozenset(
    {
        "config.data",
        "config.replay",
        "config.start",
        "start.source",
        "config.output",
        "config.workers",
        "config.cache_mb",
        "config.device",
        "config.measure",
        "config.replace_prefix",
        "made_with",
        "world",
    }
)
"""Settings that may differ in a resumed run: on one device and with as many processes they change its speed only.

``data``, ``replay`` and ``start`` are addresses; their content is compared by its sha256.
"""

_NAMES = {
    "steps": "the number of steps",
    "data_sha256": "the content of --data",
    "replay_sha256": "the content of --replay",
    "preprocessing": "the preprocessing of --start",
    "precision": "--precision",
    "learning_rate": "the learning rate",
    "trunk_rate": "the learning rate of the vision tower",
    "world": "the number of processes",
}
_DEFAULTS = {item.name: item.default for item in fields(TrainConfig) if item.default is not MISSING and item.compare}
"""Values of options that the software which began the run did not have yet."""
_EFFECTS = {
    "config.workers": "changes the speed only",
    "config.cache_mb": "changes the speed only",
    "config.data": "the content is the same",
    "config.replay": "the content is the same",
    "config.start": "the weights are the same",
    "start.source": "the weights are the same",
    "config.replace_prefix": "the images are found elsewhere",
}
_SILENT = frozenset({"config.output", "config.measure"})


def refused_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a text per setting that must not differ and does.

    Args:
        was: the stored settings.
        now: all settings of now, or some parts such as ``config``; the other parts are not compared.
    """
    found = _differing({name: was.get(name) for name in now}, now)
    return [text for name, text in found.items() if not _may_differ(name)]


def allowed_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line per setting that differs and may: with what follows from it."""
    found = _differing(was, now)
    return [
        f"{text} ({_EFFECTS.get(name, 'the result may differ in the last bits')})"
        for name, text in found.items()
        if _may_differ(name) and name not in _SILENT
    ]


def _may_differ(name: str) -> bool:
    return name in MAY_DIFFER or name.partition(".")[0] in MAY_DIFFER


def _differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    before, after = flattened(as_recorded(was)), flattened(as_recorded(now))
    before = (flattened(as_recorded({"config": _DEFAULTS})) if "config" in was else {}) | before
    differing = [name for name in {*before, *after} if _compared(name, before) != _compared(name, after)]
    # What follows from an option that differs is not named a second time.
    differing = [name for name in differing if f"config.{name}" not in differing]
    return {
        name: f"{_named(name)} was {_used(name, before)} and is now {_used(name, after)}"
        for name in sorted(differing, key=lambda name: (not name.startswith("config."), name))
    }


def _compared(name: str, flat: Mapping[str, Any]) -> Any:
    """Return the value of a setting without what is no difference: the reason for a device and its precision."""
    value = flat.get(name)
    return value.partition(" (")[0] if name == "made_with.device" and isinstance(value, str) else value


def _named(name: str) -> str:
    """Return a setting as users know it: by its option where it has one."""
    part, _, rest = name.partition(".")
    if part == "config":
        return f"--{rest.replace('_', '-')}"
    if part == "start":
        return f"the start model's {rest}"
    return rest if part == "made_with" else _NAMES.get(name, _NAMES.get(part, name))


def _used(name: str, flat: Mapping[str, Any]) -> str:
    """Return the value of a setting; of one that the software chose, the value that it chose."""
    value = flat.get(name)
    chosen = flat.get(name.removeprefix("config.")) if value is None else None
    return _shown(value) if chosen is None else f"{_shown(chosen)} (chosen automatically)"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:40]}…"


def flattened(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings as one level, with dots in the names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = flattened(value) if isinstance(value, Mapping) else None
        flat.update({name: value} if inner is None else {f"{name}.{key}": entry for key, entry in inner.items()})
    return flat
