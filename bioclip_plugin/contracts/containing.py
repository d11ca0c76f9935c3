"""Containment of plugins: every call of a plugin's code goes through its owner, which names the plugin in whatever goes wrong."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from bioclip_core import errors
from bioclip_core.errors import BioclipError, ImageError, PluginError
from bioclip_core.process.forks import renew_after_fork

T = TypeVar("T")

log = logging.getLogger(__name__)

_LONGEST = 300


class RefusedPlugin(PluginError, pluggy.PluginValidationError, ValueError):
    """A plugin that cannot be registered. Hosts that know pluggy's own errors catch it as one of those."""

    def __init__(self, plugin: object, message: str) -> None:
        """Set up.

        Args:
            plugin: the plugin's name or, from pluggy, the plugin itself.
            message: the reason.
        """
        pluggy.PluginValidationError.__init__(self, plugin, message)
        self.plugin_name = plugin if isinstance(plugin, str) else ""


class Garbage(PluginError):
    """A value from a plugin that cannot be used; its owner adds the name of the plugin."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A plugin, as its errors name it."""

    name: str
    distribution: str = ""
    """Name and version of its distribution; empty for a plugin that a host registered."""

    def __str__(self) -> str:
        return f"plugin {self.name} ({self.distribution})" if self.distribution else f"plugin {self.name}"

    def call(self, what: str, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Call the plugin's code.

        Args:
            what: the call, as the subject of "failed": "open_media", "the rule no-bats".
            function: the code, with its arguments.

        Raises:
            BioclipError: for anything that it raises, with the plugin's name; an error of the contract keeps its type.
            KeyboardInterrupt: it is the user's, not the plugin's.
        """
        try:
            with _directory.kept(self):
                return function(*args, **kwargs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may also raise SystemExit, or a class of its own
            raise self.blamed(what, error) from error

    def iterate(self, what: str, entries: Any, most: int | None = None) -> Iterator[Any]:
        """Yield the entries of the plugin's iterable, as :meth:`call` would.

        Args:
            what: as in :meth:`call`.
            entries: what the plugin gave; anything but an iterable is its error, and so is a text.
            most: number of entries after which an endless iterable is given up.
        """
        if isinstance(entries, (str, bytes)) or not isinstance(entries, Iterable):
            raise self.blamed(what, Garbage(f"{what} gave {shown(entries)}; a list or a generator is needed"))
        iterator = self.call(what, iter, entries)
        count = 0
        try:
            while (entry := self.call(what, next, iterator, _END)) is not _END:
                count += 1
                if most is not None and count > most:
                    raise self.blamed(what, Garbage(f"{what} gave more than {most:,} entries; it seems to be endless"))
                yield entry
        finally:
            if callable(close := getattr(iterator, "close", None)):
                with suppress(BioclipError):
                    self.call(what, close)

    def blamed(self, what: str, error: BaseException) -> BioclipError:
        """Return an error with the plugin's name: of the type that the contract knows, else a :class:`PluginError`."""
        if isinstance(error, BioclipError) and (error.plugin_name or not _is_of_contract(error)):
            return error  # of a plugin behind this one, or a signal of our own such as the end of a training
        if isinstance(error, BioclipError):
            text = f"{self}: {reason_of(error)}"
            kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
            if kind is ImageError:
                stage = getattr(error, "stage", "decode")
                named: BioclipError = ImageError(text, stage=stage if isinstance(stage, str) else "decode")
            else:
                named = PluginError(text) if kind is BioclipError else kind(text)
        else:
            named = PluginError(f"{self}: {what} failed: {reason_of(error)}")
        named.plugin_name = self.name
        return named


_END: Any = object()


_SIGNALS = ("bioclip_core.", "bioclip_plugin.", "bioclip_training.")


def _is_of_contract(error: BioclipError) -> bool:
    """True for the errors of the contract and for a plugin's own; False for a signal such as ``TrainingStopped``."""
    home = type(error).__module__
    return home in (errors.__name__, __name__) or not home.startswith(_SIGNALS)


def reason_of(error: BaseException) -> str:
    """Return the type of an error and the first line of its text; for our own errors the text alone."""
    try:
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    except KeyboardInterrupt:
        raise
    except BaseException:
        line = "(its text cannot be shown)"
    line = line[:_LONGEST]
    if isinstance(error, BioclipError) and line:
        return line
    name = type(error).__name__
    return f"{name}: {line}" if line else name


_at_work: dict[tuple[str, int], Owner] = {}


@contextmanager
def at_work(uri: str, frame: int, owner: Owner) -> Iterator[None]:
    """Note the plugin that opens an item, for as long as it does."""
    _at_work[uri, frame] = owner
    try:
        yield
    finally:
        _at_work.pop((uri, frame), None)


def owner_at_work(uri: str, frame: int) -> Owner | None:
    """Return the plugin that is opening an item now, on any thread."""
    return _at_work.get((uri, frame))


_MARK = "bioclip_plugin_owner"


def mark(value: object, owner: Owner) -> None:
    """Mark an object of a plugin whose faults may be found only later, such as an image."""
    with suppress(AttributeError, TypeError):
        setattr(value, _MARK, owner)


def owner_of(value: object) -> Owner | None:
    """Return the owner by which an object was marked."""
    found = getattr(value, _MARK, None)
    return found if isinstance(found, Owner) else None


def shown(value: Any) -> str:
    """Return a value for a message, with its type; a value that cannot be shown is only its type."""
    if value is None or isinstance(value, bool):
        return str(value)
    try:
        text = " ".join(repr(value).split())
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = ""
    kind = type(value).__name__
    if isinstance(value, (str, int, float)) and text and len(text) <= 80:
        return text
    return f"{kind} {text}" if text and len(text) <= 80 and " at 0x" not in text else f"a value of type {kind}"


_OUR_THREADS = "bioclip-"


class _Directory:
    """The working directory, kept from plugins: they would change the meaning of every relative path.

    The directory of the first of several calls at once comes back after the last of them, so that a plugin that changes it
    for a moment does not disturb another. On our own threads nothing is put back, since meanwhile the host may change the
    directory: the change is named, once for each plugin.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._before: Path | None = None
        self._named: set[str] = set()

    def after_fork(self) -> None:
        """Forget the calls of the parent's other threads, which do not come back in a child."""
        self._lock, self._calls = threading.Lock(), 0

    @contextmanager
    def kept(self, owner: Owner) -> Iterator[None]:
        """Give the directory back after a call of a plugin's code."""
        if threading.current_thread().name.startswith(_OUR_THREADS):
            before = _working_directory()
            try:
                yield
            finally:
                self._name_change(owner, before)
            return
        renew_after_fork(self)
        with self._lock:
            if not self._calls:
                self._before = _working_directory()
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls = max(self._calls - 1, 0)
                if not self._calls and self._before is not None and _working_directory() != self._before:
                    with suppress(OSError):
                        os.chdir(self._before)
                        log.warning("%s changed the working directory; it is %s again", owner, self._before)

    def _name_change(self, owner: Owner, before: Path | None) -> None:
        after = _working_directory()
        if after == before or str(owner) in self._named:
            return
        self._named.add(str(owner))
        log.warning(
            "the working directory changed from %s to %s while %s was at work; images with relative paths are looked for there: "
            "if the plugin did it, uninstall it, or give absolute paths",
            before, after, owner,
        )  # fmt: skip


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was removed
        return None


_directory = _Directory()
