"""The errors that this software raises. Their texts say what was given, what is wrong and what to do.

BioclipError
├── UsageError            an option or argument that cannot be used as given
│   └── DataError         a file, folder or record that an option or argument leads to, and that cannot be used
├── ModelError            a model that is unavailable or cannot be used
│   ├── UnknownModel      a model name, folder or file that does not exist
│   ├── ModelUnavailable  a hub that cannot be reached, or that lacks the model
│   ├── UnsafeWeights     a weight file that would run code when read
│   └── NoTextTower       text features asked of an image-only encoder
├── LabelSetError         a label set that is missing, damaged or made for another model
├── ImageError            one image that cannot be read; never ends a run
├── SourceError           a folder, table or list that cannot be read at all
├── InstallationError     torch, or what is built on it, that cannot be imported
├── StoreError            a database that refuses, disconnects or has another version
└── PluginError           a plugin that breaks the contract of a hook
"""

from __future__ import annotations

import re

LONGEST_MESSAGE = 2_000
"""Limit of an error's text in characters; the middle of a longer one is left out, since its end says what to do."""

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


class BioclipError(Exception):
    """Base of every error that a caller should see. Its text is one readable line, whatever the data that it quotes."""

    def __str__(self) -> str:
        return one_line(super().__str__())

    plugin_name: str = ""
    """Name of the plugin that it comes from; empty for an error of our own."""


class UsageError(BioclipError, ValueError):
    """An option or argument that cannot be used as given."""


class DataError(UsageError):
    """A file, folder or record that an option or argument leads to, and that is missing or cannot be used.

    The option itself is well-formed. The command line ends with another exit code for it than for wrong usage.
    """


class ModelError(BioclipError):
    """A model that is unavailable or cannot be used."""


class UnknownModel(ModelError):
    """A model name, folder or file that does not exist."""


class ModelUnavailable(ModelError):
    """A hub that cannot be reached, or that lacks the model."""


class UnsafeWeights(ModelError):
    """A weight file that would run code when read."""


class NoTextTower(ModelError):
    """Text features asked of an image-only encoder; use prototypes instead."""


class LabelSetError(BioclipError):
    """A label set that is missing, damaged or made for another model."""


class ImageError(BioclipError):
    """One image that cannot be read. ``stage`` is the step that failed; the text is the reason."""

    def __init__(self, reason: str, *, stage: str = "decode") -> None:
        super().__init__(reason)
        self.stage = stage


class SourceError(BioclipError):
    """A folder, table or list of images that cannot be read at all."""


class InstallationError(BioclipError):
    """A library that is missing or damaged, or does not fit the others: torch and what is built on it."""


class StoreError(BioclipError):
    """A database that refuses, disconnects or has another version."""


class PluginError(BioclipError):
    """A plugin that breaks the contract of a hook."""


def raise_if_of_host(error: BaseException) -> None:
    """Raise an error again that a host's signal handler raised in our work: a time-out that no call of the system gave.

    It is not about the file that was being read, though it is an ``OSError``.
    """
    if isinstance(error, (TimeoutError, InterruptedError)) and error.errno is None:
        raise error


def one_line(text: str) -> str:
    """Return a text as one line of limited length that every terminal and database can take.

    White space and control characters become blanks, half surrogate pairs (bytes of a foreign encoding) escapes.
    """
    line = _SURROGATE.sub(lambda half: f"\\x{ord(half[0]) & 0xFF:02x}", _UNPRINTABLE.sub(" ", text).strip())
    if len(line) > LONGEST_MESSAGE:
        kept = LONGEST_MESSAGE // 2 - 20
        line = f"{line[:kept]} … ({len(line) - 2 * kept:,} characters) … {line[-kept:]}"
    return line


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or its type if the text is empty."""
    return one_line((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]
