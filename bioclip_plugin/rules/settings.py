"""A rule's settings: declared as fields of a dataclass, parsed from ``NAME:KEY=VALUE,...``, stored with what they made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.rule import _key

if TYPE_CHECKING:
    from bioclip_plugin.contracts.rule import Rule

CONSENSUS_VERSION = 1

_NEXT = re.compile(r",(?=[a-z_]+=)")  # a comma inside a file's name is none between settings


def parse_rules(texts: Iterable[str], known: Mapping[str, type[Rule]]) -> list[Rule]:
    """The rules that ``--rule`` texts name, in the order in which they are asked.

    Raises:
        UsageError: for an unknown rule, an unknown or missing setting, a value of the wrong kind, a rule that is named
            twice, and a second rule that groups images.
    """
    rules = [_parsed(text, known) for text in texts]
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"rule {', '.join(twice)} is given twice; give it once, with all its settings")
    if len(grouping := [rule.name for rule in rules if rule.groups]) > 1:
        raise UsageError(f"rules {' and '.join(grouping)} both say which images are one event; give one of them")
    return sorted(rules, key=lambda rule: (rule.order, rule.name))


def _parsed(text: str, known: Mapping[str, type[Rule]]) -> Rule:
    name, _, said = text.partition(":")
    name = name.strip()
    if name not in known:
        raise UsageError(
            f"rule {name!r} is not known; there are {', '.join(sorted(known))} (see: bioclip-plugin rules list)"
        )
    rule = known[name]
    values: dict[str, Any] = {}
    declared = {_key(one): one for one in fields(rule.settings_type)}
    kinds = get_type_hints(rule.settings_type)
    for part in _NEXT.split(said) if said.strip() else []:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or key not in declared:
            raise UsageError(f"rule {name}: {part.strip()!r} is no setting of it; {_allowed(name, declared)}")
        if key in values:
            raise UsageError(f"rule {name}: {key} is given twice")
        values[key] = _value(f"rule {name}: {key}", value.strip(), kinds[declared[key].name])
    missing = [key for key, one in declared.items() if one.default is MISSING and key not in values]
    if missing:
        raise UsageError(f"rule {name} needs {', '.join(missing)}; {_allowed(name, declared)}")
    return rule(rule.settings_type(**{declared[key].name: value for key, value in values.items()}))


def _allowed(name: str, declared: Mapping[str, Field[Any]]) -> str:
    if not declared:
        return "it has no settings"
    return f"write {name}:" + ",".join(f"{key}={_shown(one)}" for key, one in declared.items())


def _shown(one: Field[Any]) -> str:
    return "VALUE" if one.default in (MISSING, None, "") else str(one.default)


def described_settings(settings_type: type) -> list[tuple[str, str, str]]:
    """Each setting's name, its default (``needed`` without one) and what it is."""
    return [
        (_key(one), "needed" if one.default is MISSING else "none" if one.default in (None, "") else str(one.default),
         str(one.metadata.get("what", "")))
        for one in fields(settings_type)
    ]  # fmt: skip


def _value(where: str, text: str, kind: Any) -> Any:
    """The text as a setting's type has it: a number, a whole number, a file or text."""
    kinds: Sequence[Any] = get_args(kind) or (kind,)
    if not text:
        raise UsageError(f"{where} is empty; give it a value or leave it out")
    for wanted, make, words in ((int, int, "a whole number"), (float, float, "a number")):
        if wanted in kinds:
            try:
                number = make(text)
            except ValueError:
                raise UsageError(f"{where}={text}: {words} is needed") from None
            if not math.isfinite(number):
                raise UsageError(f"{where}={text}: {words} is needed")
            return number
    return Path(text).expanduser() if Path in kinds else text


def check_probability(where: str, value: float | None) -> None:
    """Refuse what is no probability above 0.

    Raises:
        UsageError: naming the setting.
    """
    if value is not None and not 0 < value <= 1:
        raise UsageError(f"{where}={value}: allowed is a probability above 0 and at most 1")


def rule_settings(
    answer_id: str, threshold: float, rules: Sequence[Rule], sources: Sequence[str] | None = None
) -> dict[str, Any]:
    """What decides a run's decisions; its hash is the ``rule_id``.

    Args:
        sources: of the run. Which images make an event depends on what was listed, so with a rule that groups they belong
            to it; without one equal regions are decided once for all runs.
    """
    consensus = {"name": "consensus", "version": CONSENSUS_VERSION, "threshold": threshold}
    settings = {"answer_id": answer_id, "rules": [consensus, *(rule.identity() for rule in rules)]}
    if sources is not None and any(rule.groups for rule in rules):
        settings["sources"] = list(sources)
    return settings
