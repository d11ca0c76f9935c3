"""Rules of plugins: a subclass of the rule, whose own methods are called through the plugin's owner and whose results are checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, get_type_hints

from bioclip_core.errors import PluginError, one_line
from bioclip_plugin.contracts.checking import check_candidate, checked_name, checked_weights, is_json, is_number
from bioclip_plugin.contracts.containing import Garbage, Owner, shown
from bioclip_plugin.contracts.rule import EventKey, Rule, Ruling, Subject
from bioclip_plugin.items.verdicts import VERDICTS

_METHODS = ("identity", "read", "notes", "weights", "event_key", "doubt", "joins", "event_name", "pools", "decide")
_LONGEST_TEXT = 500
_OF_TRAIL = frozenset({"rule", "did", "from", "why"})


def contained_rule(kind: Any, owner: Owner) -> type[Rule]:
    """Return the rule as a contained class: only methods that it overrides are overridden again."""
    if not isinstance(kind, type) or not issubclass(kind, Rule):
        raise Garbage(f"register_rules registered {shown(kind)}; a subclass of Rule is needed")
    name = checked_name(getattr(kind, "name", None), "rule")
    if not isinstance(kind.version, int) or not is_number(kind.order) or not isinstance(kind.description, str):
        raise Garbage(f"the rule {name} needs version and order, which are numbers, and description, a text")
    if not all(isinstance(value, bool) for value in (kind.groups, kind.weighs, kind.decides_unclassified)):
        raise Garbage(f"the rule {name} needs True or False for groups, weighs and decides_unclassified")
    if not hasattr(kind.settings_type, "__dataclass_fields__"):
        raise Garbage(f"the rule {name} has the settings_type {shown(kind.settings_type)}; a dataclass is needed")
    get_type_hints(kind.settings_type)
    own: dict[str, Any] = {"__module__": kind.__module__, "__doc__": kind.__doc__}
    for method in ("__init__", *_METHODS):
        if inspect.getattr_static(kind, method) is not inspect.getattr_static(Rule, method):
            own[method] = _contained(kind, name, method, owner)
    return type(kind.__name__, (kind,), own)


def _contained(kind: type[Rule], name: str, method: str, owner: Owner) -> Callable[..., Any]:
    what = f"the rule {name}" if method in ("__init__", "decide") else f"{method} of the rule {name}"
    check = _CHECKS.get(method)

    def contained(self: Rule, *args: Any) -> Any:
        given = [_guarded(arg) for arg in args]
        where = f"{what}, at {args[0].item.uri}," if method == "decide" else what
        result = owner.call(where, getattr(kind, method), self, *given)
        if method == "__init__" and not hasattr(self, "settings"):
            raise owner.blamed(what, Garbage(f"{what} has no settings; call super().__init__(settings)"))
        return result if check is None else owner.call(what, check, result, what, args)

    contained.__name__ = method
    return contained


def _guarded(arg: Any) -> Any:
    """Return an argument that the rule may change without harm."""
    if isinstance(arg, Subject):
        return replace(arg, own=_read_only(arg.own), by_rank=_read_only(arg.by_rank))
    if isinstance(arg, list):
        return [_guarded(one) for one in arg]
    return getattr(arg, "read_only", arg)  # a label set


def _read_only(by_rank: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType({rank: tuple(candidates) for rank, candidates in by_rank.items()})


def _check_identity(result: Any, what: str, _args: Any) -> Any:
    if not isinstance(result, dict) or not is_json(result) or "name" not in result:
        raise Garbage(f"{what} returned {shown(result)}; a dict of plain JSON with the rule's name is needed")
    return result


def _check_notes(result: Any, what: str, _args: Any) -> Any:
    if not isinstance(result, (list, tuple)) or not all(isinstance(note, str) for note in result):
        raise Garbage(f"{what} returned {shown(result)}; a list of texts is needed")
    return [" ".join(note.split()) for note in result]


def _check_weights(result: Any, what: str, args: Any) -> Any:
    return None if result is None else checked_weights(result, len(args[1]), what)


def _check_key(result: Any, what: str, _args: Any) -> Any:
    right = result is None or (
        isinstance(result, EventKey)
        and isinstance(result.group, str)
        and all(value is None or is_number(value) for value in (result.at_s, result.wall_s))
        and result.aware in (None, True, False)
    )
    if not right:
        raise Garbage(f"{what} returned {shown(result)}; an EventKey or None is needed")
    return result


def _check_text(result: Any, what: str, _args: Any) -> Any:
    if not isinstance(result, str):
        raise Garbage(f"{what} returned {shown(result)}; a text is needed")
    return result


def _check_switch(result: Any, what: str, _args: Any) -> Any:
    if type(result).__name__ not in ("bool", "bool_"):
        raise Garbage(f"{what} returned {shown(result)}; True or False is needed")
    return bool(result)


def _check_pools(result: Any, what: str, args: Any) -> Any:
    count = len(args[0])
    pools = result if isinstance(result, (list, tuple)) else None
    members = [n for pool in pools for n in pool] if pools is not None else []
    right = pools is not None and all(pools) and all(isinstance(n, int) and 0 <= n < count for n in members)
    if not right or len(set(members)) != len(members):
        raise Garbage(
            f"{what} returned {shown(result)}; lists of positions below {count} are needed, each position once"
        )
    return [list(pool) for pool in pools or ()]


def _check_ruling(result: Any, what: str, args: Any) -> Any:
    if result is None:
        return None
    if not isinstance(result, Ruling) or result.verdict not in VERDICTS:
        raise PluginError(
            f"{what} gave {shown(result)}; a Ruling is needed, with one of {', '.join(VERDICTS)}, or None"
        )
    where = f"{what}, at {args[0].item.uri},"
    if result.candidate is not None:
        check_candidate(result.candidate, where)
        if result.verdict == "blank":
            raise Garbage(f"{where} decided on blank and gave a taxon; one of the two is needed")
    elif result.verdict == "taxon":
        raise Garbage(f"{where} decided on a taxon without giving one")
    if not isinstance(result.did, str) or not isinstance(result.why, str):
        raise Garbage(f"{where} gave {shown((result.did, result.why))} for did and why; texts are needed")
    details = result.details
    if not isinstance(details, Mapping) or not is_json(dict(details)) or _OF_TRAIL & set(details):
        raise Garbage(
            f"{where} gave the details {shown(details)}; plain JSON is needed, without {', '.join(sorted(_OF_TRAIL))}"
        )
    did, why = one_line(result.did), one_line(result.why)
    if (longest := max(len(result.did), len(result.why))) > _LONGEST_TEXT:
        raise Garbage(
            f"{where} gave a text of {longest:,} characters for did or why; at most {_LONGEST_TEXT} are needed"
        )
    return result if (did, why) == (result.did, result.why) else replace(result, did=did, why=why)


_CHECKS: Mapping[str, Callable[[Any, str, Any], Any]] = {
    "identity": _check_identity,
    "notes": _check_notes,
    "weights": _check_weights,
    "event_key": _check_key,
    "doubt": _check_text,
    "joins": _check_switch,
    "event_name": _check_text,
    "pools": _check_pools,
    "decide": _check_ruling,
}
