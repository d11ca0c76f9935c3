"""Hook implementations of plugins, each replaced by one that calls it through the plugin's owner and checks its result."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from bioclip_core.errors import BioclipError
from bioclip_plugin.contracts.checking import (
    checked_answers,
    checked_embeddings,
    checked_entry,
    checked_order,
    checked_picture,
    checked_suffixes,
    checked_weights,
)
from bioclip_plugin.contracts.contained_detectors import contained_detector
from bioclip_plugin.contracts.contained_engines import contained_engine
from bioclip_plugin.contracts.contained_filters import contained_filter
from bioclip_plugin.contracts.contained_models import contained_model
from bioclip_plugin.contracts.contained_objects import contained_exporter, contained_source
from bioclip_plugin.contracts.containing import Garbage, Owner, at_work, mark, reason_of, shown
from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.items.media import MediaItem, Unlisted, path_of

log = logging.getLogger(__name__)

MOST_PARTS = 1_000_000
"""Limit of the parts of one item: ten hours of video have as many frames."""

KINDS = {
    "register_models": "model",
    "register_sources": "source",
    "register_exporters": "format",
    "register_rules": "rule",
    "register_detectors": "detector",
    "register_engines": "engine",
    "register_content_filters": "content filter",
    "register_commands": "command",
}
"""Kinds of objects, by the hooks that register them."""

FIRST_RESULT = (
    "classify_images", "embed_images", "train_model", "plan_training", "expand_media", "open_media", "order_for_review",
)  # fmt: skip

OF_FILES = ("expand_media", "open_media")
"""The hooks that are asked only about files of the plugin's ``media_suffixes``."""

OBSERVER = "answers_stored"
"""The hook whose failures are logged only."""

Call = Callable[[Mapping[str, Any]], Any]
"""Function that calls the plugin's implementation with those of these arguments that it names."""


class Names(Protocol):
    """The names that other plugins and the built-ins have registered."""

    def claim(self, owner: Owner, kind: str, names: list[str]) -> None:
        """Record the names of a plugin.

        Raises:
            PluginError: if one of them is taken.
        """


Suffixes = Callable[[], frozenset[str]]
"""Function that returns the suffixes of the files that a plugin takes."""


def contain(
    implementation: Any, hook: str, arguments: tuple[str, ...], owner: Owner, names: Names, suffixes: Suffixes
) -> None:
    """Replace the function of a hook implementation by its contained form, which gets every argument of the hook."""
    function, positional, optional = implementation.function, implementation.argnames, implementation.kwargnames

    def call(given: Mapping[str, Any]) -> Any:
        named = {name: given[name] for name in optional if name in given}
        return function(*(given[name] for name in positional), **named)

    if implementation.hookwrapper or implementation.wrapper:
        make = _old_wrapper if implementation.hookwrapper else _wrapper
        contained = make(hook, arguments, call, owner)
    else:
        contained = _plain(hook, arguments, call, owner, names)
        if hook in OF_FILES:
            contained = _of_suffixes(contained, arguments.index("item"), suffixes)
    implementation.function, implementation.argnames, implementation.kwargnames = contained, arguments, ()


def _plain(hook: str, arguments: tuple[str, ...], call: Call, owner: Owner, names: Names) -> Callable[..., Any]:
    adapter = _registering(KINDS[hook], names) if hook in KINDS else _ADAPTERS.get(hook, _unchecked)

    def contained(*values: Any) -> Any:
        return adapter(hook, call, owner, dict(zip(arguments, values, strict=True)))

    return contained


def _of_suffixes(contained: Callable[..., Any], at: int, suffixes: Suffixes) -> Callable[..., Any]:
    """Return the function for items of a plugin's own suffixes; for others it answers None, and the plugin is not asked."""

    def ask(*values: Any) -> Any:
        item = values[at]
        path = item.path if item.path is not None else path_of(item.uri)
        return contained(*values) if path.suffix.lower() in suffixes() else None

    return ask


def _unchecked(hook: str, call: Call, owner: Owner, given: dict[str, Any]) -> Any:
    return owner.call(hook, call, given)


def checked_result(hook: str, result: Any, given: Mapping[str, Any]) -> Any:
    """Return the checked result of one implementation, or of a hook that has one result."""
    if result is None:
        return None
    if hook == "classify_images":
        return checked_answers(result, given.get("items"))
    if hook == "embed_images":
        return checked_embeddings(result, given.get("items"))
    if hook == "media_suffixes":
        return checked_suffixes(result)
    if hook == "open_media":
        return checked_picture(result)
    if hook == "candidate_taxa":
        return checked_weights(result, len(given["labels"]), "candidate_taxa").copy()  # the plugin may change its own
    if hook == "order_for_review":
        return checked_order(result, len(given["items"]))
    if hook == "train_model":
        from bioclip_training.loop.recipe import TrainResult

        if not isinstance(result, TrainResult):
            raise Garbage(f"train_model returned {shown(result)}; a TrainResult is needed")
    if hook == "plan_training":
        from bioclip_training.loop.plan_record import TrainingPlan

        if not isinstance(result, TrainingPlan):
            raise Garbage(f"plan_training returned {shown(result)}; a TrainingPlan is needed")
    return result


def _checked(hook: str, call: Call, owner: Owner, given: dict[str, Any]) -> Any:
    mine = dict(given)
    if isinstance(items := mine.get("items"), list):
        mine["items"] = list(items)
    if isinstance(items, ReviewItems):
        mine["items"] = items.read_only()
    if isinstance(item := mine.get("item"), MediaItem) and isinstance(item.metadata, dict):
        mine["item"] = replace(item, metadata=MappingProxyType(item.metadata))
    with at_work(item.uri, item.frame, owner) if hook == "open_media" and item is not None else nullcontext():
        result = owner.call(hook, checked_result, hook, owner.call(hook, call, mine), given)
    if hook == "open_media" and result is not None:
        mark(result, owner)
    return result


def _expand(hook: str, call: Call, owner: Owner, given: dict[str, Any]) -> Any:
    parts = owner.call(hook, call, given)
    return None if parts is None else _parts(hook, parts, owner, given["item"])


def _parts(hook: str, parts: Any, owner: Owner, item: MediaItem) -> Iterator[MediaItem | Unlisted]:
    """Yield the parts of an item; from the first one that cannot be used, the rest of the item is one failure."""
    frame, names = item.frame, set()
    try:
        for part in owner.iterate(hook, parts, MOST_PARTS):
            entry = owner.call(hook, checked_entry, part)
            if (entry.uri, entry.frame) in names:
                raise owner.blamed(hook, Garbage(f"{hook} gave the part {entry.frame} of {entry.uri} twice"))
            names.add((entry.uri, entry.frame))
            frame = max(frame, entry.frame + 1)
            yield entry
        if not names:
            raise owner.blamed(
                hook, Garbage(f"{hook} gave no parts; None is needed for an item that is not the plugin's")
            )
    except BioclipError as error:
        yield Unlisted(item.uri, reason_of(error), frame, known=replace(item, data=None, image=None))


def _observe(hook: str, call: Call, owner: Owner, given: dict[str, Any]) -> None:
    """Call an observer; its error is logged, and the others are called."""
    try:
        owner.call(hook, call, {**given, "answers": list(given["answers"])})
    except BioclipError as error:
        _log(owner, error)


def _log(owner: Owner, error: BioclipError) -> None:
    log.warning("%s (the answers are stored)", reason_of(error))
    log.debug("%s", owner, exc_info=error)


_ADAPTERS: Mapping[str, Callable[[str, Call, Owner, dict[str, Any]], Any]] = {
    "classify_images": _checked,
    "embed_images": _checked,
    "train_model": _checked,
    "plan_training": _checked,
    "media_suffixes": _checked,
    "open_media": _checked,
    "candidate_taxa": _checked,
    "order_for_review": _checked,
    "expand_media": _expand,
    OBSERVER: _observe,
}


# Registration


def _registering(kind: str, names: Names) -> Callable[[str, Call, Owner, dict[str, Any]], None]:
    """Return the adapter of a hook that registers: all objects of a plugin, checked and contained, or none of them."""

    def register_all(hook: str, call: Call, owner: Owner, given: dict[str, Any]) -> None:
        if kind == "command":
            from bioclip_plugin.contracts.commands import contained_commands

            commands = contained_commands(owner, lambda group: call({"cli": group}))
            names.claim(owner, kind, list(commands))
            for name, command in commands.items():
                given["cli"].add_command(command, name)
            return
        entries: list[Any] = []
        owner.call(
            hook, call, {"register": lambda entry: entries.append(owner.call(hook, _contained, kind, entry, owner))}
        )
        names.claim(owner, kind, [entry.name for entry in entries])
        for entry in entries:
            given["register"](entry)

    return register_all


def _contained(kind: str, entry: Any, owner: Owner) -> Any:
    if kind == "rule":
        from bioclip_plugin.contracts.contained_rules import contained_rule

        return contained_rule(entry, owner)
    make: dict[str, Callable[[Any, Owner], Any]] = {
        "model": contained_model,
        "source": contained_source,
        "format": contained_exporter,
        "detector": contained_detector,
        "engine": contained_engine,
        "content filter": contained_filter,
    }
    return make[kind](entry, owner)


# Wrappers


def _checked_wrapped(hook: str, owner: Owner, result: Any, before: Any, given: Mapping[str, Any]) -> Any:
    """Return the result that a wrapper made of another one."""
    if result is before or hook in KINDS:
        return result
    if hook in FIRST_RESULT:
        if result is None:
            raise Garbage(f"the wrapper of {hook} returned nothing in place of the result")
        if hook == "expand_media":
            return _parts(hook, result, owner, given["item"])
        return checked_result(hook, result, given)
    if hook in ("media_suffixes", "candidate_taxa"):
        if not isinstance(result, list):
            raise Garbage(f"the wrapper of {hook} returned {shown(result)}; the list of results is needed")
        return [checked_result(hook, one, given) for one in result if one is not None]
    return result


def _wrapper(hook: str, arguments: tuple[str, ...], call: Call, owner: Owner) -> Callable[..., Any]:
    what = f"the wrapper of {hook}"

    def contained(*values: Any) -> Generator[None, Any, Any]:
        given = dict(zip(arguments, values, strict=True))
        wrapper = _begun(hook, what, owner, call, given)
        if wrapper is None:
            return (yield)
        before: Any = _ENDED
        failed: BaseException | None = None
        try:
            before = yield
        except BaseException as error:
            failed = error
        try:
            result = _resumed(what, owner, wrapper, failed, before)
        except BioclipError as error:
            if hook != OBSERVER or error is failed:
                raise
            _log(owner, error)
            return before
        return owner.call(what, _checked_wrapped, hook, owner, result, before, given)

    return contained


def _begun(hook: str, what: str, owner: Owner, call: Call, given: Mapping[str, Any]) -> Any:
    """Return a wrapper at its ``yield``; None for that of an observer if it fails, so that the others are called."""
    try:
        wrapper = owner.call(what, call, given)
        if owner.call(what, next, wrapper, _ENDED) is _ENDED:
            raise owner.blamed(what, Garbage(f"{what} did not yield"))
    except BioclipError as error:
        if hook != OBSERVER:
            raise
        _log(owner, error)
        return None
    return wrapper


def _resumed(what: str, owner: Owner, wrapper: Any, failed: BaseException | None, before: Any) -> Any:
    """Return what a wrapper makes of a result, or of the error of the hook; that error itself passes."""
    try:
        if failed is None:
            wrapper.send(before)
        else:
            wrapper.throw(failed)
    except StopIteration as end:
        return end.value
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if error is failed:
            raise
        raise owner.blamed(what, error) from error
    raise owner.blamed(what, Garbage(f"{what} yielded twice"))


_ENDED = object()


def _old_wrapper(hook: str, arguments: tuple[str, ...], call: Call, owner: Owner) -> Callable[..., Any]:
    what = f"the wrapper of {hook}"

    def contained(*values: Any) -> Generator[None, Any, None]:
        given = dict(zip(arguments, values, strict=True))
        wrapper = _begun(hook, what, owner, call, given)
        outcome = yield
        if wrapper is None:
            return
        failed = outcome.exception
        before = None if failed is not None else outcome.get_result()
        try:
            _resumed(what, owner, wrapper, None, outcome)
            if outcome.exception is None:
                result = outcome.get_result()
                outcome.force_result(owner.call(what, _checked_wrapped, hook, owner, result, before, given))
            elif outcome.exception is not failed:
                raise owner.blamed(what, outcome.exception)
        except BioclipError as error:  # raised here, it would make pluggy warn
            if hook == OBSERVER:
                _log(owner, error)
            else:
                outcome.force_exception(error)

    return contained
