"""Settings of rules: declared as fields of a dataclass, parsed from ``NAME:KEY=VALUE,...``, stored with the decisions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from bioclip_core.errors import UsageError
from bioclip_core.files.homes import with_home
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.next_commands import command
from bioclip_core.options import check_options
from bioclip_plugin.contracts.rule import Rule, setting_name
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.request import DETECTION

CONSENSUS_VERSION = 1
_CLOCKS = {"time_zone": None, "video_clock": "utc"}
"""Settings of a listing that change times, with their defaults."""

_NEXT = re.compile(r",(?=[a-z_]+=)")  # a comma inside the name of a file does not separate settings


def parse_rules(
    texts: Iterable[str], known: Mapping[str, type[Rule]], file: Callable[[Path], Path] | None = None
) -> list[Rule]:
    """Return the rules that ``--rule`` texts name, in the order in which they are asked.

    Args:
        texts: the texts.
        known: the registered rules, by name.
        file: finds the place of a file that a text names; None: as written, in the working directory.

    Raises:
        UsageError: for an unknown rule, an unknown or missing setting, a value that is not allowed, a duplicate rule, and
            a second rule that groups images.
    """
    rules = [_parsed(text, known, file) for text in texts]
    names = [rule.name for rule in rules]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"rule {', '.join(duplicates)} is given twice; give it once, with all its settings")
    if len(grouping := [rule.name for rule in rules if rule.groups]) > 1:
        raise UsageError(f"rules {' and '.join(grouping)} both say which images are one event; give one of them")
    return sorted(rules, key=lambda rule: (rule.order, rule.name))


def _parsed(text: str, known: Mapping[str, type[Rule]], file: Callable[[Path], Path] | None) -> Rule:
    name, _, given = text.partition(":")
    name = name.strip()
    if name not in known:
        raise UsageError(
            f"rule {name!r} is not known; there are {listed(sorted(known))} (see: {command('rules list')})"
            f"{did_you_mean(name, known)}"
        )
    kind = known[name].settings_type
    declared, hints = {setting_name(entry): entry for entry in fields(kind)}, get_type_hints(kind)
    values: dict[str, Any] = {}
    for part in _NEXT.split(given) if given.strip() else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in declared:
            raise UsageError(f"rule {name}: {part.strip()!r} is not one of its settings; {_allowed(name, declared)}")
        field = declared[key].name
        if field in values:
            raise UsageError(f"rule {name}: {key} is given twice")
        values[field] = _value(f"rule {name}: {key}", value, hints[field])
        if file is not None and isinstance(values[field], Path):
            values[field] = file(values[field])
    missing = [key for key, entry in declared.items() if entry.default is MISSING and entry.name not in values]
    if missing:
        raise UsageError(f"rule {name} needs {', '.join(missing)}; {_allowed(name, declared)}")
    try:
        settings = kind(**values)
        check_options(settings)
    except UsageError as error:
        raise UsageError(f"rule {name}: {error}") from None
    return known[name](settings)


def _allowed(name: str, declared: Mapping[str, Field[Any]]) -> str:
    settings = [
        f"{key}={'VALUE' if entry.default in (MISSING, None, '') else entry.default}" for key, entry in declared.items()
    ]
    return f"write {name}:{','.join(settings)}" if settings else "it has no settings"


def described_settings(settings_type: type) -> list[tuple[str, str, str]]:
    """Return name, default (``needed`` without one) and meaning of each setting."""
    return [
        (setting_name(entry), "needed" if entry.default is MISSING else "none" if entry.default in (None, "") else str(entry.default),
         str(entry.metadata.get("what", "")))
        for entry in fields(settings_type)
    ]  # fmt: skip


def _value(where: str, text: str, hint: Any) -> Any:
    """Return the text as the type of the setting: a number, a whole number, a file or text."""
    kinds: Sequence[Any] = get_args(hint) or (hint,)
    if not text:
        raise UsageError(f"{where} is empty; give it a value or leave it out")
    for kind, words in ((int, "a whole number"), (float, "a number")):
        if kind in kinds:
            with suppress(ValueError):
                number = kind(text)
                if math.isfinite(number):
                    return number
            raise UsageError(f"{where}={text}: {words} is needed")
    return with_home(text) if Path in kinds else text


def rule_settings(
    answer_id: str,
    threshold: float,
    rules: Sequence[Rule],
    sources: Sequence[str] | None = None,
    listing: Mapping[str, Any] | None = None,
    detection: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the settings that determine a run's decisions; their hash is the ``rule_id``.

    Args:
        sources: of the run. Which images make an event depends on what was listed, so they are part of the settings with a
            rule that groups; without one, equal regions are decided once for all runs.
        listing: of the run: its settings, among which are those of deployments and clocks.
        detection: detector and threshold of a run with a detector, which decide what its regions are.

    Raises:
        UsageError: if the table of deployments cannot be read.
    """
    consensus = {"name": "consensus", "version": CONSENSUS_VERSION, "threshold": threshold}
    settings: dict[str, Any] = {"answer_id": answer_id, "rules": [consensus, *(rule.identity() for rule in rules)]}
    if detection is not None:
        settings[DETECTION] = dict(detection)
    groups, listing = any(rule.groups for rule in rules), listing or {}
    deployments = DeploymentOptions.from_settings(listing).identity() if rules else {}
    if sources is not None and (groups or deployments):
        settings["sources"] = list(sources)
    if deployments:
        settings["deployments"] = deployments
    clocks = {name: listing[name] for name, default in _CLOCKS.items() if listing.get(name, default) != default}
    if groups and clocks:  # times with and without a zone, and those of videos, decide which images are one event
        settings["clocks"] = clocks
    return settings
