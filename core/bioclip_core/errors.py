"""The errors that this software raises; each says what was given, what is allowed and what to do next.

BioclipError
├── UsageError            an option or argument that cannot be used as given
├── ModelError            a model that cannot be had or used
│   ├── UnknownModel      no such name, folder or file
│   ├── ModelUnavailable  the model's hub could not be reached, or it has no such model
│   ├── UnsafeWeights     a weight file that would have to run code to be read
│   └── NoTextTower       an image-only encoder was asked for text features
├── LabelSetError         a label set that is missing, damaged or made for another model
├── ImageError            one image that cannot be read; never ends a run
├── SourceError           a folder, table or list that cannot be read at all
├── StoreError            a database that refuses, goes away or is of another version
└── PluginError           a plugin that breaks the contract of a hook
"""

from __future__ import annotations


class BioclipError(Exception):
    """Base of every error that is the caller's to see; its text is one readable line."""


class UsageError(BioclipError, ValueError):
    """An option or argument that cannot be used as given."""


class ModelError(BioclipError):
    """A model that cannot be had or used."""


class UnknownModel(ModelError):
    """No such model name, folder or file."""


class ModelUnavailable(ModelError):
    """The model's hub could not be reached, or it has no such model."""


class UnsafeWeights(ModelError):
    """A weight file that would have to run code to be read."""


class NoTextTower(ModelError):
    """An image-only encoder was asked for text features; use prototypes instead."""


class LabelSetError(BioclipError):
    """A label set that is missing, damaged or made for another model."""


class ImageError(BioclipError):
    """One image that cannot be read: ``stage`` is where it failed, the text is the reason a person reads."""

    def __init__(self, reason: str, *, stage: str = "decode") -> None:
        super().__init__(reason)
        self.stage = stage


class SourceError(BioclipError):
    """A folder, table or list of images that cannot be read at all."""


class StoreError(BioclipError):
    """A database that refuses, goes away or is of another version."""


class PluginError(BioclipError):
    """A plugin that breaks the contract of a hook."""
