"""The plugin manager: the names that plugins register, and the plugins that are left out."""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pluggy

from bioclip_core.errors import BioclipError, PluginError, UsageError
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.next_commands import command
from bioclip_plugin.contracts.contained_hooks import KINDS, contain
from bioclip_plugin.contracts.containing import Owner, RefusedPlugin, reason_of
from bioclip_plugin.items.media import MediaItem, Unlisted

if TYPE_CHECKING:
    from bioclip_core.models import ModelEntry
    from bioclip_plugin.contracts.detector import Detector
    from bioclip_plugin.contracts.engine import ExecutionEngine
    from bioclip_plugin.contracts.exporter import Exporter
    from bioclip_plugin.contracts.rule import Rule
    from bioclip_plugin.contracts.source import ListingOptions, Source
    from bioclip_training.curation.content_filters import ContentFilter


PROJECT = "bioclip"
"""Name of the project in pluggy: the mark of its hooks."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A plugin that is left out, with the reason."""

    name: str
    distribution: str
    reason: str


class BioclipPluginManager(pluggy.PluginManager):
    """A pluggy manager for the project ``bioclip`` that contains its plugins and remembers those that are left out."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.failures: list[LoadFailure] = []
        self.distributions: dict[str, str] = {}
        self._built_in: dict[str, Mapping[str, Iterable[str]]] = {}
        self._claimed: dict[tuple[str, str], list[str]] = {}
        self._closers: list[Callable[[], None]] = []

    # Registration

    def register_built_in(
        self, plugin: object, name: str, distribution: str, names: Mapping[str, Iterable[str]] | None = None
    ) -> None:
        """Register a plugin of this package, which is called as it is.

        Args:
            names: the names that it registers, by kind; no other plugin gets them.
        """
        self._built_in[name] = names or {}
        self.distributions[name] = distribution
        super().register(plugin, name)

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register a plugin, call its registering hooks once, and return its name.

        Raises:
            PluginError: if its hooks do not fit, if it fails or gives anything that cannot be used, and if one of its names
                is taken. Nothing of it is registered then.
        """
        shown = name or ""
        try:
            shown = name or self.get_canonical_name(plugin)
            if not isinstance(shown, str) or not shown.strip() or not shown.isprintable():
                raise PluginError("its name must be a text")
            # pluggy compares plugins; one that cannot be compared would disturb the others.
            self.owner(shown).call("comparing it with another plugin", operator.eq, plugin, object())
            registered = super().register(plugin, shown)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise RefusedPlugin(shown, _why(error, shown)) from error
        if registered is None:
            return None
        try:
            self._contain(plugin, registered)
            self._try_out(plugin)
        except BioclipError as error:
            self.unregister(name=registered)
            raise RefusedPlugin(registered, reason_of(error)) from error
        return registered

    def get_canonical_name(self, plugin: object) -> str:
        """Return the name of a module or class, else that of the object's class, with a number if it is taken."""
        name = str(getattr(plugin, "__name__", None) or type(plugin).__name__)
        if (
            isinstance(getattr(plugin, "__name__", None), str)
            or not self.has_plugin(name)
            or self.is_registered(plugin)
        ):
            return name
        return next(f"{name}-{n}" for n in range(2, 1_000_000) if not self.has_plugin(f"{name}-{n}"))

    def unregister(self, plugin: object | None = None, name: str | None = None) -> Any:
        """Unregister a plugin and its names."""
        gone = self.get_name(plugin) if name is None else name
        for key in [key for key in list(self._claimed) if key[0] == gone]:
            self._claimed.pop(key, None)
        return super().unregister(plugin, name)

    def check_pending(self) -> None:
        """Check that every hook of every plugin exists.

        Raises:
            PluginError: for a hook that does not, with the hooks that there are.
        """
        try:
            super().check_pending()
        except pluggy.PluginValidationError as error:
            name = self.get_name(error.plugin) or ""
            unknown = re.search(r"unknown hook '(\w+)'", str(error))
            hooks = sorted(
                hook for hook, caller in vars(self.hook).items() if getattr(caller, "spec", None) is not None
            )
            reason = f"unknown hook {unknown[1]!r}; there are {', '.join(hooks)}" if unknown else str(error)
            raise RefusedPlugin(name, f"plugin {name}: {reason}") from error

    def owner(self, name: str) -> Owner:
        """Return a plugin as its errors name it."""
        return Owner(name, self.distributions.get(name, ""))

    def leave_out(self, name: str, reason: str) -> None:
        """Leave a plugin out as a whole, with the reason, which is logged and kept in ``failures``."""
        if self.has_plugin(name):
            self.unregister(name=name)
        reason = reason.removeprefix(f"{self.owner(name)}: ").removeprefix(f"plugin {name}: ")
        distribution = self.distributions.pop(name, "")
        self.failures.append(LoadFailure(name, distribution, reason))
        log.warning("plugin %s (%s) was skipped: %s", name, distribution or "registered by the host", reason)

    def claim(self, owner: Owner, kind: str, names: list[str]) -> None:
        """Record the names that a plugin registers.

        Raises:
            PluginError: if one of them is that of a built-in or of another plugin, or is registered twice.
        """
        taken: dict[str, str] = {}
        for built_in in self._built_in.values():
            taken.update(dict.fromkeys(built_in.get(kind, ()), "a built-in"))
        for (other, of_kind), others in list(self._claimed.items()):
            if of_kind == kind and other != owner.name:
                taken.update(dict.fromkeys(others, str(self.owner(other))))
        for number, name in enumerate(names):
            by = taken.get(name) or (f"{owner} itself" if name in names[:number] else "")
            if by:
                error = PluginError(f"{owner}: the {kind} {name!r} is registered already, by {by}; names must differ")
                error.plugin_name = owner.name
                raise error
        self._claimed[owner.name, kind] = names

    def _contain(self, plugin: object, name: str) -> None:
        @cache
        def suffixes() -> frozenset[str]:
            own = [one for one in self.hook.media_suffixes.get_hookimpls() if one.plugin is plugin]
            plain = [one for one in own if not (one.wrapper or one.hookwrapper)]
            given: list[Any] = [one.function() for one in plain]
            return frozenset(suffix for found in given for suffix in found or ())

        for caller in self.get_hookcallers(plugin) or []:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin and caller.spec is not None:
                    arguments = tuple(caller.spec.argnames)
                    contain(implementation, caller.name, arguments, self.owner(name), self, suffixes)

    def _try_out(self, plugin: object) -> None:
        """Call the plugin's registering hooks, so that it is refused now and as a whole."""
        from bioclip_plugin.contracts.commands import LazyGroup

        for caller in self.get_hookcallers(plugin) or []:
            if caller.name not in KINDS and caller.name != "media_suffixes":
                continue
            given = {"register": lambda _entry: None, "cli": LazyGroup(), "": None}
            arguments = {argument: given[argument] for argument in caller.spec.argnames} if caller.spec else {}
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin and (implementation.wrapper or implementation.hookwrapper):
                    caller(**arguments)
                elif implementation.plugin is plugin:
                    implementation.function(*(arguments[argument] for argument in implementation.argnames))

    # What plugins register

    def on_close(self, close: Callable[[], None]) -> None:
        """Call ``close`` in :meth:`close`: for a plugin that keeps models, files or databases open."""
        self._closers.append(close)

    def close(self) -> None:
        """Close what plugins keep open for the hooks: Sessions with their models and stores, and video files.

        The manager can be used again afterwards. Every closer runs; the last error is raised.
        """
        with ExitStack() as stack:
            for close in self._closers:
                stack.callback(close)

    def models(self) -> dict[str, ModelEntry]:
        """Return the registered models by name."""
        return self._collected("register_models")

    def sources(self) -> list[Source]:
        """Return the registered sources in the order in which they are asked."""
        return list(self._collected("register_sources").values())

    def exporters(self) -> dict[str, Exporter]:
        """Return the registered export formats by name."""
        return self._collected("register_exporters")

    def rules(self) -> dict[str, type[Rule]]:
        """Return the registered rules by name, in the order of their registration."""
        return self._collected("register_rules")

    def detectors(self) -> dict[str, Detector]:
        """Return the registered detectors by name."""
        return self._collected("register_detectors")

    def detector(self, given: str) -> Detector:
        """Return a detector as ``--detector`` names it: NAME, or NAME:WEIGHTS for other weights than its own.

        Raises:
            UsageError: if there is none of that name, or it takes no weights.
        """
        from bioclip_plugin.contracts.detector import ChoosableDetector

        detectors = self.detectors()
        name, colon, weights = given.partition(":")
        if name not in detectors:
            raise UsageError(self._unknown_detector(name, detectors))
        detector = detectors[name]
        if not colon:
            return detector
        if not isinstance(detector, ChoosableDetector):
            raise UsageError(
                f"detector {given!r}: {name} has weights of its own and takes no others; give --detector {name}"
            )
        if not weights:
            raise UsageError(f"detector {given!r} names no weights behind the colon; give --detector {name}")
        return detector.with_weights(weights)

    def engines(self) -> dict[str, ExecutionEngine]:
        """Return the registered execution engines by name."""
        return self._collected("register_engines")

    def engine(self, name: str) -> ExecutionEngine:
        """Return the execution engine that ``--engine`` names.

        Raises:
            UsageError: if there is none of that name, or packages that it needs are missing.
        """
        from bioclip_plugin.contracts.engine import OptionalEngine

        engines = self.engines()
        if name not in engines:
            there_are = listed(sorted(engines), str, command("plugins"))
            raise UsageError(
                f"engine {name!r} is not known; there are {there_are}{did_you_mean(name, engines)}{self._skipped()}"
            )
        engine = engines[name]
        if isinstance(engine, OptionalEngine) and (install := engine.missing()):
            raise UsageError(f"the engine {name} needs packages that are not installed: {install}")
        return engine

    def content_filters(self) -> dict[str, ContentFilter]:
        """Return the registered content filters of curation by name."""
        return self._collected("register_content_filters")

    def _unknown_detector(self, name: str, detectors: Mapping[str, Detector]) -> str:
        """Return the message: the detectors that there are, the nearest one, and the plugins that were skipped."""
        from bioclip_plugin.contracts.detector import OptionalDetector

        def with_needs(known: str) -> str:
            detector = detectors[known]
            missing = detector.missing() if isinstance(detector, OptionalDetector) else ""
            return f"{known} (needs {missing})" if missing else known

        there_are = listed(sorted(detectors), with_needs, command("plugins"))
        text = (
            f"detector {name!r} is not known; there are {there_are or 'none: a plugin adds them (register_detectors)'}"
        )
        return f"{text}{did_you_mean(name, detectors)}{self._skipped()}"

    def _skipped(self) -> str:
        """Return the end of a message about a name that is not known: the plugins that were skipped and may have it."""
        names = list(dict.fromkeys(failure.name for failure in self.failures))
        if not names:
            return ""
        if len(names) == 1:
            return f"; the plugin {names[0]} was skipped, which may have it: {self.failures[-1].reason}"
        return f"; plugins were skipped, one of which may have it: {listed(names)} (see: {command('plugins')})"

    def add_commands(self, cli: Any) -> None:
        """Add the commands of all plugins to a group."""
        self._without_failing(lambda: self.hook.register_commands(cli=cli))

    def media_suffixes(self) -> frozenset[str]:
        """Return the suffixes, in lower case, of files that plugins open or expand."""
        found: list[Iterable[str]] = self._without_failing(self.hook.media_suffixes)
        return frozenset(suffix.lower() for suffixes in found for suffix in suffixes)

    def expand(self, item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
        """Return the parts of an item, by the first plugin that lists them; None for a single image.

        If a plugin fails, the item is ``Unlisted`` with the reason.
        """
        try:
            parts: Iterable[MediaItem | Unlisted] | None = self.hook.expand_media(item=item, options=options)
        except BioclipError as error:
            if not error.plugin_name:
                raise
            return [Unlisted(item.uri, reason_of(error), item.frame)]
        return parts

    def described(self) -> list[dict[str, str]]:
        """Return name, distribution with version, and hooks of each plugin, for ``plugins`` and provenance."""
        rows = []
        for name, plugin in self.list_name_plugin():
            hooks = sorted(caller.name for caller in self.get_hookcallers(plugin) or [])
            rows.append({"name": name, "distribution": self.distributions.get(name, ""), "hooks": ", ".join(hooks)})
        return rows

    def _collected(self, hook: str) -> dict[str, Any]:
        """Return what all plugins register, under distinct names."""

        def collect() -> dict[str, Any]:
            found: dict[str, Any] = {}
            getattr(self.hook, hook)(register=lambda entry: found.update({entry.name: entry}))
            return found

        collected: dict[str, Any] = self._without_failing(collect)
        return collected

    def _without_failing(self, ask: Callable[[], Any]) -> Any:
        """Return the answer of a registering hook, if need be without a plugin that did not fail when it was registered."""
        while True:
            try:
                return ask()
            except BioclipError as error:
                if not self.has_plugin(error.plugin_name) or error.plugin_name in self._built_in:
                    raise
                self.leave_out(error.plugin_name, reason_of(error))


def _why(error: BaseException, name: str) -> str:
    """Return the reason why pluggy does not register a plugin, in one line."""
    if isinstance(error, ValueError) and "already registered" in str(error):
        different = " under a different name" if "different name" in str(error) else ""
        return f"plugin {name} is registered already{different}; give it another name, or unregister the first one"
    if isinstance(error, pluggy.PluginValidationError):
        return f"plugin {name}: {' '.join(str(error).split())}"
    return reason_of(error) if getattr(error, "plugin_name", "") else f"plugin {name}: {reason_of(error)}"
